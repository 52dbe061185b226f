//! The feed that a web page names.

use url::Url;

use super::episodes::absolute;
use super::tags;

/// How much of a page is searched, in bytes: `<link>` stands in the head.
const SEARCHED: usize = 512 * 1024;

/// The first feed that the page at `base` links to as its alternate, an address of `http` or `https`
/// other than the page's own.
pub(super) fn linked_feed(page: &[u8], base: &Url) -> Option<Url> {
    // Names and addresses are ASCII in every encoding a page is likely to have.
    let text = String::from_utf8_lossy(&page[..page.len().min(SEARCHED)]);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, behind)| behind);
        } else if let Some(tag) = strip_name(rest, "link")
            && let Some(url) = alternate(tag, base)
        {
            return Some(url);
        }
    }
    None
}

fn strip_name<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (found, rest) = tag.split_at_checked(name.len())?;
    let ends = rest.starts_with(|c: char| c.is_whitespace() || c == '/');
    (found.eq_ignore_ascii_case(name) && ends).then_some(rest)
}

fn alternate(tag: &str, base: &Url) -> Option<Url> {
    let (attributes, _) = tags::attributes(tag);
    let value = |name| tags::value(&attributes, name);
    let is_alternate = value("rel")?
        .split_whitespace()
        .any(|relation| relation.eq_ignore_ascii_case("alternate"));
    let kind = value("type")?.split(';').next().unwrap_or_default().trim();
    let is_feed = [
        "application/rss+xml",
        "application/atom+xml",
        "application/feed+json",
    ]
    .iter()
    .any(|known| kind.eq_ignore_ascii_case(known));
    if !is_alternate || !is_feed {
        return None;
    }
    absolute(value("href")?, base).filter(|url| url != base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> Option<String> {
        let base = Url::parse("https://e.com/show/").unwrap();
        linked_feed(page.as_bytes(), &base).map(String::from)
    }

    #[test]
    fn case_027_the_first_alternate_that_is_a_feed_counts() {
        let page = r#"<!DOCTYPE html><html><head><!-- <link rel="alternate"
            type="application/rss+xml" href="/old"> --><link rel=stylesheet href=/s.css>
            <link rel="alternate" hreflang="de" href="/de">
            <LINK REL="alternate nofollow" TYPE="application/rss+xml; charset=utf-8" HREF="feed?a=1&amp;b=2">
            <link rel="alternate" type="application/atom+xml" href="/second">"#;
        assert_eq!(
            found(page).as_deref(),
            Some("https://e.com/show/feed?a=1&b=2")
        );
    }

    #[test]
    fn pages_without_a_feed_name_none() {
        for page in [
            "",
            "<",
            "<link",
            "<html><link rel=alternate type=application/rss+xml></html>",
            "<link rel=alternate type=text/html href=/f>",
            "<linkrel=alternate type=application/rss+xml href=/f>",
            "<link rel=alternate type=application/rss+xml href=file:///etc/passwd>",
            "<link rel=alternate type=application/rss+xml href=#top>",
            "<!-- <link rel=alternate type=application/rss+xml href=/f>",
        ] {
            assert_eq!(found(page), None, "{page}");
        }
    }

    #[test]
    fn the_body_of_a_long_page_is_not_searched() {
        let link = "<link rel=alternate type=application/rss+xml href=/f>";
        let page = format!("{}{link}", " ".repeat(SEARCHED));
        assert_eq!(found(&page), None);
    }
}
