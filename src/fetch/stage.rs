//! The fetch worker's work: one job, from "is it done already" to the marker.
//!
//! ```text
//! meta.json there?  -> already done
//! audio without it? -> an earlier worker died between its two writes: fetch again, replace it
//! download          -> audio visible
//! other containers' audio from earlier tries is removed
//! the publisher's transcript, where there is one: an extra, whose failure is a warning
//! meta.json         -> create only, the last write: its existence says that the audio is complete
//! ```

use std::sync::Arc;

use async_trait::async_trait;

use super::config::FetchConfig;
use super::digest::Content;
use super::download::{AudioSink, Download, DownloadError, Downloader};
use super::measure::Measure;
use super::metered::MeteredGate;
use super::progress::Progress;
use super::rendition;
use super::transcript::TranscriptFetcher;
use crate::domain::{
    AudioContainer, ContentDigest, Episode, EpisodeId, Failure, FailureClass, FetchJob,
    PublisherTranscript, RawKey,
};
use crate::politeness::HostLimits;
use crate::raw::{AudioMeta, EpisodeMeta, RawError, RawStore, RedirectHop};
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobInfo, BlobWriter, PutMode};
use crate::runtime::clock::Clock;
use crate::runtime::http::header::{AsHeaderName, CONTENT_TYPE, ETAG, HeaderMap, LAST_MODIFIED};
use crate::runtime::http::{HopGate, HttpClient, SafeUrl};
use crate::runtime::retry::RetryPolicy;
use crate::runtime::telemetry::{Metrics, Observer};
use crate::runtime::worker::{FatalError, Stage, StageOutcome, WorkContext};

/// What every fetch works with.
#[derive(Debug, Clone)]
pub struct FetchStage {
    /// Where the audio goes.
    pub raw: RawStore,
    /// Sends the requests.
    pub client: HttpClient,
    /// Lets them through.
    pub gate: Arc<dyn HopGate>,
    /// Says which hosts count as one, in the numbers too.
    pub limits: Arc<HostLimits>,
    /// Sees the progress.
    pub observer: Arc<dyn Observer>,
    /// Caps.
    pub config: FetchConfig,
    /// Keeps the numbers.
    pub metrics: Arc<dyn Metrics>,
    /// Dates them.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Stage for FetchStage {
    type Job = FetchJob;

    async fn process(
        &self,
        job: FetchJob,
        context: &WorkContext,
    ) -> Result<StageOutcome, FatalError> {
        let episode = &job.episode;
        let mut progress = Progress::new(&*self.observer, &episode.id);
        let outcome = match self.fetch(episode, context, &mut progress).await {
            Ok(outcome) => outcome,
            Err(stop) => stop.outcome()?,
        };
        let transferred = progress.transferred();
        self.measure()
            .outcome(&episode.id, &outcome, context, transferred)
            .await;
        Ok(outcome)
    }

    fn title(job: &FetchJob) -> String {
        job.episode.title.clone()
    }
}

impl FetchStage {
    async fn fetch(
        &self,
        episode: &Episode,
        context: &WorkContext,
        progress: &mut Progress<'_>,
    ) -> Result<StageOutcome, Stop> {
        if self.raw.meta(&episode.id).await?.is_some() {
            return Ok(StageOutcome::AlreadyDone);
        }
        let left_over = self.raw.find_audio(&episode.id).await?;
        let download = match self.download(episode, context, &left_over, progress).await {
            Err(DownloadError::Store(error)) if error.kind.is_conflict() => {
                return self.overtaken(&episode.id).await;
            }
            done_or_failed => done_or_failed?,
        };
        for (container, _) in left_over {
            if container == download.container {
                continue;
            }
            // It may be what another worker, which holds the lease by now, is about to finish.
            if !context.lease.still_held().await {
                return Ok(StageOutcome::Interrupted);
            }
            self.raw.delete_audio(&episode.id, container).await?;
        }
        self.discard_unfinished(episode, context).await;
        let transcript = self.transcript(episode, context).await;
        self.publish(episode, context, &download, transcript).await
    }

