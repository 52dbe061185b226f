//! Host windows: the port's promises, also where answers are lost and clients many.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use podrun::domain::OwnerId;
use podrun::politeness::dynamodb::{DynamoHostWindows, HOSTS_TABLE};
use podrun::politeness::{
    HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError, conformance,
};
use podrun::runtime::aws::dynamodb::Attributes;
use podrun::runtime::clock::{Clock, ManualClock, SystemClock};
use url::Url;

use crate::faults::{Fault, FaultProxy};
use crate::stand_in::{StandIn, clients_of};

pub(crate) const TABLE: &str = "podinsights-hosts";
const TTL: Duration = Duration::from_secs(60);

pub(crate) fn windows(
    client: &Client,
    limits: HostLimits,
    clock: Arc<dyn Clock>,
) -> DynamoHostWindows {
    DynamoHostWindows::new(client.clone(), TABLE, limits, clock)
}

fn host() -> HostKey {
    let url = Url::parse("https://a.example/").unwrap();
    HostKey::of_url(&url, &HostLimits::default()).unwrap()
}

fn owner() -> OwnerId {
    OwnerId::generate("test")
}

/// Starts kept apart by nothing.
fn unspaced() -> HostLimits {
    HostLimits::try_new(2, Duration::ZERO, BTreeMap::new()).unwrap()
}

async fn take(windows: &DynamoHostWindows) -> Option<Slot> {
    match windows.acquire(&host(), &owner(), TTL).await.unwrap() {
        SlotDecision::Granted(slot) => Some(slot),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ports_promises_are_kept() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.dynamodb;
    HOSTS_TABLE.create(&client, TABLE).await.unwrap();
    let clock = Arc::new(ManualClock::default());
    let windows = windows(&client, conformance::limits(), clock.clone());
    conformance::all(Arc::new(windows), clock).await;
}

/// Writes are what workers contend for; waiting must not need any.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_at_a_full_window_only_reads() {
    let stand_in = StandIn::start();
    let direct = stand_in.clients().await.dynamodb;
    HOSTS_TABLE.create(&direct, TABLE).await.unwrap();
    let proxy = FaultProxy::start(&stand_in.endpoint).await;
    let client = clients_of(&proxy.endpoint).await.dynamodb;
    let windows = windows(&client, unspaced(), Arc::new(SystemClock));
    let slots = [take(&windows).await.unwrap(), take(&windows).await.unwrap()];
    assert_eq!(proxy.count("PutItem"), 2);
    for _ in 0..20 {
        assert!(take(&windows).await.is_none());
    }
    assert_eq!(proxy.count("PutItem"), 2);
    assert_eq!(proxy.count("GetItem"), 22);
    drop(slots);
}

/// Every write takes effect and its first answer is lost: no slot is taken twice, none is left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_counts_once() {
    let stand_in = StandIn::start();
    let direct = stand_in.clients().await.dynamodb;
    HOSTS_TABLE.create(&direct, TABLE).await.unwrap();
    let proxy = FaultProxy::start(&stand_in.endpoint).await;
    let client = clients_of(&proxy.endpoint).await.dynamodb;
    let windows = windows(&client, unspaced(), Arc::new(SystemClock));
    let lose_answer = || proxy.inject("PutItem", Fault::DropAfter);
    let take_blindly = async || {
        lose_answer();
        take(&windows).await.unwrap()
    };
    let (first, second) = (take_blindly().await, take_blindly().await);
    assert_eq!(proxy.count("PutItem"), 4);
    assert!(take(&windows).await.is_none());
    lose_answer();
    windows.renew(&first, TTL).await.unwrap();
    for slot in [first, second] {
        lose_answer();
        windows.release(slot, Signal::Neutral).await.unwrap();
    }
    let _slots = (take_blindly().await, take_blindly().await);
    assert!(take(&windows).await.is_none());
    assert_eq!(proxy.left(), 0);
}

/// No slot without a written lease, and none from an item that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_granted_where_the_table_fails() {
    let stand_in = StandIn::start();
    let direct = stand_in.clients().await.dynamodb;
    let is_backend = |granted: Result<SlotDecision, WindowError>| {
        assert!(
            matches!(granted, Err(WindowError::Backend { .. })),
            "{granted:?}"
        );
        granted.unwrap_err().to_string()
    };
    let good = windows(&direct, unspaced(), Arc::new(SystemClock));
    let no_table = is_backend(good.acquire(&host(), &owner(), TTL).await);
    assert!(no_table.contains(TABLE), "{no_table}");
    HOSTS_TABLE.create(&direct, TABLE).await.unwrap();

    let proxy = FaultProxy::start(&stand_in.endpoint).await;
    proxy.inject_times(99, "PutItem", Fault::broken());
    let client = clients_of(&proxy.endpoint).await.dynamodb;
    let failing = windows(&client, unspaced(), Arc::new(SystemClock));
    is_backend(failing.acquire(&host(), &owner(), TTL).await);

    let broken = Attributes::new()
        .text("host", host().as_str())
        .text("window", "{\"state\": 7}");
    let put = direct
        .put_item()
        .table_name(TABLE)
        .set_item(Some(broken.into_item()));
    put.send().await.unwrap();
    let unreadable = is_backend(good.acquire(&host(), &owner(), TTL).await);
    assert!(unreadable.contains("a.example"), "{unreadable}");
}

/// Forty clients with connections of their own, at one host, at once.
#[tokio::test(flavor = "multi_thread")]
async fn many_clients_share_one_window() {
    let stand_in = StandIn::start();
    let direct = stand_in.clients().await.dynamodb;
    HOSTS_TABLE.create(&direct, TABLE).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let client = stand_in.clients().await.dynamodb;
        let windows = windows(&client, unspaced(), Arc::new(SystemClock));
        tasks.spawn(async move { take(&windows).await });
    }
    let slots: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(slots.len(), 2);
    let windows = windows(&direct, unspaced(), Arc::new(SystemClock));
    for slot in &slots {
        windows.renew(slot, TTL).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_088_clocks_ten_seconds_apart_grant_no_living_slot_twice() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.dynamodb;
    HOSTS_TABLE.create(&client, TABLE).await.unwrap();
    let at = |clock| {
        let windows = windows(&client, conformance::limits(), clock);
        Arc::new(windows) as Arc<dyn HostWindows>
    };
    conformance::agrees_with_clocks_apart(at).await;
}
