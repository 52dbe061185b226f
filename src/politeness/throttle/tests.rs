//! On tokio's paused time: every wait is exact and none is waited for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::super::MemoryHostWindows;
use super::*;
use crate::runtime::clock::later;

/// A clock that goes with tokio's.
#[derive(Debug)]
struct TokioClock(DateTime<Utc>, Instant);

impl TokioClock {
    fn start() -> Arc<Self> {
        Arc::new(Self(DateTime::UNIX_EPOCH, Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        later(self.0, self.1.elapsed())
    }
}

/// Windows that fail on demand.
#[derive(Debug)]
struct Broken {
    inner: MemoryHostWindows,
    fails: AtomicBool,
    renewals: AtomicU64,
}

impl Broken {
    fn answer(&self) -> Result<(), WindowError> {
        if self.fails.load(Ordering::SeqCst) {
            let source = "injected".into();
            return Err(WindowError::Backend { source });
        }
        Ok(())
    }
}

#[async_trait]
impl HostWindows for Broken {
    async fn acquire(
        &self,
        host: &HostKey,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<SlotDecision, WindowError> {
        self.answer()?;
        self.inner.acquire(host, owner, ttl).await
    }

    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.answer()?;
        self.inner.renew(slot, ttl).await
    }

    async fn release(&self, slot: Slot, signal: Signal) -> Result<(), WindowError> {
        self.answer()?;
        self.inner.release(slot, signal).await
    }
}

struct Setup {
    windows: Arc<Broken>,
    throttle: Throttle,
    url: Url,
    cancel: CancellationToken,
}

impl Setup {
    /// Two slots, as every host has that nobody asked before.
    fn new() -> Self {
        let (limits, clock) = (HostLimits::default(), TokioClock::start());
        let windows = Arc::new(Broken {
            inner: MemoryHostWindows::new(limits.clone(), clock.clone()),
            fails: AtomicBool::new(false),
            renewals: AtomicU64::new(0),
        });
        let owner = OwnerId::generate("test");
        Self {
            throttle: Throttle::new(windows.clone(), Arc::new(limits), owner, clock),
            windows,
            url: Url::parse("https://cdn.example.com/secret-path?token=secret").unwrap(),
            cancel: CancellationToken::new(),
        }
    }

    /// A worker hears a 429 that asks for `rest`, which at least that much is then kept.
    async fn rests(&self, rest: Duration) {
        let signal = Signal::Throttled {
            status: 429,
            retry_after: Some(rest),
        };
        self.enter().await.unwrap().finish(signal).await;
    }

    async fn enter(&self) -> Result<Pass, Failure> {
        self.throttle.enter(&self.url, &self.cancel).await
    }

    async fn refused(&self) -> Failure {
        let failure = self.enter().await.unwrap_err();
        assert!(!failure.message.contains("secret"), "{failure}");
        failure
    }
}

#[tokio::test(start_paused = true)]
async fn a_third_transfer_waits_for_a_slot() {
    let setup = Setup::new();
    let first = setup.enter().await.unwrap();
    let _second = setup.enter().await.unwrap();
    let finish_later = async {
        sleep(Duration::from_secs(5)).await;
        first.finish(Signal::SERVED).await;
    };
    let start = Instant::now();
    let (third, ()) = tokio::join!(setup.enter(), finish_later);
    third.unwrap();
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_secs(5) && waited < Duration::from_secs(7),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stays_full_defers_the_episode() {
    let setup = Setup::new();
    let _passes = (setup.enter().await.unwrap(), setup.enter().await.unwrap());
    let start = Instant::now();
    let failure = setup.refused().await;
    assert_eq!(failure.class, FailureClass::RateLimited);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(60)));
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_secs(60) && waited < Duration::from_secs(61),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_is_longer_than_the_wait_defers_at_once() {
    let setup = Setup::new();
    // Refused one at a time, again and again: minutes between two starts.
    for _ in 0..4 {
        setup.rests(Duration::ZERO).await;
        sleep(Duration::from_secs(600)).await;
    }
    setup.enter().await.unwrap().finish(Signal::Neutral).await;
    let start = Instant::now();
    let failure = setup.refused().await;
    assert!(
        failure.retry_after.unwrap() > Duration::from_secs(60),
        "{failure:?}"
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_short_rest_is_waited_for_and_a_long_one_defers() {
    let setup = Setup::new();
    let rest = Duration::from_secs(15);
    setup.rests(rest).await;
    let start = Instant::now();
    setup.enter().await.unwrap().finish(Signal::SERVED).await;
    let longest = rest.mul_f64(1.25) + Duration::from_secs(1);
    assert!(start.elapsed() >= rest && start.elapsed() < longest);

    let rest = Duration::from_secs(3600);
    setup.rests(rest).await;
    let start = Instant::now();
    let failure = setup.refused().await;
    assert_eq!(failure.class, FailureClass::RateLimited);
    assert!(failure.retry_after.unwrap() >= rest);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_wait() {
    let setup = Setup::new();
    let _passes = (setup.enter().await.unwrap(), setup.enter().await.unwrap());
    let cancel_later = async {
        sleep(Duration::from_secs(3)).await;
        setup.cancel.cancel();
    };
    let start = Instant::now();
    let (failure, ()) = tokio::join!(setup.refused(), cancel_later);
    assert_eq!(failure.class, FailureClass::RateLimited);
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_long_transfer_keeps_its_slot() {
    let setup = Setup::new();
    let pass = setup.enter().await.unwrap();
    sleep(Duration::from_secs(3600)).await;
    assert!(!pass.lost().is_cancelled());
    let renewals = setup.windows.renewals.load(Ordering::SeqCst);
    assert!(
        (179..=180).contains(&renewals),
        "{renewals} renewals in an hour"
    );
    pass.finish(Signal::SERVED).await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(setup.windows.renewals.load(Ordering::SeqCst), renewals);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_a_moment_costs_nothing_and_for_longer_the_slot() {
    let setup = Setup::new();
    let pass = setup.enter().await.unwrap();
    let start = Instant::now();
    setup.windows.fails.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(43)).await;
    setup.windows.fails.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(20)).await;
    assert!(!pass.lost().is_cancelled());

    setup.windows.fails.store(true, Ordering::SeqCst);
    pass.lost().cancelled().await;
    // The last renewal that worked was 45 s after the start.
    let lived = start.elapsed();
    assert!(
        lived >= Duration::from_secs(104) && lived <= Duration::from_secs(106),
        "{lived:?}"
    );
    pass.finish(Signal::Neutral).await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_somebody_else_ended_stops_the_transfer() {
    let setup = Setup::new();
    let pass = setup.enter().await.unwrap();
    let slot = pass.slot.clone().unwrap();
    setup.windows.release(slot, Signal::Neutral).await.unwrap();
    let start = Instant::now();
    pass.lost().cancelled().await;
    assert_eq!(start.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pass_frees_its_slot() {
    let setup = Setup::new();
    for _ in 0..5 {
        drop(setup.enter().await.unwrap());
    }
    let start = Instant::now();
    let _passes = (setup.enter().await.unwrap(), setup.enter().await.unwrap());
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_store_nobody_goes() {
    let setup = Setup::new();
    setup.windows.fails.store(true, Ordering::SeqCst);
    assert_eq!(setup.refused().await.class, FailureClass::Storage);

    let nowhere = Url::parse("data:,secret").unwrap();
    let failure = setup
        .throttle
        .enter(&nowhere, &setup.cancel)
        .await
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::BadUrl);
}
