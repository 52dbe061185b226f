//! One page of a feed: from the copy, from the server, or from the copy because the server fails.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use url::Url;

use super::copies::{FeedCopies, PageRecord};
use super::fetcher::{FeedBody, FeedFetcher, FetchedFeed, Validators};
use super::parse::{FeedSource, LooksLike, ParseError, ParsedFeed, parse_feed};
use super::repair::Repair;
use crate::domain::{ContentDigest, Disposition, Failure, FailureClass, FeedSlug};
use crate::runtime::clock::Clock;
use crate::runtime::http::SafeUrl;
use crate::runtime::retry::RetryPolicy;

/// Parsing holds a few copies of a feed of up to 64 MiB; two at a time keep two cores busy.
const PARSERS: usize = 2;

/// Longest time for one question and its answer: the largest feed at 100 KiB/s.
const LONGEST_FETCH: Duration = Duration::from_secs(10 * 60);

/// Whether a page may come from its copy without a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Where the server said for how long.
    WhenStale,
    /// Never.
    Always,
}

/// A page that could be read.
pub(super) struct Page {
    pub(super) parsed: ParsedFeed,
    pub(super) final_url: Url,
    /// Whether the way to it was redirects for good.
    pub(super) is_moved: bool,
    /// Whether it is new since the last run.
    pub(super) is_new: bool,
    /// Bytes after decompression.
    pub(super) size: usize,
    /// What stands for it in the copies; `None` where none is kept.
    pub(super) record: Option<PageRecord>,
    /// The copy was used because of this.
    pub(super) outage: Option<Outage>,
}

/// A server that failed while a copy was at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// What the server did.
    pub failure: Failure,
    /// When the copy was read.
    pub copy_of: DateTime<Utc>,
}

/// A page that could not be read.
pub(super) struct Unread {
    pub(super) failure: Failure,
    /// The web page that came instead, and its address.
    pub(super) web_page: Option<(Bytes, Url)>,
    /// The page after it, where it is one of a feed but has no episode.
    pub(super) next_page: Option<Box<Url>>,
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            web_page: None,
            next_page: None,
        }
    }
}

/// Reads pages.
#[derive(Debug)]
pub(super) struct PageReader {
    pub(super) fetcher: Arc<dyn FeedFetcher>,
    pub(super) copies: Option<FeedCopies>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retry: RetryPolicy,
    pub(super) longest_wait: Duration,
    parsers: Semaphore,
}

impl PageReader {
    pub(super) fn new(
        fetcher: Arc<dyn FeedFetcher>,
        clock: Arc<dyn Clock>,
        retry: RetryPolicy,
        longest_wait: Duration,
    ) -> Self {
        Self {
            fetcher,
            copies: None,
            clock,
            retry,
            longest_wait,
            parsers: Semaphore::new(PARSERS),
        }
    }

    /// Reads the page of `feed` at `url`. A server that fails, or says something that is no feed,
    /// leaves the copy; only a feed that was taken down, or an address that may not be asked, does not.
    pub(super) async fn read(
        &self,
        feed: &FeedSlug,
        url: &Url,
        ask: Ask,
        warnings: &mut Vec<String>,
    ) -> Result<Page, Unread> {
        let record = self.find(feed, url, warnings).await;
        if ask == Ask::WhenStale
            && let Some(record) = &record
            && record.is_fresh(self.clock.now())
            && let Ok(page) = self.read_copy(feed, record, warnings).await
        {
            return Ok(page);
        }
        let unread = match self.try_often(feed, url, record.as_ref(), warnings).await {
            Ok(page) => return Ok(page),
            Err(unread) => unread,
        };
        let Some(record) = record.filter(|_| survives(unread.failure.class)) else {
            return Err(unread);
        };
        let Ok(mut page) = self.read_copy(feed, &record, warnings).await else {
            return Err(unread);
        };
        page.outage = Some(Outage {
            failure: unread.failure,
            copy_of: record.read_at,
        });
        Ok(page)
    }

