//! A crawler whose clock and copies outlive its runs.

use std::sync::Arc;
use std::time::Duration;

use podrun::domain::FailureClass;
use podrun::feeds::{
    Catalog, CrawlOptions, CrawledFeed, Crawler, FeedCopies, HttpFeedFetcher, ParsedFeed,
};
use podrun::runtime::blob::{BlobStore, MemoryBlobStore};
use podrun::runtime::clock::ManualClock;
use podrun::runtime::http::{HopGate, HttpClient, HttpConfig, OpenGate};
use podrun::runtime::retry::RetryPolicy;
use podrun::runtime::telemetry::Ignore;

/// What stays between the runs of a test.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) gate: Arc<dyn HopGate>,
    pub(crate) options: CrawlOptions,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::new(MemoryBlobStore::new()),
            clock: Arc::new(ManualClock::default()),
            gate: Arc::new(OpenGate),
            options: CrawlOptions {
                concurrency: 1,
                // Whether to ask again is not what these tests are about.
                retry: RetryPolicy {
                    max_attempts: 1,
                    base: Duration::from_millis(1),
                    cap: Duration::from_millis(1),
                },
                ..CrawlOptions::default()
            },
        }
    }

    /// One run over feeds at these addresses.
    pub(crate) async fn crawl_all(&self, urls: &[String]) -> Vec<CrawledFeed> {
        self.crawl_with(urls, Some(FeedCopies::new(Arc::clone(&self.store))))
            .await
    }

    pub(crate) async fn crawl_with(
        &self,
        urls: &[String],
        copies: Option<FeedCopies>,
    ) -> Vec<CrawledFeed> {
        let config = HttpConfig {
            allow_private_addresses: true,
            ..HttpConfig::default()
        };
        let client = HttpClient::try_new(config).unwrap();
        let fetcher = HttpFeedFetcher::new(client, Arc::clone(&self.gate), Default::default());
        let clock = Arc::clone(&self.clock);
        let crawler = Crawler::new(Arc::new(fetcher), Arc::new(Ignore), clock, self.options);
        let crawler = match copies {
            Some(copies) => crawler.with_copies(copies),
            None => crawler,
        };
        crawler.crawl(&catalog(urls)).await
    }

    /// One run over one feed.
    pub(crate) async fn crawl(&self, url: &str) -> CrawledFeed {
        self.crawl_all(&[url.to_owned()]).await.remove(0)
    }

    /// The keys of all copies.
    pub(crate) async fn copies(&self) -> Vec<String> {
        self.store.list("feeds/", None, 1000).await.unwrap()
    }
}

fn catalog(urls: &[String]) -> Catalog {
    let folder = tempfile::tempdir().unwrap();
    let entries = urls.iter().enumerate();
    let entries = entries.map(|(at, url)| format!("  - slug: s{at}\n    url: {url}\n"));
    let text = format!("feeds:\n{}", entries.collect::<String>());
    std::fs::write(folder.path().join("tier1_feeds.yaml"), text).unwrap();
    Catalog::read(folder.path()).unwrap()
}

/// What was read; fails the test where nothing was.
pub(crate) fn parsed(crawled: &CrawledFeed) -> &ParsedFeed {
    crawled.outcome.as_ref().unwrap()
}

pub(crate) fn guids(crawled: &CrawledFeed) -> Vec<&str> {
    let episodes = parsed(crawled).episodes.iter();
    episodes.map(|episode| episode.id.guid.as_str()).collect()
}

/// The class of what went wrong; fails the test where nothing did.
pub(crate) fn class(crawled: &CrawledFeed) -> FailureClass {
    crawled.outcome.as_ref().unwrap_err().class
}

/// Fails the test unless one warning has all of these parts.
pub(crate) fn assert_warned(crawled: &CrawledFeed, parts: &[&str]) {
    let warnings = &parsed(crawled).warnings;
    let fits = |warning: &String| parts.iter().all(|part| warning.contains(part));
    assert!(warnings.iter().any(fits), "{parts:?} not in {warnings:?}");
}
