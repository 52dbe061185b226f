//! What every queue must pass. An adapter's test calls [`run_all`]; a case that fails panics.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, Depth, NewMessage, Queue, QueueError, Receipt, Settlement};
use crate::domain::OwnerId;
use crate::runtime::clock::ManualClock;

/// An empty queue as two processes see it, its time, and what it promises.
#[derive(Debug)]
pub struct Fixture<Q> {
    /// One process's adapter.
    pub first: Arc<Q>,
    /// The other's, on the same messages.
    pub second: Arc<Q>,
    /// What leases end by.
    pub time: Time,
    /// What the port leaves to the adapter.
    pub promises: Promises,
}

/// Whose clock leases end by.
#[derive(Debug)]
pub enum Time {
    /// One that both adapters share.
    Manual(Arc<ManualClock>),
    /// The service's own, which has to be waited for.
    Service,
}

/// What the port lets an adapter promise or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promises {
    /// Work that is queued is not queued twice, and sending again what is dead replaces it.
    pub deduplicates: bool,
    /// A receipt that was settled is over at once, and not only when the message is gone or somebody
    /// else has it.
    pub receipts_end_with_settling: bool,
    /// Messages that rest are told apart from those that somebody has.
    pub tells_rest_from_lease: bool,
}

impl Promises {
    /// What a database or memory gives.
    pub const ALL: Self = Self {
        deduplicates: true,
        receipts_end_with_settling: true,
        tells_rest_from_lease: true,
    };
}

impl Time {
    /// Length of a lease in these cases; a service's are short, since they are waited for.
    fn lease(&self) -> Duration {
        match self {
            Self::Manual(_) => Duration::from_secs(60),
            Self::Service => Duration::from_secs(4),
        }
    }

    /// How long before its end a lease is looked at: half of it where a busy machine may be late.
    fn moment(&self) -> Duration {
        match self {
            Self::Manual(_) => Duration::from_secs(1),
            Self::Service => self.lease() / 2,
        }
    }

    async fn pass(&self, by: Duration) {
        match self {
            Self::Manual(clock) => clock.advance(by),
            Self::Service => tokio::time::sleep(by).await,
        }
    }

    /// Lets a time pass that ends something.
    async fn pass_the_end(&self, by: Duration) {
        const SLACK: Duration = Duration::from_millis(200);
        self.pass(by).await;
        if matches!(self, Self::Service) {
            self.pass(SLACK).await;
        }
    }
}

/// Runs every case on a queue of its own, side by side: most of the time is waiting.
pub async fn run_all<Q: Queue>(fresh: impl AsyncFn() -> Fixture<Q>) -> Result<(), QueueError> {
    tokio::try_join!(
        async { delivers_what_was_sent(&fresh().await).await },
        async { delivers_bodies_of_any_kind(&fresh().await).await },
        async { receives_at_most_what_was_asked_for(&fresh().await).await },
        async { hides_a_message_until_its_lease_ends(&fresh().await).await },
        async { extending_hides_for_longer(&fresh().await).await },
        async { an_ended_lease_that_nobody_took_over_still_settles(&fresh().await).await },
        async { refuses_a_stale_receipt(&fresh().await).await },
        async { refuses_a_receipt_that_is_settled_or_unknown(&fresh().await).await },
        async { settles_done_for_good(&fresh().await).await },
        async { delivers_again_after_the_delay(&fresh().await).await },
        async { sets_dead_messages_aside(&fresh().await).await },
        async { drops_duplicates_of_live_messages(&fresh().await).await },
        async { counts_by_state(&fresh().await).await },
        async { delivers_each_message_once_to_concurrent_receivers(&fresh().await).await },
    )?;
    Ok(())
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

impl<Q: Queue> Fixture<Q> {
    async fn take(&self, queue: &Arc<Q>, max: usize) -> Result<Vec<Delivery>, QueueError> {
        queue.receive(&owner("taker"), max, self.time.lease()).await
    }

    /// Receives until nothing comes any more: a receive may give fewer than it was asked for.
    async fn take_all(&self, queue: &Arc<Q>) -> Result<Vec<Delivery>, QueueError> {
        let mut all = Vec::new();
        loop {
            let taken = self.take(queue, 10).await?;
            if taken.is_empty() {
                return Ok(all);
            }
            all.extend(taken);
        }
    }

    async fn first_one(&self) -> Result<Delivery, QueueError> {
        Ok(self.take(&self.first, 1).await?.remove(0))
    }
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
    let taken = fixture.take(&fixture.second, 10).await?;
    let bodies: HashSet<_> = taken
        .iter()
        .map(|delivery| delivery.body.as_str())
        .collect();
    let expected: HashSet<_> = sent.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, expected);
    assert!(taken.iter().all(|delivery| delivery.deliveries == 1));
    Ok(())
}

