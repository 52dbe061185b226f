//! What every adapter of [`HostWindows`] has to pass. Each check uses
//! hosts of its own and panics where a promise is broken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::limits::HostGroup;
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::OwnerId;
use crate::runtime::clock::{Clock, ManualClock};

/// The limits that the checks count on.
pub fn limits() -> HostLimits {
    let group = |name: &str, limit| {
        let also = Vec::new();
        (format!("{name}.example"), HostGroup { limit, also })
    };
    let groups = BTreeMap::from([group("crowded", 5), group("herd", 80)]);
    HostLimits::try_new(2, SPACING, groups).expect("the limits are over 0")
}

/// Runs every check on `windows`, which have [`limits`], go by `clock` and are empty.
pub async fn all(windows: Arc<dyn HostWindows>, clock: Arc<ManualClock>) {
    keeps_the_window_among_many(Arc::clone(&windows), &clock).await;
    makes_one_decrease_for_many(Arc::clone(&windows), &clock).await;
    let windows = windows.as_ref();
    spaces_starts(windows, &clock).await;
    frees_expired_slots(windows, &clock).await;
    loses_stale_slots(windows, &clock).await;
    renews_living_slots(windows, &clock).await;
    releases_twice(windows, &clock).await;
    holds_everybody_off(windows, &clock).await;
    never_shortens_a_wait(windows, &clock).await;
    keeps_hosts_apart(windows, &clock).await;
    grows_to_the_limit_and_not_over_it(windows, &clock).await;
    lets_trackers_start_without_slots(windows, &clock).await;
    opens_the_breaker(windows, &clock).await;
    outlives_a_clock_that_was_set_back(windows, &clock).await;
}

const SPACING: Duration = Duration::from_millis(250);
const TTL: Duration = Duration::from_secs(60);
const DONE: &str = "the store does what it was asked";

fn host(name: &str) -> HostKey {
    HostKey(format!("{name}.example"))
}

fn owner() -> OwnerId {
    OwnerId::generate("conformance")
}

async fn ask(windows: &dyn HostWindows, host: &HostKey) -> SlotDecision {
    windows.acquire(host, &owner(), TTL).await.expect(DONE)
}

/// Takes a slot, waiting for the spacing to pass.
async fn take(windows: &dyn HostWindows, clock: &ManualClock, host: &HostKey) -> Slot {
    clock.advance(SPACING);
    match ask(windows, host).await {
        SlotDecision::Granted(slot) => slot,
        refused => panic!("no slot of {host}: {refused:?}"),
    }
}

async fn assert_full(windows: &dyn HostWindows, clock: &ManualClock, host: &HostKey) {
    clock.advance(SPACING);
    let decision = ask(windows, host).await;
    assert!(matches!(decision, SlotDecision::Full(_)), "{decision:?}");
}

/// Of twenty owners that ask at once, again and again, as many have a slot in the end as a new window
/// is wide, and no two start closer to each other than the spacing.
pub async fn keeps_the_window_among_many(windows: Arc<dyn HostWindows>, clock: &ManualClock) {
    let host = host("many");
    let mut granted = 0;
    for _ in 0..10 {
        let tasks = (0..20).map(|_| {
            let (windows, host) = (Arc::clone(&windows), host.clone());
            tokio::spawn(async move { ask(&*windows, &host).await })
        });
        let decisions = futures::future::join_all(tasks).await;
        let slots = decisions
            .into_iter()
            .filter(|decision| matches!(decision, Ok(SlotDecision::Granted(_))));
        let slots = slots.count();
        assert!(slots <= 1, "{slots} starts at the same moment");
        granted += slots;
        clock.advance(SPACING);
    }
    assert_eq!(granted, 2);
}

/// A second start has to wait although a slot is free, and is told how long.
pub async fn spaces_starts(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("spacing");
    take(windows, clock, &host).await;
    clock.advance(Duration::from_millis(100));
    let decision = ask(windows, &host).await;
    assert_eq!(decision, SlotDecision::Full(Duration::from_millis(150)));
    clock.advance(Duration::from_millis(150));
    assert!(matches!(
        ask(windows, &host).await,
        SlotDecision::Granted(_)
    ));
}

