//! Keeps the leases of one delivery while its stage works.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::LeaseCheck;
use crate::checkpoint::{CheckpointError, Checkpoints, Lease};
use crate::queue::{Queue, QueueError, Receipt};

/// Both leases of one delivery: the message's and the checkpoint's.
#[derive(Debug)]
pub(super) struct Leases {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) checkpoints: Arc<dyn Checkpoints>,
    pub(super) receipt: Receipt,
    pub(super) lease: Lease,
    pub(super) ttl: Duration,
}

/// What a renewal came to.
enum Renewal {
    Kept,
    Lost,
    /// The store did not answer; the lease may live on.
    Unknown,
}

impl Leases {
    /// Renews both until the returned handle is dropped; cancels `lost` when either is gone, or
    /// when no renewal succeeded for a whole lease.
    pub(super) fn keep(self: Arc<Self>, lost: CancellationToken) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut kept_at = Instant::now();
            loop {
                tokio::time::sleep(self.ttl / 3).await;
                // The lease runs from before the call, and a call may hang for longer than it.
                let asked_at = Instant::now();
                let left = self.ttl.saturating_sub(kept_at.elapsed());
                let renewal = tokio::time::timeout(left, self.renew()).await;
                match renewal.unwrap_or(Renewal::Unknown) {
                    Renewal::Kept => kept_at = asked_at,
                    Renewal::Unknown if kept_at.elapsed() < self.ttl => {}
                    Renewal::Unknown | Renewal::Lost => {
                        tracing::warn!(subject = %self.lease.subject, "lease lost, stopping the work");
                        lost.cancel();
                        return;
                    }
                }
            }
        }))
    }

    async fn renew(&self) -> Renewal {
        match self.checkpoints.renew(&self.lease, self.ttl).await {
            Ok(()) => {}
            Err(CheckpointError::LeaseLost { .. }) => return Renewal::Lost,
            Err(error) => {
                tracing::warn!(subject = %self.lease.subject, %error, "cannot renew the lease");
                return Renewal::Unknown;
            }
        }
        match self.queue.extend(&self.receipt, self.ttl).await {
            Ok(()) => Renewal::Kept,
            Err(QueueError::LeaseLost) => Renewal::Lost,
            Err(error) => {
                tracing::warn!(subject = %self.lease.subject, %error, "cannot extend the message");
                Renewal::Unknown
            }
        }
    }
}

#[async_trait]
impl LeaseCheck for Leases {
    async fn still_held(&self) -> bool {
        matches!(self.renew().await, Renewal::Kept)
    }
}
