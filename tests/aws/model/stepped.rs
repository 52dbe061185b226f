//! A queue of a service whose leases end by a clock of ours.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use podrun::domain::OwnerId;
use podrun::queue::{
    Delivery, Depth, NewMessage, Queue, QueueError, Receipt, Settlement, SqsQueue,
};
use podrun::runtime::clock::{Clock, ManualClock};

/// Longer than any test.
const HIDDEN: Duration = Duration::from_secs(60 * 60);

/// Hides what is received for an hour of the service's time, and brings it back when its lease ended
/// by the clock.
#[derive(Debug)]
pub(super) struct SteppedQueue {
    inner: SqsQueue,
    clock: Arc<ManualClock>,
    hidden: Mutex<Vec<(Receipt, DateTime<Utc>)>>,
}

impl SteppedQueue {
    pub(super) fn new(inner: SqsQueue, clock: Arc<ManualClock>) -> Self {
        Self {
            inner,
            clock,
            hidden: Mutex::default(),
        }
    }

    /// The receipts that this is over for.
    fn ended(&self) -> Vec<Receipt> {
        let now = self.clock.now();
        let mut hidden = self.hidden.lock().unwrap();
        let ended = hidden.extract_if(.., |(_, until)| *until <= now);
        ended.map(|(receipt, _)| receipt).collect()
    }

    fn hide(&self, receipt: &Receipt, by: Duration) {
        self.show(receipt);
        let until = self.clock.now() + by;
        self.hidden.lock().unwrap().push((receipt.clone(), until));
    }

    fn show(&self, receipt: &Receipt) {
        self.hidden
            .lock()
            .unwrap()
            .retain(|(other, _)| other != receipt);
    }
}

#[async_trait]
impl Queue for SteppedQueue {
    async fn send(&self, messages: &[NewMessage]) -> Result<u64, QueueError> {
        self.inner.send(messages).await
    }

    async fn receive(
        &self,
        owner: &OwnerId,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Delivery>, QueueError> {
        for receipt in self.ended() {
            let back = Settlement::Again(Duration::ZERO);
            self.inner.settle(&receipt, back).await?;
        }
        let deliveries = self.inner.receive(owner, max, HIDDEN).await?;
        for delivery in &deliveries {
            self.hide(&delivery.receipt, lease);
        }
        Ok(deliveries)
    }

    async fn extend(&self, receipt: &Receipt, lease: Duration) -> Result<(), QueueError> {
        self.inner.extend(receipt, HIDDEN).await?;
        self.hide(receipt, lease);
        Ok(())
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> Result<(), QueueError> {
        if let Settlement::Again(delay) = settlement {
            return self.extend(receipt, delay).await;
        }
        self.inner.settle(receipt, settlement).await?;
        self.show(receipt);
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.inner.depth().await
    }
}
