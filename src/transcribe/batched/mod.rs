//! The fast mode: speech packed into windows of 30 s that know nothing of each other, many of which the
//! model decodes at a time (the shape of faster-whisper's batched mode and of WhisperS2T).
//!
//! ```text
//! front end, own thread:  decode -> 16 kHz -> speech detection -> packing -> log-mel
//!                                                                        | at most a batch waits
//! this thread:            batches -> engines -> words -> sentences       v
//! ```
//!
//! Windows of one audio make a batch, in order, so that what they are decoded to does not depend on what
//! else the process works on, nor on where an earlier run ended.

mod decode;
mod fill;
mod front;
mod gaps;
mod islands;
mod packing;
mod pauses;
mod places;
mod quiet;
mod run;
mod sentences;
mod shelf;
mod text;
mod timeline;
mod voice;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tokio_util::sync::CancellationToken;

use self::front::FrontEnd;
use self::run::Run;
pub use self::shelf::{FinishedPart, NoShelf, Shelf};
use super::engine::EngineError;
use super::features::FeatureError;
use super::kpis::Timings;
use super::options::TranscribeOptions;
use super::sequential::{TranscribeError, Transcription, Watch};
use super::source::OpenMedia;
use super::thread::EngineHandle;
use super::tokenizer::Tokenizer;
use super::vad::VadOptions;

/// A file and what to decode it with.
pub(super) struct Batched<'a> {
    pub(super) engine: &'a EngineHandle,
    pub(super) tokenizer: &'a Arc<Tokenizer>,
    pub(super) options: &'a TranscribeOptions,
    pub(super) open: &'a OpenMedia<'a>,
    pub(super) cancel: &'a CancellationToken,
}

/// What a file gave.
#[derive(Debug)]
pub(super) struct BatchedResult {
    pub(super) transcription: Transcription,
    /// Length of the audio in seconds.
    pub(super) seconds: f64,
    pub(super) damage: Option<String>,
    pub(super) timings: Timings,
    /// Seconds taken for speech.
    pub(super) speech_seconds: f64,
    /// Seconds taken for speech in windows without words.
    pub(super) uncovered_seconds: f64,
    /// Whether an earlier run did a part of it, whose time is not known.
    pub(super) is_resumed: bool,
}

/// A file was not decoded to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchedError {
    #[error(transparent)]
    Feature(#[from] FeatureError),
    #[error(transparent)]
    Transcribe(#[from] TranscribeError),
}

impl From<EngineError> for BatchedError {
    fn from(error: EngineError) -> Self {
        Self::Transcribe(error.into())
    }
}

impl Batched<'_> {
    /// Decodes the file from where `shelf` says an earlier run came to. Blocks.
    pub(super) fn run(
        &self,
        watch: &mut dyn Watch,
        shelf: &mut dyn Shelf,
    ) -> Result<BatchedResult, BatchedError> {
        if let Some(result) = self.run_on(watch, shelf)? {
            return Ok(result);
        }
        tracing::warn!("what is kept of this transcription is of another audio; it begins anew");
        self.run_on(watch, &mut NoShelf)?
            .ok_or_else(|| EngineError::Failed("windows were lost".to_owned()).into())
    }

    /// `None` where the shelf held windows that the audio does not have.
    fn run_on(
        &self,
        watch: &mut dyn Watch,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<BatchedResult>, BatchedError> {
        let vad = VadOptions::default();
        let mut run = Run::begin(self, shelf)?;
        let (sender, windows) = sync_channel(self.batch_size());
        let front = FrontEnd {
            open: self.open,
            vad: &vad,
            n_mels: self.engine.info().n_mels,
            done: run.finished(),
            cancel: self.cancel,
        };
        let (decoded, audio) = std::thread::scope(|scope| {
            let reading = std::thread::Builder::new()
                .name("front-end".to_owned())
                .spawn_scoped(scope, move || front.run(&sender));
            let reading = match reading {
                Ok(reading) => reading,
                Err(error) => {
                    let problem = format!("no thread for the audio: {error}");
                    return (Err(EngineError::Failed(problem).into()), None);
                }
            };
            // Takes the receiving end with it: a front end that nobody listens to stops.
            let decoded = run.decode_all(windows, watch);
            (decoded, Some(reading.join()))
        });
        let audio = match audio {
            // What broke off here made the front end stop.
            Some(Ok(Err(FeatureError::Cancelled))) | None => {
                decoded?;
                return Err(TranscribeError::Cancelled.into());
            }
            Some(Ok(audio)) => audio?,
            Some(Err(_)) => {
                let problem = "the audio's thread ended unexpectedly".to_owned();
                return Err(EngineError::Failed(problem).into());
            }
        };
        decoded?;
        Ok((run.finished() == audio.windows).then(|| run.finish(audio)))
    }

    fn batch_size(&self) -> usize {
        self.options.batch_size_on(&self.engine.info().device)
    }
}

#[cfg(test)]
mod tests;
