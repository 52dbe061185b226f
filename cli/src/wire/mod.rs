//! The composition root: the only place that names adapters.

#[cfg_attr(feature = "whisper", path = "speech.rs")]
#[cfg_attr(not(feature = "whisper"), path = "no_speech.rs")]
pub(crate) mod speech;

mod aws;
mod local;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use podrun::checkpoint::Checkpoints;
use podrun::control::status::Sources;
use podrun::control::{Drain, RunRecord, StatusReport, status};
use podrun::domain::{OwnerId, RunKey, StageName};
use podrun::feeds::{CrawlOptions, Crawler, HttpFeedFetcher};
use podrun::politeness::{HostWindows, PacedGate, Throttle};
use podrun::queue::Queue;
use podrun::raw::RawStore;
use podrun::runtime::aws::InterruptionNotices;
use podrun::runtime::batch::{JobError, JobRunner, JobSpec, LocalJobRunner};
use podrun::runtime::blob::BlobStore;
use podrun::runtime::clock::Clock;
use podrun::runtime::http::{HopGate, HttpClient};
use podrun::runtime::owners::OwnerGuard;
use podrun::runtime::telemetry::{Metrics, Observer};
use podrun::runtime::worker::{FatalError, Stage, Worker, WorkerConfig, WorkerEnd};
use podrun::stage::StageStore;
use tokio_util::sync::CancellationToken;

use crate::exit::Problem;
use crate::settings::{Settings, Target};
use crate::signals::Shutdown;

pub(crate) use aws::Fleet;

/// How long a worker that is told to stop may take over handing its work back. Fargate kills 30 s after
/// it has asked.
const HAND_BACK: Duration = Duration::from_secs(20);

/// Everything a command works on, whichever the target.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) raw: RawStore,
    pub(crate) stage: StageStore,
    pub(crate) manifests: Arc<dyn BlobStore>,
    pub(crate) fetch_queue: Arc<dyn Queue>,
    pub(crate) transcribe_queue: Arc<dyn Queue>,
    pub(crate) checkpoints: Arc<dyn Checkpoints>,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owner: OwnerId,
    /// Who works on the AWS target; on the local one, this process does.
    pub(crate) fleet: Option<Fleet>,
    windows: Arc<dyn HostWindows>,
    /// Says to other processes that this one lives; none where nothing is leased.
    _alive: Option<OwnerGuard>,
}

impl Stores {
    /// Opens the target for work, making what is missing where that is a directory.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Problem> {
        match settings.target {
            Target::Local => local::open(settings).await,
            Target::Aws => aws::open(settings).await,
        }
    }

    /// Opens the target to look at it; a data directory that does not exist is empty.
    pub(crate) async fn open_existing(settings: &Settings) -> Result<Self, Problem> {
        match settings.target {
            Target::Local => local::open_existing(settings),
            Target::Aws => aws::open(settings).await,
        }
    }

    /// The queue of a stage.
    pub(crate) fn queue(&self, stage: StageName) -> &Arc<dyn Queue> {
        match stage {
            StageName::Fetch => &self.fetch_queue,
            StageName::Transcribe => &self.transcribe_queue,
        }
    }

    /// Whose messages a worker of this target takes.
    pub(crate) fn drain(&self) -> Drain {
        match self.fleet {
            Some(_) => Drain::AnyRun,
            None => Drain::ThisRun,
        }
    }

    /// How a worker of this target behaves.
    pub(crate) fn worker_config(&self, settings: &Settings, slots: usize) -> WorkerConfig {
        let local = WorkerConfig {
            slots,
            ..WorkerConfig::default()
        };
        if self.fleet.is_none() {
            return local;
        }
        // Receiving waits 20 s itself, and three empty answers are believed where counts are
        // approximate. Patience outlasts the lease of a worker that was killed.
        let lease = Duration::from_secs(settings.aws.lease_s.max(10).into());
        WorkerConfig {
            lease,
            poll: Duration::ZERO,
            empty_polls: 3,
            patience: lease + Duration::from_secs(60),
            ..local
        }
    }

    /// Keeps requests within the hosts' limits: this process spaces its own starts, and what passes
    /// asks for a slot that counts over all processes.
    pub(crate) fn gate(&self, settings: &Settings) -> Arc<dyn HopGate> {
        let limits = Arc::new(settings.politeness.clone());
        let throttle = Throttle::new(
            Arc::clone(&self.windows),
            Arc::clone(&limits),
            self.owner.clone(),
            Arc::clone(&self.clock),
        );
        Arc::new(PacedGate::new(Arc::new(throttle), limits))
    }

    /// What `podrun status` shows.
    pub(crate) async fn status(&self, max_failures: usize) -> anyhow::Result<StatusReport> {
        let sources = Sources {
            queues: [
                (StageName::Fetch, &*self.fetch_queue),
                (StageName::Transcribe, &*self.transcribe_queue),
            ],
            checkpoints: &*self.checkpoints,
            metrics: &*self.metrics,
        };
        Ok(status(sources, max_failures, self.clock.now()).await?)
    }
}