    async fn find(
        &self,
        feed: &FeedSlug,
        url: &Url,
        warnings: &mut Vec<String>,
    ) -> Option<PageRecord> {
        let found = self.copies.as_ref()?.find(feed, url).await;
        found.unwrap_or_else(|warning| {
            warnings.push(warning);
            None
        })
    }

    /// The page that `record` describes; what is wrong with it is warned of.
    async fn read_copy(
        &self,
        feed: &FeedSlug,
        record: &PageRecord,
        warnings: &mut Vec<String>,
    ) -> Result<Page, ()> {
        let copies = self.copies.as_ref().ok_or(())?;
        let bytes = match copies.body(feed, record).await {
            Ok(bytes) => bytes,
            Err(warning) => {
                warnings.push(warning);
                return Err(());
            }
        };
        let body = FeedBody {
            bytes: bytes.clone(),
            content_type: record.content_type.clone(),
            damage: None,
        };
        // It was a feed when it was kept; if this version reads it otherwise, the server is asked.
        let parsed = self.parse(feed, &body, &record.final_url).await;
        Ok(Page {
            parsed: parsed.map_err(drop)?,
            final_url: record.final_url.clone(),
            is_moved: record.is_moved,
            is_new: false,
            size: bytes.len(),
            record: Some(record.clone()),
            outage: None,
        })
    }

