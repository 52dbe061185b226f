use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::feeds::fetcher::{FeedBody, FetchedFeed, Validators};
use crate::runtime::clock::ManualClock;

const FEED: &str = r#"<rss><channel><title>T</title><item><guid>1</guid>
    <enclosure url="https://cdn.example.com/1.mp3"/></item></channel></rss>"#;

/// Answers by the last path segment: a number of seconds to think, then what to say.
#[derive(Debug, Default)]
struct Script {
    calls: Mutex<Vec<String>>,
    active: AtomicUsize,
    most: AtomicUsize,
}

impl Script {
    fn calls_to(&self, name: &str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|url| url.ends_with(name)).count()
    }
}

#[async_trait]
impl FeedFetcher for Script {
    async fn fetch(&self, url: &Url, _: &Validators) -> Result<FetchedFeed, Failure> {
        let url = url.as_str();
        self.calls.lock().unwrap().push(url.to_owned());
        let active = self.active.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(active, Ordering::SeqCst);
        let name = url.rsplit('/').next().unwrap();
        let thinks = match name {
            "slow" => 60,
            "trickle" => 7200,
            _ => 1,
        };
        tokio::time::sleep(Duration::from_secs(thinks)).await;
        self.active.fetch_sub(1, Ordering::SeqCst);
        let again = self.calls_to(name) > 1;
        let fail = |status| {
            Failure::new(
                FailureClass::from_status(status),
                format!("status {status}"),
            )
        };
        match name {
            "missing" => Err(fail(404)),
            "down" => Err(fail(503)),
            "flaky" if !again => Err(fail(502)),
            "busy" if !again => Err(fail(429).with_retry_after(Some(Duration::from_secs(40)))),
            "parked" => Err(fail(429).with_retry_after(Some(Duration::from_secs(7200)))),
            name => Ok(FetchedFeed {
                body: Some(FeedBody {
                    bytes: Bytes::from_static(if name == "page" {
                        b"<html></html>"
                    } else {
                        FEED.as_bytes()
                    }),
                    content_type: None,
                    damage: None,
                }),
                final_url: Url::parse(url).unwrap(),
                is_moved: false,
                validators: Validators::default(),
                fresh_for: Duration::ZERO,
            }),
        }
    }
}

#[derive(Debug, Default)]
struct Record(Mutex<Vec<Event>>);

impl Observer for Record {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn catalog(urls: &[&str]) -> Catalog {
    let folder = tempfile::tempdir().unwrap();
    let entries = urls.iter().enumerate();
    let entries = entries.map(|(at, url)| format!("  - slug: s{at}\n    url: https://{url}\n"));
    let text = format!("feeds:\n{}", entries.collect::<String>());
    std::fs::write(folder.path().join("tier1_feeds.yaml"), text).unwrap();
    Catalog::read(Path::new(folder.path())).unwrap()
}

fn crawler(script: &Arc<Script>, record: &Arc<Record>, options: CrawlOptions) -> Crawler {
    let clock = Arc::new(ManualClock::default());
    Crawler::new(
        Arc::clone(script) as _,
        Arc::clone(record) as _,
        clock,
        options,
    )
}

async fn crawl(urls: &[&str]) -> (Vec<CrawledFeed>, Arc<Script>, Arc<Record>) {
    let (script, record) = (Arc::<Script>::default(), Arc::<Record>::default());
    let crawler = crawler(&script, &record, CrawlOptions::default());
    (crawler.crawl(&catalog(urls)).await, script, record)
}

fn class(feed: &CrawledFeed) -> Option<FailureClass> {
    feed.outcome.as_ref().err().map(|problem| problem.class)
}

#[tokio::test(start_paused = true)]
async fn one_bad_feed_stops_no_other_and_the_order_is_the_catalogs() {
    let (feeds, script, record) =
        crawl(&["a.com/slow", "b.com/missing", "c.com/page", "d.com/ok"]).await;
    let slugs: Vec<_> = feeds.iter().map(|feed| feed.entry.slug.as_str()).collect();
    assert_eq!(slugs, ["s0", "s1", "s2", "s3"]);
    let classes: Vec<_> = feeds.iter().map(class).collect();
    assert_eq!(
        classes,
        [
            None,
            Some(FailureClass::NotFound),
            Some(FailureClass::NotAFeed),
            None
        ]
    );
    assert_eq!(script.calls_to("missing"), 1, "a dead link is asked once");
    let events = record.0.lock().unwrap();
    assert_eq!(events[0], Event::CrawlStarted { feeds: 4 });
    assert_eq!(events.len(), 5);
    let last = events.last().unwrap();
    assert!(matches!(last, Event::FeedCrawled { feed, episodes: 1, .. } if feed.as_str() == "s0"));
    let hint = feeds[1].outcome.as_ref().unwrap_err().to_string();
    assert!(hint.starts_with("status 404; look up"), "{hint}");
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_tried_again() {
    let (feeds, script, _) = crawl(&["a.com/flaky", "b.com/down"]).await;
    assert_eq!(class(&feeds[0]), None);
    assert_eq!(class(&feeds[1]), Some(FailureClass::ServerError));
    assert_eq!((script.calls_to("flaky"), script.calls_to("down")), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_server_is_given_the_time_it_asks_for() {
    let start = tokio::time::Instant::now();
    let (feeds, script, _) = crawl(&["a.com/busy", "b.com/parked"]).await;
    assert!(start.elapsed() >= Duration::from_secs(42));
    assert_eq!(class(&feeds[0]), None);
    assert_eq!(class(&feeds[1]), Some(FailureClass::RateLimited));
    assert_eq!(
        script.calls_to("parked"),
        1,
        "two hours are for the next run"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_trickles_is_given_up() {
    let start = tokio::time::Instant::now();
    let (feeds, script, _) = crawl(&["a.com/trickle", "b.com/ok"]).await;
    assert_eq!(class(&feeds[0]), Some(FailureClass::Timeout));
    assert_eq!(script.calls_to("trickle"), 3);
    assert!(start.elapsed() < Duration::from_secs(3600));
    assert_eq!(class(&feeds[1]), None);
}

#[tokio::test(start_paused = true)]
async fn requests_at_a_time_are_bounded() {
    let many: Vec<String> = (0..30).map(|at| format!("h{at}.com/ok")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (_, script, _) = crawl(&many).await;
    assert_eq!(script.most.load(Ordering::SeqCst), 8);
    let same: Vec<String> = (0..8).map(|at| format!("one.com/ok?{at}")).collect();
    let same: Vec<&str> = same.iter().map(String::as_str).collect();
    let (_, script, _) = crawl(&same).await;
    assert_eq!(script.most.load(Ordering::SeqCst), 2);
}
