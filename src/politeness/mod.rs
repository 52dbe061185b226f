//! Port: how hard each podcast host may be pressed, by all workers together.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::OwnerId;

#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
pub mod dynamodb;
pub mod hop;
pub mod key;
pub mod limits;
pub mod memory;
pub mod pace;
pub mod sqlite;
pub mod throttle;
mod window;

pub use dynamodb::DynamoHostWindows;
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
/// * The window never grows over the configured limit of the host. Within it the window follows what
///   the host shows of its own limit (the `window` module has the algorithm); every adapter takes the
///   same steps and makes each of them atomic.
/// * No slot is granted before a rest is over that the host asked for or that followed its refusal. A
///   rest only ever moves later while it is on (`Retry-After` is honoured in full and for the host as
///   a whole), also when it is told with a slot that already ended.
/// * However many requests are refused together, the window is made narrower once.
/// * When the store fails, nothing is granted: fail closed.
#[async_trait]
pub trait HostWindows: Debug + Send + Sync + 'static {
    /// Asks for a slot before a request to the host, for `ttl`. A lease that would last over a minute
    /// longer than that is from before the clock was set back, and is shortened to it.
    async fn acquire(
        &self,
        host: &HostKey,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<SlotDecision, WindowError>;

    /// Keeps a slot for `ttl` from now on. A hop that is renewed is no redirect: from then on it
    /// counts as a transfer, and so do the requests that follow. It is lost where the window is full of
    /// transfers already.
    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError>;

    /// Gives a slot back and tells how the request went, in one step. A slot that already ended is no
    /// error: its successes no longer count, its refusals do.
    async fn release(&self, slot: Slot, signal: Signal) -> Result<(), WindowError>;
}

/// The right to one transfer from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Which host.
    pub host: HostKey,
    /// The adapter's handle.
    pub id: String,
    /// When it was granted, by the adapter's clock.
    pub granted_at: DateTime<Utc>,
    /// It is for a redirect of a host that only redirects, and takes no transfer's place.
    pub is_hop: bool,
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

/// How a request went, for the window to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The host served all of it.
    Served(Pace),
    /// The host sent elsewhere.
    Redirected,
    /// The host wants fewer requests: 429 or 503.
    Throttled {
        /// Which of them.
        status: u16,
        /// How long it asks to be left alone, where that is a valid wait.
        retry_after: Option<Duration>,
    },
    /// No connection, no answer or a gateway's error: congestion if it comes in numbers.
    Strained,
    /// The body stalled or ended early.
    BrokenOff,
    /// A shield in front of the host refuses us.
    Blocked {
        /// Tells episodes apart; the same in every process.
        episode: u64,
        /// How long it asks to be left alone, where that is a valid wait.
        retry_after: Option<Duration>,
    },
    /// Nothing can be learnt from it.
    Neutral,
}

impl Signal {
    /// A success about which nothing was measured.
    pub const SERVED: Self = Self::Served(Pace {
        first_byte: None,
        bytes_per_s: None,
    });
}

/// How fast a transfer went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// From the right to ask until the answer's headers.
    pub first_byte: Option<Duration>,
    /// Of the body, where it was long enough to tell.
    pub bytes_per_s: Option<u64>,
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

impl Slot {
    /// A new slot with a handle of its own.
    fn new(host: HostKey, granted_at: DateTime<Utc>, is_hop: bool) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self {
            host,
            id,
            granted_at,
            is_hop,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "slot {} of {}", self.id, self.host)
    }
}