/// What asks feeds, politely; `refresh` also where their servers want to be left alone.
pub(crate) fn crawler(
    settings: &Settings,
    stores: &Stores,
    observer: Arc<dyn Observer>,
    refresh: bool,
    shutdown: &Shutdown,
) -> Result<Crawler, Problem> {
    let fetcher = HttpFeedFetcher::new(
        http_client(settings)?,
        stores.gate(settings),
        shutdown.token.clone(),
    );
    let options = CrawlOptions {
        concurrency: usize::from(settings.fetch.crawl_concurrency),
        refresh,
        ..CrawlOptions::default()
    };
    let clock = Arc::clone(&stores.clock);
    Ok(Crawler::new(Arc::new(fetcher), observer, clock, options))
}

/// The client that every request goes through.
pub(crate) fn http_client(settings: &Settings) -> Result<HttpClient, Problem> {
    HttpClient::try_new(settings.http.clone()).map_err(Problem::preflight)
}

/// Runs one worker to its end as a job of the local target.
pub(crate) async fn run_worker<S: Stage>(
    worker: Worker<S>,
    stage: StageName,
    stop: &CancellationToken,
) -> anyhow::Result<WorkerEnd> {
    let worker = Arc::new(worker);
    let launch = move |_: StageName, stop| -> futures::future::BoxFuture<'static, _> {
        Box::pin(Arc::clone(&worker).run(stop))
    };
    let runner = LocalJobRunner::new(Box::new(launch), stop.clone());
    let job = runner
        .submit(JobSpec::new(stage.as_str(), stage, 1))
        .await?;
    let given_up = async {
        stop.cancelled().await;
        tokio::time::sleep(HAND_BACK).await;
    };
    let ended = tokio::select! {
        ended = runner.wait(&job) => ended,
        () = given_up => {
            tracing::warn!("some work could not be handed back in time; its leases end by themselves");
            return Ok(WorkerEnd::Stopped);
        }
    };
    ended.map_err(|error| match error {
        JobError::Backend(source) => match source.downcast::<FatalError>() {
            Ok(fatal) => problem(&fatal).into(),
            Err(source) => JobError::Backend(source).into(),
        },
        error => error.into(),
    })
}

/// A worker that could not go on: by its exit code, a job tells what passes from what does not.
fn problem(fatal: &FatalError) -> Problem {
    match fatal.is_outage {
        true => Problem::outage(fatal).hint("run the same command again; what was done is kept"),
        false => Problem::preflight(fatal)
            .hint("put it right and run the same command again; what was done is kept"),
    }
}

/// Looks out for the notice that a Spot instance is taken back, two minutes ahead; Fargate sends
/// SIGTERM instead.
pub(crate) fn watch_interruption(settings: &Settings, shutdown: &Shutdown) {
    if settings.target == Target::Aws && aws::is_on_ec2() {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let notices = InterruptionNotices::new();
            if notices.wait(&shutdown.token).await {
                tracing::warn!("the instance is being taken back; handing the work over");
                shutdown.reclaimed();
            }
        });
    }
}

/// The bucket and the key of an `s3://` address.
pub(crate) async fn s3_object(
    settings: &Settings,
    uri: &str,
) -> Result<(Arc<dyn BlobStore>, String), Problem> {
    let parts = uri
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'));
    match parts.filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty()) {
        Some((bucket, key)) => Ok((aws::bucket(settings, bucket).await?, key.to_owned())),
        None => Err(Problem::usage(format!("{uri}: no address of an object"))
            .hint("it looks like s3://BUCKET/KEY")),
    }
}

/// The settings of the run that a worker belongs to.
pub(crate) async fn settings_of_run(settings: &Settings, uri: &str) -> anyhow::Result<Settings> {
    let (store, key) = s3_object(settings, uri).await?;
    let run = RunKey::run_of(&key).ok_or_else(|| {
        Problem::usage(format!("{uri}: no record of a run"))
            .hint("it looks like s3://BUCKET/runs/RUN.json")
    })?;
    let record = RunRecord::read(&*store, &run).await;
    let record = record.map_err(Problem::preflight)?;
    let taken = settings.of_record(record.settings);
    Ok(taken.map_err(|error| {
        Problem::preflight(format!("{uri}: {error}"))
            .hint("the run was submitted by another version of podrun than its workers are")
    })?)
}

/// Where an object of a store lies, relative to the working directory where it can be.
pub(crate) fn path_in(settings: &Settings, store: &str, key: &str) -> PathBuf {
    settings.data_dir.join(store).join(key)
}
