//! From text tokens to words, and never through the middle of a character.

use super::super::tokenizer::{Tokenizer, TokenizerError};

/// Languages written without spaces: each run of tokens that is whole characters is a word
/// (openai's list, with Cantonese).
const WITHOUT_SPACES: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// Python's `string.punctuation`: marks that begin a word of their own.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// A stretch of tokens and its text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) tokens: Vec<u32>,
}

/// Splits text into words; together they hold every token.
pub(super) fn words(
    tokenizer: &Tokenizer,
    language: &str,
    tokens: &[u32],
) -> Result<Vec<Piece>, TokenizerError> {
    let pieces = whole_characters(tokenizer, tokens)?;
    if WITHOUT_SPACES.contains(&language) {
        return Ok(pieces);
    }
    let mut words: Vec<Piece> = Vec::new();
    for piece in pieces {
        let begins = piece.text.starts_with(' ') || PUNCTUATION.contains(piece.text.trim());
        match words.last_mut().filter(|_| !begins) {
            Some(word) => word.append(piece),
            None => words.push(piece),
        }
    }
    Ok(words)
}

impl Piece {
    fn append(&mut self, other: Self) {
        self.text.push_str(&other.text);
        self.tokens.extend(other.tokens);
    }
}

/// The shortest runs of tokens that are whole characters: those whose text is what stands in the
/// full text at that place. A run that is cut through a character has U+FFFD there.
///
/// A token without text of its own goes with the next one. Bytes that are no UTF-8 may decode
/// otherwise alone than in company; from there on the text is one run.
fn whole_characters(tokenizer: &Tokenizer, tokens: &[u32]) -> Result<Vec<Piece>, TokenizerError> {
    let full = tokenizer.decode(tokens)?;
    let mut rest = full.as_str();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut pending = Vec::new();
    for &token in tokens {
        pending.push(token);
        let text = tokenizer.decode(&pending)?;
        if let Some(behind) = rest.strip_prefix(&text).filter(|_| !text.is_empty()) {
            rest = behind;
            let tokens = std::mem::take(&mut pending);
            pieces.push(Piece { text, tokens });
        }
    }
    let last = Piece {
        text: rest.to_owned(),
        tokens: pending,
    };
    match pieces.last_mut().filter(|_| last.text.is_empty()) {
        Some(piece) => piece.append(last),
        None if !last.tokens.is_empty() => pieces.push(last),
        None => {}
    }
    Ok(pieces)
}
