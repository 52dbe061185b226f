//! Which element a name means, whatever its prefix and spelling.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Namespaces that the reader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Namespace {
    Itunes,
    Podcast,
    Media,
    Dc,
    Atom,
    Rdf,
    Enc,
    Other,
}

/// Elements that the reader knows. Of an element that is not here nothing is read but its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Root,
    Channel,
    Item,
    Title,
    ItunesTitle,
    MediaTitle,
    Guid,
    /// Atom's name for it, which others use for anything.
    Id,
    Link,
    Published,
    Updated,
    Duration,
    Enclosure,
    /// `media:group`, which only holds others together.
    MediaGroup,
    MediaContent,
    Transcript,
    AlternateEnclosure,
    /// `podcast:source`, inside the one above.
    AlternateSource,
    Season,
    EpisodeNumber,
    PodcastGuid,
    NewFeedUrl,
    /// Holds elements of the same names that are about something else: an image, another feed.
    Foreign,
    Other,
}

/// More prefixes than any feed declares.
const MOST_PREFIXES: usize = 1000;

/// The document declares more prefixes than any feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyPrefixes;

/// What the document's prefixes stand for. Declarations count from where they stand to the end of the
/// document: feeds that bind one prefix twice, differently, do not occur.
#[derive(Default)]
pub(super) struct Prefixes {
    declared: HashMap<String, Namespace, FixedState>,
}

impl Prefixes {
    pub(super) fn declare(&mut self, prefix: &str, uri: &str) -> Result<(), TooManyPrefixes> {
        if self.declared.len() >= MOST_PREFIXES {
            return Err(TooManyPrefixes);
        }
        let namespace = by_uri(uri).or_else(|| by_custom(prefix));
        let namespace = namespace.unwrap_or(Namespace::Other);
        self.declared.insert(prefix.to_owned(), namespace);
        Ok(())
    }

    /// The namespace of a prefix, and whether it is declared.
    fn resolve(&self, prefix: &str) -> (Namespace, bool) {
        match self.declared.get(prefix) {
            Some(namespace) => (*namespace, true),
            None => (by_custom(prefix).unwrap_or(Namespace::Other), false),
        }
    }

    /// The element that a qualified name means, and whether its prefix is a known one that nobody
    /// declared.
    pub(super) fn element(&self, name: &str) -> (Element, bool) {
        let Some((prefix, local)) = name.split_once(':') else {
            return (plain(local_key(name).as_str()), false);
        };
        let (namespace, declared) = self.resolve(prefix);
        let element = prefixed(namespace, local_key(local).as_str());
        (element, !declared && namespace != Namespace::Other)
    }
}

/// By the URI, whatever its scheme, case and trailing slash.
fn by_uri(uri: &str) -> Option<Namespace> {
    let uri = uri.trim().to_ascii_lowercase();
    let bare = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
    let bare = bare
        .strip_prefix("www.")
        .unwrap_or(bare)
        .trim_end_matches('/');
    [
        ("itunes.com/dtds/podcast-1.0.dtd", Namespace::Itunes),
        ("itunes.com/dtds/podcast-1.0", Namespace::Itunes),
        ("itunes.apple.com/dtds/podcast-1.0.dtd", Namespace::Itunes),
        ("podcastindex.org/namespace/1.0", Namespace::Podcast),
        (
            "github.com/podcastindex-org/podcast-namespace/blob/main/docs/1.0.md",
            Namespace::Podcast,
        ),
        ("search.yahoo.com/mrss", Namespace::Media),
        ("purl.org/dc/elements/1.1", Namespace::Dc),
        ("purl.org/dc/terms", Namespace::Dc),
        ("w3.org/2005/atom", Namespace::Atom),
        ("purl.org/atom/ns#", Namespace::Atom),
        ("w3.org/1999/02/22-rdf-syntax-ns#", Namespace::Rdf),
        ("purl.oclc.org/net/rss_2.0/enc#", Namespace::Enc),
        ("purl.org/rss/1.0/modules/enclosure", Namespace::Enc),
    ]
    .into_iter()
    .find(|(known, _)| *known == bare)
    .map(|(_, namespace)| namespace)
}

/// By what everybody calls it.
fn by_custom(prefix: &str) -> Option<Namespace> {
    Some(match prefix {
        "itunes" => Namespace::Itunes,
        "podcast" => Namespace::Podcast,
        "media" => Namespace::Media,
        "dc" | "dcterms" => Namespace::Dc,
        "atom" | "atom10" => Namespace::Atom,
        "rdf" => Namespace::Rdf,
        "enc" => Namespace::Enc,
        _ => return None,
    })
}

