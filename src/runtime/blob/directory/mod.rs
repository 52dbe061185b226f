//! Adapter: a bucket as a directory tree, for the local target. Unix only.
//!
//! ```text
//! <root>/20vc/d5d8/audio/episode.mp3   an object; its key is its path below the root
//! <root>/.tmp/<random>                 objects on their way in, each locked by its writer
//! <root>/.lock                         held while objects are replaced or deleted
//! ```
//!
//! An object is written to a temporary file, flushed to the disk and only then linked or renamed to
//! its name, which the file system does in one step. So a reader never sees half an object and a
//! power cut leaves the old state or the new one.

mod temporary;
mod tree;
mod walk;

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use self::temporary::TemporaryFile;
use self::tree::{Problem, Tree};
use super::{BlobError, BlobErrorKind, BlobInfo, BlobStore, BlobWriter, PutMode, key};

/// Bytes gathered before they go to the disk: enough that a system call costs nothing per byte,
/// little enough that a hundred writers at once stay under 100 MiB.
const BUFFER: usize = 512 * 1024;

/// Pieces gathered before they go to the disk: what one system call takes on Linux.
const PIECES: usize = 1024;

/// Below this size a piece is copied, so that it does not keep the buffer that it was read into: the
/// pieces gathered hold at most some times [`BUFFER`] then.
const SMALL: usize = 4 * 1024;

/// A directory that holds objects. Cheap to clone; any number of processes may share the root.
#[derive(Debug, Clone)]
pub struct DirectoryBlobStore {
    tree: Arc<Tree>,
}

impl DirectoryBlobStore {
    /// Opens the store at `root`, creating the directory where there is none.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let root = root.into();
        let shown = root.display().to_string();
        let tree = Tree::open(root).map_err(|problem| problem.at(shown))?;
        Ok(Self {
            tree: Arc::new(tree),
        })
    }

    /// Where an object lies, for people.
    pub fn path(&self, key: &str) -> PathBuf {
        // Not `Path::join`, which would let an absolute key point elsewhere.
        PathBuf::from(self.location(key))
    }

    /// Deletes what killed processes left half written, and returns how many files that was.
    /// Writers that are alive keep theirs.
    pub async fn sweep(&self) -> Result<u64, BlobError> {
        self.blocking(".tmp", |tree, _| Ok(temporary::sweep(tree.temporary())?))
            .await
    }

    /// Runs file work where it may block, and adds the location to its errors.
    async fn blocking<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Tree, &str) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, BlobError> {
        let tree = Arc::clone(&self.tree);
        let name = key.to_owned();
        tokio::task::spawn_blocking(move || work(&tree, &name))
            .await
            .unwrap_or_else(|failed| Err(io::Error::other(failed).into()))
            .map_err(|problem| problem.at(self.location(key)))
    }

    fn check(&self, key: &str) -> Result<(), BlobError> {
        let Some(problem) = key::problem_of(key) else {
            return Ok(());
        };
        Err(BlobError::new(self.location(key), BlobErrorKind::InvalidKey).because(problem))
    }
}

impl fmt::Display for DirectoryBlobStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "directory {}", self.tree.root().display())
    }
}

#[async_trait]
impl BlobStore for DirectoryBlobStore {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<BlobInfo, BlobError> {
        self.check(key)?;
        self.blocking(key, move |tree, key| {
            let mut file = TemporaryFile::create(tree.temporary())?;
            file.write_all(&bytes)?;
            tree.publish(file, key, &mode)
        })
        .await
    }

    async fn create(&self, key: &str, mode: PutMode) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.check(key)?;
        let file = self
            .blocking(key, |tree, _| Ok(TemporaryFile::create(tree.temporary())?))
            .await?;
        Ok(Box::new(DirectoryWriter {
            store: self.clone(),
            key: key.to_owned(),
            mode,
            file: Some(file),
            pending: Vec::new(),
            pending_bytes: 0,
        }))
    }

    async fn read_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, BlobError> {
        self.check(key)?;
        self.blocking(key, move |tree, key| tree.read(key, offset, length))
            .await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        self.check(key)?;
        self.blocking(key, |tree, key| tree.head(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BlobError> {
        let after = after.map(str::to_owned);
        self.blocking(prefix, move |tree, prefix| {
            walk::list(tree, prefix, after.as_deref(), limit)
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.check(key)?;
        self.blocking(key, |tree, key| tree.delete(key)).await
    }

    fn location(&self, key: &str) -> String {
        format!("{}/{key}", self.tree.root().display())
    }
}

/// An object on its way in. Dropping it removes the temporary file.
#[derive(Debug)]
struct DirectoryWriter {
    store: DirectoryBlobStore,
    key: String,
    mode: PutMode,
    /// `None` once a write failed or was cancelled half-way: what is in the file is unknown then.
    file: Option<TemporaryFile>,
    /// Pieces on their way to the disk, in order.
    pending: Vec<Bytes>,
    pending_bytes: usize,
}

impl DirectoryWriter {
    fn take_file(&mut self) -> Result<TemporaryFile, BlobError> {
        self.file.take().ok_or_else(|| {
            let error = BlobError::new(self.store.location(&self.key), BlobErrorKind::Other);
            error.because("an earlier write to the object did not succeed")
        })
    }

    /// Sends what is pending to the disk.
    async fn flush(&mut self) -> Result<(), BlobError> {
        let mut file = self.take_file()?;
        let mut pending = std::mem::take(&mut self.pending);
        let work = move |_: &Tree, _: &str| {
            write_pieces(&mut file, &pending)?;
            pending.clear();
            Ok((file, pending))
        };
        let (file, pending) = self.store.blocking(&self.key, work).await?;
        self.file = Some(file);
        self.pending = pending;
        self.pending_bytes = 0;
        Ok(())
    }
}

/// Writes all of `pieces`, as many at a time as the system takes.
fn write_pieces(file: &mut TemporaryFile, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    // Empty ones at the front would make a write of nothing, which looks like a full disk.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[async_trait]
impl BlobWriter for DirectoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.pending_bytes += bytes.len();
        // A small piece may keep a large buffer alive.
        self.pending.push(match bytes.len() {
            0..SMALL => Bytes::copy_from_slice(&bytes),
            _ => bytes,
        });
        if self.pending_bytes >= BUFFER || self.pending.len() >= PIECES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobInfo, BlobError> {
        let mut file = self.take_file()?;
        let pending = std::mem::take(&mut self.pending);
        let mode = self.mode.clone();
        let work = move |tree: &Tree, key: &str| {
            write_pieces(&mut file, &pending)?;
            tree.publish(file, key, &mode)
        };
        self.store.blocking(&self.key, work).await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), BlobError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let work = move |_: &Tree, _: &str| Ok(file.discard()?);
        self.store.blocking(&self.key, work).await
    }
}

#[cfg(test)]
mod tests;
