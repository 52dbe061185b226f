use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::{FailureClass, OwnerId};
use crate::politeness::{HostLimits, HostWindows, MemoryHostWindows};
use crate::runtime::clock::{Clock, ManualClock};
use crate::runtime::http::classify;
use crate::runtime::http::header::{HeaderMap, HeaderValue, RETRY_AFTER};

/// Some workers over one store, whose clock stands still unless it is moved.
struct Fleet {
    clock: Arc<ManualClock>,
    windows: Arc<dyn HostWindows>,
}

impl Fleet {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let shared = Arc::clone(&clock) as Arc<dyn Clock>;
        let windows = Arc::new(MemoryHostWindows::new(HostLimits::default(), shared));
        Self { clock, windows }
    }

    fn worker(&self) -> Throttle {
        Throttle::new(
            Arc::clone(&self.windows),
            Arc::new(HostLimits::default()),
            OwnerId::generate("worker"),
            Arc::clone(&self.clock) as Arc<dyn Clock>,
        )
    }

    /// One worker's request. What it would have to wait for is an error here.
    async fn ask(&self, url: &str) -> Result<Box<dyn HopPass>, Failure> {
        let gate: &dyn HopGate = &self.worker();
        let url = Url::parse(url).unwrap();
        // A full window and a short rest are waited for in place, and time stands still.
        let stopped = CancellationToken::new();
        stopped.cancel();
        self.clock.advance(Duration::from_secs(1));
        gate.enter(&url, &stopped).await
    }

    async fn answer(&self, url: &str, verdict: HopVerdict) {
        let mut pass = self.ask(url).await.unwrap();
        pass.answered(verdict.status().unwrap_or_default()).await;
        pass.finish(verdict).await;
    }
}

fn throttled(status: u16, retry_after: Option<u64>) -> HopVerdict {
    HopVerdict::Throttled {
        status,
        retry_after: retry_after.map(Duration::from_secs),
    }
}

#[tokio::test]
async fn case_083_a_429_on_the_tracker_closes_it_for_everybody_and_no_other_host() {
    let fleet = Fleet::new();
    let pass = fleet.ask("https://tracker.example/1?token=t").await;
    let pass = pass.unwrap();
    assert!(!format!("{pass:?}").contains("token=t"));
    pass.finish(throttled(429, Some(600))).await;

    fleet.clock.advance(Duration::from_secs(590));
    let again = fleet.ask("https://other.tracker.example/2").await;
    assert_eq!(again.unwrap_err().class, FailureClass::RateLimited);
    fleet.ask("https://media.example/2").await.unwrap();
    // A quarter more than was asked for, at most.
    fleet.clock.advance(Duration::from_secs(160));
    fleet.ask("https://tracker.example/3").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_no_slow_host() {
    let throttle = Fleet::new().worker();
    let url = Url::parse("https://a.example/").unwrap();
    let pass = Throttle::enter(&throttle, &url, &CancellationToken::new()).await;
    let mut turn = Turn {
        pass: pass.unwrap(),
        episode: 0,
        started: Instant::now(),
        answered: None,
        bytes: 0,
        waited: Duration::ZERO,
    };
    turn.answered(200).await;
    let second = Duration::from_secs(1);
    tokio::time::advance(second).await;
    turn.received(1 << 20, second);
    assert_eq!(turn.pace().bytes_per_s, Some(1 << 20));
    // Half a second in the store: the host's rate is what it was.
    tokio::time::advance(second / 2).await;
    assert_eq!(turn.pace().bytes_per_s, Some(1 << 20));
    // Most of the time in the store: what is measured is the store.
    tokio::time::advance(5 * second).await;
    assert_eq!(turn.pace().bytes_per_s, None);
}

#[tokio::test]
async fn case_083_a_long_rest_defers_the_episode() {
    let fleet = Fleet::new();
    fleet
        .answer("https://a.example/", throttled(503, Some(3600)))
        .await;
    let failure = fleet.ask("https://a.example/").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::RateLimited);
    // The second that passed since is off.
    assert!(failure.retry_after.unwrap() >= Duration::from_secs(3599));
}

