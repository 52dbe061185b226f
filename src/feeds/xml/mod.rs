//! RSS of every version, RDF and Atom, one event at a time, well-formed or not.
//!
//! A feed is not a document that is right or wrong: a mistake costs the item that it stands in, at
//! most, and everything around it is read. So nothing here builds a tree or recurses. quick-xml cuts
//! the text into tags and texts; [`builder`] keeps a bounded stack of open elements, matches end tags
//! as well as they can be matched, and fills items. Where quick-xml cannot go on, the reader begins
//! again behind the mistake.
//!
//! ```text
//! mod      events, and where to begin again after an error
//! builder  open elements, texts, items
//! name     which element a name means
//! tag      attributes
//! entity   character references
//! ```
//!
//! Time is linear in the text: each byte is cut once, and beginning again is bounded where it could
//! look at the same bytes twice.

mod builder;
pub(super) mod entity;
mod name;
mod tag;

use quick_xml::errors::{Error as XmlError, SyntaxError};
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use builder::{Builder, Flow};

use super::item::RawFeed;
use super::repair::{Repair, Repairs};

/// Tags without an end that the reader searches the rest of the text for; each may cost one look at
/// all of it.
const MOST_DEAD_ENDS: usize = 32;

/// How often the whole text may be looked at again because of broken tags. Those of real feeds are as
/// long as a line.
const MOST_LOOKS: usize = 4;

/// What is in a document.
#[derive(Debug)]
pub(super) struct XmlFeed {
    /// The root element's name, as written, cut to 60 characters; `None` where there is no tag.
    pub(super) root: Option<String>,
    /// Whether it is one of a feed's.
    pub(super) is_feed: bool,
    pub(super) feed: RawFeed,
    pub(super) repairs: Repairs,
}

/// The document is an attack, or of no use: the text says why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hostile(pub(super) &'static str);

/// Reads a document.
pub(super) fn read(text: &str) -> Result<XmlFeed, Hostile> {
    let mut builder = Builder::default();
    let mut from = 0;
    let mut dead_ends = 0;
    let mut looked_twice = 0;
    loop {
        match read_from(&text[from..], &mut builder)? {
            Stop::End => break,
            Stop::Again { at, seen } => {
                looked_twice += seen;
                if looked_twice > MOST_LOOKS * text.len() {
                    builder.repairs.one(Repair::Truncated);
                    break;
                }
                from += at;
            }
            Stop::DeadEnd(at) => {
                dead_ends += 1;
                if dead_ends > MOST_DEAD_ENDS {
                    builder.repairs.one(Repair::Truncated);
                    break;
                }
                from += at;
            }
        }
    }
    Ok(builder.finish())
}

/// Why [`read_from`] stopped.
enum Stop {
    /// All is read.
    End,
    /// A broken tag was dealt with; begin again at this offset. `seen` bytes were cut as the tag.
    Again { at: usize, seen: usize },
    /// Markup without an end; begin again at this offset.
    DeadEnd(usize),
}

fn read_from(text: &str, builder: &mut Builder) -> Result<Stop, Hostile> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.allow_unmatched_ends = true;
    config.check_end_names = false;
    loop {
        let start = position(reader.buffer_position());
        let flow = match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) if is_broken(&tag) => {
                let at = start + salvage(&text[start..], builder)?;
                return Ok(Stop::Again {
                    at,
                    seen: tag.len(),
                });
            }
            Ok(Event::Start(tag)) => {
                builder.start(tag.name().as_ref(), tag.attributes_raw(), false)?
            }
            Ok(Event::Empty(tag)) => {
                builder.start(tag.name().as_ref(), tag.attributes_raw(), true)?
            }
            Ok(Event::End(tag)) => builder.end(tag.name().as_ref()),
            Ok(Event::Text(text)) => builder.text(&text),
            Ok(Event::CData(text)) => builder.text(&text),
            Ok(Event::GeneralRef(reference)) => builder.reference(&reference),
            Ok(Event::Eof) => return Ok(Stop::End),
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => Flow::Go,
            Err(error) => {
                return recover(&error, text, position(reader.error_position()), builder);
            }
        };
        if flow == Flow::Enough {
            return Ok(Stop::End);
        }
    }
}

/// Slices of this program are shorter than its address space.
fn position(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Where to go on after markup that has no end, which begins at `at`.
fn recover(
    error: &XmlError,
    text: &str,
    at: usize,
    builder: &mut Builder,
) -> Result<Stop, Hostile> {
    // A text that was cut off in the middle of its last tag: nothing comes after it.
    let rest = text.get(at + 1..).unwrap_or_default();
    let is_last = memchr::memchr(b'<', rest.as_bytes()).is_none();
    if is_last {
        builder.repairs.one(Repair::Truncated);
        return Ok(Stop::End);
    }
    match error {
        XmlError::Syntax(
            SyntaxError::UnclosedTag
            | SyntaxError::UnclosedSingleQuotedAttributeValue
            | SyntaxError::UnclosedDoubleQuotedAttributeValue,
        ) => Ok(Stop::DeadEnd(at + salvage(&text[at..], builder)?)),
        XmlError::Syntax(
            SyntaxError::UnclosedCData
            | SyntaxError::UnclosedComment
            | SyntaxError::UnclosedPI
            | SyntaxError::UnclosedXmlDecl
            | SyntaxError::UnclosedDoctype,
        ) => {
            builder.repairs.one(Repair::BrokenMarkup);
            Ok(Stop::DeadEnd(at + 1))
        }
        // `<!` that begins nothing known, an empty tag name: found where it stands.
        _ => {
            builder.repairs.one(Repair::BrokenMarkup);
            let at = at + 1;
            Ok(Stop::Again { at, seen: 1 })
        }
    }
}

/// Whether what was cut as one tag is several, because a quote is missing, or is no tag at all.
fn is_broken(tag: &str) -> bool {
    let begins = tag.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | ':'));
    let holds = |other: &str| tag.contains(other);
    let holds_tag = memchr::memchr(b'<', tag.as_bytes()).is_some();
    !begins || (holds_tag && ["</", "<item", "<enclosure"].into_iter().any(holds))
}

/// Reads as much of a broken tag, with which `text` begins, as can be one: up to the first `>`, if no
/// other tag begins before. Returns where to go on.
fn salvage(text: &str, builder: &mut Builder) -> Result<usize, Hostile> {
    builder.repairs.one(Repair::BrokenMarkup);
    let inside = &text[1..];
    let Some(end) = inside.find(['<', '>']) else {
        return Ok(text.len());
    };
    let tag = &inside[..end];
    if inside[end..].starts_with('<') || is_broken(tag) {
        builder.text("<");
        return Ok(1);
    }
    let empty = tag.ends_with('/');
    let name = tag
        .find(|c: char| c.is_ascii_whitespace() || c == '/')
        .unwrap_or(tag.len());
    let (name, attributes) = tag.split_at(name);
    builder.start(name, attributes, empty)?;
    Ok(end + 2)
}
