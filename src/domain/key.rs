//! Object paths: the only code that spells them.
//!
//! The layout is a contract with everything that reads the stores later (Athena, Glue, people):
//!
//! ```text
//! raw/    <feed_slug>/<guid>/audio/episode.mp3        true extension where it is not MP3
//!         <feed_slug>/<guid>/meta/meta.json
//!         <feed_slug>/<guid>/transcripts/publisher.vtt   true extension; where the feed offers one
//! stage/  <feed_slug>/<guid>/transcripts/transcript.json, transcript.vtt
//!         <feed_slug>/<guid>/segments/segments.json   one JSON object a line
//!         <feed_slug>/<guid>/kpis/kpis.json
//!         <feed_slug>/<guid>/partial/<recipe>/<first>-<end>.json   windows done, until the episode is
//! manifests/ <yyyymmdd>.csv, <yyyymmdd>-2.csv, ...
//!            feeds/<feed_slug>/pages/<address>.json    what a feed's server last said
//!            feeds/<feed_slug>/bodies/<sha256>.gz      and the bytes of it
//!            identity/feeds/<feed_slug>.json           which episode is which
//!            identity/shows/<podcast:guid>             the slug that a show is kept under
//!            runs/<run>.json                           what was submitted, for its workers
//! ```

use std::fmt;
use std::ops::Range;

use chrono::NaiveDate;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::episode::AudioContainer;
use super::ids::{ContentDigest, EpisodeId, FeedSlug, Guid};
use super::publisher::TranscriptFormat;
use super::run::RunId;

/// A guid as one path segment.
///
/// Letters, digits, `-`, `_`, `.` and `~` stay, every other byte is percent-encoded. A guid whose
/// encoding is longer than 200 bytes, or that would be `.` or `..`, becomes `h-` and 52 base-32
/// digits of its SHA-256: file systems end a name at 255 bytes, and the raw guid stands in
/// `meta.json` either way. So does a guid with an upper-case letter stay apart from its lower-case
/// twin on S3, but not on a case-folding file system, where the create-only write reports the clash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuidSegment(String);

impl GuidSegment {
    const MAX_LEN: usize = 200;
    const KEPT: &'static AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');

    /// The segment of `guid`; equal guids have equal segments, different guids different ones.
    pub fn new(guid: &Guid) -> Self {
        let encoded = utf8_percent_encode(guid.as_str(), Self::KEPT).to_string();
        // A leading dot would hide the folder; a literal `h-` must not be taken for a hash.
        let ambiguous = encoded.starts_with('.') || encoded.starts_with("h-");
        if encoded.len() <= Self::MAX_LEN && !ambiguous {
            Self(encoded)
        } else {
            Self(format!("h-{}", base32(&Sha256::digest(guid.as_str()))))
        }
    }

    /// The segment as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// RFC 4648 base 32 without padding, lower case.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(DIGITS[(buffer >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        text.push(char::from(DIGITS[(buffer << (5 - bits)) as usize & 31]));
    }
    text
}

/// `<feed_slug>/<guid>`: the folder that holds all of one episode in either store.
pub fn episode_prefix(episode: &EpisodeId) -> String {
    format!(
        "{}/{}",
        episode.feed_slug,
        GuidSegment::new(&episode.guid).as_str()
    )
}

/// `<feed_slug>/`: everything of one feed.
pub fn feed_prefix(feed: &FeedSlug) -> String {
    format!("{feed}/")
}

/// An object of the raw store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RawKey<'a> {
    /// The audio as received.
    Audio(&'a EpisodeId, AudioContainer),
    /// The publisher's own transcript as received.
    PublisherTranscript(&'a EpisodeId, TranscriptFormat),
    /// What is known about it; its existence says that the audio is complete.
    Meta(&'a EpisodeId),
}

impl RawKey<'_> {
    /// The file name that ends every meta key; a scan of the raw store looks for it.
    pub const META_SUFFIX: &'static str = "/meta/meta.json";

    /// The MIME type to store the object with.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Audio(_, container) => container.content_type(),
            Self::PublisherTranscript(_, format) => format.content_type(),
            Self::Meta(_) => "application/json",
        }
    }
}

impl fmt::Display for RawKey<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audio(episode, container) => write!(
                formatter,
                "{}/audio/episode.{}",
                episode_prefix(episode),
                container.extension()
            ),
            Self::PublisherTranscript(episode, format) => write!(
                formatter,
                "{}/transcripts/publisher.{}",
                episode_prefix(episode),
                format.extension()
            ),
            Self::Meta(episode) => {
                write!(
                    formatter,
                    "{}{}",
                    episode_prefix(episode),
                    Self::META_SUFFIX
                )
            }
        }
    }
}

