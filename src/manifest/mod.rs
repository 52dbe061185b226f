//! What we intend to have: manifest rows, their order, CSV in and out.
//!
//! A manifest lists episodes in the order in which they are worth having, so that a limit is a
//! sample: by tier, then the newest episode of every feed, then the second of every feed, and so on.
//! Fifty episodes of a catalog of fifty shows are one of each, spread over their hosts.

pub mod csv;
pub mod file;
pub mod identity;
pub mod store;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::num::NonZeroU32;

use crate::domain::{Episode, EpisodeId, FeedSlug, Guid};
use crate::feeds::CrawledFeed;

pub use csv::{CsvError, ManifestReader, write_manifest};
pub use file::ManifestFile;
pub use identity::{Identities, IdentityError};
pub use store::{ManifestStoreError, StoredManifest, store_manifest, write_file};

/// Tier of a row that names none.
pub const DEFAULT_TIER: u32 = 1;

/// One episode that we intend to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRow {
    /// The episode as its feed describes it.
    pub episode: Episode,
    /// A lower tier comes first.
    pub tier: u32,
}

/// Episodes in working order, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    rows: Vec<ManifestRow>,
}

/// The episodes of one feed, in feed order.
#[derive(Debug, Clone)]
pub struct FeedEpisodes {
    /// Of which feed.
    pub feed: FeedSlug,
    /// The feed's tier.
    pub tier: u32,
    /// Take only the newest so many.
    pub max_episodes: Option<NonZeroU32>,
    /// The episodes.
    pub episodes: Vec<Episode>,
}

impl FeedEpisodes {
    /// What a crawl brought, or `None` where the feed could not be read.
    pub fn from_crawl(crawled: CrawledFeed) -> Option<Self> {
        let episodes = crawled.outcome.ok()?.episodes;
        Some(Self {
            feed: crawled.entry.slug,
            tier: crawled.entry.tier,
            max_episodes: crawled.entry.max_episodes,
            episodes,
        })
    }
}

impl Manifest {
    /// The episodes of every feed that could be read.
    pub fn from_crawl(feeds: impl IntoIterator<Item = CrawledFeed>) -> Self {
        Self::from_feeds(feeds.into_iter().filter_map(FeedEpisodes::from_crawl))
    }

    /// Orders the episodes of all feeds; the order in which the feeds are given does not matter.
    ///
    /// Within a feed the newest comes first, equal dates by guid. An episode without a date stays
    /// behind the one it follows in its feed, so a feed without dates keeps its order. Across feeds:
    /// tier, then rank within the feed, then slug.
    pub fn from_feeds(feeds: impl IntoIterator<Item = FeedEpisodes>) -> Self {
        let mut ranked = Vec::new();
        for feed in feeds {
            let newest = newest_first(feed.episodes);
            let limit = feed
                .max_episodes
                .map_or(usize::MAX, |most| most.get() as usize);
            ranked.extend(
                newest
                    .into_iter()
                    .take(limit)
                    .enumerate()
                    .map(|(rank, episode)| {
                        let tier = feed.tier;
                        (rank, ManifestRow { episode, tier })
                    }),
            );
        }
        ranked.sort_by(|(a_rank, a), (b_rank, b)| order(a, *a_rank).cmp(&order(b, *b_rank)));
        let mut seen = HashSet::new();
        ranked.retain(|(_, row)| seen.insert(row.episode.id.clone()));
        Self {
            rows: ranked.into_iter().map(|(_, row)| row).collect(),
        }
    }

    /// Takes rows in the order they are in, dropping repeats.
    pub fn from_rows(rows: impl IntoIterator<Item = ManifestRow>) -> Self {
        let mut seen = HashSet::<EpisodeId>::new();
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.retain(|row| seen.insert(row.episode.id.clone()));
        Self { rows }
    }

    /// Keeps the first `limit` rows.
    #[must_use]
    pub fn limited(mut self, limit: Option<usize>) -> Self {
        self.rows.truncate(limit.unwrap_or(usize::MAX));
        self
    }

    /// The rows in order.
    pub fn rows(&self) -> &[ManifestRow] {
        &self.rows
    }

    /// The rows in order, given away.
    pub fn into_rows(self) -> Vec<ManifestRow> {
        self.rows
    }
}

fn order(row: &ManifestRow, rank: usize) -> (u32, usize, &FeedSlug, &Guid) {
    let id = &row.episode.id;
    (row.tier, rank, &id.feed_slug, &id.guid)
}

/// Each run of undated episodes travels with the dated one before it; a run at the top stays there.
fn newest_first(episodes: Vec<Episode>) -> Vec<Episode> {
    let mut top = Vec::new();
    let mut runs: Vec<Vec<Episode>> = Vec::new();
    for episode in episodes {
        match (episode.published, runs.last_mut()) {
            (Some(_), _) => runs.push(vec![episode]),
            (None, Some(run)) => run.push(episode),
            (None, None) => top.push(episode),
        }
    }
    runs.sort_by_cached_key(|run| (Reverse(run[0].published), run[0].id.guid.clone()));
    top.into_iter().chain(runs.into_iter().flatten()).collect()
}