/// Any text that a body can be, long ones and what XML cannot hold included, in one call of many.
pub async fn delivers_bodies_of_any_kind<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    let mut sent: Vec<_> = (0..25).map(|n| message(&n.to_string())).collect();
    sent[3].body = "a\u{0}\u{1b}\u{fffe}\u{ffff} <&]]> \u{10ffff}".to_owned();
    sent[4].body = "x".repeat(200 * 1024);
    sent[5].body = "y".repeat(150 * 1024);
    assert_eq!(fixture.first.send(&sent).await?, 25);
    let taken = fixture.take_all(&fixture.second).await?;
    assert_eq!(taken.len(), 25);
    let bodies: HashSet<_> = taken.into_iter().map(|delivery| delivery.body).collect();
    assert!(sent.iter().all(|message| bodies.contains(&message.body)));
    Ok(())
}

/// Fewer where fewer wait, none where none wait, never more than asked for.
pub async fn receives_at_most_what_was_asked_for<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    assert_eq!(fixture.take(&fixture.first, 5).await?, []);
    fixture.first.send(&messages(5)).await?;
    assert_eq!(fixture.take(&fixture.first, 0).await?.len(), 0);
    assert_eq!(fixture.take(&fixture.first, 3).await?.len(), 3);
    assert_eq!(fixture.take(&fixture.first, 3).await?.len(), 2);
    Ok(())
}

/// A leased message comes back when the lease ends, not before, and counts its deliveries.
pub async fn hides_a_message_until_its_lease_ends<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    let (lease, moment) = (fixture.time.lease(), fixture.time.moment());
    fixture.first.send(&messages(1)).await?;
    assert_eq!(fixture.take(&fixture.first, 1).await?.len(), 1);
    fixture.time.pass(lease - moment).await;
    assert_eq!(fixture.take(&fixture.second, 1).await?, []);
    fixture.time.pass_the_end(moment).await;
    let again = fixture.take(&fixture.second, 1).await?;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].deliveries, 2);
    Ok(())
}

/// An extension counts from the time of the call.
pub async fn extending_hides_for_longer<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    let (lease, moment) = (fixture.time.lease(), fixture.time.moment());
    fixture.first.send(&messages(1)).await?;
    let taken = fixture.take(&fixture.first, 1).await?;
    fixture.time.pass(lease - moment).await;
    fixture.first.extend(&taken[0].receipt, lease).await?;
    fixture.time.pass(lease - moment).await;
    assert_eq!(fixture.take(&fixture.second, 1).await?, []);
    fixture.time.pass_the_end(moment).await;
    assert_eq!(fixture.take(&fixture.second, 1).await?.len(), 1);
    Ok(())
}

/// Late but alone: the work was done, nobody else began it.
pub async fn an_ended_lease_that_nobody_took_over_still_settles<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    let lease = fixture.time.lease();
    fixture.first.send(&messages(1)).await?;
    let taken = fixture.take(&fixture.first, 1).await?;
    fixture.time.pass_the_end(lease * 2).await;
    fixture
        .first
        .settle(&taken[0].receipt, Settlement::Done)
        .await?;
    assert_eq!(fixture.first.depth().await?, Depth::default());
    Ok(())
}

/// Once somebody else has the message, the old receipt changes nothing.
pub async fn refuses_a_stale_receipt<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    let (lease, moment) = (fixture.time.lease(), fixture.time.moment());
    fixture.first.send(&messages(1)).await?;
    let old = fixture.first_one().await?.receipt;
    fixture.time.pass_the_end(lease).await;
    let new = fixture.take(&fixture.second, 1).await?.remove(0).receipt;
    assert_ne!(old, new);
    assert_lost(fixture.first.extend(&old, lease * 9).await);
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
    fixture.time.pass(lease - moment).await;
    fixture.second.settle(&new, Settlement::Done).await
}

/// A receipt ends with its settlement; one that never was is as good as lost.
pub async fn refuses_a_receipt_that_is_settled_or_unknown<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    let lease = fixture.time.lease();
    fixture.first.send(&messages(1)).await?;
    let receipt = fixture.first_one().await?.receipt;
    fixture
        .first
        .settle(&receipt, Settlement::Again(Duration::ZERO))
        .await?;
    if fixture.promises.receipts_end_with_settling {
        assert_lost(fixture.first.settle(&receipt, Settlement::Done).await);
        assert_lost(fixture.first.extend(&receipt, lease).await);
    }
    let second = fixture.first_one().await?.receipt;
    fixture.first.settle(&second, Settlement::Done).await?;
    assert_lost(fixture.first.settle(&second, Settlement::Done).await);
    assert_lost(
        fixture
            .first
            .extend(&Receipt("nonsense".to_owned()), lease)
            .await,
    );
    Ok(())
}

