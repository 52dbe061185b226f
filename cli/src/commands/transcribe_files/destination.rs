//! Where transcripts of files go.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use podrun::transcribe::formats::{CueLayout, FinishedTranscript, OutputFormat};

use super::input::Input;
use crate::args::{FormatName, TranscribeArguments};
use crate::exit::Problem;
use crate::settings::formats;

/// Where transcripts go.
#[derive(Debug)]
pub(super) enum Destination {
    /// One behind the other, in one format.
    Stdout(OutputFormat),
    Folder(Folder),
}

/// Files named after those that were transcribed.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    formats: Vec<OutputFormat>,
}

impl Destination {
    /// What the options ask for; refuses what would lose something.
    pub(super) fn new(options: &TranscribeArguments, inputs: &[Input]) -> Result<Self, Problem> {
        let mut asked = Vec::new();
        for format in formats(&options.output_format) {
            if !asked.contains(&format) {
                asked.push(format);
            }
        }
        match &options.output_dir {
            None => stdout(&asked, inputs.len()).map(Self::Stdout),
            Some(path) => {
                if asked.is_empty() {
                    asked.extend(FormatName::ALL);
                }
                let folder = Folder {
                    path: path.clone(),
                    formats: asked,
                };
                folder.check(inputs)?;
                Ok(Self::Folder(folder))
            }
        }
    }
}

/// The one format for stdout. Several files may follow one another only where that still is a file of
/// its format.
fn stdout(asked: &[OutputFormat], files: usize) -> Result<OutputFormat, Problem> {
    use OutputFormat::{SegmentsJsonl, TranscriptJson, Txt};
    match asked {
        [] => Ok(Txt),
        [format @ (Txt | SegmentsJsonl | TranscriptJson)] => Ok(*format),
        [format] if files <= 1 => Ok(*format),
        [format] => {
            let format = format.as_str();
            Err(
                Problem::usage(format!("{files} files make no single {format} file"))
                    .hint("name a folder for them with --output-dir"),
            )
        }
        _ => Err(Problem::usage("stdout takes one format")
            .hint("name a folder for several with --output-dir")),
    }
}

impl Folder {
    /// Two files must not write one transcript, none its own audio, and the folder must take files:
    /// better known now than after hours of work.
    fn check(&self, inputs: &[Input]) -> Result<(), Problem> {
        let mut names: HashMap<_, &Input> = HashMap::new();
        for input in inputs {
            if let Some(other) = names.insert(&input.stem, input) {
                let (one, other) = (&input.name, &other.name);
                let message = format!("{other} and {one} would have transcripts of the same name");
                return Err(Problem::usage(message).hint("transcribe them into two folders"));
            }
        }
        let is_input = |path: &Path| {
            let mut paths = inputs.iter().filter_map(|input| input.path.as_deref());
            paths.any(|input| same_file(input, path))
        };
        let mut outputs = inputs.iter().flat_map(|input| self.outputs(input));
        if let Some((path, _)) = outputs.find(|(path, _)| is_input(path)) {
            let message = format!(
                "{} is both a file to transcribe and a transcript",
                path.display()
            );
            return Err(Problem::usage(message).hint("choose another --output-dir"));
        }
        let prepared = std::fs::create_dir_all(&self.path)
            .and_then(|()| tempfile::tempfile_in(&self.path).map(drop));
        prepared.map_err(|error| {
            let path = self.path.display();
            Problem::preflight(format!("cannot write into the folder {path}: {error}"))
                .hint("choose another with --output-dir")
        })
    }

    fn outputs(&self, input: &Input) -> Vec<(PathBuf, OutputFormat)> {
        let output = |format: &OutputFormat| {
            let mut name = input.stem.clone();
            name.push(".");
            name.push(format.extension());
            (self.path.join(name), *format)
        };
        self.formats.iter().map(output).collect()
    }

    /// Writes all formats, each whole or not at all; gives the paths, or what went wrong.
    pub(super) fn write(
        &self,
        input: &Input,
        finished: &FinishedTranscript<'_>,
        layout: &CueLayout,
    ) -> Result<Vec<String>, String> {
        let mut written = Vec::new();
        for (path, format) in self.outputs(input) {
            let content = format.render(finished, layout);
            replace(&path, content.as_bytes())
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            written.push(path.display().to_string());
        }
        Ok(written)
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Puts a file in its place in one step.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".podrun-");
    readable(&mut builder);
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// As other programs' files are; temporary ones are their owner's alone by default.
#[cfg(unix)]
fn readable(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(std::fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn readable(_: &mut tempfile::Builder<'_, '_>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_a_file_of_its_format_is_joined() {
        use OutputFormat::{Srt, TranscriptJson, Txt, Vtt};
        assert_eq!(stdout(&[], 3).unwrap(), Txt);
        assert_eq!(stdout(&[TranscriptJson], 3).unwrap(), TranscriptJson);
        assert_eq!(stdout(&[Vtt], 1).unwrap(), Vtt);
        assert!(stdout(&[Vtt], 2).is_err());
        assert!(stdout(&[Srt, Txt], 1).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        replace(&path, b"one, which is long").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
