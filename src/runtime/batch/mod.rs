//! Port: what starts workers and watches them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::StageName;

pub mod aws;
#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
pub mod local;

pub use aws::{AwsBatchRunner, BatchConfig, BatchStage};
pub use local::LocalJobRunner;

/// What a runner guarantees: a submitted job drains its stage's queue with up to `workers` workers
/// and ends when the queue is drained or the job is cancelled. Which episodes succeeded stands in
/// the checkpoints, not here.
///
/// A job is known by its name: submitting a name again yields the job that has it, so a caller that
/// lost the answer asks again. A runner may forget a job some days after its end.
///
/// AWS Batch fits: one array job a submission.
#[async_trait]
pub trait JobRunner: Debug + Send + Sync + 'static {
    /// Starts the workers, or finds the job of that name.
    async fn submit(&self, job: JobSpec) -> Result<JobId, JobError>;

    /// The job of a name, if there is one.
    async fn find(&self, stage: StageName, name: &str) -> Result<Option<JobId>, JobError>;

    /// How it stands; [`JobError::Unknown`] where there is no such job.
    async fn describe(&self, job: &JobId) -> Result<JobStatus, JobError>;

    /// Asks the workers to stop: they hand their work back and end, and are not started again.
    /// Workers that had not begun never do. A job that has ended stays as it is.
    async fn cancel(&self, job: &JobId) -> Result<(), JobError>;
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// What it is found by again: the run's id.
    pub name: String,
    /// Whose queue to drain.
    pub stage: StageName,
    /// How many workers, at least 1.
    pub workers: u32,
    /// The command line of each worker, for runners that start programs.
    pub arguments: Vec<String>,
    /// Variables of each worker, likewise. Never secrets: a runner shows them.
    pub environment: BTreeMap<String, String>,
}

impl JobSpec {
    /// A job whose workers need to be told nothing.
    pub fn new(name: impl Into<String>, stage: StageName, workers: u32) -> Self {
        Self {
            name: name.into(),
            stage,
            workers,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
        }
    }
}

/// How many workers to start for so many episodes, when one is to do about `per_worker` of them.
///
/// At least 1 and at most `max`: workers drain one queue, so a smaller fleet takes longer and misses
/// nothing.
pub fn workers_for(episodes: u64, per_worker: u32, max: u32) -> u32 {
    let wanted = episodes.div_ceil(u64::from(per_worker.max(1)));
    u32::try_from(wanted)
        .unwrap_or(u32::MAX)
        .clamp(1, max.max(1))
}

/// Names a submitted job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobId(pub String);

/// Where a job's workers stand; each is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobStatus {
    /// Not begun, or waiting to begin anew.
    pub pending: u32,
    /// At it.
    pub running: u32,
    /// Found the queue drained and ended.
    pub succeeded: u32,
    /// Could not go on, or were cancelled.
    pub failed: u32,
    /// How often a worker was started anew: its machine was taken back, or it was asked to stop.
    pub restarts: u32,
    /// Why workers wait or failed, in the runner's words, the most frequent first; no more than
    /// [`JobStatus::MAX_REASONS`].
    pub reasons: Vec<String>,
}

impl JobStatus {
    /// Reasons that are kept apart.
    pub const MAX_REASONS: usize = 5;

    /// Whether no worker will do anything any more.
    pub fn has_ended(&self) -> bool {
        self.pending == 0 && self.running == 0
    }

    /// All of them.
    pub fn workers(&self) -> u32 {
        self.pending + self.running + self.succeeded + self.failed
    }
}

/// A failed runner call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// This runner never started such a job.
    #[error("no job {0:?}")]
    Unknown(String),
    /// The runner cannot take such a job, now or later.
    #[error("job {name:?} cannot be submitted: {reason}")]
    Invalid {
        /// The job's name.
        name: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The answer was lost, and no job of that name has shown up since.
    #[error("whether job {name:?} was submitted is not known: {source}")]
    Unsure {
        /// The job's name; submitting it again finds it, should it be there after all.
        name: String,
        /// How the last try failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The runner failed.
    #[error("cannot run the job: {0}")]
    Backend(Box<dyn std::error::Error + Send + Sync>),
}

#[cfg(test)]
mod tests {
    use super::workers_for;

    #[test]
    fn a_fleet_fits_its_work_within_its_limits() {
        assert_eq!(workers_for(0, 25, 40), 1);
        assert_eq!(workers_for(25, 25, 40), 1);
        assert_eq!(workers_for(26, 25, 40), 2);
        assert_eq!(workers_for(1_000, 25, 40), 40);
        assert_eq!(workers_for(u64::MAX, 0, 0), 1);
    }
}
