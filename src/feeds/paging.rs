//! All pages of one feed as one (RFC 5005, section 3; `next_url` of JSON Feed).

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::address::feed_identity;
use super::copies::PageRecord;
use super::media_url::file_key;
use super::page::{Ask, Outage, Page, PageReader, Unread};
use super::parse::{MAX_FEED_BYTES, ParsedFeed};
use crate::domain::{Episode, FeedSlug, Guid};

/// Most pages of one feed. Publishers put 50 to 1000 episodes on a page.
pub(super) const MAX_PAGES: usize = 200;

/// Most bytes of all pages together, after decompression: as much as one page may have.
const MAX_BYTES: usize = MAX_FEED_BYTES;

/// Longest time for all pages together; the page under way at its end is still read.
const LONGEST_WALK: Duration = Duration::from_secs(20 * 60);

/// A feed with all of its pages.
pub(super) struct Walked {
    /// The first page, with the episodes of all, each guid once.
    pub(super) feed: ParsedFeed,
    pub(super) pages: usize,
    /// Where the first page was found.
    pub(super) final_url: Url,
    pub(super) is_moved: bool,
    /// The first page came from its copy, because of this.
    pub(super) outage: Option<Outage>,
    /// What stands for the pages in the copies.
    pub(super) records: Vec<PageRecord>,
    /// Whether every page has a record.
    pub(super) is_kept: bool,
    /// Whether the pages came to their natural end, and something about them is new.
    pub(super) is_complete: bool,
    pub(super) is_new: bool,
}

/// Reads the feed at `url` page by page.
///
/// It ends where a page names no next one, or one that was read already, or holds no episode that is
/// new, and at the latest after [`MAX_PAGES`] pages, [`MAX_BYTES`] or [`LONGEST_WALK`]: a server can make
/// up pages for ever. A page that fails ends it too, with a warning, and what was read before stays.
pub(super) async fn walk(
    reader: &PageReader,
    feed: &FeedSlug,
    url: &Url,
    ask: Ask,
) -> Result<Walked, Unread> {
    let started = Instant::now();
    let mut warnings = Vec::new();
    let first = reader.read(feed, url, ask, &mut warnings).await?;
    let mut seen = HashSet::from([feed_identity(url), feed_identity(&first.final_url)]);
    let mut size = first.size;
    let mut walked = Walked::new(first, warnings);
    let mut episodes = Episodes::of(&walked.feed.episodes);
    // An episode that moved to the next page is on no page, where only the first one is asked for.
    let ask = if walked.is_new { Ask::Always } else { ask };
    while let Some(next) = walked.feed.next_page.take() {
        if let Err(bound) = within_bounds(walked.pages, size, started.elapsed())
            .and_then(|()| not_seen(walked.pages, &next, &mut seen))
        {
            walked.warn(bound);
            return Ok(walked);
        }
        let mut warnings = Vec::new();
        let page = reader.read(feed, &next, ask, &mut warnings).await;
        walked.take_warnings(warnings);
        let page = match page {
            Ok(page) => page,
            Err(unread) => match unread.next_page {
                Some(next) => {
                    walked.pass_over(*next);
                    continue;
                }
                None => {
                    walked.stop_at(&unread.failure.message);
                    return Ok(walked);
                }
            },
        };
        size += page.size;
        seen.insert(feed_identity(&page.final_url));
        if !walked.add(page, &mut episodes) {
            break;
        }
    }
    walked.is_complete = true;
    Ok(walked)
}

/// The episodes of the pages so far.
#[derive(Default)]
struct Episodes {
    /// Each with its guid as the publisher writes it, and its file.
    items: HashSet<(Guid, String)>,
    guids: HashSet<Guid>,
}

impl Episodes {
    fn of(episodes: &[Episode]) -> Self {
        let mut seen = Self::default();
        for episode in episodes {
            let file = file_key(&episode.enclosure.url);
            let guid = episode.id.guid.unrevised(&file);
            seen.items.insert((guid, file));
            seen.guids.insert(episode.id.guid.clone());
        }
        seen
    }

    /// Whether an episode is none of those before. Where its guid is another one's, it gets one of its
    /// own, as within a page.
    fn admits(&mut self, episode: &mut Episode) -> bool {
        let file = file_key(&episode.enclosure.url);
        let guid = episode.id.guid.unrevised(&file);
        if !self.items.insert((guid.clone(), file.clone())) {
            return false;
        }
        if !self.guids.insert(episode.id.guid.clone()) {
            episode.id.guid = guid.revised(&file);
            return self.guids.insert(episode.id.guid.clone());
        }
        true
    }
}

