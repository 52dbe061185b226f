//! `meta.json`: what is known about an episode whose audio is here.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{
    AudioContainer, ContentDigest, Enclosure, EpisodeId, FeedSlug, Guid, PublisherTranscript,
    Rendition,
};

/// The content of `meta.json`. Readers ignore fields that they do not know, so a field may be added
/// without a new version; one that changes its meaning needs one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpisodeMeta {
    /// [`EpisodeMeta::SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// The feed it was found in.
    pub feed_slug: FeedSlug,
    /// The publisher's identifier, as received.
    pub guid: Guid,
    /// The title as plain text; may be empty.
    pub title: String,
    /// When the publisher says it came out.
    pub published: Option<DateTime<Utc>>,
    /// Length in seconds as the feed claims it.
    pub duration_s: Option<u32>,
    /// Key of the transcript in the stage store; `null`, but present, until there is one.
    pub transcript_key: Option<String>,
    /// The audio that was stored.
    pub audio: AudioMeta,
    /// More about the copy that was stored; missing in what older programs wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendition: Option<Rendition>,
    /// The publisher's own transcript, where the feed offers one that could be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher_transcript: Option<PublisherTranscript>,
    /// Where the feed said it is. The URL is as received, since it is needed to fetch again.
    pub enclosure: Enclosure,
    /// Every request that led to the audio, the last one included.
    pub redirects: Vec<RedirectHop>,
    /// Version of the program that fetched it.
    pub tool_version: String,
    /// Processings that it took, from 1.
    pub attempts: u32,
}

/// The stored audio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioMeta {
    /// Its key in the raw store.
    pub key: String,
    /// Size.
    pub bytes: u64,
    /// Hash of the bytes.
    pub sha256: ContentDigest,
    /// What it is, by its first bytes.
    pub container: AudioContainer,
    /// What the server said it is.
    pub content_type: Option<String>,
    /// The server's `ETag`, as received; of it and of the others here the first KiB.
    pub etag: Option<String>,
    /// The server's `Last-Modified`, as received.
    pub last_modified: Option<String>,
    /// When the transfer ended.
    pub fetched_at: DateTime<Utc>,
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectHop {
    /// The URL without its secrets: user info gone, the values of signing parameters redacted. A
    /// signed URL is good for hours and worth nothing afterwards, so nothing is lost.
    pub url: String,
    /// The HTTP status.
    pub status: u16,
}

impl EpisodeMeta {
    /// The version that this program writes, and the latest that it reads.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Whose it is.
    pub fn episode(&self) -> EpisodeId {
        EpisodeId {
            feed_slug: self.feed_slug.clone(),
            guid: self.guid.clone(),
        }
    }
}

/// One line, since query engines take every line for a record of its own.
pub(super) fn encode<T: Serialize>(meta: &T) -> serde_json::Result<Bytes> {
    let mut line = serde_json::to_vec(meta)?;
    line.push(b'\n');
    Ok(line.into())
}

pub(super) fn decode(bytes: &[u8]) -> Result<EpisodeMeta, String> {
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: u32,
    }
    // On its own first: a later version may not even have the other fields.
    let found = serde_json::from_slice::<Versioned>(bytes).map_err(|error| error.to_string())?;
    let (found, known) = (found.schema_version, EpisodeMeta::SCHEMA_VERSION);
    if found > known {
        return Err(format!(
            "its schema version is {found} and this program reads up to {known}; use a newer one"
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// The same object with another value of one field. Works on the text and not on [`EpisodeMeta`],
/// so that what a newer program added stays, on every level.
pub(super) fn with_field(bytes: &[u8], name: &str, value: Value) -> serde_json::Result<Bytes> {
    let mut fields: Map<String, Value> = serde_json::from_slice(bytes)?;
    fields.insert(name.to_owned(), value);
    encode(&fields)
}
