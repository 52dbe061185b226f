//! Stretches of a window where speech was heard and no words were found.
//!
//! A model that decodes text without timestamps sometimes ends early or skips a sentence, and is sure of
//! itself. Alignment shows it: the text ends long before the window does, or a word lasts for seconds.
//! Such a stretch is decoded once more, by itself. What is found there may be known already and only
//! misplaced; so the window's text is aligned anew with the find in it, and the model's own probability
//! of the found words, after those before them, decides.

use std::sync::Arc;

use super::islands::sparse;
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

impl Gap {
    /// Whether none of `words` has its middle in it.
    pub(super) fn is_bare(self, words: &[TokenWord]) -> bool {
        let middle = |word: &TokenWord| f64::midpoint(word.start, word.end);
        let is_inside = |word: &TokenWord| self.start < middle(word) && middle(word) < self.end;
        !words.iter().any(is_inside)
    }

    /// Whether most of `other` lies in it: then it need not be heard twice.
    fn has_most_of(self, other: Self) -> bool {
        let common = self.end.min(other.end) - self.start.max(other.start);
        common > 0.7 * (other.end - other.start)
    }
}

/// Where a window of `seconds` has no words, in order.
fn gaps(words: &[TokenWord], seconds: f64) -> Vec<Gap> {
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

/// Where a window's words say too little: its gaps, and what else is sparse in it. `speech` has the
/// probability of speech for each frame of 10 ms, as many as the window has.
pub(super) fn stretches(words: &[TokenWord], speech: &[f32], seconds: f64) -> Vec<Gap> {
    let mut found = gaps(words, seconds);
    let mut sparse = sparse(words, speech);
    sparse.retain(|island| found.iter().all(|gap| !gap.has_most_of(*island)));
    found.extend(sparse);
    found.sort_by(|a, b| a.start.total_cmp(&b.start));
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
}