/// A local name in lower case, cut at the length of the longest known one plus one.
#[derive(Default)]
struct LocalKey {
    bytes: [u8; 24],
    length: usize,
}

fn local_key(local: &str) -> LocalKey {
    let mut key = LocalKey::default();
    for (to, byte) in key.bytes.iter_mut().zip(local.bytes()) {
        *to = byte.to_ascii_lowercase();
    }
    key.length = local.len().min(key.bytes.len());
    key
}

impl LocalKey {
    /// Empty where the name is not ASCII at the cut; no known name is like that.
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// Without a prefix, whatever the default namespace: RSS 0.9x, 1.0, 2.0 and Atom.
fn plain(local: &str) -> Element {
    match local {
        "rss" | "rdf" | "feed" => Element::Root,
        "channel" => Element::Channel,
        "item" | "entry" => Element::Item,
        "title" => Element::Title,
        "guid" => Element::Guid,
        "id" => Element::Id,
        "link" => Element::Link,
        "pubdate" | "published" | "issued" | "date" => Element::Published,
        "updated" | "modified" | "created" => Element::Updated,
        "enclosure" => Element::Enclosure,
        "duration" => Element::Duration,
        "image" | "textinput" | "source" | "author" | "contributor" | "cloud" => Element::Foreign,
        _ => Element::Other,
    }
}

fn prefixed(namespace: Namespace, local: &str) -> Element {
    match (namespace, local) {
        (Namespace::Itunes, "title") => Element::ItunesTitle,
        (Namespace::Itunes, "duration") => Element::Duration,
        (Namespace::Itunes | Namespace::Podcast, "season") => Element::Season,
        (Namespace::Itunes | Namespace::Podcast, "episode") => Element::EpisodeNumber,
        (Namespace::Itunes, "new-feed-url") => Element::NewFeedUrl,
        (Namespace::Itunes, "owner") => Element::Foreign,
        (Namespace::Podcast, "guid") => Element::PodcastGuid,
        (Namespace::Podcast, "transcript") => Element::Transcript,
        (Namespace::Podcast, "alternateenclosure") => Element::AlternateEnclosure,
        (Namespace::Podcast, "source") => Element::AlternateSource,
        // A stream that is announced like an item, and the shows that a show recommends.
        (Namespace::Podcast, "liveitem" | "podroll") => Element::Foreign,
        (Namespace::Media, "group") => Element::MediaGroup,
        (Namespace::Media, "content") => Element::MediaContent,
        (Namespace::Media, "title") => Element::MediaTitle,
        (Namespace::Dc, "date" | "issued") => Element::Published,
        (Namespace::Dc, "title") => Element::MediaTitle,
        (Namespace::Rdf, "rdf") => Element::Root,
        (Namespace::Enc, "enclosure") => Element::Enclosure,
        (Namespace::Atom, local) => plain(local),
        _ => Element::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_known_by_uri_first_and_by_custom_second() {
        let mut prefixes = Prefixes::default();
        for (prefix, uri) in [
            ("it", "https://www.itunes.com/DTDs/Podcast-1.0.dtd"),
            ("p", "http://podcastindex.org/namespace/1.0/"),
            ("media", "urn:something else"),
            ("itunes", "http://podcastindex.org/namespace/1.0"),
            ("a", "http://www.w3.org/2005/Atom"),
        ] {
            prefixes.declare(prefix, uri).unwrap();
        }
        for (name, element, undeclared) in [
            ("it:duration", Element::Duration, false),
            ("p:Transcript", Element::Transcript, false),
            ("media:content", Element::MediaContent, false),
            ("itunes:guid", Element::PodcastGuid, false),
            ("a:link", Element::Link, false),
            ("dc:date", Element::Published, true),
            ("x:title", Element::Other, false),
            ("pubDate", Element::Published, false),
            ("PUBDATE", Element::Published, false),
            ("titles", Element::Other, false),
            ("alternateEnclosureAndMoreThanThat", Element::Other, false),
            ("", Element::Other, false),
            (":", Element::Other, false),
        ] {
            assert_eq!(prefixes.element(name), (element, undeclared), "{name}");
        }
    }

    #[test]
    fn prefixes_are_bounded() {
        let mut prefixes = Prefixes::default();
        let declared = (0..).map(|n| prefixes.declare(&n.to_string(), "urn:x"));
        assert_eq!(declared.take_while(Result::is_ok).count(), MOST_PREFIXES);
    }
}
