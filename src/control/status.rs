//! What is queued, leased, done and failed, by stage and feed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::ControlError;
use crate::checkpoint::{Checkpoints, Filter, Record, State, Subject};
use crate::domain::{EpisodeId, FailureClass, FeedSlug, StageName};
use crate::queue::Queue;
use crate::runtime::telemetry::Metrics;
use crate::runtime::telemetry::metric::Summary;

/// Everything `podrun status` shows. The JSON form is stable; `schema_version` says which.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// 1.
    pub schema_version: u32,
    /// When it was taken.
    pub at: DateTime<Utc>,
    /// One entry a stage, in the order of the data flow.
    pub stages: Vec<StageStatus>,
    /// The latest failures of each stage, at most as many as were asked for.
    pub failures: Vec<FailureStatus>,
    /// Whether there are more failures than are listed.
    pub more_failures: bool,
    /// Sums of what was measured.
    pub metrics: Vec<Summary>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageStatus {
    /// Which.
    pub stage: StageName,
    /// Messages by state.
    pub queue: QueueStatus,
    /// Episodes by state, all feeds together.
    pub episodes: Counts,
    /// The same by feed.
    pub feeds: BTreeMap<FeedSlug, Counts>,
}

/// Messages of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct QueueStatus {
    /// Can be received now.
    pub ready: u64,
    /// Will be deliverable later.
    pub delayed: u64,
    /// Out with a worker.
    pub leased: u64,
    /// Set aside for good.
    pub dead: u64,
}

/// Episodes by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Nobody has it yet.
    pub pending: u64,
    /// A worker has it.
    pub leased: u64,
    /// It rests before another try.
    pub waiting: u64,
    /// Finished.
    pub done: u64,
    /// Given up.
    pub failed: u64,
}

impl Counts {
    fn add(&mut self, state: State, count: u64) {
        *match state {
            State::Pending => &mut self.pending,
            State::Leased => &mut self.leased,
            State::Waiting => &mut self.waiting,
            State::Done => &mut self.done,
            State::Failed => &mut self.failed,
        } += count;
    }

    /// All states together.
    pub fn total(&self) -> u64 {
        self.pending + self.leased + self.waiting + self.done + self.failed
    }
}

/// One episode that failed, or that rests after a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureStatus {
    /// In which stage.
    pub stage: StageName,
    /// Which.
    pub episode: EpisodeId,
    /// `failed` or `waiting`.
    pub state: State,
    /// Why.
    pub class: FailureClass,
    /// In words.
    pub reason: String,
    /// How often.
    pub failures: u32,
    /// When it comes back, where it does.
    pub until: Option<DateTime<Utc>>,
    /// When it happened.
    pub at: DateTime<Utc>,
}

/// Where [`status`] looks.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The queue of each stage.
    pub queues: [(StageName, &'a dyn Queue); 2],
    /// Progress.
    pub checkpoints: &'a dyn Checkpoints,
    /// Figures.
    pub metrics: &'a dyn Metrics,
}

/// Takes the status; at most `max_failures` failures are listed.
pub async fn status(
    sources: Sources<'_>,
    max_failures: usize,
    now: DateTime<Utc>,
) -> Result<StatusReport, ControlError> {
    let mut stages = Vec::new();
    for (stage, queue) in sources.queues {
        let depth = queue.depth().await?;
        stages.push(StageStatus {
            stage,
            queue: QueueStatus {
                ready: depth.ready,
                delayed: depth.delayed,
                leased: depth.leased,
                dead: depth.dead,
            },
            episodes: Counts::default(),
            feeds: BTreeMap::new(),
        });
    }
    for tally in sources.checkpoints.tally().await? {
        for stage in stages.iter_mut().filter(|s| s.stage == tally.stage) {
            stage.episodes.add(tally.state, tally.count);
            let feed = stage.feeds.entry(tally.feed.clone()).or_default();
            feed.add(tally.state, tally.count);
        }
    }
    let mut failures = failures(sources.checkpoints, max_failures + 1).await?;
    let more_failures = failures.len() > max_failures;
    failures.truncate(max_failures);
    Ok(StatusReport {
        schema_version: 1,
        at: now,
        stages,
        failures,
        more_failures,
        metrics: sources.metrics.summarize(DateTime::UNIX_EPOCH).await?,
    })
}

async fn failures(
    checkpoints: &dyn Checkpoints,
    max: usize,
) -> Result<Vec<FailureStatus>, ControlError> {
    let mut found = Vec::new();
    for state in [State::Failed, State::Waiting] {
        let filter = Filter {
            state: Some(state),
            ..Filter::default()
        };
        let mut after: Option<Subject> = None;
        while found.len() < max {
            let page = checkpoints
                .list(&filter, after.as_ref(), max - found.len())
                .await?;
            let Some(last) = page.last() else { break };
            after = Some(last.subject.clone());
            found.extend(page.into_iter().filter_map(failure_status));
        }
    }
    Ok(found)
}

fn failure_status(record: Record) -> Option<FailureStatus> {
    let failure = record.failure?;
    Some(FailureStatus {
        stage: record.subject.stage,
        episode: record.subject.episode,
        state: record.state,
        class: failure.class,
        reason: failure.message,
        failures: record.failures,
        until: record.until,
        at: record.updated_at,
    })
}
