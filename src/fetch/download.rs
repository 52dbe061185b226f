//! One episode's bytes, from its URL into a writer, recognised before the first of them is stored.
//!
//! ```text
//! follow redirects -> first 64 KiB -> sniff -> open the writer -> blocks: hash, write -> lease -> finish
//! ```
//!
//! Memory is one window, one block and what the writer holds, however long the episode is. A transfer
//! that breaks is continued within the same attempt where that is safe; across attempts and processes
//! nothing is kept, and the next one begins anew.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::config::FetchConfig;
use super::digest::{Content, Passing};
use super::progress::Progress;
use super::sniff::{self, sniff};
use super::transfer::Transfer;
use crate::domain::{AudioContainer, Failure, FailureClass};
use crate::feeds::media_url::without_prefixes;
use crate::runtime::blob::{BlobError, BlobInfo, BlobWriter};
use crate::runtime::http::header::HeaderMap;
use crate::runtime::http::{Get, Hop, HopGate, HttpClient, follow};
use crate::runtime::retry::RetryPolicy;
use crate::runtime::worker::LeaseCheck;

/// Any audio, then anything: some servers answer 406 to a narrower wish, and the bytes decide anyway.
const ACCEPT: &str = "audio/*, */*;q=0.9";

/// Where the audio goes, once it is known what it is.
#[async_trait]
pub trait AudioSink: Debug + Send + Sync {
    /// Opens the object for audio of this kind.
    async fn open(&self, container: AudioContainer) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// The visible object of this kind, if its bytes are those of `content`. Asked when making it
    /// visible failed: the store may have done it and lost its answer.
    async fn find(&self, container: AudioContainer, content: &Content) -> Option<BlobInfo>;
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
    /// What it is made of.
    pub content: Content,
    /// The coding that the host put on it unasked.
    pub coding: Option<&'static str>,
    /// Nothing but the end of the connection told that it is whole.
    pub is_open_ended: bool,
    /// How often the transfer was continued after it broke.
    pub resumes: u32,
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
    /// Fetches `url` into `sink`. Transient failures are tried again on the spot. Whatever it returns
    /// but success, nothing is visible in the store.
    pub async fn run(
        &self,
        url: &str,
        sink: &dyn AudioSink,
        progress: &mut Progress<'_>,
    ) -> Result<Download, DownloadError> {
        let mut request = Get::try_new(url, ACCEPT)?;
        let mut failures = 0;
        loop {
            let failure = match self.attempt(&request, sink, progress).await {
                Err(_) if self.cancel.is_cancelled() => return Err(DownloadError::Interrupted),
                Err(DownloadError::Failed(failure)) => failure,
                done_or_worse => return done_or_worse,
            };
            let mended = self.unwrapped(&request, &failure);
            if let Some(url) = mended.or_else(|| unescaped(&request.url, &failure)) {
                // Once each: what is left has no prefix and no reference any more.
                request.url = url;
                continue;
            }
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

    /// The address behind measuring services, one of which is gone.
    fn unwrapped(&self, request: &Get, failure: &Failure) -> Option<Url> {
        let is_gone = failure.class == FailureClass::NoSuchHost;
        if is_gone && self.config.unwrap_dead_prefixes {
            without_prefixes(&request.url)
        } else {
            None
        }
    }

    /// Waits before a broken transfer is continued for the n-th time; ends early when cancelled.
    pub(super) async fn pause(&self, nth: u32) {
        let delay = self.retry.jittered(nth).unwrap_or(self.retry.cap);
        // A cancelled request fails right after this.
        let _ = self.sleep(delay).await;
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
        progress.begin(answer.body.expected());
        let mut transfer = Transfer::new(self, request, answer);
        let stored = self.store(&mut transfer, sink, progress).await;
        transfer.close().await;
        progress.end();
        stored
    }

    async fn store(
        &self,
        transfer: &mut Transfer<'_>,
        sink: &dyn AudioSink,
        progress: &mut Progress<'_>,
    ) -> Result<Download, DownloadError> {
        transfer.check_headers()?;
        let head = transfer.head(sniff::WINDOW, progress).await?;
        if head.is_empty() {
            return Err(transfer
                .failure(FailureClass::Empty, "the body is empty")
                .into());
        }
        let container = sniff(&head).map_err(|problem| {
            let class = match problem.looks_like {
                sniff::HLS => FailureClass::UnsupportedHls,
                _ => FailureClass::NotAudio,
            };
            transfer.failure(class, &format!("is no audio: {problem}"))
        })?;
        let mut writer = sink.open(container).await?;
        let written = copy(transfer, head, container, &mut *writer, progress).await;
        let content = match written {
            Ok(content) if self.lease.still_held().await => content,
            not_ours => {
                writer.abort().await?;
                return Err(not_ours.err().unwrap_or(DownloadError::Interrupted));
            }
        };
        let info = match writer.finish().await {
            Ok(info) => info,
            Err(error) => sink.find(container, &content).await.ok_or(error)?,
        };
        Ok(Download {
            info,
            container,
            content,
            coding: transfer.coding(),
            is_open_ended: transfer.is_open_ended(),
            resumes: transfer.resumes(),
            hops: transfer.hops().to_vec(),
            headers: transfer.headers().clone(),
            final_url: transfer.url().to_string(),
        })
    }
}

/// The address without references, where the host does not know it with them: feeds that escape their
/// addresses twice leave `&amp;` in them.
fn unescaped(url: &Url, failure: &Failure) -> Option<Url> {
    let text = url.as_str();
    if failure.class != FailureClass::NotFound || !text.contains("&amp;") {
        return None;
    }
    let mut plain = text.to_owned();
    while plain.contains("&amp;") {
        plain = plain.replace("&amp;", "&");
    }
    Url::parse(&plain).ok()
}

/// Hashes and writes until the file's end. The bytes are not copied: at the rates that a network can
/// have, each copy costs as much as a checksum.
async fn copy(
    transfer: &mut Transfer<'_>,
    head: Bytes,
    container: AudioContainer,
    writer: &mut dyn BlobWriter,
    progress: &mut Progress<'_>,
) -> Result<Content, DownloadError> {
    let mut passing = Passing::new(container);
    let mut next = Some(head);
    while let Some(bytes) = next {
        passing.push(&bytes);
        writer.write(bytes).await?;
        next = transfer.next(progress).await?;
    }
    let content = passing.finish();
    // A tag that fills the window is taken on trust; here is the whole file.
    let has_no_frame = content.audio_share.is_some() && content.duration_s.is_none();
    if has_no_frame && content.bytes > sniff::WINDOW as u64 {
        let problem = "is no audio: a tag without a single frame behind it";
        return Err(transfer.failure(FailureClass::NotAudio, problem).into());
    }
    Ok(content)
}