/// An object of the stage store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StageKey<'a> {
    /// Text, segments and language in openai's shape.
    Transcript(&'a EpisodeId),
    /// The same as WebVTT.
    Vtt(&'a EpisodeId),
    /// One segment a line, for queries.
    Segments(&'a EpisodeId),
    /// The same once more, where it was asked for.
    Extra(&'a EpisodeId, ExtraFormat),
    /// Finished windows of an episode that is still worked on: how they were made, and which.
    Part(&'a EpisodeId, &'a str, Range<usize>),
    /// What the keys of all its parts begin with.
    Parts(&'a EpisodeId),
    /// Quality and speed figures; written last, so its existence says that the rest is complete.
    Kpis(&'a EpisodeId),
}

impl StageKey<'_> {
    /// The MIME type to store the object with.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Transcript(_) | Self::Part(..) | Self::Parts(_) | Self::Kpis(_) => {
                "application/json"
            }
            Self::Vtt(_) => "text/vtt",
            Self::Segments(_) => "application/x-ndjson",
            Self::Extra(_, format) => format.content_type(),
        }
    }
}

impl fmt::Display for StageKey<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (episode, tail) = match self {
            Self::Part(episode, recipe, Range { start, end }) => {
                let episode = episode_prefix(episode);
                return write!(
                    formatter,
                    "{episode}/partial/{recipe}/{start:08}-{end:08}.json"
                );
            }
            Self::Parts(episode) => (episode, "partial/"),
            Self::Extra(episode, format) => (episode, format.name()),
            Self::Transcript(episode) => (episode, "transcripts/transcript.json"),
            Self::Vtt(episode) => (episode, "transcripts/transcript.vtt"),
            Self::Segments(episode) => (episode, "segments/segments.json"),
            Self::Kpis(episode) => (episode, "kpis/kpis.json"),
        };
        write!(formatter, "{}/{tail}", episode_prefix(episode))
    }
}

/// What a transcript is also written as, on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExtraFormat {
    /// SubRip.
    Srt,
    /// Tab-separated values.
    Tsv,
    /// Plain text.
    Txt,
    /// The JSON of the podcast namespace.
    PodcastJson,
}

impl ExtraFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Srt, Self::Tsv, Self::Txt, Self::PodcastJson];

    fn name(self) -> &'static str {
        match self {
            Self::Srt => "transcripts/transcript.srt",
            Self::Tsv => "transcripts/transcript.tsv",
            Self::Txt => "transcripts/transcript.txt",
            Self::PodcastJson => "transcripts/transcript.podcast.json",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Srt => "application/x-subrip",
            Self::Tsv => "text/tab-separated-values",
            Self::Txt => "text/plain; charset=utf-8",
            Self::PodcastJson => "application/json",
        }
    }
}

/// A manifest by the day of its making and its number on that day, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestKey {
    /// The UTC day.
    pub day: NaiveDate,
    /// 1 for the day's first, which has no number in its name.
    pub number: u32,
}

impl fmt::Display for ManifestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.day.format("%Y%m%d");
        match self.number {
            0 | 1 => write!(formatter, "{day}.csv"),
            number => write!(formatter, "{day}-{number}.csv"),
        }
    }
}

/// An object of the copies of feeds, which lie beside the manifests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FeedCopyKey<'a> {
    /// What is known of the page at this address; its existence says that the body was written.
    Page(&'a FeedSlug, &'a str),
    /// The bytes of a page by their digest, so that no write ever changes what a page points at.
    Body(&'a FeedSlug, &'a ContentDigest),
}

impl FeedCopyKey<'_> {
    /// What the keys of all copies of `feed`, and of no other feed, begin with.
    pub fn prefix(feed: &FeedSlug) -> String {
        format!("feeds/{feed}/")
    }
}

impl fmt::Display for FeedCopyKey<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(feed, address) => {
                let address = base32(&Sha256::digest(address));
                write!(formatter, "{}pages/{address}.json", Self::prefix(feed))
            }
            Self::Body(feed, digest) => {
                write!(formatter, "{}bodies/{digest}.gz", Self::prefix(feed))
            }
        }
    }
}

/// What a submitted run is to do, beside the manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunKey<'a>(pub &'a RunId);

impl RunKey<'_> {
    /// The run whose record a key names, if it names one.
    pub fn run_of(key: &str) -> Option<RunId> {
        let name = key.strip_prefix("runs/")?.strip_suffix(".json")?;
        RunId::try_new(name).ok()
    }
}

impl fmt::Display for RunKey<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "runs/{}.json", self.0)
    }
}

/// What is remembered of which episode is which, beside the manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityKey<'a> {
    /// The episodes of a feed.
    Feed(&'a FeedSlug),
    /// The slug that a show is kept under, by its `podcast:guid`.
    Show(Uuid),
}

