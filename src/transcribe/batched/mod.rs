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
mod front;
mod gaps;
mod packing;
mod pauses;
mod sentences;
mod shelf;
mod timeline;
mod voice;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use self::decode::{Decoder, WindowText};
use self::front::{Audio, FrontEnd};
use self::packing::SpeechWindow;
pub use self::shelf::{FinishedPart, NoShelf, Shelf};
use self::voice::{Voice, voice, vote};
use super::engine::{EngineError, LanguageScore, SpeechEngine};
use super::features::FeatureError;
use super::kpis::{TimedStage, Timings};
use super::options::TranscribeOptions;
use super::sequential::{TranscribeError, Transcription, Watch, WindowCounts};
use super::source::OpenMedia;
use super::thread::{EngineHandle, Pending};
use super::tokenizer::Tokenizer;
use super::vad::VadOptions;

/// How long a cancelled run waits for batches that engines are at: what is finished need not be done
/// again, but a machine that is taken back gives two minutes, and a worker has to tell others too.
const GRACE: Duration = Duration::from_secs(8);

/// How often a run that waits looks whether it is cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// Finished windows are kept so often: what a killed process loses at most, a batch aside.
const KEEP_EVERY: Duration = Duration::from_secs(10);

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
        let vad = VadOptions::default();
        let mut run = Run::begin(self, shelf)?;
        let (sender, windows) = sync_channel(self.batch_size());
        let front = FrontEnd {
            open: self.open,
            vad: &vad,
            n_mels: self.engine.info().n_mels,
            done: run.texts.len(),
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
        Ok(run.finish(audio))
    }

    fn batch_size(&self) -> usize {
        self.options.batch_size.max(1)
    }
}

/// One way through a file.
struct Run<'a> {
    batched: &'a Batched<'a>,
    decoder: Decoder,
    shelf: &'a mut dyn Shelf,
    /// Finished windows, in order.
    texts: Vec<WindowText>,
    /// How many of them are on the shelf.
    kept: usize,
    kept_at: Instant,
    timings: Timings,
    spoken: Spoken,
}

/// What is known of the episode's language.
enum Spoken {
    /// All windows are decoded so.
    Given(Voice),
    /// It is heard in every window; the first batch decides on the episode's.
    Heard(Option<LanguageScore>),
}

/// A batch under way: its windows, and how long the parts of the work took.
type Flight = Pending<Result<(Vec<WindowText>, Timings), TranscribeError>>;

impl<'a> Run<'a> {
    fn begin(batched: &'a Batched<'a>, shelf: &'a mut dyn Shelf) -> Result<Self, TranscribeError> {
        let parts = shelf.load();
        let (texts, language) = shelf::joined(parts, batched.batch_size());
        Ok(Self {
            batched,
            decoder: Decoder {
                tokenizer: Arc::clone(batched.tokenizer),
                options: Arc::new(batched.options.clone()),
            },
            shelf,
            kept: texts.len(),
            kept_at: Instant::now(),
            spoken: spoken(batched, language)?,
            texts,
            timings: Timings::default(),
        })
    }

    fn decode_all(
        &mut self,
        windows: Receiver<SpeechWindow>,
        watch: &mut dyn Watch,
    ) -> Result<(), TranscribeError> {
        let decoded = self.decode_batches(&windows, watch);
        drop(windows);
        if decoded.is_err() {
            self.keep();
        }
        decoded
    }

