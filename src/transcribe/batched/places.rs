//! Where found words belong in a window's text.
//!
//! Words that were found by themselves may be known in part, because their stretch cut a sentence at its
//! ends, and alignment may have put the known ones near them on the wrong side. So there are several places
//! for them, and the model says which it finds the likeliest.

use std::ops::Range;

use super::gaps::Gap;
use crate::transcribe::words::TokenWord;

/// Marks that end a sentence.
const SENTENCE_ENDS: [char; 7] = ['.', '?', '!', '。', '？', '！', '…'];

/// Words that were found in a stretch, and before which of the window's words they belong.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) at: usize,
    pub(super) tokens: Vec<u32>,
}

/// Where words that were found in a stretch may belong: where their time says, less what is known there;
/// and, as a whole, at the ends of the sentence that they would cut. Nowhere, if the stretch has words and
/// these are the same: they are not said twice.
pub(super) fn places(words: &[TokenWord], stretch: Gap, found: &[TokenWord]) -> Vec<Found> {
    let at = words.partition_point(|word| word.start < stretch.start);
    let whole: Vec<u32> = tokens(found);
    let mut places: Vec<Found> = unknown(words, at, found).into_iter().collect();
    if whole.is_empty() || places.is_empty() && !stretch.is_bare(words) {
        return Vec::new();
    }
    let is_between =
        |at: &usize| *at == 0 || *at == words.len() || words[*at - 1].text.ends_with(SENTENCE_ENDS);
    let before = (0..=at).rev().find(is_between);
    let behind = (at..=words.len()).find(is_between);
    for at in [behind, before].into_iter().flatten() {
        let found = Found {
            at,
            tokens: whole.clone(),
        };
        if !places.contains(&found) {
            places.push(found);
        }
    }
    places
}

fn tokens(words: &[TokenWord]) -> Vec<u32> {
    words.iter().flat_map(|word| word.tokens.clone()).collect()
}

/// What of `found` is not what stands before and behind `at` already.
fn unknown(words: &[TokenWord], at: usize, mut found: &[TokenWord]) -> Option<Found> {
    let (before, behind) = words.split_at(at);
    let overlap = |count: &usize| is_same(&found[..*count], &before[before.len() - count..]);
    let most = found.len().min(before.len());
    let known = (1..=most).rev().find(overlap).unwrap_or(0);
    found = &found[known..];
    let overlap = |count: &usize| is_same(&found[found.len() - count..], &behind[..*count]);
    let most = found.len().min(behind.len());
    let known = (1..=most).rev().find(overlap).unwrap_or(0);
    let tokens = tokens(&found[..found.len() - known]);
    (!tokens.is_empty()).then_some(Found { at, tokens })
}

/// A window's text with what was found in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filled {
    pub(super) tokens: Vec<u32>,
    /// Where among them each of the found texts is.
    pub(super) found: Vec<Range<usize>>,
}

/// Puts texts that are in order of their places among the words.
pub(super) fn filled(words: &[TokenWord], found: &[Found]) -> Filled {
    let mut filled = Filled::default();
    let mut found = found.iter().peekable();
    for at in 0..=words.len() {
        while let Some(text) = found.next_if(|text| text.at <= at) {
            let from = filled.tokens.len();
            filled.tokens.extend(&text.tokens);
            filled.found.push(from..filled.tokens.len());
        }
        if let Some(word) = words.get(at) {
            filled.tokens.extend(&word.tokens);
        }
    }
    filled
}

/// Mean log-probability of a text's tokens.
pub(super) fn log_probability(probabilities: &[f32]) -> f64 {
    let count = probabilities.len().max(1) as f64;
    let sum: f64 = probabilities
        .iter()
        .map(|&p| f64::from(p).max(1e-10).ln())
        .sum();
    sum / count
}

fn is_same(a: &[TokenWord], b: &[TokenWord]) -> bool {
    a.iter().zip(b).all(|(a, b)| plain(a) == plain(b))
}

/// A word without case and marks.
fn plain(word: &TokenWord) -> String {
    let letters = word.text.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, token: u32, start: f64) -> TokenWord {
        TokenWord {
            tokens: vec![token],
            ..crate::transcribe::words::word_for_test(text, start, start + 0.5)
        }
    }

    fn from(start: f64) -> Gap {
        Gap {
            start,
            end: start + 1.0,
        }
    }

    fn found(at: usize, tokens: &[u32]) -> Found {
        Found {
            at,
            tokens: tokens.to_vec(),
        }
    }

    #[test]
    fn known_words_are_not_found_again() {
        let known = [
            word(" One", 1, 0.0),
            word(" two.", 2, 0.5),
            word(" Five", 5, 6.0),
        ];
        let heard = [
            word(" Two", 2, 1.2),
            word(" three", 3, 2.0),
            word(" five.", 5, 5.5),
        ];
        assert_eq!(
            places(&known, from(1.0), &heard),
            [found(2, &[3]), found(2, &[2, 3, 5])]
        );
        // What is said twice may have been written once; not where it is written.
        let heard = [word(" one", 1, 1.0), word(" two", 2, 1.5)];
        assert_eq!(places(&known, from(1.0), &heard), [found(2, &[1, 2])]);
        assert_eq!(places(&known, from(0.4), &heard[1..]), []);
        assert_eq!(places(&known, from(1.0), &[]), []);
    }

    #[test]
    fn a_sentence_may_belong_before_or_behind_the_one_that_it_would_cut() {
        let known = [
            word(" One.", 1, 0.0),
            word(" Two", 2, 1.0),
            word(" three.", 3, 3.0),
            word(" Four.", 4, 4.0),
        ];
        let heard = [word(" Five.", 5, 2.0)];
        assert_eq!(
            places(&known, from(2.0), &heard),
            [found(2, &[5]), found(3, &[5]), found(1, &[5])]
        );
        assert_eq!(places(&known, from(3.9), &heard), [found(3, &[5])]);
        assert_eq!(places(&[], from(3.9), &heard), [found(0, &[5])]);
    }

    #[test]
    fn found_texts_are_put_at_their_places() {
        let known = [
            word(" One", 1, 0.0),
            word(" two.", 2, 0.5),
            word(" Five", 5, 6.0),
        ];
        let filled = filled(&known, &[found(2, &[3]), found(3, &[6, 7])]);
        assert_eq!(filled.tokens, [1, 2, 3, 5, 6, 7]);
        assert_eq!(filled.found, [2..3, 4..6]);
    }

    #[test]
    fn a_texts_probability_is_the_mean_of_its_tokens() {
        assert!((log_probability(&[1.0, 0.5]) - 0.5_f64.ln() / 2.0).abs() < 1e-6);
        assert!(log_probability(&[0.0]) < -20.0);
        assert_eq!(log_probability(&[]), 0.0);
    }
}
