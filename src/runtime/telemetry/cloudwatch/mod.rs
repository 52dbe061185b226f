//! Adapter: metrics in CloudWatch.
//!
//! Every combination of a metric and its dimensions' values is billed as a metric of its own, so the
//! dimensions decide the way:
//!
//! * a **bounded** dimension (`phase`, `model`): gathered by the minute and sent by `PutMetricData`
//!   once a minute and by [`flush`](Metrics::flush), as values with their counts, so that percentiles
//!   stay exact;
//! * an **unbounded** one (`feed_slug`, `hostname`): a line in the Embedded Metric Format for the log,
//!   from which the service takes the metric without that dimension, one series a name. The slug or the
//!   host stays in the line, where Logs Insights finds it. [`summarize`](Metrics::summarize) tells such
//!   a metric as one value, [`FOLDED`].
//!
//! # What counts, and how often
//!
//! A `PutMetricData` has no name by which the service could tell a repetition. So a call is made again
//! only where the service has said that it did not take it (throttled); where nobody knows, because the
//! answer was lost, its numbers are given up and the log says so: at most a minute of one worker.
//! What a killed worker had gathered is lost too. Lines of the log are written at once, and the service
//! takes numbers from them at least once.
//!
//! CloudWatch takes times up to two weeks back, shows what it took after minutes, and names only
//! metrics that were fed within two weeks.

mod emf;
mod pending;
mod read;
mod send;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudwatch::Client;
use chrono::{DateTime, Utc};

use self::pending::Pending;
use super::metric::{Datum, Metrics, MetricsError, Summary, is_bounded};

#[cfg(doc)]
use super::metric::FOLDED;

/// Between two sendings of what was gathered.
const INTERVAL: Duration = Duration::from_secs(60);

/// Metrics of one namespace. Cheap to clone.
///
/// Needs `cloudwatch:PutMetricData`; to read, `cloudwatch:ListMetrics` and `cloudwatch:GetMetricData`.
#[derive(Debug, Clone)]
pub struct CloudWatchMetrics {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    namespace: String,
    interval: Duration,
    log: Arc<Mutex<Box<dyn Write + Send>>>,
    /// On every line of the log.
    properties: BTreeMap<String, String>,
    pending: Mutex<Pending>,
    /// A task waits to send what is pending.
    is_scheduled: AtomicBool,
    /// One sends at a time, so that [`flush`](Metrics::flush) ends after all that was under way.
    sending: tokio::sync::Mutex<()>,
}

impl CloudWatchMetrics {
    /// Metrics in `namespace`. Lines go to `log` (the worker's stdout), each with `properties`, such as
    /// the run's id. Nothing is asked of the service.
    pub fn new(
        client: Client,
        namespace: impl Into<String>,
        log: Box<dyn Write + Send>,
        properties: BTreeMap<String, String>,
    ) -> Self {
        Self::with_interval(client, namespace, log, properties, INTERVAL)
    }

    /// The same, sending after `interval`.
    pub fn with_interval(
        client: Client,
        namespace: impl Into<String>,
        log: Box<dyn Write + Send>,
        properties: BTreeMap<String, String>,
        interval: Duration,
    ) -> Self {
        let inner = Inner {
            client,
            namespace: namespace.into(),
            interval,
            log: Arc::new(Mutex::new(log)),
            properties,
            pending: Mutex::default(),
            is_scheduled: AtomicBool::new(false),
            sending: tokio::sync::Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Has what is pending sent later, unless that is arranged already.
    fn schedule(&self) {
        if self.inner.is_scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let metrics = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(metrics.inner.interval).await;
            // Before the sending: what is recorded meanwhile needs another.
            metrics.inner.is_scheduled.store(false, Ordering::Release);
            if let Err(error) = metrics.inner.send_pending().await {
                tracing::warn!(%error, "measurements were not sent");
            }
        });
    }

    /// Writes lines where it may block.
    async fn write(&self, lines: String) -> Result<(), MetricsError> {
        let log = Arc::clone(&self.inner.log);
        let written = tokio::task::spawn_blocking(move || {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.write_all(lines.as_bytes())?;
            log.flush()
        });
        let written = written.await.map_err(|error| MetricsError(error.into()))?;
        written.map_err(|error| MetricsError(format!("cannot write to the log: {error}").into()))
    }
}

impl Inner {
    /// Stays usable after a panic elsewhere: nothing in here panics between two changes.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("CloudWatchMetrics");
        shown
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Metrics for CloudWatchMetrics {
    async fn record(&self, data: &[Datum]) -> Result<(), MetricsError> {
        let finite = data.iter().filter(|datum| datum.value.is_finite());
        let (bounded, unbounded): (Vec<_>, Vec<_>) =
            finite.partition(|datum| is_bounded(datum.dimension.0));
        if !bounded.is_empty() {
            self.inner.pending().add(&bounded);
            self.schedule();
        }
        if unbounded.is_empty() {
            return Ok(());
        }
        let inner = &self.inner;
        let lines = emf::lines(&inner.namespace, &inner.properties, &unbounded);
        self.write(lines).await
    }

    async fn flush(&self) -> Result<(), MetricsError> {
        self.inner.send_pending().await
    }

    async fn summarize(&self, since: DateTime<Utc>) -> Result<Vec<Summary>, MetricsError> {
        read::summarize(&self.inner.client, &self.inner.namespace, since).await
    }
}
