//! The local target: one directory and one database file.

use std::path::Path;
use std::sync::Arc;

use podrun::checkpoint::{MemoryCheckpoints, SqliteCheckpoints};
use podrun::domain::{OwnerId, StageName};
use podrun::politeness::{MemoryHostWindows, SqliteHostWindows};
use podrun::queue::{MemoryQueue, SqliteQueue};
use podrun::raw::RawStore;
use podrun::runtime::blob::{BlobError, DirectoryBlobStore, MemoryBlobStore};
use podrun::runtime::clock::{Clock, SystemClock};
use podrun::runtime::owners::OwnerRegistry;
use podrun::runtime::sqlite::Database;
use podrun::runtime::telemetry::{MemoryMetrics, SqliteMetrics};
use podrun::stage::StageStore;

use super::Stores;
use crate::exit::Problem;
use crate::settings::Settings;

const MOVE_HINT: &str = "choose another place with --data-dir, or make this one writable";

/// Opens the data directory for work, making what is missing, and takes back what killed
/// processes left leased or half written.
pub(super) async fn open(settings: &Settings) -> Result<Stores, Problem> {
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
    let (mut stores, database) = over(root, directories, settings, owner)?;
    stores._alive = Some(alive);
    release_dead(&database, &registry, settings, &stores.clock)
        .await
        .map_err(Problem::preflight)?;
    Ok(stores)
}

/// Opens a data directory to look at it; one that does not exist is empty.
pub(super) fn open_existing(settings: &Settings) -> Result<Stores, Problem> {
    let root = &settings.data_dir;
    if !root.join("podrun.db").exists() && !root.join("raw").exists() {
        return Ok(in_memory(settings));
    }
    let directories = Directories::open(root)?;
    Ok(over(root, directories, settings, OwnerId::generate("local"))?.0)
}

/// Nothing is there and nothing will be kept.
fn in_memory(settings: &Settings) -> Stores {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let queue = || Arc::new(MemoryQueue::new(Arc::clone(&clock)));
    Stores {
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
        fleet: None,
        _alive: None,
    }
}

fn over(
    root: &Path,
    directories: Directories,
    settings: &Settings,
    owner: OwnerId,
) -> Result<(Stores, Database), Problem> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = Database::open(root.join("podrun.db")).map_err(Problem::preflight)?;
    let queue = |stage| {
        Arc::new(SqliteQueue::new(
            database.clone(),
            stage,
            Arc::clone(&clock),
        ))
    };
    let stores = Stores {
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
        fleet: None,
        _alive: None,
    };
    Ok((stores, database))
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
