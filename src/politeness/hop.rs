//! The throttle as the HTTP client's gate: each hop takes its own host's turn.

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Signal;
use super::throttle::{Pass, Throttle};
use crate::domain::Failure;
use crate::runtime::http::{HopGate, HopPass, HopVerdict};

/// Least rest of a host that said 429 or 503, whatever it asked for.
const LEAST_REST: Duration = Duration::from_secs(15);

#[async_trait]
impl HopGate for Throttle {
    async fn enter(
        &self,
        url: &Url,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn HopPass>, Failure> {
        Ok(Box::new(Turn {
            pass: Throttle::enter(self, url, cancel).await?,
            throttle: self.clone(),
            url: url.clone(),
        }))
    }
}

struct Turn {
    pass: Pass,
    throttle: Throttle,
    url: Url,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may be signed.
        self.pass.fmt(formatter)
    }
}

#[async_trait]
impl HopPass for Turn {
    fn lost(&self) -> CancellationToken {
        self.pass.lost()
    }

    async fn finish(self: Box<Self>, verdict: HopVerdict) {
        if let HopVerdict::Throttled { retry_after, .. } = verdict {
            let rest = rest(retry_after, rand::rng().random());
            // Before the slot is free, so that nobody slips in between. A store that fails here is
            // asked again by the next one in, and lets nobody in while it fails.
            if let Err(error) = self.throttle.hold_off(&self.url, rest).await {
                tracing::warn!(%error, "a host's wish to be left alone was not written down");
            }
        }
        self.pass.finish(signal(verdict)).await;
    }
}

/// What the host asked for, at least [`LEAST_REST`], and up to a quarter more: those who wait together
/// must not come back together. `random` is uniform in `[0, 1)`.
fn rest(retry_after: Option<Duration>, random: f64) -> Duration {
    let asked = retry_after.unwrap_or_default().max(LEAST_REST);
    asked.mul_f64(1.0 + random / 4.0)
}

fn signal(verdict: HopVerdict) -> Signal {
    match verdict {
        HopVerdict::Answered { .. } => Signal::Served,
        HopVerdict::Throttled { .. } | HopVerdict::Strained { .. } => Signal::Congested,
        HopVerdict::Blocked { .. } | HopVerdict::Unknown { .. } => Signal::Neutral,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{FailureClass, OwnerId};
    use crate::politeness::{HostLimits, MemoryHostWindows};
    use crate::runtime::clock::{Clock, ManualClock};

    #[test]
    fn what_a_host_asks_for_is_never_shortened() {
        let minutes = |n: u64| Some(Duration::from_secs(60 * n));
        assert_eq!(rest(None, 0.0), LEAST_REST);
        assert_eq!(rest(Some(Duration::ZERO), 0.0), LEAST_REST);
        assert_eq!(rest(minutes(60), 0.0), Duration::from_secs(3600));
        assert_eq!(rest(minutes(60), 1.0), Duration::from_secs(4500));
    }

    #[tokio::test]
    async fn a_429_closes_the_host_for_everybody_and_no_other_host() {
        let clock = Arc::new(ManualClock::default());
        let windows =
            MemoryHostWindows::new(HostLimits::default(), Arc::clone(&clock) as Arc<dyn Clock>);
        let windows = Arc::new(windows);
        let worker = |name| {
            Throttle::new(
                Arc::clone(&windows) as Arc<dyn super::super::HostWindows>,
                Arc::new(HostLimits::default()),
                OwnerId::generate(name),
                Arc::clone(&clock) as Arc<dyn Clock>,
            )
        };
        let (first, second) = (worker("a"), worker("b"));
        let cancel = CancellationToken::new();
        let enter = async |gate: &dyn HopGate, url: &str| {
            gate.enter(&Url::parse(url).unwrap(), &cancel).await
        };

        let pass = enter(&first, "https://tracker.example/1?token=t")
            .await
            .unwrap();
        assert!(!format!("{pass:?}").contains("token=t"));
        pass.finish(HopVerdict::Throttled {
            status: 429,
            retry_after: Some(Duration::from_secs(600)),
        })
        .await;
        clock.advance(Duration::from_secs(599));
        // One second is waited for in place; the clock here does not move by itself.
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let url = Url::parse("https://other.tracker.example/2").unwrap();
        let gate: &dyn HopGate = &second;
        assert!(gate.enter(&url, &cancelled).await.is_err());
        enter(&second, "https://media.example/2").await.unwrap();
        clock.advance(Duration::from_secs(152));
        enter(&second, "https://tracker.example/3").await.unwrap();
    }

    #[tokio::test]
    async fn a_long_rest_defers_the_episode() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let windows = MemoryHostWindows::new(HostLimits::default(), Arc::clone(&clock));
        let limits = Arc::new(HostLimits::default());
        let throttle = Throttle::new(Arc::new(windows), limits, OwnerId::generate("a"), clock);
        let gate: &dyn HopGate = &throttle;
        let url = Url::parse("https://a.example/").unwrap();
        let cancel = CancellationToken::new();
        let pass = gate.enter(&url, &cancel).await.unwrap();
        let verdict = HopVerdict::Throttled {
            status: 503,
            retry_after: Some(Duration::from_secs(3600)),
        };
        pass.finish(verdict).await;
        let failure = gate.enter(&url, &cancel).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::RateLimited);
        assert!(failure.retry_after.unwrap() >= Duration::from_secs(3600));
    }
}
