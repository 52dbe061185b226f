//! Asks every feed of a catalog.
//!
//! Feeds are asked side by side, but one host sees at most two requests at a time: large hosts serve
//! most of a catalog. One bad feed never stops the others; the result lists all of them in catalog
//! order, whatever finished first.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Semaphore;
use url::Url;

use super::catalog::{Catalog, CatalogEntry};
use super::parse::{FeedSource, ParsedFeed, parse_feed};
use crate::domain::{Disposition, Failure, FailureClass};
use crate::runtime::clock::Clock;
use crate::runtime::retry::RetryPolicy;
use crate::runtime::telemetry::{Event, Observer};

/// Port: gets a feed's bytes.
///
/// * Follows redirects, refuses what must not be asked, and sends one honest user agent.
/// * The body is decompressed and capped at [`MAX_FEED_BYTES`](super::parse::MAX_FEED_BYTES); a larger
///   one is [`FailureClass::TooLarge`]. Every wait has a time limit.
/// * Any status but success is a [`Failure`] with the class of the status and, where the server gave
///   one, its `Retry-After`. One call is one try.
#[async_trait]
pub trait FeedFetcher: Debug + Send + Sync + 'static {
    /// Gets `url`.
    async fn fetch(&self, url: &str) -> Result<FetchedFeed, Failure>;
}

/// The answer of a feed's server.
#[derive(Debug, Clone)]
pub struct FetchedFeed {
    /// The body, decompressed.
    pub bytes: Bytes,
    /// The address that answered, after redirects.
    pub final_url: String,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
}

/// How hard to crawl.
#[derive(Debug, Clone, Copy)]
pub struct CrawlOptions {
    /// Feeds asked at the same time.
    pub concurrency: usize,
    /// Requests to one host at the same time.
    pub per_host: usize,
    /// How often and when to ask again.
    pub retry: RetryPolicy,
    /// A server that asks for more patience than this is left for the next run.
    pub longest_wait: Duration,
}

impl Default for CrawlOptions {
    fn default() -> Self {
        Self {
            concurrency: 8,
            per_host: 2,
            // Feeds are small and behind caches: what does not answer within half a minute is down.
            retry: RetryPolicy {
                max_attempts: 3,
                base: Duration::from_secs(2),
                cap: Duration::from_secs(30),
            },
            longest_wait: Duration::from_secs(120),
        }
    }
}

/// One feed and what came of it.
#[derive(Debug, Clone)]
pub struct CrawledFeed {
    /// Which.
    pub entry: CatalogEntry,
    /// Its episodes, or why there are none.
    pub outcome: Result<ParsedFeed, FeedProblem>,
}

/// Why a feed could not be read, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {hint}")]
pub struct FeedProblem {
    /// What kind.
    pub class: FailureClass,
    /// What happened, without secrets.
    pub reason: String,
    /// What to do.
    pub hint: &'static str,
}

impl From<Failure> for FeedProblem {
    fn from(failure: Failure) -> Self {
        Self {
            class: failure.class,
            hint: hint(failure.class),
            reason: failure.message,
        }
    }
}

fn hint(class: FailureClass) -> &'static str {
    match class {
        FailureClass::NotFound | FailureClass::Gone => {
            "look up the show's present feed address and correct its url in the catalog"
        }
        FailureClass::Refused | FailureClass::Blocked | FailureClass::ClientError => {
            "the host turns this client away; ask the publisher, or remove the feed from the catalog"
        }
        FailureClass::RateLimited => "the host asks for patience; run again later",
        FailureClass::Dns | FailureClass::NoSuchHost => {
            "check the host name in the catalog; if it is right, run again later"
        }
        FailureClass::Tls => {
            "the host's certificate is bad; check the url, or wait until it is mended"
        }
        FailureClass::BadUrl | FailureClass::Redirect => "correct the url in the catalog",
        FailureClass::NotAFeed
        | FailureClass::NotAudio
        | FailureClass::UnsupportedHls
        | FailureClass::LiveStream => {
            "check that the url is that of the podcast's feed, not of its web page or blog"
        }
        FailureClass::TooLarge => {
            "ask the publisher for a shorter feed, or remove it from the catalog"
        }
        FailureClass::ServerError
        | FailureClass::Connect
        | FailureClass::Timeout
        | FailureClass::Truncated
        | FailureClass::Protocol
        | FailureClass::Empty
        | FailureClass::Undecodable
        | FailureClass::Engine
        | FailureClass::Storage
        | FailureClass::BadMessage => "the host may be down; run again later",
    }
}

