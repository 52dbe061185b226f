//! Port: the speech model. Synchronous and CPU- or GPU-bound; it lives on its own thread
//! ([`EngineThreads`](super::thread::EngineThreads)) and never on the async runtime.

use std::fmt::Debug;
use std::sync::Arc;

/// A Whisper-architecture model.
///
/// Windows are independent: a batch gives the same answers as its windows one by one.
pub trait SpeechEngine: Debug + Send + 'static {
    /// What it is; constant over its life.
    fn describe(&self) -> EngineInfo;

    /// Does the part of the work that every call on these windows begins with. The next calls on the
    /// same windows then take less; without this they do it themselves.
    fn encode(&mut self, windows: &[Arc<MelWindow>]) -> Result<(), EngineError>;

    /// Probabilities of the languages heard in each window, best first; windows that hold no
    /// speech give an arbitrary language. Empty where the model knows one language only.
    fn detect_language(
        &mut self,
        windows: &[Arc<MelWindow>],
    ) -> Result<Vec<Vec<LanguageScore>>, EngineError>;

    /// Decodes each window after its own prompt; one answer a window, in order.
    ///
    /// All prompts of a batch need the same length and the same position of
    /// `<|startoftranscript|>`: CTranslate2's rule.
    fn generate(
        &mut self,
        requests: &[WindowRequest],
        options: &DecodeOptions,
    ) -> Result<Vec<Decoded>, EngineError>;

    /// Finds where in its window each text token was said; one answer a request, in order.
    ///
    /// `start` is the prompt that every window of the call was decoded after, without previous text
    /// and without `<|notimestamps|>`: `<|startoftranscript|>`, language, task. So one call is one
    /// language.
    fn align(
        &mut self,
        start: &[u32],
        requests: &[AlignRequest],
    ) -> Result<Vec<Alignment>, EngineError>;
}

/// What a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Name for reports: the hub repository or the folder's name.
    pub model: String,
    /// SHA-256 of `model.bin`, for provenance; `None` where it was not computed.
    pub model_digest: Option<String>,
    /// Mel bands it expects: 80, or 128 for large-v3 and its kin.
    pub n_mels: usize,
    /// Whether it knows languages and tasks.
    pub is_multilingual: bool,
    /// Arithmetic it runs with, as CTranslate2 names it.
    pub compute_type: String,
    /// `cpu` or `cuda`.
    pub device: String,
}

/// Whisper's input: log-mel features of 30 s.
#[derive(Debug, Clone, PartialEq)]
pub struct MelWindow {
    /// `n_mels` rows of [`MelWindow::FRAMES`] columns, row-major, zero-padded behind the audio.
    pub features: Vec<f32>,
    /// Rows.
    pub n_mels: usize,
    /// Columns that hold audio, at most [`MelWindow::FRAMES`].
    pub frames: usize,
}

impl MelWindow {
    /// Columns of a window: 30 s of 10 ms.
    pub const FRAMES: usize = 3000;
}

/// One window to decode.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRequest {
    /// What to hear.
    pub window: Arc<MelWindow>,
    /// Token ids to begin with.
    pub prompt: Vec<u32>,
}

/// One window whose text is to be found in time.
#[derive(Debug, Clone, PartialEq)]
pub struct AlignRequest {
    /// What was heard.
    pub window: Arc<MelWindow>,
    /// What it was decoded to: text alone, without timestamps and end-of-text.
    pub text: Vec<u32>,
}

/// Where the tokens of one window were said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alignment {
    /// The path of dynamic time warping: pairs of an index into the text tokens (its length stands
    /// for the end-of-text) and an encoder position of 0.02 s, both never decreasing. Empty where there
    /// is no text or no audio.
    pub path: Vec<(u32, u32)>,
    /// Probability of each text token.
    pub probabilities: Vec<f32>,
}

/// Positions of the decoder of every Whisper model: tokens of prompt and answer together.
pub const POSITIONS: usize = 448;

/// How to decode.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeOptions {
    /// Hypotheses kept at temperature 0; 1 is greedy.
    pub beam_size: usize,
    /// Beam search goes on until `beam_size * patience` hypotheses ended.
    pub patience: f32,
    /// Exponent of the length in a hypothesis' score.
    pub length_penalty: f32,
    /// 0 decodes by probability; above, samples.
    pub temperature: f32,
    /// Samples drawn where the temperature is above 0.
    pub best_of: usize,
    /// Above 1, tokens that were given already are made less likely.
    pub repetition_penalty: f32,
    /// No sequence of so many tokens is given twice; 0 for no such rule.
    pub no_repeat_ngram_size: usize,
    /// Prompt and answer together, in tokens.
    pub max_length: usize,
    /// Whether an answer may begin with a blank or end at once.
    pub suppress_blank: bool,
    /// Token ids never to give; -1 stands for the model's own list.
    pub suppress_tokens: Vec<i32>,
    /// Latest first timestamp, in steps of 0.02 s.
    pub max_initial_timestamp_index: usize,
}

impl Default for DecodeOptions {
    /// Greedy, and otherwise openai's defaults.
    fn default() -> Self {
        Self {
            beam_size: 1,
            patience: 1.0,
            length_penalty: 1.0,
            temperature: 0.0,
            best_of: 5,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            max_length: POSITIONS,
            suppress_blank: true,
            suppress_tokens: vec![-1],
            max_initial_timestamp_index: 50,
        }
    }
}

/// What a window was decoded to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Token ids, prompt and end-of-text left out.
    pub tokens: Vec<u32>,
    /// Sum of log-probabilities over `length^length_penalty`, end-of-text included in the sum and
    /// not in the length (CTranslate2's score).
    pub score: f32,
    /// Probability of the no-speech token at the first step.
    pub no_speech_prob: f32,
}

/// One language and its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct LanguageScore {
    /// Code as Whisper names it: `en`, `es`, `yue`.
    pub language: String,
    /// 0 to 1.
    pub probability: f32,
}

/// The model failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model cannot be loaded.
    #[error("cannot load the model in {path}: {problem}")]
    Load {
        /// The folder.
        path: String,
        /// Why.
        problem: String,
    },
    /// A call failed.
    #[error("the speech engine failed: {0}")]
    Failed(String),
    /// The engine's thread is gone.
    #[error("the speech engine has stopped")]
    Stopped,
}
