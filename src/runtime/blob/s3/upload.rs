//! One multipart upload, from its begin to its end.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::MultipartCheck;
use super::bucket::{Bucket, MARK, Mark, Write};
use super::part::{Checksum, Part};
use super::problem::Problem;
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobInfo, PutMode, Version};

/// Longest time for an abort: what it does not reach is left to
/// [`abort_stale_uploads`](super::S3BlobStore::abort_stale_uploads) and the bucket's lifecycle rule.
const ABORT: Duration = Duration::from_secs(20);

/// What a writer asks for, in order.
#[derive(Debug)]
pub(super) enum Step {
    /// One more part.
    Part(Part),
    /// The last part; then the object becomes visible.
    Finish(Part),
}

/// An upload that made no object.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: BlobError,
    /// Nothing of it is left.
    pub(super) is_discarded: bool,
}

/// Uploads what `steps` brings to `key`. `None` where it ended without a [`Step::Finish`]: the upload
/// was aborted then, as it is after every failure.
pub(super) async fn run(
    bucket: Arc<Bucket>,
    key: String,
    mode: PutMode,
    steps: mpsc::Receiver<Step>,
) -> Result<Option<BlobInfo>, Failed> {
    let mark = Mark::random();
    let begun = begin(&bucket, &key, &mark).await;
    let id = begun.map_err(|error| Failed {
        error,
        is_discarded: true,
    })?;
    let mut upload = Upload {
        bucket,
        key,
        id,
        mark,
        in_flight: JoinSet::new(),
        sent: Vec::new(),
        whole: Checksum::empty(),
    };
    let outcome = match upload.send_all(steps).await {
        Ok(true) => upload.complete(&mode).await.map(Some),
        Ok(false) => Ok(None),
        Err(error) => Err(error),
    };
    if let Ok(Some(info)) = outcome {
        return Ok(Some(info));
    }
    let aborted = upload.abort().await;
    let is_discarded = aborted.is_ok();
    match outcome.and(aborted) {
        Ok(()) => Ok(None),
        Err(error) => Err(Failed {
            error,
            is_discarded,
        }),
    }
}

async fn begin(bucket: &Bucket, key: &str, mark: &Mark) -> Result<String, BlobError> {
    let call = bucket.client.create_multipart_upload();
    let call = call.bucket(bucket.name()).key(key).metadata(MARK, &mark.0);
    let call = match bucket.check {
        MultipartCheck::FullObject => call
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject),
        MultipartCheck::PartsOnly => call,
    };
    let begun = call.send().await;
    let begun =
        begun.map_err(|error| bucket.error(key, Problem::new("CreateMultipartUpload", &error)))?;
    begun.upload_id.ok_or_else(|| {
        let error = BlobError::new(bucket.location(key), BlobErrorKind::Other);
        error.because("CreateMultipartUpload: the answer has no upload id")
    })
}

struct Upload {
    bucket: Arc<Bucket>,
    key: String,
    id: String,
    mark: Mark,
    in_flight: JoinSet<Result<CompletedPart, Problem>>,
    sent: Vec<CompletedPart>,
    whole: Checksum,
}

impl Upload {
    /// Sends every part; true where the last one was among them.
    async fn send_all(&mut self, mut steps: mpsc::Receiver<Step>) -> Result<bool, BlobError> {
        let is_finished = loop {
            tokio::select! {
                Some(done) = self.in_flight.join_next() => self.note(done)?,
                step = steps.recv() => match step {
                    Some(Step::Part(part)) => self.send(part),
                    Some(Step::Finish(part)) => {
                        self.send(part);
                        break true;
                    }
                    None => break false,
                },
            }
        };
        while is_finished && let Some(done) = self.in_flight.join_next().await {
            self.note(done)?;
        }
        Ok(is_finished)
    }

