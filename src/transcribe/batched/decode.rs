//! One batch through the model: language, text, word times, and another try for windows that failed.
//!
//! A batch stands alone: what its windows are decoded to depends on them, the options and the
//! episode's language. So a run that was interrupted goes on with the same batches to the same text.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::gaps::{Filled, Found, Gap, cut, filled, gaps, log_probability, unknown};
use super::packing::SpeechWindow;
use super::pauses::leave_pauses;
use super::voice::Voice;
use crate::transcribe::engine::{
    AlignRequest, Alignment, DecodeOptions, Decoded, MelWindow, SpeechEngine, WindowRequest,
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

/// A word and its time in the audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlacedWord {
    /// With its leading space.
    pub(super) text: String,
    pub(super) tokens: Vec<u32>,
    /// Seconds, to the hundredth.
    pub(super) start: f64,
    /// Seconds, to the hundredth.
    pub(super) end: f64,
    pub(super) probability: f32,
}

/// What a window was decoded to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WindowText {
    /// Frame of 10 ms in the audio.
    pub(super) seek: u64,
    /// Seconds of speech in it.
    pub(super) seconds: f64,
    /// Where it ends in the audio, in seconds.
    pub(super) end: f64,
    /// None where it is silent.
    pub(super) words: Vec<PlacedWord>,
    pub(super) language: Option<String>,
    pub(super) language_probability: f32,
    pub(super) temperature: f32,
    pub(super) avg_logprob: f32,
    pub(super) compression_ratio: f32,
    pub(super) no_speech_prob: f32,
    pub(super) tries: usize,
    pub(super) is_doubtful: bool,
    /// The model says that there is no speech.
    pub(super) is_silent: bool,
}

/// What decoding needs beside the engine.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) options: Arc<TranscribeOptions>,
}

/// What to decode, and who speaks in it.
#[derive(Clone)]
struct Task<'a> {
    mel: Arc<MelWindow>,
    voice: &'a Voice,
}

impl Task<'_> {
    fn seconds(&self) -> f64 {
        self.mel.frames as f64 * FRAME_SECONDS
    }
}

/// A way to decode a window.
struct Way {
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

    /// Decodes the stretches without words by themselves, and adds what is surely said there.
    fn fill_gaps(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        attempts: &mut [Attempt],
        words: &mut [Vec<TokenWord>],
        timings: &mut Timings,
    ) -> Result<(), TranscribeError> {
        let mut stretches = Vec::new();
        for (i, task) in tasks.iter().enumerate() {
            if has_text(&attempts[i]) && !attempts[i].is_silent(&self.options) {
                let found = gaps(&words[i], task.seconds()).into_iter();
                stretches.extend(found.map(|gap| (i, gap)));
            }
        }
        let mut found: BTreeMap<usize, Vec<Found>> = BTreeMap::new();
        for stretches in stretches.chunks(tasks.len().max(1)) {
            let heard = self.hear_gaps(engine, tasks, stretches, timings)?;
            for (&(i, gap), heard) in stretches.iter().zip(heard) {
                let unknown = unknown(&words[i], gap, heard);
                found.entry(i).or_default().extend(unknown);
            }
        }
        found.retain(|_, found| !found.is_empty());
        // Twice: where one of several finds is wrong, the others are judged anew without it.
        for _ in 0..2 {
            if found.is_empty() {
                break;
            }
            found = self.add_found(engine, tasks, attempts, words, found, timings)?;
        }
        Ok(())
    }

