//! What every queue must pass. An adapter's test calls [`run_all`]; a case that fails panics.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, Depth, NewMessage, Queue, QueueError, Receipt, Settlement};
use crate::domain::OwnerId;
use crate::runtime::clock::ManualClock;

/// An empty queue as two processes see it, and the clock it goes by.
#[derive(Debug)]
pub struct Fixture<Q> {
    /// One process's adapter.
    pub first: Arc<Q>,
    /// The other's, on the same messages.
    pub second: Arc<Q>,
    /// What both take the time from.
    pub clock: Arc<ManualClock>,
}

const LEASE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_secs(1);

/// Runs every case on a queue of its own.
pub async fn run_all<Q: Queue>(fresh: impl Fn() -> Fixture<Q>) -> Result<(), QueueError> {
    delivers_what_was_sent(&fresh()).await?;
    receives_at_most_what_was_asked_for(&fresh()).await?;
    hides_a_message_until_its_lease_ends(&fresh()).await?;
    extending_hides_for_longer(&fresh()).await?;
    an_ended_lease_that_nobody_took_over_still_settles(&fresh()).await?;
    refuses_a_stale_receipt(&fresh()).await?;
    refuses_a_receipt_that_is_settled_or_unknown(&fresh()).await?;
    settles_done_for_good(&fresh()).await?;
    delivers_again_after_the_delay(&fresh()).await?;
    sets_dead_messages_aside(&fresh()).await?;
    drops_duplicates_of_live_messages(&fresh()).await?;
    counts_by_state(&fresh()).await?;
    delivers_each_message_once_to_concurrent_receivers(&fresh()).await
}

/// A message whose body tells its `dedup_id`.
pub fn message(dedup_id: &str) -> NewMessage {
    NewMessage {
        dedup_id: dedup_id.to_owned(),
        body: format!("{{\"job\":\"{dedup_id} \u{1f399} '\"}}"),
    }
}

fn messages(count: usize) -> Vec<NewMessage> {
    (0..count)
        .map(|number| message(&number.to_string()))
        .collect()
}

fn owner(label: &str) -> OwnerId {
    OwnerId::generate(label)
}

async fn take<Q: Queue>(queue: &Arc<Q>, max: usize) -> Result<Vec<Delivery>, QueueError> {
    queue.receive(&owner("taker"), max, LEASE).await
}

#[track_caller]
fn assert_lost(result: Result<(), QueueError>) {
    assert!(matches!(result, Err(QueueError::LeaseLost)), "{result:?}");
}

/// Bodies arrive as they were sent, through either adapter.
pub async fn delivers_what_was_sent<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    let sent = messages(3);
    assert_eq!(fixture.first.send(&sent).await?, 3);
    assert_eq!(fixture.first.send(&[]).await?, 0);
    let taken = take(&fixture.second, 10).await?;
    let bodies: HashSet<_> = taken
        .iter()
        .map(|delivery| delivery.body.as_str())
        .collect();
    let expected: HashSet<_> = sent.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, expected);
    assert!(taken.iter().all(|delivery| delivery.deliveries == 1));
    Ok(())
}

/// Fewer where fewer wait, none where none wait, never more than asked for.
pub async fn receives_at_most_what_was_asked_for<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    assert_eq!(take(&fixture.first, 5).await?, []);
    fixture.first.send(&messages(5)).await?;
    assert_eq!(take(&fixture.first, 0).await?.len(), 0);
    assert_eq!(take(&fixture.first, 3).await?.len(), 3);
    assert_eq!(take(&fixture.first, 3).await?.len(), 2);
    Ok(())
}

/// A leased message comes back when the lease ends, not before, and counts its deliveries.
pub async fn hides_a_message_until_its_lease_ends<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    fixture.first.send(&messages(1)).await?;
    assert_eq!(take(&fixture.first, 1).await?.len(), 1);
    fixture.clock.advance(LEASE - MOMENT);
    assert_eq!(take(&fixture.second, 1).await?, []);
    fixture.clock.advance(MOMENT);
    let again = take(&fixture.second, 1).await?;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].deliveries, 2);
    Ok(())
}

