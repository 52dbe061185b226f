//! Words and when they were said, from the tokens of one window and their alignment.
//!
//! The steps, each a function of its own, in the order in which openai's `add_word_timestamps` and
//! faster-whisper 1.2 take them: [`words_of`] splits the text and reads the times off the
//! alignment, [`TypicalDuration::of`] measures the words, [`shorten_at_sentence_ends`] takes back
//! what was stretched over a pause, [`merge_punctuation`] joins marks to their words, and
//! [`shorten_after_pause`] does for a segment's first words what the second step did within it.
//!
//! An alignment comes from a model and may be anything. Words in order, none ending before it
//! begins and none outside the window are what these functions give for every input, and keep.

mod durations;
mod punctuation;
mod split;
mod times;

pub use durations::{TypicalDuration, shorten_after_pause, shorten_at_sentence_ends};
pub use punctuation::merge_punctuation;

use super::engine::Alignment;
use super::tokenizer::{Tokenizer, TokenizerError};

/// A word of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenWord {
    /// With its leading space; never empty.
    pub text: String,
    /// What it was decoded from; at least one.
    pub tokens: Vec<u32>,
    /// Start in seconds from the window's start.
    pub start: f64,
    /// End in seconds from the window's start, at least [`start`](Self::start).
    pub end: f64,
    /// Mean probability of its tokens, 0 to 1; 0 where it is unknown.
    pub probability: f32,
}

impl TokenWord {
    /// Length in seconds.
    pub fn duration(&self) -> f64 {
        self.end - self.start
    }
}

/// The words of a window's text.
///
/// `text_tokens` is what was aligned: text alone, without timestamps. Each word ends where the next
/// one starts and all lie within `window_seconds`; together they hold every token, unless the
/// tokens make no text at all. A token that the path leaves out starts with the next one that is in it;
/// without any path the tokens are spread evenly over the window.
pub fn words_of(
    tokenizer: &Tokenizer,
    language: &str,
    text_tokens: &[u32],
    alignment: &Alignment,
    window_seconds: f64,
) -> Result<Vec<TokenWord>, TokenizerError> {
    let parts = words_of_parts(
        tokenizer,
        language,
        &[text_tokens.to_vec()],
        alignment,
        window_seconds,
    )?;
    Ok(parts.into_iter().flatten().collect())
}

/// As [`words_of`], of a text in parts that were aligned in one piece; no word crosses from one
/// part to the next.
pub(super) fn words_of_parts(
    tokenizer: &Tokenizer,
    language: &str,
    parts: &[Vec<u32>],
    alignment: &Alignment,
    window_seconds: f64,
) -> Result<Vec<Vec<TokenWord>>, TokenizerError> {
    let count = parts.iter().map(Vec::len).sum();
    let starts = times::token_starts(&alignment.path, count, window_seconds);
    let mut first = 0;
    let mut timed = Vec::with_capacity(parts.len());
    for part in parts {
        let words = split::words(tokenizer, language, part)?;
        let words = words.into_iter().map(|piece| {
            let behind = first + piece.tokens.len();
            let probabilities = alignment.probabilities.get(first..behind);
            let word = TokenWord {
                start: starts[first],
                end: starts[behind],
                probability: mean(probabilities.unwrap_or_default()),
                text: piece.text,
                tokens: piece.tokens,
            };
            first = behind;
            word
        });
        timed.push(words.filter(|word| !word.text.is_empty()).collect());
    }
    Ok(timed)
}

fn mean(probabilities: &[f32]) -> f32 {
    let sum: f64 = probabilities.iter().map(|&p| f64::from(p)).sum();
    let mean = (sum / probabilities.len() as f64) as f32;
    if mean.is_finite() {
        mean.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// A word of one token that nobody doubts.
#[cfg(test)]
pub(super) fn word_for_test(text: &str, start: f64, end: f64) -> TokenWord {
    TokenWord {
        text: text.to_owned(),
        tokens: vec![1],
        start,
        end,
        probability: 0.9,
    }
}

#[cfg(test)]
mod tests;
