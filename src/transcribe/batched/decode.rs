//! One batch through the model: language, text, word times, and another try for windows that failed.
//!
//! A batch stands alone: what its windows are decoded to depends on them, the options and the
//! episode's language. So a run that was interrupted goes on with the same batches to the same text,
//! unless temperatures above 0 let chance into it.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::packing::SpeechWindow;
use super::pauses::leave_pauses;
use super::text::{PlacedWord, WindowText};
use super::voice::Voice;
use crate::transcribe::engine::{
    AlignRequest, Alignment, DecodeOptions, MelWindow, SpeechEngine, WindowRequest,
};
use crate::transcribe::fallback::{Attempt, decode_options, is_better, judge};
use crate::transcribe::kpis::{TimedStage, Timings};
use crate::transcribe::options::TranscribeOptions;
use crate::transcribe::prompt::Prompt;
use crate::transcribe::segmenting::FRAME_SECONDS;
use crate::transcribe::sequential::TranscribeError;
use crate::transcribe::tokenizer::Tokenizer;
use crate::transcribe::words::{
    TokenWord, TypicalDuration, merge_punctuation, shorten_at_sentence_ends, words_of,
};

/// What decoding needs beside the engine.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) options: Arc<TranscribeOptions>,
    /// Nobody waits for the answer any more.
    pub(super) abandoned: CancellationToken,
}

/// What to decode, and who speaks in it.
#[derive(Clone)]
pub(super) struct Task<'a> {
    pub(super) mel: Arc<MelWindow>,
    pub(super) voice: &'a Voice,
    /// Probability of speech, one for each frame of 10 ms; none where that was not kept.
    pub(super) speech: Arc<[f32]>,
}

impl Task<'_> {
    pub(super) fn seconds(&self) -> f64 {
        self.mel.frames as f64 * FRAME_SECONDS
    }
}

/// A window's words, and the probability of each of its tokens.
pub(super) type Aligned = (Vec<TokenWord>, Vec<f32>);

/// A way to decode a window.
pub(super) struct Way {
    decode: DecodeOptions,
    /// Text alone, or timestamps too: another grammar, which may find words where the first found none.
    without_timestamps: bool,
}

/// Shorter windows may hold a cough; there it is no wonder if no words are found.
const SURELY_SPEECH_S: f64 = 2.0;

impl Decoder {
    /// Decodes windows that were spoken as `voices` say.
    pub(super) fn decode(
        &self,
        engine: &mut dyn SpeechEngine,
        windows: &[SpeechWindow],
        voices: &[Voice],
        timings: &mut Timings,
    ) -> Result<Vec<WindowText>, TranscribeError> {
        let (first, others) = self.ways();
        let tasks = windows.iter().zip(voices).map(|(window, voice)| Task {
            mel: Arc::clone(&window.mel),
            voice,
            speech: Arc::clone(&window.speech),
        });
        let tasks: Vec<Task<'_>> = tasks.collect();
        let mut attempts = self.generate(engine, &tasks, &first, timings)?;
        let failed: Vec<usize> = (0..tasks.len())
            .filter(|&i| self.has_failed(&tasks[i], &attempts[i]))
            .collect();
        // Those that are done come first: the engine still holds what it heard.
        let mut words = self.words(engine, &tasks, &attempts, timings)?;
        if !failed.is_empty() {
            let again: Vec<Task<'_>> = failed.iter().map(|&i| tasks[i].clone()).collect();
            let doubted = failed.iter().map(|&i| attempts[i].clone()).collect();
            let better = self.try_again(engine, &again, doubted, &others, timings)?;
            let found = self.words(engine, &again, &better, timings)?;
            for ((i, attempt), found) in failed.into_iter().zip(better).zip(found) {
                attempts[i] = attempt;
                words[i] = found;
            }
        }
        self.fill_gaps(engine, &tasks, &mut attempts, &mut words, timings)?;
        let texts = std::iter::zip(windows, voices).zip(attempts).zip(words);
        Ok(texts
            .map(|(((window, voice), attempt), words)| self.text(window, voice, &attempt, words))
            .collect())
    }