/// Slots of workers that died come back by themselves, and not a moment before.
pub async fn frees_expired_slots(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("expiry");
    let first = take(windows, clock, &host).await;
    let second = take(windows, clock, &host).await;
    assert_ne!(first, second);
    assert_full(windows, clock, &host).await;
    // `first` is two spacings old by now.
    clock.advance(TTL - 3 * SPACING);
    assert!(matches!(ask(windows, &host).await, SlotDecision::Full(_)));
    take(windows, clock, &host).await;
    take(windows, clock, &host).await;
    assert_full(windows, clock, &host).await;
}

/// A slot that ended cannot be renewed, whether or not somebody has it by now.
pub async fn loses_stale_slots(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("stale");
    let slot = take(windows, clock, &host).await;
    clock.advance(TTL);
    let lost = windows.renew(&slot, TTL).await;
    assert!(
        matches!(lost, Err(WindowError::SlotLost { .. })),
        "{lost:?}"
    );
    take(windows, clock, &host).await;
    take(windows, clock, &host).await;
    let lost = windows.renew(&slot, TTL).await;
    assert!(
        matches!(lost, Err(WindowError::SlotLost { .. })),
        "{lost:?}"
    );
    windows.release(slot, Signal::SERVED).await.expect(DONE);
    assert_full(windows, clock, &host).await;
}

/// A renewed slot lives for the whole time from its renewal on.
pub async fn renews_living_slots(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("renewal");
    let slots = [
        take(windows, clock, &host).await,
        take(windows, clock, &host).await,
    ];
    for _ in 0..4 {
        clock.advance(TTL - 2 * SPACING);
        for slot in &slots {
            windows.renew(slot, TTL).await.expect("it is alive");
        }
    }
    assert_full(windows, clock, &host).await;
}

/// Giving a slot back frees it; doing so again frees nobody else's.
pub async fn releases_twice(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("release");
    let slot = take(windows, clock, &host).await;
    take(windows, clock, &host).await;
    assert_full(windows, clock, &host).await;
    for signal in [Signal::SERVED, Signal::Strained, Signal::Neutral] {
        windows.release(slot.clone(), signal).await.expect(DONE);
    }
    take(windows, clock, &host).await;
    windows
        .release(slot.clone(), Signal::SERVED)
        .await
        .expect(DONE);
    assert_full(windows, clock, &host).await;
    let lost = windows.renew(&slot, TTL).await;
    assert!(
        matches!(lost, Err(WindowError::SlotLost { .. })),
        "{lost:?}"
    );
}

/// Gives `slot` back with a 429.
async fn throttle(windows: &dyn HostWindows, slot: Slot, seconds: Option<u64>) {
    let signal = Signal::Throttled {
        status: 429,
        retry_after: seconds.map(Duration::from_secs),
    };
    windows.release(slot, signal).await.expect(DONE);
}

/// How long the host is left alone from now on, in seconds.
async fn rest(windows: &dyn HostWindows, clock: &ManualClock, host: &HostKey) -> f64 {
    match ask(windows, host).await {
        SlotDecision::HeldOff(until) => (until - clock.now()).as_seconds_f64(),
        other => panic!("nobody is held off: {other:?}"),
    }
}

/// A wait is for all, also where slots are free, and ends when it ends. Slots that are out stay.
pub async fn holds_everybody_off(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("wait");
    let kept = take(windows, clock, &host).await;
    let refused = take(windows, clock, &host).await;
    throttle(windows, refused, Some(30)).await;
    let wait = rest(windows, clock, &host).await;
    assert!((30.0..=37.5).contains(&wait), "{wait} s for 30");
    let wait = Duration::from_secs_f64(wait);
    clock.advance(wait - Duration::from_millis(1));
    for _ in 0..3 {
        rest(windows, clock, &host).await;
    }
    windows
        .renew(&kept, TTL)
        .await
        .expect("a wait takes no slot away");
    windows.release(kept, Signal::SERVED).await.expect(DONE);
    clock.advance(Duration::from_millis(1));
    take(windows, clock, &host).await;
}

