//! The files that were named.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use podrun::domain::{EpisodeId, FeedSlug, Guid};
use podrun::transcribe::source::MediaBytes;

use crate::exit::Problem;

/// A file to transcribe.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Where it is; `None` is stdin.
    pub(super) path: Option<PathBuf>,
    /// As it was named, for people.
    pub(super) name: String,
    /// What its transcripts are called, without the extension.
    pub(super) stem: OsString,
    /// The same as an episode, for progress and rows.
    pub(super) episode: EpisodeId,
}

impl Input {
    /// Everything that was named; stdin at most once.
    pub(super) fn all(files: &[PathBuf]) -> Result<Vec<Self>, Problem> {
        let stdin = files.iter().filter(|file| is_stdin(file)).count();
        if stdin > 1 {
            return Err(Problem::usage(
                "stdin (-) is named twice and can be read once",
            ));
        }
        files.iter().map(|file| Self::new(file)).collect()
    }

    fn new(file: &Path) -> Result<Self, Problem> {
        let path = (!is_stdin(file)).then(|| file.to_owned());
        let (name, stem) = match &path {
            Some(path) => (path.display().to_string(), path.file_stem()),
            None => ("stdin".to_owned(), None),
        };
        let last = path.as_deref().and_then(Path::file_name);
        let label = last.map_or_else(|| name.clone(), |last| last.to_string_lossy().into_owned());
        Ok(Self {
            stem: stem.unwrap_or(OsStr::new("stdin")).to_owned(),
            episode: EpisodeId {
                feed_slug: FeedSlug::try_new("file").map_err(Problem::usage)?,
                // A name of blanks alone is a name all the same.
                guid: Guid::try_new(&label)
                    .or_else(|_| Guid::try_new("unnamed"))
                    .map_err(Problem::usage)?,
            },
            path,
            name,
        })
    }

    /// Why it cannot be read, as far as a look at it tells.
    pub(super) fn problem(&self) -> Option<String> {
        let path = self.path.as_deref()?;
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("no such file".to_owned())
            }
            Err(error) => Some(format!("cannot be read: {error}")),
            Ok(found) if found.is_dir() => Some("is a folder; name the files in it".to_owned()),
            Ok(found) if found.is_file() => {
                let opened = File::open(path).err();
                opened.map(|error| format!("cannot be opened: {error}"))
            }
            Ok(_) => None,
        }
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// A file that can be read from its beginning as often as it takes.
#[derive(Debug)]
pub(super) enum Media {
    Stored(PathBuf),
    /// What came through a pipe, kept until it is transcribed.
    Spooled(tempfile::NamedTempFile),
}

impl Media {
    /// Blocks until a pipe has given all.
    pub(super) fn of(input: &Input) -> io::Result<Self> {
        match &input.path {
            None => Self::spool(&mut io::stdin().lock()),
            Some(path) if path.is_file() => Ok(Self::Stored(path.clone())),
            Some(path) => Self::spool(&mut File::open(path)?),
        }
    }

    fn spool(pipe: &mut dyn Read) -> io::Result<Self> {
        let mut kept = tempfile::NamedTempFile::new()?;
        io::copy(pipe, &mut kept)?;
        Ok(Self::Spooled(kept))
    }

    pub(super) fn open(&self) -> io::Result<Box<dyn MediaBytes>> {
        let file = match self {
            Self::Stored(path) => File::open(path)?,
            Self::Spooled(kept) => kept.reopen()?,
        };
        Ok(Box::new(file))
    }
}
