//! The transcribe worker's work on one job.
//!
//! While it works, finished windows are kept beside the results, so that another worker can go on from
//! them. Order of the writes, each safe to repeat: transcript, subtitles and segments; `kpis.json`, whose
//! existence says that the rest is complete; `transcript_key` in the episode's `meta.json`; then the
//! worker advances the checkpoint. A worker that finds `kpis.json` only mends what may be missing
//! behind it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::formats::{FinishedTranscript, Output, OutputFormat};
use super::kpis::{Kpis, Measured, TimedStage, Timings, peak_rss_bytes};
use super::publisher::reuse;
use super::sequential::{Watch, WindowCounts};
use super::source::{BlobSource, MediaBytes};
use super::stage_shelf::StageShelf;
use super::transcriber::{HearError, Heard, Transcriber};
use crate::domain::{EpisodeId, Failure, FailureClass, StageKey, StageName, TranscribeJob};
use crate::raw::{EpisodeMeta, RawError, RawStore};
use crate::runtime::clock::Clock;
use crate::runtime::telemetry::metric::{AUDIO_SECONDS, TRANSCRIBE_SPEED};
use crate::runtime::telemetry::{Datum, Event, Metrics, Observer, Unit};
use crate::runtime::worker::{FatalError, Stage, StageOutcome, WorkContext};
use crate::stage::{Overwrite, Product, StageError, StageStore};

/// Transcribes episodes of the raw store into the stage store.
#[derive(Debug)]
pub struct TranscribeStage {
    /// Where the audio is.
    pub raw: RawStore,
    /// Where transcripts go.
    pub stage: StageStore,
    /// Who hears it.
    pub transcriber: Transcriber,
    /// What is written beyond the three formats that always are, and how cues look.
    pub output: Output,
    /// Whether a publisher's own transcript takes the place of the model's.
    pub reuse_transcripts: bool,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// Where figures go.
    pub metrics: Arc<dyn Metrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Stage for TranscribeStage {
    type Job = TranscribeJob;

    async fn process(
        &self,
        job: TranscribeJob,
        context: &WorkContext,
    ) -> Result<StageOutcome, FatalError> {
        match self.work(&job.episode, context).await {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Failed(failure)) => Ok(StageOutcome::Failed(failure)),
            Err(Stop::Interrupted) => Ok(StageOutcome::Interrupted),
            Err(Stop::Fatal(error)) => Err(error),
        }
    }

    fn title(_: &TranscribeJob) -> String {
        String::new()
    }
}

/// Why the work on one episode ended early.
enum Stop {
    Failed(Failure),
    Interrupted,
    Fatal(FatalError),
}

impl From<RawError> for Stop {
    fn from(error: RawError) -> Self {
        match error.is_fatal() {
            true => Self::Fatal(FatalError::new(error.to_string())),
            false => Self::Failed(error.into()),
        }
    }
}

impl From<StageError> for Stop {
    fn from(error: StageError) -> Self {
        match error.is_fatal() {
            true => Self::Fatal(FatalError::new(error.to_string())),
            false => Self::Failed(error.into()),
        }
    }
}