impl fmt::Display for IdentityKey<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(feed) => write!(formatter, "identity/feeds/{feed}.json"),
            Self::Show(show) => write!(formatter, "identity/shows/{show}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(guid: &str) -> String {
        GuidSegment::new(&Guid::try_new(guid).unwrap()).0
    }

    fn episode(guid: &str) -> EpisodeId {
        EpisodeId {
            feed_slug: FeedSlug::try_new("20vc").unwrap(),
            guid: Guid::try_new(guid).unwrap(),
        }
    }

    #[test]
    fn plain_guids_stay_readable() {
        assert_eq!(segment("d5d8-44ab_x.y~z"), "d5d8-44ab_x.y~z");
        assert_eq!(segment("https://a.b/?p=1"), "https%3A%2F%2Fa.b%2F%3Fp%3D1");
    }

    #[test]
    fn case_042_hostile_guids_make_safe_keys() {
        let odd = [
            "/etc/passwd",
            "a\u{0}b\u{1b}",
            "\u{1f399}",
            "a\\b:c*?",
            "con",
            "\u{202e}x",
        ];
        for guid in odd {
            let key = RawKey::Meta(&episode(guid)).to_string();
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\:*?\"<>|".contains(&byte);
            assert!(key.bytes().all(plain), "{guid:?} -> {key}");
            assert_eq!(key.matches('/').count(), 3, "{guid:?} -> {key}");
        }
        let longest = format!("{}/{}", "s".repeat(FeedSlug::MAX_LEN), "x".repeat(200));
        assert!(longest.len() + RawKey::META_SUFFIX.len() < 1024);
    }

    #[test]
    fn case_042_unsafe_and_long_guids_are_hashed_and_stay_apart() {
        for guid in ["..", ".", "../../x", ".hidden", "h-abc"] {
            let segment = segment(guid);
            assert!(
                segment.starts_with("h-") && segment.len() == 54,
                "{guid} -> {segment}"
            );
        }
        let long = segment(&"x".repeat(4096));
        assert_eq!(long.len(), 54);
        assert_ne!(long, segment(&"x".repeat(4097)));
        assert_ne!(segment("ABC"), segment("abc"));
    }

    #[test]
    fn base32_agrees_with_rfc_4648() {
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
        assert_eq!(base32(b"fooba"), "mzxw6ytb");
    }

    #[test]
    fn keys_follow_the_run_book() {
        let id = episode("d5d8");
        let audio = RawKey::Audio(&id, AudioContainer::Mp3).to_string();
        assert_eq!(audio, "20vc/d5d8/audio/episode.mp3");
        let audio = RawKey::Audio(&id, AudioContainer::Mp4).to_string();
        assert_eq!(audio, "20vc/d5d8/audio/episode.m4a");
        assert_eq!(RawKey::Meta(&id).to_string(), "20vc/d5d8/meta/meta.json");
        let publisher = RawKey::PublisherTranscript(&id, TranscriptFormat::Vtt).to_string();
        assert_eq!(publisher, "20vc/d5d8/transcripts/publisher.vtt");
        let keys = [
            StageKey::Transcript(&id),
            StageKey::Vtt(&id),
            StageKey::Segments(&id),
            StageKey::Kpis(&id),
            StageKey::Extra(&id, ExtraFormat::PodcastJson),
        ];
        assert_eq!(
            keys.map(|key| key.to_string()),
            [
                "20vc/d5d8/transcripts/transcript.json",
                "20vc/d5d8/transcripts/transcript.vtt",
                "20vc/d5d8/segments/segments.json",
                "20vc/d5d8/kpis/kpis.json",
                "20vc/d5d8/transcripts/transcript.podcast.json"
            ]
        );
    }

    #[test]
    fn copies_of_a_feed_stay_in_its_folder_whatever_its_address_holds() {
        let feed = FeedSlug::try_new("20vc").unwrap();
        let page = |address| FeedCopyKey::Page(&feed, address).to_string();
        let key = page("https://e.com/../../x?token=secret");
        let name = key.strip_prefix("feeds/20vc/pages/").unwrap();
        assert_eq!(name.strip_suffix(".json").unwrap().len(), 52);
        assert!(!name.contains("secret"));
        assert_ne!(page("https://e.com/?page=1"), page("https://e.com/?page=2"));
        let digest = ContentDigest::of(b"");
        let body = FeedCopyKey::Body(&feed, &digest).to_string();
        assert_eq!(body, format!("feeds/20vc/bodies/{digest}.gz"));
        assert!(key.starts_with(&FeedCopyKey::prefix(&feed)));
    }

    #[test]
    fn the_second_manifest_of_a_day_has_its_own_name() {
        let day = NaiveDate::from_ymd_opt(2026, 3, 9).unwrap();
        let name = |number| ManifestKey { day, number }.to_string();
        assert_eq!([name(1), name(2)], ["20260309.csv", "20260309-2.csv"]);
    }

    #[test]
    fn a_run_is_known_by_its_key() {
        let run = RunId::try_new("fetch-1").unwrap();
        assert_eq!(RunKey::run_of(&RunKey(&run).to_string()), Some(run));
        for other in ["runs/.json", "runs/a/b.json", "20260309.csv", "runs/a"] {
            assert_eq!(RunKey::run_of(other), None, "{other}");
        }
    }
}
