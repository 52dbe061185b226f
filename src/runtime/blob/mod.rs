//! Port: a bucket of objects (raw, stage, manifests).

use std::fmt::{Debug, Display};

use async_trait::async_trait;
use bytes::Bytes;

#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
pub mod directory;
#[cfg(any(test, feature = "testkit"))]
pub mod flaky;
pub mod key;
pub mod memory;
pub mod s3;

pub use directory::DirectoryBlobStore;
#[cfg(any(test, feature = "testkit"))]
pub use flaky::FlakyBlobStore;
pub use memory::MemoryBlobStore;
pub use s3::S3BlobStore;

/// What a store guarantees:
///
/// * An object is visible whole or not at all: no reader ever sees a partial write, whatever dies.
/// * [`PutMode`] is decided atomically with the write, across processes.
/// * A key is a relative path of non-empty segments, none of them `.` or `..` (the whole rule is
///   [`key::problem_of`]); anything else is [`BlobErrorKind::InvalidKey`] and touches nothing.
/// * No layout needs an object `a` beside an object `a/b`; an adapter may refuse the second.
/// * [`list`](Self::list) shows every object written before the call, in byte order of the keys.
///
/// S3 fits: `If-None-Match: *` and `If-Match` on `PutObject` and `CompleteMultipartUpload`,
/// ranged `GetObject`, `ListObjectsV2` with `StartAfter`.
#[async_trait]
pub trait BlobStore: Debug + Display + Send + Sync + 'static {
    /// Writes a small object in one go.
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<BlobInfo, BlobError>;

    /// Begins a large object. Nothing is visible until [`BlobWriter::finish`].
    async fn create(&self, key: &str, mode: PutMode) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// Reads `length` bytes from `offset`; fewer only where the object ends.
    async fn read_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, BlobError>;

    /// Size and version, or `None` where there is no such object.
    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError>;

    /// Up to `limit` keys that start with `prefix` and come after `after`, in byte order.
    /// A page shorter than `limit` is the last.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BlobError>;

    /// Removes an object; removing what is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;

    /// Discards what writers that died left of objects whose keys begin with `prefix`, and that nobody
    /// ever saw. For who knows that nobody else is writing one of them: a live writer would fail.
    /// Nothing to do for stores that sweep in other ways.
    async fn discard_unfinished(&self, prefix: &str) -> Result<(), BlobError> {
        let _ = prefix;
        Ok(())
    }

    /// Where an object lies, for people: a path or an `s3://` URI.
    fn location(&self, key: &str) -> String;
}

/// An object on its way in. Dropping it without [`finish`](Self::finish) discards what was written;
/// what a killed process leaves behind is invisible and swept later.
#[async_trait]
pub trait BlobWriter: Debug + Send {
    /// Appends. Memory is bounded however much is written.
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError>;

    /// Makes the object durable, then visible, under the mode it was created with.
    async fn finish(self: Box<Self>) -> Result<BlobInfo, BlobError>;

    /// Discards it and waits until that is done.
    async fn abort(self: Box<Self>) -> Result<(), BlobError>;
}

/// Under which condition a write takes effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutMode {
    /// Only where no object is; otherwise [`BlobErrorKind::AlreadyExists`].
    Create,
    /// Only over this version; otherwise [`BlobErrorKind::Precondition`].
    Replace(Version),
}

/// An opaque version of one object's content (an ETag). Equal versions of one key mean equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// What `head` and writes tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Bytes.
    pub size: u64,
    /// For [`PutMode::Replace`].
    pub version: Version,
}

/// A failed store call: the condition, the key, the store, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{location}: {kind}{}", source.as_ref().map(|s| format!(": {s}")).unwrap_or_default())]
pub struct BlobError {
    /// Path or URI of the object.
    pub location: String,
    /// The condition, for code to branch on.
    pub kind: BlobErrorKind,
    /// The cause in the adapter's own words.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BlobError {
    /// A condition without a cause worth telling.
    pub fn new(location: impl Into<String>, kind: BlobErrorKind) -> Self {
        Self {
            location: location.into(),
            kind,
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Conditions every adapter maps its errors to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobErrorKind {
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// [`PutMode::Create`] met an object.
    #[error("already exists")]
    AlreadyExists,
    /// [`PutMode::Replace`] met another version.
    #[error("changed by somebody else")]
    Precondition,
    /// The key is no relative path.
    #[error("invalid key")]
    InvalidKey,
    /// Reading or writing is not allowed here.
    #[error("permission denied")]
    PermissionDenied,
    /// There is no such bucket, or not where it was looked for.
    #[error("no such store")]
    NoStore,
    /// No space, or the quota is used up.
    #[error("no space left")]
    Full,
    /// Anything else.
    #[error("i/o failed")]
    Other,
}

impl BlobErrorKind {
    /// Whether the store itself is unusable, so that going on with other objects is pointless.
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::NoStore | Self::PermissionDenied | Self::Full)
    }

    /// Whether a conditional write lost to somebody else's.
    pub fn is_conflict(self) -> bool {
        matches!(self, Self::AlreadyExists | Self::Precondition)
    }
}

/// Reads a whole object of at most `limit` bytes; a larger one is an error, not a truncation.
pub async fn read_all(store: &dyn BlobStore, key: &str, limit: usize) -> Result<Bytes, BlobError> {
    let bytes = store.read_range(key, 0, limit.saturating_add(1)).await?;
    if bytes.len() > limit {
        let error = BlobError::new(store.location(key), BlobErrorKind::Other);
        return Err(error.because(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}
