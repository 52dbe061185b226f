//! A feed's bytes to its episodes.
//!
//! [`parse_feed`] is the seam: what stands behind it, feed-rs today, can be replaced without anybody
//! noticing. What it promises:
//!
//! * The same bytes give the same episodes. An item without an identifier gets one from the address of
//!   its file; feed-rs would invent a random one on every run, so it is told to invent none.
//! * An episode has a URL of `http` or `https`; everything else about it is a hint.
//! * A guid occurs once. The first in feed order wins, which in practice is the newest.
//! * What was dropped is counted in the warnings, and warnings quote nothing from the feed.

use chrono::{DateTime, NaiveDate, SubsecRound, TimeDelta, Utc};
use feed_rs::model::{Entry, Feed, FeedType};
use feed_rs::parser::{Builder, ParseErrorKind, ParseFeedError};
use std::collections::HashSet;
use std::fmt;
use url::Url;

use super::media_url::{MediaKind, derived_guid, kind_of_type, kind_of_url};
use super::{dialect, text};
use crate::domain::{Enclosure, Episode, EpisodeId, FailureClass, FeedSlug, Guid};

/// Largest feed that is read, in bytes after decompression.
pub const MAX_FEED_BYTES: usize = 64 * 1024 * 1024;

/// Longest title that is kept, in characters.
const MAX_TITLE: usize = 1000;

/// Longest URL that is kept, in bytes; servers refuse longer request lines.
const MAX_URL: usize = 8 * 1024;

/// What a fetch brought.
#[derive(Debug, Clone, Copy)]
pub struct FeedSource<'a> {
    /// Whose feed.
    pub feed: &'a FeedSlug,
    /// The body, decompressed, otherwise as received.
    pub bytes: &'a [u8],
    /// The address that answered; relative addresses in the feed are relative to it.
    pub final_url: &'a Url,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// Now: a date that lies in the future is no date.
    pub now: DateTime<Utc>,
}

/// How a feed is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFormat {
    /// RSS 0.9x and 2.x.
    Rss,
    /// RSS 0.90 and 1.0, which are RDF.
    Rdf,
    /// Atom.
    Atom,
    /// JSON Feed.
    Json,
}

impl fmt::Display for FeedFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rss => "RSS",
            Self::Rdf => "RDF",
            Self::Atom => "Atom",
            Self::Json => "JSON Feed",
        })
    }
}

/// What a feed says, or one page of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedFeed {
    /// How it is written.
    pub format: FeedFormat,
    /// The show's title as plain text; may be empty.
    pub title: String,
    /// `podcast:guid`: the show's identifier, which survives moves.
    pub podcast_guid: Option<String>,
    /// `itunes:new-feed-url`: where the publisher says that the feed lives now.
    pub moved_to: Option<Url>,
    /// The next page: `rel="next"` of RFC 5005, or `next_url` of JSON Feed.
    pub next_page: Option<Url>,
    /// Episodes in feed order, each guid once.
    pub episodes: Vec<Episode>,
    /// What was odd and survived.
    pub warnings: Vec<String>,
}

/// Why bytes are no podcast feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing but white space.
    #[error("the answer is empty")]
    Empty,
    /// More than [`MAX_FEED_BYTES`].
    #[error("the feed is larger than {} MiB", MAX_FEED_BYTES / 1024 / 1024)]
    TooLarge,
    /// Something else than RSS, Atom or JSON Feed.
    #[error("the answer is no feed: it looks like {0}")]
    NotAFeed(LooksLike),
    /// A feed, but broken beyond reading.
    #[error("the feed is malformed: {0}")]
    Malformed(String),
    /// A feed whose items have no audio, such as a blog's.
    #[error("none of the feed's {items} items has an audio or video file")]
    NoMedia {
        /// How many items there are.
        items: usize,
    },
}

impl ParseError {
    /// The class of the failure.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Empty => FailureClass::Empty,
            Self::TooLarge => FailureClass::TooLarge,
            Self::NotAFeed(_) | Self::Malformed(_) | Self::NoMedia { .. } => FailureClass::NotAFeed,
        }
    }
}

/// What bytes look like that are no feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LooksLike {
    /// A web page.
    Html,
    /// XML with this root element.
    Xml(String),
    /// JSON of another kind.
    Json,
    /// Text.
    Text,
    /// Bytes with this content type, if one was given.
    Binary(Option<String>),
}

impl fmt::Display for LooksLike {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Html => formatter.write_str("a web page"),
            Self::Xml(root) => write!(formatter, "an XML document with the root element {root:?}"),
            Self::Json => formatter.write_str("JSON, but no JSON Feed"),
            Self::Text => formatter.write_str("plain text"),
            Self::Binary(Some(kind)) => write!(formatter, "binary data of type {kind:?}"),
            Self::Binary(None) => formatter.write_str("binary data"),
        }
    }
}