/// Whether another page may be read; the error is a warning in words.
fn within_bounds(pages: usize, size: usize, elapsed: Duration) -> Result<(), String> {
    let bound = if pages >= MAX_PAGES {
        format!("the feed has more than {MAX_PAGES} pages")
    } else if size >= MAX_BYTES {
        format!("the first {pages} pages have {size} bytes")
    } else if elapsed >= LONGEST_WALK {
        format!("the first {pages} pages took {} s", elapsed.as_secs())
    } else {
        return Ok(());
    };
    Err(format!("{bound}; the others were not read"))
}

/// Whether `next` is a page of its own; the error is a warning in words.
fn not_seen(pages: usize, next: &Url, seen: &mut HashSet<String>) -> Result<(), String> {
    match seen.insert(feed_identity(next)) {
        true => Ok(()),
        false => Err(format!(
            "page {pages} leads back to a page before it; paging ends there"
        )),
    }
}

impl Walked {
    fn new(first: Page, warnings: Vec<String>) -> Self {
        let mut walked = Self {
            feed: first.parsed,
            pages: 1,
            final_url: first.final_url,
            is_moved: first.is_moved,
            outage: first.outage,
            is_kept: first.record.is_some(),
            records: first.record.into_iter().collect(),
            is_complete: false,
            is_new: first.is_new,
        };
        walked.take_warnings(warnings);
        walked
    }

    pub(super) fn guids(&self) -> impl Iterator<Item = &Guid> {
        self.feed.episodes.iter().map(|episode| &episode.id.guid)
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.feed.warnings.push(warning);
    }

    /// Adds what is new on the next page, and says whether there was anything.
    fn add(&mut self, page: Page, seen: &mut Episodes) -> bool {
        self.pages += 1;
        self.is_new |= page.is_new;
        self.is_kept &= page.record.is_some();
        self.records.extend(page.record);
        if let Some(outage) = &page.outage {
            self.feed.warnings.push(format!(
                "page {} could not be read now ({}); its copy of {} is used",
                self.pages,
                outage.failure,
                outage.copy_of.format("%Y-%m-%d")
            ));
        }
        self.take_warnings(page.parsed.warnings);
        for (repair, count) in page.parsed.repairs.iter() {
            self.feed.repairs.add(repair, count);
        }
        let before = self.feed.episodes.len();
        for mut episode in page.parsed.episodes {
            if seen.admits(&mut episode) {
                self.feed.episodes.push(episode);
            }
        }
        let has_new = self.feed.episodes.len() > before;
        self.feed.next_page = page.parsed.next_page.filter(|_| has_new);
        has_new
    }

    /// Goes on behind a page of texts only, as blogs have between their episodes.
    fn pass_over(&mut self, next: Url) {
        self.pages += 1;
        self.is_kept = false;
        self.feed.next_page = Some(next);
    }

    /// Adds the episodes of another reading of the same feed that are missing here.
    pub(super) fn add_missing(&mut self, other: Vec<Episode>) {
        let mut seen = Episodes::of(&self.feed.episodes);
        for mut episode in other {
            if seen.admits(&mut episode) {
                self.feed.episodes.push(episode);
            }
        }
    }

    /// Every page of a feed has the same oddities: each is told once.
    fn take_warnings(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            if !self.feed.warnings.contains(&warning) {
                self.feed.warnings.push(warning);
            }
        }
    }

    fn stop_at(&mut self, reason: &str) {
        self.feed.warnings.push(format!(
            "page {} could not be read ({reason}); the {} episodes on the pages before it are used",
            self.pages + 1,
            self.feed.episodes.len()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_bytes_and_time_each_end_the_walk() {
        let second = Duration::from_secs(1);
        assert_eq!(
            within_bounds(MAX_PAGES - 1, MAX_BYTES - 1, LONGEST_WALK - second),
            Ok(())
        );
        let ended = |pages, size, elapsed| within_bounds(pages, size, elapsed).unwrap_err();
        assert!(ended(MAX_PAGES, 0, second).contains("more than 200 pages"));
        assert!(ended(2, MAX_BYTES, second).contains("first 2 pages have 67108864 bytes"));
        assert!(ended(2, 0, LONGEST_WALK).contains("first 2 pages took 1200 s"));
    }
}
