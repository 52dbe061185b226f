//! A finished transcript as files. Pure: values in, text out.
//!
//! One file a format. To add one (`srt`, `tsv`, `txt`), write its function, give it a variant of
//! [`OutputFormat`] and a key in [`StageKey`]; the compiler names the rest.

use crate::domain::{EpisodeId, StageKey, Transcript};

pub(super) mod clean;
mod segments_jsonl;
#[cfg(test)]
pub(super) mod test_support;
mod transcript_json;
mod vtt;

pub use segments_jsonl::SegmentRow;

/// What a transcript is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputFormat {
    /// `transcript.json`: openai's shape plus `language_probability` and `duration`, on one line.
    TranscriptJson,
    /// `transcript.vtt`: WebVTT for players.
    Vtt,
    /// `segments.json`: one [`SegmentRow`] a line, for queries.
    SegmentsJsonl,
}

impl OutputFormat {
    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; 3] = [Self::TranscriptJson, Self::Vtt, Self::SegmentsJsonl];

    /// The whole file. Every number in it is finite and has at most three decimals.
    ///
    /// Never fails: a score that is no number is written as the worst one, and a time that is no
    /// number as the end of the segment before.
    pub fn render(self, finished: &FinishedTranscript<'_>) -> String {
        match self {
            Self::TranscriptJson => transcript_json::render(finished.transcript),
            Self::Vtt => vtt::render(finished.transcript),
            Self::SegmentsJsonl => segments_jsonl::render(finished),
        }
    }

    /// Where the file belongs.
    pub fn stage_key(self, episode: &EpisodeId) -> StageKey<'_> {
        match self {
            Self::TranscriptJson => StageKey::Transcript(episode),
            Self::Vtt => StageKey::Vtt(episode),
            Self::SegmentsJsonl => StageKey::Segments(episode),
        }
    }
}

/// A transcript and what its files say about its origin.
#[derive(Debug, Clone, Copy)]
pub struct FinishedTranscript<'a> {
    /// Whose.
    pub episode: &'a EpisodeId,
    /// What was heard.
    pub transcript: &'a Transcript,
    /// The model's name, as [`EngineInfo`](super::engine::EngineInfo) gives it.
    pub model: &'a str,
}

#[cfg(test)]
mod tests {
    use super::test_support::{episode, transcript};
    use super::*;

    #[test]
    fn each_format_has_its_own_place() {
        let id = episode("g");
        let keys = OutputFormat::ALL.map(|format| format.stage_key(&id).to_string());
        let expected = [
            "20vc/g/transcripts/transcript.json",
            "20vc/g/transcripts/transcript.vtt",
            "20vc/g/segments/segments.json",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn an_episode_without_speech_has_valid_files() {
        let id = episode("g");
        let empty = transcript(&[]);
        let finished = FinishedTranscript {
            episode: &id,
            transcript: &empty,
            model: "m",
        };
        let files = OutputFormat::ALL.map(|format| format.render(&finished));
        assert!(files[0].starts_with(r#"{"text":"","segments":[],"#));
        assert_eq!(files[1], "WEBVTT\n");
        assert_eq!(files[2], "");
    }
}
