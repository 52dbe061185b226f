//! Open elements, the text of the one that is being read, and the items they make.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::name::{Element, Prefixes};
use super::{Hostile, XmlFeed, entity, tag};
use crate::feeds::item::{
    self, FileRole, MAX_TEXT, RawFeed, RawFile, RawItem, RawTranscript, keep,
};
use crate::feeds::repair::{Repair, Repairs};

/// Real feeds nest about ten deep.
const MAX_DEPTH: usize = 200;

/// Tags that may stand inside a text, as in HTML. Any other one means that an end tag is missing.
const INLINE: [&str; 12] = [
    "a", "b", "br", "em", "i", "p", "small", "span", "strong", "sub", "sup", "u",
];

/// Whether there is anything more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    Enough,
}

/// An element whose end tag has not come yet.
struct Open {
    element: Element,
    /// Of the name as written: an end tag belongs to the element that is spelt as it is.
    name: u64,
}

/// The text of an element, as far as it is read.
struct Capture {
    element: Element,
    /// How many elements are open, with this one.
    depth: usize,
    text: String,
}

#[derive(Default)]
pub(super) struct Builder {
    pub(super) repairs: Repairs,
    root: Option<String>,
    is_feed: bool,
    channels: usize,
    prefixes: Prefixes,
    hasher: FixedState,
    stack: Vec<Open>,
    /// How many elements are open with the outermost one whose content is about something else.
    foreign: Option<usize>,
    capture: Option<Capture>,
    /// The item that is open.
    current: Option<RawItem>,
    /// Of `podcast:alternateEnclosure`, for its sources.
    alternate: Option<RawFile>,
    feed: RawFeed,
    enough: bool,
}

impl Builder {
    /// A start tag; one with `empty` ends at once.
    pub(super) fn start(
        &mut self,
        name: &str,
        attributes: &str,
        empty: bool,
    ) -> Result<Flow, Hostile> {
        if attributes.contains("xmlns") {
            self.declare(attributes)?;
        }
        let (element, undeclared) = self.prefixes.element(name);
        if undeclared {
            self.repairs.one(Repair::UndeclaredPrefix);
        }
        if self.root.is_none() {
            self.root = Some(name.chars().take(60).collect());
            self.is_feed = matches!(element, Element::Root | Element::Channel | Element::Item);
            if name.eq_ignore_ascii_case("html") {
                return Ok(Flow::Enough);
            }
        }
        if self.capture.is_some() && !INLINE.contains(&name) {
            self.repairs.one(Repair::UnclosedElement);
            self.end_capture();
        }
        self.open(element, name, empty);
        if !attributes.is_empty() && self.foreign.is_none() {
            self.read_attributes(element, attributes);
        }
        if !empty && self.wants_text(element) {
            self.begin_capture(element);
        }
        if empty {
            self.close_to(self.stack.len().saturating_sub(1));
        }
        Ok(self.flow())
    }

    /// An end tag.
    pub(super) fn end(&mut self, name: &str) -> Flow {
        let name_hash = self.hasher.hash_one(name);
        // An end tag inside an item does not end the item, unless it is of the item or around it.
        let item = self
            .stack
            .iter()
            .rposition(|open| open.element == Element::Item);
        let (element, _) = self.prefixes.element(name);
        let ends_item = matches!(element, Element::Item | Element::Channel | Element::Root);
        let floor = if ends_item {
            0
        } else {
            item.unwrap_or_default()
        };
        let found = self.stack[floor..]
            .iter()
            .rposition(|open| open.name == name_hash);
        match found {
            Some(at) => {
                let unclosed = self.stack.len() - (floor + at) - 1;
                self.repairs.add(Repair::UnclosedElement, unclosed);
                self.close_to(floor + at);
            }
            None => self.repairs.one(Repair::StrayEndTag),
        }
        self.flow()
    }

    /// Text or the inside of a CDATA section.
    pub(super) fn text(&mut self, text: &str) -> Flow {
        if let Some(capture) = &mut self.capture {
            // One byte over the limit tells that there was more; such a text is not used.
            let room = (MAX_TEXT + 1).saturating_sub(capture.text.len());
            let mut end = text.len().min(room);
            while !text.is_char_boundary(end) {
                end += 1;
            }
            capture.text.push_str(&text[..end]);
        }
        Flow::Go
    }

    /// `&name;`.
    pub(super) fn reference(&mut self, name: &str) -> Flow {
        if self.capture.is_none() {
            return Flow::Go;
        }
        match entity::resolve(name) {
            Some(text) => self.text(&text),
            None => {
                self.repairs.one(Repair::BadReference);
                self.text("&");
                self.text(name);
                self.text(";")
            }
        }
    }

