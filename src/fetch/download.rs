//! One episode's bytes, from its URL into a writer, recognised before the first of them is stored.
//!
//! ```text
//! follow redirects -> first 64 KiB -> sniff -> open the writer -> blocks: hash, write -> lease -> finish
//! ```
//!
//! Memory is one window, one block and what the writer holds, however long the episode is.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::FetchConfig;
use super::progress::Progress;
use super::sniff::{self, sniff};
use crate::domain::{AudioContainer, ContentDigest, Failure, FailureClass};
use crate::runtime::blob::{BlobError, BlobInfo, BlobWriter};
use crate::runtime::http::header::HeaderMap;
use crate::runtime::http::{Answer, Get, Hop, HopGate, HttpClient, SafeUrl, follow};
use crate::runtime::retry::RetryPolicy;
use crate::runtime::worker::LeaseCheck;

/// Any audio, then anything: some servers answer 406 to a narrower wish, and the bytes decide anyway.
const ACCEPT: &str = "audio/*, */*;q=0.9";

/// Bytes hashed and written at once. SHA-256 takes about 0.2 ms for them, short enough to stay on the
/// async runtime, and a store that hands each write to another thread does so a few hundred times an
/// episode instead of thousands.
const BLOCK: usize = 256 * 1024;

/// Where the audio goes, once it is known what it is.
#[async_trait]
pub trait AudioSink: Debug + Send + Sync {
    /// Opens the object for audio of this kind.
    async fn open(&self, container: AudioContainer) -> Result<Box<dyn BlobWriter>, BlobError>;
}

/// What every download works with.
#[derive(Debug, Clone, Copy)]
pub struct Downloader<'a> {
    /// Sends the requests.
    pub client: &'a HttpClient,
    /// Lets them through.
    pub gate: &'a dyn HopGate,
    /// Caps.
    pub config: &'a FetchConfig,
    /// When to try again on the spot.
    pub retry: RetryPolicy,
    /// Ends it.
    pub cancel: &'a CancellationToken,
    /// Asked before the audio becomes visible.
    pub lease: &'a dyn LeaseCheck,
}

/// What was stored, and where it came from.
#[derive(Debug, Clone)]
pub struct Download {
    /// The visible object.
    pub info: BlobInfo,
    /// Its kind.
    pub container: AudioContainer,
    /// Its hash.
    pub sha256: ContentDigest,
    /// The requests that led to it.
    pub hops: Vec<Hop>,
    /// What the answer's headers say of it.
    pub headers: HeaderMap,
    /// The last URL, redacted.
    pub final_url: String,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The host, the network or the file.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The store.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// The cancellation fired, or the lease is somebody else's.
    #[error("interrupted")]
    Interrupted,
}

