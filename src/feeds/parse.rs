//! A feed's bytes to its episodes.
//!
//! What [`parse_feed`] promises:
//!
//! * A mistake costs the item it stands in at most. What was put right is told in
//!   [`repairs`](ParsedFeed::repairs); a feed is refused only where nothing in it is an episode.
//! * The same bytes give the same episodes. An item without an identifier gets one from the address of
//!   its file, never a random one.
//! * An episode has a URL of `http` or `https`; everything else about it is a hint.
//! * A guid occurs once. Where two items with different files share one, the older keeps it and the
//!   newer gets it with a mark of its file behind.
//! * What was dropped is counted in the warnings, and warnings quote nothing from the feed.

use std::fmt;

use chrono::{DateTime, Utc};
use url::Url;

use super::repair::{Repair, Repairs};
use super::{episodes, json, text, xml};
use crate::domain::{Episode, FailureClass, FeedSlug};

/// Largest feed that is read, in bytes after decompression.
pub const MAX_FEED_BYTES: usize = 64 * 1024 * 1024;

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
    /// Mistakes in the text that were put right.
    pub repairs: Repairs,
    /// What was odd and survived, the repairs included, a line each.
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
        /// The page after this one, where it names one.
        next_page: Option<Box<Url>>,
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
    let document = match text.as_bytes().first() {
        None => return Err(ParseError::Empty),
        Some(b'{') => read_json(text)?,
        Some(b'<') => read_xml(text, &source)?,
        Some(_) => return Err(ParseError::NotAFeed(looks_like(text, None, &source))),
    };
    let mut repairs = decoded.repairs;
    for (repair, count) in document.repairs.iter() {
        repairs.add(repair, count);
    }
    let mut warnings: Vec<String> = repairs.lines().collect();
    let items = document.feed.items.len();
    let episodes = episodes::from_items(&document.feed.items, &source, &mut warnings);
    let absolute = |url: Option<String>| episodes::absolute(url.as_deref()?, source.final_url);
    match (items, is_cut(&repairs)) {
        (0, true) => return Err(ParseError::Malformed(warnings.join("; "))),
        (0, false) => warnings.push("the feed has no items".to_owned()),
        _ if episodes.is_empty() => {
            let next_page = absolute(document.feed.next_page).map(Box::new);
            return Err(ParseError::NoMedia { items, next_page });
        }
        _ => {}
    }
    let feed = document.feed;
    Ok(ParsedFeed {
        format: document.format,
        title: feed
            .title
            .as_deref()
            .map(episodes::clean_title)
            .unwrap_or_default(),
        podcast_guid: feed.podcast_guid,
        moved_to: absolute(feed.new_feed_url),
        next_page: absolute(feed.next_page),
        episodes,
        repairs,
        warnings,
    })
}

/// A document of either kind.
struct Document {
    format: FeedFormat,
    feed: super::item::RawFeed,
    repairs: Repairs,
}

fn read_json(text: &str) -> Result<Document, ParseError> {
    let (feed, repairs) = json::read(text).map_err(|problem| match problem {
        json::JsonProblem::NotAFeed => ParseError::NotAFeed(LooksLike::Json),
        json::JsonProblem::Malformed(problem) => ParseError::Malformed(problem),
    })?;
    let format = FeedFormat::Json;
    Ok(Document {
        format,
        feed,
        repairs,
    })
}

fn read_xml(text: &str, source: &FeedSource<'_>) -> Result<Document, ParseError> {
    let read = xml::read(text).map_err(|hostile| ParseError::Malformed(hostile.0.to_owned()))?;
    let root = read.root.as_deref();
    let format = match root.map(|root| root.rsplit(':').next().unwrap_or(root)) {
        Some(root) if root.eq_ignore_ascii_case("rdf") => FeedFormat::Rdf,
        Some(root) if root.eq_ignore_ascii_case("feed") => FeedFormat::Atom,
        _ => FeedFormat::Rss,
    };
    let has_media = read.feed.items.iter().any(|item| !item.files.is_empty());
    if !read.is_feed && !has_media {
        return Err(ParseError::NotAFeed(looks_like(text, root, source)));
    }
    Ok(Document {
        format,
        feed: read.feed,
        repairs: read.repairs,
    })
}

/// Whether items may be missing because the text is damaged.
fn is_cut(repairs: &Repairs) -> bool {
    let damage = [Repair::Truncated, Repair::BrokenMarkup, Repair::TooDeep];
    damage.into_iter().any(|repair| repairs.count(repair) > 0)
}

fn is_html(text: &str) -> bool {
    let start: String = text.chars().take(2048).collect();
    let start = start.to_ascii_lowercase();
    start.contains("<html") || start.contains("<!doctype html") || start.contains("<head>")
}

fn looks_like(text: &str, root: Option<&str>, source: &FeedSource<'_>) -> LooksLike {
    let odd = text.chars().take(512).filter(|c| *c == '\u{fffd}').count();
    let binary = source.bytes.iter().take(512).any(|byte| *byte < 8) || odd > 8;
    if is_html(text) {
        LooksLike::Html
    } else if text.starts_with('[') {
        LooksLike::Json
    } else if let Some(root) = root {
        LooksLike::Xml(root.to_owned())
    } else if binary {
        let kind = source.content_type.and_then(|kind| kind.split(';').next());
        LooksLike::Binary(kind.map(|kind| kind.trim().chars().take(60).collect()))
    } else {
        LooksLike::Text
    }
}

#[cfg(test)]
mod tests;
