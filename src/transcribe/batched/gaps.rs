//! Stretches of a window where speech was heard and no words were found.
//!
//! A model that decodes text without timestamps sometimes ends early or skips a sentence, and is sure of
//! itself. Alignment shows it: the text ends long before the window does, or a word lasts for seconds.
//! Such a stretch is decoded once more, by itself. What is found there may be known already and only
//! misplaced; so the window's text is aligned anew with the find in it, and the model's own probability
//! of the found words, after those before them, decides.

use std::ops::Range;
use std::sync::Arc;

use crate::transcribe::engine::MelWindow;
use crate::transcribe::words::TokenWord;

/// Shorter stretches are a pause or a margin, in seconds.
const SHORTEST_S: f64 = 1.2;

/// Longer words hide something, in seconds.
const LONGEST_WORD_S: f64 = 1.8;

/// What a word that hides something keeps of its time, in seconds.
const WORD_S: f64 = 0.5;

/// Heard on both sides of a stretch, in frames of 10 ms: words are not found to the frame.
const MARGIN: usize = 10;

/// Seconds of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gap {
    pub(super) start: f64,
    pub(super) end: f64,
}

/// Where a window of `seconds` has no words, in order.
pub(super) fn gaps(words: &[TokenWord], seconds: f64) -> Vec<Gap> {
    let mut found = Vec::new();
    let mut reached = 0.0_f64;
    for word in words {
        found.push(Gap {
            start: reached,
            end: word.start,
        });
        if word.end - word.start > LONGEST_WORD_S {
            found.push(Gap {
                start: word.start + WORD_S,
                end: word.end,
            });
        }
        reached = reached.max(word.end);
    }
    found.push(Gap {
        start: reached,
        end: seconds,
    });
    found.retain(|gap| gap.end > gap.start);
    // A long word and the silence of words behind it are one stretch.
    found.dedup_by(|next, gap| {
        let is_one = next.start - gap.end < 0.01;
        if is_one {
            gap.end = next.end;
        }
        is_one
    });
    found.retain(|gap| gap.end - gap.start >= SHORTEST_S);
    found
}

/// A window of the gap's features alone.
pub(super) fn cut(window: &MelWindow, gap: Gap) -> Arc<MelWindow> {
    let frame = |seconds: f64| (seconds * 100.0) as usize;
    let from = frame(gap.start).saturating_sub(MARGIN).min(window.frames);
    let to = (frame(gap.end) + MARGIN).min(window.frames);
    let frames = to.saturating_sub(from);
    let mut features = vec![0.0; window.features.len()];
    let rows = features.chunks_exact_mut(MelWindow::FRAMES);
    for (row, heard) in rows.zip(window.features.chunks_exact(MelWindow::FRAMES)) {
        row[..frames].copy_from_slice(&heard[from..from + frames]);
    }
    let cut = MelWindow {
        features,
        n_mels: window.n_mels,
        frames,
    };
    Arc::new(cut)
}

/// Words that were found in a stretch, and before which of the window's words they belong.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) at: usize,
    pub(super) tokens: Vec<u32>,
}

/// What of `found` is not known already, because the stretch cut a sentence at its ends.
pub(super) fn unknown(words: &[TokenWord], gap: Gap, mut found: Vec<TokenWord>) -> Option<Found> {
    let at = words.partition_point(|word| word.start < gap.start);
    let (before, behind) = words.split_at(at);
    let overlap = |count: &usize| is_same(&found[..*count], &before[before.len() - count..]);
    let most = found.len().min(before.len());
    let known = (1..=most).rev().find(overlap).unwrap_or(0);
    found.drain(..known);
    let overlap = |count: &usize| is_same(&found[found.len() - count..], &behind[..*count]);
    let most = found.len().min(behind.len());
    let known = (1..=most).rev().find(overlap).unwrap_or(0);
    found.truncate(found.len() - known);
    let tokens: Vec<u32> = found.into_iter().flat_map(|word| word.tokens).collect();
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
    use crate::transcribe::words::word_for_test as word;

    #[test]
    fn an_early_end_and_a_long_word_are_gaps() {
        let words = [
            word(" a", 0.3, 0.8),
            word(" b", 0.8, 4.8),
            word(" c", 4.8, 5.0),
        ];
        let found = gaps(&words, 9.0);
        let expected = [(1.3, 4.8), (5.0, 9.0)];
        assert_eq!(found.len(), 2);
        for (gap, (start, end)) in found.iter().zip(expected) {
            assert!((gap.start - start).abs() < 1e-9 && (gap.end - end).abs() < 1e-9);
        }
        assert!(gaps(&words[..1], 1.9).is_empty());
        assert_eq!(gaps(&[], 3.0).len(), 1);
    }

    #[test]
    fn a_gaps_features_are_its_own() {
        let mut features = vec![0.0; 2 * MelWindow::FRAMES];
        for (at, value) in features.iter_mut().enumerate() {
            *value = at as f32;
        }
        let window = MelWindow {
            features,
            n_mels: 2,
            frames: 1000,
        };
        let gap = Gap {
            start: 5.0,
            end: 20.0,
        };
        let cut = cut(&window, gap);
        assert_eq!(cut.frames, 510);
        assert_eq!(cut.features[..510], window.features[490..1000]);
        let second = MelWindow::FRAMES;
        assert_eq!(cut.features[second], window.features[second + 490]);
        assert_eq!(cut.features[510..second], vec![0.0; second - 510]);
    }

    #[test]
    fn known_words_are_not_found_again() {
        let word = |text: &str, token: u32, start: f64| TokenWord {
            tokens: vec![token],
            ..word(text, start, start + 0.5)
        };
        let known = [
            word(" One", 1, 0.0),
            word(" two.", 2, 0.5),
            word(" Five", 5, 6.0),
        ];
        let gap = Gap {
            start: 1.0,
            end: 6.0,
        };
        let heard = vec![
            word(" Two", 2, 1.2),
            word(" three", 3, 2.0),
            word(" five.", 5, 5.5),
        ];
        let found = unknown(&known, gap, heard).unwrap();
        assert_eq!((found.at, found.tokens.as_slice()), (2, [3].as_slice()));
        let twice = [
            found.clone(),
            Found {
                at: 3,
                tokens: vec![6, 7],
            },
        ];
        let filled = filled(&known, &twice);
        assert_eq!(filled.tokens, [1, 2, 3, 5, 6, 7]);
        assert_eq!(filled.found, [2..3, 4..6]);
        for heard in [
            vec![word(" one", 1, 1.0), word(" two", 2, 1.5)],
            vec![word(" five", 5, 5.5)],
            Vec::new(),
        ] {
            assert_eq!(unknown(&known, gap, heard), None);
        }
    }

    #[test]
    fn a_texts_probability_is_the_mean_of_its_tokens() {
        assert!((log_probability(&[1.0, 0.5]) - 0.5_f64.ln() / 2.0).abs() < 1e-6);
        assert!(log_probability(&[0.0]) < -20.0);
        assert_eq!(log_probability(&[]), 0.0);
    }
}
