//! Whatever the bytes, the feed reader ends, gives the same answer twice, and keeps its promises.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use podrun::domain::FeedSlug;
use podrun::feeds::{FeedSource, parse_feed};

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses what the server says about the encoding.
    let content_type = match bytes.first() {
        Some(b'<' | b'{') | None => None,
        Some(byte) if byte % 2 == 0 => Some("text/xml; charset=shift_jis"),
        Some(_) => Some("application/rss+xml; charset=\"utf-8\""),
    };
    let feed = FeedSlug::try_new("show").expect("a slug");
    let final_url = url::Url::parse("https://example.com/feed/rss").expect("a URL");
    let source = FeedSource {
        feed: &feed,
        bytes,
        final_url: &final_url,
        content_type,
        now: chrono::DateTime::UNIX_EPOCH,
    };
    let parsed = parse_feed(source);
    assert_eq!(parsed, parse_feed(source));
    let Ok(parsed) = parsed else { return };
    let mut guids = HashSet::new();
    for episode in &parsed.episodes {
        assert!(guids.insert(&episode.id.guid), "a guid occurs twice");
        let url = url::Url::parse(&episode.enclosure.url).expect("an address is a URL");
        assert!(matches!(url.scheme(), "http" | "https"));
        assert!(!episode.title.contains(char::is_control));
    }
});
