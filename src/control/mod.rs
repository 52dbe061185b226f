//! What an operator does: plan work, queue it, look at it.

pub mod enqueue;
pub mod follow;
pub mod runs;
pub mod status;

pub use enqueue::{Drain, Enqueue, Planned};
pub use follow::{Ends, Follow, Followed};
pub use runs::{RunError, RunRecord};
pub use status::{StatusReport, status};

use crate::checkpoint::CheckpointError;
use crate::manifest::ManifestStoreError;
use crate::queue::QueueError;
use crate::raw::RawError;
use crate::runtime::batch::JobError;
use crate::runtime::telemetry::MetricsError;
use crate::stage::StageError;

/// A failed operator's step: one of the stores it looks at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The raw store.
    #[error(transparent)]
    Raw(#[from] RawError),
    /// The stage store.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestStoreError),
    /// Who runs the workers.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}