/// How long a host that answered 429 with this header is left alone.
async fn rest_after(retry_after: &'static str) -> Duration {
    let fleet = Fleet::new();
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
    let verdict = classify::verdict(429, &headers, fleet.clock.now());
    fleet.answer("https://a.example/", verdict).await;
    let mut rested = Duration::ZERO;
    let step = Duration::from_secs(1);
    while fleet.ask("https://a.example/").await.is_err() {
        rested += step;
        assert!(rested < Duration::from_secs(200_000));
    }
    rested
}

#[tokio::test]
async fn case_080_valid_waits_are_kept_in_full_and_invalid_ones_replaced() {
    // The clock of these tests starts 20,000 days after 1970: on 4 October 2024, at midnight.
    for (header, seconds) in [
        ("120", 120),
        ("86400", 86_400),
        ("Fri, 04 Oct 2024 00:10:01 GMT", 600),
        // Past, negative, no number, a fraction, nothing: our own back-off.
        ("Fri, 04 Oct 2023 00:00:00 GMT", 15),
        ("-1", 15),
        ("abc", 15),
        ("1.5", 15),
        ("0", 15),
    ] {
        let rested = rest_after(header).await.as_secs();
        let longest = seconds * 5 / 4;
        assert!(
            (seconds - 1..=longest).contains(&rested),
            "{header:?}: {rested} s instead of {seconds}"
        );
    }
}

#[tokio::test]
async fn case_084_five_forbidden_episodes_open_the_breaker_and_one_probe_closes_it() {
    let fleet = Fleet::new();
    let blocked = HopVerdict::Blocked {
        status: 403,
        retry_after: None,
    };
    let served = HopVerdict::Answered { status: 200 };
    // One episode that is forbidden is no sign, however often it is asked for.
    for attempt in 0..20 {
        let url = format!("https://a.example/private.mp3?try={attempt}");
        fleet.answer(&url, blocked).await;
    }
    fleet.answer("https://a.example/0.mp3", served).await;
    for episode in 1..=5 {
        let url = format!("https://a.example/{episode}.mp3");
        fleet.answer(&url, blocked).await;
    }
    let failure = fleet.ask("https://a.example/6.mp3").await.unwrap_err();
    assert!(failure.retry_after.unwrap() > Duration::from_secs(29 * 60));
    fleet.ask("https://b.example/1.mp3").await.unwrap();

    fleet.clock.advance(Duration::from_secs(30 * 60));
    let probe = fleet.ask("https://a.example/7.mp3").await.unwrap();
    let second = fleet.ask("https://a.example/8.mp3").await;
    assert!(second.is_err(), "two probes at once");
    probe.finish(served).await;
    let _two = (
        fleet.ask("https://a.example/9.mp3").await.unwrap(),
        fleet.ask("https://a.example/10.mp3").await.err(),
    );
}

#[tokio::test]
async fn a_host_that_only_redirects_costs_starts_and_no_slots() {
    let fleet = Fleet::new();
    let url = |n: u32| format!("https://tracker.example/{n}");
    for n in 0..20 {
        fleet
            .answer(&url(n), HopVerdict::Answered { status: 302 })
            .await;
    }
    let mut hops = Vec::new();
    for n in 0..10 {
        hops.push(fleet.ask(&url(n)).await.unwrap());
    }
    // It serves a body after all: that takes a slot, and the next ones need one too.
    let mut body = hops.pop().unwrap();
    body.answered(200).await;
    let slot = fleet.ask(&url(11)).await.unwrap();
    assert!(fleet.ask(&url(12)).await.is_err(), "a third transfer");
    drop((slot, body));
}

#[test]
fn only_gateways_and_silence_are_strain() {
    let signal = |status| {
        let verdict = HopVerdict::Strained { status };
        signal(verdict, 1, Pace::default())
    };
    assert_eq!(signal(None), Signal::Strained);
    assert_eq!(signal(Some(502)), Signal::Strained);
    assert_eq!(signal(Some(522)), Signal::Strained);
    assert_eq!(signal(Some(500)), Signal::Neutral);
    assert_eq!(signal(Some(200)), Signal::BrokenOff);
}
