//! Port: numbers for whoever looks later. Names, units and dimensions are defined here only.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Share of an episode's fetch that succeeded: 1 or 0 an episode, by `feed_slug`. Publisher-side
/// permanent failures are not counted: no operator can mend a dead link.
pub const DOWNLOAD_SUCCESS_RATE: &str = "DownloadSuccessRate";
/// 1 for each answer 429, 0 for each other answer, by `hostname`.
pub const PER_HOST_429: &str = "PerHost429";
/// Gigabytes (10^9) received, by `phase`.
pub const GB_TRANSFERRED: &str = "GBTransferred";
/// Megabytes (10^6) of one stored episode, by `phase`.
pub const AVG_DOWNLOAD_MB: &str = "AvgDownloadMB";
/// Seconds of audio transcribed a second of work, by `model`.
pub const TRANSCRIBE_SPEED: &str = "TranscribeSpeed";
/// Seconds of audio transcribed, by `model`.
pub const AUDIO_SECONDS: &str = "AudioSeconds";

/// A store of data points; what is recorded is kept, order is not promised.
#[async_trait]
pub trait Metrics: Debug + Send + Sync + 'static {
    /// Keeps data points.
    async fn record(&self, data: &[Datum]) -> Result<(), MetricsError>;

    /// Sums up what was recorded since `since`, by name and dimension, ordered by both.
    async fn summarize(&self, since: DateTime<Utc>) -> Result<Vec<Summary>, MetricsError>;
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

/// Keeps metrics in memory.
#[derive(Debug, Default)]
pub struct MemoryMetrics(Mutex<Vec<Datum>>);

#[async_trait]
impl Metrics for MemoryMetrics {
    async fn record(&self, data: &[Datum]) -> Result<(), MetricsError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(data);
        Ok(())
    }

    async fn summarize(&self, since: DateTime<Utc>) -> Result<Vec<Summary>, MetricsError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut summaries = std::collections::BTreeMap::<_, (u64, f64)>::new();
        for datum in kept.iter().filter(|datum| datum.at >= since) {
            let key = (datum.name, datum.dimension.clone(), datum.unit);
            let (count, sum) = summaries.entry(key).or_default();
            *count += 1;
            *sum += datum.value;
        }
        let summary = |((name, (dimension, value), unit), (count, sum)): (
            (&str, (&str, String), Unit),
            (u64, f64),
        )| Summary {
            name: name.to_owned(),
            dimension: dimension.to_owned(),
            value,
            unit: unit.as_str().to_owned(),
            count,
            sum,
        };
        Ok(summaries.into_iter().map(summary).collect())
    }
}
