//! The tree of published objects: finding, publishing, deleting. Everything here blocks.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::super::{BlobError, BlobErrorKind, BlobInfo, PutMode, Version};
use super::temporary::TemporaryFile;

/// How often an object is linked again because its folder vanished: each time, the folder's last
/// object has to be deleted within the same microseconds.
const LINK_TRIES: u32 = 8;

/// The paths of one store.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    temporary: PathBuf,
    lock: PathBuf,
}

impl Tree {
    pub(super) fn open(root: PathBuf) -> Result<Self, Problem> {
        let temporary = root.join(".tmp");
        fs::create_dir_all(&temporary)?;
        let lock = root.join(".lock");
        Ok(Self {
            root,
            temporary,
            lock,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    pub(super) fn head(&self, key: &str) -> Result<Option<BlobInfo>, Problem> {
        let found = self.find(key)?;
        Ok(found.filter(Metadata::is_file).map(|found| info(&found)))
    }

    pub(super) fn read(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, Problem> {
        if !self.find(key)?.is_some_and(|found| found.is_file()) {
            return Err(BlobErrorKind::NotFound.into());
        }
        let file = File::open(self.root.join(key))?;
        let rest = file.metadata()?.len().saturating_sub(offset);
        // The smaller of the two fits: `length` is a usize. A huge `length` must not be allocated.
        let length = usize::try_from(rest).map_or(length, |rest| rest.min(length));
        let mut buffer = vec![0; length];
        file.read_exact_at(&mut buffer, offset)?;
        Ok(buffer.into())
    }

    /// What lies at `key`, folders included. A symbolic link on the way is refused, since it may
    /// lead out of the store; against somebody who swaps links in at the right moment this does
    /// not help, but nor does he need it.
    pub(super) fn find(&self, key: &str) -> Result<Option<Metadata>, Problem> {
        let mut path = self.root.clone();
        let mut found = None;
        for name in key.split('/') {
            path.push(name);
            let metadata = match fs::symlink_metadata(&path) {
                Err(error) if is_absent(&error) => return Ok(None),
                metadata => metadata?,
            };
            if metadata.is_symlink() {
                return Err(Problem::because("a symbolic link is in the way"));
            }
            found = Some(metadata);
        }
        Ok(found)
    }

    /// Makes `file` durable, then visible as `key`.
    pub(super) fn publish(
        &self,
        file: TemporaryFile,
        key: &str,
        mode: &PutMode,
    ) -> Result<BlobInfo, Problem> {
        file.seal()?;
        match mode {
            PutMode::Create => self.link(&file, key),
            PutMode::Replace(expected) => self.replace(&file, key, expected),
        }
    }

    /// A hard link is made only where no file is, atomically on every file system that has them.
    fn link(&self, file: &TemporaryFile, key: &str) -> Result<BlobInfo, Problem> {
        let target = self.root.join(key);
        for _ in 0..LINK_TRIES {
            let linked = self.make_folders(key).and_then(|folder| {
                fs::hard_link(file.path(), &target)?;
                Ok(folder)
            });
            match linked {
                Err(problem) if problem.kind == BlobErrorKind::NotFound => {}
                Err(problem) if problem.kind == BlobErrorKind::AlreadyExists && target.is_dir() => {
                    return Err(Problem::because("a folder is where the object has to be"));
                }
                linked => {
                    sync_folder(&linked?)?;
                    return Ok(info(&file.file().metadata()?));
                }
            }
        }
        Err(Problem::because("its folder was deleted again and again"))
    }

    fn replace(
        &self,
        file: &TemporaryFile,
        key: &str,
        expected: &Version,
    ) -> Result<BlobInfo, Problem> {
        let lock = self.lock()?;
        let current = self.find(key)?.filter(Metadata::is_file);
        let Some(current) = current.filter(|found| info(found).version == *expected) else {
            return Err(BlobErrorKind::Precondition.into());
        };
        outdate(&current, file.file())?;
        let target = self.root.join(key);
        fs::rename(file.path(), &target)?;
        drop(lock);
        // A key has at least one segment, so the target has a parent.
        sync_folder(target.parent().unwrap_or(&self.root))?;
        Ok(info(&file.file().metadata()?))
    }

    /// Removes the object and the folders that it leaves empty.
    pub(super) fn delete(&self, key: &str) -> Result<(), Problem> {
        let _lock = self.lock()?;
        if !self.find(key)?.is_some_and(|found| found.is_file()) {
            return Ok(());
        }
        let target = self.root.join(key);
        fs::remove_file(&target)?;
        for folder in target.ancestors().skip(1) {
            if folder == self.root {
                break;
            }
            match fs::remove_dir(folder) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                    return Ok(sync_folder(folder)?);
                }
                // Somebody tidied by hand.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(sync_folder(&self.root)?)
    }

    /// Creates the folders above `key` and returns the innermost.
    fn make_folders(&self, key: &str) -> Result<PathBuf, Problem> {
        let mut folder = self.root.clone();
        let names = key.rsplit_once('/').map_or("", |(names, _)| names);
        for name in names.split('/').filter(|name| !name.is_empty()) {
            let parent = folder.clone();
            folder.push(name);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => require_folder(&folder)?,
                created => {
                    created?;
                    sync_folder(&parent)?;
                }
            }
        }
        Ok(folder)
    }

    /// Excludes every other replacement and deletion, in this process and in others.
    fn lock(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false);
        let file = file.open(&self.lock)?;
        file.lock()?;
        Ok(file)
    }
}

fn require_folder(path: &Path) -> Result<(), Problem> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Err(Problem::because("a symbolic link is in the way"));
    }
    if !found.is_dir() {
        return Err(Problem::because("an object is where a folder has to be"));
    }
    Ok(())
}

