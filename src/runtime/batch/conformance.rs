//! What every job runner must do, as one suite.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{JobError, JobId, JobRunner, JobSpec, JobStatus};

/// Far beyond what starting or ending a process takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A runner, and workers that a test can hold back.
#[async_trait]
pub trait Fixture: Sync {
    /// What is checked.
    type Runner: JobRunner;

    /// The runner.
    fn runner(&self) -> &Self::Runner;

    /// A job whose workers are at it until they are released or stopped.
    fn job(&self, name: &str, workers: u32) -> JobSpec;

    /// Lets all workers, those of later jobs too, find their queue drained.
    async fn release(&self);
}

/// Runs the whole suite.
///
/// # Panics
///
/// Where a promise is broken.
pub async fn check_job_runner<F: Fixture>(fixture: &F) {
    check_unknown_jobs(fixture).await;
    check_cancelling(fixture, "cancelled-array", 3).await;
    check_cancelling(fixture, "cancelled-single", 1).await;
    check_a_name_is_one_job(fixture).await;
}

async fn check_unknown_jobs<F: Fixture>(fixture: &F) {
    let runner = fixture.runner();
    let stranger = JobId("never-submitted".to_owned());
    let described = runner.describe(&stranger).await;
    assert!(
        matches!(described, Err(JobError::Unknown(_))),
        "{described:?}"
    );
    let cancelled = runner.cancel(&stranger).await;
    assert!(
        matches!(cancelled, Err(JobError::Unknown(_))),
        "{cancelled:?}"
    );
    let stage = fixture.job("never-submitted", 1).stage;
    let found = runner.find(stage, "never-submitted").await.unwrap();
    assert_eq!(found, None);
}

async fn check_cancelling<F: Fixture>(fixture: &F, name: &str, workers: u32) {
    let runner = fixture.runner();
    let job = runner.submit(fixture.job(name, workers)).await.unwrap();
    until(runner, &job, |status| status.running == workers).await;
    runner.cancel(&job).await.unwrap();
    runner.cancel(&job).await.unwrap();
    let ended = until(runner, &job, JobStatus::has_ended).await;
    assert_eq!((ended.failed, ended.succeeded), (workers, 0), "{ended:?}");
    assert!(!ended.reasons.is_empty(), "it says why: {ended:?}");
    runner.cancel(&job).await.unwrap();
    let again = runner.describe(&job).await.unwrap();
    assert_eq!(again, ended, "a job that has ended stays as it is");
}

async fn check_a_name_is_one_job<F: Fixture>(fixture: &F) {
    let runner = fixture.runner();
    let spec = fixture.job("named", 2);
    let job = runner.submit(spec.clone()).await.unwrap();
    assert_eq!(runner.submit(spec.clone()).await.unwrap(), job);
    // Another that only begins with the same words is another.
    let other = runner.submit(fixture.job("named-2", 1)).await.unwrap();
    assert_ne!(other, job);
    let found = runner.find(spec.stage, "named").await.unwrap();
    assert_eq!(found, Some(job.clone()));
    until(runner, &job, |status| status.running == 2).await;
    fixture.release().await;
    let ended = until(runner, &job, JobStatus::has_ended).await;
    assert_eq!((ended.succeeded, ended.workers()), (2, 2), "{ended:?}");
    until(runner, &other, JobStatus::has_ended).await;
}

/// Waits until a job's status is as wanted, and returns it.
async fn until<R: JobRunner>(
    runner: &R,
    job: &JobId,
    wanted: impl Fn(&JobStatus) -> bool,
) -> JobStatus {
    let started = Instant::now();
    loop {
        let status = runner.describe(job).await.unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(started.elapsed() < PATIENCE, "stuck at {status:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
