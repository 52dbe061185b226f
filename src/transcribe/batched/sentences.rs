//! Words into segments: sentences, and parts of them where speakers pause or do not end.

use super::text::{PlacedWord, WindowText};
use crate::domain::{Segment, Word};

/// A pause that ends a segment, in seconds.
const PAUSE_S: f64 = 1.0;

/// A segment that is longer than this, in seconds, or has more characters is cut at its longest pause.
const LONGEST_S: f64 = 15.0;
const MOST_CHARACTERS: usize = 200;

/// Closing marks that may follow the end of a sentence.
const CLOSING: [char; 8] = ['"', '\'', ')', ']', '}', '”', '’', '»'];

/// English and Spanish abbreviations that stand before a name.
const TITLES: [&str; 12] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "sra", "srta", "jr", "vs", "no",
];

/// The segments of a window; `first` is the id of the first. No word ends behind `audio_seconds`.
pub(super) fn segments(window: &WindowText, first: usize, audio_seconds: f64) -> Vec<Segment> {
    let limit = (audio_seconds * 100.0).floor() / 100.0;
    let mut parts = Vec::new();
    for sentence in split(&window.words, |before, word| {
        ends_sentence(before, word) || word.start - before.end > PAUSE_S
    }) {
        cut_long(sentence, &mut parts);
    }
    let parts = parts.into_iter().enumerate();
    parts
        .filter_map(|(index, words)| segment(window, words, first + index, limit))
        .collect()
}

/// Cuts between words where `is_cut` says so of the two.
fn split(
    words: &[PlacedWord],
    is_cut: impl Fn(&PlacedWord, &PlacedWord) -> bool,
) -> impl Iterator<Item = &[PlacedWord]> {
    words.chunk_by(move |before, word| !is_cut(before, word))
}

fn ends_sentence(before: &PlacedWord, word: &PlacedWord) -> bool {
    let text = before.text.trim().trim_end_matches(CLOSING);
    let Some(mark) = text.chars().last() else {
        return false;
    };
    match mark {
        '?' | '!' | '。' | '！' | '？' | '…' => true,
        '.' => {
            let stem = text.trim_end_matches('.');
            let is_initial = stem.chars().count() == 1 && stem.chars().all(char::is_alphabetic);
            let is_title = TITLES.contains(&stem.to_lowercase().as_str());
            let goes_on = word.text.trim_start().starts_with(char::is_lowercase);
            // "3." and "14" are one number; "p.m." may end a sentence, and does before a capital.
            let is_number = !word.text.starts_with(' ');
            !(is_initial || is_title || goes_on || is_number)
        }
        _ => false,
    }
}

/// Halves what is too long at the longest pause near the middle, until nothing is.
fn cut_long<'a>(words: &'a [PlacedWord], parts: &mut Vec<&'a [PlacedWord]>) {
    let [first, .., last] = words else {
        parts.push(words);
        return;
    };
    let characters: usize = words.iter().map(|word| word.text.chars().count()).sum();
    if last.end - first.start <= LONGEST_S && characters <= MOST_CHARACTERS {
        parts.push(words);
        return;
    }
    // Not within a quarter of the ends: a part of one word helps nobody.
    let margin = (words.len() / 4).max(1);
    let gap = |at: usize| {
        let pause = words[at].start - words[at - 1].end;
        let is_clause = words[at - 1]
            .text
            .trim_end()
            .ends_with([',', ';', ':', '，', '、']);
        (pause + if is_clause { 0.3 } else { 0.0 }, at)
    };
    let cuts = margin..=(words.len() - margin).max(margin);
    let best = cuts.map(gap).max_by(|a, b| {
        let middle = |at: usize| words.len().abs_diff(2 * at);
        a.0.total_cmp(&b.0).then(middle(b.1).cmp(&middle(a.1)))
    });
    let at = best.map_or(words.len() / 2, |(_, at)| at);
    let (before, behind) = words.split_at(at);
    cut_long(before, parts);
    cut_long(behind, parts);
}

