//! Asks every feed of a catalog.
//!
//! Feeds are asked side by side, but no more than two that the catalog has on one host: large hosts
//! serve most of a catalog. (How hard any host is pressed, with redirects and pages elsewhere, is
//! the gate's business that every request goes through.) One bad feed never stops the others; the result lists all of them in catalog
//! order, whatever finished first.
//!
//! One feed is its pages, each of them from the server or from the copy that an earlier run
//! kept. A web page is searched for the feed it names, and a feed that says it moved is read where it
//! lives now. Either way the catalog stays as it is, and a warning says what to change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Semaphore;
use url::Url;

use super::catalog::{Catalog, CatalogEntry};
use super::copies::FeedCopies;
use super::fetcher::FeedFetcher;
use super::page::{Outage, PageReader};
use super::parse::ParsedFeed;
use crate::domain::{Failure, FailureClass};
use crate::runtime::clock::Clock;
use crate::runtime::retry::RetryPolicy;
use crate::runtime::telemetry::{Event, Observer};

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
    /// Ask even the servers that said for how long there is nothing new.
    pub refresh: bool,
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
            refresh: false,
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
    /// Pages that were read.
    pub pages: usize,
    /// Why the episodes are those of an earlier run: the server failed, and a copy stood in.
    pub outage: Option<Outage>,
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

/// Crawls catalogs.
#[derive(Debug)]
pub struct Crawler {
    reader: PageReader,
    observer: Arc<dyn Observer>,
    options: CrawlOptions,
}

impl Crawler {
    /// A crawler over these parts, which asks for everything anew.
    pub fn new(
        fetcher: Arc<dyn FeedFetcher>,
        observer: Arc<dyn Observer>,
        clock: Arc<dyn Clock>,
        options: CrawlOptions,
    ) -> Self {
        Self {
            reader: PageReader::new(fetcher, clock, options.retry, options.longest_wait),
            observer,
            options,
        }
    }

    /// With copies of what feeds said before.
    #[must_use]
    pub fn with_copies(mut self, copies: FeedCopies) -> Self {
        self.reader.copies = Some(copies);
        self
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
        // The gate is held while waiting: a host that is overloaded gets no other request meanwhile.
        let turn = gate.acquire().await;
        let read = self.read(entry).await;
        drop(turn);
        let entry = entry.clone();
        let crawled = match read {
            Ok(walked) => CrawledFeed {
                entry,
                pages: walked.pages,
                outage: walked.outage,
                outcome: Ok(walked.feed),
            },
            Err(failure) => CrawledFeed {
                entry,
                pages: 0,
                outage: None,
                outcome: Err(failure.into()),
            },
        };
        self.tell(&crawled);
        crawled
    }

    fn tell(&self, crawled: &CrawledFeed) {
        let feed = crawled.entry.slug.clone();
        self.observer.event(&match &crawled.outcome {
            Ok(parsed) => Event::FeedCrawled {
                feed,
                episodes: parsed.episodes.len(),
                warnings: parsed.warnings.clone(),
            },
            Err(problem) => Event::FeedFailed {
                feed,
                reason: problem.to_string(),
            },
        });
    }
}

fn host(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default()
}

mod elsewhere;
#[cfg(test)]
mod tests;