/// An extension counts from the time of the call.
pub async fn extending_hides_for_longer<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    fixture.first.send(&messages(1)).await?;
    let taken = take(&fixture.first, 1).await?;
    fixture.clock.advance(LEASE - MOMENT);
    fixture.first.extend(&taken[0].receipt, LEASE).await?;
    fixture.clock.advance(LEASE - MOMENT);
    assert_eq!(take(&fixture.second, 1).await?, []);
    fixture.clock.advance(MOMENT);
    assert_eq!(take(&fixture.second, 1).await?.len(), 1);
    Ok(())
}

/// Late but alone: the work was done, nobody else began it.
pub async fn an_ended_lease_that_nobody_took_over_still_settles<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    fixture.first.send(&messages(1)).await?;
    let taken = take(&fixture.first, 1).await?;
    fixture.clock.advance(LEASE * 2);
    fixture
        .first
        .settle(&taken[0].receipt, Settlement::Done)
        .await?;
    assert_eq!(fixture.first.depth().await?, Depth::default());
    Ok(())
}

/// Once somebody else has the message, the old receipt changes nothing.
pub async fn refuses_a_stale_receipt<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    fixture.first.send(&messages(1)).await?;
    let old = take(&fixture.first, 1).await?.remove(0).receipt;
    fixture.clock.advance(LEASE);
    let new = take(&fixture.second, 1).await?.remove(0).receipt;
    assert_ne!(old, new);
    assert_lost(fixture.first.extend(&old, LEASE * 9).await);
    for settlement in [
        Settlement::Done,
        Settlement::Again(Duration::ZERO),
        Settlement::Dead("stale".to_owned()),
    ] {
        assert_lost(fixture.first.settle(&old, settlement).await);
    }
    let leased = Depth {
        leased: 1,
        ..Depth::default()
    };
    assert_eq!(fixture.first.depth().await?, leased);
    fixture.clock.advance(LEASE - MOMENT);
    fixture.second.settle(&new, Settlement::Done).await
}

/// A receipt ends with its settlement; one that never was is as good as lost.
pub async fn refuses_a_receipt_that_is_settled_or_unknown<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    fixture.first.send(&messages(1)).await?;
    let receipt = take(&fixture.first, 1).await?.remove(0).receipt;
    fixture
        .first
        .settle(&receipt, Settlement::Again(Duration::ZERO))
        .await?;
    assert_lost(fixture.first.settle(&receipt, Settlement::Done).await);
    assert_lost(fixture.first.extend(&receipt, LEASE).await);
    let second = take(&fixture.first, 1).await?.remove(0).receipt;
    fixture.first.settle(&second, Settlement::Done).await?;
    assert_lost(fixture.first.settle(&second, Settlement::Done).await);
    assert_lost(
        fixture
            .first
            .extend(&Receipt("nonsense".to_owned()), LEASE)
            .await,
    );
    Ok(())
}

/// What is done is never delivered again, and its `dedup_id` is free.
pub async fn settles_done_for_good<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    fixture.first.send(&messages(1)).await?;
    let taken = take(&fixture.first, 1).await?;
    fixture
        .first
        .settle(&taken[0].receipt, Settlement::Done)
        .await?;
    fixture.clock.advance(LEASE * 2);
    assert_eq!(take(&fixture.second, 1).await?, []);
    assert_eq!(fixture.second.send(&messages(1)).await?, 1);
    assert_lost(
        fixture
            .first
            .settle(&taken[0].receipt, Settlement::Done)
            .await,
    );
    assert_eq!(take(&fixture.first, 1).await?[0].deliveries, 1);
    Ok(())
}

/// A deferred message rests for its delay and keeps counting.
pub async fn delivers_again_after_the_delay<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    fixture.first.send(&messages(1)).await?;
    let taken = take(&fixture.first, 1).await?;
    let again = Settlement::Again(LEASE * 3);
    fixture.first.settle(&taken[0].receipt, again).await?;
    fixture.clock.advance(LEASE * 3 - MOMENT);
    assert_eq!(take(&fixture.second, 1).await?, []);
    fixture.clock.advance(MOMENT);
    assert_eq!(take(&fixture.second, 1).await?[0].deliveries, 2);
    Ok(())
}

