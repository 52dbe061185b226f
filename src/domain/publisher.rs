//! A transcript that the publisher offers, as it is kept beside the audio.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::ContentDigest;

/// How a publisher's transcript is written, found by looking at its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TranscriptFormat {
    /// WebVTT.
    Vtt,
    /// SubRip.
    Srt,
    /// JSON, mostly of Podcasting 2.0.
    Json,
    /// A page.
    Html,
    /// Plain text.
    Txt,
}

impl TranscriptFormat {
    /// All of them, the most useful first: those with times, then those that are easy to read.
    pub const ALL: [Self; 5] = [Self::Vtt, Self::Srt, Self::Json, Self::Html, Self::Txt];

    /// The file name extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Vtt => "vtt",
            Self::Srt => "srt",
            Self::Json => "json",
            Self::Html => "html",
            Self::Txt => "txt",
        }
    }

    /// The MIME type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Vtt => "text/vtt",
            Self::Srt => "application/x-subrip",
            Self::Json => "application/json",
            Self::Html => "text/html",
            Self::Txt => "text/plain",
        }
    }
}

/// The publisher's transcript in the raw store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherTranscript {
    /// Its key in the raw store.
    pub key: String,
    /// How it is written.
    pub format: TranscriptFormat,
    /// Size.
    pub bytes: u64,
    /// Hash of the bytes.
    pub sha256: ContentDigest,
    /// Language tag as the feed claims it.
    pub language: Option<String>,
    /// Where it came from, without the URL's secrets.
    pub url: String,
    /// When.
    pub fetched_at: DateTime<Utc>,
}
