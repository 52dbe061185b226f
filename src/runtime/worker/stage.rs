//! Port: the work that a worker does for each message of one queue.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::outcome::{FatalError, StageOutcome};
use crate::domain::Job;

/// What a stage guarantees:
///
/// * Processing a job twice, at once or in turn, ends like processing it once.
/// * It commits (makes its marker visible) only after [`LeaseCheck::still_held`] said yes, and the
///   marker is its last write.
/// * Once [`WorkContext::cancel`] fires it returns soon, with [`StageOutcome::Interrupted`] or with
///   what it had already committed.
#[async_trait]
pub trait Stage: Debug + Send + Sync + 'static {
    /// What its queue carries.
    type Job: Job;

    /// Does the work of one job.
    async fn process(
        &self,
        job: Self::Job,
        context: &WorkContext,
    ) -> Result<StageOutcome, FatalError>;

    /// What people call the job's episode; may be empty.
    fn title(job: &Self::Job) -> String;
}

/// What the worker tells a stage about the job at hand.
#[derive(Debug, Clone)]
pub struct WorkContext {
    /// Fires on shutdown and when the lease is lost.
    pub cancel: CancellationToken,
    /// Asked right before a commit.
    pub lease: Arc<dyn LeaseCheck>,
    /// How often this job failed before.
    pub failures: u32,
    /// It was delivered as often as may be: a failure that would only put it off ends it.
    pub is_last_delivery: bool,
}

/// Whether the job is still this worker's.
#[async_trait]
pub trait LeaseCheck: Debug + Send + Sync + 'static {
    /// Renews or validates the lease. Where that cannot be found out the answer is no.
    async fn still_held(&self) -> bool;
}

/// A lease that nobody else can take; for tests and for work outside a queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysHeld;

#[async_trait]
impl LeaseCheck for AlwaysHeld {
    async fn still_held(&self) -> bool {
        true
    }
}
