//! What is left to do: the manifest minus what is there, at most so many.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use url::Url;

use super::ManifestRow;
use crate::domain::{EpisodeId, FeedSlug};
use crate::feeds::media_url::serving_host;

/// What a run will do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Episodes to work on, in manifest order.
    pub todo: Vec<ManifestRow>,
    /// Episodes of the manifest that are there already.
    pub already_done: usize,
    /// Episodes that are left for a later run by the limit.
    pub beyond_limit: usize,
    /// By feed, in the order of their names.
    pub feeds: Vec<FeedSummary>,
    /// By the host that probably serves the files, the busiest first.
    pub hosts: Vec<HostSummary>,
}

impl Plan {
    /// The size of what is to be done as the feeds claim it.
    pub fn claimed(&self) -> Claimed {
        let claimed = |mut sum: Claimed, row: &ManifestRow| {
            sum.add(row);
            sum
        };
        self.todo.iter().fold(Claimed::default(), claimed)
    }
}

/// Sizes as feeds claim them. Some claim none, and some lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claimed {
    /// Sum over the episodes that claim a size.
    pub bytes: u64,
    /// Episodes that claim none.
    pub unknown: usize,
}

impl Claimed {
    fn add(&mut self, row: &ManifestRow) {
        match row.episode.enclosure.length {
            Some(length) => self.bytes = self.bytes.saturating_add(length),
            None => self.unknown += 1,
        }
    }
}

/// One feed's share of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSummary {
    /// Which.
    pub feed: FeedSlug,
    /// Episodes to work on.
    pub todo: usize,
    /// Episodes that are there already.
    pub already_done: usize,
    /// Episodes left for a later run.
    pub beyond_limit: usize,
    /// Size of the episodes to work on.
    pub claimed: Claimed,
}

/// One host's share of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSummary {
    /// Which; see [`serving_host`].
    pub host: String,
    /// Episodes to work on.
    pub todo: usize,
    /// Their size.
    pub claimed: Claimed,
}

/// Plans a run over `rows`.
///
/// `limit` caps the episodes that this run works on, not the rows it looks at: a second run with the
/// same limit goes on with the next ones. `is_present` says whether an episode is done; it is asked once
/// for each row, in order.
pub fn plan(
    rows: impl IntoIterator<Item = ManifestRow>,
    limit: Option<usize>,
    mut is_present: impl FnMut(&EpisodeId) -> bool,
) -> Plan {
    let limit = limit.unwrap_or(usize::MAX);
    let mut plan = Plan::default();
    let mut feeds = BTreeMap::new();
    let mut hosts = BTreeMap::new();
    for row in rows {
        let feed = feed_entry(&mut feeds, &row.episode.id.feed_slug);
        if is_present(&row.episode.id) {
            plan.already_done += 1;
            feed.already_done += 1;
        } else if plan.todo.len() >= limit {
            plan.beyond_limit += 1;
            feed.beyond_limit += 1;
        } else {
            feed.todo += 1;
            feed.claimed.add(&row);
            let host = host_entry(&mut hosts, &row.episode.enclosure.url);
            host.todo += 1;
            host.claimed.add(&row);
            plan.todo.push(row);
        }
    }
    plan.feeds = feeds.into_values().collect();
    plan.hosts = hosts.into_values().collect();
    plan.hosts.sort_by_key(|host| std::cmp::Reverse(host.todo));
    plan
}

fn feed_entry<'a>(
    feeds: &'a mut BTreeMap<FeedSlug, FeedSummary>,
    feed: &FeedSlug,
) -> &'a mut FeedSummary {
    feeds.entry(feed.clone()).or_insert_with(|| FeedSummary {
        feed: feed.clone(),
        todo: 0,
        already_done: 0,
        beyond_limit: 0,
        claimed: Claimed::default(),
    })
}

fn host_entry<'a>(hosts: &'a mut BTreeMap<String, HostSummary>, url: &str) -> &'a mut HostSummary {
    let host = Url::parse(url).ok().and_then(|url| serving_host(&url));
    match hosts.entry(host.unwrap_or_default()) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let host = entry.key().clone();
            entry.insert(HostSummary {
                host,
                todo: 0,
                claimed: Claimed::default(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::manifest::episode_for_test;

    fn rows(names: &[&str]) -> Vec<ManifestRow> {
        let row = |name: &&str| {
            let (feed, guid) = name.split_once('/').unwrap();
            let mut episode = episode_for_test(feed, guid, None);
            episode.enclosure.length = guid.parse().ok();
            ManifestRow { episode, tier: 1 }
        };
        names.iter().map(row).collect()
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.todo
            .iter()
            .map(|row| row.episode.id.to_string())
            .collect()
    }

    #[test]
    fn a_second_run_with_the_same_limit_goes_on() {
        let all = rows(&["a/1", "b/2", "a/3", "b/x", "a/5"]);
        let mut done = HashSet::new();
        let mut runs = Vec::new();
        loop {
            let plan = plan(all.clone(), Some(2), |id| done.contains(id));
            if plan.todo.is_empty() {
                break;
            }
            assert_eq!(
                plan.todo.len() + plan.already_done + plan.beyond_limit,
                all.len()
            );
            runs.push(names(&plan));
            done.extend(plan.todo.into_iter().map(|row| row.episode.id));
        }
        assert_eq!(runs, [vec!["a/1", "b/2"], vec!["a/3", "b/x"], vec!["a/5"]]);
    }

    #[test]
    fn summaries_count_what_will_be_done() {
        let mut rows = rows(&["b/100", "a/7", "b/x", "b/9", "b/50"]);
        rows[1].episode.enclosure.url = "https://pdst.fm/e/b.example.com/7.mp3".to_owned();
        let plan = plan(rows, Some(3), |id| id.guid.as_str() == "9");
        let b = &plan.feeds[1];
        assert_eq!((b.todo, b.already_done, b.beyond_limit), (2, 1, 1));
        assert_eq!(
            b.claimed,
            Claimed {
                bytes: 100,
                unknown: 1
            }
        );
        let expected = HostSummary {
            host: "b.example.com".to_owned(),
            todo: 3,
            claimed: Claimed {
                bytes: 107,
                unknown: 1,
            },
        };
        assert_eq!(plan.hosts, [expected]);
        assert_eq!(plan.claimed(), plan.hosts[0].claimed);
    }

    #[test]
    fn no_limit_means_all_and_zero_means_none() {
        let all = rows(&["a/1", "a/2"]);
        assert_eq!(plan(all.clone(), None, |_| false).todo.len(), 2);
        assert_eq!(plan(all, Some(0), |_| false).beyond_limit, 2);
    }
}
