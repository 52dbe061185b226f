//! The window loop: decode 30 s, keep the sentences that are finished, go on behind them.
//!
//! The exact mode: on the same features it gives the segments of faster-whisper 1.2, with word
//! times or without. Windows follow one another, because where one begins depends on what was heard before.

mod hallucination;
mod words;

use std::error::Error;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::engine::{EngineError, MelWindow, SpeechEngine, WindowRequest};
use super::fallback::{Attempt, decode_window};
use super::features::{FeatureError, FeatureStream};
use super::languages::Spoken;
use super::options::TranscribeOptions;
use super::prompt::Prompt;
use super::segmenting::{FRAME_SECONDS, TimedTokens, WindowSpan, split_by_timestamps};
use super::tokenizer::{Tokenizer, TokenizerError};
use crate::domain::{Segment, Transcript};
use hallucination::Judgement;
use words::WordTimer;

/// Mel frames a second.
const FRAMES_PER_SECOND: f64 = 100.0;

/// Where windows come from: the log-mel features of one audio.
pub trait WindowSource {
    /// Why a window could not be had.
    type Error: Error + Send + Sync + 'static;

    /// Frames of 10 ms that hold audio; constant.
    fn content_frames(&self) -> u64;

    /// The window that begins at frame `seek`, which is below
    /// [`content_frames`](Self::content_frames) and never below the one asked for before.
    fn window(&mut self, seek: u64) -> Result<Arc<MelWindow>, Self::Error>;
}

impl WindowSource for FeatureStream {
    type Error = FeatureError;

    fn content_frames(&self) -> u64 {
        Self::content_frames(self)
    }

    fn window(&mut self, seek: u64) -> Result<Arc<MelWindow>, FeatureError> {
        Self::window(self, seek).map(Arc::new)
    }
}

/// Watches a transcription, and may end it.
pub trait Watch {
    /// `seconds` of the audio's `total` are done, where that is known before its end.
    fn progress(&mut self, seconds: f64, total: Option<f64>);

    /// Whether to stop before the next window.
    fn is_cancelled(&self) -> bool;
}

/// Lets a transcription run to its end unseen.
impl Watch for () {
    fn progress(&mut self, _: f64, _: Option<f64>) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// What was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcription {
    /// In order, ids from 0, none without text or length.
    pub segments: Vec<Segment>,
    /// Code of the language; `en` for an audio without a frame and for English-only models.
    pub language: String,
    /// How sure its detection was: 1 where it was given or the model knows one only, 0 for an
    /// audio without a frame.
    pub language_probability: f32,
    /// How the windows fared.
    pub windows: WindowCounts,
}

impl Transcription {
    /// The transcript of an audio of `duration` seconds.
    pub fn into_transcript(self, duration: f64) -> Transcript {
        Transcript {
            text: self.segments.iter().map(|s| s.text.as_str()).collect(),
            segments: self.segments,
            language: self.language,
            language_probability: self.language_probability,
            duration,
        }
    }
}

/// How many windows were decoded, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounts {
    /// All of them.
    pub total: u64,
    /// Left out for holding no speech.
    pub silent: u64,
    /// Decoded more than once.
    pub retried: u64,
    /// Kept although no decoding passed the guards.
    pub doubtful: u64,
}

impl WindowCounts {
    fn count(&mut self, attempt: &Attempt, is_silent: bool) {
        self.total += 1;
        self.silent += u64::from(is_silent);
        self.retried += u64::from(attempt.tries > 1);
        self.doubtful += u64::from(attempt.is_doubtful && !is_silent);
    }
}

/// A transcription that did not reach its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscribeError {
    /// The model failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Tokens failed, or the language is unknown to the model.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The audio failed; the source is [`WindowSource::Error`].
    #[error("the audio cannot be read on: {0}")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// The engine left a window out.
    #[error("the speech engine gave no answer for a window")]
    NoAnswer,
    /// The [`Watch`] asked for it.
    #[error("the transcription was cancelled")]
    Cancelled,
}

/// Transcribes one audio from its beginning to its end. Blocks.
pub fn transcribe<S: WindowSource>(
    engine: &mut dyn SpeechEngine,
    tokenizer: &Tokenizer,
    source: &mut S,
    options: &TranscribeOptions,
    watch: &mut dyn Watch,
) -> Result<Transcription, TranscribeError> {
    let (language, language_probability) = find_language(engine, tokenizer, source, options)?;
    let is_multilingual = engine.describe().is_multilingual;
    let spoken = is_multilingual.then_some(language.as_str());
    let timer = || WordTimer::new(tokenizer, options, &language, source.content_frames());
    let mut pass = Pass {
        words: options.word_timestamps.then(timer),
        prompt: Prompt::new(tokenizer, spoken, options)?,
        segments: Vec::new(),
        windows: WindowCounts::default(),
        tokenizer,
        options,
    };
    pass.run(engine, source, watch)?;
    let Pass {
        segments, windows, ..
    } = pass;
    Ok(Transcription {
        segments,
        windows,
        language,
        language_probability,
    })
}

