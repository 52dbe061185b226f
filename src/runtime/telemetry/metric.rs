//! Port: numbers for whoever looks later. Names, units and dimensions are defined here only.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Episodes stored, of those stored or given up after their last try: 1 or 0 an episode, by
/// `feed_slug`. Publisher-side failures are not counted: no operator can mend a dead link.
pub const DOWNLOAD_SUCCESS_RATE: &str = "DownloadSuccessRate";
/// 1 for each episode that ended in a publisher-side failure (a dead link, a refusal, a bot wall, a
/// page in place of audio), by `feed_slug`; those are not in [`DOWNLOAD_SUCCESS_RATE`].
pub const PUBLISHER_FAILURES: &str = "PublisherFailures";
/// 1 for each answer 429, 0 for each other answer, by `hostname`: the name that a host's requests are
/// counted under, a configured group's or the registrable domain.
pub const PER_HOST_429: &str = "PerHost429";
/// Gigabytes (10^9) received, by `phase`.
pub const GB_TRANSFERRED: &str = "GBTransferred";
/// Megabytes (10^6) of one stored episode, by `phase`.
pub const AVG_DOWNLOAD_MB: &str = "AvgDownloadMB";
/// Seconds of audio transcribed a second of work, by `model`.
pub const TRANSCRIBE_SPEED: &str = "TranscribeSpeed";
/// Seconds of audio transcribed, by `model`.
pub const AUDIO_SECONDS: &str = "AudioSeconds";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The name of its dimension.
    pub dimension: &'static str,
    /// Its unit.
    pub unit: Unit,
}

/// Every metric.
pub const KINDS: [Kind; 7] = [
    kind(DOWNLOAD_SUCCESS_RATE, "feed_slug", Unit::None),
    kind(PUBLISHER_FAILURES, "feed_slug", Unit::Count),
    kind(PER_HOST_429, "hostname", Unit::Count),
    kind(GB_TRANSFERRED, "phase", Unit::Gigabytes),
    kind(AVG_DOWNLOAD_MB, "phase", Unit::Megabytes),
    kind(TRANSCRIBE_SPEED, "model", Unit::None),
    kind(AUDIO_SECONDS, "model", Unit::Seconds),
];

const fn kind(name: &'static str, dimension: &'static str, unit: Unit) -> Kind {
    Kind {
        name,
        dimension,
        unit,
    }
}

/// Whether a dimension has a handful of values, however many episodes there are.
pub fn is_bounded(dimension: &str) -> bool {
    matches!(dimension, "phase" | "model")
}

/// The value of a dimension whose values an adapter does not tell apart.
pub const FOLDED: &str = "(all)";

/// A store of data points. What metrics guarantee:
///
/// * What is recorded counts once it was flushed, once, whichever process recorded it; order is not
///   promised. Where a remote service's answer is lost, an adapter that cannot tell whether it counted
///   gives the numbers up rather than count them twice, and says so.
/// * An adapter that pays for each value may fold those of dimensions that are not
///   [bounded](is_bounded) into one, [`FOLDED`].
/// * Time is known by the hour: a store may keep one sum an hour, name, dimension and unit.
/// * Hours older than [`RETENTION`] may be forgotten.
/// * A value that is no finite number (a speed over no time) is not counted.
#[async_trait]
pub trait Metrics: Debug + Send + Sync + 'static {
    /// Keeps data points, or gathers them.
    async fn record(&self, data: &[Datum]) -> Result<(), MetricsError>;

    /// Sends off what was gathered; for the end of a program. Nothing to do for an adapter that keeps
    /// data points at once.
    async fn flush(&self) -> Result<(), MetricsError> {
        Ok(())
    }

    /// Sums up what was recorded since the beginning of the hour of `since` (UTC), by name,
    /// dimension and unit, in that order.
    async fn summarize(&self, since: DateTime<Utc>) -> Result<Vec<Summary>, MetricsError>;
}

/// How long hours are kept: 455 days, as CloudWatch does.
pub const RETENTION: TimeDelta = TimeDelta::days(455);

/// The full hour that `at` is in.
pub(super) fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    // Fails only some 300 years from 1970, where an hour more or less does not matter.
    at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at)
}

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    /// One of the names above.
    pub name: &'static str,
    /// Dimension's name and value.
    pub dimension: (&'static str, String),
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// When.
    pub at: DateTime<Utc>,
}

/// Units as CloudWatch spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Unit {
    /// A share or a factor.
    None,
    /// How many.
    Count,
    /// 10^9 bytes.
    Gigabytes,
    /// 10^6 bytes.
    Megabytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Count => "Count",
            Self::Gigabytes => "Gigabytes",
            Self::Megabytes => "Megabytes",
            Self::Seconds => "Seconds",
        }
    }
}

/// All values of one name and dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Metric.
    pub name: String,
    /// Dimension's name.
    pub dimension: String,
    /// Dimension's value.
    pub value: String,
    /// Unit.
    pub unit: String,
    /// How many data points.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

/// A failed metrics call.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps metrics in memory, by the hour, and forgets nothing.
#[derive(Debug, Default)]
pub struct MemoryMetrics(Mutex<BTreeMap<Bucket, Total>>);

/// Hour, name, dimension's name and value, unit.
type Bucket = (
    DateTime<Utc>,
    &'static str,
    &'static str,
    String,
    &'static str,
);

#[derive(Debug, Default)]
struct Total {
    count: u64,
    sum: f64,
}

#[async_trait]
impl Metrics for MemoryMetrics {
    async fn record(&self, data: &[Datum]) -> Result<(), MetricsError> {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for datum in data.iter().filter(|datum| datum.value.is_finite()) {
            let (dimension, value) = datum.dimension.clone();
            let unit = datum.unit.as_str();
            let bucket = (hour_of(datum.at), datum.name, dimension, value, unit);
            let total = totals.entry(bucket).or_default();
            total.count += 1;
            total.sum += datum.value;
        }
        Ok(())
    }

    async fn summarize(&self, since: DateTime<Utc>) -> Result<Vec<Summary>, MetricsError> {
        let since = hour_of(since);
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut summaries = BTreeMap::<_, Total>::new();
        for ((hour, name, dimension, value, unit), total) in &*totals {
            if *hour >= since {
                let key = (*name, *dimension, value, *unit);
                let summary = summaries.entry(key).or_default();
                summary.count += total.count;
                summary.sum += total.sum;
            }
        }
        let summary =
            |((name, dimension, value, unit), total): ((&str, &str, &String, &str), Total)| {
                Summary {
                    name: name.to_owned(),
                    dimension: dimension.to_owned(),
                    value: value.clone(),
                    unit: unit.to_owned(),
                    count: total.count,
                    sum: total.sum,
                }
            };
        Ok(summaries.into_iter().map(summary).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::telemetry::conformance;

    #[tokio::test]
    async fn conforms() {
        conformance::run_all(MemoryMetrics::default).await.unwrap();
    }
}
