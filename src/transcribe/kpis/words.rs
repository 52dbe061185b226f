//! Words in a transcript, and how often it says the same again.

use std::collections::HashSet;

use super::super::formats::cues::WITHOUT_SPACES;
use super::rounded;
use crate::domain::Segment;

/// Words split at white space; `None` for languages that put none between words: what stands between
/// two spaces there is a sentence, and counting sentences would give a figure that looks right.
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
    Some(rounded((all - distinct.len()) as f64 / all as f64))
}

/// How sure the model was of its words.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Confidence {
    pub(super) mean: Option<f64>,
    /// A tenth of the words is below it.
    pub(super) p10: Option<f64>,
    /// Share of words below [`LOW`].
    pub(super) low_share: Option<f64>,
}

/// Below this probability a word is rather wrong than right.
const LOW: f32 = 0.5;

/// Over all words with a probability; nothing where there are none.
pub(super) fn confidence(segments: &[Segment]) -> Confidence {
    let words = segments.iter().flat_map(|segment| &segment.words);
    let mut all: Vec<f32> = words
        .map(|word| word.probability)
        .filter(|probability| probability.is_finite())
        .collect();
    if all.is_empty() {
        return Confidence::default();
    }
    all.sort_by(f32::total_cmp);
    let count = all.len() as f64;
    let sum: f64 = all.iter().copied().map(f64::from).sum();
    let low = all.partition_point(|&probability| probability < LOW);
    Confidence {
        mean: Some(rounded(sum / count)),
        p10: Some(rounded(all[(all.len() - 1) / 10].into())),
        low_share: Some(rounded(low as f64 / count)),
    }
}

/// Lower-case words without punctuation; a lone dash is no word.
pub(super) fn spoken_words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace()
        .map(|word| {
            let letters = word.chars().filter(|character| character.is_alphanumeric());
            letters.flat_map(char::to_lowercase).collect::<String>()
        })
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::super::formats::test_support::{spoken, transcript};
    use super::*;

    #[test]
    fn unsure_words_show() {
        let text = "a b c d e f g h i j";
        let mut heard = transcript(&[(0.0, 5.0, text)]);
        assert_eq!(confidence(&heard.segments), Confidence::default());
        heard.segments[0].words = spoken(text);
        heard.segments[0].words[3].probability = 0.25;
        heard.segments[0].words[7].probability = f32::NAN;
        let expected = Confidence {
            mean: Some(0.694),
            p10: Some(0.25),
            low_share: Some(0.111),
        };
        assert_eq!(confidence(&heard.segments), expected);
    }

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
