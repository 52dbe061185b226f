//! What every adapter of [`HostWindows`] with windows of fixed size has to pass. Each check uses
//! hosts of its own and panics where a promise is broken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::limits::HostGroup;
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::OwnerId;
use crate::runtime::clock::{Clock, ManualClock, later};

/// The limits that the checks count on.
pub fn limits() -> HostLimits {
    let group = HostGroup {
        limit: 5,
        also: Vec::new(),
    };
    let groups = BTreeMap::from([("crowded.example".to_owned(), group)]);
    HostLimits::try_new(2, SPACING, groups).expect("the limits are over 0")
}

/// Runs every check on `windows`, which have [`limits`], go by `clock` and are empty.
pub async fn all(windows: Arc<dyn HostWindows>, clock: Arc<ManualClock>) {
    keeps_the_limit_among_many(Arc::clone(&windows), &clock).await;
    let windows = windows.as_ref();
    spaces_starts(windows, &clock).await;
    frees_expired_slots(windows, &clock).await;
    loses_stale_slots(windows, &clock).await;
    renews_living_slots(windows, &clock).await;
    releases_twice(windows, &clock).await;
    holds_everybody_off(windows, &clock).await;
    never_shortens_a_wait(windows, &clock).await;
    keeps_hosts_apart(windows, &clock).await;
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

/// Of twenty owners that ask at once, again and again, as many have a slot in the end as there are
/// slots, and no two start closer to each other than the spacing.
pub async fn keeps_the_limit_among_many(windows: Arc<dyn HostWindows>, clock: &ManualClock) {
    let host = host("crowded");
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
    assert_eq!(granted, 5);
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
    windows.release(slot, Signal::Served).await.expect(DONE);
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
    for signal in [Signal::Served, Signal::Congested, Signal::Neutral] {
        windows.release(slot.clone(), signal).await.expect(DONE);
    }
    take(windows, clock, &host).await;
    windows
        .release(slot.clone(), Signal::Served)
        .await
        .expect(DONE);
    assert_full(windows, clock, &host).await;
    let lost = windows.renew(&slot, TTL).await;
    assert!(
        matches!(lost, Err(WindowError::SlotLost { .. })),
        "{lost:?}"
    );
}

/// A wait is for all, also where slots are free, and ends when it ends. Slots that are out stay.
pub async fn holds_everybody_off(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("wait");
    let slot = take(windows, clock, &host).await;
    let until = later(clock.now(), Duration::from_secs(30));
    windows.hold_off(&host, until).await.expect(DONE);
    clock.advance(Duration::from_millis(29_999));
    for _ in 0..3 {
        assert_eq!(ask(windows, &host).await, SlotDecision::HeldOff(until));
    }
    windows
        .renew(&slot, TTL)
        .await
        .expect("a wait takes no slot away");
    clock.advance(Duration::from_millis(1));
    assert!(matches!(
        ask(windows, &host).await,
        SlotDecision::Granted(_)
    ));
}

/// A shorter wait does not cut a longer one; a longer one counts.
pub async fn never_shortens_a_wait(windows: &dyn HostWindows, clock: &ManualClock) {
    let host = host("longer");
    let wait = |seconds| later(clock.now(), Duration::from_secs(seconds));
    let (short, middle, long) = (wait(10), wait(20), wait(30));
    for (until, expected) in [
        (middle, middle),
        (short, middle),
        (long, long),
        (short, long),
    ] {
        windows.hold_off(&host, until).await.expect(DONE);
        assert_eq!(ask(windows, &host).await, SlotDecision::HeldOff(expected));
    }
}

/// What happens at one host is nothing to another.
pub async fn keeps_hosts_apart(windows: &dyn HostWindows, clock: &ManualClock) {
    let (busy, held, other) = (host("busy"), host("held"), host("other"));
    take(windows, clock, &busy).await;
    take(windows, clock, &busy).await;
    assert_full(windows, clock, &busy).await;
    let until = later(clock.now(), Duration::from_secs(3600));
    windows.hold_off(&held, until).await.expect(DONE);
    let decision = ask(windows, &other).await;
    assert!(matches!(decision, SlotDecision::Granted(_)), "{decision:?}");
}
