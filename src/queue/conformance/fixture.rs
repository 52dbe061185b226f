//! A queue to be tested: whose time it goes by, and what it promises beyond the port.

use std::sync::Arc;
use std::time::Duration;

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
    pub(super) fn lease(&self) -> Duration {
        match self {
            Self::Manual(_) => Duration::from_secs(60),
            Self::Service => Duration::from_secs(4),
        }
    }

    /// How long before its end a lease is looked at: half of it where a busy machine may be late.
    pub(super) fn moment(&self) -> Duration {
        match self {
            Self::Manual(_) => Duration::from_secs(1),
            Self::Service => self.lease() / 2,
        }
    }

    pub(super) async fn pass(&self, by: Duration) {
        match self {
            Self::Manual(clock) => clock.advance(by),
            Self::Service => tokio::time::sleep(by).await,
        }
    }

    /// Lets a time pass that ends something.
    pub(super) async fn pass_the_end(&self, by: Duration) {
        const SLACK: Duration = Duration::from_millis(200);
        self.pass(by).await;
        if matches!(self, Self::Service) {
            self.pass(SLACK).await;
        }
    }
}