/// An episode for tests: no more than identity, date and address.
#[cfg(test)]
fn episode_for_test(feed: &str, guid: &str, day: Option<u32>) -> Episode {
    use chrono::{TimeZone, Utc};
    Episode {
        id: EpisodeId {
            feed_slug: FeedSlug::try_new(feed).unwrap(),
            guid: Guid::try_new(guid).unwrap(),
        },
        title: String::new(),
        published: day.map(|day| Utc.with_ymd_and_hms(2026, 1, day, 0, 0, 0).unwrap()),
        duration_s: None,
        season: None,
        number: None,
        enclosure: crate::domain::Enclosure {
            url: format!("https://{feed}.example.com/{guid}.mp3"),
            media_type: None,
            length: None,
        },
        alternates: Vec::new(),
        transcripts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(slug: &str, tier: u32, days: &[Option<u32>]) -> FeedEpisodes {
        let episodes = days.iter().enumerate();
        let episode =
            |(at, day): (usize, &Option<u32>)| episode_for_test(slug, &format!("g{at}"), *day);
        FeedEpisodes {
            feed: FeedSlug::try_new(slug).unwrap(),
            tier,
            max_episodes: None,
            episodes: episodes.map(episode).collect(),
        }
    }

    fn names(manifest: &Manifest) -> Vec<String> {
        let rows = manifest.rows().iter();
        rows.map(|row| row.episode.id.to_string()).collect()
    }

    #[test]
    fn a_small_limit_samples_every_feed_of_the_first_tier() {
        let manifest = Manifest::from_feeds([
            feed("c", 2, &[Some(9)]),
            feed("b", 1, &[Some(1), Some(3), Some(2)]),
            feed("a", 1, &[Some(5), Some(4)]),
        ]);
        let order = ["a/g0", "b/g1", "a/g1", "b/g2", "b/g0", "c/g0"];
        assert_eq!(names(&manifest), order);
        assert_eq!(names(&manifest.limited(Some(2))), order[..2]);
    }

    #[test]
    fn undated_episodes_stay_behind_their_neighbour() {
        let undated = feed("a", 1, &[None, None, None]);
        assert_eq!(
            names(&Manifest::from_feeds([undated])),
            ["a/g0", "a/g1", "a/g2"]
        );
        let mixed = feed("a", 1, &[None, Some(1), None, Some(2), None]);
        assert_eq!(
            names(&Manifest::from_feeds([mixed])),
            ["a/g0", "a/g3", "a/g4", "a/g1", "a/g2"]
        );
    }

    #[test]
    fn a_feed_gives_at_most_its_newest() {
        let mut capped = feed("a", 1, &[Some(1), Some(2), Some(3)]);
        capped.max_episodes = NonZeroU32::new(2);
        assert_eq!(names(&Manifest::from_feeds([capped])), ["a/g2", "a/g1"]);
    }

    fn any_feeds() -> impl Strategy<Value = Vec<FeedEpisodes>> {
        let days = prop::collection::vec(prop::option::of(1_u32..28), 0..6);
        prop::collection::vec((1_u32..4, days), 0..6).prop_map(|feeds| {
            let named = feeds.into_iter().enumerate();
            named
                .map(|(at, (tier, days))| feed(&format!("f{at}"), tier, &days))
                .collect()
        })
    }

    fn any_dated_feeds() -> impl Strategy<Value = Vec<FeedEpisodes>> {
        any_feeds().prop_map(|mut feeds| {
            for feed in &mut feeds {
                feed.episodes.retain(|episode| episode.published.is_some());
            }
            feeds
        })
    }

    proptest! {
        #[test]
        fn the_order_of_the_feeds_does_not_matter(
            (feeds, shuffled) in any_feeds().prop_flat_map(|feeds| (Just(feeds.clone()), Just(feeds).prop_shuffle()))
        ) {
            prop_assert_eq!(Manifest::from_feeds(feeds), Manifest::from_feeds(shuffled));
        }

        #[test]
        fn the_order_within_a_dated_feed_does_not_matter(feeds in any_dated_feeds()) {
            let mut turned = feeds.clone();
            for feed in &mut turned {
                feed.episodes.reverse();
            }
            prop_assert_eq!(Manifest::from_feeds(feeds), Manifest::from_feeds(turned));
        }

        #[test]
        fn nothing_is_lost_and_repeats_are_merged(feeds in any_feeds()) {
            let all: usize = feeds.iter().map(|feed| feed.episodes.len()).sum();
            let twice = feeds.iter().chain(&feeds).cloned();
            prop_assert_eq!(Manifest::from_feeds(twice).rows().len(), all);
        }
    }
}
