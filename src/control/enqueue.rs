//! From candidates to queued messages: what is missing, at most so many, each once.
//!
//! The stores say what exists, the checkpoints what was given up; the queue is only the means. So a
//! lost database costs nothing but the reasons of old failures, and a lost queue costs nothing.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, StreamExt, TryStreamExt};

use super::ControlError;
use crate::checkpoint::{Checkpoints, Filter, Reopen, State, Subject, state};
use crate::domain::{EpisodeId, FetchJob, Job, TranscribeJob, job};
use crate::queue::{NewMessage, Queue};
use crate::raw::RawStore;
use crate::runtime::clock::Clock;
use crate::stage::StageStore;

/// How many candidates are looked at in one go.
const PAGE: usize = 500;
/// How many store look-ups are under way at the same time.
const LOOK_UPS: usize = 16;

/// Where a stage's products lie.
#[async_trait]
pub trait Products<J>: Sync {
    /// Whether a job's product exists.
    async fn is_present(&self, job: &J) -> Result<bool, ControlError>;
}

#[async_trait]
impl Products<FetchJob> for RawStore {
    async fn is_present(&self, job: &FetchJob) -> Result<bool, ControlError> {
        Ok(self.is_complete(&job.episode.id).await?)
    }
}

#[async_trait]
impl Products<TranscribeJob> for StageStore {
    async fn is_present(&self, job: &TranscribeJob) -> Result<bool, ControlError> {
        Ok(self.is_complete(&job.episode).await?)
    }
}

/// Plans one stage's work.
pub struct Enqueue<'a, J> {
    /// Who gave what up.
    pub checkpoints: &'a dyn Checkpoints,
    /// Where messages go; `None` only looks (`--dry-run`).
    pub queue: Option<&'a dyn Queue>,
    /// What exists.
    pub products: &'a dyn Products<J>,
    /// Most episodes to work on.
    pub limit: Option<u64>,
    /// What to do about earlier failures.
    pub reopen: Reopen,
    /// Who drains the queue.
    pub drain: Drain,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Who drains the queue that is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// This run's workers take the episodes of this run and no others. So those that an earlier run
    /// finished and could not settle are planned once more.
    ThisRun,
    /// Workers of any run take whatever is queued, what earlier runs left included.
    AnyRun,
}

/// What came of planning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planned {
    /// Episodes to work on.
    pub planned: u64,
    /// Candidates whose product exists.
    pub present: u64,
    /// Candidates that were given up earlier and stay so.
    pub given_up: u64,
    /// Whether the limit ended the search, so that there may be more.
    pub limited: bool,
}

impl Planned {
    fn remaining(&self, limit: Option<u64>) -> usize {
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.planned));
        usize::try_from(left).unwrap_or(usize::MAX)
    }
}

impl<J: Job> Enqueue<'_, J> {
    /// Goes through the candidates until the limit is reached or they end, and gives each job that is to
    /// be worked on to `take`, in the candidates' order, once it is queued. Memory does not grow with
    /// their number; with [`Drain::ThisRun`], it grows with what is under way.
    pub async fn run(
        &self,
        candidates: impl Stream<Item = Result<J, ControlError>> + Send,
        mut take: impl FnMut(J) + Send,
    ) -> Result<Planned, ControlError> {
        let mut planned = Planned::default();
        let unsettled = self.unsettled().await?;
        let looked_up = candidates
            .map_ok(|job| async move {
                let is_present = self.products.is_present(&job).await?;
                Ok((job, is_present))
            })
            .try_buffered(LOOK_UPS);
        futures::pin_mut!(looked_up);
        loop {
            let room = planned.remaining(self.limit).min(PAGE);
            if room == 0 {
                planned.limited = looked_up.next().await.is_some();
                return Ok(planned);
            }
            let mut missing = Vec::new();
            while missing.len() < room {
                match looked_up.try_next().await? {
                    Some((job, true)) if !unsettled.contains(job.episode()) => {
                        planned.present += 1;
                    }
                    Some((job, _)) => missing.push(job),
                    None => {
                        self.admit(missing, &mut planned, &mut take).await?;
                        return Ok(planned);
                    }
                }
            }
            self.admit(missing, &mut planned, &mut take).await?;
        }
    }

    /// Episodes whose records say that they are under way. One whose product exists was finished by a
    /// worker that died before it could say so, and its message is still there: it is planned once
    /// more, so that a worker of this run settles both. A dry run settles nothing.
    async fn unsettled(&self) -> Result<HashSet<EpisodeId>, ControlError> {
        let mut unsettled = HashSet::new();
        if self.queue.is_none() || self.drain == Drain::AnyRun {
            return Ok(unsettled);
        }
        for state in [State::Pending, State::Leased, State::Waiting] {
            let filter = Filter {
                stage: Some(J::STAGE),
                state: Some(state),
                ..Filter::default()
            };
            let mut after = None;
            loop {
                let page = self.checkpoints.list(&filter, after.as_ref(), PAGE).await?;
                let is_last = page.len() < PAGE;
                after = page.last().map(|record| record.subject.clone());
                unsettled.extend(page.into_iter().map(|record| record.subject.episode));
                if is_last {
                    break;
                }
            }
        }
        Ok(unsettled)
    }

    /// Sorts out what was given up, and queues the rest.
    async fn admit(
        &self,
        missing: Vec<J>,
        planned: &mut Planned,
        take: &mut (impl FnMut(J) + Send),
    ) -> Result<(), ControlError> {
        let workable = self.workable(&missing).await?;
        planned.given_up += (missing.len() - workable.len()) as u64;
        let workable: HashSet<_> = workable.into_iter().collect();
        let jobs: Vec<J> = missing
            .into_iter()
            .filter(|job| workable.contains(job.episode()))
            .collect();
        if let Some(queue) = self.queue {
            let messages: Vec<_> = jobs.iter().map(message).collect();
            queue.send(&messages).await?;
        }
        planned.planned += jobs.len() as u64;
        jobs.into_iter().for_each(take);
        Ok(())
    }

    async fn workable(&self, jobs: &[J]) -> Result<Vec<EpisodeId>, ControlError> {
        let subjects: Vec<_> = jobs.iter().map(subject).collect();
        if self.queue.is_some() {
            let planned = self.checkpoints.plan(&subjects, self.reopen).await?;
            return Ok(planned.into_iter().map(|subject| subject.episode).collect());
        }
        let mut workable = Vec::new();
        for subject in subjects {
            if self.would_be_workable(&subject).await? {
                workable.push(subject.episode);
            }
        }
        Ok(workable)
    }

    async fn would_be_workable(&self, subject: &Subject) -> Result<bool, ControlError> {
        let Some(record) = self.checkpoints.get(subject).await? else {
            return Ok(true);
        };
        let reopened = state::plan(&record, self.reopen, self.clock.now());
        Ok(state::is_workable(reopened.as_ref().unwrap_or(&record)))
    }
}

