//! Servers that fail while a copy is at hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use podrun::domain::{Failure, FailureClass};
use podrun::runtime::http::{HopGate, HopPass, HopVerdict};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::bench::{Bench, assert_warned, class, guids};
use super::server::{FeedServer, answer, ok, rss};

/// A feed the first time, `later` ever after.
async fn breaks(later: Vec<u8>) -> FeedServer {
    FeedServer::start(move |request| match request.before {
        0 => ok(rss("", ["a", "b"])),
        _ => later.clone(),
    })
    .await
}

/// The second run reads the copy, says so, and leaves it as it is.
async fn survives(later: Vec<u8>, reason: &str, expected: FailureClass) {
    let server = breaks(later).await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    bench.crawl(&url).await;
    let kept = bench.copies().await;
    for _ in 0..2 {
        let crawled = bench.crawl(&url).await;
        assert_eq!(guids(&crawled), ["a", "b"], "{reason}");
        assert_warned(
            &crawled,
            &["could not be read now", reason, "copy of 2024-10-04"],
        );
        assert_eq!(crawled.outage.unwrap().failure.class, expected);
    }
    assert_eq!(bench.copies().await, kept);
}

#[tokio::test]
async fn case_028_an_empty_answer_leaves_the_copy() {
    survives(ok(""), "empty", FailureClass::Empty).await;
    survives(ok(" \r\n\t"), "empty", FailureClass::Empty).await;
}

#[tokio::test]
async fn case_028_an_empty_answer_without_a_copy_is_a_failure() {
    let server = FeedServer::start(|_| ok("")).await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    assert_eq!(class(&bench.crawl(&url).await), FailureClass::Empty);
    assert!(bench.copies().await.is_empty());
}

#[tokio::test]
async fn whatever_else_fails_leaves_the_copy_too() {
    survives(
        answer("500 No", "", ""),
        "answered 500",
        FailureClass::ServerError,
    )
    .await;
    survives(
        answer("404 No", "", ""),
        "answered 404",
        FailureClass::NotFound,
    )
    .await;
    survives(
        answer("403 No", "", ""),
        "answered 403",
        FailureClass::Refused,
    )
    .await;
    survives(
        ok("<html><body>Be back soon</body></html>"),
        "web page",
        FailureClass::NotAFeed,
    )
    .await;
    survives(
        b"nonsense\r\n\r\n".to_vec(),
        "no answer",
        FailureClass::Protocol,
    )
    .await;
}

#[tokio::test]
async fn a_feed_that_was_taken_down_stays_down() {
    let server = breaks(answer("410 Gone", "", "")).await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    bench.crawl(&url).await;
    assert_eq!(class(&bench.crawl(&url).await), FailureClass::Gone);
    assert_eq!(bench.copies().await.len(), 2, "the copy itself is kept");
}

/// Lets nobody near a host that asked for a rest; remembers what it was told.
#[derive(Debug, Default)]
struct RestingGate {
    rests: Arc<Mutex<Option<Duration>>>,
}

#[derive(Debug)]
struct RestingPass(Arc<Mutex<Option<Duration>>>);

#[async_trait]
impl HopGate for RestingGate {
    async fn enter(&self, _: &Url, _: &CancellationToken) -> Result<Box<dyn HopPass>, Failure> {
        match *self.rests.lock().unwrap() {
            Some(rest) => {
                let failure = Failure::new(FailureClass::RateLimited, "the host rests");
                Err(failure.with_retry_after(Some(rest)))
            }
            None => Ok(Box::new(RestingPass(Arc::clone(&self.rests)))),
        }
    }
}

#[async_trait]
impl HopPass for RestingPass {
    fn lost(&self) -> CancellationToken {
        CancellationToken::new()
    }

    async fn finish(self: Box<Self>, verdict: HopVerdict) {
        if let HopVerdict::Throttled { retry_after, .. } = verdict {
            *self.0.lock().unwrap() = retry_after;
        }
    }
}

#[tokio::test]
async fn case_081_a_busy_host_is_left_alone_and_the_run_goes_on_with_copies() {
    let server = FeedServer::start(|request| match request.before {
        0 => ok(rss("", [&request.path[1..]])),
        _ => answer("503 Busy", "Retry-After: 3600\r\n", ""),
    })
    .await;
    let mut bench = Bench::new();
    bench.gate = Arc::new(RestingGate::default());
    let urls = ["/a", "/b", "/c"].map(|path| server.url(path));
    bench.crawl_all(&urls).await;
    let again = bench.crawl_all(&urls).await;
    for (feed, guid) in again.iter().zip(["a", "b", "c"]) {
        assert_eq!(guids(feed), [guid]);
        let failure = &feed.outage.as_ref().unwrap().failure;
        assert_eq!(failure.class, FailureClass::RateLimited);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(3600)));
    }
    // The first of them heard it; for the others the host was not asked at all.
    assert_eq!(server.paths(), ["/a", "/b", "/c", "/a"]);
}
