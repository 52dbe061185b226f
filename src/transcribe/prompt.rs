//! What the model reads before it answers.
//!
//! `<|startofprev|>` with words to expect and what was said before, if there is any; then
//! `<|startoftranscript|>`, the language and the task (multilingual models only), `<|notimestamps|>`
//! where text alone is wanted, and in the first window the text that its answer begins with.

use super::engine::POSITIONS;
use super::options::TranscribeOptions;
use super::tokenizer::{Tokenizer, TokenizerError};

/// Most tokens of each of the texts: half of the positions, less one for `<|startofprev|>`.
const TEXT: usize = POSITIONS / 2 - 1;

/// Positions that are left for the answer, whatever the texts.
const ANSWER: usize = POSITIONS / 4;

/// The prompt of the next window.
#[derive(Debug)]
pub(super) struct Prompt {
    start_of_previous: u32,
    /// `<|startoftranscript|>`, language, task.
    start: Vec<u32>,
    no_timestamps: Option<u32>,
    hotwords: Vec<u32>,
    /// With the timestamp before it.
    prefix: Vec<u32>,
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
        let mut start = vec![special.start_of_transcript];
        if let Some(language) = language {
            start.push(tokenizer.language(language)?);
            start.push(tokenizer.task(options.task));
        }
        let mut hotwords = encode(tokenizer, options.hotwords.as_deref())?;
        hotwords.truncate(TEXT);
        let mut prompt = Self {
            start_of_previous: special.start_of_previous,
            start,
            no_timestamps: options.without_timestamps.then_some(special.no_timestamps),
            hotwords,
            prefix: prefix(tokenizer, options)?,
            previous: Vec::new(),
            is_conditioned: options.condition_on_previous_text,
            reset_above: options.prompt_reset_on_temperature,
        };
        prompt.said(&encode(tokenizer, options.initial_prompt.as_deref())?);
        Ok(prompt)
    }

    /// All of it, for the audio's first window or a later one.
    ///
    /// The prefix is the first window's; there it takes the place of the hotwords.
    pub(super) fn tokens(&self, is_first: bool) -> Vec<u32> {
        let prefix: &[u32] = if is_first { &self.prefix } else { &[] };
        let hotwords: &[u32] = if prefix.is_empty() {
            &self.hotwords
        } else {
            &[]
        };
        let others =
            1 + hotwords.len() + self.start.len() + usize::from(self.no_timestamps.is_some());
        let room = POSITIONS.saturating_sub(ANSWER + others);
        let previous = &self.previous[self.previous.len().saturating_sub(room)..];
        let mut tokens = Vec::new();
        if !hotwords.is_empty() || !previous.is_empty() {
            tokens.push(self.start_of_previous);
            tokens.extend(hotwords);
            tokens.extend(previous);
        }
        tokens.extend(&self.start);
        tokens.extend(self.no_timestamps);
        tokens.extend(prefix);
        tokens
    }

    /// Its part that alignment needs: `<|startoftranscript|>`, language, task.
    pub(super) fn start(&self) -> &[u32] {
        &self.start
    }

    /// These tokens, timestamps included, are previous text from now on.
    pub(super) fn said(&mut self, tokens: &[u32]) {
        self.previous.extend(tokens);
        let surplus = self.previous.len().saturating_sub(TEXT);
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

/// Texts stand in prompts as in speech: behind a space. Nothing for a text of blanks.
fn encode(tokenizer: &Tokenizer, text: Option<&str>) -> Result<Vec<u32>, TokenizerError> {
    match text.map(str::trim) {
        None | Some("") => Ok(Vec::new()),
        Some(text) => tokenizer.encode(&format!(" {text}")),
    }
}

fn prefix(tokenizer: &Tokenizer, options: &TranscribeOptions) -> Result<Vec<u32>, TokenizerError> {
    let mut prefix = encode(tokenizer, options.prefix.as_deref())?;
    prefix.truncate(TEXT);
    if !prefix.is_empty() && !options.without_timestamps {
        prefix.insert(0, tokenizer.timestamp_begin());
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::super::tokenizer::tokenizer_for_test;
    use super::*;

    fn prompt(options: &TranscribeOptions) -> Prompt {
        Prompt::new(&tokenizer_for_test(), Some("en"), options).unwrap()
    }

    /// Text between angle brackets for what is no text.
    fn shown(tokens: &[u32]) -> String {
        let tokenizer = tokenizer_for_test();
        let special = *tokenizer.special();
        let show = |&token: &u32| match token {
            token if token == special.start_of_previous => "<prev>".to_owned(),
            token if token == special.start_of_transcript => "<sot>".to_owned(),
            token if token == special.transcribe => "<transcribe>".to_owned(),
            token if token == special.no_timestamps => "<no>".to_owned(),
            token if token == tokenizer.timestamp_begin() => "<0.00>".to_owned(),
            token if token == tokenizer.language("en").unwrap() => "<en>".to_owned(),
            token => tokenizer.decode(&[token]).unwrap(),
        };
        tokens.iter().map(show).collect()
    }

    fn with(change: impl FnOnce(&mut TranscribeOptions)) -> Prompt {
        let mut options = TranscribeOptions::default();
        change(&mut options);
        prompt(&options)
    }

    #[test]
    fn hotwords_stand_before_what_was_said_in_every_window() {
        let mut prompt = with(|options| {
            options.hotwords = Some(" Alice Bruno ".to_owned());
            options.initial_prompt = Some("A show.".to_owned());
        });
        let first = "<prev> Alice Bruno A show.<sot><en><transcribe>";
        assert_eq!(shown(&prompt.tokens(true)), first);
        prompt.end_window(0.0);
        let later = "<prev> Alice Bruno<sot><en><transcribe>";
        assert_eq!(shown(&prompt.tokens(false)), later);
    }

    #[test]
    fn a_prefix_begins_the_first_answer_and_displaces_hotwords_there() {
        let prompt = with(|options| {
            options.hotwords = Some("Alice".to_owned());
            options.prefix = Some("Well".to_owned());
        });
        assert_eq!(
            shown(&prompt.tokens(true)),
            "<sot><en><transcribe><0.00> Well"
        );
        assert_eq!(
            shown(&prompt.tokens(false)),
            "<prev> Alice<sot><en><transcribe>"
        );
        let text_alone = with(|options| {
            options.prefix = Some("Well".to_owned());
            options.without_timestamps = true;
        });
        assert_eq!(
            shown(&text_alone.tokens(true)),
            "<sot><en><transcribe><no> Well"
        );
    }

    #[test]
    fn blank_texts_are_no_texts() {
        let prompt = with(|options| {
            options.hotwords = Some(String::new());
            options.prefix = Some(" ".to_owned());
            options.initial_prompt = Some("\n".to_owned());
        });
        assert_eq!(shown(&prompt.tokens(true)), "<sot><en><transcribe>");
    }

    /// CTranslate2 has no answer for a prompt that fills all positions.
    #[test]
    fn texts_without_end_leave_room_for_an_answer() {
        let long = || Some("word ".repeat(500));
        let prompt = with(|options| {
            options.hotwords = long();
            options.initial_prompt = long();
        });
        let tokens = prompt.tokens(false);
        assert_eq!(tokens.len(), POSITIONS - ANSWER);
        assert!(shown(&tokens[1 + TEXT..]).ends_with("word<sot><en><transcribe>"));
        let prefix = with(|options| options.prefix = long());
        assert_eq!(prefix.tokens(true).len(), 3 + 1 + TEXT);
    }
}