/// What is done is never delivered again, and its `dedup_id` is free.
pub async fn settles_done_for_good<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    let lease = fixture.time.lease();
    fixture.first.send(&messages(1)).await?;
    let taken = fixture.take(&fixture.first, 1).await?;
    fixture
        .first
        .settle(&taken[0].receipt, Settlement::Done)
        .await?;
    fixture.time.pass_the_end(lease * 2).await;
    assert_eq!(fixture.take(&fixture.second, 1).await?, []);
    assert_eq!(fixture.second.send(&messages(1)).await?, 1);
    assert_lost(
        fixture
            .first
            .settle(&taken[0].receipt, Settlement::Done)
            .await,
    );
    assert_eq!(fixture.take(&fixture.first, 1).await?[0].deliveries, 1);
    Ok(())
}

/// A deferred message rests for its delay and keeps counting.
pub async fn delivers_again_after_the_delay<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    let (lease, moment) = (fixture.time.lease(), fixture.time.moment());
    fixture.first.send(&messages(1)).await?;
    let taken = fixture.take(&fixture.first, 1).await?;
    let again = Settlement::Again(lease * 3);
    fixture.first.settle(&taken[0].receipt, again).await?;
    fixture.time.pass(lease * 3 - moment).await;
    assert_eq!(fixture.take(&fixture.second, 1).await?, []);
    fixture.time.pass_the_end(moment).await;
    assert_eq!(fixture.take(&fixture.second, 1).await?[0].deliveries, 2);
    Ok(())
}

/// A dead message stays away until somebody sends it again, which replaces it.
pub async fn sets_dead_messages_aside<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    let lease = fixture.time.lease();
    fixture.first.send(&messages(1)).await?;
    let taken = fixture.take(&fixture.first, 1).await?;
    let dead = Settlement::Dead("unreadable".to_owned());
    fixture.first.settle(&taken[0].receipt, dead).await?;
    fixture.time.pass_the_end(lease * 2).await;
    assert_eq!(fixture.take(&fixture.second, 1).await?, []);
    assert_eq!(fixture.second.depth().await?.dead, 1);
    let replacement = NewMessage {
        body: "mended".to_owned(),
        ..message("0")
    };
    assert_eq!(fixture.first.send(&[replacement]).await?, 1);
    let taken = fixture.take(&fixture.second, 1).await?;
    assert_eq!((taken[0].body.as_str(), taken[0].deliveries), ("mended", 1));
    let dead = u64::from(!fixture.promises.deduplicates);
    assert_eq!(fixture.first.depth().await?.dead, dead);
    Ok(())
}

/// Work that is queued, leased or resting is not queued twice, where the adapter looks.
pub async fn drops_duplicates_of_live_messages<Q: Queue>(
    fixture: &Fixture<Q>,
) -> Result<(), QueueError> {
    if !fixture.promises.deduplicates {
        assert_eq!(fixture.first.send(&[message("a"), message("a")]).await?, 2);
        return Ok(());
    }
    let lease = fixture.time.lease();
    assert_eq!(fixture.first.send(&[message("a"), message("a")]).await?, 1);
    assert_eq!(fixture.second.send(&[message("a"), message("b")]).await?, 1);
    let taken = fixture.take(&fixture.first, 2).await?;
    assert_eq!(taken.len(), 2);
    assert_eq!(fixture.second.send(&[message("a")]).await?, 0);
    let again = Settlement::Again(lease);
    fixture.first.settle(&taken[0].receipt, again).await?;
    assert_eq!(fixture.second.send(&[message("a"), message("b")]).await?, 0);
    assert_eq!(fixture.first.depth().await?.outstanding(), 2);
    Ok(())
}

/// Every message is in exactly one state.
pub async fn counts_by_state<Q: Queue>(fixture: &Fixture<Q>) -> Result<(), QueueError> {
    let lease = fixture.time.lease();
    fixture.first.send(&messages(10)).await?;
    let taken = fixture.take(&fixture.first, 6).await?;
    let settlements = [
        Settlement::Done,
        Settlement::Again(lease),
        Settlement::Dead("reason".to_owned()),
    ];
    for (delivery, settlement) in taken.iter().zip(settlements) {
        fixture.first.settle(&delivery.receipt, settlement).await?;
    }
    let delayed = u64::from(fixture.promises.tells_rest_from_lease);
    let depth = Depth {
        ready: 4,
        delayed,
        leased: 4 - delayed,
        dead: 1,
    };
    assert_eq!(fixture.second.depth().await?, depth);
    fixture.time.pass_the_end(lease).await;
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
    let lease = fixture.time.lease() * 10;
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
                let taken = queue.receive(&owner("taker"), 7, lease).await?;
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
    let lease = fixture.time.lease();
    fixture.first.send(&messages(5)).await?;
    let (dead, alive) = (owner("dead"), owner("alive"));
    let lost = fixture.first.receive(&dead, 2, lease).await?;
    let kept = fixture.second.receive(&alive, 2, lease).await?;
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
