//! Token ids to text and back, and the special tokens of a Whisper model.
//!
//! Ids differ from model to model (English-only models lack a shift, large-v3 has one language
//! more), so every special token is looked up by its name, never by a number.

use std::path::Path;

use serde::Serialize;

/// What the model is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The words in the language they are spoken in.
    #[default]
    Transcribe,
    /// The words in English.
    Translate,
}

/// A Whisper tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    languages: Vec<(String, u32)>,
    is_multilingual: bool,
    suppressed: Vec<u32>,
}

/// Ids of the tokens that steer the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `<|endoftext|>`; ids below are text.
    pub end_of_text: u32,
    /// `<|startoftranscript|>`.
    pub start_of_transcript: u32,
    /// `<|startofprev|>`, before previous text.
    pub start_of_previous: u32,
    /// `<|startoflm|>`.
    pub start_of_lm: u32,
    /// `<|nospeech|>`, or `<|nocaptions|>` in early conversions.
    pub no_speech: u32,
    /// `<|notimestamps|>`; ids above are timestamps.
    pub no_timestamps: u32,
    /// `<|transcribe|>`.
    pub transcribe: u32,
    /// `<|translate|>`.
    pub translate: u32,
}

/// A tokenizer that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is missing or is no tokenizer.
    #[error(
        "cannot read the tokenizer {path}: {problem}; a Whisper model's folder needs the \
         `tokenizer.json` of the model it was converted from"
    )]
    Read {
        /// The file.
        path: String,
        /// Why.
        problem: String,
    },
    /// It is not Whisper's.
    #[error("the tokenizer knows no token {token}, so it is not a Whisper model's")]
    MissingToken {
        /// Its name.
        token: &'static str,
    },
    /// Text or ids it cannot handle.
    #[error("the tokenizer failed: {0}")]
    Failed(String),
    /// A language the model was not taught.
    #[error("the model knows no language {language:?}; it knows {known}")]
    UnknownLanguage {
        /// As asked for.
        language: String,
        /// All codes, for the message.
        known: String,
    },
}

impl Tokenizer {
    /// Seconds from one timestamp token to the next.
    pub const TIME_PRECISION: f64 = 0.02;

