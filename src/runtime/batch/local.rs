//! Runs workers as tasks in this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{JobError, JobId, JobRunner, JobSpec, JobStatus};
use crate::domain::StageName;
use crate::runtime::worker::{FatalError, WorkerEnd};

type WorkerResult = Result<WorkerEnd, FatalError>;

/// Starts one worker of a stage; it ends by itself, or soon after the token is cancelled.
pub type Launch =
    dyn Fn(StageName, CancellationToken) -> BoxFuture<'static, WorkerResult> + Send + Sync;

/// The runner of the local target: a worker is a task, a job is as many of them as it asks for.
///
/// Command lines and variables have no use here: a task knows what its process knows.
pub struct LocalJobRunner {
    launch: Box<Launch>,
    stop: CancellationToken,
    jobs: Mutex<HashMap<JobId, Running>>,
}

struct Running {
    stop: CancellationToken,
    workers: Vec<JoinHandle<WorkerResult>>,
    ends: Arc<Mutex<Ends>>,
}

/// How the workers that have ended did.
#[derive(Default)]
struct Ends {
    succeeded: u32,
    reasons: Vec<String>,
}

impl Ends {
    fn note(&mut self, end: &WorkerResult) {
        let reason = match end {
            Ok(WorkerEnd::Stopped) => "stopped".to_owned(),
            Ok(_) => {
                self.succeeded += 1;
                return;
            }
            Err(error) => error.to_string(),
        };
        if !self.reasons.contains(&reason) && self.reasons.len() < JobStatus::MAX_REASONS {
            self.reasons.push(reason);
        }
    }
}

impl LocalJobRunner {
    /// Workers come from `launch`; cancelling `stop` stops all of them.
    pub fn new(launch: Box<Launch>, stop: CancellationToken) -> Self {
        Self {
            launch,
            stop,
            jobs: Mutex::default(),
        }
    }

    /// Waits until the job's workers have ended, and tells how: the worst of their ends.
    pub async fn wait(&self, job: &JobId) -> Result<WorkerEnd, JobError> {
        let running = self.jobs().remove(job);
        let running = running.ok_or_else(|| JobError::Unknown(job.0.clone()))?;
        let mut worst = WorkerEnd::Drained;
        for worker in running.workers {
            let end = worker
                .await
                .map_err(|error| JobError::Backend(Box::new(error)))?
                .map_err(|error| JobError::Backend(Box::new(error)))?;
            worst = match (worst, end) {
                (WorkerEnd::Stopped, _) | (_, WorkerEnd::Stopped) => WorkerEnd::Stopped,
                (worst, WorkerEnd::Drained) => worst,
                (_, waiting) => waiting,
            };
        }
        Ok(worst)
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Running>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, job: &JobSpec) -> Running {
        let stop = self.stop.child_token();
        let ends = Arc::new(Mutex::new(Ends::default()));
        let start_one = |_| {
            let worker = (self.launch)(job.stage, stop.clone());
            let ends = Arc::clone(&ends);
            tokio::spawn(async move {
                let end = worker.await;
                ends.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .note(&end);
                end
            })
        };
        let workers = (0..job.workers.max(1)).map(start_one).collect();
        Running {
            stop,
            workers,
            ends,
        }
    }
}

impl fmt::Debug for LocalJobRunner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalJobRunner")
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl JobRunner for LocalJobRunner {
    async fn submit(&self, job: JobSpec) -> Result<JobId, JobError> {
        let id = JobId(job.name.clone());
        self.jobs()
            .entry(id.clone())
            .or_insert_with(|| self.start(&job));
        Ok(id)
    }

    async fn find(&self, _: StageName, name: &str) -> Result<Option<JobId>, JobError> {
        let id = JobId(name.to_owned());
        Ok(self.jobs().contains_key(&id).then_some(id))
    }

    async fn describe(&self, job: &JobId) -> Result<JobStatus, JobError> {
        let jobs = self.jobs();
        let job = jobs
            .get(job)
            .ok_or_else(|| JobError::Unknown(job.0.clone()))?;
        // In this order: a worker that ends in between counts as running once more.
        let finished = job.workers.iter().filter(|w| w.is_finished()).count();
        let ends = job.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let succeeded = ends.succeeded.min(count(finished));
        Ok(JobStatus {
            running: count(job.workers.len() - finished),
            succeeded,
            failed: count(finished) - succeeded,
            reasons: ends.reasons.clone(),
            ..JobStatus::default()
        })
    }

    async fn cancel(&self, job: &JobId) -> Result<(), JobError> {
        let jobs = self.jobs();
        let running = jobs
            .get(job)
            .ok_or_else(|| JobError::Unknown(job.0.clone()))?;
        running.stop.cancel();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::batch::conformance::{Fixture, check_job_runner};

    fn spec() -> JobSpec {
        JobSpec::new("run-1", StageName::Fetch, 3)
    }

    fn runner(stop: CancellationToken, release: CancellationToken) -> LocalJobRunner {
        let launch = move |_, stop: CancellationToken| -> BoxFuture<'static, _> {
            let release = release.clone();
            Box::pin(async move {
                tokio::select! {
                    biased;
                    () = release.cancelled() => Ok(WorkerEnd::Drained),
                    () = stop.cancelled() => Ok(WorkerEnd::Stopped),
                }
            })
        };
        LocalJobRunner::new(Box::new(launch), stop)
    }

    struct Local {
        runner: LocalJobRunner,
        release: CancellationToken,
    }

    #[async_trait]
    impl Fixture for Local {
        type Runner = LocalJobRunner;

        fn runner(&self) -> &LocalJobRunner {
            &self.runner
        }

        fn job(&self, name: &str, workers: u32) -> JobSpec {
            JobSpec::new(name, StageName::Fetch, workers)
        }

        async fn release(&self) {
            self.release.cancel();
        }
    }

    #[tokio::test]
    async fn keeps_the_promises_of_its_port() {
        let release = CancellationToken::new();
        check_job_runner(&Local {
            runner: runner(CancellationToken::new(), release.clone()),
            release,
        })
        .await;
    }

    #[tokio::test]
    async fn a_job_that_was_waited_for_is_unknown() {
        let runner = runner(CancellationToken::new(), CancellationToken::new());
        let job = runner.submit(spec()).await.unwrap();
        assert_eq!(runner.describe(&job).await.unwrap().running, 3);
        runner.cancel(&job).await.unwrap();
        assert_eq!(runner.wait(&job).await.unwrap(), WorkerEnd::Stopped);
        assert!(matches!(runner.wait(&job).await, Err(JobError::Unknown(_))));
    }

    #[tokio::test]
    async fn stopping_the_process_stops_every_job() {
        let stop = CancellationToken::new();
        let runner = runner(stop.clone(), CancellationToken::new());
        let job = runner.submit(spec()).await.unwrap();
        stop.cancel();
        assert_eq!(runner.wait(&job).await.unwrap(), WorkerEnd::Stopped);
    }
}