    fn decode_batches(
        &mut self,
        windows: &Receiver<SpeechWindow>,
        watch: &mut dyn Watch,
    ) -> Result<(), TranscribeError> {
        let size = self.batched.batch_size();
        let mut flights: VecDeque<Flight> = VecDeque::new();
        loop {
            let batch: Vec<SpeechWindow> = windows.iter().take(size).collect();
            let is_last = batch.len() < size;
            if !batch.is_empty() && !self.is_cancelled(watch) {
                flights.push_back(self.send(batch)?);
            }
            let allowed = if is_last {
                0
            } else {
                self.batched.engine.engines()
            };
            while flights.len() > allowed {
                let Some(flight) = flights.pop_front() else {
                    break;
                };
                self.land(flight, watch)?;
            }
            if self.is_cancelled(watch) {
                return Err(TranscribeError::Cancelled);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn is_cancelled(&self, watch: &dyn Watch) -> bool {
        watch.is_cancelled() || self.batched.cancel.is_cancelled()
    }

    /// Gives a batch to the engines. The first waits for the episode's language, which it decides.
    fn send(&mut self, windows: Vec<SpeechWindow>) -> Result<Flight, TranscribeError> {
        let decoder = self.decoder.clone();
        let (tell, told) = sync_channel(1);
        let (voice, episode) = match &self.spoken {
            Spoken::Given(voice) => (Some(voice.clone()), None),
            Spoken::Heard(episode) => (None, episode.clone()),
        };
        let is_first = voice.is_none() && episode.is_none();
        let flight = self.batched.engine.submit(move |engine| {
            let mut timings = Timings::default();
            let voices = match voice {
                Some(voice) => vec![voice; windows.len()],
                None => voices(engine, &windows, episode, &tell, &mut timings)?,
            };
            let texts = decoder.decode(engine, &windows, &voices, &mut timings)?;
            Ok((texts, timings))
        })?;
        if is_first {
            // Nothing is told where the batch failed; it says so itself.
            self.spoken = Spoken::Heard(told.recv().ok());
        }
        Ok(flight)
    }

    /// Waits for a batch.
    fn land(&mut self, flight: Flight, watch: &mut dyn Watch) -> Result<(), TranscribeError> {
        let mut cancelled_at = None;
        let (texts, timings) = loop {
            if let Some(landed) = flight.wait_for(LOOK)? {
                break landed?;
            }
            if self.is_cancelled(watch) {
                let since = *cancelled_at.get_or_insert_with(Instant::now);
                if since.elapsed() > GRACE {
                    return Err(TranscribeError::Cancelled);
                }
            }
        };
        self.timings.merge(&timings);
        self.texts.extend(texts);
        if let Some(last) = self.texts.last() {
            watch.progress(last.end, None);
        }
        if self.kept_at.elapsed() >= KEEP_EVERY {
            self.keep();
        }
        Ok(())
    }

    /// Puts what was finished since the last time on the shelf.
    fn keep(&mut self) {
        if self.kept == self.texts.len() {
            return;
        }
        let language = match &self.spoken {
            Spoken::Heard(language) => language.as_ref(),
            Spoken::Given(_) => None,
        };
        let part = FinishedPart::new(self.kept, language, &self.texts[self.kept..]);
        match self.shelf.save(&part) {
            Ok(()) => self.kept = self.texts.len(),
            // The result is not at stake, only the work that a killed worker would do again.
            Err(error) => tracing::warn!(%error, "cannot keep what is finished of a transcription"),
        }
        self.kept_at = Instant::now();
    }

    fn finish(self, audio: Audio) -> BatchedResult {
        let (language, language_probability) = self.language();
        let mut segments = Vec::new();
        let mut windows = WindowCounts::default();
        let mut uncovered_seconds = 0.0;
        for text in &self.texts {
            segments.extend(sentences::segments(text, segments.len(), audio.seconds));
            windows.total += 1;
            windows.silent += u64::from(text.is_silent);
            windows.retried += u64::from(text.tries > 1);
            windows.doubtful += u64::from(text.is_doubtful && !text.is_silent);
            if text.words.is_empty() {
                uncovered_seconds += text.seconds;
            }
        }
        let mut timings = self.timings;
        timings.merge(&audio.timings);
        BatchedResult {
            transcription: Transcription {
                segments,
                language,
                language_probability,
                windows,
            },
            seconds: audio.seconds,
            damage: audio.damage,
            timings,
            speech_seconds: audio.speech_seconds,
            uncovered_seconds,
        }
    }

    /// The language that most was said in, and how sure its windows were of it on the mean.
    fn language(&self) -> (String, f32) {
        if let Spoken::Given(voice) = &self.spoken {
            let language = voice.language.clone();
            return (
                language.unwrap_or_else(|| "en".to_owned()),
                voice.probability,
            );
        }
        let mut said: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for text in &self.texts {
            let Some(language) = text.language.as_deref() else {
                continue;
            };
            let (seconds, weight) = said.entry(language).or_default();
            *seconds += text.seconds;
            *weight += text.seconds * f64::from(text.language_probability);
        }
        let most = said.into_iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0));
        most.map_or(("en".to_owned(), 0.0), |(language, (seconds, weight))| {
            (
                language.to_owned(),
                (weight / seconds.max(f64::MIN_POSITIVE)) as f32,
            )
        })
    }
}

fn spoken(batched: &Batched<'_>, heard: Option<LanguageScore>) -> Result<Spoken, TranscribeError> {
    let given = |language: Option<String>| Voice {
        language,
        probability: 1.0,
    };
    let language = batched.options.language.clone();
    if !batched.engine.info().is_multilingual {
        if let Some(language) = language.filter(|given| given != "en") {
            tracing::warn!(
                language,
                "the model knows English only; the language is ignored"
            );
        }
        return Ok(Spoken::Given(given(None)));
    }
    match language {
        Some(language) => {
            batched.tokenizer.language(&language)?;
            Ok(Spoken::Given(given(Some(language))))
        }
        None => Ok(Spoken::Heard(heard)),
    }
}

/// Hears which language each window is spoken in, and tells the episode's.
fn voices(
    engine: &mut dyn SpeechEngine,
    windows: &[SpeechWindow],
    episode: Option<LanguageScore>,
    tell: &SyncSender<LanguageScore>,
    timings: &mut Timings,
) -> Result<Vec<Voice>, TranscribeError> {
    let mels: Vec<_> = windows
        .iter()
        .map(|window| Arc::clone(&window.mel))
        .collect();
    let started = Instant::now();
    engine.encode(&mels)?;
    timings.add(TimedStage::Encode, started.elapsed());
    let started = Instant::now();
    let heard = engine.detect_language(&mels)?;
    timings.add(TimedStage::Detect, started.elapsed());
    if heard.len() != windows.len() {
        return Err(TranscribeError::NoAnswer);
    }
    let episode = match episode {
        Some(episode) => episode,
        None => vote(&heard).ok_or(TranscribeError::NoAnswer)?,
    };
    // Only the first batch is listened to.
    let _ = tell.try_send(episode.clone());
    Ok(heard
        .iter()
        .map(|heard| voice(heard, &episode.language))
        .collect())
}

#[cfg(test)]
mod tests;