    async fn try_often(
        &self,
        feed: &FeedSlug,
        url: &Url,
        record: Option<&PageRecord>,
        warnings: &mut Vec<String>,
    ) -> Result<Page, Unread> {
        let mut failures = 0;
        loop {
            let unread = match self.try_once(feed, url, record, warnings).await {
                Ok(page) => return Ok(page),
                Err(unread) => unread,
            };
            failures += 1;
            match self.delay(&unread.failure, failures) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(unread),
            }
        }
    }

    /// How long to wait before asking again, or `None` to give up.
    fn delay(&self, failure: &Failure, failures: u32) -> Option<Duration> {
        if failure.class.disposition() == Disposition::Permanent {
            return None;
        }
        let delay = self.retry.jittered(failures)?;
        // The jitter comes on top of what the server asks for, never off it.
        let delay = failure
            .retry_after
            .map_or(delay, |asked| asked.saturating_add(delay));
        (delay <= self.longest_wait).then_some(delay)
    }

    async fn try_once(
        &self,
        feed: &FeedSlug,
        url: &Url,
        record: Option<&PageRecord>,
        warnings: &mut Vec<String>,
    ) -> Result<Page, Unread> {
        let known = record.map(|record| record.validators.clone());
        let mut answer = self.fetch(url, &known.unwrap_or_default()).await?;
        if answer.body.is_none() {
            match record.filter(|record| record.is_confirmed_by(&answer)) {
                Some(record) => {
                    if let Ok(page) = self.confirmed(feed, record, &answer, warnings).await {
                        return Ok(page);
                    }
                }
                None => {
                    tracing::debug!(%feed, "unchanged, but not what was kept; asking for all of it")
                }
            }
            answer = self.fetch(url, &Validators::default()).await?;
        }
        let body = answer.body.take().ok_or_else(|| {
            let problem = "the server answers \"unchanged\" to a first question";
            Failure::new(FailureClass::Protocol, problem)
        })?;
        self.received(feed, url, &answer, body, record, warnings)
            .await
    }

    /// A server that keeps just above what counts as a stall does not keep the crawl for hours.
    async fn fetch(&self, url: &Url, known: &Validators) -> Result<FetchedFeed, Failure> {
        let fetched = tokio::time::timeout(LONGEST_FETCH, self.fetcher.fetch(url, known)).await;
        fetched.unwrap_or_else(|_| {
            let shown = SafeUrl::new(url);
            let problem = format!("{shown}: not read within {LONGEST_FETCH:?}");
            Err(Failure::new(FailureClass::Timeout, problem))
        })
    }

    /// The server said that the copy still holds.
    async fn confirmed(
        &self,
        feed: &FeedSlug,
        record: &PageRecord,
        answer: &FetchedFeed,
        warnings: &mut Vec<String>,
    ) -> Result<Page, ()> {
        let mut renewed = record.clone();
        renewed.confirm(answer, self.clock.now());
        let page = self.read_copy(feed, &renewed, warnings).await?;
        if renewed != *record
            && let Some(copies) = &self.copies
        {
            copies.renew(feed, &renewed).await;
        }
        Ok(page)
    }

    /// The server sent a body: reads it, and keeps it where it is a feed.
    async fn received(
        &self,
        feed: &FeedSlug,
        url: &Url,
        answer: &FetchedFeed,
        body: FeedBody,
        known: Option<&PageRecord>,
        warnings: &mut Vec<String>,
    ) -> Result<Page, Unread> {
        let parsed = self.parse(feed, &body, &answer.final_url).await;
        let parsed = parsed.map_err(|(failure, problem)| {
            let mut unread = Unread::from(failure);
            match problem {
                Some(ParseError::NotAFeed(LooksLike::Html)) => {
                    unread.web_page = Some((body.bytes.clone(), answer.final_url.clone()));
                }
                Some(ParseError::NoMedia { next_page, .. }) => unread.next_page = next_page,
                _ => {}
            }
            unread
        })?;
        // Half a feed is worth reading, but not worth the place of a whole one.
        let is_cut = parsed.repairs.count(Repair::Truncated) > 0;
        let record = if let Some(damage) = &body.damage {
            warnings.push(damage.clone());
            None
        } else if is_cut && known.is_some_and(|known| !known.is_cut) {
            None
        } else {
            self.keep(feed, url, answer, &body, is_cut).await
        };
        let was = known.map(|record| &record.body);
        Ok(Page {
            parsed,
            final_url: answer.final_url.clone(),
            is_moved: answer.is_moved,
            is_new: was.is_none() || was != record.as_ref().map(|record| &record.body),
            size: body.bytes.len(),
            record,
            outage: None,
        })
    }

    async fn keep(
        &self,
        feed: &FeedSlug,
        url: &Url,
        answer: &FetchedFeed,
        body: &FeedBody,
        is_cut: bool,
    ) -> Option<PageRecord> {
        let copies = self.copies.as_ref()?;
        let bytes = body.bytes.clone();
        let digest = tokio::task::spawn_blocking(move || ContentDigest::of(&bytes));
        let (kind, now) = (body.content_type.clone(), self.clock.now());
        let mut record = PageRecord::new(url, answer, kind, digest.await.ok()?, now);
        record.is_cut = is_cut;
        copies.keep(feed, &record, body.bytes.clone()).await;
        Some(record)
    }

    /// The body as a feed, or why it is none, in the parser's words too where it has any.
    async fn parse(
        &self,
        feed: &FeedSlug,
        body: &FeedBody,
        final_url: &Url,
    ) -> Result<ParsedFeed, (Failure, Option<ParseError>)> {
        let _slot = self.parsers.acquire().await;
        let (feed, final_url, now) = (feed.clone(), final_url.clone(), self.clock.now());
        let (bytes, content_type) = (body.bytes.clone(), body.content_type.clone());
        let parsing = tokio::task::spawn_blocking(move || {
            parse_feed(FeedSource {
                feed: &feed,
                bytes: &bytes,
                final_url: &final_url,
                content_type: content_type.as_deref(),
                now,
            })
        });
        match parsing.await {
            Ok(parsed) => parsed.map_err(|error| {
                let failure = Failure::new(error.class(), error.to_string());
                (failure, Some(error))
            }),
            // A panic of the parser is this feed's problem and nobody else's.
            Err(_) => {
                let problem = "the feed broke its parser";
                Err((Failure::new(FailureClass::NotAFeed, problem), None))
            }
        }
    }
}

/// Whether a copy may stand in after such a failure. What was taken down stays down, and an address
/// that may not be asked is the operator's to correct.
fn survives(class: FailureClass) -> bool {
    !matches!(class, FailureClass::Gone | FailureClass::BadUrl)
}