/// Parsing holds a few copies of a feed of up to 64 MiB; two at a time keep two cores busy.
const PARSERS: usize = 2;

/// Crawls catalogs.
#[derive(Debug)]
pub struct Crawler {
    fetcher: Arc<dyn FeedFetcher>,
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    options: CrawlOptions,
    parsers: Semaphore,
}

impl Crawler {
    /// A crawler over these parts.
    pub fn new(
        fetcher: Arc<dyn FeedFetcher>,
        observer: Arc<dyn Observer>,
        clock: Arc<dyn Clock>,
        options: CrawlOptions,
    ) -> Self {
        Self {
            fetcher,
            observer,
            clock,
            options,
            parsers: Semaphore::new(PARSERS),
        }
    }

    /// Asks every feed; dropping the future stops it. One result an entry, in catalog order.
    pub async fn crawl(&self, catalog: &Catalog) -> Vec<CrawledFeed> {
        let entries = catalog.entries();
        self.observer.event(&Event::CrawlStarted {
            feeds: entries.len(),
        });
        let gates = self.gates(entries);
        let mut results: Vec<(usize, CrawledFeed)> =
            futures::stream::iter(entries.iter().enumerate())
                .map(|(at, entry)| {
                    let gate = Arc::clone(&gates[&host(&entry.url)]);
                    async move { (at, self.crawl_one(entry, &gate).await) }
                })
                .buffer_unordered(self.options.concurrency.max(1))
                .collect()
                .await;
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, feed)| feed).collect()
    }

    fn gates(&self, entries: &[CatalogEntry]) -> HashMap<String, Arc<Semaphore>> {
        let gate = || Arc::new(Semaphore::new(self.options.per_host.max(1)));
        entries
            .iter()
            .map(|entry| (host(&entry.url), gate()))
            .collect()
    }

    async fn crawl_one(&self, entry: &CatalogEntry, gate: &Semaphore) -> CrawledFeed {
        let outcome = self.read(entry, gate).await.map_err(FeedProblem::from);
        self.observer.event(&match &outcome {
            Ok(feed) => Event::FeedCrawled {
                feed: entry.slug.clone(),
                episodes: feed.episodes.len(),
                warnings: feed.warnings.clone(),
            },
            Err(problem) => Event::FeedFailed {
                feed: entry.slug.clone(),
                reason: problem.to_string(),
            },
        });
        CrawledFeed {
            entry: entry.clone(),
            outcome,
        }
    }

    async fn read(&self, entry: &CatalogEntry, gate: &Semaphore) -> Result<ParsedFeed, Failure> {
        // The gate is held while waiting: a host that is overloaded gets no other request meanwhile.
        let _turn = gate.acquire().await;
        let mut failures = 0;
        loop {
            let failure = match self.try_once(entry).await {
                Ok(feed) => return Ok(feed),
                Err(failure) => failure,
            };
            failures += 1;
            match self.delay(&failure, failures) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(failure),
            }
        }
    }

    /// How long to wait before asking again, or `None` to give up.
    fn delay(&self, failure: &Failure, failures: u32) -> Option<Duration> {
        if failure.class.disposition() == Disposition::Permanent {
            return None;
        }
        let delay = self.options.retry.jittered(failures)?;
        // The jitter comes on top of what the server asks for, never off it.
        let delay = failure
            .retry_after
            .map_or(delay, |asked| asked.saturating_add(delay));
        (delay <= self.options.longest_wait).then_some(delay)
    }

    async fn try_once(&self, entry: &CatalogEntry) -> Result<ParsedFeed, Failure> {
        let fetched = self.fetcher.fetch(&entry.url).await?;
        let final_url = Url::parse(&fetched.final_url).map_err(|error| {
            Failure::new(
                FailureClass::BadUrl,
                format!("the final address is no URL: {error}"),
            )
        })?;
        let _slot = self.parsers.acquire().await;
        let (feed, now) = (entry.slug.clone(), self.clock.now());
        let parsing = tokio::task::spawn_blocking(move || {
            parse_feed(FeedSource {
                feed: &feed,
                bytes: &fetched.bytes,
                final_url: &final_url,
                content_type: fetched.content_type.as_deref(),
                now,
            })
        });
        match parsing.await {
            Ok(parsed) => parsed.map_err(|error| Failure::new(error.class(), error.to_string())),
            // A panic of the parser is this feed's problem and nobody else's.
            Err(_) => Err(Failure::new(
                FailureClass::NotAFeed,
                "the feed broke its parser",
            )),
        }
    }
}

fn host(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