    /// All that was read. An item that has no end is kept if it says who it is and where its file
    /// is: half of it would be another episode.
    pub(super) fn finish(mut self) -> XmlFeed {
        self.capture = None;
        if let Some(item) = self.current.take() {
            self.repairs.one(Repair::Truncated);
            let has_guid = item.guid.is_some() || item.about.is_some();
            if has_guid && !item.files.is_empty() {
                item::add_item(&mut self.feed, item, &mut self.repairs);
            }
        } else if !self.enough && !self.stack.is_empty() && self.is_feed {
            self.repairs.one(Repair::Truncated);
        }
        if !self.is_feed && !self.feed.items.is_empty() {
            self.repairs.one(Repair::UnknownRoot);
        }
        XmlFeed {
            root: self.root,
            is_feed: self.is_feed,
            feed: self.feed,
            repairs: self.repairs,
        }
    }

    fn flow(&self) -> Flow {
        if self.enough { Flow::Enough } else { Flow::Go }
    }

    fn declare(&mut self, attributes: &str) -> Result<(), Hostile> {
        let mut all = tag::attributes(attributes);
        for (name, uri) in all.by_ref() {
            if let Some(prefix) = name.strip_prefix("xmlns:") {
                let declared = self.prefixes.declare(prefix, uri);
                declared.map_err(|_| Hostile("it declares more namespaces than any feed"))?;
            }
        }
        match all.is_cut() {
            true => Err(Hostile("it declares more namespaces than any feed")),
            false => Ok(()),
        }
    }

    fn open(&mut self, element: Element, name: &str, empty: bool) {
        match element {
            Element::Item => self.begin_item(),
            Element::Channel => {
                self.channels += 1;
                if self.channels == 2 {
                    self.repairs.one(Repair::SeveralChannels);
                }
            }
            _ => {}
        }
        if self.stack.len() >= MAX_DEPTH {
            // Its end tag will be a stray one.
            self.repairs.one(Repair::TooDeep);
            if !empty {
                return;
            }
        }
        let name = self.hasher.hash_one(name);
        self.stack.push(Open { element, name });
        let is_foreign = match element {
            Element::Foreign => true,
            // Below the channel only; as a root it is the feed.
            Element::Root => self.stack.len() > 1,
            _ => false,
        };
        if is_foreign && self.foreign.is_none() {
            self.foreign = Some(self.stack.len());
        }
    }

    /// Whatever is open below the channel has no end tag: items stand in nothing else.
    fn begin_item(&mut self) {
        let is_frame = |open: &Open| matches!(open.element, Element::Channel | Element::Root);
        let frame = self.stack.iter().rposition(is_frame).map_or(0, |at| at + 1);
        let unclosed = self.stack.len().saturating_sub(frame);
        self.repairs.add(Repair::UnclosedElement, unclosed);
        self.close_to(frame);
        let inside = self
            .stack
            .iter()
            .any(|open| open.element == Element::Channel);
        // RDF and Atom have no channel around their items.
        let root = self.root.as_deref().unwrap_or_default();
        if !inside && root.eq_ignore_ascii_case("rss") {
            self.repairs.one(Repair::ItemsOutsideChannel);
        }
        self.current = Some(RawItem::default());
    }

