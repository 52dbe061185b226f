//! Port: who owns an episode in a stage, and how far it got. The truth about progress.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{EpisodeId, FailureClass, FeedSlug, OwnerId, StageName};

#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
pub mod dynamodb;
pub mod memory;
pub mod sqlite;
pub mod state;

pub use dynamodb::DynamoCheckpoints;
pub use memory::MemoryCheckpoints;
pub use sqlite::SqliteCheckpoints;

/// What checkpoints guarantee:
///
/// * At most one live lease a subject. A lease carries a fencing token, larger with every grant.
/// * Every change made under a lease is conditional on owner, token and state: an owner that lost
///   its lease gets [`CheckpointError::LeaseLost`] and changes nothing.
/// * The state machine is [`state`]; adapters only make its steps atomic and durable.
/// * A call that fails with [`CheckpointError::Backend`] may have taken effect or not; making it again
///   is safe, and nobody works under a grant whose answer was lost until it ends.
/// * [`list`](Self::list) and [`tally`](Self::tally) may lag behind, by seconds at worst, and a record
///   that is just changing its state may be missing from them or counted in both. They are for people
///   and for looking ahead; whether somebody may work is decided by [`acquire`](Self::acquire), which
///   never lags.
#[async_trait]
pub trait Checkpoints: Debug + Send + Sync + 'static {
    /// Makes every subject workable whose product is missing: creates records that do not exist,
    /// reopens done ones (the caller looked: the product is gone) and, by `reopen`, failed ones.
    /// Leased and waiting records stay as they are. Returns the subjects that are workable now,
    /// in the order given.
    async fn plan(
        &self,
        subjects: &[Subject],
        reopen: Reopen,
    ) -> Result<Vec<Subject>, CheckpointError>;

    /// Asks for the subject; creates its record if there is none.
    async fn acquire(
        &self,
        subject: &Subject,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<Acquired, CheckpointError>;

    /// Keeps the lease for `ttl` from now on.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), CheckpointError>;

    /// Ends the lease with what became of the work.
    async fn advance(&self, lease: &Lease, transition: Transition) -> Result<(), CheckpointError>;

    /// One record.
    async fn get(&self, subject: &Subject) -> Result<Option<Record>, CheckpointError>;

    /// Up to `limit` records that fit, in order of stage, feed and guid, after `after`.
    async fn list(
        &self,
        filter: &Filter,
        after: Option<&Subject>,
        limit: usize,
    ) -> Result<Vec<Record>, CheckpointError>;

    /// Counts by stage, feed and state, in that order.
    async fn tally(&self) -> Result<Vec<Tally>, CheckpointError>;
}

/// An episode in a stage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Which step.
    pub stage: StageName,
    /// Which episode.
    pub episode: EpisodeId,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.stage, self.episode)
    }
}

/// Which failed records [`Checkpoints::plan`] makes workable again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopen {
    /// Those whose failure was transient and ran out of attempts: a new run is a new chance.
    Exhausted,
    /// Permanent failures too.
    AllFailed,
}

/// The right to work on a subject for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for.
    pub subject: Subject,
    /// Who has it.
    pub owner: OwnerId,
    /// Larger than that of every earlier lease of this subject.
    pub token: u64,
    /// Failed attempts so far.
    pub failures: u32,
}

/// The answer to [`Checkpoints::acquire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is yours.
    Granted(Lease),
    /// Finished earlier; nothing to do.
    Done,
    /// Given up earlier; nothing to do until somebody plans it again.
    Failed,
    /// Somebody else is at it, or it has to rest, until then.
    Busy(DateTime<Utc>),
}

/// How work under a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The product is durable.
    Done,
    /// Try again at that time; one more failure.
    Retry {
        /// Not before.
        at: DateTime<Utc>,
        /// Why.
        failure: FailureNote,
    },
    /// Try again at that time; no failure of this episode (its host wants us to wait).
    Defer {
        /// Not before.
        at: DateTime<Utc>,
        /// Why.
        failure: FailureNote,
    },
    /// Give up; one more failure.
    Failed {
        /// Why.
        failure: FailureNote,
    },
    /// The worker stops (signal, Spot notice): as if it had never started.
    Release,
}

/// The part of a [`Failure`](crate::domain::Failure) that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureNote {
    /// The class, for reports and retries.
    pub class: FailureClass,
    /// In words.
    pub message: String,
}

/// How far a subject got. See [`state`] for the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody has it.
    Pending,
    /// A worker has it until the lease ends.
    Leased,
    /// It rests until a time.
    Waiting,
    /// The product is there.
    Done,
    /// Given up.
    Failed,
}

impl State {
    /// All of them, in the order of their lives.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Leased,
        Self::Waiting,
        Self::Done,
        Self::Failed,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Everything known about a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub subject: Subject,
    /// Where it stands.
    pub state: State,
    /// Failed attempts since it was last planned.
    pub failures: u32,
    /// Token of the latest lease; 0 before the first.
    pub token: u64,
    /// Who has or had it last.
    pub owner: Option<OwnerId>,
    /// End of the lease, or of the rest, where the state has one.
    pub until: Option<DateTime<Utc>>,
    /// The latest failure.
    pub failure: Option<FailureNote>,
    /// Latest change.
    pub updated_at: DateTime<Utc>,
}

/// Which records to list; every given field must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this stage.
    pub stage: Option<StageName>,
    /// Only this feed.
    pub feed: Option<FeedSlug>,
    /// Only this state.
    pub state: Option<State>,
}

/// One line of [`Checkpoints::tally`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// Stage.
    pub stage: StageName,
    /// Feed.
    pub feed: FeedSlug,
    /// State.
    pub state: State,
    /// How many.
    pub count: u64,
}

/// A failed checkpoint call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The lease ended and may be somebody else's now.
    #[error("the lease on {subject} is lost")]
    LeaseLost {
        /// Which.
        subject: Subject,
    },
    /// The table itself failed.
    #[error("checkpoints: {source}")]
    Backend {
        /// The adapter's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
