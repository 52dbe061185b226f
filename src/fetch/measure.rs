//! The numbers a fetch leaves behind.

use std::sync::Arc;

use crate::domain::{Disposition, EpisodeId, StageName};
use crate::runtime::clock::Clock;
use crate::runtime::retry::RetryPolicy;
use crate::runtime::telemetry::{Datum, Metrics, Unit, metric};
use crate::runtime::worker::StageOutcome;

/// Records, and survives a store of numbers that fails: no episode is lost over a metric.
#[derive(Debug, Clone)]
pub(super) struct Measure {
    pub(super) metrics: Arc<dyn Metrics>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Measure {
    pub(super) async fn record(
        &self,
        name: &'static str,
        dimension: (&'static str, String),
        value: f64,
        unit: Unit,
    ) {
        let datum = Datum {
            name,
            dimension,
            value,
            unit,
            at: self.clock.now(),
        };
        if let Err(error) = self.metrics.record(&[datum]).await {
            tracing::warn!(%error, metric = name, "a measurement is lost");
        }
    }

    /// How one processing of `episode` ended, after `failures` earlier ones, with `transferred` bytes
    /// received.
    pub(super) async fn outcome(
        &self,
        episode: &EpisodeId,
        outcome: &StageOutcome,
        failures: u32,
        transferred: u64,
    ) {
        let phase = || ("phase", StageName::Fetch.to_string());
        if transferred > 0 {
            let gigabytes = transferred as f64 / 1e9;
            self.record(metric::GB_TRANSFERRED, phase(), gigabytes, Unit::Gigabytes)
                .await;
        }
        if let StageOutcome::Done { amount } = outcome {
            let megabytes = *amount as f64 / 1e6;
            self.record(metric::AVG_DOWNLOAD_MB, phase(), megabytes, Unit::Megabytes)
                .await;
        }
        if let Some(success) = success(outcome, failures) {
            let feed = ("feed_slug", episode.feed_slug.to_string());
            self.record(metric::DOWNLOAD_SUCCESS_RATE, feed, success, Unit::None)
                .await;
        }
    }
}

/// What an outcome adds to the success rate. An episode counts once, when its fate is known: failures
/// that will be tried again do not count yet, and publishers' permanent ones never do.
fn success(outcome: &StageOutcome, failures: u32) -> Option<f64> {
    match outcome {
        StageOutcome::Done { .. } => Some(1.0),
        StageOutcome::Failed(failure) => {
            let is_transient = failure.class.disposition() == Disposition::Transient;
            let is_last = failures + 1 >= RetryPolicy::EPISODE.max_attempts;
            (is_transient && is_last).then_some(0.0)
        }
        StageOutcome::AlreadyDone | StageOutcome::Interrupted => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Failure, FailureClass};

    #[test]
    fn an_episode_counts_once_and_a_dead_link_never() {
        let failed = |class| StageOutcome::Failed(Failure::new(class, "x"));
        assert_eq!(success(&StageOutcome::Done { amount: 1 }, 2), Some(1.0));
        assert_eq!(success(&StageOutcome::AlreadyDone, 0), None);
        let cut = failed(FailureClass::Truncated);
        assert_eq!(success(&cut, 0), None);
        assert_eq!(
            success(&cut, RetryPolicy::EPISODE.max_attempts - 1),
            Some(0.0)
        );
        assert_eq!(success(&failed(FailureClass::NotFound), 2), None);
        assert_eq!(success(&failed(FailureClass::RateLimited), 2), None);
    }
}
