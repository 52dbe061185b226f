//! What an operator does: plan work, queue it, look at it.

pub mod enqueue;
pub mod status;

pub use enqueue::{Enqueue, Planned};
pub use status::{StatusReport, status};

use crate::checkpoint::CheckpointError;
use crate::queue::QueueError;
use crate::runtime::blob::BlobError;
use crate::runtime::telemetry::MetricsError;

/// A failed operator's step: one of the stores it looks at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// An object store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}
