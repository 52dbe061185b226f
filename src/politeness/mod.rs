//! Port: how hard each podcast host may be pressed, by all workers together.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::OwnerId;

#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
pub mod hop;
pub mod key;
pub mod limits;
pub mod memory;
pub mod pace;
pub mod sqlite;
pub mod throttle;
mod window;

pub use key::HostKey;
pub use limits::HostLimits;
pub use memory::MemoryHostWindows;
pub use pace::PacedGate;
pub use sqlite::SqliteHostWindows;
pub use throttle::{Pass, Throttle, Waits};

/// What host windows guarantee:
///
/// * Never more live slots of a host than its window allows, counted over every process that shares
///   the store. A slot is a lease: a killed worker's slots free themselves.
/// * No slot is granted before the host's `not_before`, which only ever moves later while a wait is
///   on (`Retry-After` is honoured in full and for the host as a whole).
/// * When the store fails, nothing is granted: fail closed.
///
/// The window's size is the adapter's business: fixed here, adaptive later, behind these verbs.
#[async_trait]
pub trait HostWindows: Debug + Send + Sync + 'static {
    /// Asks for a slot before a request to the host.
    async fn acquire(
        &self,
        host: &HostKey,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<SlotDecision, WindowError>;

    /// Keeps a slot for `ttl` from now on.
    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError>;

    /// Gives a slot back and tells how the transfer went. A slot that already ended is no error.
    async fn release(&self, slot: Slot, signal: Signal) -> Result<(), WindowError>;

    /// The host asked to be left alone (429, 503): nobody asks before `until`.
    async fn hold_off(&self, host: &HostKey, until: DateTime<Utc>) -> Result<(), WindowError>;
}

/// The right to one transfer from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Which host.
    pub host: HostKey,
    /// The adapter's handle.
    pub id: String,
}

/// The answer to [`HostWindows::acquire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotDecision {
    /// Go.
    Granted(Slot),
    /// All slots are out; ask again after about this long.
    Full(Duration),
    /// The host is to be left alone until then.
    HeldOff(DateTime<Utc>),
}

/// How a transfer went, for windows that adapt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The host served it.
    Served,
    /// The host is overloaded, or says so.
    Congested,
    /// Nothing can be learnt from it.
    Neutral,
}

/// A failed window call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The slot ended and may be somebody else's now: stop the transfer.
    #[error("the slot for {host} is lost")]
    SlotLost {
        /// Which host.
        host: HostKey,
    },
    /// The store failed.
    #[error("host windows: {source}")]
    Backend {
        /// The adapter's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "slot {} of {}", self.id, self.host)
    }
}
