use super::*;

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
    let expected = Episode {
        id: EpisodeId {
            feed_slug: FeedSlug::try_new("show").unwrap(),
            guid: Guid::try_new("abc-1").unwrap(),
        },
        title: "One & only".to_owned(),
        published: Some("2026-03-02T10:00:00Z".parse().unwrap()),
        duration_s: Some(2730),
        enclosure: Enclosure {
            url: "https://cdn.example.com/1.mp3?a=1&b=2".to_owned(),
            media_type: Some("audio/mpeg".to_owned()),
            length: Some(1234),
        },
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
         "attachments":[{"url":"1.mp3","mime_type":"audio/mpeg","size_in_bytes":7}]}]}"#,
        Some("application/feed+json"),
    )
    .unwrap();
    assert_eq!((feed.title.as_str(), guids(&feed)), ("Json", vec!["j1"]));
    assert_eq!(urls(&feed), ["https://feeds.example.com/show/1.mp3"]);
    assert_eq!(feed.episodes[0].enclosure.length, Some(7));
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
fn the_first_of_repeated_guids_is_kept() {
    let item = |guid: &str, file: &str| {
        format!(r#"<item><guid>{guid}</guid><enclosure url="https://e.com/{file}.mp3"/></item>"#)
    };
    let items = [item("a", "1"), item("A", "2"), item(" a ", "3")].concat();
    let feed = parse(&rss(&items));
    assert_eq!(guids(&feed), ["a", "A"]);
    assert_eq!(
        feed.warnings,
        ["1 items repeat a guid; the first of each was kept"]
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
fn sloppy_feeds_are_read() {
    let item = r#"<item><title>Q & A&nbsp;&eacute;</title><guid>1</guid><it:title>x</it:title>
        <it:duration>1:00:00</it:duration><enclosure url="http://e.com/1.mp3?a&b"type="audio/mpeg"/></item>"#;
    let feed = parse(&format!(
        "\n<!-- made by hand --><?xml version='1.0'?><!DOCTYPE rss [<!ENTITY a \"b\">]>
        <rss xmlns:it=\"http://www.itunes.com/DTDs/Podcast-1.0.dtd\"><channel><title>T</title>{item}</channel></rss>"
    ));
    assert_eq!(urls(&feed), ["http://e.com/1.mp3?a&b"]);
    assert_eq!(feed.episodes[0].duration_s, Some(3600));
    assert!(feed.episodes[0].title.starts_with("Q & A"));
}

#[test]
fn dates_that_cannot_be_are_none() {
    for date in [
        "",
        "yesterday",
        "Mon, 99 Foo 2020 34:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 2099 00:00:00 GMT",
    ] {
        let feed = parse(&rss(&format!(
            r#"<item><guid>1</guid><pubDate>{date}</pubDate><enclosure url="https://e.com/1.mp3"/></item>"#
        )));
        assert_eq!(feed.episodes[0].published, None, "{date:?}");
    }
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
    assert_eq!(fail(&blog), ParseError::NoMedia { items: 1 });
    let new = parse(&rss(""));
    assert_eq!(new.warnings, ["the feed has no items"]);
}

#[test]
fn hostile_feeds_end_in_an_error() {
    let nested = rss(&r#"<itunes:category text="x">"#.repeat(200_000));
    assert_eq!(fail(&nested).class(), FailureClass::NotAFeed);
    assert!(matches!(fail(&rss("")[..300]), ParseError::Malformed(_)));
    let large = vec![b' '; MAX_FEED_BYTES + 1];
    assert_eq!(parse_as(&large, None), Err(ParseError::TooLarge));
}

#[test]
fn an_entity_bomb_is_never_expanded() {
    let bomb = r#"<!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>"#;
    let item =
        r#"<item><title>&b;</title><guid>1</guid><enclosure url="https://e.com/1.mp3"/></item>"#;
    let feed = parse(&format!("{bomb}<rss><channel>{item}</channel></rss>"));
    assert_eq!(feed.episodes[0].title, "&b;");
}

#[test]
fn a_silly_duration_costs_only_itself() {
    let feed = parse(&rss(r#"<item><guid>1</guid><itunes:title>x</itunes:title>
        <itunes:duration>99999999999999999999999</itunes:duration><enclosure url="https://e.com/1.mp3"/></item>"#));
    assert_eq!(feed.episodes[0].duration_s, None);
}

#[test]
fn a_long_feed_is_read_in_one_pass() {
    let item = |number: usize| {
        format!(
            r#"<item><title>Q &amp; A &#{}; {number}</title><guid>{number}</guid><itunes:duration>1:00</itunes:duration>
            <content:encoded><![CDATA[<p>{}</p>]]></content:encoded>
            <enclosure url="https://e.com/{number}.mp3?a=1&amp;b=2"/></item>"#,
            33,
            "text & more ".repeat(50)
        )
    };
    let items: String = (0..50_000).map(item).collect();
    assert_eq!(parse(&rss(&items)).episodes.len(), 50_000);
}
