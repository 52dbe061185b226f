//! OPML: the lists of subscriptions that podcast programs export.
//!
//! Read with tolerance, because many are written by string concatenation: what matters are the
//! `xmlUrl` attributes, however deep and however spelt. A file that stops being XML is searched for
//! them from there on.

use std::fmt;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::episodes::clean_title;
use super::tags::{self, Attributes};
use super::text;

/// Largest file, in bytes: a hundred thousand feeds.
pub const MAX_OPML_BYTES: usize = 32 * 1024 * 1024;

/// Most feeds of one file. More would not fit into a tier file.
pub const MAX_OUTLINES: usize = 20_000;

/// One feed of the list, as written there.
#[derive(Clone, PartialEq, Eq)]
pub struct Outline {
    /// `title`, else `text`; one line, may be empty.
    pub title: String,
    /// `xmlUrl`. Unchecked, and not for showing: addresses of private feeds are passwords.
    pub address: String,
}

impl fmt::Debug for Outline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Outline")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

/// What a list holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opml {
    /// The feeds in file order, repeats included; at least one.
    pub outlines: Vec<Outline>,
    /// What was odd and survived.
    pub warnings: Vec<String>,
}

/// Why bytes are no list of feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpmlError {
    /// More than [`MAX_OPML_BYTES`].
    #[error("is larger than {} MiB; split it", MAX_OPML_BYTES / 1024 / 1024)]
    TooLarge,
    /// Nothing in it has an `xmlUrl`.
    #[error("names no feed: no element in it has an xmlUrl; export the subscriptions as OPML")]
    NoFeeds,
}

/// Reads a list. Takes time and memory in proportion to its size, expands nothing, and asks nobody.
pub fn read_opml(bytes: &[u8]) -> Result<Opml, OpmlError> {
    if bytes.len() > MAX_OPML_BYTES {
        return Err(OpmlError::TooLarge);
    }
    let decoded = text::decode(bytes, None);
    let text: &str = &decoded.text;
    let mut found = Found::default();
    if let Err(broken_at) = read_elements(text, &mut found) {
        found.warnings.push(format!(
            "the file is no well-formed XML at byte {broken_at}; from there on it was searched for xmlUrl"
        ));
        search_tags(text.get(broken_at..).unwrap_or_default(), &mut found);
    }
    if found.outlines.is_empty() {
        // Text that is no XML at all is not broken for an XML reader, either.
        search_tags(text, &mut found);
    }
    match found.outlines.is_empty() {
        true => Err(OpmlError::NoFeeds),
        false => Ok(Opml {
            outlines: found.outlines,
            warnings: found.warnings,
        }),
    }
}

#[derive(Default)]
struct Found {
    outlines: Vec<Outline>,
    warnings: Vec<String>,
}

impl Found {
    /// Takes the feed of a tag with these attributes, and says whether there is room for more.
    fn take(&mut self, attributes: &Attributes<'_>) -> bool {
        let value = |name| tags::value(attributes, name);
        let address = value("xmlUrl").map(str::trim).unwrap_or_default();
        if address.is_empty() {
            return true;
        }
        if self.outlines.len() == MAX_OUTLINES {
            let warning = format!("only the first {MAX_OUTLINES} feeds of the file were read");
            self.warnings.push(warning);
            return false;
        }
        let title = [value("title"), value("text")].into_iter().flatten();
        let mut titles = title.map(one_line).filter(|title| !title.is_empty());
        self.outlines.push(Outline {
            title: titles.next().unwrap_or_default(),
            address: address.to_owned(),
        });
        true
    }
}

fn one_line(text: &str) -> String {
    const MAX_TITLE: usize = 200;
    clean_title(text).chars().take(MAX_TITLE).collect()
}

/// Takes what is XML; the error is the byte where it stops to be.
fn read_elements(text: &str, found: &mut Found) -> Result<(), usize> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    loop {
        let begin = reader.buffer_position();
        match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) => {
                let (attributes, rest) = tags::attributes(tag.attributes_raw());
                // A quote that is not closed makes one tag of several.
                if !rest.is_empty() {
                    return Err(offset(begin));
                }
                if !found.take(&attributes) {
                    return Ok(());
                }
            }
            Ok(Event::Eof) => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(offset(reader.error_position())),
        }
    }
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Takes everything that looks like an attribute between one `<` and the next, comments aside.
fn search_tags(text: &str, found: &mut Found) {
    let mut rest = text;
    loop {
        // The name of a tag reads as an attribute without a value.
        let (mut all, mut behind) = tags::attributes(rest);
        while let Some(text) = behind.strip_prefix('>') {
            let (more, next) = tags::attributes(text);
            all.extend(more);
            behind = next;
        }
        if !found.take(&all) {
            return;
        }
        let Some(tag) = behind.strip_prefix('<') else {
            return;
        };
        rest = match tag.strip_prefix("!--") {
            Some(comment) => comment.split_once("-->").map_or("", |(_, behind)| behind),
            None => tag,
        };
    }
}

#[cfg(test)]
mod tests;
