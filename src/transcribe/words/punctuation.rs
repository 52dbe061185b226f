//! Punctuation joined to the word it belongs to.

use super::TokenWord;

/// Joins marks to their words: one of `prepended` that has a space before it to the word behind it,
/// one of `appended` to the word before it.
///
/// The word keeps its own times and probability: a mark is not spoken, and where alignment puts it is
/// chance.
pub fn merge_punctuation(words: Vec<TokenWord>, prepended: &str, appended: &str) -> Vec<TokenWord> {
    append(prepend(words, prepended), appended)
}

/// From the end, so that several marks in a row all reach their word.
fn prepend(words: Vec<TokenWord>, prepended: &str) -> Vec<TokenWord> {
    let mut reversed: Vec<TokenWord> = Vec::with_capacity(words.len());
    for mut word in words.into_iter().rev() {
        let is_mark = word.text.starts_with(' ') && prepended.contains(word.text.trim());
        match reversed.last_mut().filter(|_| is_mark) {
            Some(following) => {
                word.text.push_str(&following.text);
                word.tokens.append(&mut following.tokens);
                following.text = word.text;
                following.tokens = word.tokens;
            }
            None => reversed.push(word),
        }
    }
    reversed.reverse();
    reversed
}

fn append(words: Vec<TokenWord>, appended: &str) -> Vec<TokenWord> {
    let mut merged: Vec<TokenWord> = Vec::with_capacity(words.len());
    for word in words {
        let is_mark = appended.contains(word.text.as_str());
        let previous = merged.last_mut().filter(|last| !last.text.ends_with(' '));
        match previous.filter(|_| is_mark) {
            Some(previous) => {
                previous.text.push_str(&word.text);
                previous.tokens.extend(word.tokens);
            }
            None => merged.push(word),
        }
    }
    merged
}