impl From<HearError> for Stop {
    fn from(error: HearError) -> Self {
        match error {
            HearError::Cancelled => Self::Interrupted,
            HearError::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl TranscribeStage {
    async fn work(&self, episode: &EpisodeId, context: &WorkContext) -> Result<StageOutcome, Stop> {
        let transcript_key = StageKey::Transcript(episode).to_string();
        if self.stage.is_complete(episode).await? {
            self.drop_parts(episode).await;
            self.raw
                .set_transcript_key(episode, &transcript_key)
                .await?;
            return Ok(StageOutcome::AlreadyDone);
        }
        let Some((meta, _)) = self.raw.meta(episode).await? else {
            let problem =
                format!("{episode} has no audio in the raw store; `podrun fetch` brings it");
            return Err(Stop::Failed(Failure::new(FailureClass::NotFound, problem)));
        };
        let reused = self.reused(&meta).await;
        let is_reused = reused.is_some();
        let heard = match reused {
            Some(heard) => heard,
            None => self.hear(meta, context.cancel.clone()).await?,
        };
        if !context.lease.still_held().await {
            return Err(Stop::Interrupted);
        }
        let amount = (heard.transcript.duration * 1000.0) as u64;
        self.write(episode, &heard).await?;
        self.raw
            .set_transcript_key(episode, &transcript_key)
            .await?;
        if !is_reused && !heard.is_resumed {
            self.measure(&heard).await;
        }
        Ok(StageOutcome::Done {
            amount: amount.max(1),
        })
    }

    /// The publisher's own transcript, where it is wanted and can be used.
    async fn reused(&self, meta: &EpisodeMeta) -> Option<Heard> {
        if !self.reuse_transcripts {
            return None;
        }
        let started = Instant::now();
        let language = self.transcriber.options.language.as_deref();
        let reused = reuse(&self.raw, meta, language).await?;
        let mut timings = Timings::default();
        timings.total = started.elapsed();
        Some(Heard {
            transcript: reused.transcript,
            made_by: reused.made_by,
            options: reused.options,
            windows: WindowCounts::default(),
            timings,
            damage: None,
            speech_seconds: None,
            uncovered_speech_seconds: None,
            is_resumed: false,
        })
    }

    /// Decodes and transcribes on a thread of its own: neither belongs on the async runtime.
    async fn hear(&self, meta: EpisodeMeta, cancel: CancellationToken) -> Result<Heard, Stop> {
        let hearing = Hearing {
            blobs: self.raw.clone(),
            stage: self.stage.clone(),
            meta,
            transcriber: self.transcriber.clone(),
            observer: Arc::clone(&self.observer),
            runtime: Handle::current(),
            cancel,
        };
        tokio::task::spawn_blocking(move || hearing.run())
            .await
            .map_err(|error| {
                let problem = format!("the transcription ended unexpectedly: {error}");
                Stop::Failed(Failure::new(FailureClass::Engine, problem))
            })?
    }

    async fn write(&self, episode: &EpisodeId, heard: &Heard) -> Result<(), Stop> {
        let product = self.product(episode, heard);
        match self.stage.put(episode, &product, Overwrite::Never).await {
            // Somebody else was faster, with the same audio: theirs is as good.
            Ok(_) | Err(StageError::AlreadyComplete { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.drop_parts(episode).await;
        Ok(())
    }

    fn product(&self, episode: &EpisodeId, heard: &Heard) -> Product {
        let started = Instant::now();
        let finished = FinishedTranscript {
            episode,
            transcript: &heard.transcript,
            model: &heard.made_by.model,
        };
        let layout = &self.output.layout;
        let render = |format: OutputFormat| Bytes::from(format.render(&finished, layout));
        let extra = self.output.extra.iter().filter_map(|format| {
            let key = format.extra()?;
            Some((key, render(*format)))
        });
        let mut product = Product {
            transcript: render(OutputFormat::TranscriptJson),
            vtt: render(OutputFormat::Vtt),
            segments: render(OutputFormat::SegmentsJsonl),
            extra: extra.collect(),
            kpis: Bytes::new(),
        };
        let mut timings = heard.timings.clone();
        timings.add(TimedStage::Write, started.elapsed());
        let kpis = Kpis::new(Measured {
            episode,
            transcript: &heard.transcript,
            windows: heard.windows,
            timings: &timings,
            engine: &heard.made_by,
            options: heard.options.clone(),
            damaged: heard.damage.is_some(),
            speech_seconds: heard.speech_seconds,
            uncovered_speech_seconds: heard.uncovered_speech_seconds,
            is_resumed: heard.is_resumed,
            peak_rss_bytes: peak_rss_bytes(),
            podrun_version: env!("CARGO_PKG_VERSION"),
            created_at: self.clock.now(),
        });
        product.kpis = kpis.render().into();
        product
    }

    /// What is left is in nobody's way.
    async fn drop_parts(&self, episode: &EpisodeId) {
        if let Err(error) = self.stage.drop_parts(episode).await {
            tracing::warn!(%episode, %error, "cannot remove the finished parts of an episode");
        }
    }

    /// Figures are worth a warning, never the episode.
    async fn measure(&self, heard: &Heard) {
        let at = self.clock.now();
        let datum = |name, value, unit| Datum {
            name,
            dimension: ("model", self.transcriber.engine.info().model.clone()),
            value,
            unit,
            at,
        };
        let seconds = heard.transcript.duration;
        let elapsed = heard.timings.total.as_secs_f64().max(1e-3);
        let data = [
            datum(AUDIO_SECONDS, seconds, Unit::Seconds),
            datum(TRANSCRIBE_SPEED, seconds / elapsed, Unit::None),
        ];
        if let Err(error) = self.metrics.record(&data).await {
            tracing::warn!(%error, "cannot record metrics");
        }
    }
}

/// One episode's way through decoder, features and model. Blocks.
struct Hearing {
    blobs: RawStore,
    stage: StageStore,
    meta: EpisodeMeta,
    transcriber: Transcriber,
    observer: Arc<dyn Observer>,
    runtime: Handle,
    cancel: CancellationToken,
}

impl Hearing {
    fn run(self) -> Result<Heard, Stop> {
        let open = || -> std::io::Result<Box<dyn MediaBytes>> {
            let source = BlobSource::open(
                Arc::clone(self.blobs.blobs()),
                &self.meta.audio.key,
                self.runtime.clone(),
            )?;
            Ok(Box::new(source))
        };
        let mut watch = Progress {
            observer: Arc::clone(&self.observer),
            episode: self.meta.episode(),
            cancel: self.cancel.clone(),
        };
        let mut shelf = StageShelf::new(
            self.stage.clone(),
            self.meta.episode(),
            &self.meta.audio.sha256,
            &self.transcriber,
            self.runtime.clone(),
        );
        let heard = self
            .transcriber
            .hear_on(&open, &mut watch, &mut shelf, &self.cancel);
        Ok(heard?)
    }
}

/// Tells how far it is, and whether to go on.
struct Progress {
    observer: Arc<dyn Observer>,
    episode: EpisodeId,
    cancel: CancellationToken,
}

impl Watch for Progress {
    fn progress(&mut self, seconds: f64, total: Option<f64>) {
        self.observer.event(&Event::EpisodeProgress {
            stage: StageName::Transcribe,
            episode: self.episode.clone(),
            done: (seconds * 1000.0) as u64,
            total: total.map(|total| (total * 1000.0) as u64),
        });
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