    /// Reads `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let read = |problem: String| TokenizerError::Read {
            path: path.display().to_string(),
            problem,
        };
        let bytes = std::fs::read(path).map_err(|error| read(error.to_string()))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| read(format!("it is no tokenizer: {error}")))?;
        Self::try_new(inner)
    }

    /// Finds the special tokens of a tokenizer.
    pub fn try_new(inner: tokenizers::Tokenizer) -> Result<Self, TokenizerError> {
        let special = SpecialTokens::find(&inner)?;
        let mut tokenizer = Self {
            languages: languages(&inner),
            // CTranslate2's own test: English-only vocabularies lack the empty token.
            is_multilingual: inner.token_to_id("").is_some(),
            suppressed: Vec::new(),
            inner,
            special,
        };
        tokenizer.suppressed = tokenizer.find_suppressed()?;
        Ok(tokenizer)
    }

    /// The special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// Whether the vocabulary is a multilingual model's. English-only tokenizers name languages
    /// too, so [`languages`](Self::languages) does not tell.
    pub fn is_multilingual(&self) -> bool {
        self.is_multilingual
    }

    /// Language codes and token ids, in the order of the ids.
    pub fn languages(&self) -> &[(String, u32)] {
        &self.languages
    }

    /// The id of `<|code|>`.
    pub fn language(&self, code: &str) -> Result<u32, TokenizerError> {
        let found = self.languages.iter().find(|(known, _)| known == code);
        found
            .map(|(_, id)| *id)
            .ok_or_else(|| TokenizerError::UnknownLanguage {
                language: code.to_owned(),
                known: self.language_codes().join(", "),
            })
    }

    fn language_codes(&self) -> Vec<&str> {
        self.languages
            .iter()
            .map(|(code, _)| code.as_str())
            .collect()
    }

    /// The id of the task's token.
    pub fn task(&self, task: Task) -> u32 {
        match task {
            Task::Transcribe => self.special.transcribe,
            Task::Translate => self.special.translate,
        }
    }

    /// The first timestamp, `<|0.00|>`.
    pub fn timestamp_begin(&self) -> u32 {
        self.special.no_timestamps + 1
    }

    /// How many steps of [`TIME_PRECISION`](Self::TIME_PRECISION) a token stands for; `None` for
    /// a token that is no timestamp.
    pub fn timestamp_position(&self, token: u32) -> Option<u32> {
        token.checked_sub(self.timestamp_begin())
    }

    /// Seconds that a token stands for; `None` for a token that is no timestamp.
    pub fn timestamp(&self, token: u32) -> Option<f64> {
        self.timestamp_position(token)
            .map(|position| f64::from(position) * Self::TIME_PRECISION)
    }

    /// The text of the text tokens among `tokens`, decoded in one piece because a character may
    /// span tokens; bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        let text: Vec<u32> = tokens
            .iter()
            .copied()
            .filter(|&token| token < self.special.end_of_text)
            .collect();
        self.inner.decode(&text, true).map_err(failed)
    }

    /// The ids of a text, without special tokens.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode(text, false).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokens that no answer may hold, ascending: marks of sounds and speakers (`[laughs]`, `♪`),
    /// which are not spoken, and tokens that belong to prompts.
    pub fn suppressed(&self) -> &[u32] {
        &self.suppressed
    }

    /// Tokens that no answer may hold where `asked` is forbidden, ascending: those of
    /// prompts, the marks of [`suppressed`](Self::suppressed) for a -1, and the others as given.
    pub fn suppressed_with(&self, asked: &[i32]) -> Vec<i32> {
        let is_default = asked.contains(&-1);
        let own: &[u32] = if is_default { &self.suppressed } else { &[] };
        let own = own
            .iter()
            .chain(&self.special.of_prompts())
            .copied()
            .collect::<Vec<_>>();
        let asked = asked.iter().copied().filter(|&token| token >= 0);
        let mut tokens: Vec<i32> = own.into_iter().map(u32::cast_signed).chain(asked).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    fn find_suppressed(&self) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = self.non_speech()?;
        tokens.extend(self.special.of_prompts());
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }

    /// openai's `non_speech_tokens`: symbols that are one token of their own, and the first token
    /// of the musical signs, which share it with their neighbours in Unicode. Hyphen and quote
    /// are kept within words and refused at the start of one.
    fn non_speech(&self) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = Vec::new();
        for start in [" -", " '"] {
            tokens.extend(self.encode(start)?.first());
        }
        for symbol in SYMBOLS.split(' ').chain(SIGNS.split(' ')) {
            for text in [symbol.to_owned(), format!(" {symbol}")] {
                let ids = self.encode(&text)?;
                if ids.len() == 1 || SIGNS.contains(symbol) {
                    tokens.extend(ids.first());
                }
            }
        }
        Ok(tokens)
    }
}

const SYMBOLS: &str = "\" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』 << >> <<< >>> -- \
                       --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪";
const SIGNS: &str = "♩ ♪ ♫ ♬ ♭ ♮ ♯";

impl SpecialTokens {
    /// Tokens that belong to prompts.
    fn of_prompts(&self) -> [u32; 6] {
        [
            self.transcribe,
            self.translate,
            self.start_of_transcript,
            self.start_of_previous,
            self.start_of_lm,
            self.no_speech,
        ]
    }

    fn find(inner: &tokenizers::Tokenizer) -> Result<Self, TokenizerError> {
        let id = |token: &'static str| {
            inner
                .token_to_id(token)
                .ok_or(TokenizerError::MissingToken { token })
        };
        Ok(Self {
            end_of_text: id("<|endoftext|>")?,
            start_of_transcript: id("<|startoftranscript|>")?,
            start_of_previous: id("<|startofprev|>")?,
            start_of_lm: id("<|startoflm|>")?,
            no_speech: id("<|nospeech|>").or_else(|_| id("<|nocaptions|>"))?,
            no_timestamps: id("<|notimestamps|>")?,
            transcribe: id("<|transcribe|>")?,
            translate: id("<|translate|>")?,
        })
    }
}

/// Languages are the special tokens of two or three lower-case letters.
fn languages(inner: &tokenizers::Tokenizer) -> Vec<(String, u32)> {
    let mut languages: Vec<(String, u32)> = inner
        .get_vocab(true)
        .into_iter()
        .filter_map(|(token, id)| Some((language_code(&token)?.to_owned(), id)))
        .collect();
    languages.sort_by_key(|(_, id)| *id);
    languages
}

/// The code in `<|code|>`.
pub(super) fn language_code(token: &str) -> Option<&str> {
    let code = token.strip_prefix("<|")?.strip_suffix("|>")?;
    let is_code = matches!(code.len(), 2 | 3) && code.bytes().all(|b| b.is_ascii_lowercase());
    is_code.then_some(code)
}