/// Reads RSS 0.9x and 2.x, RDF, Atom and JSON Feed.
///
/// Takes CPU time in proportion to the size, so call it off the async threads.
pub fn parse_feed(source: FeedSource<'_>) -> Result<ParsedFeed, ParseError> {
    if source.bytes.len() > MAX_FEED_BYTES {
        return Err(ParseError::TooLarge);
    }
    let decoded = text::decode(source.bytes, source.content_type);
    let text = decoded.text.trim();
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    let mut warnings: Vec<String> = decoded.warning.into_iter().collect();
    let feed = read(text, &source)?;
    let title = feed.title.as_ref().map_or("", |title| &title.content);
    let title = clean(title);
    let format = match feed.feed_type {
        FeedType::Atom => FeedFormat::Atom,
        FeedType::JSON => FeedFormat::Json,
        FeedType::RSS1 => FeedFormat::Rdf,
        _ => FeedFormat::Rss,
    };
    let episodes = episodes(feed, &source, &mut warnings)?;
    Ok(ParsedFeed {
        format,
        title,
        podcast_guid: None,
        moved_to: None,
        next_page: None,
        episodes,
        warnings,
    })
}

fn read(text: &str, source: &FeedSource<'_>) -> Result<Feed, ParseError> {
    let adapted = match text.as_bytes().first() {
        Some(b'{') => Ok(text.to_owned()),
        Some(b'<') => dialect::adapt(text).map_err(|_| "its elements nest too deep".to_owned()),
        _ => return Err(ParseError::NotAFeed(looks_like(text, source))),
    };
    let parsed = adapted.and_then(|adapted| {
        Builder::new()
            .base_uri(Some(source.final_url))
            .id_generator(|_, _, _| String::new())
            .build()
            .parse(adapted.as_bytes())
            .map_err(|error| match is_no_feed(&error, text) {
                true => String::new(),
                false => error.to_string(),
            })
    });
    parsed.map_err(|problem| match problem.is_empty() || is_html(text) {
        true => ParseError::NotAFeed(looks_like(text, source)),
        false => ParseError::Malformed(problem),
    })
}

/// Whether the parser says that this is something else, and not a feed with a mistake.
fn is_no_feed(error: &ParseFeedError, text: &str) -> bool {
    match error {
        ParseFeedError::ParseError(ParseErrorKind::NoFeedRoot)
        | ParseFeedError::JsonUnsupportedVersion(_) => true,
        ParseFeedError::JsonSerde(error) => error.is_data() && !text.contains("jsonfeed.org"),
        _ => false,
    }
}

fn is_html(text: &str) -> bool {
    let start: String = text.chars().take(2048).collect();
    let start = start.to_ascii_lowercase();
    start.contains("<html") || start.contains("<!doctype html") || start.contains("<head>")
}

fn looks_like(text: &str, source: &FeedSource<'_>) -> LooksLike {
    let first = text.as_bytes().first();
    let odd = text.chars().take(512).filter(|c| *c == '\u{fffd}').count();
    let binary = source.bytes.iter().take(512).any(|byte| *byte < 8) || odd > 8;
    if is_html(text) {
        LooksLike::Html
    } else if first == Some(&b'{') || first == Some(&b'[') {
        LooksLike::Json
    } else if let Some(root) = root_element(text) {
        LooksLike::Xml(root)
    } else if binary {
        let kind = source.content_type.and_then(|kind| kind.split(';').next());
        LooksLike::Binary(kind.map(|kind| kind.trim().chars().take(60).collect()))
    } else {
        LooksLike::Text
    }
}

fn root_element(text: &str) -> Option<String> {
    let adapted = dialect::adapt(text).ok()?;
    let name = adapted.trim_start().strip_prefix('<')?;
    let end = name.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))?;
    Some(name[..end].chars().take(60).collect())
}

/// How many items were dropped or changed, and why.
#[derive(Default)]
struct Oddities {
    no_media: usize,
    no_guid: usize,
    repeated: usize,
}

impl Oddities {
    fn tell(&self, warnings: &mut Vec<String>) {
        let mut tell = |count: usize, what: &str| {
            if count > 0 {
                warnings.push(format!("{count} {what}"));
            }
        };
        tell(
            self.no_media,
            "items without an audio or video file were skipped",
        );
        tell(
            self.no_guid,
            "items have no usable guid; the address of their file stands for it",
        );
        tell(
            self.repeated,
            "items repeat a guid; the first of each was kept",
        );
    }
}

