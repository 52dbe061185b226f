//! An object on its way in: gathers parts, and leaves the calls to a task of their own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::bucket::Bucket;
use super::part::{Buffers, Filling, Part, part_size};
use super::upload::{self, Failed, Step};
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobInfo, BlobWriter, PutMode};

/// Parts in memory at once: one that is filled and two on their way. Two keep a connection busy while
/// the third fills; more would cost 32 MiB for four transfers and win nothing where the source is a
/// podcast host.
const PARTS_IN_MEMORY: usize = 3;

/// Below one part it is a small object; the upload begins with the second.
#[derive(Debug)]
pub(super) struct S3Writer {
    bucket: Arc<Bucket>,
    key: String,
    mode: PutMode,
    buffers: Arc<Buffers>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was written yet.
    Empty,
    /// Less than a part, or exactly one.
    Small(Filling),
    /// More.
    Large(Filling, Upload),
    /// A write failed or was cancelled half-way: what was sent is unknown.
    Broken,
}

/// The task that makes the calls. It aborts the upload when `steps` ends before its last step.
#[derive(Debug)]
struct Upload {
    steps: mpsc::Sender<Step>,
    task: JoinHandle<Result<Option<BlobInfo>, Failed>>,
}

impl S3Writer {
    pub(super) fn new(bucket: Arc<Bucket>, key: String, mode: PutMode) -> Self {
        Self {
            bucket,
            key,
            mode,
            buffers: Buffers::new(PARTS_IN_MEMORY),
            state: State::Empty,
        }
    }

    fn error(&self, problem: &'static str) -> BlobError {
        let location = self.bucket.location(&self.key);
        BlobError::new(location, BlobErrorKind::Other).because(problem)
    }

    /// An empty part, as soon as there is a place for it.
    async fn next_part(&self, number: i32) -> Result<Filling, BlobError> {
        let Some(size) = part_size(number) else {
            return Err(self.error("larger than an object of 10000 parts can be"));
        };
        Ok(self.buffers.part(number, size).await)
    }

    fn begin_upload(&self) -> Upload {
        let (steps, received) = mpsc::channel(PARTS_IN_MEMORY);
        let bucket = Arc::clone(&self.bucket);
        let work = upload::run(bucket, self.key.clone(), self.mode.clone(), received);
        let task = tokio::spawn(work);
        Upload { steps, task }
    }

    /// Takes the state, and leaves it broken until it is put back.
    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Broken)
    }

    /// The part that takes the next bytes.
    async fn with_room(&self, state: State) -> Result<State, BlobError> {
        match state {
            State::Empty => Ok(State::Small(self.next_part(1).await?)),
            State::Small(part) if part.is_full() => {
                let upload = self.begin_upload();
                self.send(part, upload).await
            }
            State::Large(part, upload) if part.is_full() => self.send(part, upload).await,
            State::Broken => Err(self.broken()),
            state => Ok(state),
        }
    }

    /// Hands a full part on and begins the next.
    async fn send(&self, part: Filling, upload: Upload) -> Result<State, BlobError> {
        let next = part.number + 1;
        let sent = upload.steps.send(Step::Part(part.fill())).await;
        if sent.is_err() {
            return Err(self.failure(upload).await);
        }
        let part = self.next_part(next).await?;
        if upload.steps.is_closed() {
            // Its places became free because it failed.
            return Err(self.failure(upload).await);
        }
        Ok(State::Large(part, upload))
    }

    /// Why the task ended early.
    async fn failure(&self, upload: Upload) -> BlobError {
        match self.outcome(upload).await {
            Err(failed) => failed.error,
            Ok(_) => self.broken(),
        }
    }

    /// How the task ended.
    async fn outcome(&self, upload: Upload) -> Result<Option<BlobInfo>, Failed> {
        let Upload { steps, task } = upload;
        drop(steps);
        match task.await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Failed {
                    error: self.error("the program is stopping"),
                    is_discarded: false,
                }),
            },
        }
    }

    async fn finish_upload(&self, last: Part, upload: Upload) -> Result<BlobInfo, BlobError> {
        // One that failed no longer listens, and its outcome tells why.
        let _ = upload.steps.send(Step::Finish(last)).await;
        match self.outcome(upload).await {
            Ok(Some(info)) => Ok(info),
            Ok(None) => Err(self.broken()),
            Err(failed) => Err(failed.error),
        }
    }

    fn broken(&self) -> BlobError {
        self.error("an earlier write to the object did not succeed")
    }
}

#[async_trait]
impl BlobWriter for S3Writer {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            let state = self.take();
            self.state = self.with_room(state).await?;
            if let State::Small(part) | State::Large(part, _) = &mut self.state {
                part.take_from(&mut bytes);
            }
        }
        Ok(())
    }

    /// Whoever does not wait for it to end may find the object made later, whole and under the mode.
    async fn finish(mut self: Box<Self>) -> Result<BlobInfo, BlobError> {
        match self.take() {
            State::Empty => self.bucket.put(&self.key, Bytes::new(), &self.mode).await,
            State::Small(part) => {
                let part = part.fill();
                self.bucket
                    .put(&self.key, part.bytes.clone(), &self.mode)
                    .await
            }
            State::Large(last, upload) => self.finish_upload(last.fill(), upload).await,
            State::Broken => Err(self.broken()),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<(), BlobError> {
        match self.take() {
            State::Large(_, upload) => match self.outcome(upload).await {
                Err(failed) if !failed.is_discarded => Err(failed.error),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
