//! What real feeds write, spelt as feed-rs expects it.
//!
//! feed-rs 3.0 takes some things literally that publishers do not: one pass over the tags puts them
//! right before it reads. Without this pass
//!
//! * `<rss>` needs a `version` of 2.0, 0.91 or 0.92, and a default namespace hides every item;
//! * the iTunes namespace must be spelt in one way;
//! * a `media:content` of any kind, an image for instance, replaces the item's enclosure;
//! * an unknown `role` of a `podcast:person` or an empty `media:title` ends the whole feed;
//! * `45:30` in `itunes:duration` is read as 45 seconds, and twenty digits in it panic;
//! * a lone `&` ends the feed or spoils the URL it stands in;
//! * nested elements recurse without a bound, and a stack overflow ends the process.
//!
//! Comments, processing instructions and the document type are dropped: nothing is read from them, an
//! entity that is never defined cannot be expanded, and the text's encoding is settled already.

/// Real feeds nest about ten deep; the limit only has to be far below what overflows a stack.
const MAX_DEPTH: usize = 200;

/// The document is nested deeper than any feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooDeep;

/// Namespaces by what feed-rs should take them for; `None` hides them.
const NAMESPACES: [(&str, Option<&str>); 6] = [
    (
        "www.itunes.com/dtds/podcast-1.0.dtd",
        Some("http://www.itunes.com/dtds/podcast-1.0.dtd"),
    ),
    ("purl.org/atom/ns#", Some("http://www.w3.org/2005/Atom")),
    ("www.w3.org/2005/atom", Some("http://www.w3.org/2005/Atom")),
    ("search.yahoo.com/mrss", None),
    ("podcastindex.org/namespace/1.0", None),
    (
        "github.com/podcastindex-org/podcast-namespace/blob/main/docs/1.0.md",
        None,
    ),
];
const HIDDEN: &str = "urn:hidden";

/// Rewrites an XML document; other text passes unharmed.
pub(super) fn adapt(text: &str) -> Result<String, TooDeep> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    let mut depth = 0_usize;
    let mut root = true;
    while let Some(open) = rest.find('<') {
        push_escaped(&rest[..open], &mut out);
        let (markup, mut tail) = split_markup(&rest[open..]);
        match markup {
            Markup::Dropped => {}
            Markup::Verbatim(section) => out.push_str(section),
            Markup::End(tag) => {
                depth = depth.saturating_sub(1);
                out.push_str(tag);
            }
            Markup::Start(tag) => {
                let empty = tag.ends_with("/>");
                depth += usize::from(!empty);
                if depth > MAX_DEPTH {
                    return Err(TooDeep);
                }
                push_start(tag, std::mem::take(&mut root), &mut out);
                if !empty && local_name(tag) == "duration" {
                    tail = push_duration(tail, &mut out);
                }
            }
        }
        rest = tail;
    }
    push_escaped(rest, &mut out);
    Ok(out)
}

enum Markup<'a> {
    Dropped,
    Verbatim(&'a str),
    Start(&'a str),
    End(&'a str),
}

/// Splits `text`, which begins with `<`, after its first piece of markup.
fn split_markup(text: &str) -> (Markup<'_>, &str) {
    let upto = |end: &str| {
        let length = text.find(end).map_or(text.len(), |at| at + end.len());
        text.split_at(length)
    };
    if text.starts_with("<!--") {
        return (Markup::Dropped, upto("-->").1);
    }
    if text.starts_with("<![CDATA[") {
        let (section, rest) = upto("]]>");
        return (Markup::Verbatim(section), rest);
    }
    if text.starts_with("<?") {
        return (Markup::Dropped, upto("?>").1);
    }
    if text.starts_with("<!") {
        return (Markup::Dropped, after_declaration(text));
    }
    if text.starts_with("</") {
        let (tag, rest) = upto(">");
        return (Markup::End(tag), rest);
    }
    let (tag, rest) = text.split_at(tag_length(text));
    (Markup::Start(tag), rest)
}

/// A document type may hold declarations of its own, each in angle brackets.
fn after_declaration(text: &str) -> &str {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => open += 1,
            b'>' if open == 1 => return &text[at + 1..],
            b'>' => open -= 1,
            _ => {}
        }
    }
    ""
}

/// Length of a start tag; a `>` inside quotes does not end it.
fn tag_length(text: &str) -> usize {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at + 1,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    text.len()
}

fn tag_name(tag: &str) -> &str {
    let name = tag.trim_start_matches('<');
    let end = name.find(|c: char| c.is_whitespace() || matches!(c, '/' | '>'));
    &name[..end.unwrap_or(name.len())]
}

fn local_name(tag: &str) -> &str {
    let name = tag_name(tag);
    name.rsplit(':').next().unwrap_or(name)
}

fn push_start(tag: &str, root: bool, out: &mut String) {
    let local = local_name(tag);
    if !root && local != "enclosure" && !tag.contains("xmlns") {
        return push_escaped(tag, out);
    }
    let rss = root && local == "rss";
    out.push('<');
    out.push_str(tag_name(tag));
    let mut rest = &tag[1 + tag_name(tag).len()..];
    while let Some((name, value, tail)) = next_attribute(rest) {
        rest = tail;
        if rss && matches!(name, "version" | "xmlns") {
            continue;
        }
        let value = if name.starts_with("xmlns") {
            namespace(value)
        } else {
            value
        };
        let quote = if value.contains('"') { '\'' } else { '"' };
        out.extend([" ", name, "="]);
        out.push(quote);
        push_escaped(value, out);
        out.push(quote);
    }
    if rss {
        out.push_str(" version=\"2.0\"");
    }
    out.push_str(if tag.ends_with("/>") { "/>" } else { ">" });
}

