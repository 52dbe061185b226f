//! Sentences that Whisper says where nobody speaks: closing words of the videos it was trained on.
//!
//! They are counted and never removed: somebody may have said them.

use std::sync::LazyLock;

use super::words::spoken_words;
use crate::domain::Segment;

/// As published reports of invented text name them, in the languages they come in most often.
const KNOWN: [&str; 20] = [
    "Thank you for watching",
    "Thanks for watching",
    "Please subscribe to my channel",
    "Don't forget to like and subscribe",
    "See you in the next video",
    "Subtitles by the Amara.org community",
    "Transcription by CastingWords",
    "Transcribed by otter.ai",
    "Untertitel der Amara.org-Community",
    "Untertitel im Auftrag des ZDF",
    "Sous-titres réalisés par la communauté d'Amara.org",
    "Subtítulos realizados por la comunidad de Amara.org",
    "Gracias por ver el video",
    "Legendas pela comunidade Amara.org",
    "Sottotitoli creati dalla comunità Amara.org",
    "Продолжение следует",
    "Субтитры сделал DimaTorzok",
    "ご視聴ありがとうございました",
    "字幕由Amara.org社区提供",
    "시청해주셔서 감사합니다",
];

static PHRASES: LazyLock<Vec<String>> = LazyLock::new(|| KNOWN.map(plain).to_vec());

/// Segments that hold one of the phrases.
pub(super) fn count(segments: &[Segment]) -> usize {
    let is_flagged = |segment: &&Segment| {
        let text = plain(&segment.text);
        PHRASES.iter().any(|phrase| text.contains(phrase.as_str()))
    };
    segments.iter().filter(is_flagged).count()
}

/// Lower-case words with a space on each side, so that no phrase is found within a word.
fn plain(text: &str) -> String {
    let words: Vec<String> = spoken_words(text).collect();
    // Languages without spaces have no words to stay within.
    match text.is_ascii() || text.contains(' ') {
        true => format!(" {} ", words.join(" ")),
        false => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::formats::test_support::transcript;
    use super::*;

    #[test]
    fn known_phrases_are_counted_whatever_their_punctuation() {
        let heard = transcript(&[
            (0.0, 1.0, " Thanks for watching!"),
            (1.0, 2.0, " And so: thank you, for watching."),
            (2.0, 3.0, "ご視聴ありがとうございました。"),
            (3.0, 4.0, " Thank you."),
            (4.0, 5.0, " Merci."),
        ]);
        assert_eq!(count(&heard.segments), 3);
        assert_eq!(count(&[]), 0);
    }
}
