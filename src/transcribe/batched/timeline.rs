//! Where a window's time lies in the audio's.

use crate::transcribe::mel::SAMPLE_RATE;
use crate::transcribe::vad::SpeechSpan;

const RATE: f64 = SAMPLE_RATE as f64;

/// The pieces of audio that a window was put together from, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Timeline {
    pieces: Vec<SpeechSpan>,
}

impl Timeline {
    /// Adds what follows next in the window; a piece that continues the last one lengthens it.
    pub(super) fn push(&mut self, piece: SpeechSpan) {
        match self.pieces.last_mut() {
            Some(last) if last.end == piece.start => last.end = piece.end,
            _ => self.pieces.push(piece),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Samples in the window.
    pub(super) fn samples(&self) -> u64 {
        self.pieces
            .iter()
            .map(|piece| piece.end - piece.start)
            .sum()
    }

    /// Length of the window in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.samples() as f64 / RATE
    }

    /// The window's beginning in the audio, in frames of 10 ms.
    pub(super) fn seek(&self) -> u64 {
        let start = self.pieces.first().map_or(0, |piece| piece.start);
        start * 100 / u64::from(SAMPLE_RATE)
    }

    /// The window's end in the audio, in seconds.
    pub(super) fn end(&self) -> f64 {
        self.pieces
            .last()
            .map_or(0.0, |piece| piece.end as f64 / RATE)
    }

    /// When a word was said, in seconds of the audio. It belongs to the piece that its middle is in, and
    /// does not reach beyond it: nothing is said in the silence that was left out.
    pub(super) fn place(&self, start: f64, end: f64) -> (f64, f64) {
        let middle = f64::midpoint(start, end);
        let mut offset = 0.0;
        let mut placed = (0.0, 0.0);
        for piece in &self.pieces {
            let (from, to) = (piece.start as f64 / RATE, piece.end as f64 / RATE);
            let length = to - from;
            let at = |time: f64| from + (time - offset).clamp(0.0, length);
            placed = (at(start), at(end));
            if middle < offset + length {
                break;
            }
            offset += length;
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timeline(pieces: &[(u64, u64)]) -> Timeline {
        let mut timeline = Timeline::default();
        for &(start, end) in pieces {
            timeline.push(SpeechSpan {
                start: start * 16_000,
                end: end * 16_000,
            });
        }
        timeline
    }

    #[test]
    fn a_word_lies_in_one_piece() {
        let timeline = timeline(&[(10, 12), (20, 23)]);
        assert_eq!(timeline.seconds(), 5.0);
        assert_eq!((timeline.seek(), timeline.end()), (1000, 23.0));
        assert_eq!(timeline.place(0.5, 1.0), (10.5, 11.0));
        // Its middle decides.
        assert_eq!(timeline.place(1.5, 2.4), (11.5, 12.0));
        assert_eq!(timeline.place(1.5, 2.6), (20.0, 20.6));
        assert_eq!(timeline.place(4.5, 9.0), (22.5, 23.0));
    }

    #[test]
    fn what_continues_is_one_piece() {
        let joined = timeline(&[(10, 12), (12, 13), (14, 15)]);
        assert_eq!(joined, timeline(&[(10, 13), (14, 15)]));
    }

    proptest! {
        #[test]
        fn order_is_kept(
            lengths in prop::collection::vec((1_u64..5, 1_u64..5), 1..6),
            times in prop::collection::vec((0.0..30.0_f64, 0.0..2.0_f64), 1..10),
        ) {
            let mut at = 0;
            let pieces: Vec<(u64, u64)> = lengths.iter().map(|(gap, length)| {
                let piece = (at + gap, at + gap + length);
                at = piece.1;
                piece
            }).collect();
            let timeline = timeline(&pieces);
            let mut times: Vec<f64> = times.into_iter().map(|(time, _)| time).collect();
            times.sort_by(f64::total_cmp);
            let mut reached = 0.0;
            for pair in times.windows(2) {
                let (start, end) = timeline.place(pair[0], pair[1]);
                prop_assert!(reached <= start && start <= end && end <= timeline.end());
                reached = start;
            }
        }
    }
}