/// The language given, or the one heard in the first window.
fn find_language<S: WindowSource>(
    engine: &mut dyn SpeechEngine,
    tokenizer: &Tokenizer,
    source: &mut S,
    options: &TranscribeOptions,
) -> Result<(String, f32), TranscribeError> {
    match Spoken::new(&engine.describe(), tokenizer, options.language.as_deref())? {
        Spoken::EnglishOnly => return Ok(("en".to_owned(), 1.0)),
        Spoken::Given(language) => return Ok((language, 1.0)),
        Spoken::Unknown => {}
    }
    if source.content_frames() == 0 {
        return Ok(("en".to_owned(), 0.0));
    }
    let window = read(source, 0)?;
    let heard = engine.detect_language(&[window])?;
    let best = heard.into_iter().flatten().next();
    let best = best.ok_or(TranscribeError::NoAnswer)?;
    Ok((best.language, best.probability))
}

fn read<S: WindowSource>(source: &mut S, seek: u64) -> Result<Arc<MelWindow>, TranscribeError> {
    source
        .window(seek)
        .map_err(|error| TranscribeError::Source(Box::new(error)))
}

/// One way through an audio.
struct Pass<'a> {
    tokenizer: &'a Tokenizer,
    options: &'a TranscribeOptions,
    prompt: Prompt,
    words: Option<WordTimer<'a>>,
    segments: Vec<Segment>,
    windows: WindowCounts,
}

impl Pass<'_> {
    fn run<S: WindowSource>(
        &mut self,
        engine: &mut dyn SpeechEngine,
        source: &mut S,
        watch: &mut dyn Watch,
    ) -> Result<(), TranscribeError> {
        let content = source.content_frames();
        let mut seek = 0;
        while seek < content {
            if watch.is_cancelled() {
                return Err(TranscribeError::Cancelled);
            }
            let request = WindowRequest {
                window: read(source, seek)?,
                prompt: self.prompt.tokens(seek == 0),
            };
            let span = WindowSpan {
                seek,
                frames: (content - seek).min(MelWindow::FRAMES as u64),
            };
            seek += self.window(engine, &request, span)?;
            let seconds = |frames: u64| frames as f64 * FRAME_SECONDS;
            watch.progress(seconds(seek.min(content)), Some(seconds(content)));
        }
        Ok(())
    }

    /// Decodes a window, keeps what it holds and says how many frames to go on by.
    fn window(
        &mut self,
        engine: &mut dyn SpeechEngine,
        request: &WindowRequest,
        span: WindowSpan,
    ) -> Result<u64, TranscribeError> {
        let temperatures = &self.options.temperatures;
        let attempt = decode_window(engine, self.tokenizer, request, temperatures, self.options)?;
        let is_silent = attempt.is_silent(self.options);
        self.windows.count(&attempt, is_silent);
        if is_silent {
            return Ok(span.frames);
        }
        let mut split = split_by_timestamps(self.tokenizer, &attempt.decoded.tokens, span);
        if let Some(words) = &mut self.words {
            let start = self.prompt.start();
            let judgement = words.apply(engine, start, &request.window, span, &mut split)?;
            if let Judgement::Skipped { advance } = judgement {
                return Ok(advance);
            }
        }
        for segment in split.segments {
            self.keep(segment, &attempt, span)?;
        }
        self.prompt.end_window(attempt.temperature);
        Ok(split.advance)
    }

    /// Adds a segment unless it is without text or length.
    fn keep(
        &mut self,
        segment: TimedTokens,
        attempt: &Attempt,
        span: WindowSpan,
    ) -> Result<(), TranscribeError> {
        let text = self.tokenizer.decode(&segment.tokens)?;
        if segment.start == segment.end || text.trim().is_empty() {
            return Ok(());
        }
        self.prompt.said(&segment.tokens);
        self.segments.push(Segment {
            id: u32::try_from(self.segments.len()).unwrap_or(u32::MAX),
            seek: span.seek,
            start: segment.start,
            end: segment.end,
            text,
            tokens: segment.tokens,
            temperature: attempt.temperature,
            avg_logprob: attempt.avg_logprob as f32,
            compression_ratio: attempt.compression_ratio,
            no_speech_prob: attempt.decoded.no_speech_prob,
            words: segment.words,
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "sequential_tests.rs"]
mod tests;
