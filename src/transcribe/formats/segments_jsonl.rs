//! `segments.json`: one segment a line, for Athena, DuckDB and `grep`.
//!
//! Hive's JSON reader asks for one object a line and for keys that stay apart in lower case; SQL
//! reserves `end`, hence `start_s` and `end_s`. Whoever and whatever made a segment stands in its
//! row: a row read outside its folder still says where it belongs.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::FinishedTranscript;
use super::clean::{cleaned, rounded};
use crate::domain::{Segment, Word};

/// A line of `segments.json`. The field names are the columns of the query table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentRow<'a> {
    /// The feed's slug.
    pub feed_slug: Cow<'a, str>,
    /// The guid as the publisher gave it, not as the path spells it.
    pub guid: Cow<'a, str>,
    /// From 0 within the episode, in order of time.
    pub segment_id: u32,
    /// Start in seconds.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
    /// What was said, without white space around it.
    pub text: Cow<'a, str>,
    /// Who said it, where that is known.
    pub speaker: Option<Cow<'a, str>>,
    /// The episode's language, as Whisper names it.
    pub language: Cow<'a, str>,
    /// Mean log-probability of the window's tokens; -100 where it is unknown.
    pub avg_logprob: f32,
    /// UTF-8 bytes of the window's text over their size when deflated.
    pub compression_ratio: f32,
    /// Probability that the window holds no speech.
    pub no_speech_prob: f32,
    /// Sampling temperature of the accepted decoding.
    pub temperature: f32,
    /// Mean probability of the words, 0 to 1; unlike the other scores it is the segment's own and not
    /// its window's. `null` where words were not looked for.
    pub confidence: Option<f64>,
    /// The words, where they were looked for.
    pub words: Vec<WordRow<'a>>,
    /// The model's name.
    pub model: Cow<'a, str>,
}

/// A word of a [`SegmentRow`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WordRow<'a> {
    /// The word, without white space around it.
    pub word: Cow<'a, str>,
    /// Start in seconds.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
    /// Mean probability of its tokens, 0 to 1.
    pub probability: f32,
}

pub(super) fn render(finished: &FinishedTranscript<'_>) -> String {
    let transcript = cleaned(finished.transcript);
    let mut lines = String::new();
    for segment in &transcript.segments {
        let row = row(finished, &transcript.language, segment);
        let line = serde_json::to_string(&row)
            .expect("a row holds texts and numbers, all of which JSON can express");
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

fn row<'a>(
    finished: &FinishedTranscript<'a>,
    language: &'a str,
    segment: &'a Segment,
) -> SegmentRow<'a> {
    SegmentRow {
        feed_slug: finished.episode.feed_slug.as_str().into(),
        guid: finished.episode.guid.as_str().into(),
        segment_id: segment.id,
        start_s: segment.start,
        end_s: segment.end,
        text: segment.text.trim().into(),
        speaker: None,
        language: language.into(),
        avg_logprob: segment.avg_logprob,
        compression_ratio: segment.compression_ratio,
        no_speech_prob: segment.no_speech_prob,
        temperature: segment.temperature,
        confidence: confidence(&segment.words),
        words: segment.words.iter().map(word).collect(),
        model: finished.model.into(),
    }
}

fn word(word: &Word) -> WordRow<'_> {
    WordRow {
        word: word.word.trim().into(),
        start_s: word.start,
        end_s: word.end,
        probability: word.probability,
    }
}

fn confidence(words: &[Word]) -> Option<f64> {
    let sum: f64 = words.iter().map(|word| f64::from(word.probability)).sum();
    (!words.is_empty()).then(|| rounded(sum / words.len() as f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_support::{any_transcript, episode, spoken, transcript};
    use super::*;
    use crate::domain::{EpisodeId, Transcript};

    fn rendered(id: &EpisodeId, transcript: &Transcript) -> String {
        render(&FinishedTranscript {
            episode: id,
            transcript,
            model: "tiny",
        })
    }

    #[test]
    fn a_row_has_the_columns_of_the_query_table() {
        let one = transcript(&[(0.0, 1.38, " Two\nlines. ")]);
        let expected = concat!(
            r#"{"feed_slug":"20vc","guid":"https://a/?p=1","segment_id":0,"start_s":0.0,"#,
            r#""end_s":1.38,"text":"Two\nlines.","speaker":null,"language":"en","#,
            r#""avg_logprob":-0.312,"compression_ratio":1.25,"no_speech_prob":0.01,"#,
            r#""temperature":0.0,"confidence":null,"words":[],"model":"tiny"}"#,
            "\n"
        );
        assert_eq!(rendered(&episode("https://a/?p=1"), &one), expected);
    }

    #[test]
    fn words_stand_in_their_row() {
        let mut one = transcript(&[(0.0, 1.0, " Oh no")]);
        one.segments[0].words = spoken(" Oh no");
        one.segments[0].words[0].probability = 0.25;
        let expected = concat!(
            r#""confidence":0.5,"words":["#,
            r#"{"word":"Oh","start_s":0.0,"end_s":0.4,"probability":0.25},"#,
            r#"{"word":"no","start_s":0.5,"end_s":0.9,"probability":0.75}],"model""#
        );
        let line = rendered(&episode("g"), &one);
        assert!(line.contains(expected), "{line}");
    }

    proptest! {
        #[test]
        fn every_line_reads_back_as_its_segment(
            transcript in any_transcript(),
            guid in "\\PC{0,20}[a-z]",
        ) {
            let id = episode(&guid);
            let text = rendered(&id, &transcript);
            let rows: Vec<SegmentRow<'_>> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            prop_assert_eq!(rows.len(), transcript.segments.len());
            for (row, segment) in rows.iter().zip(&transcript.segments) {
                prop_assert_eq!(row.guid.as_ref(), id.guid.as_str());
                prop_assert_eq!(row.text.as_ref(), segment.text.trim());
                prop_assert_eq!(row.segment_id, segment.id);
            }
        }
    }
}
