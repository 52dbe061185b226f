//! Which local processes are alive, so that a rerun after `kill -9` need not wait for leases to end.
//!
//! Every process holds a lock on a file of its own for as long as it lives:
//!
//! ```text
//! <data>/workers/<owner>.lock   locked by that owner's process
//! <data>/workers/.registry      locked for a moment by whoever adds, looks or removes
//! ```
//!
//! The kernel drops a lock with its process, however it ends, so a file that can be locked belongs
//! to a dead owner. Nothing depends on process ids, which are used again, or on clocks. A file is
//! created and locked under the registry's lock: nobody sees it in between, when it would look dead.
//!
//! The locks are advisory and of this machine; leases still end by time for everybody else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::domain::OwnerId;

const SUFFIX: &str = ".lock";

/// A failed look at the owners' folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnersError {
    /// Creating, locking, reading or removing a file failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// In the system's words.
        #[source]
        source: io::Error,
    },
    /// The owner is registered already; an owner is one process.
    #[error("the worker {0} is registered already")]
    Taken(OwnerId),
    /// The owner's name could leave the folder.
    #[error("{0:?} is no worker's name")]
    BadName(String),
}

/// The folder of owners. Calls block for a moment.
#[derive(Debug, Clone)]
pub struct OwnerRegistry {
    directory: PathBuf,
}

impl OwnerRegistry {
    /// The owners of one data directory; `directory` is made when it is first needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Says that `owner` is alive until the guard is dropped or the process ends.
    pub fn register(&self, owner: &OwnerId) -> Result<OwnerGuard, OwnersError> {
        let path = self.path(owner)?;
        let _registry = self.lock()?;
        let file = open(&path)?;
        if !try_lock(&file, &path)? {
            return Err(OwnersError::Taken(owner.clone()));
        }
        Ok(OwnerGuard { path, _lock: file })
    }

    /// The owners whose process ended without dropping its guard. Release what they had on lease,
    /// then [`forget`](Self::forget) them. Two processes may get the same answer; as an owner never
    /// comes back, releasing twice does no harm.
    pub fn dead_owners(&self) -> Result<Vec<OwnerId>, OwnersError> {
        let _registry = self.lock()?;
        let listed = fs::read_dir(&self.directory);
        let listed = listed.map_err(failed("read", &self.directory))?;
        let mut dead = Vec::new();
        for entry in listed {
            let entry = entry.map_err(failed("read", &self.directory))?;
            let Some(owner) = owner_of(&entry.path()) else {
                continue;
            };
            if is_dead(&entry.path())? {
                dead.push(owner);
            }
        }
        Ok(dead)
    }

    /// Removes what a dead owner left behind; does nothing where it is alive or was forgotten.
    pub fn forget(&self, owner: &OwnerId) -> Result<(), OwnersError> {
        let path = self.path(owner)?;
        let _registry = self.lock()?;
        if is_dead(&path)? {
            remove(&path)?;
        }
        Ok(())
    }

    fn path(&self, owner: &OwnerId) -> Result<PathBuf, OwnersError> {
        let name = owner.as_str();
        if !is_name(name) {
            return Err(OwnersError::BadName(name.to_owned()));
        }
        Ok(self.directory.join(format!("{name}{SUFFIX}")))
    }

    /// Held until dropped. Never removed: a lock on a file that somebody replaced locks nobody out.
    fn lock(&self) -> Result<File, OwnersError> {
        fs::create_dir_all(&self.directory).map_err(failed("create", &self.directory))?;
        let path = self.directory.join(".registry");
        let file = open(&path)?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(file)
    }
}

/// A registered owner. Dropping it is the orderly end: its file goes away.
#[derive(Debug)]
pub struct OwnerGuard {
    path: PathBuf,
    _lock: File,
}

impl Drop for OwnerGuard {
    fn drop(&mut self) {
        // Before the lock goes with the field: the file never looks dead. Where it cannot be
        // removed it will, and the next run finds nothing of this owner's to release.
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, "a worker's lock file stays behind");
        }
    }
}

/// Safe as a file name, as every generated owner is; hidden names stay ours.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=200).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_plain)
}

