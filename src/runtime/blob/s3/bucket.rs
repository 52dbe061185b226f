//! The calls of one bucket, and what became of a write.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::MultipartCheck;
use super::part::Checksum;
use super::problem::Problem;
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobInfo, PutMode, Version, key};
use crate::runtime::retry::RetryPolicy;

/// Name of the metadata that holds a write's [`Mark`].
pub(super) const MARK: &str = "podrun-write";

/// Another writer's conditional request on the key ends within a second.
const CONFLICT: RetryPolicy = RetryPolicy {
    max_attempts: 6,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(2),
};

/// A bucket, and how to reach it.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) client: Client,
    name: String,
    pub(super) check: MultipartCheck,
}

/// Tells one write from every other, also from one of the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark(pub(super) String);

impl Mark {
    pub(super) fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

/// An object that is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) info: BlobInfo,
    mark: Option<Mark>,
}

/// A write that was sent.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) key: &'a str,
    pub(super) mode: &'a PutMode,
    pub(super) mark: &'a Mark,
    pub(super) size: u64,
}

impl Bucket {
    pub(super) fn new(client: Client, name: String, check: MultipartCheck) -> Self {
        Self {
            client,
            name,
            check,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn location(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    pub(super) fn check_key(&self, key: &str) -> Result<(), BlobError> {
        match key::problem_of(key) {
            None => Ok(()),
            Some(problem) => {
                Err(BlobError::new(self.location(key), BlobErrorKind::InvalidKey).because(problem))
            }
        }
    }

    /// A failed call, as the port tells it.
    pub(super) fn error(&self, key: &str, problem: Problem) -> BlobError {
        let kind = problem.kind();
        self.error_of_kind(key, kind, problem)
    }

    fn error_of_kind(&self, key: &str, kind: BlobErrorKind, problem: Problem) -> BlobError {
        BlobError::new(self.location(key), kind).because(problem.into_words(kind, &self.name))
    }

    pub(super) async fn check_that_it_is_there(&self) -> Result<(), BlobError> {
        let call = self.client.head_bucket().bucket(&self.name).send();
        match call
            .await
            .map_err(|error| Problem::new("HeadBucket", &error))
        {
            Ok(_) => Ok(()),
            Err(problem) if problem.is_not_found() => {
                Err(self.error_of_kind("", BlobErrorKind::NoStore, problem))
            }
            Err(problem) => Err(self.error("", problem)),
        }
    }

    pub(super) async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        mode: &PutMode,
    ) -> Result<BlobInfo, BlobError> {
        let mark = Mark::random();
        let checksum = Checksum::of(&bytes);
        let size = checksum.bytes;
        let write = Write {
            key,
            mode,
            mark: &mark,
            size,
        };
        let mut conflicts = 0;
        loop {
            let problem = match self.put_once(&write, bytes.clone(), checksum).await {
                Ok(Some(version)) => return Ok(BlobInfo { size, version }),
                Ok(None) => return self.version_of(&write).await,
                Err(problem) => problem,
            };
            conflicts += 1;
            match CONFLICT
                .jittered(conflicts)
                .filter(|_| problem.is_conflict())
            {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return self.settle(&write, problem).await,
            }
        }
    }

    async fn put_once(
        &self,
        write: &Write<'_>,
        bytes: Bytes,
        checksum: Checksum,
    ) -> Result<Option<Version>, Problem> {
        let call = self.client.put_object().bucket(&self.name).key(write.key);
        let call = call
            .body(ByteStream::from(bytes))
            .metadata(MARK, &write.mark.0);
        let call = match write.mode {
            PutMode::Create => call.if_none_match("*"),
            PutMode::Replace(Version(etag)) => call.if_match(etag),
        };
        let call = call.checksum_crc64_nvme(checksum.encoded()).customize();
        let put = call.disable_payload_signing().send().await;
        let put = put.map_err(|error| Problem::new("PutObject", &error))?;
        Ok(put.e_tag.map(Version))
    }

    /// What `write` made, for an answer that does not tell.
    pub(super) async fn version_of(&self, write: &Write<'_>) -> Result<BlobInfo, BlobError> {
        let found = self.look(write.key).await?;
        found.map(|found| found.info).ok_or_else(|| {
            let lost = BlobError::new(self.location(write.key), BlobErrorKind::Other);
            lost.because("the object was deleted as soon as it was written")
        })
    }

    /// Finds out what became of `write`, which was not answered with success: it may have taken effect
    /// all the same, and then it has succeeded.
    pub(super) async fn settle(
        &self,
        write: &Write<'_>,
        problem: Problem,
    ) -> Result<BlobInfo, BlobError> {
        if problem.kind().is_fatal() {
            return Err(self.error(write.key, problem));
        }
        let found = self.look(write.key).await?;
        if let Some(found) = &found
            && found.mark.as_ref() == Some(write.mark)
            && found.info.size == write.size
        {
            tracing::debug!(key = write.key, "a write succeeded whose answer was lost");
            return Ok(found.info.clone());
        }
        let there = found.map(|found| found.info.version);
        let kind = lost_to_somebody(write.mode, there.as_ref(), &problem);
        let kind = kind.unwrap_or(match problem.kind() {
            // Not the object that a reader would miss, but this upload.
            BlobErrorKind::NotFound => BlobErrorKind::Other,
            kind => kind,
        });
        Err(self.error_of_kind(write.key, kind, problem))
    }

    /// The object at `key`.
    pub(super) async fn look(&self, key: &str) -> Result<Option<Found>, BlobError> {
        let call = self.client.head_object().bucket(&self.name).key(key);
        let head = match call.send().await {
            Ok(head) => head,
            Err(error) => {
                let problem = Problem::new("HeadObject", &error);
                return match problem.is_not_found() {
                    true => Ok(None),
                    false => Err(self.error(key, problem)),
                };
            }
        };
        let mark = head.metadata.and_then(|mut pairs| pairs.remove(MARK));
        let size = head
            .content_length
            .and_then(|size| u64::try_from(size).ok());
        let (Some(size), Some(etag)) = (size, head.e_tag) else {
            let error = BlobError::new(self.location(key), BlobErrorKind::Other);
            return Err(error.because("HeadObject: the answer has no size or no ETag"));
        };
        let version = Version(etag);
        Ok(Some(Found {
            info: BlobInfo { size, version },
            mark: mark.map(Mark),
        }))
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let call = self.client.delete_object().bucket(&self.name).key(key);
        match call
            .send()
            .await
            .map_err(|error| Problem::new("DeleteObject", &error))
        {
            Ok(_) => Ok(()),
            Err(problem) if problem.is_not_found() => Ok(()),
            Err(problem) => Err(self.error(key, problem)),
        }
    }
}

/// Whether a write under `mode` lost to somebody else's, where `there` is not this write; `None` where
/// it may be tried again.
fn lost_to_somebody(
    mode: &PutMode,
    there: Option<&Version>,
    problem: &Problem,
) -> Option<BlobErrorKind> {
    match mode {
        PutMode::Create if problem.is_precondition() || there.is_some() => {
            Some(BlobErrorKind::AlreadyExists)
        }
        PutMode::Replace(expected) if problem.is_precondition() || there != Some(expected) => {
            Some(BlobErrorKind::Precondition)
        }
        _ => None,
    }
}
