//! What was said, when, and how sure the model is.

use serde::{Deserialize, Serialize};

/// One stretch of speech.
///
/// `text` keeps its leading space, so that the transcript's text is the plain concatenation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// From 0, in order.
    pub id: u32,
    /// Start of the decoded window in frames of 10 ms.
    pub seek: u64,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The words.
    pub text: String,
    /// Token ids as the model gave them, timestamps included.
    pub tokens: Vec<u32>,
    /// Sampling temperature of the accepted decoding.
    pub temperature: f32,
    /// Mean log-probability of the window's tokens.
    pub avg_logprob: f32,
    /// UTF-8 bytes of the window's text over their size when deflated.
    pub compression_ratio: f32,
    /// Probability that the window holds no speech.
    pub no_speech_prob: f32,
    /// Word times, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
}

/// One word with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word with its leading space.
    pub word: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Mean probability of its tokens.
    pub probability: f32,
}

/// `transcript.json`: openai's shape plus `duration` and `language_probability`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// All segments' texts, joined.
    pub text: String,
    /// In order, not overlapping.
    pub segments: Vec<Segment>,
    /// ISO 639-1 code as Whisper names it.
    pub language: String,
    /// How sure the detection was; 1 where the language was given.
    pub language_probability: f32,
    /// Length of the audio in seconds, as decoded.
    pub duration: f64,
}
