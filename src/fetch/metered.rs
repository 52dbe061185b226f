//! Counts answers by the host that gave them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::measure::Measure;
use crate::domain::Failure;
use crate::politeness::{HostKey, HostLimits};
use crate::runtime::http::{HopGate, HopPass, HopVerdict};
use crate::runtime::telemetry::{Unit, metric};

/// A gate before another one, which records [`metric::PER_HOST_429`] for every answer, under the name
/// of the host that gave it: a tracker that throttles must not look like a throttling media host. Names
/// that count as one host share their numbers, so that a host of many names does not make many rows.
#[derive(Debug)]
pub(super) struct MeteredGate {
    pub(super) inner: Arc<dyn HopGate>,
    pub(super) limits: Arc<HostLimits>,
    pub(super) measure: Measure,
}

#[derive(Debug)]
struct MeteredPass {
    inner: Box<dyn HopPass>,
    measure: Measure,
    host: Option<HostKey>,
}

#[async_trait]
impl HopGate for MeteredGate {
    async fn enter(
        &self,
        url: &Url,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn HopPass>, Failure> {
        Ok(Box::new(MeteredPass {
            inner: self.inner.enter(url, cancel).await?,
            measure: self.measure.clone(),
            host: HostKey::of_url(url, &self.limits),
        }))
    }
}

#[async_trait]
impl HopPass for MeteredPass {
    fn lost(&self) -> CancellationToken {
        self.inner.lost()
    }

    async fn answered(&mut self, status: u16) {
        self.inner.answered(status).await;
    }

    fn received(&mut self, bytes: usize, waited: Duration) {
        self.inner.received(bytes, waited);
    }

    async fn finish(self: Box<Self>, verdict: HopVerdict) {
        // First the pass: others wait for it.
        self.inner.finish(verdict).await;
        if let (Some(status), Some(host)) = (verdict.status(), self.host) {
            let is_429 = if status == 429 { 1.0 } else { 0.0 };
            let dimension = ("hostname", host.to_string());
            self.measure
                .record(metric::PER_HOST_429, dimension, is_429, Unit::Count)
                .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::ManualClock;
    use crate::runtime::http::OpenGate;
    use crate::runtime::telemetry::{MemoryMetrics, Metrics};
    use chrono::DateTime;

    #[tokio::test]
    async fn a_429_is_counted_at_the_host_that_said_it() {
        let metrics = Arc::new(MemoryMetrics::default());
        let gate = MeteredGate {
            inner: Arc::new(OpenGate),
            limits: Arc::default(),
            measure: Measure {
                metrics: Arc::clone(&metrics) as Arc<dyn Metrics>,
                clock: Arc::new(ManualClock::default()),
            },
        };
        let throttled = HopVerdict::Throttled {
            status: 429,
            retry_after: None,
        };
        for (host, verdict) in [
            ("tracker.example", throttled),
            ("eu.tracker.example", HopVerdict::Answered { status: 302 }),
            ("media.example", HopVerdict::Answered { status: 200 }),
            ("media.example", HopVerdict::Unknown { status: None }),
        ] {
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            let pass = gate.enter(&url, &CancellationToken::new()).await.unwrap();
            pass.finish(verdict).await;
        }
        let summaries = metrics.summarize(DateTime::UNIX_EPOCH).await.unwrap();
        let counted: Vec<_> = summaries
            .iter()
            .map(|s| (s.value.as_str(), s.count, s.sum))
            .collect();
        assert_eq!(
            counted,
            [("media.example", 1, 0.0), ("tracker.example", 2, 1.0)]
        );
    }
}
