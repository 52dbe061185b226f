//! Feeds that live elsewhere by now.

use super::bench::{Bench, assert_warned, guids, parsed};
use super::server::{FeedServer, answer, ok, rss};

fn moved(status: &str, location: &str) -> Vec<u8> {
    answer(status, &format!("Location: {location}\r\n"), "")
}

#[tokio::test]
async fn redirects_for_good_propose_the_new_address_without_its_secrets() {
    let server = FeedServer::start(|request| match request.path.as_str() {
        "/old" => moved("301 Moved", "/between"),
        "/between" => moved("308 Moved", "/new?token=s3cret"),
        _ if request.header("if-none-match").is_some() => answer("304 Not Modified", "", ""),
        _ => answer("200 OK", "ETag: \"1\"\r\n", rss("", ["a"])),
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/old"));
    // The second run has its answer from the copy, and tells all the same.
    for _ in 0..2 {
        let crawled = bench.crawl(&url).await;
        assert_eq!(guids(&crawled), ["a"]);
        assert_eq!(crawled.entry.slug.as_str(), "s0");
        let new = server.url("/new?token=REDACTED");
        assert_warned(
            &crawled,
            &["moved for good", &format!("replace {url} by {new}")],
        );
        assert!(!format!("{:?}", parsed(&crawled).warnings).contains("s3cret"));
    }
}

#[tokio::test]
async fn a_passing_redirect_proposes_nothing() {
    let server = FeedServer::start(|request| match request.path.as_str() {
        "/old" => moved("301 Moved", "/between"),
        "/between" => moved("302 Found", "/new"),
        _ => ok(rss("", ["a"])),
    })
    .await;
    let crawled = Bench::new().crawl(&server.url("/old")).await;
    assert!(parsed(&crawled).warnings.is_empty(), "{crawled:?}");
}
