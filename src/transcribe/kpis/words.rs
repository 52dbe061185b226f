//! Words in a transcript, and how often it says the same again.

use std::collections::HashSet;

/// Languages written without spaces, by Whisper's codes. What stands between two spaces there is a
/// sentence, and counting sentences as words would give a figure that looks right.
const WITHOUT_SPACES: [&str; 8] = ["zh", "yue", "ja", "th", "lo", "my", "km", "bo"];

/// Words split at white space; `None` where that is no word.
pub(super) fn count(text: &str, language: &str) -> Option<usize> {
    (!WITHOUT_SPACES.contains(&language)).then(|| spoken_words(text).count())
}

/// Share of sequences of three words that stood earlier in the text already, 0 to 1; of three
/// characters in languages without spaces. `None` for texts shorter than that.
pub(super) fn repeated_trigram_share(text: &str, language: &str) -> Option<f64> {
    let units: Vec<String> = if WITHOUT_SPACES.contains(&language) {
        let characters = text.chars().filter(|character| character.is_alphanumeric());
        characters.map(String::from).collect()
    } else {
        spoken_words(text).collect()
    };
    let all = units.len().checked_sub(2).filter(|count| *count > 0)?;
    let distinct: HashSet<&[String]> = units.windows(3).collect();
    Some(super::rounded((all - distinct.len()) as f64 / all as f64))
}

/// Lower-case words without punctuation; a lone dash is no word.
fn spoken_words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace()
        .map(|word| {
            let letters = word.chars().filter(|character| character.is_alphanumeric());
            letters.flat_map(char::to_lowercase).collect::<String>()
        })
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_where_there_are_spaces() {
        assert_eq!(count(" Yes - that is it.", "en"), Some(4));
        assert_eq!(count(" ", "en"), Some(0));
        assert_eq!(count("今日は", "ja"), None);
    }

    #[test]
    fn a_loop_repeats_itself_and_plain_speech_does_not() {
        let looped = "Thank you. ".repeat(50);
        assert_eq!(repeated_trigram_share(&looped, "en"), Some(0.98));
        let plain = "There are seventy people in the garden.";
        assert_eq!(repeated_trigram_share(plain, "en"), Some(0.0));
        assert_eq!(repeated_trigram_share("Thank you.", "en"), None);
        assert_eq!(repeated_trigram_share("はははははは", "ja"), Some(0.75));
    }
}
