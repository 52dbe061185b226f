//! A queue that ends with the process; for tests, examples and as the plainest statement of what a
//! queue does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Delivery, Depth, NewMessage, Queue, QueueError, Receipt, Settlement};
use crate::domain::OwnerId;
use crate::runtime::clock::{Clock, later};

/// A queue in memory. Deduplicates as [`SqliteQueue`](super::SqliteQueue) does.
#[derive(Debug)]
pub struct MemoryQueue {
    clock: Arc<dyn Clock>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    messages: BTreeMap<u64, Message>,
    by_dedup_id: HashMap<String, u64>,
    /// Numbers messages and deliveries alike.
    last_number: u64,
}

#[derive(Debug)]
struct Message {
    new: NewMessage,
    state: State,
    deliveries: u32,
}

#[derive(Debug)]
enum State {
    Queued {
        from: DateTime<Utc>,
    },
    Leased {
        until: DateTime<Utc>,
        owner: OwnerId,
        receipt: Receipt,
    },
    Dead {
        reason: String,
    },
}

impl MemoryQueue {
    /// An empty queue; leases end by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            contents: Mutex::default(),
        }
    }

    /// Makes everything `owner` has on lease deliverable at once; for an owner that is known to be
    /// dead. Returns how many messages that were.
    pub async fn release_owner(&self, owner: &OwnerId) -> Result<u64, QueueError> {
        let now = self.clock.now();
        let mut released = 0;
        for message in self.contents().messages.values_mut() {
            if matches!(&message.state, State::Leased { owner: holder, .. } if holder == owner) {
                message.state = State::Queued { from: now };
                released += 1;
            }
        }
        Ok(released)
    }

    /// Why messages were set aside, by their `dedup_id`.
    pub fn dead_for_test(&self) -> BTreeMap<String, String> {
        let contents = self.contents();
        let dead = contents
            .messages
            .values()
            .filter_map(|message| match &message.state {
                State::Dead { reason } => Some((message.new.dedup_id.clone(), reason.clone())),
                State::Queued { .. } | State::Leased { .. } => None,
            });
        dead.collect()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Every change below is complete once begun, so a panic elsewhere leaves nothing half done.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn insert(&mut self, new: &NewMessage, now: DateTime<Utc>) -> bool {
        if let Some(id) = self.by_dedup_id.get(&new.dedup_id) {
            let dead = self.messages.get(id).is_some_and(Message::is_dead);
            if !dead {
                return false;
            }
            self.messages.remove(id);
        }
        let id = self.next_number();
        self.by_dedup_id.insert(new.dedup_id.clone(), id);
        let message = Message {
            new: new.clone(),
            state: State::Queued { from: now },
            deliveries: 0,
        };
        self.messages.insert(id, message);
        true
    }

    fn remove(&mut self, id: u64) {
        if let Some(message) = self.messages.remove(&id) {
            self.by_dedup_id.remove(&message.new.dedup_id);
        }
    }

    /// The message whose running delivery `receipt` is for. A receipt is `<message>.<delivery>`.
    fn delivered(&mut self, receipt: &Receipt) -> Result<(u64, &mut Message), QueueError> {
        let lost = QueueError::LeaseLost;
        let Some(id) = receipt
            .0
            .split_once('.')
            .and_then(|(id, _)| id.parse().ok())
        else {
            return Err(lost);
        };
        match self.messages.get_mut(&id) {
            Some(message) if message.is_delivered_as(receipt) => Ok((id, message)),
            _ => Err(lost),
        }
    }
}

impl Message {
    fn is_dead(&self) -> bool {
        matches!(self.state, State::Dead { .. })
    }

    fn is_ready(&self, now: DateTime<Utc>) -> bool {
        match self.state {
            State::Queued { from: at } | State::Leased { until: at, .. } => at <= now,
            State::Dead { .. } => false,
        }
    }

    fn is_delivered_as(&self, presented: &Receipt) -> bool {
        matches!(&self.state, State::Leased { receipt, .. } if receipt == presented)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, messages: &[NewMessage]) -> Result<u64, QueueError> {
        let now = self.clock.now();
        let mut contents = self.contents();
        let added = messages.iter().filter(|new| contents.insert(new, now));
        Ok(added.count() as u64)
    }

    async fn receive(
        &self,
        owner: &OwnerId,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Delivery>, QueueError> {
        let now = self.clock.now();
        let mut contents = self.contents();
        let ready = contents
            .messages
            .iter()
            .filter(|(_, message)| message.is_ready(now));
        let ids: Vec<u64> = ready.map(|(id, _)| *id).take(max).collect();
        let mut deliveries = Vec::with_capacity(ids.len());
        for id in ids {
            let receipt = Receipt(format!("{id}.{}", contents.next_number()));
            let Some(message) = contents.messages.get_mut(&id) else {
                continue;
            };
            message.deliveries += 1;
            message.state = State::Leased {
                until: later(now, lease),
                owner: owner.clone(),
                receipt: receipt.clone(),
            };
            deliveries.push(Delivery {
                receipt,
                body: message.new.body.clone(),
                deliveries: message.deliveries,
            });
        }
        Ok(deliveries)
    }

    async fn extend(&self, receipt: &Receipt, lease: Duration) -> Result<(), QueueError> {
        let end = later(self.clock.now(), lease);
        let mut contents = self.contents();
        let (_, message) = contents.delivered(receipt)?;
        if let State::Leased { until, .. } = &mut message.state {
            *until = end;
        }
        Ok(())
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> Result<(), QueueError> {
        let now = self.clock.now();
        let mut contents = self.contents();
        let (id, message) = contents.delivered(receipt)?;
        match settlement {
            Settlement::Done => contents.remove(id),
            Settlement::Again(delay) => {
                message.state = State::Queued {
                    from: later(now, delay),
                }
            }
            Settlement::Dead(reason) => message.state = State::Dead { reason },
        }
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let now = self.clock.now();
        let mut depth = Depth::default();
        for message in self.contents().messages.values() {
            let count = match message.state {
                _ if message.is_ready(now) => &mut depth.ready,
                State::Queued { .. } => &mut depth.delayed,
                State::Leased { .. } => &mut depth.leased,
                State::Dead { .. } => &mut depth.dead,
            };
            *count += 1;
        }
        Ok(depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::conformance::{self, Fixture, Promises, Time};
    use crate::runtime::clock::ManualClock;

    fn fixture() -> Fixture<MemoryQueue> {
        let clock = Arc::new(ManualClock::default());
        let queue = Arc::new(MemoryQueue::new(clock.clone()));
        Fixture {
            first: queue.clone(),
            second: queue,
            time: Time::Manual(clock),
            promises: Promises::ALL,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn conforms() {
        conformance::run_all(async || fixture()).await.unwrap();
        let release = async |queue: &MemoryQueue, owner: &OwnerId| queue.release_owner(owner).await;
        let fixture = fixture();
        conformance::gives_a_dead_owners_messages_back(&fixture, release)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn the_reason_of_a_dead_message_is_kept() {
        let queue = MemoryQueue::new(Arc::new(ManualClock::default()));
        queue.send(&[conformance::message("a")]).await.unwrap();
        let owner = OwnerId::generate("o");
        let taken = queue
            .receive(&owner, 1, Duration::from_secs(1))
            .await
            .unwrap();
        let dead = Settlement::Dead("no audio".to_owned());
        queue.settle(&taken[0].receipt, dead).await.unwrap();
        assert_eq!(queue.dead_for_test()["a"], "no audio");
    }
}