fn subject<J: Job>(job: &J) -> Subject {
    Subject {
        stage: J::STAGE,
        episode: job.episode().clone(),
    }
}

fn message<J: Job>(job: &J) -> NewMessage {
    NewMessage {
        dedup_id: job.episode().to_string(),
        body: job::encode(job),
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::checkpoint::MemoryCheckpoints;
    use crate::domain::{FeedSlug, Guid};
    use crate::queue::MemoryQueue;
    use crate::runtime::clock::SystemClock;

    /// Products that exist: those of these guids.
    struct Present(&'static [&'static str]);

    #[async_trait]
    impl Products<TranscribeJob> for Present {
        async fn is_present(&self, job: &TranscribeJob) -> Result<bool, ControlError> {
            Ok(self.0.contains(&job.episode.guid.as_str()))
        }
    }

    fn job(guid: &str) -> TranscribeJob {
        let feed_slug = FeedSlug::try_new("show").unwrap();
        let guid = Guid::try_new(guid).unwrap();
        TranscribeJob {
            episode: EpisodeId { feed_slug, guid },
        }
    }

    #[tokio::test]
    async fn an_episode_whose_worker_died_after_its_last_write_is_settled() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let checkpoints = MemoryCheckpoints::new(Arc::clone(&clock));
        let queue = MemoryQueue::new(Arc::clone(&clock));
        let plan = async |present, queue, drain| {
            let enqueue = Enqueue {
                checkpoints: &checkpoints,
                queue,
                products: &Present(present),
                limit: None,
                reopen: Reopen::Exhausted,
                drain,
                clock: Arc::clone(&clock),
            };
            let jobs = ["died", "done", "new"].map(|guid| Ok(job(guid)));
            let mut todo = Vec::new();
            let take = |job: TranscribeJob| todo.push(job.episode.guid.to_string());
            let planned = enqueue.run(stream::iter(jobs), take).await.unwrap();
            assert_eq!(planned.planned, todo.len() as u64);
            (todo, planned.present)
        };
        let queued: Option<&dyn Queue> = Some(&queue);
        // Both are planned; one of them is finished but not settled when the next run looks.
        assert_eq!(
            plan(&["done"], queued, Drain::ThisRun).await,
            (vec!["died".into(), "new".into()], 1)
        );
        // Workers that take all that is queued come across its message without that.
        assert_eq!(
            plan(&["died", "done"], queued, Drain::AnyRun).await,
            (vec!["new".into()], 2)
        );
        assert_eq!(
            plan(&["died", "done"], queued, Drain::ThisRun).await,
            (vec!["died".into(), "new".into()], 1)
        );
        // Only looking, there is nothing to do about it.
        assert_eq!(
            plan(&["died", "done"], None, Drain::ThisRun).await,
            (vec!["new".into()], 2)
        );
    }
}
