//! Watching a run of a fleet until it ends, from any machine and at any time.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::ControlError;
use crate::checkpoint::{Checkpoints, State};
use crate::domain::StageName;
use crate::runtime::batch::{JobId, JobRunner};
use crate::runtime::telemetry::{Event, Observer};

/// Looks that may fail in a row before the following gives up; the run goes on either way.
const PATIENCE: u32 = 10;

/// What is watched.
#[derive(Debug, Clone, Copy)]
pub struct Follow<'a> {
    /// Who runs the workers.
    pub jobs: &'a dyn JobRunner,
    /// What became of the episodes.
    pub checkpoints: &'a dyn Checkpoints,
    /// Who is told.
    pub observer: &'a dyn Observer,
    /// Which stage.
    pub stage: StageName,
    /// How often to look.
    pub every: Duration,
}

/// Episodes of a stage that have an end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// Whose product is there.
    pub done: u64,
    /// Given up.
    pub failed: u64,
}

/// How the episodes of a stage stand.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    ends: Ends,
    /// Those without an end.
    left: u64,
}

/// How a followed run stands at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// Episodes that ended since the run was submitted; those of a run beside it are counted too.
    #[serde(flatten)]
    pub ends: Ends,
    /// Episodes that are still to do.
    pub left: u64,
    /// Workers that could not go on.
    pub failed_workers: u32,
    /// Why, in the runner's words, the most frequent first.
    pub reasons: Vec<String>,
}

