//! Where in a recording somebody speaks.
//!
//! [`SpeechDetector`] gives a probability per frame of 16 ms, [`SpeechSpans`] makes spans of them: with
//! hysteresis, so that a word's faint end stays with it; with a margin on both sides, so that no
//! consonant is cut; and never longer than the model's window. Both are streams in constant memory,
//! and a span is known some seconds behind its end.
//!
//! Silence that is taken for speech costs invented words, speech that is taken for silence costs
//! text. The second cannot be mended later, so in doubt a frame is speech.

mod detector;
mod level;
mod spans;
mod steadiness;

#[cfg(test)]
mod spans_tests;

use serde::Serialize;

pub use detector::SpeechDetector;
pub use spans::SpeechSpans;

/// How probabilities become spans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VadOptions {
    /// Speech begins with a frame at least so probable.
    pub onset: f32,
    /// Speech goes on while frames are at least so probable; above [`onset`](Self::onset) it counts
    /// as equal to it.
    pub offset: f32,
    /// Shorter speech is dropped as noise, in milliseconds from its first frame to its last.
    pub min_speech_ms: u32,
    /// So much silence ends speech, in milliseconds.
    pub min_silence_ms: u32,
    /// Added before and behind speech, in milliseconds; less where the neighbour is nearer than both
    /// margins.
    pub pad_ms: u32,
    /// Longer speech is split, in seconds without margins; a second at least.
    pub max_speech_s: f32,
}

impl VadOptions {
    /// Seconds that the speech model sees at once.
    const WINDOW_S: f32 = 30.0;
}

impl Default for VadOptions {
    fn default() -> Self {
        let pad_ms = 400;
        Self {
            onset: 0.5,
            offset: 0.35,
            min_speech_ms: 100,
            min_silence_ms: 160,
            pad_ms,
            max_speech_s: Self::WINDOW_S - 2.0 * pad_ms as f32 / 1000.0,
        }
    }
}

/// A run of samples at 16 kHz; `start < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SpeechSpan {
    /// The first sample.
    pub start: u64,
    /// One behind the last sample.
    pub end: u64,
}