    /// Decodes anew, one way after the other, until every window has an answer that passes; keeps the
    /// best of each.
    fn try_again(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        mut best: Vec<Attempt>,
        ways: &[Way],
        timings: &mut Timings,
    ) -> Result<Vec<Attempt>, TranscribeError> {
        for way in ways {
            let is_open = |i: usize, best: &[Attempt]| self.has_failed(&tasks[i], &best[i]);
            if (0..tasks.len()).all(|i| !is_open(i, &best)) {
                break;
            }
            // All of them, whoever has passed: the engine holds what it heard of just these.
            let attempts = self.generate(engine, tasks, way, timings)?;
            for (i, attempt) in attempts.into_iter().enumerate() {
                if !is_open(i, &best) {
                    continue;
                }
                let tries = best[i].tries + 1;
                let passes = !self.has_failed(&tasks[i], &attempt);
                // Something doubtful is no better than nothing: it may be invented.
                let is_text = has_text(&attempt) && has_text(&best[i]);
                if passes || (is_text && is_better(&attempt, &best[i], &self.options)) {
                    best[i] = attempt;
                }
                best[i].tries = tries;
            }
        }
        for (task, attempt) in tasks.iter().zip(&mut best) {
            attempt.is_doubtful = self.has_failed(task, attempt);
        }
        Ok(best)
    }

    /// The usual way, and those for windows that it fails on.
    pub(super) fn ways(&self) -> (Way, Vec<Way>) {
        let options = &self.options;
        let mut temperatures = options.temperatures.iter().copied();
        let plain = |temperature| Way {
            decode: decode_options(&self.tokenizer, temperature, options),
            without_timestamps: true,
        };
        let first = plain(temperatures.next().unwrap_or(0.0));
        let timed = Way {
            decode: first.decode.clone(),
            without_timestamps: false,
        };
        let varied = Way {
            decode: DecodeOptions {
                no_repeat_ngram_size: match first.decode.no_repeat_ngram_size {
                    0 => LOOP_TOKENS,
                    given => given.min(LOOP_TOKENS),
                },
                repetition_penalty: first.decode.repetition_penalty.max(LOOP_PENALTY),
                ..first.decode.clone()
            },
            without_timestamps: true,
        };
        let others = [timed, varied].into_iter().chain(temperatures.map(plain));
        (first, others.collect())
    }

    /// Whether an answer cannot be right: it fails the guards, or says nothing where speech was heard.
    fn has_failed(&self, task: &Task<'_>, attempt: &Attempt) -> bool {
        let says_nothing = !has_text(attempt)
            && !attempt.is_silent(&self.options)
            && task.seconds() >= SURELY_SPEECH_S;
        says_nothing || attempt.needs_another_try(&self.options)
    }

    pub(super) fn generate(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        way: &Way,
        timings: &mut Timings,
    ) -> Result<Vec<Attempt>, TranscribeError> {
        let options = TranscribeOptions {
            without_timestamps: way.without_timestamps,
            ..(*self.options).clone()
        };
        let requests = tasks.iter().map(|task| {
            let language = task.voice.language.as_deref();
            Ok(WindowRequest {
                window: Arc::clone(&task.mel),
                prompt: Prompt::new(&self.tokenizer, language, &options)?.tokens(false),
            })
        });
        let requests: Vec<WindowRequest> = requests.collect::<Result<_, TranscribeError>>()?;
        if self.abandoned.is_cancelled() {
            return Err(TranscribeError::Cancelled);
        }
        let started = Instant::now();
        let answers = engine.generate(&requests, &way.decode)?;
        timings.add(TimedStage::Generate, started.elapsed());
        if answers.len() != tasks.len() {
            return Err(TranscribeError::NoAnswer);
        }
        let temperature = way.decode.temperature;
        let attempts = answers.into_iter();
        attempts
            .map(|answer| {
                // Judged with its timestamps, which are part of its score.
                let mut attempt = judge(&self.tokenizer, answer, temperature, &self.options)?;
                let is_text = |token: &u32| self.tokenizer.timestamp_position(*token).is_none();
                attempt.decoded.tokens.retain(is_text);
                Ok(attempt)
            })
            .collect()
    }

    /// The words of windows and their times in these.
    pub(super) fn words(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        attempts: &[Attempt],
        timings: &mut Timings,
    ) -> Result<Vec<Vec<TokenWord>>, TranscribeError> {
        let found = self.words_and_probabilities(engine, tasks, attempts, timings)?;
        Ok(found.into_iter().map(|(words, _)| words).collect())
    }