impl Follow<'_> {
    /// Counts what has ended so far.
    pub async fn ends(&self) -> Result<Ends, ControlError> {
        Ok(self.standing().await?.ends)
    }

    async fn standing(&self) -> Result<Standing, ControlError> {
        let mut standing = Standing::default();
        for tally in self.checkpoints.tally().await? {
            match tally.state {
                _ if tally.stage != self.stage => {}
                State::Done => standing.ends.done += tally.count,
                State::Failed => standing.ends.failed += tally.count,
                State::Pending | State::Leased | State::Waiting => standing.left += tally.count,
            }
        }
        Ok(standing)
    }

    /// Looks until the job has ended; `None` where `stop` came first, which leaves the run alone.
    /// `before` is what had ended when the run was submitted.
    ///
    /// # Errors
    /// What the last of several failed looks in a row said.
    pub async fn to_end(
        &self,
        job: &JobId,
        before: Ends,
        stop: &CancellationToken,
    ) -> Result<Option<Followed>, ControlError> {
        let mut failures = 0;
        let mut seen = None;
        loop {
            let looked = tokio::select! {
                looked = self.look(job, before, &mut seen) => looked,
                () = stop.cancelled() => return Ok(None),
            };
            match looked {
                Ok(Some(followed)) => return Ok(Some(followed)),
                Ok(None) => failures = 0,
                Err(error) if failures < PATIENCE => {
                    failures += 1;
                    tracing::warn!(%error, "cannot see how the run stands; looking again");
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    /// Looks once and tells what changed since the event in `seen`.
    async fn look(
        &self,
        job: &JobId,
        before: Ends,
        seen: &mut Option<Event>,
    ) -> Result<Option<Followed>, ControlError> {
        let status = self.jobs.describe(job).await?;
        let Standing { ends: now, left } = self.standing().await?;
        let ends = Ends {
            done: now.done.saturating_sub(before.done),
            failed: now.failed.saturating_sub(before.failed),
        };
        let event = Event::FleetProgress {
            stage: self.stage,
            workers: status.running,
            done: ends.done,
            failed: ends.failed,
            left,
        };
        if seen.as_ref() != Some(&event) {
            self.observer.event(&event);
            *seen = Some(event);
        }
        Ok(status.has_ended().then_some(Followed {
            ends,
            left,
            failed_workers: status.failed,
            reasons: status.reasons,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;

    use super::*;
    use crate::checkpoint::{Acquired, MemoryCheckpoints, Reopen, Subject, Transition};
    use crate::domain::{EpisodeId, FeedSlug, Guid, OwnerId};
    use crate::runtime::batch::{JobError, JobSpec, JobStatus};
    use crate::runtime::clock::{Clock, SystemClock};

    /// A job that is told to stand so at each look; then it is gone.
    #[derive(Debug)]
    struct Scripted(Mutex<VecDeque<Result<JobStatus, &'static str>>>);

    #[async_trait]
    impl JobRunner for Scripted {
        async fn submit(&self, job: JobSpec) -> Result<JobId, JobError> {
            Ok(JobId(job.name))
        }

        async fn describe(&self, job: &JobId) -> Result<JobStatus, JobError> {
            let next = self.0.lock().unwrap().pop_front();
            let next = next.ok_or_else(|| JobError::Unknown(job.0.clone()))?;
            next.map_err(|problem| JobError::Backend(problem.into()))
        }

        async fn find(&self, _: StageName, _: &str) -> Result<Option<JobId>, JobError> {
            Ok(None)
        }

        async fn cancel(&self, _: &JobId) -> Result<(), JobError> {
            Ok(())
        }
    }

    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<Event>>);

    impl Observer for Seen {
        fn event(&self, event: &Event) {
            self.0.lock().unwrap().push(event.clone());
        }
    }

    /// A run of two episodes, one of which is done.
    async fn follow(
        looks: impl IntoIterator<Item = Result<JobStatus, &'static str>>,
        stop: &CancellationToken,
    ) -> (Result<Option<Followed>, ControlError>, Vec<Event>) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let checkpoints = MemoryCheckpoints::new(clock);
        let subject = |guid| Subject {
            stage: StageName::Fetch,
            episode: EpisodeId {
                feed_slug: FeedSlug::try_new("show").unwrap(),
                guid: Guid::try_new(guid).unwrap(),
            },
        };
        let subjects = [subject("a"), subject("b")];
        checkpoints
            .plan(&subjects, Reopen::Exhausted)
            .await
            .unwrap();
        let owner = OwnerId::generate("test");
        let ttl = Duration::from_secs(60);
        let acquired = checkpoints.acquire(&subjects[0], &owner, ttl).await;
        let Acquired::Granted(lease) = acquired.unwrap() else {
            panic!("nobody has it");
        };
        checkpoints.advance(&lease, Transition::Done).await.unwrap();
        let seen = Seen::default();
        let follow = Follow {
            jobs: &Scripted(Mutex::new(looks.into_iter().collect())),
            checkpoints: &checkpoints,
            observer: &seen,
            stage: StageName::Fetch,
            every: Duration::from_millis(1),
        };
        let job = JobId("run".to_owned());
        let followed = follow.to_end(&job, Ends::default(), stop).await;
        (followed, seen.0.into_inner().unwrap())
    }

    fn running() -> JobStatus {
        JobStatus {
            running: 2,
            ..JobStatus::default()
        }
    }

    fn ended(failed: u32, reasons: &[&str]) -> JobStatus {
        JobStatus {
            succeeded: 2 - failed,
            failed,
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            ..JobStatus::default()
        }
    }

    #[tokio::test]
    async fn a_run_is_watched_to_its_end_through_a_failed_look() {
        let looks = [
            Ok(running()),
            Err("throttled"),
            Ok(running()),
            Ok(ended(0, &[])),
        ];
        let (followed, seen) = follow(looks, &CancellationToken::new()).await;
        let expected = Followed {
            ends: Ends { done: 1, failed: 0 },
            left: 1,
            failed_workers: 0,
            reasons: Vec::new(),
        };
        assert_eq!(followed.unwrap(), Some(expected));
        let workers = seen.iter().map(|event| match event {
            Event::FleetProgress {
                workers,
                done: 1,
                failed: 0,
                left: 1,
                ..
            } => *workers,
            other => panic!("{other:?}"),
        });
        assert_eq!(workers.collect::<Vec<_>>(), [2, 0], "told when it changes");
    }

    #[tokio::test]
    async fn stopping_to_look_leaves_the_run_alone_and_a_broken_one_says_why() {
        let stop = CancellationToken::new();
        stop.cancel();
        let (followed, _) = follow(std::iter::repeat_n(Ok(running()), 9), &stop).await;
        assert_eq!(followed.unwrap(), None);
        let stop = CancellationToken::new();
        let (followed, _) = follow([Ok(ended(1, &["no model"]))], &stop).await;
        let followed = followed.unwrap().unwrap();
        assert_eq!(followed.failed_workers, 1);
        assert_eq!(followed.reasons, ["no model"]);
    }

    #[tokio::test]
    async fn looks_that_never_succeed_end_the_following() {
        let looks = std::iter::repeat_n(Err("no network"), 20);
        let (followed, _) = follow(looks, &CancellationToken::new()).await;
        assert!(followed.unwrap_err().to_string().contains("no network"));
    }
}