fn episodes(
    feed: Feed,
    source: &FeedSource<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Episode>, ParseError> {
    let items = feed.entries.len();
    if items == 0 {
        warnings.push("the feed has no items".to_owned());
    }
    let mut oddities = Oddities::default();
    let mut seen = HashSet::new();
    let mut episodes = Vec::with_capacity(items);
    for entry in &feed.entries {
        let Some((url, enclosure)) = choose(entry, &feed.feed_type, source) else {
            oddities.no_media += 1;
            continue;
        };
        let Some(guid) = guid(entry, &url, &mut oddities) else {
            oddities.no_media += 1;
            continue;
        };
        if !seen.insert(guid.clone()) {
            oddities.repeated += 1;
            continue;
        }
        episodes.push(episode(entry, guid, enclosure, source));
    }
    oddities.tell(warnings);
    if episodes.is_empty() && items > 0 {
        return Err(ParseError::NoMedia { items });
    }
    Ok(episodes)
}

fn guid(entry: &Entry, url: &Url, oddities: &mut Oddities) -> Option<Guid> {
    Guid::try_new(&entry.id).ok().or_else(|| {
        oddities.no_guid += 1;
        Guid::try_new(derived_guid(url)?).ok()
    })
}

fn episode(entry: &Entry, guid: Guid, enclosure: Enclosure, source: &FeedSource<'_>) -> Episode {
    let titles = entry.media.iter().map(|media| &media.title);
    let title = std::iter::once(&entry.title)
        .chain(titles)
        .flatten()
        .map(|title| clean(&title.content))
        .find(|title| !title.is_empty());
    let duration = entry.media.iter().filter_map(|media| media.duration).max();
    Episode {
        id: EpisodeId {
            feed_slug: source.feed.clone(),
            guid,
        },
        title: title.unwrap_or_default(),
        published: entry
            .published
            .or(entry.updated)
            .and_then(|date| plausible(date, source.now)),
        duration_s: duration
            .and_then(|duration| u32::try_from(duration.as_secs()).ok())
            .filter(|seconds| *seconds > 0),
        enclosure,
        transcripts: Vec::new(),
    }
}

/// Podcasts are younger than 1990, so an earlier date is a zero in disguise; a day of grace ahead
/// covers clocks and time zones. A wrong date would reorder the manifest, no date keeps feed order.
fn plausible(date: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let first = NaiveDate::from_ymd_opt(1990, 1, 1)?;
    let known = date.date_naive() >= first && date <= now + TimeDelta::days(1);
    known.then(|| date.trunc_subsecs(0))
}

/// The first file that is audio or video by type or extension; else the first of which neither says.
fn choose(entry: &Entry, feed: &FeedType, source: &FeedSource<'_>) -> Option<(Url, Enclosure)> {
    let mut unknown = None;
    for (url, enclosure) in files(entry, feed, source) {
        let by_type = enclosure.media_type.as_deref().map(kind_of_type);
        let by_type = by_type.unwrap_or(MediaKind::Unknown);
        // `audio/x-mpegurl` is a list of addresses even where its name ends in `.mp3`.
        let playlist = by_type == MediaKind::Other && is_playlist(&enclosure);
        match (by_type, kind_of_url(&url)) {
            _ if playlist => {}
            (MediaKind::Media, _) | (_, MediaKind::Media) => return Some((url, enclosure)),
            (MediaKind::Unknown, MediaKind::Unknown) => {
                unknown.get_or_insert((url, enclosure));
            }
            _ => {}
        }
    }
    unknown
}

fn is_playlist(enclosure: &Enclosure) -> bool {
    let kind = enclosure.media_type.as_deref().unwrap_or_default();
    kind.contains("mpegurl") || kind.contains("scpls")
}

/// The files an item points at, in feed order: RSS has them as media, Atom as links with a `rel`,
/// JSON Feed's attachments become links with a type.
fn files(entry: &Entry, feed: &FeedType, source: &FeedSource<'_>) -> Vec<(Url, Enclosure)> {
    let media = entry.media.iter().flat_map(|media| &media.content);
    let media = media.filter_map(|file| {
        let kind = file.content_type.as_ref().map(ToString::to_string);
        Some((file.url.as_ref()?.to_string(), kind, file.size))
    });
    let links = entry.links.iter().filter(|link| match feed {
        FeedType::JSON => link.media_type.is_some(),
        _ => link.rel.as_deref() == Some("enclosure"),
    });
    let links = links.map(|link| (link.href.clone(), link.media_type.clone(), link.length));
    media
        .chain(links)
        .filter_map(|(url, media_type, length)| {
            let url = absolute(&url, source.final_url)?;
            let media_type = media_type.map(|kind| kind.trim().to_owned());
            let enclosure = Enclosure {
                url: url.to_string(),
                media_type: media_type.filter(|kind| !kind.is_empty() && kind.len() <= 100),
                length: length.filter(|length| *length > 0),
            };
            Some((url, enclosure))
        })
        .collect()
}

fn absolute(url: &str, base: &Url) -> Option<Url> {
    let mut url = base.join(url.trim()).ok()?;
    url.set_fragment(None);
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (web && url.as_str().len() <= MAX_URL).then_some(url)
}

/// One line of plain text: white space collapsed, control characters gone, at most [`MAX_TITLE`] long.
fn clean(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_TITLE).collect()
}

#[cfg(test)]
mod tests;
