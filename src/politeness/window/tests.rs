mod promises;

use super::*;
use crate::politeness::Pace;

const RULES: Rules = Rules {
    limit: 32,
    spacing: Duration::from_millis(250),
};

/// A host's state with a clock, and transfers that take no time unless they are said to.
struct Bench {
    state: HostState,
    now: DateTime<Utc>,
    rules: Rules,
}

impl Bench {
    fn new() -> Self {
        Self {
            state: HostState::default(),
            now: DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000),
            rules: RULES,
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = later(self.now, Duration::from_secs(seconds));
    }

    fn width(&self) -> u32 {
        self.state.width(self.rules)
    }

    /// Ends a request that was let in `age` seconds ago beside a full window.
    fn end(&mut self, signal: Signal, age: u64) {
        let ended = Ended {
            signal,
            granted_at: self.now - Duration::from_secs(age),
            was_live: true,
            in_flight: self.width(),
        };
        self.state.learn(self.now, self.rules, ended, 0.0);
    }

    fn serve(&mut self, times: u32) {
        for _ in 0..times {
            self.wait(1);
            self.end(Signal::SERVED, 0);
        }
    }

    /// A 429 to a request sent now, and the rest that follows.
    fn throttle(&mut self) -> Duration {
        self.end(THROTTLED, 0);
        let rest = self.rest();
        self.now = later(self.now, rest);
        rest
    }

    fn rest(&mut self) -> Duration {
        match self
            .state
            .clone()
            .acquire(self.now, self.rules, Leases::default())
        {
            Verdict::Refuse(SlotDecision::HeldOff(until)) => time_until(self.now, until),
            _ => Duration::ZERO,
        }
    }

    /// A host whose limit was found to be `slots`.
    fn with_cap(slots: u32) -> Self {
        let mut bench = Self::new();
        bench.serve(slots + 1 - 2);
        assert_eq!(bench.width(), slots + 1);
        bench.throttle();
        while bench.width() < slots {
            bench.serve(1);
        }
        bench
    }
}

const THROTTLED: Signal = Signal::Throttled {
    status: 429,
    retry_after: None,
};

#[test]
fn a_new_host_gets_two_then_one_more_a_success_up_to_its_limit() {
    let mut bench = Bench::new();
    bench.rules.limit = 5;
    let widths: Vec<_> = (0..6)
        .map(|_| {
            let width = bench.width();
            bench.serve(1);
            width
        })
        .collect();
    assert_eq!(widths, [2, 3, 4, 5, 5, 5]);
    bench.rules.limit = 1;
    assert_eq!(bench.width(), 1);
}

#[test]
fn an_idle_window_does_not_grow() {
    let mut bench = Bench::with_cap(8);
    bench.throttle();
    let narrow = bench.width();
    for _ in 0..1000 {
        bench.wait(1);
        let ended = Ended {
            signal: Signal::SERVED,
            granted_at: bench.now,
            was_live: true,
            in_flight: narrow / 2 - 1,
        };
        bench.state.learn(bench.now, bench.rules, ended, 0.0);
    }
    assert_eq!(bench.width(), narrow);
}

#[test]
fn the_cap_is_regained_and_probed_ever_more_seldom() {
    let mut bench = Bench::with_cap(8);
    let mut successes = Vec::new();
    for _ in 0..6 {
        let mut count = 0;
        while bench.width() == 8 {
            bench.serve(1);
            count += 1;
        }
        assert_eq!(bench.width(), 9);
        bench.throttle();
        assert_eq!(bench.width(), 8, "a failed probe goes back to the cap");
        successes.push(count);
    }
    // 40 of the first 250 were spent on the way back to the cap.
    assert_eq!(successes, [210, 500, 1000, 2000, 4000, 4000]);
}

#[test]
fn a_probe_that_holds_moves_the_cap() {
    let mut bench = Bench::with_cap(4);
    bench.serve(230);
    assert_eq!(bench.width(), 5);
    bench.serve(25);
    assert_eq!(bench.width(), 6);
    bench.throttle();
    assert_eq!(bench.width(), 5);
}

#[test]
fn a_day_is_long_enough_for_a_probe() {
    let mut bench = Bench::with_cap(4);
    bench.wait(24 * 3600);
    bench.serve(25);
    assert_eq!(bench.width(), 5);
}

#[test]
fn a_limit_that_drops_halves_the_window() {
    let mut bench = Bench::with_cap(8);
    bench.throttle();
    assert_eq!(bench.width(), 4);
    // 503 and gateways say less.
    let busy = Signal::Throttled {
        status: 503,
        retry_after: None,
    };
    bench.end(busy, 0);
    assert_eq!(bench.width(), 2);
}

