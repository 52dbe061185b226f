//! One way through a file: batches to the engines and back, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::decode::Decoder;
use super::front::Audio;
use super::packing::SpeechWindow;
use super::shelf::{self, FinishedPart, Shelf};
use super::text::WindowText;
use super::voice::{Voice, voice, vote};
use super::{Batched, BatchedResult, sentences};
use crate::transcribe::engine::{LanguageScore, SpeechEngine};
use crate::transcribe::kpis::{TimedStage, Timings};
use crate::transcribe::languages::Spoken;
use crate::transcribe::options::TranscribeOptions;
use crate::transcribe::sequential::{TranscribeError, Transcription, Watch, WindowCounts};
use crate::transcribe::thread::Pending;

/// How long a cancelled run waits for batches that engines are at: what is finished need not be done
/// again, but a machine that is taken back gives two minutes, and a worker has to tell others too.
const GRACE: Duration = Duration::from_secs(8);

/// How often a run that waits looks whether it is cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// Finished windows are kept so often: what a killed process loses at most, a batch aside.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// One way through a file.
pub(super) struct Run<'a> {
    batched: &'a Batched<'a>,
    decoder: Decoder,
    shelf: &'a mut dyn Shelf,
    /// Finished windows, in order.
    texts: Vec<WindowText>,
    /// How many of them are on the shelf.
    kept: usize,
    kept_at: Instant,
    timings: Timings,
    voice: EpisodeVoice,
    /// Windows that an earlier run finished.
    resumed: usize,
    /// Fires when nobody waits for the batches under way any more.
    abandoned: CancellationToken,
}

/// What is known of the episode's language.
enum EpisodeVoice {
    /// All windows are decoded so.
    Given(Voice),
    /// It is heard in every window; the first batch decides on the episode's.
    Heard(Option<LanguageScore>),
}

/// A batch under way: its windows, and how long the parts of the work took.
type Flight = Pending<Result<(Vec<WindowText>, Timings), TranscribeError>>;

impl<'a> Run<'a> {
    pub(super) fn begin(
        batched: &'a Batched<'a>,
        shelf: &'a mut dyn Shelf,
    ) -> Result<Self, TranscribeError> {
        warn_of_ignored(batched.options);
        let parts = shelf.load();
        let is_known = |language: &str| batched.tokenizer.language(language).is_ok();
        let (texts, language) = shelf::joined(parts, batched.batch_size(), &is_known);
        let abandoned = CancellationToken::new();
        Ok(Self {
            batched,
            decoder: Decoder {
                tokenizer: Arc::clone(batched.tokenizer),
                options: Arc::new(batched.options.clone()),
                abandoned: abandoned.clone(),
            },
            abandoned,
            resumed: texts.len(),
            shelf,
            kept: texts.len(),
            kept_at: Instant::now(),
            voice: voice_of(batched, language)?,
            texts,
            timings: Timings::default(),
        })
    }

    /// Windows that are done.
    pub(super) fn finished(&self) -> usize {
        self.texts.len()
    }

