//! Asking only for what is new.

use std::time::Duration;

use bytes::Bytes;
use podrun::domain::FailureClass;
use podrun::feeds::FeedCopies;
use podrun::runtime::blob::PutMode;

use super::bench::{Bench, assert_warned, class, guids, parsed};
use super::server::{FeedServer, answer, ok, rss};

const FIRST: &str = "ETag: W/\"1\"\r\nLast-Modified: Mon, 02 Mar 2026 00:00:00 GMT\r\n";

/// 200 to the first question and 304 with `headers` to every conditional one.
async fn unchanged(first: &'static str, headers: &'static str) -> FeedServer {
    FeedServer::start(move |request| match request.header("if-none-match") {
        Some(_) => {
            format!("HTTP/1.1 304 Not Modified\r\n{headers}Connection: close\r\n\r\n").into_bytes()
        }
        None => answer("200 OK", first, rss("", [request.before])),
    })
    .await
}

#[tokio::test]
async fn an_unchanged_feed_comes_from_its_copy_by_both_validators() {
    let server = unchanged(FIRST, "").await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    let first = bench.crawl(&url).await;
    let second = bench.crawl(&url).await;
    assert_eq!(parsed(&first), parsed(&second));
    assert!(second.outage.is_none());
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("if-none-match"), None);
    assert_eq!(requests[1].header("if-none-match"), Some("w/\"1\""));
    let date = requests[1].header("if-modified-since");
    assert_eq!(date, Some("mon, 02 mar 2026 00:00:00 gmt"));
}

#[tokio::test]
async fn within_max_age_nobody_is_asked_unless_told_to() {
    let server = unchanged("ETag: \"1\"\r\nCache-Control: max-age=600\r\n", "").await;
    let (mut bench, url) = (Bench::new(), server.url("/feed"));
    let first = bench.crawl(&url).await;
    bench.clock.advance(Duration::from_secs(599));
    let second = bench.crawl(&url).await;
    assert_eq!(parsed(&first), parsed(&second));
    assert_eq!(server.requests().len(), 1);
    bench.options.refresh = true;
    bench.crawl(&url).await;
    assert_eq!(server.requests().len(), 2);
    bench.options.refresh = false;
    bench.clock.advance(Duration::from_secs(2));
    bench.crawl(&url).await;
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn case_035_a_304_with_a_body_is_no_more_than_a_304() {
    let server = FeedServer::start(|request| match request.before {
        0 => answer("200 OK", FIRST, rss("", ["a"])),
        _ => answer("304 Not Modified", "", rss("", ["smuggled"])),
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    bench.crawl(&url).await;
    for _ in 0..2 {
        assert_eq!(guids(&bench.crawl(&url).await), ["a"]);
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn case_035_a_304_without_a_copy_is_asked_again_once_without_conditions() {
    let server = unchanged(FIRST, "").await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    bench.crawl(&url).await;
    let bodies = bench.store.list("feeds/s0/bodies/", None, 9).await.unwrap();
    assert_eq!(bodies.len(), 1);
    bench.store.delete(&bodies[0]).await.unwrap();
    let crawled = bench.crawl(&url).await;
    assert_eq!(
        guids(&crawled),
        ["2"],
        "the third answer is the one that was read"
    );
    assert_warned(&crawled, &["copy is damaged"]);
    let conditional: Vec<_> = server.requests();
    let conditional: Vec<_> = conditional
        .iter()
        .map(|r| r.header("if-none-match").is_some())
        .collect();
    assert_eq!(conditional, [false, true, false]);
    // The copy is whole again.
    assert_eq!(
        parsed(&bench.crawl(&url).await).warnings,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn case_035_a_304_to_a_first_question_is_a_failure() {
    let server = FeedServer::start(|_| answer("304 Not Modified", "", "")).await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    assert_eq!(class(&crawled), FailureClass::Protocol);
}

#[tokio::test]
async fn case_036_the_same_weak_tag_on_new_bytes_does_not_hide_them() {
    let server =
        FeedServer::start(|request| answer("200 OK", FIRST, rss("", [request.before]))).await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    assert_eq!(guids(&bench.crawl(&url).await), ["0"]);
    assert_eq!(guids(&bench.crawl(&url).await), ["1"]);
    let bodies = bench.store.list("feeds/s0/bodies/", None, 9).await.unwrap();
    assert_eq!(bodies.len(), 1, "the old version is gone");
}

#[tokio::test]
async fn case_036_unchanged_by_tag_but_newer_by_date_is_asked_again() {
    let server = unchanged(FIRST, "Last-Modified: Tue, 03 Mar 2026 00:00:00 GMT\r\n").await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    assert_eq!(guids(&bench.crawl(&url).await), ["0"]);
    assert_eq!(guids(&bench.crawl(&url).await), ["2"]);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_tag_from_another_address_confirms_nothing() {
    let server = FeedServer::start(|request| match (request.path.as_str(), request.before) {
        ("/feed", 0) => answer("302 Found", "Location: /one\r\n", ""),
        ("/feed", _) => answer("302 Found", "Location: /two\r\n", ""),
        _ if request.header("if-none-match").is_some() => answer("304 Not Modified", "", ""),
        (path, _) => answer("200 OK", FIRST, rss("", [&path[1..]])),
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    assert_eq!(guids(&bench.crawl(&url).await), ["one"]);
    assert_eq!(guids(&bench.crawl(&url).await), ["two"]);
}

#[tokio::test]
async fn a_damaged_record_is_warned_of_and_replaced() {
    let server = unchanged(FIRST, "").await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    bench.crawl(&url).await;
    let record = bench
        .store
        .list("feeds/s0/pages/", None, 9)
        .await
        .unwrap()
        .remove(0);
    for damage in ["{\"schema_version\":1,", "{}", "[1]", "\u{0}"] {
        let version = bench.store.head(&record).await.unwrap().unwrap().version;
        let bytes = Bytes::from_static(damage.as_bytes());
        bench
            .store
            .put(&record, bytes, PutMode::Replace(version))
            .await
            .unwrap();
        assert_warned(&bench.crawl(&url).await, &["copy is damaged"]);
        assert!(parsed(&bench.crawl(&url).await).warnings.is_empty());
    }
}

#[tokio::test]
async fn a_dry_run_reads_copies_and_changes_none() {
    let server = unchanged(FIRST, "").await;
    let (bench, urls) = (Bench::new(), [server.url("/feed")]);
    let read_only = || Some(FeedCopies::read_only(std::sync::Arc::clone(&bench.store)));
    bench.crawl_with(&urls, read_only()).await;
    assert!(bench.copies().await.is_empty());
    bench.crawl_all(&urls).await;
    let kept = bench.copies().await;
    assert_eq!(kept.len(), 2);
    bench.crawl_with(&urls, read_only()).await;
    assert!(server.requests()[2].header("if-none-match").is_some());
    assert_eq!(bench.copies().await, kept);
}

#[tokio::test]
async fn case_034_a_feed_that_shrinks_is_read_as_it_is() {
    let server = FeedServer::start(|request| match request.before {
        0 => ok(rss("", 0..30)),
        _ => ok(rss("", 20..30)),
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    assert_eq!(guids(&bench.crawl(&url).await).len(), 30);
    assert_eq!(guids(&bench.crawl(&url).await).len(), 10);
}