fn failed(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Failed(error.to_string())
}

#[cfg(any(test, feature = "testkit"))]
pub use for_test::tokenizer_for_test;

#[cfg(any(test, feature = "testkit"))]
#[path = "tokenizer_for_test.rs"]
mod for_test;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_special_tokens_do_not() {
        let tokenizer = tokenizer_for_test();
        let mut tokens = vec![tokenizer.timestamp_begin()];
        tokens.extend(tokenizer.encode(" ¿Qué tal?").unwrap());
        tokens.push(tokenizer.timestamp_begin() + 50);
        assert_eq!(tokenizer.decode(&tokens).unwrap(), " ¿Qué tal?");
    }

    #[test]
    fn a_cut_character_decodes_to_the_replacement_character() {
        let tokenizer = tokenizer_for_test();
        let tokens = tokenizer.encode("é").unwrap();
        assert_eq!(tokens.len(), 2);
        assert_eq!(tokenizer.decode(&tokens[..1]).unwrap(), "\u{fffd}");
    }

    #[test]
    fn timestamps_are_steps_of_20_ms() {
        let tokenizer = tokenizer_for_test();
        let begin = tokenizer.timestamp_begin();
        assert_eq!(tokenizer.timestamp(begin), Some(0.0));
        assert_eq!(tokenizer.timestamp(begin + 1500), Some(30.0));
        assert_eq!(tokenizer.timestamp(begin - 1), None);
    }

    #[test]
    fn languages_are_in_the_order_of_their_ids() {
        let tokenizer = tokenizer_for_test();
        assert_eq!(tokenizer.language_codes(), ["en", "es", "yue"]);
        assert!(tokenizer.is_multilingual());
        let error = tokenizer.language("xx").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model knows no language \"xx\"; it knows en, es, yue"
        );
    }

    #[test]
    fn a_symbol_of_several_tokens_is_suppressed_only_among_the_signs() {
        let tokenizer = tokenizer_for_test();
        let id = |text: &str| tokenizer.encode(text).unwrap()[0];
        assert!(tokenizer.suppressed().contains(&id("[")));
        assert!(tokenizer.suppressed().contains(&id("♪")));
        // Two tokens here, and its first one begins every Japanese kana.
        assert!(!tokenizer.suppressed().contains(&id("「")));
        assert!(
            tokenizer
                .suppressed()
                .contains(&tokenizer.special().no_speech)
        );
        assert!(!tokenizer.suppressed().contains(&id("a")));
    }

    #[test]
    fn what_to_suppress_can_be_chosen() {
        let tokenizer = tokenizer_for_test();
        let all: Vec<i32> = tokenizer.suppressed().iter().map(|&id| id as i32).collect();
        assert_eq!(tokenizer.suppressed_with(&[-1]), all);
        let chosen = tokenizer.suppressed_with(&[65, 65, -7]);
        assert_eq!(chosen[0], 65);
        assert_eq!(chosen.len(), 1 + 6);
        assert!(chosen.contains(&(tokenizer.special().no_speech as i32)));
        assert!(tokenizer.suppressed_with(&[-1, 65]).len() > all.len());
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let missing = Tokenizer::from_file(&path).unwrap_err().to_string();
        assert!(missing.contains("tokenizer.json"), "{missing}");
        std::fs::write(&path, "{}").unwrap();
        let garbage = Tokenizer::from_file(&path).unwrap_err().to_string();
        assert!(garbage.contains("it is no tokenizer"), "{garbage}");
    }

    #[test]
    fn an_early_conversion_names_the_no_speech_token_otherwise() {
        let document = tokenizer_for_test().inner.to_string(false).unwrap();
        let renamed = document.replace("<|nospeech|>", "<|nocaptions|>");
        let inner = tokenizers::Tokenizer::from_bytes(renamed).unwrap();
        let tokenizer = Tokenizer::try_new(inner).unwrap();
        assert_eq!(
            tokenizer.special().no_speech,
            tokenizer_for_test().special().no_speech
        );
        let without = document.replace("<|nospeech|>", "<|silence|>");
        let inner = tokenizers::Tokenizer::from_bytes(without).unwrap();
        let error = Tokenizer::try_new(inner).unwrap_err();
        assert!(matches!(
            error,
            TokenizerError::MissingToken {
                token: "<|nocaptions|>"
            }
        ));
    }
}
