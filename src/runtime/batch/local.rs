//! Runs workers as tasks in this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{JobError, JobId, JobRunner, JobSpec, JobStatus};
use crate::domain::StageName;
use crate::runtime::worker::{FatalError, WorkerEnd};

/// Starts one worker of a stage; it ends by itself, or soon after the token is cancelled.
pub type Launch = dyn Fn(StageName, CancellationToken) -> BoxFuture<'static, Result<WorkerEnd, FatalError>>
    + Send
    + Sync;

/// The runner of the local target: a worker is a task, a job is as many of them as it asks for.
pub struct LocalJobRunner {
    launch: Box<Launch>,
    stop: CancellationToken,
    jobs: Mutex<HashMap<JobId, Running>>,
}

struct Running {
    stop: CancellationToken,
    workers: Vec<JoinHandle<Result<WorkerEnd, FatalError>>>,
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
        let id = JobId(job.name);
        if self.jobs().contains_key(&id) {
            return Ok(id);
        }
        let stop = self.stop.child_token();
        let workers = (0..job.workers.max(1))
            .map(|_| tokio::spawn((self.launch)(job.stage, stop.clone())))
            .collect();
        self.jobs().insert(id.clone(), Running { stop, workers });
        Ok(id)
    }

    async fn describe(&self, job: &JobId) -> Result<JobStatus, JobError> {
        let jobs = self.jobs();
        let running = jobs
            .get(job)
            .ok_or_else(|| JobError::Unknown(job.0.clone()))?;
        let alive = running.workers.iter().filter(|w| !w.is_finished()).count();
        Ok(match u32::try_from(alive).unwrap_or(u32::MAX) {
            0 => JobStatus::Ended,
            workers => JobStatus::Running { workers },
        })
    }

    async fn find(&self, _: StageName, name: &str) -> Result<Option<JobId>, JobError> {
        let id = JobId(name.to_owned());
        Ok(self.jobs().contains_key(&id).then_some(id))
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

    fn runner(stop: CancellationToken) -> LocalJobRunner {
        let launch = |_, stop: CancellationToken| -> BoxFuture<'static, _> {
            Box::pin(async move {
                stop.cancelled().await;
                Ok(WorkerEnd::Stopped)
            })
        };
        LocalJobRunner::new(Box::new(launch), stop)
    }

    fn job() -> JobSpec {
        JobSpec {
            stage: StageName::Fetch,
            workers: 3,
            name: "run".to_owned(),
            arguments: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_cancelled_job_ends_and_is_then_unknown() {
        let runner = runner(CancellationToken::new());
        let submitted = runner.submit(job()).await.unwrap();
        let status = runner.describe(&submitted).await.unwrap();
        assert_eq!(status, JobStatus::Running { workers: 3 });
        assert_eq!(runner.submit(job()).await.unwrap(), submitted);
        let found = runner.find(StageName::Fetch, "run").await.unwrap();
        assert_eq!(found.as_ref(), Some(&submitted));
        runner.cancel(&submitted).await.unwrap();
        assert_eq!(runner.wait(&submitted).await.unwrap(), WorkerEnd::Stopped);
        assert!(matches!(
            runner.wait(&submitted).await,
            Err(JobError::Unknown(_))
        ));
    }

    #[tokio::test]
    async fn stopping_the_process_stops_every_job() {
        let stop = CancellationToken::new();
        let runner = runner(stop.clone());
        let submitted = runner.submit(job()).await.unwrap();
        stop.cancel();
        assert_eq!(runner.wait(&submitted).await.unwrap(), WorkerEnd::Stopped);
    }
}
