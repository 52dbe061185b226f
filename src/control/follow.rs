//! Watching a run of a fleet until it ends, from any machine and at any time.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::ControlError;
use crate::checkpoint::{Checkpoints, State};
use crate::domain::StageName;
use crate::queue::Queue;
use crate::runtime::batch::{JobId, JobRunner, JobStatus};
use crate::runtime::telemetry::{Event, Observer};

/// Looks that may fail in a row before the following gives up; the run goes on either way.
const PATIENCE: u32 = 10;

/// What is watched.
#[derive(Debug, Clone, Copy)]
pub struct Follow<'a> {
    /// Who runs the workers.
    pub jobs: &'a dyn JobRunner,
    /// What they drain.
    pub queue: &'a dyn Queue,
    /// What became of the episodes.
    pub checkpoints: &'a dyn Checkpoints,
    /// Who is told.
    pub observer: &'a dyn Observer,
    /// Which stage.
    pub stage: StageName,
    /// How often to look.
    pub every: Duration,
}

/// Episodes of a stage that have an end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// Whose product is there.
    pub done: u64,
    /// Given up.
    pub failed: u64,
}

/// How a followed run stands at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// Episodes that ended since the run was submitted; those of a run beside it are counted too.
    #[serde(flatten)]
    pub ends: Ends,
    /// Episodes that are still queued.
    pub left: u64,
    /// What stopped the workers before the queue was drained.
    pub broken: Option<String>,
}

impl Follow<'_> {
    /// Counts what has ended so far.
    pub async fn ends(&self) -> Result<Ends, ControlError> {
        let mut ends = Ends::default();
        for tally in self.checkpoints.tally().await? {
            match tally.state {
                _ if tally.stage != self.stage => {}
                State::Done => ends.done += tally.count,
                State::Failed => ends.failed += tally.count,
                _ => {}
            }
        }
        Ok(ends)
    }

    /// Looks until the job has ended; `None` where `stop` came first, which leaves the run alone.
    /// `before` is what had ended when the run was submitted.
    ///
    /// # Errors
    /// What the last of several failed looks in a row said.
    pub async fn to_end(
        &self,
        job: &JobId,
        before: Ends,
        stop: &CancellationToken,
    ) -> Result<Option<Followed>, ControlError> {
        let mut failures = 0;
        loop {
            match self.look(job, before).await {
                Ok(Some(followed)) => return Ok(Some(followed)),
                Ok(None) => failures = 0,
                Err(error) if failures < PATIENCE => {
                    failures += 1;
                    tracing::warn!(%error, "cannot see how the run stands; looking again");
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    async fn look(&self, job: &JobId, before: Ends) -> Result<Option<Followed>, ControlError> {
        let status = self.jobs.describe(job).await?;
        let left = self.queue.depth().await?.outstanding();
        let now = self.ends().await?;
        let ends = Ends {
            done: now.done.saturating_sub(before.done),
            failed: now.failed.saturating_sub(before.failed),
        };
        let (workers, has_ended, broken) = match status {
            JobStatus::Running { workers } => (workers, false, None),
            JobStatus::Ended => (0, true, None),
            JobStatus::Broken { reason } => (0, true, Some(reason)),
        };
        self.observer.event(&Event::FleetProgress {
            stage: self.stage,
            workers,
            done: ends.done,
            failed: ends.failed,
            left,
        });
        Ok(has_ended.then_some(Followed { ends, left, broken }))
    }
}
