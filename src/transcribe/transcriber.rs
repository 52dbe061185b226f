//! One media file in, its transcript out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::batched::{Batched, BatchedError, NoShelf, Shelf};
use super::decode::DecodeError;
use super::engine::{EngineInfo, MelWindow};
use super::features::{FeatureError, FeatureStream, scan};
use super::kpis::{TimedStage, Timings};
use super::options::{Mode, TranscribeOptions};
use super::sequential::{
    TranscribeError, Transcription, Watch, WindowCounts, WindowSource, transcribe,
};
use super::source::OpenMedia;
use super::thread::EngineHandle;
use super::tokenizer::Tokenizer;
use crate::domain::{Failure, FailureClass, Transcript};

/// A model and how to use it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transcriber {
    /// The model.
    pub engine: EngineHandle,
    /// Its vocabulary.
    pub tokenizer: Arc<Tokenizer>,
    /// How to decode.
    pub options: TranscribeOptions,
}

/// What hearing a file gave.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The text and its times.
    pub transcript: Transcript,
    /// Who heard it.
    pub made_by: EngineInfo,
    /// How: the options as an object with lower-case keys.
    pub options: serde_json::Value,
    /// How the windows fared.
    pub windows: WindowCounts,
    /// How long it took.
    pub timings: Timings,
    /// What is wrong with the file, if anything; what could be decoded was transcribed.
    pub damage: Option<String>,
    /// How much was taken for speech, in seconds; known in [`Mode::Batched`].
    pub speech_seconds: Option<f64>,
    /// How much of that came to no words.
    pub uncovered_speech_seconds: Option<f64>,
    /// Whether an earlier run did a part of it; [`timings`](Self::timings) are of this run alone.
    pub is_resumed: bool,
}

/// A file was not heard to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HearError {
    /// The cancellation fired.
    #[error("the transcription was cancelled")]
    Cancelled,
    /// The file, its store or the model failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Transcriber {
    /// Hears the file that `open` opens, from its beginning to its end. Blocks for as long as that
    /// takes; not for the async runtime.
    pub fn hear(
        &self,
        open: &OpenMedia<'_>,
        watch: &mut dyn Watch,
        cancel: &CancellationToken,
    ) -> Result<Heard, HearError> {
        self.hear_on(open, watch, &mut NoShelf, cancel)
    }

    /// As [`hear`](Self::hear), from where an earlier run came to, as far as that is on the `shelf`.
    /// What is finished when the cancellation fires is put there. [`Mode::Sequential`] does not use it:
    /// there, each window depends on the ones before.
    pub fn hear_on(
        &self,
        open: &OpenMedia<'_>,
        watch: &mut dyn Watch,
        shelf: &mut dyn Shelf,
        cancel: &CancellationToken,
    ) -> Result<Heard, HearError> {
        let started = Instant::now();
        let mut heard = match self.options.mode {
            Mode::Batched => self.batched(open, watch, shelf, cancel),
            Mode::Sequential => self.sequential(open, watch, cancel),
        }?;
        heard.timings.total = started.elapsed();
        Ok(heard)
    }

    fn batched(
        &self,
        open: &OpenMedia<'_>,
        watch: &mut dyn Watch,
        shelf: &mut dyn Shelf,
        cancel: &CancellationToken,
    ) -> Result<Heard, HearError> {
        let batched = Batched {
            engine: &self.engine,
            tokenizer: &self.tokenizer,
            options: &self.options,
            open,
            cancel,
        };
        let result = batched.run(watch, shelf).map_err(|error| match error {
            BatchedError::Feature(error) => unreadable(error),
            BatchedError::Transcribe(error) => unheard(error, cancel),
        })?;
        Ok(Heard {
            speech_seconds: Some(result.speech_seconds),
            uncovered_speech_seconds: Some(result.uncovered_seconds),
            is_resumed: result.is_resumed,
            ..self.heard(
                result.transcription,
                result.seconds,
                result.timings,
                result.damage,
            )
        })
    }

    fn sequential(
        &self,
        open: &OpenMedia<'_>,
        watch: &mut dyn Watch,
        cancel: &CancellationToken,
    ) -> Result<Heard, HearError> {
        let started = Instant::now();
        let mut timings = Timings::default();
        let mut engine = self.engine.clone();
        let n_mels = engine.info().n_mels;
        let summary = scan(open, n_mels, cancel).map_err(unreadable)?;
        timings.add(TimedStage::Scan, started.elapsed());
        let duration = summary.duration_s;
        let damage = summary.damage.clone();
        let stream = FeatureStream::open(open, summary, cancel.clone()).map_err(unreadable)?;
        let mut source = TimedSource {
            stream,
            spent: Duration::ZERO,
        };
        let decoding = Instant::now();
        let transcription = transcribe(
            &mut engine,
            &self.tokenizer,
            &mut source,
            &self.options,
            watch,
        )
        .map_err(|error| unheard(error, cancel))?;
        timings.add(TimedStage::Decode, source.spent);
        timings.add(
            TimedStage::Generate,
            decoding.elapsed().saturating_sub(source.spent),
        );
        Ok(self.heard(transcription, duration, timings, damage))
    }

    fn heard(
        &self,
        transcription: Transcription,
        duration: f64,
        timings: Timings,
        damage: Option<String>,
    ) -> Heard {
        let options = TranscribeOptions {
            batch_size: self.options.batch_size_on(&self.engine.info().device),
            ..self.options.clone()
        };
        Heard {
            windows: transcription.windows,
            made_by: self.engine.info().clone(),
            // Flags, numbers and texts, all of which JSON has.
            options: serde_json::to_value(&options).unwrap_or_default(),
            transcript: transcription.into_transcript(duration),
            timings,
            damage,
            speech_seconds: None,
            uncovered_speech_seconds: None,
            is_resumed: false,
        }
    }
}

fn unheard(error: TranscribeError, cancel: &CancellationToken) -> HearError {
    let class = match &error {
        TranscribeError::Cancelled => return HearError::Cancelled,
        _ if cancel.is_cancelled() => return HearError::Cancelled,
        TranscribeError::Source(_) => FailureClass::Undecodable,
        _ => FailureClass::Engine,
    };
    Failure::new(class, error.to_string()).into()
}

fn unreadable(error: FeatureError) -> HearError {
    let class = match &error {
        FeatureError::Cancelled => return HearError::Cancelled,
        // The store failed, not the file.
        FeatureError::Decode(DecodeError::Read(_)) => FailureClass::Storage,
        _ => FailureClass::Undecodable,
    };
    Failure::new(class, error.to_string()).into()
}

/// Windows of a file, and the time spent on making them.
struct TimedSource {
    stream: FeatureStream,
    spent: Duration,
}

impl WindowSource for TimedSource {
    type Error = FeatureError;

    fn content_frames(&self) -> u64 {
        self.stream.content_frames()
    }

    fn window(&mut self, seek: u64) -> Result<Arc<MelWindow>, FeatureError> {
        let started = Instant::now();
        let window = self.stream.window(seek)?;
        self.spent += started.elapsed();
        Ok(Arc::new(window))
    }
}
