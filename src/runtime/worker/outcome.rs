//! How the processing of one job ended, and what that means for the queue.

use crate::domain::{Failure, FailureClass};
use crate::runtime::blob::BlobError;

/// How one job ended. What the queue and the checkpoints make of it is the worker's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageOutcome {
    /// The work is durable: settle.
    Done {
        /// Bytes fetched, or milliseconds of audio transcribed.
        amount: u64,
    },
    /// Somebody finished it earlier: settle, and count nothing.
    AlreadyDone,
    /// It failed; the failure's class says whether another try is worth it.
    Failed(Failure),
    /// It was cancelled, by a shutdown or a lost lease, and left nothing visible: give it back.
    Interrupted,
}

/// A condition under which every later job would fail the same way, so the worker stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FatalError {
    /// What is unusable and why, as a lower-case fragment without secrets.
    pub message: String,
    /// Whether it may pass by itself: a service that does not answer, rather than one that refuses.
    pub is_outage: bool,
}

impl FatalError {
    /// A fatal condition in words.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_outage: false,
        }
    }

    /// What a queue or a table says that a worker cannot go on without.
    pub(super) fn outage(error: &dyn std::error::Error) -> Self {
        Self {
            message: error.to_string(),
            is_outage: true,
        }
    }

    /// Sorts a store's error: an unusable store is fatal, a failed call is one job's
    /// [`FailureClass::Storage`] failure.
    pub fn or_failure(error: &BlobError) -> Result<Failure, Self> {
        if error.kind.is_fatal() {
            return Err(Self::new(error.to_string()));
        }
        Ok(Failure::new(FailureClass::Storage, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::blob::BlobErrorKind;

    #[test]
    fn a_full_store_stops_the_worker_and_a_failed_call_does_not() {
        let error = |kind| BlobError {
            location: "raw/a".to_owned(),
            kind,
            source: None,
        };
        let fatal = FatalError::or_failure(&error(BlobErrorKind::Full)).unwrap_err();
        assert_eq!(fatal.message, "raw/a: no space left");
        let failure = FatalError::or_failure(&error(BlobErrorKind::Other)).unwrap();
        assert_eq!(failure.class, FailureClass::Storage);
    }
}
