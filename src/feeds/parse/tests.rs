use super::*;
use crate::domain::{Enclosure, EpisodeId, FailureClass, Guid};

const BASE: &str = "https://feeds.example.com/show/rss";

fn parse_as(bytes: &[u8], content_type: Option<&str>) -> Result<ParsedFeed, ParseError> {
    let now = "2026-03-09T12:00:00Z".parse().unwrap();
    parse_feed(FeedSource {
        feed: &FeedSlug::try_new("show").unwrap(),
        bytes,
        final_url: &Url::parse(BASE).unwrap(),
        content_type,
        now,
    })
}

fn parse(text: &str) -> ParsedFeed {
    parse_as(text.as_bytes(), None).unwrap()
}

fn fail(text: &str) -> ParseError {
    parse_as(text.as_bytes(), None).unwrap_err()
}

/// An RSS feed of `items` with the namespaces that podcasts use.
fn rss(items: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
     xmlns:media="http://search.yahoo.com/mrss/" xmlns:podcast="https://podcastindex.org/namespace/1.0"
     xmlns:content="http://purl.org/rss/1.0/modules/content/">
<channel><title>The  Show</title>{items}</channel></rss>"#
    )
}

const ITEM: &str =
    r#"<item><title>T</title><guid>1</guid><enclosure url="https://e.com/1.mp3"/></item>"#;

fn item(guid: &str, url: &str) -> String {
    format!(r#"<item><guid>{guid}</guid><enclosure url="{url}"/></item>"#)
}

fn guids(feed: &ParsedFeed) -> Vec<&str> {
    feed.episodes
        .iter()
        .map(|episode| episode.id.guid.as_str())
        .collect()
}

fn urls(feed: &ParsedFeed) -> Vec<&str> {
    feed.episodes
        .iter()
        .map(|episode| episode.enclosure.url.as_str())
        .collect()
}

#[test]
fn an_rss_item_becomes_an_episode() {
    let feed = parse(&rss(
        r#"<item><title>One &amp; only</title><itunes:title>Only</itunes:title>
        <guid isPermaLink="false"> abc-1 </guid>
        <pubDate>Mon, 02 Mar 2026 05:00:00 -0500</pubDate><itunes:duration>45:30</itunes:duration>
        <enclosure url="https://cdn.example.com/1.mp3?a=1&amp;b=2" length="1234" type="audio/mpeg"/></item>"#,
    ));
    assert_eq!(feed.title, "The Show");
    assert_eq!(feed.warnings, Vec::<String>::new());
    assert!(feed.repairs.is_empty());
    let expected = Episode {
        id: EpisodeId {
            feed_slug: FeedSlug::try_new("show").unwrap(),
            guid: Guid::try_new("abc-1").unwrap(),
        },
        title: "One & only".to_owned(),
        published: Some("2026-03-02T10:00:00Z".parse().unwrap()),
        duration_s: Some(2730),
        season: None,
        number: None,
        enclosure: Enclosure {
            url: "https://cdn.example.com/1.mp3?a=1&b=2".to_owned(),
            media_type: Some("audio/mpeg".to_owned()),
            length: Some(1234),
        },
        alternates: Vec::new(),
        transcripts: Vec::new(),
    };
    assert_eq!(feed.episodes, [expected]);
}

#[test]
fn an_atom_entry_becomes_an_episode() {
    let feed = parse(
        r#"<feed xmlns="http://www.w3.org/2005/Atom"><title>Atomic</title><id>f</id>
        <entry><id>tag:x,2026:1</id><title type="html">One</title><updated>2026-03-01T00:00:00Z</updated>
        <link rel="alternate" href="https://example.com/1"/>
        <link rel="enclosure" type="image/png" href="https://example.com/1.png"/>
        <link rel="enclosure" type="audio/mp4" length="99" href="/media/1.m4a"/></entry></feed>"#,
    );
    assert_eq!(guids(&feed), ["tag:x,2026:1"]);
    assert_eq!(urls(&feed), ["https://feeds.example.com/media/1.m4a"]);
    assert_eq!(feed.episodes[0].enclosure.length, Some(99));
    assert!(feed.episodes[0].published.is_some());
}

#[test]
fn a_json_feed_item_becomes_an_episode() {
    let feed = parse_as(
        br#"{"version":"https://jsonfeed.org/version/1.1","title":"Json","items":[
        {"id":"j1","url":"https://example.com/1","title":"One","date_published":"2026-03-01T00:00:00Z",
         "attachments":[{"url":"1.mp3","mime_type":"audio/mpeg","size_in_bytes":7,"duration_in_seconds":61.5}]}]}"#,
        Some("application/feed+json"),
    )
    .unwrap();
    assert_eq!((feed.title.as_str(), guids(&feed)), ("Json", vec!["j1"]));
    assert_eq!(urls(&feed), ["https://feeds.example.com/show/1.mp3"]);
    assert_eq!(feed.episodes[0].enclosure.length, Some(7));
    assert_eq!(feed.episodes[0].duration_s, Some(61));
    assert!(feed.episodes[0].published.is_some());
}