    /// Decodes what comes, in batches, until no more does.
    pub(super) fn decode_all(
        &mut self,
        windows: Receiver<SpeechWindow>,
        watch: &mut dyn Watch,
    ) -> Result<(), TranscribeError> {
        let decoded = self.decode_batches(&windows, watch);
        drop(windows);
        if decoded.is_err() {
            self.abandoned.cancel();
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
        let most = 2 * self.batched.engine.engines();
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let mut batch = Vec::new();
        let mut is_last = false;
        while !is_last {
            match windows.recv_timeout(LOOK) {
                Ok(window) => batch.push(window),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_last = true,
            }
            if self.is_cancelled(watch) {
                return self.hand_back(flights, watch);
            }
            if batch.len() == size || is_last && !batch.is_empty() {
                let windows = std::mem::take(&mut batch);
                flights.push_back(self.send(windows, watch)?);
            }
            while self.land_first(&mut flights, Duration::ZERO, watch)? {}
            while flights.len() >= most || is_last && !flights.is_empty() {
                if self.is_cancelled(watch) {
                    return self.hand_back(flights, watch);
                }
                self.land_first(&mut flights, LOOK, watch)?;
            }
        }
        Ok(())
    }

    /// Waits a while for the batches under way, in order, and ends as cancelled.
    fn hand_back(
        &mut self,
        mut flights: VecDeque<Flight>,
        watch: &mut dyn Watch,
    ) -> Result<(), TranscribeError> {
        let since = Instant::now();
        while !flights.is_empty() && since.elapsed() < GRACE {
            self.land_first(&mut flights, LOOK, watch)?;
        }
        Err(TranscribeError::Cancelled)
    }

    fn is_cancelled(&self, watch: &dyn Watch) -> bool {
        watch.is_cancelled() || self.batched.cancel.is_cancelled()
    }

    /// Gives a batch to the engines. The first waits for the episode's language, which it decides.
    fn send(
        &mut self,
        windows: Vec<SpeechWindow>,
        watch: &dyn Watch,
    ) -> Result<Flight, TranscribeError> {
        let decoder = self.decoder.clone();
        let cancel = self.batched.cancel.clone();
        let (tell, told) = sync_channel(1);
        let (voice, episode) = match &self.voice {
            EpisodeVoice::Given(voice) => (Some(voice.clone()), None),
            EpisodeVoice::Heard(episode) => (None, episode.clone()),
        };
        let is_first = voice.is_none() && episode.is_none();
        let flight = self.batched.engine.submit(move |engine| {
            if cancel.is_cancelled() {
                return Err(TranscribeError::Cancelled);
            }
            let mut timings = Timings::default();
            let voices = match voice {
                Some(voice) => vec![voice; windows.len()],
                None => voices(engine, &windows, episode, &tell, &mut timings)?,
            };
            let texts = decoder.decode(engine, &windows, &voices, &mut timings)?;
            Ok((texts, timings))
        })?;
        while is_first && !self.is_cancelled(watch) {
            match told.recv_timeout(LOOK) {
                Ok(language) => {
                    self.voice = EpisodeVoice::Heard(Some(language));
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {}
                // The batch failed, and says so itself.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(flight)
    }

    /// Waits so long for the first of `flights`; whether it landed.
    fn land_first(
        &mut self,
        flights: &mut VecDeque<Flight>,
        limit: Duration,
        watch: &mut dyn Watch,
    ) -> Result<bool, TranscribeError> {
        let Some(flight) = flights.front() else {
            return Ok(false);
        };
        let Some(landed) = flight.wait_for(limit)? else {
            return Ok(false);
        };
        flights.pop_front();
        let (texts, timings) = landed?;
        self.timings.merge(&timings);
        self.texts.extend(texts);
        if let Some(last) = self.texts.last() {
            watch.progress(last.end, None);
        }
        if self.kept_at.elapsed() >= KEEP_EVERY {
            self.keep();
        }
        Ok(true)
    }

    /// Puts what was finished since the last time on the shelf.
    fn keep(&mut self) {
        if self.kept == self.texts.len() {
            return;
        }
        let language = match &self.voice {
            EpisodeVoice::Heard(language) => language.as_ref(),
            EpisodeVoice::Given(_) => None,
        };
        let part = FinishedPart::new(self.kept, language, &self.texts[self.kept..]);
        match self.shelf.save(&part) {
            Ok(()) => self.kept = self.texts.len(),
            // The result is not at stake, only the work that a killed worker would do again.
            Err(error) => tracing::warn!(%error, "cannot keep what is finished of a transcription"),
        }
        self.kept_at = Instant::now();
    }

    /// Makes the transcript of all that was finished.
    pub(super) fn finish(self, audio: Audio) -> BatchedResult {
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
            is_resumed: self.resumed > 0,
        }
    }

    /// The language that most was said in, and how sure its windows were of it on the mean.
    fn language(&self) -> (String, f32) {
        if let EpisodeVoice::Given(voice) = &self.voice {
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

/// What only the sequential mode knows, where windows follow one another.
fn warn_of_ignored(options: &TranscribeOptions) {
    let ignored = [
        ("prefix", options.prefix.is_some()),
        (
            "condition_on_previous_text",
            options.condition_on_previous_text,
        ),
        (
            "hallucination_silence_threshold",
            options.hallucination_silence_threshold.is_some(),
        ),
        ("without_timestamps", options.without_timestamps),
    ];
    for (option, _) in ignored.iter().filter(|(_, is_given)| *is_given) {
        tracing::warn!("{option} has no effect in batched mode");
    }
}

fn voice_of(
    batched: &Batched<'_>,
    heard: Option<LanguageScore>,
) -> Result<EpisodeVoice, TranscribeError> {
    let language = batched.options.language.as_deref();
    let given = match Spoken::new(batched.engine.info(), batched.tokenizer, language)? {
        Spoken::Unknown => return Ok(EpisodeVoice::Heard(heard)),
        Spoken::EnglishOnly => None,
        Spoken::Given(language) => Some(language),
    };
    Ok(EpisodeVoice::Given(Voice {
        language: given,
        probability: 1.0,
    }))
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
