//! Space between the starts of requests to one host.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{HostKey, HostLimits};
use crate::domain::{Failure, FailureClass};
use crate::runtime::http::{HopGate, HopPass};

/// A gate before another one, which keeps one process's starts apart (a GCRA a host, without bursts).
///
/// The windows behind the inner gate do the same for all workers together. This guard is what keeps a
/// worker's own tasks from asking that shared store for the same host all at once, only to be told
/// to wait.
pub struct PacedGate {
    inner: Arc<dyn HopGate>,
    limits: Arc<HostLimits>,
    /// `None` where no space is wanted.
    starts: Option<DefaultKeyedRateLimiter<HostKey>>,
}

/// Hosts remembered before those that rested long enough are forgotten.
const MANY_HOSTS: usize = 4096;

impl PacedGate {
    /// Keeps the space that `limits` asks for.
    pub fn new(inner: Arc<dyn HopGate>, limits: Arc<HostLimits>) -> Self {
        Self {
            inner,
            // No quota where the period is zero.
            starts: Quota::with_period(limits.start_spacing()).map(RateLimiter::keyed),
            limits,
        }
    }
}

#[async_trait]
impl HopGate for PacedGate {
    async fn enter(
        &self,
        url: &Url,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn HopPass>, Failure> {
        if let (Some(starts), Some(host)) = (&self.starts, HostKey::of_url(url, &self.limits)) {
            if starts.len() > MANY_HOSTS {
                starts.retain_recent();
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(stopped(&host)),
                () = starts.until_key_ready(&host) => {}
            }
        }
        self.inner.enter(url, cancel).await
    }
}

fn stopped(host: &HostKey) -> Failure {
    let problem = format!("stopped while waiting for a turn at {host}");
    Failure::new(FailureClass::RateLimited, problem)
}

impl fmt::Debug for PacedGate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PacedGate")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::http::OpenGate;
    use futures::FutureExt;
    use std::time::{Duration, Instant};

    fn paced(spacing_ms: u64) -> PacedGate {
        let limits = format!("{{\"start_spacing_ms\": {spacing_ms}}}");
        let limits: HostLimits = serde_json::from_str(&limits).unwrap();
        PacedGate::new(Arc::new(OpenGate), Arc::new(limits))
    }

    async fn enter(gate: &PacedGate, url: &str) {
        let url = Url::parse(url).unwrap();
        gate.enter(&url, &CancellationToken::new()).await.unwrap();
    }

    #[tokio::test]
    async fn starts_at_one_host_are_kept_apart_and_others_are_not() {
        // An hour never passes here: whoever waits at all, waits for good.
        let gate = paced(3_600_000);
        for host in ["a.example", "b.example", "c.example", "d.example"] {
            let url = format!("https://{host}/");
            assert!(enter(&gate, &url).now_or_never().is_some());
            assert!(enter(&gate, &url).now_or_never().is_none());
        }
    }

    #[tokio::test]
    async fn a_wait_for_the_next_start_ends() {
        let gate = paced(50);
        let started = Instant::now();
        for _ in 0..3 {
            enter(&gate, "https://a.example/").await;
        }
        assert!(started.elapsed() >= Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_wait_for_the_next_start_can_be_cancelled() {
        let gate = paced(3_600_000);
        enter(&gate, "https://a.example/").await;
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let url = Url::parse("https://a.example/").unwrap();
        assert!(gate.enter(&url, &cancelled).await.is_err());
    }

    #[tokio::test]
    async fn no_space_is_a_setting_too() {
        let gate = paced(0);
        for _ in 0..100 {
            enter(&gate, "https://a.example/").await;
        }
    }
}
