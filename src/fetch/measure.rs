//! The numbers a fetch leaves behind.

use std::sync::Arc;

use crate::domain::{Disposition, EpisodeId, Failure, StageName};
use crate::runtime::clock::Clock;
use crate::runtime::retry::RetryPolicy;
use crate::runtime::telemetry::{Datum, Metrics, Unit, metric};
use crate::runtime::worker::{StageOutcome, WorkContext};

/// Records, and survives a store of numbers that fails: no episode is lost over a metric.
#[derive(Debug, Clone)]
pub(super) struct Measure {
    pub(super) metrics: Arc<dyn Metrics>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Measure {
    /// Keeps one value.
    pub(super) async fn record(
        &self,
        name: &'static str,
        dimension: (&'static str, String),
        value: f64,
        unit: Unit,
    ) {
        let datum = self.datum(name, dimension, value, unit);
        self.keep(&[datum]).await;
    }

    /// How one processing of `episode` ended, begun in `context`, with `transferred` bytes received. One write: the episode is stored by now, and only its checkpoint has yet to say so.
    pub(super) async fn outcome(
        &self,
        episode: &EpisodeId,
        outcome: &StageOutcome,
        context: &WorkContext,
        transferred: u64,
    ) {
        let phase = || ("phase", StageName::Fetch.to_string());
        let mut data = Vec::new();
        if transferred > 0 {
            let gigabytes = transferred as f64 / 1e9;
            data.push(self.datum(metric::GB_TRANSFERRED, phase(), gigabytes, Unit::Gigabytes));
        }
        if let StageOutcome::Done { amount } = outcome {
            let megabytes = *amount as f64 / 1e6;
            data.push(self.datum(metric::AVG_DOWNLOAD_MB, phase(), megabytes, Unit::Megabytes));
        }
        let feed = ("feed_slug", episode.feed_slug.to_string());
        let (name, value, unit) = match fate(outcome, context.failures, context.is_last_delivery) {
            Fate::Open => return self.keep(&data).await,
            Fate::Stored => (metric::DOWNLOAD_SUCCESS_RATE, 1.0, Unit::None),
            Fate::GivenUp => (metric::DOWNLOAD_SUCCESS_RATE, 0.0, Unit::None),
            Fate::Publisher => (metric::PUBLISHER_FAILURES, 1.0, Unit::Count),
        };
        data.push(self.datum(name, feed, value, unit));
        self.keep(&data).await;
    }

    fn datum(
        &self,
        name: &'static str,
        dimension: (&'static str, String),
        value: f64,
        unit: Unit,
    ) -> Datum {
        Datum {
            name,
            dimension,
            value,
            unit,
            at: self.clock.now(),
        }
    }

    async fn keep(&self, data: &[Datum]) {
        if let Err(error) = self.metrics.record(data).await {
            let lost = data.len();
            tracing::warn!(%error, lost, "measurements are lost");
        }
    }
}

/// What became of an episode, for the success rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Not known yet, or told before.
    Open,
    Stored,
    /// Every try failed, and the publisher is not to blame.
    GivenUp,
    /// The publisher has it no more, or not for us.
    Publisher,
}

/// An episode counts once, when its fate is known: failures that will be tried again do not count
/// yet.
fn fate(outcome: &StageOutcome, failures: u32, is_last_delivery: bool) -> Fate {
    let is_last = |failure| is_last(failure, failures, is_last_delivery);
    match outcome {
        StageOutcome::Done { .. } => Fate::Stored,
        StageOutcome::AlreadyDone | StageOutcome::Interrupted => Fate::Open,
        StageOutcome::Failed(failure) if !is_last(failure) => Fate::Open,
        StageOutcome::Failed(failure) if failure.class.is_publisher_side() => Fate::Publisher,
        StageOutcome::Failed(_) => Fate::GivenUp,
    }
}

/// Whether this failure ends the queue's tries.
fn is_last(failure: &Failure, failures: u32, is_last_delivery: bool) -> bool {
    match failure.class.disposition() {
        Disposition::Permanent => true,
        Disposition::Transient => failures + 1 >= RetryPolicy::EPISODE.max_attempts,
        Disposition::HostWide => is_last_delivery,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FailureClass;

    #[test]
    fn an_episode_counts_once_and_a_dead_link_apart() {
        const LAST: u32 = RetryPolicy::EPISODE.max_attempts - 1;
        let failed = |class, failures| {
            let outcome = StageOutcome::Failed(Failure::new(class, "x"));
            fate(&outcome, failures, false)
        };
        let done = StageOutcome::Done { amount: 1 };
        assert_eq!(fate(&done, 2, false), Fate::Stored);
        assert_eq!(fate(&StageOutcome::AlreadyDone, 0, false), Fate::Open);
        assert_eq!(fate(&StageOutcome::Interrupted, LAST, true), Fate::Open);
        assert_eq!(failed(FailureClass::Truncated, 0), Fate::Open);
        assert_eq!(failed(FailureClass::Truncated, LAST), Fate::GivenUp);
        assert_eq!(failed(FailureClass::NotFound, 0), Fate::Publisher);
        assert_eq!(failed(FailureClass::Blocked, 0), Fate::Open);
        assert_eq!(failed(FailureClass::Blocked, LAST), Fate::Publisher);
        assert_eq!(failed(FailureClass::RateLimited, LAST), Fate::Open);
        let throttled = Failure::new(FailureClass::RateLimited, "x");
        let throttled = StageOutcome::Failed(throttled);
        assert_eq!(fate(&throttled, 0, true), Fate::GivenUp);
        let again = StageOutcome::Failed(Failure::new(FailureClass::Timeout, "x"));
        assert_eq!(fate(&again, 0, true), Fate::Open, "has tries of its own");
        // Other settings would have let it through.
        assert_eq!(failed(FailureClass::TooLarge, 0), Fate::GivenUp);
    }
}
