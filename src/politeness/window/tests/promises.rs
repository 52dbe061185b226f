//! What holds whatever a host does, and whatever a database file says.

use super::*;

proptest::proptest! {
    /// Whatever a host does, in whatever order: the window stays between one and what was promised, a
    /// rest that is on never ends earlier than it was said to, and nobody is let in before.
    #[test]
    fn no_history_breaks_a_promise(
        limit in 1u32..20,
        steps in proptest::collection::vec((0u8..9, 0u64..100, 0u64..90, 0.0f64..1.0), 1..200),
    ) {
        let mut bench = Bench::new();
        bench.rules.limit = limit;
        let mut not_before = bench.now;
        for (kind, wait, age, random) in steps {
            bench.wait(wait);
            let signal = match kind {
                0..=2 => Signal::SERVED,
                3 => THROTTLED,
                4 => Signal::Throttled {
                    status: 503,
                    retry_after: Some(Duration::from_secs(10 * wait)),
                },
                5 => Signal::Strained,
                6 => Signal::BrokenOff,
                7 => Signal::Blocked { episode: wait, retry_after: None },
                _ => Signal::Redirected,
            };
            let ended = Ended {
                signal,
                granted_at: bench.now - Duration::from_secs(age),
                was_live: age < 60,
                in_flight: bench.width(),
            };
            bench.state.learn(bench.now, bench.rules, ended, random);
            if let Signal::Throttled { retry_after, .. } = signal {
                let asked = later(bench.now, retry_after.unwrap_or_default());
                not_before = not_before.max(asked);
            }
            proptest::prop_assert!((1..=limit).contains(&bench.width()));
            match bench.state.clone().acquire(bench.now, bench.rules, Leases::default()) {
                Verdict::Refuse(SlotDecision::HeldOff(until)) => {
                    proptest::prop_assert!(until >= not_before);
                }
                _ => proptest::prop_assert!(bench.now >= not_before),
            }
        }
    }
}

#[test]
fn after_the_clock_was_set_back_nothing_that_happened_later_counts() {
    let mut bench = Bench::with_cap(8);
    bench.end(Signal::BrokenOff, 0);
    bench.end(THROTTLED, 0);
    bench.now -= Duration::from_secs(3600);
    assert_eq!(bench.rest(), Duration::ZERO, "15 s never become an hour");
    let before = bench.width();
    bench.throttle();
    assert!(bench.width() < before, "{} of {before}", bench.width());
    bench.serve(1);
    let before = bench.width();
    bench.end(Signal::BrokenOff, 0);
    assert!(
        bench.width() < before.max(2),
        "{} of {before}",
        bench.width()
    );
}

#[test]
fn state_survives_being_written_down_and_nonsense_does_no_harm() {
    let mut bench = Bench::with_cap(5);
    bench.end(pace(100, 5), 0);
    bench.end(Signal::Strained, 0);
    bench.throttle();
    let text = serde_json::to_string(&bench.state).unwrap();
    let read: HostState = serde_json::from_str(&text).unwrap();
    assert_eq!(read, bench.state);
    let new: HostState = serde_json::from_str("{}").unwrap();
    assert_eq!(new, HostState::default());

    let far = i64::MAX / 1024;
    let nonsense = format!(
        r#"{{"width": {{"slots": 4294967295, "cap": 0, "probe_after": 0, "probed_at": {far}}},
            "rest": {{"not_before": {far}, "fails": 4294967295, "last_event": {far}}},
            "spacing": {{"next_start": {far}, "gap_s": 4294967295, "last_429": {far}}},
            "breaker": {{"open_until": {far}, "openings": 4294967295, "last_block": {far}}},
            "speed": {{"body": {{"now": -1e308, "usual": 1e308}}}},
            "role": {{"redirects_in_a_row": 4294967295}}}}"#
    );
    bench.state = serde_json::from_str(&nonsense).unwrap();
    assert_eq!(bench.rest(), Duration::ZERO);
    assert_eq!(bench.width(), 1, "half open");
    let nonsense = bench.state.clone();
    bench.end(THROTTLED, 0);
    assert!(bench.rest() >= Duration::from_secs(15), "a refusal counts");
    bench.state = nonsense;
    for signal in [
        THROTTLED,
        pace(u64::MAX, 0),
        Signal::Strained,
        Signal::BrokenOff,
    ] {
        bench.end(signal, 0);
    }
    assert!(bench.width() <= RULES.limit);
}
