//! The loop that every worker runs: receive, acquire, work, settle.
//!
//! One delivery goes through these steps; a crash between any two is repaired by redelivery:
//!
//! ```text
//! receive -> decode -> acquire -> process -> advance checkpoint -> settle message
//!             | bad     | done: settle         | retry: rest, deliver again
//!             v         | busy: deliver later  | failed for good: set aside
//!           set aside                          | stopped: release, deliver again at once
//! ```
//!
//! A heartbeat keeps both the message's and the checkpoint's lease while the stage works. When
//! either is lost, the stage is cancelled and nothing more is written for that episode.

mod delivery;
mod heartbeat;
pub mod outcome;
pub mod stage;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{Checkpoints, Filter, State};
use crate::domain::{EpisodeId, Job, OwnerId};
use crate::queue::{Delivery, Queue};
use crate::runtime::clock::Clock;
use crate::runtime::retry::RetryPolicy;
use crate::runtime::telemetry::{Event, Observer};

pub use outcome::{FatalError, StageOutcome};
pub use stage::{AlwaysHeld, LeaseCheck, Stage, WorkContext};

/// How long a worker that stops waits for the answer of a queue it has asked.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How a worker behaves.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Episodes worked on at the same time.
    pub slots: usize,
    /// Length of a lease; renewed at a third of it. A killed worker's episodes rest that long.
    pub lease: Duration,
    /// When a failed episode comes back, and how often.
    pub retry: RetryPolicy,
    /// How often an empty queue is asked; zero where receiving itself waits.
    pub poll: Duration,
    /// Empty answers in a row, without work in hand, before a queue is believed that says it is empty
    /// while the checkpoints know of episodes to do. Queues that count approximately take more than one.
    pub empty_polls: u32,
    /// How long to wait for messages that rest before ending with them undone.
    pub patience: Duration,
    /// Deliveries after which a host that keeps sending us away ends an episode.
    pub max_deliveries: u32,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            slots: 4,
            lease: Duration::from_secs(60),
            retry: RetryPolicy::EPISODE,
            poll: Duration::from_millis(250),
            empty_polls: 1,
            patience: Duration::from_secs(120),
            max_deliveries: 1000,
        }
    }
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEnd {
    /// Nothing is left to do.
    Drained,
    /// What is left rests for longer than the worker's patience, or is with other workers.
    Waiting {
        /// When the first of it comes back, where known.
        until: Option<DateTime<Utc>>,
    },
    /// It was told to stop and handed its work back.
    Stopped,
}

/// The episodes of one run. A run with a limit must not drain what an earlier run left queued.
#[derive(Debug)]
pub struct Scope {
    unsettled: Mutex<HashSet<EpisodeId>>,
}

impl Scope {
    /// These and no others.
    pub fn new(episodes: impl IntoIterator<Item = EpisodeId>) -> Self {
        Self {
            unsettled: Mutex::new(episodes.into_iter().collect()),
        }
    }

    fn contains(&self, episode: &EpisodeId) -> bool {
        self.locked().contains(episode)
    }

    fn settle(&self, episode: &EpisodeId) {
        self.locked().remove(episode);
    }

