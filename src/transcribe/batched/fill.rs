//! Stretches of a batch's windows that have no words, decoded by themselves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use super::decode::{Aligned, Decoder, Task, has_text};
use super::gaps::{Gap, cut, stretches};
use super::places::{Filled, Found, filled, log_probability, places};
use crate::transcribe::engine::{Decoded, POSITIONS, SpeechEngine};
use crate::transcribe::fallback::Attempt;
use crate::transcribe::kpis::Timings;
use crate::transcribe::sequential::TranscribeError;
use crate::transcribe::words::TokenWord;

/// Positions that prompt and end-of-text take while words are aligned.
const PROMPT_AND_END: usize = 6;

/// Tokens that a window's text may have: what the decoder has positions for, beside the prompt and the
/// end.
const MOST_TOKENS: usize = POSITIONS - PROMPT_AND_END;

/// Mean log-probability of words that are believed in a stretch where none were found at first.
const SURE_LOG_PROBABILITY: f64 = -0.5;

impl Decoder {
    /// Decodes the stretches whose words say too little by themselves, and adds what is surely said
    /// there.
    pub(super) fn fill_gaps(
        &self,
        engine: &mut dyn SpeechEngine,
        tasks: &[Task<'_>],
        attempts: &mut [Attempt],
        words: &mut [Vec<TokenWord>],
        timings: &mut Timings,
    ) -> Result<(), TranscribeError> {
        let mut suspicious = Vec::new();
        for (i, task) in tasks.iter().enumerate() {
            if has_text(&attempts[i]) && !attempts[i].is_silent(&self.options) {
                let found = stretches(&words[i], &task.speech, task.seconds()).into_iter();
                suspicious.extend(found.map(|stretch| (i, stretch)));
            }
        }
        let mut found: BTreeMap<usize, Vec<Found>> = BTreeMap::new();
        for stretches in suspicious.chunks(tasks.len().max(1)) {
            let heard = self.hear_gaps(engine, tasks, stretches, timings)?;
            for (&(i, stretch), heard) in stretches.iter().zip(heard) {
                let places = places(&words[i], stretch, &heard);
                let known = (&tasks[i], &attempts[i], words[i].as_slice());
                if let Some(place) = self.likeliest(engine, known, places, timings)? {
                    let window = found.entry(i).or_default();
                    if fits(&words[i], window, &place) {
                        window.push(place);
                    }
                }
            }
        }
        if !suspicious.is_empty() {
            let finds: usize = found.values().map(Vec::len).sum();
            let stretches = suspicious.len();
            tracing::debug!(stretches, finds, "decoded what has too few words");
        }
        for found in found.values_mut() {
            found.sort_by_key(|found| found.at);
        }
        // Twice: where one of several finds is wrong, the others are judged anew without it.
        for _ in 0..2 {
            if found.is_empty() {
                break;
            }
            found = self.add_found(engine, tasks, attempts, words, found, timings)?;
        }
        Ok(())
    }

    /// Where found words are the likeliest in a window.
    fn likeliest(
        &self,
        engine: &mut dyn SpeechEngine,
        (task, attempt, words): (&Task<'_>, &Attempt, &[TokenWord]),
        mut places: Vec<Found>,
        timings: &mut Timings,
    ) -> Result<Option<Found>, TranscribeError> {
        if places.len() < 2 {
            return Ok(places.pop());
        }
        let mut best: Option<(f64, Found)> = None;
        for place in places {
            let Filled { tokens, found } = filled(words, slice::from_ref(&place));
            if tokens.len() > MOST_TOKENS {
                continue;
            }
            let candidate = [with_tokens(attempt, tokens)];
            let task = slice::from_ref(task);
            let aligned = self.words_and_probabilities(engine, task, &candidate, timings)?;
            let pair = aligned.first().zip(found.first());
            let likely = pair.map_or(f64::MIN, |(aligned, range)| likelihood(aligned, range));
            if best.as_ref().is_none_or(|(best, _)| likely > *best) {
                best = Some((likely, place));
            }
        }
        Ok(best.map(|(_, place)| place))
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
        let candidates = found.keys().zip(&texts);
        let candidates: Vec<Attempt> = candidates
            .map(|(&i, text)| with_tokens(&attempts[i], text.tokens.clone()))
            .collect();
        let aligned = self.words_and_probabilities(engine, &subset, &candidates, timings)?;
        let mut left = BTreeMap::new();
        let judged = found.into_iter().zip(texts).zip(candidates).zip(aligned);
        for ((((i, mut found), text), candidate), aligned) in judged {
            let is_sure =
                |range: &Range<usize>| likelihood(&aligned, range) >= SURE_LOG_PROBABILITY;
            let sure: Vec<bool> = text.found.iter().map(is_sure).collect();
            if sure.iter().all(|&sure| sure) {
                words[i] = aligned.0;
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
            speech: Arc::from([]),
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
}

/// How likely the tokens in `range` of an aligned text are there: the mean log-probability of these, or of
/// as many behind them if that is lower. Before a sentence its own copy is likely, and the sentence no more.
fn likelihood((_, probabilities): &Aligned, range: &Range<usize>) -> f64 {
    let Some(found) = probabilities.get(range.clone()).filter(|p| !p.is_empty()) else {
        return f64::MIN;
    };
    let behind = range.end..probabilities.len().min(range.end + found.len());
    // Without any the mean is 0.
    let behind = probabilities.get(behind).unwrap_or_default();
    log_probability(found).min(log_probability(behind))
}

/// An answer with another text.
fn with_tokens(attempt: &Attempt, tokens: Vec<u32>) -> Attempt {
    Attempt {
        decoded: Decoded {
            tokens,
            ..attempt.decoded.clone()
        },
        ..attempt.clone()
    }
}

/// Whether the decoder has positions for a window's words, what was found in it, and one find more.
fn fits(words: &[TokenWord], found: &[Found], next: &Found) -> bool {
    let said: usize = words.iter().map(|word| word.tokens.len()).sum();
    let added: usize = found.iter().map(|found| found.tokens.len()).sum();
    said + added + next.tokens.len() <= MOST_TOKENS
}