/// Makes the names in `folder` durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        // Deleted meanwhile: then its names need no durability.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        opened => opened?.sync_all(),
    }
}

/// The version is the file's number, its modification time in ns, and its size.
///
/// A hash of the content would do as well, but needs the whole object read by every `head`. The
/// number alone is not enough, since the system gives it out again; nor is the time alone, since
/// clocks step back. [`outdate`] sees to it that the time moves on with every replacement.
fn info(metadata: &Metadata) -> BlobInfo {
    let (file, size) = (metadata.ino(), metadata.len());
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    BlobInfo {
        size,
        version: Version(format!("{file:x}-{seconds:x}.{nanoseconds:x}-{size:x}")),
    }
}

/// Makes `new` look younger than the object it replaces, whatever the clock says.
fn outdate(current: &Metadata, new: &File) -> io::Result<()> {
    let floor = current.modified()? + Duration::from_nanos(1);
    if new.metadata()?.modified()? < floor {
        new.set_modified(floor)?;
    }
    Ok(())
}

/// Whether a path does not exist. A file in the place of a folder has nothing below it.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A [`BlobError`] that does not know its location yet.
#[derive(Debug)]
pub(super) struct Problem {
    kind: BlobErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Problem {
    fn because(words: &'static str) -> Self {
        Self {
            kind: BlobErrorKind::Other,
            source: Some(words.into()),
        }
    }

    pub(super) fn at(self, location: String) -> BlobError {
        BlobError {
            location,
            kind: self.kind,
            source: self.source,
        }
    }
}

impl From<BlobErrorKind> for Problem {
    fn from(kind: BlobErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => BlobErrorKind::NotFound,
            ErrorKind::AlreadyExists => BlobErrorKind::AlreadyExists,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                BlobErrorKind::PermissionDenied
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BlobErrorKind::Full,
            ErrorKind::InvalidFilename => BlobErrorKind::InvalidKey,
            _ => BlobErrorKind::Other,
        };
        Self {
            kind,
            source: Some(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts `work` while somebody else has the store's lock, and looks that it waits.
    fn assert_waits(tree: &Tree, work: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let lock = tree.lock().unwrap();
            let working = scope.spawn(work);
            // Bounded and one-sided: a slow machine makes the test weaker, never red.
            std::thread::sleep(Duration::from_millis(100));
            assert!(!working.is_finished(), "it did not wait for the lock");
            drop(lock);
        });
    }

    #[test]
    fn replacing_and_deleting_wait_for_each_other() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::open(root.path().to_owned()).unwrap();
        let file = || TemporaryFile::create(tree.temporary()).unwrap();
        let info = tree.publish(file(), "k", &PutMode::Create).unwrap();
        let mode = PutMode::Replace(info.version);
        assert_waits(&tree, || {
            tree.publish(file(), "k", &mode).unwrap();
        });
        assert_waits(&tree, || tree.delete("k").unwrap());
        assert!(tree.head("k").unwrap().is_none());
    }

    #[test]
    fn a_full_disk_and_a_forbidden_one_have_their_own_kinds() {
        let kind = |errno| Problem::from(io::Error::from_raw_os_error(errno)).kind;
        // EPERM, EACCES, EROFS; ENOSPC, EDQUOT; ENOENT; EIO (Linux numbers).
        for errno in [1, 13, 30] {
            assert_eq!(kind(errno), BlobErrorKind::PermissionDenied);
        }
        for errno in [28, 122] {
            assert_eq!(kind(errno), BlobErrorKind::Full);
        }
        assert_eq!(kind(2), BlobErrorKind::NotFound);
        assert_eq!(kind(5), BlobErrorKind::Other);
    }
}
