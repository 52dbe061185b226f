//! A feed as its reader finds it, before anything is judged; the common ground of all formats.

use super::repair::{Repair, Repairs};

/// Longest text of a field that is kept, in bytes.
pub(super) const MAX_TEXT: usize = 64 * 1024;

/// Most files, and most transcripts, of an item that are kept.
const MOST_FILES: usize = 64;

/// A feed's own fields and its items. Texts are trimmed and never empty.
#[derive(Debug, Default)]
pub(super) struct RawFeed {
    pub(super) title: Option<String>,
    pub(super) podcast_guid: Option<String>,
    pub(super) new_feed_url: Option<String>,
    pub(super) next_page: Option<String>,
    pub(super) items: Vec<RawItem>,
}

/// An item.
#[derive(Debug, Default)]
pub(super) struct RawItem {
    pub(super) guid: Option<String>,
    /// `rdf:about`, for items without a guid.
    pub(super) about: Option<String>,
    pub(super) title: Option<String>,
    pub(super) itunes_title: Option<String>,
    pub(super) media_title: Option<String>,
    pub(super) published: Option<String>,
    pub(super) updated: Option<String>,
    pub(super) duration: Option<String>,
    pub(super) season: Option<String>,
    pub(super) number: Option<String>,
    /// The page about it.
    pub(super) link: Option<String>,
    /// In feed order.
    pub(super) files: Vec<RawFile>,
    pub(super) transcripts: Vec<RawTranscript>,
}

impl RawItem {
    pub(super) fn add_file(&mut self, file: RawFile) {
        if self.files.len() < MOST_FILES {
            self.files.push(file);
        }
    }

    pub(super) fn add_transcript(&mut self, transcript: RawTranscript) {
        if self.transcripts.len() < MOST_FILES {
            self.transcripts.push(transcript);
        }
    }
}

/// Where in an item a file's address stands; the earlier it is in this list, the more it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileRole {
    /// `enclosure`, Atom's link of that name, or an attachment.
    Enclosure,
    /// `media:content`.
    MediaContent,
    /// `podcast:alternateEnclosure`: the same episode in another rendition.
    Alternate,
}

/// A file that an item points at.
#[derive(Debug, Clone)]
pub(super) struct RawFile {
    pub(super) role: FileRole,
    pub(super) url: String,
    pub(super) media_type: Option<String>,
    pub(super) length: Option<String>,
}

/// A transcript that an item points at.
#[derive(Debug)]
pub(super) struct RawTranscript {
    pub(super) url: String,
    pub(super) media_type: Option<String>,
    pub(super) language: Option<String>,
}

/// Keeps `text` in `slot` if nothing is there yet.
pub(super) fn keep(slot: &mut Option<String>, text: &str) {
    let text = text.trim();
    if slot.is_none() && !text.is_empty() && text.len() <= MAX_TEXT {
        *slot = Some(text.to_owned());
    }
}

/// Most items that are read; the longest daily shows have ten thousand.
pub(super) const MAX_ITEMS: usize = 100_000;

/// Adds an item, or says that there are too many.
pub(super) fn add_item(feed: &mut RawFeed, item: RawItem, repairs: &mut Repairs) -> bool {
    if feed.items.len() >= MAX_ITEMS {
        repairs.one(Repair::TooManyItems);
        return false;
    }
    feed.items.push(item);
    true
}
