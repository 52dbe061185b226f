//! Transcripts to write: plain ones by hand, hostile ones by proptest.

use proptest::prelude::*;

use crate::domain::{EpisodeId, FeedSlug, Guid, Segment, Transcript, Word};

pub(in crate::transcribe) fn episode(guid: &str) -> EpisodeId {
    EpisodeId {
        feed_slug: FeedSlug::try_new("20vc").unwrap(),
        guid: Guid::try_new(guid).unwrap(),
    }
}

pub(in crate::transcribe) fn segment(start: f64, end: f64, text: &str) -> Segment {
    Segment {
        id: 0,
        seek: 0,
        start,
        end,
        text: text.to_owned(),
        tokens: Vec::new(),
        temperature: 0.0,
        avg_logprob: -0.312_345,
        compression_ratio: 1.25,
        no_speech_prob: 0.01,
        words: Vec::new(),
    }
}

/// An English minute with these segments: start, end, text.
pub(in crate::transcribe) fn transcript(segments: &[(f64, f64, &str)]) -> Transcript {
    let segments: Vec<_> = (0..)
        .zip(segments)
        .map(|(id, (start, end, text))| Segment {
            id,
            ..segment(*start, *end, text)
        })
        .collect();
    Transcript {
        text: segments
            .iter()
            .map(|segment| segment.text.as_str())
            .collect(),
        segments,
        language: "en".to_owned(),
        language_probability: 0.99,
        duration: 60.0,
    }
}

/// The words of `text`, each with the space before it: one every half second, 0.4 s long.
pub(in crate::transcribe) fn spoken(text: &str) -> Vec<Word> {
    let words = text.split_whitespace().enumerate();
    words
        .map(|(number, word)| Word {
            word: format!(" {word}"),
            start: 0.5 * number as f64,
            end: 0.5 * number as f64 + 0.4,
            probability: 0.75,
        })
        .collect()
}

/// Any text, with what breaks cues and lines more often than chance brings it.
fn any_text() -> impl Strategy<Value = String> {
    let awkward = prop::sample::select(vec![
        "-->", "&", "<b>", "&amp;", "\n\n", "\r", "\u{2028}", "\0", " ", "NOTE", "\u{a0}", "é",
    ]);
    let piece = prop_oneof![awkward.prop_map(str::to_owned), any::<String>()];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn any_time() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..50_000.0, 1 => any::<f64>(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)]
}

/// proptest's own floats are always numbers.
fn any_figure() -> impl Strategy<Value = f32> {
    let no_numbers = prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    prop_oneof![4 => -5.0_f32..5.0, 1 => any::<f32>(), 1 => no_numbers]
}

fn any_word() -> impl Strategy<Value = Word> {
    (any_text(), any_time(), any_time(), any_figure()).prop_map(
        |(word, start, end, probability)| Word {
            word,
            start,
            end,
            probability,
        },
    )
}

/// Words that spell a text, or any words.
fn any_words(text: &str) -> impl Strategy<Value = Vec<Word>> + use<> {
    prop_oneof![Just(spoken(text)), prop::collection::vec(any_word(), 0..3)]
}

prop_compose! {
    fn any_segment()(
        (start, end) in (any_time(), any_time()),
        (text, words) in any_text().prop_flat_map(|text| (any_words(&text), Just(text)).prop_map(|(words, text)| (text, words))),
        tokens in prop::collection::vec(any::<u32>(), 0..4),
        scores in prop::array::uniform4(any_figure()),
    ) -> Segment {
        Segment {
            tokens,
            temperature: scores[0],
            avg_logprob: scores[1],
            compression_ratio: scores[2],
            no_speech_prob: scores[3],
            words,
            ..segment(start, end, &text)
        }
    }
}

prop_compose! {
    /// Whatever the types allow: times out of order, no numbers, any text.
    pub(in crate::transcribe) fn any_transcript()(
        segments in prop::collection::vec(any_segment(), 0..6),
        language in "[a-z]{2,3}",
        language_probability in any_figure(),
        duration in any_time(),
    ) -> Transcript {
        let segments: Vec<_> = (0..)
            .zip(segments)
            .map(|(id, segment)| Segment { id, ..segment })
            .collect();
        Transcript {
            text: segments.iter().map(|segment| segment.text.as_str()).collect(),
            segments,
            language,
            language_probability,
            duration,
        }
    }
}