fn segment(window: &WindowText, words: &[PlacedWord], id: usize, limit: f64) -> Option<Segment> {
    let (first, last) = (words.first()?, words.last()?);
    Some(Segment {
        id: u32::try_from(id).unwrap_or(u32::MAX),
        seek: window.seek,
        start: first.start.min(limit),
        end: last.end.min(limit),
        text: words.iter().map(|word| word.text.as_str()).collect(),
        tokens: words
            .iter()
            .flat_map(|word| &word.tokens)
            .copied()
            .collect(),
        temperature: window.temperature,
        avg_logprob: window.avg_logprob,
        compression_ratio: window.compression_ratio,
        no_speech_prob: window.no_speech_prob,
        words: words.iter().map(|word| spoken(word, limit)).collect(),
    })
}

fn spoken(word: &PlacedWord, limit: f64) -> Word {
    Word {
        word: word.text.clone(),
        start: word.start.min(limit),
        end: word.end.min(limit),
        probability: word.probability,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of half a second; a number is a pause before the next.
    fn window(parts: &[&str]) -> WindowText {
        let mut at = 0.0;
        let mut words = Vec::new();
        for part in parts {
            if let Ok(pause) = part.trim().parse::<f64>() {
                at += pause;
                continue;
            }
            words.push(PlacedWord {
                text: (*part).to_owned(),
                tokens: vec![words.len() as u32],
                start: at,
                end: at + 0.5,
                probability: 0.9,
            });
            at += 0.5;
        }
        WindowText {
            seek: 100,
            seconds: 30.0,
            end: 30.0,
            words,
            language: Some("en".to_owned()),
            language_probability: 0.9,
            temperature: 0.0,
            avg_logprob: -0.2,
            compression_ratio: 1.1,
            no_speech_prob: 0.0,
            tries: 1,
            is_doubtful: false,
            is_silent: false,
        }
    }

    fn texts(parts: &[&str]) -> Vec<String> {
        let segments = segments(&window(parts), 0, 1e6);
        segments.into_iter().map(|segment| segment.text).collect()
    }

    #[test]
    fn sentences_end_at_their_marks() {
        assert_eq!(
            texts(&[
                " Is", " it?", " Yes.\"", " Dr.", " J.", " Smith", " said", " e.g.", " this."
            ]),
            [" Is it?", " Yes.\"", " Dr. J. Smith said e.g. this."]
        );
        assert_eq!(texts(&["你好。", "再见。"]), ["你好。", "再见。"]);
    }

    #[test]
    fn a_pause_ends_a_segment() {
        assert_eq!(
            texts(&[" and", " then", "1.5", " silence"]),
            [" and then", " silence"]
        );
        assert_eq!(texts(&[" and", "0.9", " then"]), [" and then"]);
    }

    #[test]
    fn endless_speech_is_cut_at_its_longest_pause() {
        let mut parts = vec![" word"; 20];
        parts.push("0.4");
        parts.extend([" and"; 20]);
        let cut = texts(&parts);
        assert_eq!(cut.len(), 2);
        assert!(
            cut[0].ends_with("word") && cut[1].starts_with(" and"),
            "{cut:?}"
        );
        for text in texts(&[" so"; 200]) {
            assert!(text.chars().count() <= MOST_CHARACTERS);
        }
    }

    #[test]
    fn a_segment_is_its_words() {
        let segments = segments(&window(&[" One.", " Two", " three."]), 7, 1.2);
        assert_eq!(segments.len(), 2);
        let second = &segments[1];
        assert_eq!((second.id, second.seek), (8, 100));
        assert_eq!((second.start, second.end), (0.5, 1.2));
        assert_eq!(second.words.len(), 2);
        assert_eq!(second.tokens, [1, 2]);
        assert!(super::segments(&window(&[]), 0, 1.0).is_empty());
    }
}
