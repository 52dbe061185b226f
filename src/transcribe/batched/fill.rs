//! Stretches of a batch's windows that have no words, decoded by themselves.

use std::collections::BTreeMap;
use std::ops::Range;

use super::decode::{Decoder, Task, has_text};
use super::gaps::{Filled, Found, Gap, cut, filled, gaps, log_probability, unknown};
use crate::transcribe::engine::{Decoded, POSITIONS, SpeechEngine};
use crate::transcribe::fallback::Attempt;
use crate::transcribe::kpis::Timings;
use crate::transcribe::sequential::TranscribeError;
use crate::transcribe::words::TokenWord;

/// Positions that prompt and end-of-text take while words are aligned.
const PROMPT_AND_END: usize = 6;

/// Mean log-probability of words that are believed in a stretch where none were found at first.
const SURE_LOG_PROBABILITY: f64 = -0.5;

impl Decoder {
    /// Decodes the stretches without words by themselves, and adds what is surely said there.
    pub(super) fn fill_gaps(
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
        // What the decoder has positions for, beside the prompt and the end.
        let most = POSITIONS - PROMPT_AND_END;
        for stretches in stretches.chunks(tasks.len().max(1)) {
            let heard = self.hear_gaps(engine, tasks, stretches, timings)?;
            for (&(i, gap), heard) in stretches.iter().zip(heard) {
                let Some(unknown) = unknown(&words[i], gap, heard) else {
                    continue;
                };
                let window = found.entry(i).or_default();
                let said: usize = words[i].iter().map(|word| word.tokens.len()).sum();
                let added: usize = window.iter().map(|found| found.tokens.len()).sum();
                if said + added + unknown.tokens.len() <= most {
                    window.push(unknown);
                }
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
}
