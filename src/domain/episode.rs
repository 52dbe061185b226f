//! What is known about an episode before and after its audio is here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::EpisodeId;

/// An episode as its feed describes it. Everything but the identity and the URL is a hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// Who it is.
    pub id: EpisodeId,
    /// The title as plain text; may be empty.
    pub title: String,
    /// When the publisher says it came out; `None` where the feed gave no readable date.
    pub published: Option<DateTime<Utc>>,
    /// Length in seconds as the feed claims it.
    pub duration_s: Option<u32>,
    /// The season, where the feed counts seasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub season: Option<u32>,
    /// The episode's number, within its season where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Where the audio is.
    pub enclosure: Enclosure,
    /// Other files of the same item, in feed order: further enclosures and other renditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<Enclosure>,
    /// Transcripts that the publisher offers, in feed order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transcripts: Vec<TranscriptLink>,
}

/// A transcript that the feed points at (`podcast:transcript`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranscriptLink {
    /// Absolute `http` or `https` URL. May carry tokens, as [`Enclosure::url`].
    pub url: String,
    /// MIME type as the feed claims it, such as `text/vtt` or `application/x-subrip`.
    pub media_type: Option<String>,
    /// Language tag as the feed claims it.
    pub language: Option<String>,
}

/// The audio file that a feed points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enclosure {
    /// Absolute `http` or `https` URL. May carry tokens: print it through
    /// [`SafeUrl`](crate::runtime::http::SafeUrl).
    pub url: String,
    /// MIME type as the feed claims it.
    pub media_type: Option<String>,
    /// Size in bytes as the feed claims it.
    pub length: Option<u64>,
}

/// How the audio is packed, found by looking at its first bytes and never by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioContainer {
    /// MPEG-1/2 audio layer I to III.
    Mp3,
    /// ISO base media: `.m4a`, `.mp4`, `.mov`.
    Mp4,
    /// AAC in ADTS frames.
    Aac,
    /// Ogg: Vorbis, Opus, FLAC.
    Ogg,
    /// Native FLAC.
    Flac,
    /// RIFF WAVE.
    Wav,
    /// Matroska or WebM.
    Matroska,
    /// Audio Interchange File Format.
    Aiff,
}

impl AudioContainer {
    /// All of them, for scans of the raw store.
    pub const ALL: [Self; 8] = [
        Self::Mp3,
        Self::Mp4,
        Self::Aac,
        Self::Ogg,
        Self::Flac,
        Self::Wav,
        Self::Matroska,
        Self::Aiff,
    ];

    /// The file name extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Mp4 => "m4a",
            Self::Aac => "aac",
            Self::Ogg => "ogg",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Matroska => "mka",
            Self::Aiff => "aiff",
        }
    }

    /// The MIME type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Mp4 => "audio/mp4",
            Self::Aac => "audio/aac",
            Self::Ogg => "audio/ogg",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
            Self::Matroska => "audio/x-matroska",
            Self::Aiff => "audio/aiff",
        }
    }
}