/// A dead message stays away until somebody sends it again, which replaces it.
pub async fn sets_dead_messages_aside<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    fixture.first.send(&messages(1)).await?;
    let taken = take(&fixture.first, 1).await?;
    let dead = Settlement::Dead("unreadable".to_owned());
    fixture.first.settle(&taken[0].receipt, dead).await?;
    fixture.clock.advance(LEASE * 2);
    assert_eq!(take(&fixture.second, 1).await?, []);
    assert_eq!(fixture.second.depth().await?.dead, 1);
    let replacement = NewMessage {
        body: "mended".to_owned(),
        ..message("0")
    };
    assert_eq!(fixture.first.send(&[replacement]).await?, 1);
    let taken = take(&fixture.second, 1).await?;
    assert_eq!((taken[0].body.as_str(), taken[0].deliveries), ("mended", 1));
    assert_eq!(fixture.first.depth().await?.dead, 0);
    Ok(())
}

/// Work that is queued, leased or resting is not queued twice. Local adapters only: SQS standard
/// queues do not look.
pub async fn drops_duplicates_of_live_messages<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    assert_eq!(fixture.first.send(&[message("a"), message("a")]).await?, 1);
    assert_eq!(fixture.second.send(&[message("a"), message("b")]).await?, 1);
    let taken = take(&fixture.first, 2).await?;
    assert_eq!(taken.len(), 2);
    assert_eq!(fixture.second.send(&[message("a")]).await?, 0);
    let again = Settlement::Again(LEASE);
    fixture.first.settle(&taken[0].receipt, again).await?;
    assert_eq!(fixture.second.send(&[message("a"), message("b")]).await?, 0);
    assert_eq!(fixture.first.depth().await?.outstanding(), 2);
    Ok(())
}

/// Every message is in exactly one state.
pub async fn counts_by_state<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    fixture.first.send(&messages(10)).await?;
    let taken = take(&fixture.first, 6).await?;
    let settlements = [
        Settlement::Done,
        Settlement::Again(LEASE),
        Settlement::Dead("reason".to_owned()),
    ];
    for (delivery, settlement) in taken.iter().zip(settlements) {
        fixture.first.settle(&delivery.receipt, settlement).await?;
    }
    let depth = Depth {
        ready: 4,
        delayed: 1,
        leased: 3,
        dead: 1,
    };
    assert_eq!(fixture.second.depth().await?, depth);
    fixture.clock.advance(LEASE);
    let depth = Depth {
        ready: 8,
        dead: 1,
        ..Depth::default()
    };
    assert_eq!(fixture.second.depth().await?, depth);
    Ok(())
}

/// Eight tasks on two adapters: each message goes to one of them, and all of them go.
pub async fn delivers_each_message_once_to_concurrent_receivers<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    fixture.first.send(&messages(200)).await?;
    let mut receivers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let queue = if number % 2 == 0 {
            fixture.first.clone()
        } else {
            fixture.second.clone()
        };
        receivers.spawn(async move {
            let mut bodies = Vec::new();
            loop {
                let taken = take(&queue, 7).await?;
                if taken.is_empty() {
                    return Ok::<_, QueueError>(bodies);
                }
                bodies.extend(taken.into_iter().map(|delivery| delivery.body));
            }
        });
    }
    let mut bodies = Vec::new();
    for received in receivers.join_all().await {
        bodies.extend(received?);
    }
    assert_eq!(bodies.len(), 200);
    assert_eq!(bodies.into_iter().collect::<HashSet<_>>().len(), 200);
    Ok(())
}

/// For adapters that can tell that an owner is dead: `release` frees its messages at once, and
/// nobody else's.
pub async fn gives_a_dead_owners_messages_back<Q: Queue>(
    fixture: &Fixture<Q>,
    release: impl AsyncFn(&Q, &OwnerId) -> Result<u64, QueueError>,
) -> Result<(), QueueError> {
    fixture.first.send(&messages(5)).await?;
    let (dead, alive) = (owner("dead"), owner("alive"));
    let lost = fixture.first.receive(&dead, 2, LEASE).await?;
    let kept = fixture.second.receive(&alive, 2, LEASE).await?;
    assert_eq!(release(&fixture.second, &dead).await?, 2);
    assert_eq!(release(&fixture.second, &dead).await?, 0);
    let depth = Depth {
        ready: 3,
        leased: 2,
        ..Depth::default()
    };
    assert_eq!(fixture.first.depth().await?, depth);
    assert_lost(
        fixture
            .first
            .settle(&lost[0].receipt, Settlement::Done)
            .await,
    );
    fixture
        .second
        .settle(&kept[0].receipt, Settlement::Done)
        .await
}