    /// Adds to each window what was found, if the model agrees to all of it. Gives what it agrees to
    /// in the other windows.
    fn add_found(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        attempts: &mut [Attempt],
        words: &mut [Vec<TokenWord>],
        found: BTreeMap<usize, Vec<Found>>,
        timings: &mut Timings,
    ) -> Result<BTreeMap<usize, Vec<Found>>, TranscribeError> {
        let texts: Vec<Filled> = found
            .iter()
            .map(|(&i, found)| filled(&words[i], found))
            .collect();
        let subset: Vec<Task<'_>> = found.keys().map(|&i| tasks[i].clone()).collect();
        let candidates = found.keys().zip(&texts).map(|(&i, text)| Attempt {
            decoded: Decoded {
                tokens: text.tokens.clone(),
                ..attempts[i].decoded.clone()
            },
            ..attempts[i].clone()
        });
        let candidates: Vec<Attempt> = candidates.collect();
        let aligned = self.words_and_probabilities(engine, &subset, &candidates, timings)?;
        let mut left = BTreeMap::new();
        let judged = found.into_iter().zip(texts).zip(candidates).zip(aligned);
        for ((((i, mut found), text), candidate), (timed, probabilities)) in judged {
            let is_sure = |range: &Range<usize>| {
                let probabilities = probabilities.get(range.clone()).unwrap_or(&[]);
                !probabilities.is_empty() && log_probability(probabilities) >= SURE_LOG_PROBABILITY
            };
            let sure: Vec<bool> = text.found.iter().map(is_sure).collect();
            if sure.iter().all(|&sure| sure) {
                words[i] = timed;
                attempts[i] = candidate;
                continue;
            }
            let mut sure = sure.into_iter();
            found.retain(|_| sure.next().unwrap_or(false));
            if !found.is_empty() {
                left.insert(i, found);
            }
        }
        Ok(left)
    }

    /// What may be said in each of `stretches`, at most as many as there are tasks, in times of their
    /// windows.
    fn hear_gaps(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        stretches: &[(usize, Gap)],
        timings: &mut Timings,
    ) -> Result<Vec<Vec<TokenWord>>, TranscribeError> {
        let (way, _) = self.ways();
        let cuts = stretches.iter().map(|&(i, gap)| cut(&tasks[i].mel, gap));
        let parts = cuts.zip(stretches).map(|(mel, &(i, _))| Task {
            mel,
            voice: tasks[i].voice,
        });
        let parts: Vec<Task<'_>> = parts.collect();
        let heard = self.generate(engine, &parts, &way, timings)?;
        let mut found = self.words(engine, &parts, &heard, timings)?;
        for (words, attempt) in found.iter_mut().zip(&heard) {
            if attempt.needs_another_try(&self.options) {
                words.clear();
            }
        }
        Ok(found)
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
                let says_more = has_text(&attempt) && !has_text(&best[i]);
                if passes
                    || says_more
                    || (has_text(&attempt) && is_better(&attempt, &best[i], &self.options))
                {
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
    fn ways(&self) -> (Way, Vec<Way>) {
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
                no_repeat_ngram_size: LOOP_TOKENS,
                repetition_penalty: LOOP_PENALTY,
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

    fn generate(
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
        let started = Instant::now();
        let mut answers = engine.generate(&requests, &way.decode)?;
        timings.add(TimedStage::Generate, started.elapsed());
        if answers.len() != tasks.len() {
            return Err(TranscribeError::NoAnswer);
        }
        for answer in &mut answers {
            answer
                .tokens
                .retain(|&token| self.tokenizer.timestamp_position(token).is_none());
        }
        let temperature = way.decode.temperature;
        let attempts = answers.into_iter();
        attempts
            .map(|answer| judge(&self.tokenizer, answer, temperature, &self.options))
            .collect()
    }

    /// The words of windows and their times in these.
    fn words(
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
    fn words_and_probabilities(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        attempts: &[Attempt],
        timings: &mut Timings,
    ) -> Result<Vec<(Vec<TokenWord>, Vec<f32>)>, TranscribeError> {
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

/// Mean log-probability of words that are believed in a stretch where none were found at first.
const SURE_LOG_PROBABILITY: f64 = -0.5;

/// Tokens that a window that looped may not repeat, and how much less likely used tokens become there.
const LOOP_TOKENS: usize = 4;
const LOOP_PENALTY: f32 = 1.1;

fn has_text(attempt: &Attempt) -> bool {
    !attempt.decoded.tokens.is_empty()
}

fn hundredths(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}
