//! Words moved out of the pauses that were heard between them.
//!
//! Alignment gives each moment to some word, so that a word after a pause begins somewhere in it, often
//! a third of a second early, and a short one may lie in it as a whole. Speech detection knows where the
//! pause is; marks tell which words belong together.

use crate::transcribe::words::TokenWord;

/// Frames of 10 ms below this probability are silent.
const SILENT: f32 = 0.35;

/// Shorter silences are part of a word (a stop's closure has 0.05 to 0.1 s), in frames.
const SHORTEST: usize = 12;

/// How far beside a pause the words that alignment put on its wrong side may lie, in seconds.
const MISPLACED_S: f64 = 0.3;

/// Ends the words before each pause where it begins and starts those behind where it ends. `speech`
/// has the probability of speech for each frame of 10 ms of the window.
pub(super) fn leave_pauses(words: &mut [TokenWord], speech: &[f32]) {
    for (start, end) in pauses(speech) {
        let at = match (start, end) {
            (0, _) => 0,
            (_, end) if end == speech.len() => words.len(),
            _ => parting(words, seconds(start), seconds(end)),
        };
        let (before, behind) = words.split_at_mut(at);
        end_by(before, seconds(start));
        begin_at(behind, seconds(end));
    }
}

pub(super) fn seconds(frame: usize) -> f64 {
    frame as f64 / 100.0
}

/// Runs of silent frames that are long enough for a pause: first frame, and one behind the last.
pub(super) fn pauses(speech: &[f32]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut run = 0;
    for (at, &probability) in speech.iter().chain([&1.0]).enumerate() {
        if probability >= SILENT {
            runs.push((run, at));
            run = at + 1;
        }
    }
    runs.retain(|(start, end)| end - start >= SHORTEST);
    runs
}

/// How many words are before the pause: those whose middle is, give or take some that are nearly in
/// it, where a mark parts them.
fn parting(words: &[TokenWord], start: f64, end: f64) -> usize {
    let middle = |word: &TokenWord| f64::midpoint(word.start, word.end);
    let pause = f64::midpoint(start, end);
    let usual = words.partition_point(|word| middle(word) < pause);
    let is_near =
        |word: &&TokenWord| middle(word) > start - MISPLACED_S && middle(word) < end + MISPLACED_S;
    let back = words[..usual].iter().rev().take_while(is_near).count();
    let ahead = words[usual..].iter().take_while(is_near).count();
    let nearest = |marks: &[char]| {
        let ends = |&at: &usize| at > 0 && words[at - 1].text.ends_with(marks);
        let candidates = (usual - back..=usual + ahead).filter(ends);
        candidates.min_by_key(|at| at.abs_diff(usual))
    };
    nearest(&SENTENCE_ENDS)
        .or_else(|| nearest(&CLAUSE_ENDS))
        .unwrap_or(usual)
}

/// Marks that speakers pause at, the surer ones first.
const SENTENCE_ENDS: [char; 7] = ['.', '?', '!', '。', '？', '！', '…'];
const CLAUSE_ENDS: [char; 5] = [',', ';', ':', '，', '、'];

/// Moves words that reach beyond `limit` before it; those that lie beyond share the time of the last
/// one that does not.
fn end_by(words: &mut [TokenWord], limit: f64) {
    if words.last().is_none_or(|word| word.end <= limit) {
        return;
    }
    let inside = words.iter().rposition(|word| word.start < limit);
    let from = inside.unwrap_or(0);
    let begin = words[from].start.min(limit);
    share(&mut words[from..], begin, limit);
}

/// Moves words that begin before `limit` behind it; those that end before it share the time of the first
/// one that does not.
fn begin_at(words: &mut [TokenWord], limit: f64) {
    if words.first().is_none_or(|word| word.start >= limit) {
        return;
    }
    let inside = words.iter().position(|word| word.end > limit);
    let to = inside.unwrap_or(words.len() - 1);
    let end = words[to].end.max(limit);
    share(&mut words[..=to], limit, end);
}

/// Lays words one behind the other from `start` to `end`, by their letters.
fn share(words: &mut [TokenWord], start: f64, end: f64) {
    let letters = |word: &TokenWord| word.text.trim().chars().count().max(1) as f64;
    let total: f64 = words.iter().map(letters).sum();
    let mut reached = start;
    let mut passed = 0.0;
    for word in words {
        passed += letters(word);
        word.start = reached;
        reached = start + (end - start) * (passed / total);
        word.end = reached;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transcribe::words::word_for_test as word;

    /// Silent in these frames.
    fn speech(silences: &[std::ops::Range<usize>], frames: usize) -> Vec<f32> {
        let is_silent = |frame: usize| silences.iter().any(|silence| silence.contains(&frame));
        let probability = |frame| if is_silent(frame) { 0.1 } else { 0.9 };
        (0..frames).map(probability).collect()
    }

    fn times(words: &[TokenWord]) -> Vec<(f64, f64)> {
        let round = |seconds: f64| (seconds * 100.0).round() / 100.0;
        words
            .iter()
            .map(|word| (round(word.start), round(word.end)))
            .collect()
    }

    #[test]
    fn words_keep_out_of_pauses() {
        let mut words = [
            word(" a", 0.0, 1.0),
            word(" b", 1.0, 2.0),
            word(" c", 2.0, 2.5),
        ];
        let heard = speech(&[0..20, 90..140, 195..200, 240..300], 300);
        leave_pauses(&mut words, &heard);
        assert_eq!(times(&words), [(0.2, 0.9), (1.4, 2.0), (2.0, 2.4)]);
    }

    #[test]
    fn a_mark_decides_which_side_a_word_is_on() {
        // The alignment has "The" before the pause and in it.
        let mut words = [
            word(" end.", 0.5, 0.9),
            word(" The", 0.9, 1.1),
            word(" weather", 1.1, 2.0),
        ];
        leave_pauses(&mut words, &speech(&[90..110, 110..130], 200));
        assert_eq!(times(&words), [(0.5, 0.9), (1.3, 1.51), (1.51, 2.0)]);
        let mut words = [
            word(" the", 0.0, 0.9),
            word(" end.", 1.3, 1.4),
            word(" So", 1.4, 2.0),
        ];
        leave_pauses(&mut words, &speech(&[90..110, 110..130], 200));
        assert_eq!(times(&words), [(0.0, 0.39), (0.39, 0.9), (1.4, 2.0)]);
    }

    proptest! {
        #[test]
        fn words_stay_in_order(
            lengths in prop::collection::vec((0.0..0.5_f64, 0.0..1.0_f64, any::<bool>()), 0..12),
            silent in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut at = 0.0;
            let mut words: Vec<TokenWord> = lengths.iter().map(|&(gap, length, is_end)| {
                let start = at + gap;
                at = start + length;
                word(if is_end { " end." } else { " on" }, start, at)
            }).collect();
            let heard: Vec<f32> = silent.iter().flat_map(|&s| [if s { 0.0 } else { 1.0 }; 20]).collect();
            leave_pauses(&mut words, &heard);
            let mut reached = 0.0;
            for word in &words {
                prop_assert!(word.start >= reached - 1e-9 && word.end >= word.start - 1e-9);
                reached = word.end;
            }
            prop_assert!(reached <= at.max(heard.len() as f64 / 100.0) + 1e-9);
        }
    }
}
