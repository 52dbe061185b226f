//! Feeds that say themselves where they live now.

use super::bench::{Bench, assert_warned, guids, parsed};
use super::server::{FeedServer, answer, ok, rss};

/// An old feed with ten episodes that names `/new`, which holds `new`.
async fn announced(old: &'static str, new: String) -> FeedServer {
    FeedServer::start(move |request| match request.path.as_str() {
        "/old" => {
            let host = request.header("host").unwrap();
            let target = format!("<itunes:new-feed-url>http://{host}/new</itunes:new-feed-url>");
            ok(rss(&format!("{target}{old}"), 0..10))
        }
        "/new" if !new.is_empty() => ok(&new),
        _ => answer("404 No", "", ""),
    })
    .await
}

const GUID: &str = "<podcast:guid>917393e3-1b1e-5cef-ace4-edaa54e1f810</podcast:guid>";
const OTHER: &str = "<podcast:guid>00000000-1b1e-5cef-ace4-edaa54e1f810</podcast:guid>";

#[tokio::test]
async fn an_announced_move_is_followed_to_the_same_show() {
    // What only the old address has is kept, where the two tell episodes apart alike.
    for (old, new, expected) in [
        (GUID, rss(GUID, 20..30), 10),
        ("", rss("", 2..40), 40),
        (GUID, rss("", 0..8), 10),
    ] {
        let server = announced(old, new).await;
        let crawled = Bench::new().crawl(&server.url("/old")).await;
        assert_eq!(guids(&crawled).len(), expected);
        assert_warned(
            &crawled,
            &["says it moved: replace", "/old by", "/new in the catalog"],
        );
    }
}

#[tokio::test]
async fn an_announced_move_to_another_show_is_told_and_not_followed() {
    for (old, new) in [
        ("", rss("", 3..40)),
        (GUID, rss(OTHER, 0..10)),
        ("", rss("", ["x"])),
        (GUID, rss(GUID, ["x"])),
    ] {
        let server = announced(old, new).await;
        let crawled = Bench::new().crawl(&server.url("/old")).await;
        assert_eq!(guids(&crawled).len(), 10);
        assert_warned(&crawled, &["/new", "not followed"]);
    }
}

#[tokio::test]
async fn an_announced_move_to_nowhere_is_told() {
    let server = announced("", String::new()).await;
    let crawled = Bench::new().crawl(&server.url("/old")).await;
    assert_eq!(guids(&crawled).len(), 10);
    assert_warned(&crawled, &["/new", "answered 404"]);
}

#[tokio::test]
async fn a_feed_that_names_itself_has_not_moved() {
    let server = FeedServer::start(|request| {
        let host = request.header("host").unwrap();
        let own = format!("<itunes:new-feed-url>https://{host}/feed/</itunes:new-feed-url>");
        ok(rss(&own, ["a"]))
    })
    .await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    assert!(parsed(&crawled).warnings.is_empty(), "{crawled:?}");
    assert_eq!(server.paths(), ["/feed"]);
}