    /// Discards what earlier owners, and answers that were lost, left half written: storage that is paid
    /// for and that nobody sees. The episode does not depend on it.
    async fn discard_unfinished(&self, episode: &Episode, context: &WorkContext) {
        if !context.lease.still_held().await {
            return;
        }
        if let Err(error) = self.raw.discard_unfinished(&episode.id).await {
            tracing::warn!(%error, "cannot discard what is left half written of an episode");
        }
    }

    /// The publisher's transcript, stored; `None` where there is none to be had.
    async fn transcript(
        &self,
        episode: &Episode,
        context: &WorkContext,
    ) -> Option<PublisherTranscript> {
        let gate = self.gate();
        let fetcher = TranscriptFetcher {
            client: &self.client,
            gate: &gate,
            max_bytes: self.config.max_transcript_bytes,
            cancel: &context.cancel,
        };
        let found = fetcher.best(&episode.transcripts).await?;
        let (bytes, sha256) = (found.bytes.len() as u64, ContentDigest::of(&found.bytes));
        let stored = self
            .raw
            .put_publisher_transcript(&episode.id, found.format, found.bytes)
            .await;
        let key = match stored {
            Ok(key) => key,
            Err(error) => {
                tracing::warn!(%error, "the publisher's transcript is not stored");
                return None;
            }
        };
        Some(PublisherTranscript {
            key,
            format: found.format,
            bytes,
            sha256,
            language: found.link.language.clone(),
            url: SafeUrl::from_text(&found.link.url).to_string(),
            fetched_at: self.clock.now(),
        })
    }

    fn gate(&self) -> MeteredGate {
        MeteredGate {
            inner: Arc::clone(&self.gate),
            limits: Arc::clone(&self.limits),
            measure: self.measure(),
        }
    }

    async fn download(
        &self,
        episode: &Episode,
        context: &WorkContext,
        left_over: &[(AudioContainer, BlobInfo)],
        progress: &mut Progress<'_>,
    ) -> Result<Download, DownloadError> {
        let gate = self.gate();
        let downloader = Downloader {
            client: &self.client,
            gate: &gate,
            config: &self.config,
            retry: RetryPolicy::TRANSFER,
            cancel: &context.cancel,
            lease: &*context.lease,
        };
        let sink = RawSink {
            raw: &self.raw,
            episode: &episode.id,
            left_over,
        };
        downloader
            .run(&episode.enclosure.url, &sink, progress)
            .await
    }