#[test]
fn a_missing_guid_is_derived_and_the_same_in_every_run() {
    let text = rss(
        r#"<item><title>A</title><enclosure url="https://pdst.fm/e/cdn.example.com/a.mp3?t=1"/></item>
        <item><guid>  </guid><enclosure url="https://cdn.example.com/b.mp3"/></item>"#,
    );
    let feed = parse(&text);
    assert_eq!(
        guids(&feed),
        ["url:cdn.example.com/a.mp3", "url:cdn.example.com/b.mp3"]
    );
    assert_eq!(feed, parse(&text));
    let moved = text.replace("pdst.fm/e/", "").replace("t=1", "t=2");
    assert_eq!(guids(&feed), guids(&parse(&moved)));
    assert!(
        feed.warnings[0].starts_with("2 items have no usable guid"),
        "{:?}",
        feed.warnings
    );
}

#[test]
fn the_audio_is_chosen_whatever_stands_beside_it() {
    let feed = parse(&rss(
        r#"<item><guid>1</guid><enclosure url="https://e.com/1.pdf" type="application/pdf"/>
            <enclosure url="https://e.com/1.mp3" type="image/jpeg"/></item>
        <item><guid>2</guid><media:content url="https://e.com/2.jpg" medium="image"><media:title/></media:content>
            <podcast:person role="chief mischief maker">Ann</podcast:person>
            <enclosure url="https://e.com/2" type="mp3"/></item>
        <item><guid>3</guid><enclosure url="https://e.com/3.m3u8" type="audio/x-mpegurl"/></item>
        <item><guid>4</guid></item>
        <item><guid>5</guid><enclosure url="ftp://e.com/5.mp3" type="audio/mpeg"/></item>
        <item><guid>6</guid><enclosure url=" //e.com/a b.mp3
" length="-1" type="audio/mpeg"/></item>"#,
    ));
    assert_eq!(guids(&feed), ["1", "2", "6"]);
    assert_eq!(
        urls(&feed),
        [
            "https://e.com/1.mp3",
            "https://e.com/2",
            "https://e.com/a%20b.mp3"
        ]
    );
    assert_eq!(
        feed.warnings,
        ["3 items without an audio or video file were skipped"]
    );
}