    fn is_settled(&self) -> bool {
        self.locked().is_empty()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashSet<EpisodeId>> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drains a stage's queue.
#[derive(Debug)]
pub struct Worker<S> {
    /// What to do with a job.
    pub stage: Arc<S>,
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// Who owns what.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// This process.
    pub owner: OwnerId,
    /// Behaviour.
    pub config: WorkerConfig,
    /// Only these episodes; `None` takes whatever is queued.
    pub scope: Option<Arc<Scope>>,
}

/// When there is something to do again.
enum Due {
    /// Nothing is left.
    Never,
    At(DateTime<Utc>),
    Unknown,
}

/// What a pause of the loop ended with.
enum Pause {
    Rested,
    Finished(Result<(), FatalError>),
    Stop,
}

impl<S: Stage> Worker<S> {
    /// Works until the queue is drained, patience runs out, or `shutdown` is cancelled. Returns
    /// only when every episode it took is settled or handed back.
    pub async fn run(
        self: Arc<Self>,
        shutdown: CancellationToken,
    ) -> Result<WorkerEnd, FatalError> {
        let mut tasks = JoinSet::new();
        // A fatal failure of one episode stops the others as a signal would.
        let stop = shutdown.child_token();
        let ended = self.drain(&mut tasks, &stop).await;
        if ended.is_err() {
            stop.cancel();
        }
        let mut fatal = None;
        while let Some(joined) = tasks.join_next().await {
            if let Err(error) = flatten(joined) {
                fatal.get_or_insert(error);
            }
        }
        match (ended, fatal) {
            (Err(error), _) | (Ok(_), Some(error)) => Err(error),
            (Ok(end), None) => Ok(end),
        }
    }

    async fn drain(
        self: &Arc<Self>,
        tasks: &mut JoinSet<Result<(), FatalError>>,
        stop: &CancellationToken,
    ) -> Result<WorkerEnd, FatalError> {
        let mut last_activity = Instant::now();
        let mut empty_polls = 0;
        loop {
            if stop.is_cancelled() {
                return Ok(WorkerEnd::Stopped);
            }
            let received = self.take(tasks, stop).await?;
            // Receiving may have taken its time.
            while let Some(joined) = tasks.try_join_next() {
                flatten(joined)?;
            }
            if received > 0 || !tasks.is_empty() {
                last_activity = Instant::now();
                empty_polls = 0;
            } else {
                empty_polls += 1;
                if let Some(end) = self.idle(last_activity, empty_polls).await? {
                    return Ok(end);
                }
            }
            // A full worker waits for a slot; one with room asks again soon.
            let is_full = tasks.len() >= self.config.slots;
            if received > 0 && !is_full {
                continue;
            }
            match self.pause(tasks, is_full, stop).await {
                Pause::Rested => {}
                Pause::Finished(result) => result?,
                Pause::Stop => return Ok(WorkerEnd::Stopped),
            }
        }
    }

    /// Receives as many messages as there are free slots, never more: a message that waits inside
    /// a worker ages for nobody.
    async fn take(
        self: &Arc<Self>,
        tasks: &mut JoinSet<Result<(), FatalError>>,
        stop: &CancellationToken,
    ) -> Result<usize, FatalError> {
        let free = self.config.slots.saturating_sub(tasks.len());
        if free == 0 || self.scope.as_ref().is_some_and(|scope| scope.is_settled()) {
            return Ok(0);
        }
        let Some(deliveries) = self.receive(free, stop).await? else {
            return Ok(0);
        };
        let received = deliveries.len();
        for delivery in deliveries {
            let worker = Arc::clone(self);
            let stop = stop.child_token();
            tasks.spawn(async move { worker.deliver(delivery, stop).await });
        }
        Ok(received)
    }

    /// Asks the queue, which may take as long as it waits for messages. A worker that is told to stop
    /// meanwhile gives the answer a moment, since messages in it would rest until their lease ends.
    async fn receive(
        &self,
        free: usize,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<Delivery>>, FatalError> {
        let asked = self.queue.receive(&self.owner, free, self.config.lease);
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            deliveries = asked => Ok(Some(deliveries?)),
            () = stopped => Ok(None),
        }
    }

    /// Decides whether a worker without work ends.
    async fn idle(
        &self,
        last_activity: Instant,
        empty_polls: u32,
    ) -> Result<Option<WorkerEnd>, FatalError> {
        let is_settled = self.scope.as_ref().is_some_and(|scope| scope.is_settled());
        let is_empty = is_settled || self.queue.depth().await?.outstanding() == 0;
        if is_settled || is_empty && empty_polls >= self.config.empty_polls {
            return Ok(Some(WorkerEnd::Drained));
        }
        let until = match self.next_due().await? {
            // A queue that counts approximately, and the table that has the truth, say the same.
            Due::Never if is_empty => return Ok(Some(WorkerEnd::Drained)),
            Due::Never | Due::Unknown => None,
            Due::At(until) => Some(until),
        };
        let rest = until.map(|until| (until - self.clock.now()).to_std().unwrap_or_default());
        let is_hopeless = rest.is_some_and(|rest| rest > self.config.patience)
            || last_activity.elapsed() > self.config.patience;
        Ok(is_hopeless.then_some(WorkerEnd::Waiting { until }))
    }

    /// When the first episode of this stage that rests or is leased comes free; records are listed by
    /// name, so of very many nobody knows.
    async fn next_due(&self) -> Result<Due, FatalError> {
        const LOOK_AT: usize = 1000;
        let mut due = None;
        for state in [State::Pending, State::Waiting, State::Leased] {
            let filter = Filter {
                stage: Some(S::Job::STAGE),
                state: Some(state),
                feed: None,
            };
            let records = self.checkpoints.list(&filter, None, LOOK_AT).await?;
            if records.len() == LOOK_AT {
                return Ok(Due::Unknown);
            }
            let now = self.clock.now();
            let first = records
                .iter()
                .map(|record| record.until.unwrap_or(now))
                .min();
            due = due.into_iter().chain(first).min();
        }
        Ok(due.map_or(Due::Never, Due::At))
    }

    async fn pause(
        &self,
        tasks: &mut JoinSet<Result<(), FatalError>>,
        is_full: bool,
        stop: &CancellationToken,
    ) -> Pause {
        tokio::select! {
            () = stop.cancelled() => Pause::Stop,
            Some(joined) = tasks.join_next() => Pause::Finished(flatten(joined)),
            () = tokio::time::sleep(self.config.poll), if !is_full => Pause::Rested,
        }
    }

    fn emit(&self, event: Event) {
        self.observer.event(&event);
    }
}

fn flatten(
    joined: Result<Result<(), FatalError>, tokio::task::JoinError>,
) -> Result<(), FatalError> {
    joined.unwrap_or_else(|error| Err(FatalError::new(format!("a worker task ended: {error}"))))
}

impl From<crate::queue::QueueError> for FatalError {
    fn from(error: crate::queue::QueueError) -> Self {
        Self::outage(&error)
    }
}

impl From<crate::checkpoint::CheckpointError> for FatalError {
    fn from(error: crate::checkpoint::CheckpointError) -> Self {
        Self::outage(&error)
    }
}