/// The owner that a file stands for; `None` for files that are not ours.
fn owner_of(path: &Path) -> Option<OwnerId> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    is_name(name).then(|| OwnerId::from_stored(name))
}

fn is_dead(path: &Path) -> Result<bool, OwnersError> {
    match OpenOptions::new().read(true).write(true).open(path) {
        // Removed since it was listed: that owner ended in order.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("open", path)(error)),
        Ok(file) => try_lock(&file, path),
    }
}

fn open(path: &Path) -> Result<File, OwnersError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(failed("create", path))
}

fn try_lock(file: &File, path: &Path) -> Result<bool, OwnersError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(failed("lock", path)(error)),
    }
}

fn remove(path: &Path) -> Result<(), OwnersError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(failed("remove", path)),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OwnersError {
    let path = path.to_owned();
    move |source| OwnersError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, OwnerRegistry) {
        let directory = tempfile::tempdir().unwrap();
        let registry = OwnerRegistry::new(directory.path().join("workers"));
        (directory, registry)
    }

    /// What a killed process leaves: the file, and no lock on it.
    fn killed(registry: &OwnerRegistry) -> OwnerId {
        let owner = OwnerId::generate("killed");
        let guard = registry.register(&owner).unwrap();
        let path = guard.path.clone();
        drop(guard);
        fs::write(path, "").unwrap();
        owner
    }

    #[test]
    fn the_living_are_not_dead() {
        let (_directory, registry) = registry();
        assert_eq!(registry.dead_owners().unwrap(), []);
        let owner = OwnerId::generate("host-1");
        let guard = registry.register(&owner).unwrap();
        assert_eq!(registry.dead_owners().unwrap(), []);
        registry.forget(&owner).unwrap();
        assert!(guard.path.exists());
        let again = registry.register(&owner).unwrap_err();
        assert!(matches!(again, OwnersError::Taken(_)), "{again}");
    }

    #[test]
    fn an_orderly_end_leaves_nothing() {
        let (_directory, registry) = registry();
        let guard = registry.register(&OwnerId::generate("host")).unwrap();
        let path = guard.path.clone();
        drop(guard);
        assert!(!path.exists());
        assert_eq!(registry.dead_owners().unwrap(), []);
    }

    #[test]
    fn the_killed_are_found_until_they_are_forgotten() {
        let (_directory, registry) = registry();
        let dead = killed(&registry);
        let _alive = registry.register(&OwnerId::generate("alive")).unwrap();
        for _ in 0..2 {
            assert_eq!(registry.dead_owners().unwrap(), vec![dead.clone()]);
        }
        registry.forget(&dead).unwrap();
        registry.forget(&dead).unwrap();
        assert_eq!(registry.dead_owners().unwrap(), []);
    }

    #[test]
    fn strange_files_are_no_owners_and_strange_owners_no_files() {
        let (_directory, registry) = registry();
        killed(&registry);
        for name in ["notes.txt", ".hidden.lock", "a b.lock", ".lock"] {
            fs::write(registry.directory.join(name), "").unwrap();
        }
        assert_eq!(registry.dead_owners().unwrap().len(), 1);
        for name in ["", "../x", ".x", "a/b", "a\\b", "ü"] {
            let owner = OwnerId::from_stored(name);
            let refused = registry.register(&owner).unwrap_err();
            assert!(matches!(refused, OwnersError::BadName(_)), "{refused}");
        }
    }

    #[test]
    fn starting_processes_never_look_dead() {
        let (_directory, registry) = registry();
        let start = || {
            for _ in 0..50 {
                let owner = OwnerId::generate("starting");
                let _guard = registry.register(&owner).unwrap();
                assert!(!registry.dead_owners().unwrap().contains(&owner));
            }
        };
        let look = || {
            for _ in 0..200 {
                for owner in registry.dead_owners().unwrap() {
                    registry.forget(&owner).unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(start);
            }
            scope.spawn(look);
        });
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let registry = OwnerRegistry::new(file.join("workers"));
        let error = registry.dead_owners().unwrap_err().to_string();
        assert!(
            error.contains("cannot create") && error.contains("workers"),
            "{error}"
        );
    }
}