/// A shorter wait does not cut a longer one; a longer one counts, whichever slot it came with and
/// whether or not that is over.
pub async fn never_shortens_a_wait(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("longer");
    let first = take(windows, clock, &host).await;
    let second = take(windows, clock, &host).await;
    for (slot, asked, least) in [
        (&first, Some(100), 100.0),
        (&second, Some(10), 100.0),
        (&second, None, 100.0),
        (&first, Some(200), 200.0),
        (&first, Some(20), 200.0),
    ] {
        throttle(windows, slot.clone(), asked).await;
        let wait = rest(windows, clock, &host).await;
        assert!((least..=1.25 * least).contains(&wait), "{wait} s");
    }
}

/// Eighty workers that hear 429 in the same moment make the window narrower once.
pub async fn makes_one_decrease_for_many(windows: Arc<dyn HostWindows>, clock: &ManualClock) {
    let host = host("herd");
    let mut slots = take_all(&*windows, clock, &host).await;
    while slots.len() < 80 {
        // One more for each success out of a full window.
        let served = slots.remove(0);
        windows.release(served, Signal::SERVED).await.expect(DONE);
        // A round takes three spacings, so that twenty are a quarter of a slot's life.
        if slots.len() % 20 == 0 {
            for slot in &slots {
                windows.renew(slot, TTL).await.expect("it is alive");
            }
        }
        slots.extend(take_all(&*windows, clock, &host).await);
    }
    let tasks = slots.into_iter().map(|slot| {
        let windows = Arc::clone(&windows);
        tokio::spawn(async move { throttle(&*windows, slot, None).await })
    });
    futures::future::join_all(tasks).await;
    let wait = rest(&*windows, clock, &host).await;
    assert!((15.0..=18.75).contains(&wait), "{wait} s");
    clock.advance(Duration::from_secs_f64(wait) + Duration::from_millis(1));
    assert_eq!(take_all(&*windows, clock, &host).await.len(), 40);
}

/// Takes what can be had.
async fn take_all(windows: &dyn HostWindows, clock: &ManualClock, host: &HostKey) -> Vec<Slot> {
    let mut slots = Vec::new();
    clock.advance(SPACING);
    while let SlotDecision::Granted(slot) = ask(windows, host).await {
        slots.push(slot);
        clock.advance(SPACING);
    }
    slots
}

async fn serve(windows: &dyn HostWindows, slots: &mut Vec<Slot>) {
    for slot in slots.drain(..) {
        windows.release(slot, Signal::SERVED).await.expect(DONE);
    }
}

/// A host that keeps pace gets more at once, up to its limit.
pub async fn grows_to_the_limit_and_not_over_it(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("crowded");
    let mut widths = Vec::new();
    for _ in 0..8 {
        let mut slots = take_all(windows, clock, &host).await;
        widths.push(slots.len());
        serve(windows, &mut slots).await;
    }
    assert_eq!(widths.first(), Some(&2), "{widths:?}");
    assert!(widths.is_sorted(), "{widths:?}");
    assert_eq!(widths.last(), Some(&5), "{widths:?}");
}

/// Where all answers were redirects, requests are kept apart and need no slot; one that turns out to be
/// a transfer takes one, and everybody after it.
pub async fn lets_trackers_start_without_slots(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("tracker");
    for _ in 0..20 {
        let slot = take(windows, clock, &host).await;
        assert!(!slot.is_hop);
        windows.release(slot, Signal::Redirected).await.expect(DONE);
    }
    let hops = [
        take(windows, clock, &host).await,
        take(windows, clock, &host).await,
        take(windows, clock, &host).await,
    ];
    assert!(hops.iter().all(|slot| slot.is_hop));
    assert!(matches!(ask(windows, &host).await, SlotDecision::Full(_)));
    windows.renew(&hops[0], TTL).await.expect("it is alive");
    assert!(!take(windows, clock, &host).await.is_hop);
    assert_full(windows, clock, &host).await;
    let lost = windows.renew(&hops[1], TTL).await;
    assert!(
        matches!(lost, Err(WindowError::SlotLost { .. })),
        "{lost:?}: a third transfer where two may be"
    );
    // What is a transfer already stays one.
    windows.renew(&hops[0], TTL).await.expect("it is alive");
}

