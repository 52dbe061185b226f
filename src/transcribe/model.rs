//! Which model, and where its files are.
//!
//! A model is a folder in CTranslate2's format. It is given as a folder, or as a name that stands
//! for a repository of the model hub; [`hub`] downloads the latter once.

use std::path::{Path, PathBuf};

use super::hub::{self, HubConfig};
use crate::runtime::telemetry::Observer;

/// Sizes by the names openai gave them, and the repositories that hold them converted.
const KNOWN: [(&str, &str); 19] = [
    ("tiny.en", "Systran/faster-whisper-tiny.en"),
    ("tiny", "Systran/faster-whisper-tiny"),
    ("base.en", "Systran/faster-whisper-base.en"),
    ("base", "Systran/faster-whisper-base"),
    ("small.en", "Systran/faster-whisper-small.en"),
    ("small", "Systran/faster-whisper-small"),
    ("medium.en", "Systran/faster-whisper-medium.en"),
    ("medium", "Systran/faster-whisper-medium"),
    ("large-v1", "Systran/faster-whisper-large-v1"),
    ("large-v2", "Systran/faster-whisper-large-v2"),
    ("large-v3", "Systran/faster-whisper-large-v3"),
    ("large", "Systran/faster-whisper-large-v3"),
    (
        "large-v3-turbo",
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    ),
    ("turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
    ("distil-small.en", "Systran/faster-distil-whisper-small.en"),
    (
        "distil-medium.en",
        "Systran/faster-distil-whisper-medium.en",
    ),
    ("distil-large-v2", "Systran/faster-distil-whisper-large-v2"),
    ("distil-large-v3", "Systran/faster-distil-whisper-large-v3"),
    ("distil-large-v3.5", "distil-whisper/distil-large-v3.5-ct2"),
];

pub(super) const MODEL: &str = "model.bin";
pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
/// Either of them.
pub(super) const VOCABULARIES: [&str; 2] = ["vocabulary.json", "vocabulary.txt"];

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A folder.
    Directory(PathBuf),
    /// A repository of the hub, `owner/name`.
    Hub(String),
}

/// A model that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Neither a folder, nor a known size, nor `owner/name`.
    #[error(
        "{name:?} is no model: give a folder, a repository as `owner/name`, or one of {}",
        known_names()
    )]
    Unknown {
        /// As given.
        name: String,
    },
    /// A folder without what a model needs.
    #[error(
        "{directory} is no model folder: it has no {}; convert the model with \
         `ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json`, or \
         download it again", missing.join(" and no ")
    )]
    Incomplete {
        /// The folder.
        directory: String,
        /// Files it lacks.
        missing: Vec<String>,
    },
    /// A folder that is not there.
    #[error("there is no model folder {directory}")]
    NoDirectory {
        /// The folder.
        directory: String,
    },
    /// The hub has no such repository, or hides it.
    #[error(
        "the model hub has no repository {repository} that this account may read; check the name, \
         or give a token for a private one"
    )]
    NoRepository {
        /// Its name.
        repository: String,
    },
    /// A repository that is no converted model.
    #[error(
        "the repository {repository} holds no CTranslate2 model: it has no {}", missing.join(" and no ")
    )]
    NotConverted {
        /// Its name.
        repository: String,
        /// Files it lacks.
        missing: Vec<String>,
    },
    /// The hub could not be reached, or the connection broke more often than is worth trying.
    #[error(
        "cannot download the model {repository}: {problem}; check the network, give the folder of \
         a model instead, or name a mirror in HF_ENDPOINT"
    )]
    Network {
        /// The model's repository.
        repository: String,
        /// What went wrong.
        problem: String,
    },
    /// What arrived is not what the hub announced.
    #[error("{file} of the model {repository} arrived damaged: {problem}")]
    Damaged {
        /// The model's repository.
        repository: String,
        /// The file; it was removed.
        file: String,
        /// How that shows.
        problem: String,
    },
    /// Another process holds the lock of the cache.
    #[error("another process is downloading the model {repository}; try again when it is done")]
    Busy {
        /// The model's repository.
        repository: String,
    },
    /// The cache cannot be written.
    #[error("cannot keep the model in {path}: {problem}")]
    Cache {
        /// The cache folder.
        path: String,
        /// Why.
        problem: String,
    },
}

impl ModelError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Network { .. } | Self::Busy { .. } | Self::Damaged { .. }
        )
    }
}

fn known_names() -> String {
    let names: Vec<&str> = ModelSource::known().collect();
    names.join(", ")
}

impl ModelSource {
    /// Names of the known sizes.
    pub fn known() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|(name, _)| *name)
    }

    /// Reads what a user calls a model: a folder that exists wins over a known size, a known size
    /// over `owner/name`, and what else looks like a path is a folder.
    pub fn parse(name: &str) -> Result<Self, ModelError> {
        let path = Path::new(name);
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        if let Some((_, repository)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return Ok(Self::Hub((*repository).to_owned()));
        }
        if is_repository(name) {
            return Ok(Self::Hub(name.to_owned()));
        }
        if name.contains(std::path::is_separator) {
            return Ok(Self::Directory(path.to_owned()));
        }
        Err(ModelError::Unknown {
            name: name.to_owned(),
        })
    }

    /// The files, downloaded where they are not yet in the cache. Blocks.
    pub fn fetch(
        &self,
        config: &HubConfig,
        observer: &dyn Observer,
    ) -> Result<ModelFiles, ModelError> {
        match self {
            Self::Directory(directory) => {
                let name = directory.file_name().unwrap_or(directory.as_os_str());
                ModelFiles::in_directory(directory, &name.to_string_lossy())
            }
            Self::Hub(repository) => hub::fetch(repository, config, observer),
        }
    }
}