#[test]
fn other_answers_are_named() {
    let looks = |text: &str, kind| match parse_as(text.as_bytes(), kind).unwrap_err() {
        ParseError::NotAFeed(looks) => looks,
        other => panic!("{text:?} -> {other:?}"),
    };
    assert_eq!(
        looks("<!doctype html><title>x</title><p>y", None),
        LooksLike::Html
    );
    assert_eq!(
        looks("<html><body><br></body></html>", None),
        LooksLike::Html
    );
    let open = format!("<html>{}", "<p>".repeat(500));
    assert_eq!(looks(&open, None), LooksLike::Html);
    assert_eq!(
        looks("<opml version='2.0'><body/></opml>", None),
        LooksLike::Xml("opml".into())
    );
    assert_eq!(looks(r#"{"error":"no"}"#, None), LooksLike::Json);
    assert_eq!(looks("not found", None), LooksLike::Text);
    let audio = looks("ID3\u{3}\u{0}\u{0}", Some("audio/mpeg; x=y"));
    assert_eq!(audio, LooksLike::Binary(Some("audio/mpeg".into())));
    assert_eq!(fail(" \n"), ParseError::Empty);
    assert_eq!(fail("\u{feff}"), ParseError::Empty);
}

#[test]
fn a_blog_is_no_podcast_and_a_new_show_is() {
    let blog = rss("<item><guid>1</guid><link>https://e.com/1</link></item>");
    assert_eq!(
        fail(&blog),
        ParseError::NoMedia {
            items: 1,
            next_page: None
        }
    );
    let new = parse(&rss(""));
    assert_eq!(new.warnings, ["the feed has no items"]);
}

#[test]
fn podcasting_2_is_read() {
    let text = rss(
        r#"<podcast:guid> 917393e3-1b1e-5cef-ace4-edaa54e1f810 </podcast:guid>
        <itunes:new-feed-url>https://new.example.com/rss</itunes:new-feed-url>
        <atom:link xmlns:atom="http://www.w3.org/2005/Atom" rel="next" href="?page=2"/>
        <podcast:liveItem><title>Live</title><guid>live</guid><enclosure url="https://e.com/live.mp3"/></podcast:liveItem>
        <item><title>T</title><guid>1</guid><podcast:season name="x">2</podcast:season><podcast:episode>7</podcast:episode>
        <enclosure url="https://e.com/1.mp3" type="audio/mpeg"/>
        <podcast:alternateEnclosure type="audio/opus" length="12"><podcast:source uri="https://e.com/1.opus"/>
        <podcast:source uri="ipfs://x"/></podcast:alternateEnclosure>
        <podcast:transcript url="/1.vtt" type="text/vtt" language="en" rel="captions"/><podcast:transcript url="ftp://x"/></item>"#,
    );
    let feed = parse(&text);
    assert_eq!(guids(&feed), ["1"]);
    assert_eq!(
        feed.podcast_guid.as_deref(),
        Some("917393e3-1b1e-5cef-ace4-edaa54e1f810")
    );
    assert_eq!(
        feed.moved_to.unwrap().as_str(),
        "https://new.example.com/rss"
    );
    assert_eq!(
        feed.next_page.unwrap().as_str(),
        "https://feeds.example.com/show/rss?page=2"
    );
    let episode = &feed.episodes[0];
    assert_eq!((episode.season, episode.number), (Some(2), Some(7)));
    assert_eq!(episode.alternates.len(), 1);
    assert_eq!(episode.alternates[0].url, "https://e.com/1.opus");
    assert_eq!(episode.alternates[0].length, Some(12));
    assert_eq!(episode.transcripts.len(), 1);
    assert_eq!(
        episode.transcripts[0].url,
        "https://feeds.example.com/1.vtt"
    );
    assert_eq!(episode.transcripts[0].language.as_deref(), Some("en"));
}

#[test]
fn json_is_read_whatever_kind_its_fields_have() {
    let text = r#"{"version":"https://jsonfeed.org/version/1","title":5,"next_url":"https://e.com/2","author":7,
        "items":[7,{"id":12,"attachments":[{"url":"https://e.com/1.mp3"},{"mime_type":"audio/mpeg"},8]},
        {"id":"2","tags":"x","attachments":{"url":"https://e.com/2.mp3","mime_type":"audio/mpeg","size_in_bytes":"9"}}]}"#;
    let feed = parse(text);
    assert_eq!(
        (feed.format, guids(&feed)),
        (FeedFormat::Json, vec!["12", "2"])
    );
    assert_eq!(feed.next_page.unwrap().as_str(), "https://e.com/2");
    assert!(feed.repairs.count(Repair::JsonField) >= 5);
    let broken = r#"{"version":"https://jsonfeed.org/version/1.1","items":[{"id":"1","#;
    assert!(matches!(fail(broken), ParseError::Malformed(_)));
}

mod cases;
mod items;
mod oracle;
