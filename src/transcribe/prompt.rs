//! What the model reads before it answers.
//!
//! `<|startofprev|>` and what was said before, if there is any; then `<|startoftranscript|>`, the
//! language and the task (multilingual models only), and `<|notimestamps|>` where text alone is
//! wanted.

use super::options::TranscribeOptions;
use super::tokenizer::{Tokenizer, TokenizerError};

/// Most tokens of previous text: half of the model's 448 positions, less one for
/// `<|startofprev|>`; the other half is for the answer.
const PREVIOUS: usize = 448 / 2 - 1;

/// The prompt of the next window.
#[derive(Debug)]
pub(super) struct Prompt {
    start_of_previous: u32,
    task: Vec<u32>,
    previous: Vec<u32>,
    is_conditioned: bool,
    reset_above: f32,
}

impl Prompt {
    /// The first window's prompt. `language` is `None` for a model that knows one only.
    pub(super) fn new(
        tokenizer: &Tokenizer,
        language: Option<&str>,
        options: &TranscribeOptions,
    ) -> Result<Self, TokenizerError> {
        let special = tokenizer.special();
        let mut task = vec![special.start_of_transcript];
        if let Some(language) = language {
            task.push(tokenizer.language(language)?);
            task.push(tokenizer.task(options.task));
        }
        if options.without_timestamps {
            task.push(special.no_timestamps);
        }
        let initial = options.initial_prompt.as_deref().unwrap_or_default().trim();
        let mut prompt = Self {
            start_of_previous: special.start_of_previous,
            task,
            previous: Vec::new(),
            is_conditioned: options.condition_on_previous_text,
            reset_above: options.prompt_reset_on_temperature,
        };
        if !initial.is_empty() {
            prompt.said(&tokenizer.encode(&format!(" {initial}"))?);
        }
        Ok(prompt)
    }

    /// All of it.
    pub(super) fn tokens(&self) -> Vec<u32> {
        let mut tokens = Vec::new();
        if !self.previous.is_empty() {
            tokens.push(self.start_of_previous);
            tokens.extend(&self.previous);
        }
        tokens.extend(&self.task);
        tokens
    }

    /// These tokens, timestamps included, are previous text from now on.
    pub(super) fn said(&mut self, tokens: &[u32]) {
        self.previous.extend(tokens);
        let surplus = self.previous.len().saturating_sub(PREVIOUS);
        self.previous.drain(..surplus);
    }

    /// A window was kept that was decoded at this temperature: forgets the text before if windows
    /// are independent, or if chance had too great a part in it.
    pub(super) fn end_window(&mut self, temperature: f32) {
        if !self.is_conditioned || temperature > self.reset_above {
            self.previous.clear();
        }
    }
}
