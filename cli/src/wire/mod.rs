//! The composition root: the only place that names adapters.

#[cfg_attr(feature = "whisper", path = "speech.rs")]
#[cfg_attr(not(feature = "whisper"), path = "no_speech.rs")]
pub(crate) mod speech;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use podrun::checkpoint::{Checkpoints, MemoryCheckpoints, SqliteCheckpoints};
use podrun::control::status::Sources;
use podrun::control::{StatusReport, status};
use podrun::domain::{OwnerId, StageName};
use podrun::feeds::{CrawlOptions, Crawler, HttpFeedFetcher};
use podrun::politeness::{HostWindows, MemoryHostWindows, PacedGate, SqliteHostWindows, Throttle};
use podrun::queue::{MemoryQueue, Queue, SqliteQueue};
use podrun::raw::RawStore;
use podrun::runtime::batch::{JobRunner, JobSpec, LocalJobRunner};
use podrun::runtime::blob::{BlobError, BlobStore, DirectoryBlobStore, MemoryBlobStore};
use podrun::runtime::clock::{Clock, SystemClock};
use podrun::runtime::http::{HopGate, HttpClient};
use podrun::runtime::owners::{OwnerGuard, OwnerRegistry};
use podrun::runtime::sqlite::Database;
use podrun::runtime::telemetry::{MemoryMetrics, Metrics, Observer, SqliteMetrics};
use podrun::runtime::worker::{FatalError, Stage, Worker, WorkerEnd};
use podrun::stage::StageStore;
use tokio_util::sync::CancellationToken;

use crate::exit::Problem;
use crate::settings::Settings;
use crate::signals::Shutdown;

const MOVE_HINT: &str = "choose another place with --data-dir, or make this one writable";

/// The local target: everything a command works on.
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
    windows: Arc<dyn HostWindows>,
    /// Says to other processes that this one lives; none where nothing is leased.
    _alive: Option<OwnerGuard>,
}

impl Stores {
    /// Opens the data directory for work, making what is missing, and takes back what killed
    /// processes left leased or half written.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Problem> {
        let root = &settings.data_dir;
        std::fs::create_dir_all(root).map_err(|error| {
            let root = root.display();
            Problem::preflight(format!("cannot make the data directory {root}: {error}"))
                .hint(MOVE_HINT)
        })?;
        let directories = Directories::open(root)?;
        for store in directories.all() {
            store.sweep().await.map_err(unusable)?;
        }
        let registry = OwnerRegistry::new(root.join("workers"));
        let owner = OwnerId::generate("local");
        let alive = registry.register(&owner).map_err(preflight)?;
        let (mut stores, database) = Self::over(root, directories, settings, owner)?;
        stores._alive = Some(alive);
        release_dead(&database, &registry, settings, &stores.clock)
            .await
            .map_err(Problem::preflight)?;
        Ok(stores)
    }

    /// Opens a data directory to look at it; one that does not exist is empty.
    pub(crate) async fn open_existing(settings: &Settings) -> Result<Self, Problem> {
        let root = &settings.data_dir;
        if !root.join("podrun.db").exists() && !root.join("raw").exists() {
            return Ok(Self::in_memory(settings));
        }
        let directories = Directories::open(root)?;
        Ok(Self::over(root, directories, settings, OwnerId::generate("local"))?.0)
    }

    /// Nothing is there and nothing will be kept.
    fn in_memory(settings: &Settings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let queue = || Arc::new(MemoryQueue::new(Arc::clone(&clock)));
        Self {
            raw: RawStore::new(Arc::new(MemoryBlobStore::new())),
            stage: StageStore::new(Arc::new(MemoryBlobStore::new())),
            manifests: Arc::new(MemoryBlobStore::new()),
            fetch_queue: queue(),
            transcribe_queue: queue(),
            checkpoints: Arc::new(MemoryCheckpoints::new(Arc::clone(&clock))),
            metrics: Arc::new(MemoryMetrics::default()),
            windows: Arc::new(MemoryHostWindows::new(
                settings.politeness.clone(),
                Arc::clone(&clock),
            )),
            clock,
            owner: OwnerId::generate("local"),
            _alive: None,
        }
    }

    fn over(
        root: &Path,
        directories: Directories,
        settings: &Settings,
        owner: OwnerId,
    ) -> Result<(Self, Database), Problem> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let database = Database::open(root.join("podrun.db")).map_err(Problem::preflight)?;
        let queue = |stage| {
            Arc::new(SqliteQueue::new(
                database.clone(),
                stage,
                Arc::clone(&clock),
            ))
        };
        let stores = Self {
            raw: RawStore::new(Arc::new(directories.raw)),
            stage: StageStore::new(Arc::new(directories.stage)),
            manifests: Arc::new(directories.manifests),
            fetch_queue: queue(StageName::Fetch),
            transcribe_queue: queue(StageName::Transcribe),
            checkpoints: Arc::new(SqliteCheckpoints::new(database.clone(), Arc::clone(&clock))),
            metrics: Arc::new(SqliteMetrics::new(database.clone())),
            windows: Arc::new(SqliteHostWindows::new(
                database.clone(),
                settings.politeness.clone(),
                Arc::clone(&clock),
            )),
            clock,
            owner,
            _alive: None,
        };
        Ok((stores, database))
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
    runner.wait(&job).await.map_err(|error| match error {
        podrun::runtime::batch::JobError::Backend(source)
            if source.downcast_ref::<FatalError>().is_some() =>
        {
            Problem::preflight(source)
                .hint("put it right and run the same command again; what was done is kept")
                .into()
        }
        error => error.into(),
    })
}

/// The three object stores of a data directory.
struct Directories {
    raw: DirectoryBlobStore,
    stage: DirectoryBlobStore,
    manifests: DirectoryBlobStore,
}

impl Directories {
    fn open(root: &Path) -> Result<Self, Problem> {
        let store = |name| DirectoryBlobStore::open(root.join(name)).map_err(unusable);
        Ok(Self {
            raw: store("raw")?,
            stage: store("stage")?,
            manifests: store("manifests")?,
        })
    }

    fn all(&self) -> [&DirectoryBlobStore; 3] {
        [&self.raw, &self.stage, &self.manifests]
    }
}

fn unusable(error: BlobError) -> Problem {
    Problem::preflight(error).hint(MOVE_HINT)
}

fn preflight(error: impl std::fmt::Display) -> Problem {
    Problem::preflight(error).hint(MOVE_HINT)
}

/// Takes back at once what processes that are gone had leased; waiting for the leases to end would
/// cost a minute after every kill.
async fn release_dead(
    database: &Database,
    registry: &OwnerRegistry,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<()> {
    for owner in registry.dead_owners()? {
        for stage in StageName::ALL {
            let queue = SqliteQueue::new(database.clone(), stage, Arc::clone(clock));
            queue.release_owner(&owner).await?;
        }
        let checkpoints = SqliteCheckpoints::new(database.clone(), Arc::clone(clock));
        checkpoints.release_owner(&owner).await?;
        let limits = settings.politeness.clone();
        let windows = SqliteHostWindows::new(database.clone(), limits, Arc::clone(clock));
        windows.release_owner(&owner).await?;
        registry.forget(&owner)?;
        tracing::info!(%owner, "took back the work of a process that is gone");
    }
    Ok(())
}

/// Where an object of a store lies, relative to the working directory where it can be.
pub(crate) fn path_in(settings: &Settings, store: &str, key: &str) -> PathBuf {
    settings.data_dir.join(store).join(key)
}