    /// As [`words`](Self::words), with the probability of each token.
    pub(super) fn words_and_probabilities(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        attempts: &[Attempt],
        timings: &mut Timings,
    ) -> Result<Vec<Aligned>, TranscribeError> {
        let started = Instant::now();
        let mut languages: Vec<&Option<String>> = tasks.iter().map(|t| &t.voice.language).collect();
        languages.sort();
        languages.dedup();
        let mut found = vec![(Vec::new(), Vec::new()); tasks.len()];
        for language in languages {
            let is_spoken = |i: usize| tasks[i].voice.language == *language;
            let alignments =
                self.align(engine, tasks, attempts, language.as_deref(), &is_spoken)?;
            for (i, alignment) in alignments.into_iter().enumerate() {
                if is_spoken(i) {
                    let words = self.timed(&tasks[i], &attempts[i], &alignment)?;
                    found[i] = (words, alignment.probabilities);
                }
            }
        }
        timings.add(TimedStage::Align, started.elapsed());
        Ok(found)
    }

    /// Aligns the windows of one language; the others are part of the call, so that the engine need not
    /// hear the batch again, but have no text in it.
    fn align(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        attempts: &[Attempt],
        language: Option<&str>,
        is_spoken: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<Alignment>, TranscribeError> {
        let mut start = vec![self.tokenizer.special().start_of_transcript];
        if let Some(language) = language {
            start.push(self.tokenizer.language(language)?);
            start.push(self.tokenizer.task(self.options.task));
        }
        let requests = tasks.iter().zip(attempts).enumerate();
        let requests: Vec<AlignRequest> = requests
            .map(|(i, (task, attempt))| AlignRequest {
                window: Arc::clone(&task.mel),
                text: match is_spoken(i) && !attempt.is_silent(&self.options) {
                    true => attempt.decoded.tokens.clone(),
                    false => Vec::new(),
                },
            })
            .collect();
        let alignments = engine.align(&start, &requests)?;
        if alignments.len() != tasks.len() {
            return Err(TranscribeError::NoAnswer);
        }
        Ok(alignments)
    }

    fn timed(
        &self,
        task: &Task<'_>,
        attempt: &Attempt,
        alignment: &Alignment,
    ) -> Result<Vec<TokenWord>, TranscribeError> {
        if attempt.is_silent(&self.options) {
            return Ok(Vec::new());
        }
        let language = task.voice.language.as_deref().unwrap_or("en");
        let tokens = &attempt.decoded.tokens;
        let mut words = words_of(&self.tokenizer, language, tokens, alignment, task.seconds())?;
        let typical = TypicalDuration::of(&words);
        shorten_at_sentence_ends(&mut words, typical);
        let (before, behind) = (
            &self.options.prepend_punctuations,
            &self.options.append_punctuations,
        );
        Ok(merge_punctuation(words, before, behind))
    }

    fn text(
        &self,
        window: &SpeechWindow,
        voice: &Voice,
        attempt: &Attempt,
        mut words: Vec<TokenWord>,
    ) -> WindowText {
        leave_pauses(&mut words, &window.speech);
        let timeline = &window.timeline;
        let placed = words.into_iter().map(|word| {
            let (start, end) = timeline.place(word.start, word.end);
            PlacedWord {
                text: word.text,
                tokens: word.tokens,
                start: hundredths(start),
                end: hundredths(end),
                probability: word.probability,
            }
        });
        WindowText {
            seek: timeline.seek(),
            seconds: timeline.seconds(),
            end: timeline.end(),
            words: placed.collect(),
            language: voice.language.clone(),
            language_probability: voice.probability,
            temperature: attempt.temperature,
            avg_logprob: attempt.avg_logprob as f32,
            compression_ratio: attempt.compression_ratio,
            no_speech_prob: attempt.decoded.no_speech_prob,
            tries: attempt.tries,
            is_doubtful: attempt.is_doubtful,
            is_silent: attempt.is_silent(&self.options),
        }
    }
}

/// Tokens that a window that looped may not repeat, and how much less likely used tokens become there.
const LOOP_TOKENS: usize = 4;
const LOOP_PENALTY: f32 = 1.1;

pub(super) fn has_text(attempt: &Attempt) -> bool {
    !attempt.decoded.tokens.is_empty()
}

fn hundredths(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}