/// Name, value and what follows, of the next quoted attribute.
fn next_attribute(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once('=')?;
    let name = before.split_whitespace().next_back()?;
    let after = after.trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, rest) = after[1..].split_once(quote)?;
    Some((name, value, rest))
}

fn namespace(value: &str) -> &str {
    let bare = value.trim().to_ascii_lowercase();
    let bare = bare
        .split_once("://")
        .map_or(bare.as_str(), |(_, rest)| rest);
    let bare = bare.trim_end_matches('/');
    NAMESPACES
        .iter()
        .find(|(known, _)| *known == bare)
        .map_or(value, |(_, replacement)| replacement.unwrap_or(HIDDEN))
}

/// Copies `text` with every `&` that begins no reference escaped.
fn push_escaped(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        if !begins_with_reference(rest) {
            out.push_str("amp;");
        }
    }
    out.push_str(rest);
}

fn begins_with_reference(text: &str) -> bool {
    let name: String = text.chars().take(32).take_while(|c| *c != ';').collect();
    let digits = |text: &str, radix| {
        u32::from_str_radix(text, radix)
            .ok()
            .and_then(char::from_u32)
            .is_some_and(|c| c != '\0')
    };
    text[name.len()..].starts_with(';')
        && match name.strip_prefix('#') {
            Some(hex) if hex.starts_with('x') => digits(&hex[1..], 16),
            Some(decimal) => digits(decimal, 10),
            None => !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()),
        }
}

/// Copies the text of a duration as whole seconds, or drops it, and returns what follows.
fn push_duration<'a>(text: &'a str, out: &mut String) -> &'a str {
    let section = text.trim_start().strip_prefix("<![CDATA[");
    let (value, rest) = match section {
        Some(section) => section.split_once("]]>").unwrap_or((section, "")),
        None => text.split_at(text.find('<').unwrap_or(text.len())),
    };
    if let Some(seconds) = seconds(value) {
        out.push_str(&seconds.to_string());
    }
    rest
}

/// `H:M:S`, `M:S` or `S`, the last part with an optional fraction.
fn seconds(text: &str) -> Option<u32> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    parts
        .iter()
        .enumerate()
        .try_fold(0_u32, |total, (at, part)| {
            let last = at + 1 == parts.len();
            let whole = if last { part.split('.').next()? } else { part };
            total
                .checked_mul(60)?
                .checked_add(whole.trim().parse().ok()?)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(text: &str) -> String {
        adapt(text).unwrap()
    }

    #[test]
    fn any_rss_is_version_2_without_a_default_namespace() {
        for root in [
            "<rss>",
            "<rss version='0.94'>",
            "<rss xmlns=\"http://backend.userland.com/rss2\" version=\"2.1\" >",
        ] {
            assert_eq!(
                adapted(&format!("{root}<channel/></rss>")),
                "<rss version=\"2.0\"><channel/></rss>"
            );
        }
    }

    #[test]
    fn namespaces_are_canonical_or_hidden() {
        let text = adapted(
            "<rss xmlns:itunes='https://www.itunes.com/DTDs/Podcast-1.0.dtd' xmlns:m=\"http://search.yahoo.com/mrss/\">",
        );
        assert!(text.contains("xmlns:itunes=\"http://www.itunes.com/dtds/podcast-1.0.dtd\""));
        assert!(text.contains("xmlns:m=\"urn:hidden\""));
    }

    #[test]
    fn durations_become_seconds() {
        for (text, expected) in [
            ("3600", Some(3600)),
            ("45:30", Some(2730)),
            ("1:02:03", Some(3723)),
            ("3600.5", Some(3600)),
            ("1:2:3:4", None),
            ("-5", None),
            ("99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
        assert_eq!(
            adapted("<d:duration> <![CDATA[1:00]]></d:duration>"),
            "<d:duration>60</d:duration>"
        );
        assert_eq!(
            adapted("<duration>99999999999999999999</duration>"),
            "<duration></duration>"
        );
    }

    #[test]
    fn lone_ampersands_are_escaped_and_references_kept() {
        assert_eq!(
            adapted("<a>Q & A &amp; &#38; &nbsp; &#x; R&B</a>"),
            "<a>Q &amp; A &amp; &#38; &nbsp; &amp;#x; R&amp;B</a>"
        );
        assert_eq!(
            adapted("<r><enclosure url='a?b=1&c=2&amp;d=3'type=\"x\"/></r>"),
            "<r><enclosure url=\"a?b=1&amp;c=2&amp;d=3\" type=\"x\"/></r>"
        );
    }

    #[test]
    fn what_holds_no_data_is_dropped_and_cdata_is_kept() {
        let text = "<!-- <x> --><?xml version='1.0' encoding='x'?><!DOCTYPE r [<!ENTITY a 'b'>]><r><![CDATA[a & <b>]]></r>";
        assert_eq!(adapted(text), "<r><![CDATA[a & <b>]]></r>");
    }

    #[test]
    fn bottomless_nesting_is_refused() {
        assert_eq!(adapt(&"<a>".repeat(100_000)), Err(TooDeep));
        assert!(adapt(&"<a></a>".repeat(100_000)).is_ok());
    }

    #[test]
    fn broken_markup_ends() {
        for text in [
            "<",
            "<a",
            "<!",
            "<!--",
            "<![CDATA[",
            "<?",
            "</",
            "<a b=\"",
            "<enclosure x",
            "<duration>",
            "&",
        ] {
            adapt(text).unwrap();
        }
    }
}
