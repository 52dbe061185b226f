//! Port: what starts workers and watches them.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::StageName;

pub mod local;

pub use local::LocalJobRunner;

/// What a runner guarantees: a submitted job drains its stage's queue with up to `workers` workers
/// and ends when the queue is drained or the job is cancelled. Which episodes succeeded stands in
/// the checkpoints, not here.
///
/// AWS Batch fits: one array job a submission.
#[async_trait]
pub trait JobRunner: Debug + Send + Sync + 'static {
    /// Starts the workers.
    async fn submit(&self, job: JobSpec) -> Result<JobId, JobError>;

    /// How it stands.
    async fn describe(&self, job: &JobId) -> Result<JobStatus, JobError>;

    /// The job of this name, where there is one.
    async fn find(&self, stage: StageName, name: &str) -> Result<Option<JobId>, JobError>;

    /// Asks the workers to stop: they hand their work back and end.
    async fn cancel(&self, job: &JobId) -> Result<(), JobError>;
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// Whose queue to drain.
    pub stage: StageName,
    /// How many workers, at least 1.
    pub workers: u32,
    /// What the job is called; two submissions of one name are one job.
    pub name: String,
    /// What each worker is told on its command line, where it is a process.
    pub arguments: Vec<String>,
}

/// Names a submitted job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobId(pub String);

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobStatus {
    /// Workers are at it.
    Running {
        /// How many.
        workers: u32,
    },
    /// All workers ended as they should.
    Ended,
    /// A worker could not go on: every later episode would have failed the same way.
    Broken {
        /// Why.
        reason: String,
    },
}

/// A failed runner call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// This runner never started such a job.
    #[error("no job {0:?}")]
    Unknown(String),
    /// The runner failed.
    #[error("cannot run the job: {0}")]
    Backend(Box<dyn std::error::Error + Send + Sync>),
}
