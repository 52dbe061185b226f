//! What windows were decoded to.

use serde::{Deserialize, Serialize};

/// A word and its time in the audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlacedWord {
    /// With its leading space.
    pub(super) text: String,
    pub(super) tokens: Vec<u32>,
    /// Seconds, to the hundredth.
    pub(super) start: f64,
    /// Seconds, to the hundredth.
    pub(super) end: f64,
    pub(super) probability: f32,
}

/// What a window was decoded to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WindowText {
    /// Frame of 10 ms in the audio.
    pub(super) seek: u64,
    /// Seconds of speech in it.
    pub(super) seconds: f64,
    /// Where it ends in the audio, in seconds.
    pub(super) end: f64,
    /// None where it is silent.
    pub(super) words: Vec<PlacedWord>,
    pub(super) language: Option<String>,
    pub(super) language_probability: f32,
    pub(super) temperature: f32,
    pub(super) avg_logprob: f32,
    pub(super) compression_ratio: f32,
    pub(super) no_speech_prob: f32,
    pub(super) tries: usize,
    pub(super) is_doubtful: bool,
    /// The model says that there is no speech.
    pub(super) is_silent: bool,
}

impl WindowText {
    /// Whether a run can have made it: words in order within the window's audio, in a known language.
    pub(super) fn is_sound(&self, is_known: &dyn Fn(&str) -> bool) -> bool {
        let mut reached = 0.0;
        let are_ordered = self.words.iter().all(|word| {
            let is_ordered = reached <= word.start && word.start <= word.end;
            reached = word.end;
            is_ordered
        });
        let is_within = reached <= self.end + 0.01 && self.end.is_finite();
        let has_length = self.seconds.is_finite() && self.seconds >= 0.0;
        are_ordered && is_within && has_length && self.language.as_deref().is_none_or(is_known)
    }
}
