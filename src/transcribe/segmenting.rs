//! From the tokens of one window to segments, by the timestamps among them.
//!
//! The model closes every finished sentence with a timestamp and opens the next one with another,
//! so two timestamps side by side part two segments. What follows the last such pair is cut off
//! by the end of the window and is decoded again, from where that pair stands (openai's
//! `transcribe`, as faster-whisper 1.2 computes it).

use super::tokenizer::Tokenizer;
use crate::domain::Word;

/// Seconds of a mel frame.
pub(super) const FRAME_SECONDS: f64 = 0.01;

/// Mel frames of a timestamp step.
const FRAMES_PER_TIMESTAMP: u64 = 2;

/// Where a window stands in the audio, in frames of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpan {
    /// First frame.
    pub seek: u64,
    /// Frames of audio in it, at least 1.
    pub frames: u64,
}

impl WindowSpan {
    /// Seconds from the beginning of the audio.
    pub(super) fn start(self) -> f64 {
        self.seek as f64 * FRAME_SECONDS
    }

    /// Length in seconds.
    pub(super) fn seconds(self) -> f64 {
        self.frames as f64 * FRAME_SECONDS
    }
}

/// A stretch of tokens with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedTokens {
    /// Seconds from the beginning of the audio.
    pub start: f64,
    /// Seconds from the beginning of the audio.
    pub end: f64,
    /// Text and timestamps.
    pub tokens: Vec<u32>,
    /// Its words, once they are timed.
    pub words: Vec<Word>,
}

/// What a window held.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// In order; some may be empty of text or of time.
    pub segments: Vec<TimedTokens>,
    /// Frames to go on by, at least 1.
    pub advance: u64,
    /// Whether the text ended in one timestamp: nothing more is said in the window.
    pub is_finished: bool,
}

/// Parts a window's tokens into segments and says where the next window begins.
pub fn split_by_timestamps(tokenizer: &Tokenizer, tokens: &[u32], span: WindowSpan) -> Split {
    let cuts = cuts(tokenizer, tokens);
    let Some(&last_cut) = cuts.last() else {
        return unsplit(tokenizer, tokens, span);
    };
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let segments = starts
        .zip(&cuts)
        .map(|(from, &to)| timed(tokenizer, &tokens[from..to], span))
        .collect();
    let advance = if last_cut == tokens.len() {
        span.frames
    } else {
        u64::from(position(tokenizer, tokens[last_cut - 1])) * FRAMES_PER_TIMESTAMP
    };
    Split {
        segments,
        // A pair at 0.00 would decode the same window for ever.
        advance: if advance == 0 { span.frames } else { advance },
        is_finished: ends_in_one(tokenizer, tokens),
    }
}