/// `owner/name` in the hub's alphabet, which has no `.` or `~` in front.
fn is_repository(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    name.split_once('/')
        .is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

/// A folder with everything a model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    name: String,
    directory: PathBuf,
    vocabulary: &'static str,
}

impl ModelFiles {
    /// Checks that the files are there; what is in them shows when they are loaded.
    pub fn in_directory(directory: &Path, name: &str) -> Result<Self, ModelError> {
        if !directory.is_dir() {
            return Err(ModelError::NoDirectory {
                directory: directory.display().to_string(),
            });
        }
        let has = |file: &str| directory.join(file).is_file();
        let missing = missing(has);
        let vocabulary = VOCABULARIES.into_iter().find(|file| has(file));
        match vocabulary {
            Some(vocabulary) if missing.is_empty() => Ok(Self {
                name: name.to_owned(),
                directory: directory.to_owned(),
                vocabulary,
            }),
            _ => Err(ModelError::Incomplete {
                directory: directory.display().to_string(),
                missing,
            }),
        }
    }

    /// What to call the model: its repository, or its folder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The weights.
    pub fn model(&self) -> PathBuf {
        self.directory.join(MODEL)
    }

    /// The model's settings.
    pub fn config(&self) -> PathBuf {
        self.directory.join(CONFIG)
    }

    /// For [`Tokenizer::from_file`](super::tokenizer::Tokenizer::from_file).
    pub fn tokenizer(&self) -> PathBuf {
        self.directory.join(TOKENIZER)
    }

    /// Token strings in the order of their ids, `.json` or `.txt`.
    pub fn vocabulary(&self) -> PathBuf {
        self.directory.join(self.vocabulary)
    }
}

/// Required files that are not there.
pub(super) fn missing(has: impl Fn(&str) -> bool) -> Vec<String> {
    let mut missing: Vec<String> = [CONFIG, MODEL, TOKENIZER]
        .into_iter()
        .filter(|file| !has(file))
        .map(str::to_owned)
        .collect();
    if !VOCABULARIES.iter().any(|file| has(file)) {
        missing.push(VOCABULARIES.join(" or "));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(repository: &str) -> ModelSource {
        ModelSource::Hub(repository.to_owned())
    }

    #[test]
    fn sizes_stand_for_repositories() {
        let parse = |name| ModelSource::parse(name).unwrap();
        assert_eq!(parse("base"), hub("Systran/faster-whisper-base"));
        let turbo = hub("mobiuslabsgmbh/faster-whisper-large-v3-turbo");
        assert_eq!(parse("turbo"), turbo);
        assert_eq!(parse("large-v3-turbo"), turbo);
        let distil = hub("Systran/faster-distil-whisper-large-v3");
        assert_eq!(parse("distil-large-v3"), distil);
        assert_eq!(parse("some-one/whisper_x.y"), hub("some-one/whisper_x.y"));
    }

    #[test]
    fn what_looks_like_a_path_is_a_folder() {
        for path in [
            "./base",
            "/models/base",
            "models/",
            "../a/b",
            "a/b/c",
            "~/m",
        ] {
            let folder = ModelSource::Directory(PathBuf::from(path));
            assert_eq!(ModelSource::parse(path).unwrap(), folder);
        }
        let existing = tempfile::tempdir().unwrap();
        let path = existing.path().to_str().unwrap();
        assert_eq!(
            ModelSource::parse(path).unwrap(),
            ModelSource::Directory(existing.path().to_owned())
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = ModelSource::parse("bass").unwrap_err().to_string();
        assert!(error.starts_with("\"bass\" is no model"), "{error}");
        assert!(error.contains("base, small.en"), "{error}");
    }

    #[test]
    fn a_folder_needs_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let source = ModelSource::Directory(folder.path().to_owned());
        let config = HubConfig::new(folder.path().join("cache"));
        let fetch = || source.fetch(&config, &crate::runtime::telemetry::Ignore);
        let write = |file: &str| std::fs::write(folder.path().join(file), "x").unwrap();
        write(CONFIG);
        write(TOKENIZER);
        let error = fetch().unwrap_err().to_string();
        let lacks = "it has no model.bin and no vocabulary.json or vocabulary.txt;";
        assert!(error.contains(lacks), "{error}");
        write(MODEL);
        write("vocabulary.txt");
        let files = fetch().unwrap();
        assert_eq!(files.vocabulary(), folder.path().join("vocabulary.txt"));
        write("vocabulary.json");
        let files = fetch().unwrap();
        assert_eq!(files.vocabulary(), folder.path().join("vocabulary.json"));
        assert_eq!(
            files.name(),
            folder.path().file_name().unwrap().to_str().unwrap()
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let source = ModelSource::parse("./no-such-model").unwrap();
        let config = HubConfig::new(PathBuf::from("cache"));
        let error = source.fetch(&config, &crate::runtime::telemetry::Ignore);
        assert_eq!(
            error.unwrap_err().to_string(),
            "there is no model folder ./no-such-model"
        );
    }
}