#[test]
fn case_086_eighty_workers_make_one_decrease() {
    let mut bench = Bench::with_cap(16);
    bench.wait(60);
    for _ in 0..80 {
        bench.end(THROTTLED, 30);
    }
    assert_eq!(bench.width(), 8);
    assert_eq!(bench.rest(), Duration::from_secs(15));
    // Also where workers' clocks are seconds apart, which makes "before" look like "after".
    bench.now += Duration::from_secs(5);
    bench.end(THROTTLED, 0);
    assert_eq!(bench.width(), 8);
}

#[test]
fn rests_double_while_nothing_is_served_and_jitter_only_adds() {
    let mut bench = Bench::new();
    let rests: Vec<_> = (0..4).map(|_| bench.throttle().as_secs()).collect();
    assert_eq!(rests, [15, 30, 60, 120]);
    bench.serve(1);
    assert_eq!(bench.throttle().as_secs(), 15);

    assert_eq!(jittered(Duration::from_secs(60), 0.0).as_secs(), 60);
    assert_eq!(jittered(Duration::from_secs(60), 1.0).as_secs(), 75);
}

#[test]
fn case_080_a_longer_wait_than_our_own_is_kept_and_a_shorter_one_is_not_enough() {
    for (asked, rest) in [(3600, 3600), (1, 15)] {
        let mut bench = Bench::new();
        let signal = Signal::Throttled {
            status: 503,
            retry_after: Some(Duration::from_secs(asked)),
        };
        bench.end(signal, 0);
        assert_eq!(bench.rest().as_secs(), rest);
        // What the others of the same moment hear does not shorten it.
        bench.end(THROTTLED, 1);
        assert_eq!(bench.rest().as_secs(), rest);
    }
}

#[test]
fn one_sign_of_strain_is_none_and_two_close_ones_are_an_event() {
    let mut bench = Bench::with_cap(10);
    for _ in 0..5 {
        bench.end(Signal::Strained, 0);
        assert_eq!(bench.rest(), Duration::ZERO);
        bench.wait(31);
    }
    bench.end(Signal::Strained, 0);
    bench.wait(30);
    bench.end(Signal::Strained, 0);
    assert_eq!(bench.width(), 7);
    assert_eq!(bench.rest().as_secs(), 15);
}

#[test]
fn a_host_that_refuses_one_transfer_gets_time_between_two() {
    let mut bench = Bench::new();
    bench.throttle();
    assert_eq!(bench.width(), 1);
    let mut gaps = Vec::new();
    for _ in 0..7 {
        bench.serve(1);
        bench.throttle();
        let mut state = bench.state.clone();
        let granted = state.acquire(bench.now, bench.rules, Leases::default());
        assert!(matches!(granted, Verdict::Grant { .. }), "{granted:?}");
        match state.acquire(bench.now, bench.rules, Leases::default()) {
            Verdict::Refuse(SlotDecision::Full(gap)) => gaps.push(gap.as_secs()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gaps, [30, 60, 120, 240, 480, 900, 900]);
    // And the way back: 900 -> 450 -> 225 -> 112 -> 56 -> none.
    bench.serve(5 * 25);
    let mut state = bench.state.clone();
    state.acquire(bench.now, bench.rules, Leases::default());
    let next = state.acquire(bench.now, bench.rules, Leases::default());
    assert_eq!(next, Verdict::Refuse(SlotDecision::Full(RULES.spacing)));
}

#[test]
fn a_host_that_counts_requests_gets_them_at_its_rate() {
    let mut bench = Bench::with_cap(4);
    bench.throttle();
    // A start every eight seconds is refused in the end, at a width that was borne.
    let mut width = 0;
    for _ in 0..60 {
        bench.wait(8);
        let granted = bench.state.acquire(bench.now, RULES, Leases::default());
        assert!(matches!(granted, Verdict::Grant { .. }), "{granted:?}");
        width = bench.width();
        bench.end(Signal::SERVED, 0);
    }
    bench.throttle();
    assert_eq!(bench.width(), width / 2);
    let gap = |bench: &Bench| {
        let mut state = bench.state.clone();
        let at = later(bench.now, Duration::from_secs(60));
        state.acquire(at, RULES, Leases::default());
        match state.acquire(at, RULES, Leases::default()) {
            Verdict::Refuse(SlotDecision::Full(gap)) => gap.as_secs_f64(),
            other => panic!("{other:?}"),
        }
    };
    let learned = gap(&bench);
    assert!((8.0..=10.0).contains(&learned), "{learned} s");
    // What was learned is questioned, carefully.
    bench.serve(100);
    assert!((0.85..0.95).contains(&(gap(&bench) / learned)));
}

#[test]
fn case_084_five_events_without_a_success_open_the_breaker_for_longer_and_longer() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.throttle();
    }
    let opened: Vec<_> = (0..6).map(|_| bench.throttle().as_secs() / 60).collect();
    assert_eq!(opened, [30, 60, 120, 240, 360, 360]);
    // A probe that reaches nobody is a failed one.
    bench.end(Signal::Strained, 0);
    assert_eq!(bench.rest().as_secs() / 60, 360);
    bench.wait(360 * 60);
    bench.serve(1);
    assert_eq!(bench.throttle().as_secs(), 15);
}