impl Downloader<'_> {
    /// Fetches `url` into `sink`. Transient failures are tried again on the spot, from the start: a
    /// range of a file with inserted advertisements may belong to another file. Whatever it returns
    /// but success, nothing is visible in the store.
    pub async fn run(
        &self,
        url: &str,
        sink: &dyn AudioSink,
        progress: &mut Progress<'_>,
    ) -> Result<Download, DownloadError> {
        let request = Get::try_new(url, ACCEPT)?;
        let mut failures = 0;
        loop {
            let failure = match self.attempt(&request, sink, progress).await {
                Err(_) if self.cancel.is_cancelled() => return Err(DownloadError::Interrupted),
                Err(DownloadError::Failed(failure)) => failure,
                done_or_worse => return done_or_worse,
            };
            failures += 1;
            match self.next_try(&failure, failures) {
                Some(delay) => self.sleep(delay).await?,
                None => return Err(failure.into()),
            }
        }
    }

    fn next_try(&self, failure: &Failure, failures: u32) -> Option<Duration> {
        // A server that names a time is not asked before; the queue waits better than a worker.
        let may_try = failure.class.may_pass_at_once() && failure.retry_after.is_none();
        may_try.then(|| self.retry.jittered(failures)).flatten()
    }

    async fn sleep(&self, delay: Duration) -> Result<(), DownloadError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(DownloadError::Interrupted),
            () = tokio::time::sleep(delay) => Ok(()),
        }
    }

    async fn attempt(
        &self,
        request: &Get,
        sink: &dyn AudioSink,
        progress: &mut Progress<'_>,
    ) -> Result<Download, DownloadError> {
        let answer = follow(self.client, request.clone(), self.gate, self.cancel).await?;
        let url = SafeUrl::new(&answer.final_url);
        progress.begin(answer.body.expected());
        let mut transfer = Transfer {
            answer,
            url,
            limit: self.config.max_bytes,
            // From here on: waiting for the host's turn is nothing that the file did.
            deadline: Instant::now() + self.config.max_duration,
            max_duration: self.config.max_duration,
        };
        let stored = self.store(&mut transfer, sink, progress).await;
        // The pass goes back whatever happened; after the body's end this does nothing.
        transfer.answer.body.close().await;
        progress.end();
        stored
    }

    async fn store(
        &self,
        transfer: &mut Transfer,
        sink: &dyn AudioSink,
        progress: &mut Progress<'_>,
    ) -> Result<Download, DownloadError> {
        transfer.check_length()?;
        let head = transfer.block(sniff::WINDOW, progress).await?;
        if head.is_empty() {
            return Err(transfer
                .failure(FailureClass::Empty, "the body is empty")
                .into());
        }
        let container = sniff(&head).map_err(|problem| {
            transfer.failure(FailureClass::NotAudio, &format!("is no audio: {problem}"))
        })?;
        let mut writer = sink.open(container).await?;
        let written = copy(transfer, head, &mut *writer, progress).await;
        let sha256 = match written {
            Ok(hasher) if self.lease.still_held().await => ContentDigest::from_hasher(hasher),
            not_ours => {
                writer.abort().await?;
                return Err(not_ours.err().unwrap_or(DownloadError::Interrupted));
            }
        };
        Ok(Download {
            info: writer.finish().await?,
            container,
            sha256,
            hops: transfer.answer.hops.clone(),
            headers: transfer.answer.headers.clone(),
            final_url: transfer.url.to_string(),
        })
    }
}

/// Hashes and writes block by block until the body's end.
async fn copy(
    transfer: &mut Transfer,
    head: Bytes,
    writer: &mut dyn BlobWriter,
    progress: &mut Progress<'_>,
) -> Result<Sha256, DownloadError> {
    let mut hasher = Sha256::new();
    let mut block = head;
    while !block.is_empty() {
        hasher.update(&block);
        writer.write(block).await?;
        block = transfer.block(BLOCK, progress).await?;
    }
    Ok(hasher)
}

/// A body with its caps.
struct Transfer {
    answer: Answer,
    url: SafeUrl,
    limit: u64,
    deadline: Instant,
    max_duration: Duration,
}

impl Transfer {
    fn failure(&self, class: FailureClass, problem: &str) -> Failure {
        Failure::new(class, format!("{}: {problem}", self.url))
    }

    fn check_length(&self) -> Result<(), Failure> {
        match self.answer.body.expected() {
            Some(length) if length > self.limit => Err(self.too_large(length)),
            _ => Ok(()),
        }
    }

    fn too_large(&self, length: u64) -> Failure {
        let problem = format!("{length} bytes are over the cap of {} bytes", self.limit);
        self.failure(FailureClass::TooLarge, &problem)
    }

    /// At least `wanted` bytes, fewer only at the body's end; none after it. More by at most what the
    /// connection's buffer held.
    async fn block(
        &mut self,
        wanted: usize,
        progress: &mut Progress<'_>,
    ) -> Result<Bytes, Failure> {
        let mut block = BytesMut::new();
        while block.len() < wanted {
            if Instant::now() >= self.deadline {
                let problem = format!("not finished within {:?}", self.max_duration);
                return Err(self.failure(FailureClass::TooLarge, &problem));
            }
            let Some(bytes) = self.answer.body.next().await? else {
                break;
            };
            let received = self.answer.body.received();
            progress.received(received);
            if received > self.limit {
                return Err(self.too_large(received));
            }
            block.reserve(wanted.saturating_sub(block.len()).max(bytes.len()));
            block.extend_from_slice(&bytes);
        }
        Ok(block.freeze())
    }
}
