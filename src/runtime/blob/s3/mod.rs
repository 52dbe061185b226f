//! Adapter: a bucket of S3.
//!
//! ```text
//! below one part     PutObject, with the condition and the checksum
//! one part or more   CreateMultipartUpload, UploadPart ..., CompleteMultipartUpload with the condition
//! ```
//!
//! Every write carries a CRC64NVME that was computed here, before the bytes went out, so that the
//! service refuses what changed on the way; payloads are not hashed a second time for the signature.
//! Every write also carries a mark of its own in the object's metadata. Where an answer is lost, or a
//! repeated request finds the condition broken by its own first try, the mark tells that the object
//! there is this very write, and the write has succeeded.
//!
//! A writer that is dropped aborts its upload in the background. What a killed process leaves behind
//! is invisible to readers and costs storage: [`S3BlobStore::abort_stale_uploads`] ends it, and as the
//! last net the bucket should have a lifecycle rule `AbortIncompleteMultipartUpload` of one day.
//!
//! Stalled transfers are ended by the SDK's stalled-stream protection, which is on by default.

mod bucket;
mod list;
mod part;
mod problem;
mod read;
mod stale;
mod upload;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use self::bucket::Bucket;
use self::writer::S3Writer;
use super::{BlobError, BlobInfo, BlobStore, BlobWriter, PutMode};

/// How the service checks an object that went up in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MultipartCheck {
    /// Each part, and the object as a whole: one CRC64NVME that can be compared afterwards. As S3 has
    /// it.
    #[default]
    FullObject,
    /// Each part alone, for stores that do not know checksums of the `FULL_OBJECT` type.
    PartsOnly,
}

/// A bucket that holds objects. Cheap to clone; any number of processes may share the bucket.
///
/// Needs `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`, `s3:AbortMultipartUpload`,
/// `s3:ListBucket` (without it an object that is not there looks like one that is forbidden) and, for
/// [`abort_stale_uploads`](Self::abort_stale_uploads), `s3:ListBucketMultipartUploads`.
///
/// Memory: up to three parts of 8 MiB for each writer, of 16 MiB beyond 39 GiB of one object. The
/// largest object is 117 GiB.
#[derive(Debug, Clone)]
pub struct S3BlobStore {
    bucket: Arc<Bucket>,
}

impl S3BlobStore {
    /// The objects in `bucket`. Nothing is asked of the service.
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self::with_check(client, bucket, MultipartCheck::default())
    }

    /// The same, for a store that knows less than S3 does.
    pub fn with_check(client: Client, bucket: impl Into<String>, check: MultipartCheck) -> Self {
        Self {
            bucket: Arc::new(Bucket::new(client, bucket.into(), check)),
        }
    }

    /// Asks whether the bucket is there and may be used; the error names it and says what to do.
    pub async fn check(&self) -> Result<(), BlobError> {
        self.bucket.check_that_it_is_there().await
    }

    /// Aborts multipart uploads that were begun more than `age` before `now`, whoever began them, and
    /// returns how many those were. `age` has to be longer than any upload takes.
    pub async fn abort_stale_uploads(
        &self,
        age: Duration,
        now: DateTime<Utc>,
    ) -> Result<u64, BlobError> {
        self.bucket.abort_stale_uploads(age, now).await
    }
}

impl fmt::Display for S3BlobStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bucket {}", self.bucket.name())
    }
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<BlobInfo, BlobError> {
        self.bucket.check_key(key)?;
        self.bucket.put(key, bytes, &mode).await
    }

    async fn create(&self, key: &str, mode: PutMode) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.bucket.check_key(key)?;
        let writer = S3Writer::new(Arc::clone(&self.bucket), key.to_owned(), mode);
        Ok(Box::new(writer))
    }

    async fn read_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, BlobError> {
        self.bucket.check_key(key)?;
        self.bucket.read_range(key, offset, length).await
    }

    /// `HeadObject` answers without a body, so that a bucket that is not there looks like an object
    /// that is not there; every other call tells them apart.
    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        self.bucket.check_key(key)?;
        Ok(self.bucket.look(key).await?.map(|found| found.info))
    }

    /// Keys that are none of this program's, such as the folder markers of the console, are not shown.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BlobError> {
        self.bucket.list(prefix, after, limit).await
    }

    async fn discard_unfinished(&self, prefix: &str) -> Result<(), BlobError> {
        self.bucket.abort_uploads(prefix, |_| true).await?;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.bucket.check_key(key)?;
        self.bucket.delete(key).await
    }

    fn location(&self, key: &str) -> String {
        self.bucket.location(key)
    }
}