    fn send(&mut self, part: Part) {
        self.whole = self.whole.then(part.checksum);
        let (key, id) = (self.key.clone(), self.id.clone());
        self.in_flight
            .spawn(send(Arc::clone(&self.bucket), key, id, part));
    }

    /// Takes the outcome of a part.
    fn note(
        &mut self,
        done: Result<Result<CompletedPart, Problem>, JoinError>,
    ) -> Result<(), BlobError> {
        match done {
            Ok(Ok(part)) => self.sent.push(part),
            Ok(Err(problem)) => return Err(self.failed(problem)),
            Err(error) => {
                let stopped = BlobError::new(self.bucket.location(&self.key), BlobErrorKind::Other);
                return Err(stopped.because(error));
            }
        }
        Ok(())
    }

    fn failed(&self, problem: Problem) -> BlobError {
        let mut error = self.bucket.error(&self.key, problem);
        if error.kind == BlobErrorKind::NotFound {
            // The upload is, not an object.
            error.kind = BlobErrorKind::Other;
        }
        error
    }

    /// Makes the object of its parts, under the condition of `mode`.
    async fn complete(&mut self, mode: &PutMode) -> Result<BlobInfo, BlobError> {
        self.sent.sort_by_key(|part| part.part_number);
        let parts =
            CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.sent)));
        let call = self.bucket.client.complete_multipart_upload();
        let call = call
            .bucket(self.bucket.name())
            .key(&self.key)
            .upload_id(&self.id);
        let call = call.multipart_upload(parts.build());
        let call = match self.bucket.check {
            MultipartCheck::FullObject => call
                .checksum_type(ChecksumType::FullObject)
                .checksum_crc64_nvme(self.whole.encoded())
                // No object is larger than an i64.
                .mpu_object_size(self.whole.bytes as i64),
            MultipartCheck::PartsOnly => call,
        };
        let call = match mode {
            PutMode::Create => call.if_none_match("*"),
            PutMode::Replace(Version(etag)) => call.if_match(etag),
        };
        let size = self.whole.bytes;
        let write = Write {
            key: &self.key,
            mode,
            mark: &self.mark,
            size,
        };
        match call
            .send()
            .await
            .map_err(|error| Problem::new("CompleteMultipartUpload", &error))
        {
            Ok(done) => match done.e_tag.map(Version) {
                Some(version) => Ok(BlobInfo { size, version }),
                None => self.bucket.version_of(&write).await,
            },
            // After a conflict the service wants the whole upload again, which only the caller can make.
            Err(problem) => self.bucket.settle(&write, problem).await,
        }
    }

    async fn abort(&mut self) -> Result<(), BlobError> {
        // A part that arrives after the abort would be kept.
        self.in_flight.shutdown().await;
        let aborted = tokio::time::timeout(ABORT, self.bucket.abort_upload(&self.key, &self.id));
        let error = match aborted.await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(problem)) => self.failed(problem),
            Err(_) => {
                let late = BlobError::new(self.bucket.location(&self.key), BlobErrorKind::Other);
                late.because("AbortMultipartUpload: no answer in time")
            }
        };
        tracing::warn!(%error, "an upload stays for the sweep and the lifecycle rule");
        Err(error)
    }
}

async fn send(
    bucket: Arc<Bucket>,
    key: String,
    id: String,
    part: Part,
) -> Result<CompletedPart, Problem> {
    let checksum = part.checksum.encoded();
    let call = bucket.client.upload_part().bucket(bucket.name());
    let call = call.key(key).upload_id(id).part_number(part.number);
    let call = call.checksum_crc64_nvme(&checksum);
    let call = call.body(ByteStream::from(part.bytes.clone())).customize();
    let sent = call.disable_payload_signing().send().await;
    let sent = sent.map_err(|error| Problem::new("UploadPart", &error))?;
    let completed = CompletedPart::builder().part_number(part.number);
    let completed = completed
        .set_e_tag(sent.e_tag)
        .checksum_crc64_nvme(checksum);
    Ok(completed.build())
}
