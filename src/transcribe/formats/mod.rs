//! A finished transcript as files. Pure: values in, text out.
//!
//! One file a format. To add one, write its function and give it a variant of [`OutputFormat`]; the
//! compiler names the rest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::{EpisodeId, ExtraFormat, Transcript};

pub(super) mod clean;
pub(super) mod cues;
mod lines;
mod plain;
mod podcast_json;
mod segments_jsonl;
mod srt;
mod tables;
#[cfg(test)]
pub(super) mod test_support;
mod transcript_json;
mod vtt;

pub use lines::CueLayout;
pub use segments_jsonl::{SegmentRow, WordRow};

/// What a transcript is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// openai's shape plus `language_probability` and `duration`, on one line.
    #[serde(rename = "json")]
    TranscriptJson,
    /// WebVTT for players.
    Vtt,
    /// One [`SegmentRow`] a line, for queries.
    #[serde(rename = "segments")]
    SegmentsJsonl,
    /// SubRip for video editors.
    Srt,
    /// Tab-separated values: milliseconds and text.
    Tsv,
    /// The text alone, a segment a line.
    Txt,
    /// The JSON of the podcast namespace.
    PodcastJson,
}

impl OutputFormat {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TranscriptJson,
        Self::Vtt,
        Self::SegmentsJsonl,
        Self::Srt,
        Self::Tsv,
        Self::Txt,
        Self::PodcastJson,
    ];

    /// The whole file. Every number in it is finite and has at most three decimals.
    ///
    /// Never fails: a score that is no number is written as the worst one, and a time that is no
    /// number as the end of the segment before.
    pub fn render(self, finished: &FinishedTranscript<'_>, layout: &CueLayout) -> String {
        let transcript = finished.transcript;
        match self {
            Self::TranscriptJson => transcript_json::render(transcript),
            Self::Vtt => vtt::render(transcript, layout),
            Self::SegmentsJsonl => segments_jsonl::render(finished),
            Self::Srt => srt::render(transcript, layout),
            Self::Tsv => tables::tsv(transcript),
            Self::Txt => tables::txt(transcript),
            Self::PodcastJson => podcast_json::render(transcript),
        }
    }

    /// What the stage store calls it; `None` for those that it always has.
    pub fn extra(self) -> Option<ExtraFormat> {
        match self {
            Self::TranscriptJson | Self::Vtt | Self::SegmentsJsonl => None,
            Self::Srt => Some(ExtraFormat::Srt),
            Self::Tsv => Some(ExtraFormat::Tsv),
            Self::Txt => Some(ExtraFormat::Txt),
            Self::PodcastJson => Some(ExtraFormat::PodcastJson),
        }
    }

    /// What people call it, in settings and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TranscriptJson => "json",
            Self::Vtt => "vtt",
            Self::SegmentsJsonl => "segments",
            Self::Srt => "srt",
            Self::Tsv => "tsv",
            Self::Txt => "txt",
            Self::PodcastJson => "podcast-json",
        }
    }

    /// What the names of its files end with, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::TranscriptJson => "json",
            Self::Vtt => "vtt",
            Self::SegmentsJsonl => "segments.jsonl",
            Self::Srt => "srt",
            Self::Tsv => "tsv",
            Self::Txt => "txt",
            Self::PodcastJson => "podcast.json",
        }
    }
}

/// What is written of an episode, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Formats beyond [`OutputFormat::TranscriptJson`], [`OutputFormat::Vtt`] and
    /// [`OutputFormat::SegmentsJsonl`], which the stage store always has; those are ignored here.
    pub extra: BTreeSet<OutputFormat>,
    /// How cues are laid out.
    pub layout: CueLayout,
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
    fn each_format_has_its_own_name() {
        let names: BTreeSet<_> = OutputFormat::ALL.iter().map(|f| f.extension()).collect();
        assert_eq!(names.len(), OutputFormat::ALL.len());
        let extra: BTreeSet<_> = OutputFormat::ALL.iter().filter_map(|f| f.extra()).collect();
        assert_eq!(extra, ExtraFormat::ALL.into());
        for format in OutputFormat::ALL {
            let read: OutputFormat = serde_json::from_value(format.as_str().into()).unwrap();
            assert_eq!(read, format);
        }
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
        let layout = CueLayout::default();
        let files = OutputFormat::ALL.map(|format| format.render(&finished, &layout));
        assert!(files[0].starts_with(r#"{"text":"","segments":[],"#));
        assert_eq!(files[1], "WEBVTT\n");
        assert_eq!(files[2], "");
        assert_eq!(files[3], "");
        assert_eq!(files[4], "start\tend\ttext\n");
        assert_eq!(files[5], "");
        assert_eq!(files[6], "{\"version\":\"1.0.0\",\"segments\":[]}\n");
    }
}