    /// Ends all elements above the lowest `depth`.
    fn close_to(&mut self, depth: usize) {
        if self
            .capture
            .as_ref()
            .is_some_and(|capture| capture.depth > depth)
        {
            self.end_capture();
        }
        if self.foreign.is_some_and(|foreign| foreign > depth) {
            self.foreign = None;
        }
        for open in self.stack.drain(depth..) {
            match open.element {
                Element::AlternateEnclosure => self.alternate = None,
                Element::Item => {
                    if let Some(item) = self.current.take() {
                        self.enough |= !item::add_item(&mut self.feed, item, &mut self.repairs);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the element's text says something about the item or feed that is open.
    fn wants_text(&self, element: Element) -> bool {
        if self.foreign.is_some() || self.stack.len() >= MAX_DEPTH {
            return false;
        }
        match element {
            // Such names also occur in the HTML that descriptions hold.
            Element::Title
            | Element::Id
            | Element::Link
            | Element::Published
            | Element::Updated
            | Element::Duration
            | Element::MediaTitle => self.is_field(),
            Element::Guid
            | Element::ItunesTitle
            | Element::Season
            | Element::EpisodeNumber
            | Element::PodcastGuid
            | Element::NewFeedUrl => true,
            _ => false,
        }
    }

    /// Whether the innermost element stands directly in an item, a channel or the root.
    fn is_field(&self) -> bool {
        let parents = self.stack.iter().rev().skip(1).map(|open| open.element);
        let mut parents = parents
            .skip_while(|parent| matches!(parent, Element::MediaGroup | Element::MediaContent));
        let parent = parents.next();
        matches!(
            parent,
            None | Some(Element::Item | Element::Channel | Element::Root)
        )
    }

    fn begin_capture(&mut self, element: Element) {
        self.capture = Some(Capture {
            element,
            depth: self.stack.len(),
            text: String::new(),
        });
    }

    fn end_capture(&mut self) {
        let Some(Capture { element, text, .. }) = self.capture.take() else {
            return;
        };
        let slot = match (&mut self.current, element) {
            (Some(item), Element::Guid | Element::Id) => &mut item.guid,
            (Some(item), Element::Title) => &mut item.title,
            (Some(item), Element::ItunesTitle) => &mut item.itunes_title,
            (Some(item), Element::MediaTitle) => &mut item.media_title,
            (Some(item), Element::Published) => &mut item.published,
            (Some(item), Element::Updated) => &mut item.updated,
            (Some(item), Element::Duration) => &mut item.duration,
            (Some(item), Element::Season) => &mut item.season,
            (Some(item), Element::EpisodeNumber) => &mut item.number,
            (Some(item), Element::Link) => &mut item.link,
            (None, Element::Title) => &mut self.feed.title,
            (None, Element::PodcastGuid) => &mut self.feed.podcast_guid,
            (None, Element::NewFeedUrl) => &mut self.feed.new_feed_url,
            _ => return,
        };
        keep(slot, &text);
    }

    fn read_attributes(&mut self, element: Element, raw: &str) {
        match element {
            Element::Enclosure => self.read_file(FileRole::Enclosure, raw),
            Element::MediaContent => self.read_file(FileRole::MediaContent, raw),
            Element::AlternateEnclosure | Element::AlternateSource => {
                self.read_alternate(element, raw);
            }
            Element::Link => self.read_link(raw),
            Element::Transcript => self.read_transcript(raw),
            Element::Item => {
                let [about] = self.pick(raw, ["about"]);
                if let Some(item) = &mut self.current {
                    item.about = about;
                }
            }
            _ => {}
        }
    }

    /// The values of the attributes with these local names, the first of each; empty ones count as
    /// missing.
    fn pick<const N: usize>(&mut self, raw: &str, names: [&str; N]) -> [Option<String>; N] {
        let mut found = [const { None }; N];
        let mut all = tag::attributes(raw);
        for (name, value) in all.by_ref() {
            let local = name.rsplit(':').next().unwrap_or(name);
            let Some(at) = names
                .iter()
                .position(|known| known.eq_ignore_ascii_case(local))
            else {
                continue;
            };
            let (value, bad) = tag::value(value);
            self.repairs.add(Repair::BadReference, bad);
            keep(&mut found[at], &value);
        }
        if all.is_cut() {
            self.repairs.one(Repair::TooManyAttributes);
        }
        found
    }

    fn read_file(&mut self, role: FileRole, raw: &str) {
        let [url, href, resource, media_type, length, size] = self.pick(
            raw,
            ["url", "href", "resource", "type", "length", "fileSize"],
        );
        let (Some(item), Some(url)) = (&mut self.current, url.or(href).or(resource)) else {
            return;
        };
        item.add_file(RawFile {
            role,
            url,
            media_type,
            length: length.or(size),
        });
    }

    fn read_alternate(&mut self, element: Element, raw: &str) {
        let [uri, media_type, length] = self.pick(raw, ["uri", "type", "length"]);
        match (element, &self.alternate, uri) {
            (Element::AlternateEnclosure, ..) => {
                self.alternate = Some(RawFile {
                    role: FileRole::Alternate,
                    url: String::new(),
                    media_type,
                    length,
                });
            }
            (_, Some(alternate), Some(url)) => {
                let file = RawFile {
                    url,
                    ..alternate.clone()
                };
                if let Some(item) = &mut self.current {
                    item.add_file(file);
                }
            }
            _ => {}
        }
    }

    /// Atom's link: a file of an item, or the feed's next page.
    fn read_link(&mut self, raw: &str) {
        let [href, rel, media_type, length] = self.pick(raw, ["href", "rel", "type", "length"]);
        let (Some(url), rel) = (href, rel.unwrap_or_default()) else {
            return;
        };
        match &mut self.current {
            Some(item) if rel.eq_ignore_ascii_case("enclosure") => item.add_file(RawFile {
                role: FileRole::Enclosure,
                url,
                media_type,
                length,
            }),
            Some(item) if rel.is_empty() || rel.eq_ignore_ascii_case("alternate") => {
                keep(&mut item.link, &url);
            }
            None if rel.eq_ignore_ascii_case("next") => keep(&mut self.feed.next_page, &url),
            _ => {}
        }
    }

    fn read_transcript(&mut self, raw: &str) {
        let [url, media_type, language] = self.pick(raw, ["url", "type", "language"]);
        if let (Some(item), Some(url)) = (&mut self.current, url) {
            item.add_transcript(RawTranscript {
                url,
                media_type,
                language,
            });
        }
    }
}