    /// Writes the marker. The lease is asked once more: between the audio and its meta, another worker
    /// that holds it may have begun to replace the audio that this meta describes.
    async fn publish(
        &self,
        episode: &Episode,
        context: &WorkContext,
        download: &Download,
        transcript: Option<PublisherTranscript>,
    ) -> Result<StageOutcome, Stop> {
        if !context.lease.still_held().await {
            return Ok(StageOutcome::Interrupted);
        }
        let mut meta = self.meta(episode, context, download);
        meta.publisher_transcript = transcript;
        if let Some(odd) = meta.rendition.as_ref().filter(|r| !r.suspicious.is_empty()) {
            let why = &odd.suspicious;
            tracing::warn!(episode = %episode.id, ?why, "stored, but it may not be the episode");
        }
        match self.raw.put_meta(&meta).await {
            Ok(()) => Ok(StageOutcome::Done {
                amount: download.info.size,
            }),
            Err(error) if error.blob_kind() == Some(BlobErrorKind::AlreadyExists) => {
                Ok(StageOutcome::AlreadyDone)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody else's audio became visible during the download. If that one is finished there is
    /// nothing left to do; otherwise another try finds it left over, and replaces it.
    async fn overtaken(&self, episode: &EpisodeId) -> Result<StageOutcome, Stop> {
        if self.raw.meta(episode).await?.is_some() {
            return Ok(StageOutcome::AlreadyDone);
        }
        let problem = format!("{episode}: another worker stored its audio at the same time");
        let failure = Failure::new(FailureClass::Storage, problem);
        Ok(StageOutcome::Failed(failure))
    }

    fn meta(&self, episode: &Episode, context: &WorkContext, download: &Download) -> EpisodeMeta {
        let redirects = download.hops.iter().map(|hop| RedirectHop {
            url: hop.url.clone(),
            status: hop.status,
        });
        let fetched_at = self.clock.now();
        EpisodeMeta {
            schema_version: EpisodeMeta::SCHEMA_VERSION,
            feed_slug: episode.id.feed_slug.clone(),
            guid: episode.id.guid.clone(),
            title: episode.title.clone(),
            published: episode.published,
            duration_s: episode.duration_s,
            transcript_key: None,
            audio: AudioMeta {
                key: RawKey::Audio(&episode.id, download.container).to_string(),
                bytes: download.info.size,
                sha256: download.content.sha256.clone(),
                container: download.container,
                content_type: header(&download.headers, CONTENT_TYPE),
                etag: header(&download.headers, ETAG),
                last_modified: header(&download.headers, LAST_MODIFIED),
                fetched_at,
            },
            rendition: Some(rendition::describe(
                episode,
                download,
                &self.config.ads,
                fetched_at,
            )),
            publisher_transcript: None,
            enclosure: episode.enclosure.clone(),
            redirects: redirects.collect(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            attempts: context.failures + 1,
        }
    }

    fn measure(&self) -> Measure {
        Measure {
            metrics: Arc::clone(&self.metrics),
            clock: Arc::clone(&self.clock),
        }
    }
}

/// Most bytes of a header that are kept; a host may send hundreds of kilobytes.
const MAX_HEADER: usize = 1024;

/// The beginning of a header as text, with what is none of it replaced.
fn header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    let kept = &value[..value.len().min(MAX_HEADER)];
    Some(String::from_utf8_lossy(kept).into_owned())
}

/// One episode's audio in the raw store. What an earlier worker left is replaced by its version, so
/// that nothing is overwritten which this worker has not seen.
#[derive(Debug)]
struct RawSink<'a> {
    raw: &'a RawStore,
    episode: &'a EpisodeId,
    left_over: &'a [(AudioContainer, BlobInfo)],
}

#[async_trait]
impl AudioSink for RawSink<'_> {
    async fn open(&self, container: AudioContainer) -> Result<Box<dyn BlobWriter>, BlobError> {
        let same = self.left_over.iter().find(|(kind, _)| *kind == container);
        let mode = match same {
            Some((_, info)) => PutMode::Replace(info.version.clone()),
            None => PutMode::Create,
        };
        self.raw.create_audio(self.episode, container, mode).await
    }

    async fn find(&self, container: AudioContainer, content: &Content) -> Option<BlobInfo> {
        let found = self
            .raw
            .find_same(self.episode, container, content.bytes, &content.sha256)
            .await;
        // The failure that led here is the one to tell.
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot tell whether the audio was stored all the same");
            None
        })
    }
}

/// Why an episode was not fetched.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error(transparent)]
    Raw(#[from] RawError),
}

impl Stop {
    /// What the worker makes of it.
    fn outcome(self) -> Result<StageOutcome, FatalError> {
        match self {
            Self::Download(DownloadError::Failed(failure)) => Ok(StageOutcome::Failed(failure)),
            Self::Download(DownloadError::Interrupted) => Ok(StageOutcome::Interrupted),
            Self::Download(DownloadError::Store(error)) | Self::Raw(RawError::Blob(error)) => {
                FatalError::or_failure(&error).map(StageOutcome::Failed)
            }
            Self::Raw(error) => Ok(StageOutcome::Failed(error.into())),
        }
    }
}