/// Ends of the finished segments, as indices into `tokens`; none where no two timestamps meet.
///
/// Text that ends in one timestamp is finished too: nothing more is said in the window.
fn cuts(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<usize> {
    let is_timestamp = |token: u32| tokenizer.timestamp_position(token).is_some();
    let mut cuts: Vec<usize> = (1..tokens.len())
        .filter(|&i| is_timestamp(tokens[i - 1]) && is_timestamp(tokens[i]))
        .collect();
    if ends_in_one(tokenizer, tokens) && !cuts.is_empty() {
        cuts.push(tokens.len());
    }
    cuts
}

fn ends_in_one(tokenizer: &Tokenizer, tokens: &[u32]) -> bool {
    let is_timestamp = |token: u32| tokenizer.timestamp_position(token).is_some();
    match tokens {
        [.., before, last] => !is_timestamp(*before) && is_timestamp(*last),
        _ => false,
    }
}

fn timed(tokenizer: &Tokenizer, tokens: &[u32], span: WindowSpan) -> TimedTokens {
    let at = |token: Option<&u32>| {
        let steps = token.map_or(0, |&token| position(tokenizer, token));
        span.start() + f64::from(steps) * Tokenizer::TIME_PRECISION
    };
    TimedTokens {
        start: at(tokens.first()),
        end: at(tokens.last()),
        tokens: tokens.to_vec(),
        words: Vec::new(),
    }
}

/// The whole window is one segment, up to its last timestamp if it has one behind 0.00.
fn unsplit(tokenizer: &Tokenizer, tokens: &[u32], span: WindowSpan) -> Split {
    let last = tokens
        .iter()
        .rev()
        .find_map(|&token| tokenizer.timestamp_position(token));
    let duration = match last {
        Some(steps) if steps > 0 => f64::from(steps) * Tokenizer::TIME_PRECISION,
        _ => span.seconds(),
    };
    let segment = TimedTokens {
        start: span.start(),
        end: span.start() + duration,
        tokens: tokens.to_vec(),
        words: Vec::new(),
    };
    Split {
        segments: vec![segment],
        advance: span.frames,
        is_finished: ends_in_one(tokenizer, tokens),
    }
}

fn position(tokenizer: &Tokenizer, token: u32) -> u32 {
    tokenizer.timestamp_position(token).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tokenizer::tokenizer_for_test;
    use super::*;

    const WINDOW: WindowSpan = WindowSpan {
        seek: 6000,
        frames: 3000,
    };

    /// `"1.5"` is a timestamp, everything else is text.
    fn tokens(tokenizer: &Tokenizer, parts: &[&str]) -> Vec<u32> {
        let mut tokens = Vec::new();
        for part in parts {
            match part.parse::<f64>() {
                Ok(time) => {
                    let steps = (time / Tokenizer::TIME_PRECISION).round() as u32;
                    tokens.push(tokenizer.timestamp_begin() + steps);
                }
                Err(_) => tokens.extend(tokenizer.encode(part).unwrap()),
            }
        }
        tokens
    }

    /// Start, end and text of each segment, and the advance.
    fn split(parts: &[&str]) -> (Vec<(f64, f64, String)>, u64) {
        let tokenizer = tokenizer_for_test();
        let split = split_by_timestamps(&tokenizer, &tokens(&tokenizer, parts), WINDOW);
        let rows = split.segments.iter().map(|segment| {
            let text = tokenizer.decode(&segment.tokens).unwrap();
            let round = |seconds: f64| (seconds * 100.0).round() / 100.0;
            (round(segment.start), round(segment.end), text)
        });
        (rows.collect(), split.advance)
    }

    #[test]
    fn an_unfinished_tail_is_left_for_the_next_window() {
        let (segments, advance) =
            split(&["0.0", " one", "2.0", "2.5", " two", "5.0", "5.0", " th"]);
        assert_eq!(
            segments,
            [
                (60.0, 62.0, " one".to_owned()),
                (62.5, 65.0, " two".to_owned())
            ]
        );
        assert_eq!(advance, 500);
    }

    #[test]
    fn a_single_timestamp_at_the_end_finishes_the_window() {
        let (segments, advance) = split(&["0.0", " one", "2.0", "2.0", " two", "5.0"]);
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[1], (62.0, 65.0, " two".to_owned()));
        assert_eq!(advance, WINDOW.frames);
    }

    #[test]
    fn a_pair_at_the_end_moves_on_to_it() {
        let (segments, advance) = split(&["0.0", " one", "2.0", "2.0"]);
        assert_eq!(segments, [(60.0, 62.0, " one".to_owned())]);
        assert_eq!(advance, 200);
    }

    #[test]
    fn one_segment_ends_at_its_last_timestamp() {
        let (segments, advance) = split(&["0.0", " one", "7.5"]);
        assert_eq!(segments, [(60.0, 67.5, " one".to_owned())]);
        assert_eq!(advance, WINDOW.frames);
    }

    #[test]
    fn without_an_end_the_window_is_the_segment() {
        for parts in [&["0.0", " one"][..], &[" one"][..]] {
            let (segments, advance) = split(parts);
            assert_eq!(segments, [(60.0, 90.0, " one".to_owned())]);
            assert_eq!(advance, WINDOW.frames);
        }
    }

    #[test]
    fn no_tokens_are_one_empty_segment() {
        let (segments, advance) = split(&[]);
        assert_eq!(segments, [(60.0, 90.0, String::new())]);
        assert_eq!(advance, WINDOW.frames);
    }

    #[test]
    fn a_pair_at_zero_does_not_stand_still() {
        let (_, advance) = split(&["0.0", "0.0", " one"]);
        assert_eq!(advance, WINDOW.frames);
    }

    #[test]
    fn three_timestamps_in_a_row_give_a_segment_without_length() {
        let (segments, advance) = split(&["0.0", " one", "2.0", "2.0", "3.0", " two"]);
        assert_eq!(segments[1], (62.0, 62.0, String::new()));
        assert_eq!(advance, 200);
    }

    #[test]
    fn text_before_the_first_timestamp_begins_with_the_window() {
        let (segments, _) = split(&[" one", "2.0", "2.0", " two", "3.0"]);
        assert_eq!(segments[0], (60.0, 62.0, " one".to_owned()));
    }
}
