//! What is known about the one copy of an episode that was stored: hosts that insert advertisements
//! give out another copy every day, and some give out something else altogether.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::episode::AudioContainer;
use super::ids::ContentDigest;

/// One copy of an episode's audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rendition {
    /// Whether its host probably inserts advertisements, so that the next copy may differ.
    pub dai: bool,
    /// Why that is thought.
    #[serde(default)]
    pub dai_signs: Vec<AdSign>,
    /// When the transfer ended.
    pub fetched_at: DateTime<Utc>,
    /// SHA-256 of the bytes.
    pub sha256: ContentDigest,
    /// CRC-64/NVME of the bytes as S3 writes it: base 64 of the eight bytes, high one first.
    pub crc64nvme: String,
    /// Size.
    pub bytes: u64,
    /// What it is, by its first bytes.
    pub container: AudioContainer,
    /// Length in seconds by the container's own word or by its frames; `None` where neither is known.
    pub duration_est_s: Option<f64>,
    /// The coding that the host put on the body unasked (`gzip`); the stored bytes are without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// How often a broken transfer was continued.
    #[serde(default)]
    pub resumes: u32,
    /// Why it may not be the episode. It is stored all the same: the feed may be what is wrong.
    #[serde(default)]
    pub suspicious: Vec<Suspicion>,
}

/// A sign that a host inserts advertisements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdSign {
    /// The host is known for it, or the operator says so.
    ListedHost,
    /// It is longer or shorter than the feed says.
    LengthDiffers,
    /// The answer has no strong `ETag`.
    NoValidator,
    /// The answer may not be cached.
    Uncacheable,
}

/// A sign that the audio is not the episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// It is far shorter than the feed says, as the clip is that says "not in your country".
    Short,
    /// Its bytes hardly change: silence, or nothing.
    Silent,
    /// Most of it is no audio.
    Hollow,
    /// Its host told no length and closed the connection long before as many bytes came as the feed
    /// says.
    Cut,
}
