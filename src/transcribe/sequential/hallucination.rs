//! Words that the model likely invented in a silence, told by their strange lengths.
//!
//! The rules of faster-whisper 1.2's `hallucination_silence_threshold`. openai's program has one more:
//! after a window whose last word ends closer to its end than the threshold, it goes on by the whole
//! window instead of behind that word.

use super::super::engine::MelWindow;
use super::super::segmenting::{FRAME_SECONDS, TimedTokens, WindowSpan};
use super::FRAMES_PER_SECOND;
use crate::domain::Word;

/// Marks that are no words.
const PUNCTUATION: &str = "\"'“¿([{-\"'.。,，!！?？:：”)]}、";

/// Words of a segment that are looked at.
const LOOKED_AT: usize = 8;

/// Sum of scores from which a segment is strange.
const STRANGE: f64 = 3.0;

/// As near to the window's ends, a segment counts as beside silence, in seconds.
const EDGE: f64 = 2.0;

/// What is known of silences around a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    /// How long a silence must be, in seconds.
    pub(super) threshold: f64,
    /// When the last word before the window ended, in seconds.
    pub(super) since: f64,
    /// Frames of the whole audio.
    pub(super) content_frames: u64,
}

/// What became of a window's segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// All are kept.
    Kept,
    /// Those from a strange one on were removed; the next window begins so many frames on.
    Cut {
        /// At least 1.
        advance: u64,
    },
    /// The first is strange and behind silence: nothing is kept, and the silence is left out.
    Skipped {
        /// At least 1.
        advance: u64,
    },
}

/// Removes segments that were likely invented.
pub(super) fn judge(
    segments: &mut Vec<TimedTokens>,
    span: WindowSpan,
    silence: Silence,
) -> Judgement {
    if let Some(advance) = leading_silence(segments, span, silence.threshold) {
        return Judgement::Skipped { advance };
    }
    let Some(first) = surrounded(segments, span, silence) else {
        return Judgement::Kept;
    };
    let advance = behind(&segments[first], span, silence);
    segments.truncate(first);
    Judgement::Cut { advance }
}

/// Frames before the first words, if they are strange and come after a silence.
fn leading_silence(segments: &[TimedTokens], span: WindowSpan, threshold: f64) -> Option<u64> {
    let first = next_with_words(segments)?;
    let gap = first.start - span.start();
    (is_strange(first) && gap > threshold).then(|| frames(gap).max(1))
}

/// The first strange segment that has silence, or more of its kind, on both sides.
fn surrounded(segments: &[TimedTokens], span: WindowSpan, silence: Silence) -> Option<usize> {
    let threshold = silence.threshold;
    let window_end = span.start() + MelWindow::FRAMES as f64 * FRAME_SECONDS;
    let mut last_end = silence.since;
    for (i, segment) in segments.iter().enumerate() {
        if segment.words.is_empty() {
            continue;
        }
        if is_strange(segment) {
            let next = next_with_words(&segments[i + 1..]);
            let next_start = next
                .and_then(|next| next.words.first())
                .map(|word| word.start);
            let next_start = next_start.unwrap_or(span.start() + span.seconds());
            let is_silent_before = segment.start - last_end > threshold
                || segment.start < threshold
                || segment.start - span.start() < EDGE;
            let is_silent_behind = next_start - segment.end > threshold
                || next.is_some_and(is_strange)
                || window_end - segment.end < EDGE;
            if is_silent_before && is_silent_behind {
                return Some(i);
            }
        }
        last_end = segment.end;
    }
    None
}

/// How far to go on so that a removed segment is decoded from its own start, a second further at least;
/// to the audio's end where nothing else can follow.
fn behind(removed: &TimedTokens, span: WindowSpan, silence: Silence) -> u64 {
    let content = silence.content_frames as f64 * FRAME_SECONDS;
    let seek = if content - removed.end < silence.threshold {
        silence.content_frames
    } else {
        frames((span.start() + 1.0).max(removed.start))
    };
    seek.saturating_sub(span.seek).max(1)
}

fn frames(seconds: f64) -> u64 {
    (seconds * FRAMES_PER_SECOND).round() as u64
}

fn next_with_words(segments: &[TimedTokens]) -> Option<&TimedTokens> {
    segments.iter().find(|segment| !segment.words.is_empty())
}

