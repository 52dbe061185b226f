//! Words that were stretched over a pause, brought back to a word's length.
//!
//! Alignment gives every moment to some word, so a pause lengthens the word beside it. Without
//! hearing the pause, a word much longer than its neighbours is the sign of it.

use super::TokenWord;

/// Longest median that is believed, in seconds.
const LONGEST_MEDIAN: f64 = 0.7;

/// Marks that end a sentence.
const SENTENCE_ENDS: &str = ".。!！?？";

/// How long the words of a window are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TypicalDuration {
    /// Median length of the words that have one, in seconds, 0.7 at most; 0 where none has.
    pub median: f64,
}

impl TypicalDuration {
    /// Measures words as [`words_of`](super::words_of) gives them.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a TokenWord>) -> Self {
        let durations = words.into_iter().map(TokenWord::duration);
        let mut durations: Vec<f64> = durations.filter(|&duration| duration > 0.0).collect();
        durations.sort_by(f64::total_cmp);
        let middle = durations.len() / 2;
        let median = match durations.len() {
            0 => 0.0,
            count if count % 2 == 1 => durations[middle],
            _ => f64::midpoint(durations[middle - 1], durations[middle]),
        };
        Self {
            median: median.min(LONGEST_MEDIAN),
        }
    }

    /// What a word beside a pause may take at most, in seconds.
    pub fn longest(self) -> f64 {
        self.median * 2.0
    }
}

/// Shortens a sentence mark that is too long to its start, and the word behind a mark to its end:
/// the pause between sentences is neither's.
pub fn shorten_at_sentence_ends(words: &mut [TokenWord], typical: TypicalDuration) {
    let is_mark = |word: &TokenWord| SENTENCE_ENDS.contains(word.text.as_str());
    let longest = typical.longest();
    if typical.median == 0.0 {
        return;
    }
    for i in 1..words.len() {
        if words[i].duration() <= longest {
            continue;
        }
        if is_mark(&words[i]) {
            words[i].end = words[i].start + longest;
        } else if is_mark(&words[i - 1]) {
            words[i].start = words[i].end - longest;
        }
    }
}

/// Shortens the first two words of a segment where they were stretched over the pause before
/// it. `silent_since` is when the segment before ended, on the same time base as the words, which
/// begins with the audio.
pub fn shorten_after_pause(words: &mut [TokenWord], typical: TypicalDuration, silent_since: f64) {
    let longest = typical.longest();
    let [first, rest @ ..] = words else { return };
    let mut second = rest.first_mut();
    let is_after_pause = first.end - silent_since > longest * 2.0;
    let is_long = first.duration() > longest;
    let both_are_long = |second: &TokenWord| second.end - first.start > longest * 2.0;
    if !is_after_pause || !(is_long || second.as_deref().is_some_and(both_are_long)) {
        return;
    }
    if let Some(second) = second.as_mut().filter(|second| second.duration() > longest) {
        let boundary = (second.end / 2.0).max(second.end - longest);
        first.end = boundary;
        second.start = boundary;
    }
    first.start = first.start.max(first.end - longest);
}