#[test]
fn case_084_successes_that_began_before_the_block_do_not_hide_it() {
    let mut bench = Bench::with_cap(4);
    for episode in 0..5 {
        bench.wait(1);
        let signal = Signal::Blocked {
            episode,
            retry_after: None,
        };
        bench.end(signal, 0);
        bench.end(Signal::SERVED, 100);
    }
    assert_eq!(bench.rest().as_secs(), 30 * 60);
    bench.wait(30 * 60);
    assert_eq!(bench.width(), 1);
    bench.end(Signal::SERVED, 40 * 60);
    assert_eq!(bench.width(), 1, "an old transfer is no probe");
    bench.end(Signal::SERVED, 0);
    assert_eq!(bench.width(), 2);
}

fn pace(first_byte_ms: u64, bytes_per_s: u64) -> Signal {
    Signal::Served(Pace {
        first_byte: Some(Duration::from_millis(first_byte_ms)),
        bytes_per_s: Some(bytes_per_s),
    })
}

#[test]
fn case_085_a_host_that_slows_down_is_not_pressed_harder() {
    for slow in [pace(100, 10_000), pace(2000, 1_000_000)] {
        let mut bench = Bench::with_cap(10);
        bench.throttle();
        for _ in 0..9 {
            bench.end(pace(100, 1_000_000), 0);
        }
        assert_eq!(bench.width(), 5);
        for _ in 0..50 {
            bench.end(slow, 0);
        }
        // The first slow ones may be chance.
        assert!(bench.width() <= 6, "{}", bench.width());
        for _ in 0..100 {
            bench.end(pace(100, 1_000_000), 0);
        }
        assert_eq!(bench.width(), 9, "one less than what was refused");
    }
}

#[test]
fn case_085_a_body_that_stalls_takes_back_one_slot_and_no_time() {
    let mut bench = Bench::new();
    bench.serve(4);
    assert_eq!(bench.width(), 6);
    for _ in 0..6 {
        // All six were under way when the first one stalled.
        bench.wait(1);
        bench.end(Signal::BrokenOff, 60);
    }
    assert_eq!(bench.width(), 5);
    assert_eq!(bench.rest(), Duration::ZERO);
    bench.serve(100);
    assert_eq!(bench.width(), 5, "what stalled is the cap's other side");
}

#[test]
fn what_is_told_too_late_makes_nothing_wider() {
    let mut bench = Bench::with_cap(4);
    let before = bench.state.clone();
    for signal in [Signal::SERVED, Signal::Redirected, Signal::Strained] {
        let ended = Ended {
            signal,
            granted_at: bench.now,
            was_live: false,
            in_flight: 4,
        };
        bench.state.learn(bench.now, bench.rules, ended, 0.0);
    }
    assert_eq!(bench.state, before);
}

#[test]
fn starts_keep_their_distance() {
    let mut state = HostState::default();
    let start = Bench::new().now;
    let mut ask = |milliseconds| {
        let now = later(start, Duration::from_millis(milliseconds));
        state.acquire(now, RULES, Leases::default())
    };
    let granted = Verdict::Grant { is_hop: false };
    assert_eq!(ask(0), granted);
    let early = Verdict::Refuse(SlotDecision::Full(Duration::from_millis(50)));
    assert_eq!(ask(200), early);
    assert_eq!(ask(250), granted);
}

#[test]
fn a_clock_that_was_set_back_does_not_shut_the_host() {
    let mut bench = Bench::new();
    bench.state.acquire(bench.now, RULES, Leases::default());
    bench.now -= Duration::from_secs(30 * 24 * 3600);
    let granted = bench.state.acquire(bench.now, RULES, Leases::default());
    assert!(matches!(granted, Verdict::Grant { .. }), "{granted:?}");
}

#[test]
fn a_full_host_says_when_to_ask_again() {
    let bench = Bench::new();
    for (expiry, wait) in [(300, 300), (60_000, 1000)] {
        let out = Leases {
            slots: 2,
            hops: 0,
            first_expiry: Some(later(bench.now, Duration::from_millis(expiry))),
        };
        let full = Verdict::Refuse(SlotDecision::Full(Duration::from_millis(wait)));
        assert_eq!(bench.state.clone().acquire(bench.now, RULES, out), full);
    }
}

#[test]
fn a_rest_comes_before_everything_else() {
    let mut bench = Bench::new();
    bench.end(THROTTLED, 0);
    let out = Leases {
        slots: 9,
        ..Leases::default()
    };
    let until = later(bench.now, Duration::from_secs(15));
    let answer = bench.state.acquire(bench.now, RULES, out);
    assert_eq!(answer, Verdict::Refuse(SlotDecision::HeldOff(until)));
}