/// Whether its first words are mostly very short, very long or improbable.
fn is_strange(segment: &TimedTokens) -> bool {
    if segment.words.is_empty() {
        return false;
    }
    let words = segment.words.iter();
    let scores = words.filter(|word| !PUNCTUATION.contains(word.word.as_str()));
    let scores: Vec<f64> = scores.take(LOOKED_AT).map(strangeness).collect();
    let sum: f64 = scores.iter().sum();
    sum >= STRANGE || sum + 0.01 >= scores.len() as f64
}

fn strangeness(word: &Word) -> f64 {
    let duration = word.end - word.start;
    let improbable = f64::from(u8::from(word.probability < 0.15));
    let short = (0.133 - duration).max(0.0) * 15.0;
    let long = (duration - 2.0).max(0.0);
    improbable + short + long
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: WindowSpan = WindowSpan {
        seek: 6000,
        frames: 3000,
    };
    const SILENCE: Silence = Silence {
        threshold: 2.0,
        since: 60.0,
        content_frames: 100_000,
    };

    /// A segment of three words that are sure, or not at all.
    fn segment(start: f64, end: f64, probability: f32) -> TimedTokens {
        let length = (end - start) / 3.0;
        let word = |n: i32| Word {
            word: " word".to_owned(),
            start: start + length * f64::from(n),
            end: start + length * f64::from(n + 1),
            probability,
        };
        TimedTokens {
            start,
            end,
            tokens: vec![1],
            words: (0..3).map(word).collect(),
        }
    }

    const SURE: f32 = 0.9;
    const UNSURE: f32 = 0.1;

    fn judged(mut segments: Vec<TimedTokens>, silence: Silence) -> (Judgement, usize) {
        let judgement = judge(&mut segments, WINDOW, silence);
        (judgement, segments.len())
    }

    #[test]
    fn plain_words_are_kept() {
        let segments = vec![segment(65.0, 67.0, SURE), segment(72.0, 74.0, SURE)];
        assert_eq!(judged(segments, SILENCE), (Judgement::Kept, 2));
        assert_eq!(judged(Vec::new(), SILENCE), (Judgement::Kept, 0));
    }

    #[test]
    fn strange_words_behind_silence_make_the_window_start_at_them() {
        let segments = vec![segment(65.0, 67.0, UNSURE), segment(67.0, 69.0, SURE)];
        assert_eq!(
            judged(segments, SILENCE).0,
            Judgement::Skipped { advance: 500 }
        );
        let at_once = vec![segment(60.5, 62.0, UNSURE), segment(62.0, 64.0, SURE)];
        assert_eq!(judged(at_once, SILENCE), (Judgement::Kept, 2));
    }

    #[test]
    fn strange_words_between_silences_are_removed() {
        let segments = vec![
            segment(60.5, 64.0, SURE),
            segment(70.0, 72.0, UNSURE),
            segment(80.0, 82.0, SURE),
        ];
        assert_eq!(
            judged(segments, SILENCE),
            (Judgement::Cut { advance: 1000 }, 1)
        );
        let beside_speech = vec![
            segment(60.5, 69.0, SURE),
            segment(70.0, 72.0, UNSURE),
            segment(73.0, 75.0, SURE),
        ];
        assert_eq!(judged(beside_speech, SILENCE), (Judgement::Kept, 3));
    }

    #[test]
    fn strange_words_at_the_audios_end_end_it() {
        let silence = Silence {
            content_frames: 8300,
            ..SILENCE
        };
        let segments = vec![segment(60.5, 64.0, SURE), segment(80.0, 82.0, UNSURE)];
        assert_eq!(
            judged(segments, silence),
            (Judgement::Cut { advance: 2300 }, 1)
        );
    }

    #[test]
    fn a_removed_segment_at_the_windows_start_moves_on_by_a_second() {
        let silence = Silence {
            since: 50.0,
            ..SILENCE
        };
        let segments = vec![segment(60.2, 62.0, UNSURE), segment(70.0, 72.0, SURE)];
        assert_eq!(
            judged(segments, silence),
            (Judgement::Cut { advance: 100 }, 0)
        );
    }

    #[test]
    fn lengths_make_words_strange_as_well() {
        assert!(is_strange(&segment(60.0, 60.1, SURE)), "very short");
        assert!(is_strange(&segment(60.0, 72.0, SURE)), "very long");
        assert!(!is_strange(&segment(60.0, 61.0, SURE)));
        let mut marks = segment(60.0, 61.0, SURE);
        for word in &mut marks.words {
            word.word = ".".to_owned();
        }
        assert!(is_strange(&marks), "nothing but marks");
    }
}
