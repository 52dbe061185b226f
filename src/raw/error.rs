//! What can go wrong with the raw store.

use crate::domain::{EpisodeId, Failure, FailureClass};
use crate::runtime::blob::{BlobError, BlobErrorKind};

/// A failed call to the raw store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// The bucket failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A `meta.json` that is none, is of another episode, or was written by a newer program.
    #[error("{location} cannot be used: {problem}")]
    Unreadable {
        /// Path or URI of the object.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The episode has no meta, so its audio is not complete.
    #[error("{episode} has no meta.json")]
    Missing {
        /// Which.
        episode: EpisodeId,
    },
    /// Others changed the meta each time.
    #[error("{location} is changed by others all the time")]
    Contended {
        /// Path or URI of the object.
        location: String,
    },
}

impl RawError {
    /// The bucket's condition, where it was the bucket that failed.
    pub fn blob_kind(&self) -> Option<BlobErrorKind> {
        match self {
            Self::Blob(error) => Some(error.kind),
            _ => None,
        }
    }

    /// Whether the store itself is unusable, so that going on with other episodes is pointless.
    pub fn is_fatal(&self) -> bool {
        self.blob_kind().is_some_and(BlobErrorKind::is_fatal)
    }
}

impl From<RawError> for Failure {
    fn from(error: RawError) -> Self {
        Self::new(FailureClass::Storage, error.to_string())
    }
}