/// A host that only refuses is left alone for longer and longer, and then asked by one.
pub async fn opens_the_breaker(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("blocking");
    for (episode, minutes) in [(1, 0), (2, 0), (3, 0), (4, 0), (5, 30), (6, 60), (7, 120)] {
        let slot = take(windows, clock, &host).await;
        assert!(minutes < 60 || matches!(ask(windows, &host).await, SlotDecision::Full(_)));
        let signal = Signal::Blocked {
            episode,
            retry_after: None,
        };
        windows.release(slot, signal).await.expect(DONE);
        if minutes > 0 {
            assert_eq!(rest(windows, clock, &host).await, f64::from(minutes * 60));
            clock.advance(Duration::from_secs(60 * minutes as u64));
        }
    }
    let probe = take(windows, clock, &host).await;
    assert_full(windows, clock, &host).await;
    windows.release(probe, Signal::SERVED).await.expect(DONE);
    take(windows, clock, &host).await;
}

/// After the clock was set back by a day, slots of the dead and rests last no longer than they would
/// have, and a refusal counts.
pub async fn outlives_a_clock_that_was_set_back(windows: &dyn HostWindows, clock: &ManualClock) {
    let (dead, resting) = (host("dead"), host("resting"));
    take(windows, clock, &dead).await;
    take(windows, clock, &dead).await;
    let refused = take(windows, clock, &resting).await;
    throttle(windows, refused, None).await;
    clock.set(clock.now() - chrono::TimeDelta::days(1));
    assert_full(windows, clock, &dead).await;
    let again = take(windows, clock, &resting).await;
    throttle(windows, again, None).await;
    assert!(rest(windows, clock, &resting).await >= 15.0);
    clock.advance(TTL);
    take(windows, clock, &dead).await;
}

/// What happens at one host is nothing to another.
pub async fn keeps_hosts_apart(windows: &dyn HostWindows, clock: &ManualClock) {
    let (busy, held, other) = (host("busy"), host("held"), host("other"));
    take(windows, clock, &busy).await;
    take(windows, clock, &busy).await;
    assert_full(windows, clock, &busy).await;
    let slot = take(windows, clock, &held).await;
    throttle(windows, slot, Some(3600)).await;
    let decision = ask(windows, &other).await;
    assert!(matches!(decision, SlotDecision::Granted(_)), "{decision:?}");
}

/// Somebody else's view of the same time.
#[derive(Debug)]
struct Skewed(Arc<ManualClock>, chrono::TimeDelta);

impl Clock for Skewed {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.0.now() + self.1
    }
}

/// Two workers whose clocks are ten seconds apart keep their slots while they renew them, and the slots
/// of both go to one other each after they died. `at` makes windows that share a store of their own.
pub async fn agrees_with_clocks_apart(at: impl Fn(Arc<dyn Clock>) -> Arc<dyn HostWindows>) {
    let clock = Arc::new(ManualClock::default());
    let skewed = |seconds| {
        let skew = chrono::TimeDelta::seconds(seconds);
        at(Arc::new(Skewed(Arc::clone(&clock), skew)))
    };
    let (slow, fast) = (skewed(-5), skewed(5));
    let host = host("skewed");
    let second = Duration::from_secs(1);
    let mut slots = Vec::new();
    for windows in [&slow, &fast] {
        slots.extend(granted(&**windows, &host).await);
        clock.advance(second);
    }
    assert_eq!(slots.len(), 2);
    // Each renews as a worker does, every third of a slot's life, by its own clock.
    for elapsed in 0..300 {
        if elapsed % 20 == 0 {
            slow.renew(&slots[0], TTL).await.expect(DONE);
            fast.renew(&slots[1], TTL).await.expect(DONE);
        }
        clock.advance(second);
        assert_eq!(granted(&*slow, &host).await, None);
        assert_eq!(granted(&*fast, &host).await, None);
    }
    // Both die. Each slot goes to one other, at most ten seconds early, and to no second one.
    let mut again = Vec::new();
    for _ in 0..75 {
        clock.advance(second);
        for windows in [&fast, &slow] {
            again.extend(granted(&**windows, &host).await);
        }
        // Nobody renews, so what was granted first may be over before this ends; it is not.
        assert!(again.len() <= 2, "{again:?}");
    }
    assert_eq!(again.len(), 2);
}

async fn granted(windows: &dyn HostWindows, host: &HostKey) -> Option<Slot> {
    match ask(windows, host).await {
        SlotDecision::Granted(slot) => Some(slot),
        SlotDecision::Full(_) => None,
        held => panic!("{held:?}"),
    }
}
