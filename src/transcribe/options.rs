//! What a transcription may be asked to do differently.

use serde::Serialize;

use super::tokenizer::Task;

/// How an audio's windows are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Speech is packed into windows of 30 s that know nothing of each other.
    Batched,
    /// Each window begins where the last sentence of the one before ended: openai's way.
    Sequential,
}

/// Options of a transcription; the defaults are openai's, except that windows do not see the
/// text before them and the temperature stays at 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TranscribeOptions {
    /// Whether windows follow one another or are decoded each for itself.
    pub mode: Mode,
    /// Windows decoded at a time in [`Mode::Batched`]; 0 takes one on a processor, where more cost memory
    /// (the encoder's attention has 9 MB a head and window) and bring little, and 16 on a card.
    pub batch_size: usize,
    /// Code of the language spoken; `None` hears it: from the first window, or from
    /// all in [`Mode::Batched`].
    pub language: Option<String>,
    /// Transcribe or translate.
    pub task: Task,
    /// Hypotheses kept at temperature 0; 1 is greedy.
    pub beam_size: usize,
    /// Samples drawn above temperature 0.
    pub best_of: usize,
    /// Beam search goes on until `beam_size * patience` hypotheses ended.
    pub patience: f32,
    /// Exponent of the length in a hypothesis' score.
    pub length_penalty: f32,
    /// Temperatures to try in turn while an answer fails the guards.
    pub temperatures: Vec<f32>,
    /// Whether a window sees the text before it. Better names and punctuation, but a loop then
    /// crosses from window to window.
    pub condition_on_previous_text: bool,
    /// Above this temperature the text before is forgotten.
    pub prompt_reset_on_temperature: f32,
    /// Text that the first window sees before it; in [`Mode::Batched`] all of them.
    pub initial_prompt: Option<String>,
    /// Words to expect, seen before every window; not beside a [`prefix`](Self::prefix).
    pub hotwords: Option<String>,
    /// Text that the first window's answer begins with.
    pub prefix: Option<String>,
    /// Above 1, tokens that were given already are made less likely.
    pub repetition_penalty: f32,
    /// No sequence of so many tokens is given twice in a window; 0 for no such rule.
    pub no_repeat_ngram_size: usize,
    /// Whether an answer may not begin with a blank or end at once.
    pub suppress_blank: bool,
    /// Token ids that no answer may hold; -1 stands for the marks that are not spoken. Tokens that
    /// belong to prompts are never given.
    pub suppress_tokens: Vec<i32>,
    /// Whether each word gets its time and probability. [`Mode::Batched`] always gives them.
    pub word_timestamps: bool,
    /// Punctuation that belongs to the word behind it.
    pub prepend_punctuations: String,
    /// Punctuation that belongs to the word before it.
    pub append_punctuations: String,
    /// Silence around words that are likely invented is skipped where it is longer than this, in
    /// seconds. Needs word times.
    pub hallucination_silence_threshold: Option<f64>,
    /// Above this probability of no speech a window may be silent.
    pub no_speech_threshold: Option<f64>,
    /// Below this mean log-probability an answer is doubted.
    pub log_prob_threshold: Option<f64>,
    /// Above this compression ratio an answer repeats itself.
    pub compression_ratio_threshold: Option<f64>,
    /// Decode text alone: in [`Mode::Sequential`], segments are then whole windows.
    pub without_timestamps: bool,
    /// Latest first timestamp of a window, in seconds.
    pub max_initial_timestamp: f64,
}

impl TranscribeOptions {
    /// The [`batch_size`](Self::batch_size) on a device, `cpu` or `cuda`; at least 1.
    pub fn batch_size_on(&self, device: &str) -> usize {
        match (self.batch_size, device) {
            (0, "cuda") => 16,
            (0, _) => 1,
            (given, _) => given,
        }
    }
}

impl Default for TranscribeOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Batched,
            batch_size: 0,
            language: None,
            task: Task::Transcribe,
            beam_size: 5,
            best_of: 5,
            patience: 1.0,
            length_penalty: 1.0,
            temperatures: vec![0.0],
            condition_on_previous_text: false,
            prompt_reset_on_temperature: 0.5,
            initial_prompt: None,
            hotwords: None,
            prefix: None,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            suppress_blank: true,
            suppress_tokens: vec![-1],
            word_timestamps: false,
            prepend_punctuations: "\"'“¿([{-".to_owned(),
            append_punctuations: "\"'.。,，!！?？:：”)]}、".to_owned(),
            hallucination_silence_threshold: None,
            no_speech_threshold: Some(0.6),
            log_prob_threshold: Some(-1.0),
            compression_ratio_threshold: Some(2.4),
            without_timestamps: false,
            max_initial_timestamp: 1.0,
        }
    }
}
