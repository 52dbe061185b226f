//! Files that are being written, and the sweeping up of those whose writer died.
//!
//! A writer keeps an exclusive lock on its file, which the system drops when the process dies, so
//! that a file that can be locked has no writer. The one gap is between creating a file and locking
//! it: there a sweep may lock it first and delete it. Therefore a writer looks, once it has the
//! lock, whether its file still has a name, and begins anew where it has none.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How often a writer starts again because its new file was swept: each time, a sweep has to run
/// within the same microseconds.
const CREATE_TRIES: u32 = 8;

/// A locked file with a random name. Dropping it removes the name.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    file: File,
    path: PathBuf,
}

impl TemporaryFile {
    /// A new empty file in `folder`.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        for _ in 0..CREATE_TRIES {
            if let Some(created) = Self::create_unlocked(folder)?.locked()? {
                return Ok(created);
            }
        }
        Err(io::Error::other("every new temporary file was swept away"))
    }

    fn create_unlocked(folder: &Path) -> io::Result<Self> {
        let path = folder.join(uuid::Uuid::new_v4().simple().to_string());
        let open = || OpenOptions::new().write(true).create_new(true).open(&path);
        let file = match open() {
            // Somebody tidied the whole folder away.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                open()?
            }
            opened => opened?,
        };
        Ok(Self { file, path })
    }

    /// Waits for the lock; `None` where a sweep had it first.
    fn locked(self) -> io::Result<Option<Self>> {
        self.file.lock()?;
        let has_name = self.file.metadata()?.nlink() > 0;
        Ok(has_name.then_some(self))
    }

    /// Makes the content durable.
    ///
    /// Also sets the modification time from the clock: the system's own stamp moves in steps of
    /// some milliseconds, too coarse to tell two versions apart.
    pub(super) fn seal(&self) -> io::Result<()> {
        self.file.set_modified(SystemTime::now())?;
        self.file.sync_all()
    }

    /// Removes the file and says whether that worked.
    pub(super) fn discard(self) -> io::Result<()> {
        remove(&self.path)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for TemporaryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for TemporaryFile {
    /// In place and not on another thread: a runtime that shuts down would not run it any more.
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a temporary file stays for the next sweep");
        }
    }
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Deletes the files in `folder` that have no living writer and returns how many there were.
pub(super) fn sweep(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        // Nobody ever wrote anything.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut swept = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() && sweep_one(&entry.path())? {
            swept += 1;
        }
    }
    Ok(swept)
}

fn sweep_one(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match file.try_lock() {
        // Deleted while the lock is held: a writer that waits for it then sees what happened.
        Ok(()) => remove(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_a_sweep_overtook_notices() {
        let folder = tempfile::tempdir().unwrap();
        let overtaken = TemporaryFile::create_unlocked(folder.path()).unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert!(overtaken.locked().unwrap().is_none());

        let safe = TemporaryFile::create(folder.path()).unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 0);
        assert!(safe.path().exists());
    }
}
