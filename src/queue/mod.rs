//! Port: who does what next. One queue a stage; one message an episode.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::OwnerId;

#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
pub mod memory;
pub mod sqlite;
pub mod sqs;

pub use memory::MemoryQueue;
pub use sqlite::SqliteQueue;
pub use sqs::SqsQueue;

/// What a queue guarantees:
///
/// * A message that was sent is delivered at least once until it is settled; delivery more than
///   once is allowed, and the [`Checkpoints`](crate::checkpoint::Checkpoints) make it harmless.
/// * A received message is hidden from others until its lease ends; then it is delivered again.
/// * A receipt is good for one delivery: once the lease ended and somebody else received the
///   message, [`extend`](Self::extend) and [`settle`](Self::settle) answer
///   [`QueueError::LeaseLost`] and change nothing. A service that cannot tell may carry them out
///   instead; so callers settle only what their checkpoint's lease, which is always fenced, let them
///   end, and then the worst that a stale receipt does is one delivery more, or one message less
///   whose work is over.
/// * No order is promised.
#[async_trait]
pub trait Queue: Debug + Send + Sync + 'static {
    /// Sends messages; all are durable when this returns. A message whose `dedup_id` is queued
    /// already may be dropped, which an adapter that can does. Returns how many were added.
    async fn send(&self, messages: &[NewMessage]) -> Result<u64, QueueError>;

    /// Takes up to `max` messages for `lease`; fewer or none where fewer wait, or where the adapter
    /// hands out fewer at a time. Where none wait it may wait for one, for as long as the adapter was
    /// told to (20 s at most), and returns at the first. Dropping the call is safe; a message that was
    /// on its way rests for its lease.
    async fn receive(
        &self,
        owner: &OwnerId,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Delivery>, QueueError>;

    /// Hides the message for `lease` from now on, as far as the service can (SQS: 12 hours after it was
    /// received). What comes back too early is harmless: its checkpoint says that it is under way.
    async fn extend(&self, receipt: &Receipt, lease: Duration) -> Result<(), QueueError>;

    /// Ends the delivery. A dead message is kept before it is taken out of the queue, so a crash in
    /// between leaves it twice.
    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> Result<(), QueueError>;

    /// How many messages are in which state; may lag.
    async fn depth(&self) -> Result<Depth, QueueError>;
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Names the work, so that one that is queued is not queued twice.
    pub dedup_id: String,
    /// A [`Job`](crate::domain::Job) as text, at most 256 KiB.
    pub body: String,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Handle for `extend` and `settle`.
    pub receipt: Receipt,
    /// The text that was sent.
    pub body: String,
    /// How often it was delivered, this time included. Deferrals count too, so it is no attempt count.
    pub deliveries: u32,
}

/// Handle of one delivery, opaque outside its adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(pub String);

/// How a delivery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The work is durable: delete the message.
    Done,
    /// Deliver again, not before this delay.
    Again(Duration),
    /// Never deliver again: keep it aside, with the reason, for a person to look at.
    Dead(String),
}

/// A queue's contents by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Can be received now.
    pub ready: u64,
    /// Will be deliverable later.
    pub delayed: u64,
    /// Out with a worker.
    pub leased: u64,
    /// Set aside.
    pub dead: u64,
}

impl Depth {
    /// Messages that still have to be worked on.
    pub fn outstanding(&self) -> u64 {
        self.ready + self.delayed + self.leased
    }
}

/// A failed queue call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The delivery is over; somebody else may have the message.
    #[error("the lease on the message is lost")]
    LeaseLost,
    /// The queue itself failed.
    #[error("queue {queue}: {source}")]
    Backend {
        /// Which queue.
        queue: String,
        /// The adapter's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
