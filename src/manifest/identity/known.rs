//! The pure part: one look at a feed matched with what is known of it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{Episode, Guid};
use crate::feeds::media_url::file_key;

/// Most other guids, and most files, that are remembered of an episode: the latest.
const MOST_TRACES: usize = 8;

/// How far two claims about one episode's length may differ, in seconds: advertisements come and go.
const LENGTH_TOLERANCE_S: u32 = 60;

/// How far two dates of one episode may lie apart.
const DATE_TOLERANCE: TimeDelta = TimeDelta::minutes(10);

/// What is remembered of a feed's episodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KnownEpisodes {
    /// `podcast:guid`, as last seen.
    #[serde(default)]
    pub podcast_guid: Option<String>,
    episodes: Vec<KnownEpisode>,
}

/// What is remembered of an episode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownEpisode {
    /// The guid that it is stored under.
    guid: Guid,
    /// Other guids that it had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<Guid>,
    /// Where its file was, without what changes from day to day.
    files: Vec<String>,
    /// Its title in lower case, letters and digits only.
    title: String,
    published: Option<DateTime<Utc>>,
    duration_s: Option<u32>,
    length: Option<u64>,
}

/// A look at a feed, with the guids that its episodes are stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// In feed order, each guid once.
    pub episodes: Vec<Episode>,
    /// Guids that were found to be other names of known episodes.
    pub aliases: usize,
    /// Guids that were found to be used again for another episode.
    pub revisions: usize,
}

impl KnownEpisodes {
    /// Matches a look at the feed, whose guids are distinct, and remembers it.
    pub fn settle(&mut self, look: Vec<Episode>) -> Settled {
        let mut matching = Matching::new(self, &look);
        let mut guids: Vec<Option<Guid>> = vec![None; look.len()];
        // Those whose guid is known come first, its own before its aliases: nobody else may take their
        // place.
        for aliases in [false, true] {
            for (at, episode) in look.iter().enumerate() {
                if guids[at].is_none() && matching.is_alias(episode) == Some(aliases) {
                    guids[at] = matching.by_guid(episode);
                }
            }
        }
        for (at, episode) in look.iter().enumerate() {
            if guids[at].is_none() {
                guids[at] = Some(matching.without_guid(episode));
            }
        }
        let (aliases, revisions) = (matching.aliases, matching.revisions);
        let episodes = look.into_iter().zip(guids).map(|(mut episode, guid)| {
            if let Some(guid) = guid {
                episode.id.guid = guid;
            }
            episode
        });
        let mut seen = HashSet::new();
        let episodes = episodes.filter(|episode| seen.insert(episode.id.guid.clone()));
        Settled {
            episodes: episodes.collect(),
            aliases,
            revisions,
        }
    }

    /// How many of these episodes are known by their guid, of all.
    pub(super) fn overlap(&self, look: &[Episode]) -> (usize, usize) {
        let known: HashSet<&Guid> = self.episodes.iter().flat_map(KnownEpisode::guids).collect();
        let found = look
            .iter()
            .filter(|episode| known.contains(&episode.id.guid));
        (found.count(), look.len())
    }
}

/// What the publisher adds to a title without making it another one.
fn folded(title: &str) -> String {
    let letters = title.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).take(200).collect()
}

fn file_of(episode: &Episode) -> String {
    file_key(&episode.enclosure.url)
}

impl KnownEpisode {
    fn new(guid: Guid, episode: &Episode) -> Self {
        Self {
            guid,
            aliases: Vec::new(),
            files: vec![file_of(episode)],
            title: folded(&episode.title),
            published: episode.published,
            duration_s: episode.duration_s,
            length: episode.enclosure.length,
        }
    }

    fn guids(&self) -> impl Iterator<Item = &Guid> {
        std::iter::once(&self.guid).chain(&self.aliases)
    }

    /// Whether the feed now says something else about everything that tells episodes apart. A size that
    /// is not given is stood in for by title and duration.
    fn is_another(&self, episode: &Episode) -> bool {
        let differ = |a: Option<u64>, b: Option<u64>| a.zip(b).is_some_and(|(a, b)| a != b);
        let sizes = (self.length, episode.enclosure.length);
        let is_other_size = match sizes {
            (Some(then), Some(now)) => then != now,
            _ => {
                self.title != folded(&episode.title)
                    || differ(
                        self.duration_s.map(u64::from),
                        episode.duration_s.map(u64::from),
                    )
            }
        };
        let seconds =
            |date: Option<DateTime<Utc>>| date.map(|date| date.timestamp().unsigned_abs());
        differ(seconds(self.published), seconds(episode.published))
            && is_other_size
            && !self.files.contains(&file_of(episode))
    }

    /// Whether an item with another guid and the same file may be this episode. A file that never
    /// changes its name (`latest.mp3`) is a new episode every day: then the date is another one, and
    /// so is the title or the size.
    fn may_be(&self, episode: &Episode) -> bool {
        let same = |a: Option<u64>, b: Option<u64>| a.zip(b).is_some_and(|(a, b)| a == b);
        let is_same_time = self
            .published
            .zip(episode.published)
            .is_some_and(|(then, now)| (then - now).abs() <= DATE_TOLERANCE);
        let is_same_title = !self.title.is_empty() && self.title == folded(&episode.title);
        let is_same_size = same(self.length, episode.enclosure.length)
            || same(
                self.duration_s.map(u64::from),
                episode.duration_s.map(u64::from),
            );
        is_same_time || (is_same_title && is_same_size)
    }

    /// Remembers that it is found under the item's guid too.
    fn is_called(&mut self, guid: &Guid) {
        if guid != &self.guid {
            remember(&mut self.aliases, guid.clone());
        }
    }

    /// Remembers what the feed says of it now.
    fn update(&mut self, episode: &Episode) {
        remember(&mut self.files, file_of(episode));
        self.title = folded(&episode.title);
        self.published = episode.published.or(self.published);
        self.duration_s = episode.duration_s.or(self.duration_s);
        self.length = episode.enclosure.length.or(self.length);
    }
}

/// Puts `trace` last and forgets the first of too many.
fn remember<T: PartialEq>(traces: &mut Vec<T>, trace: T) {
    if traces.last() == Some(&trace) {
        return;
    }
    traces.retain(|known| known != &trace);
    traces.push(trace);
    let surplus = traces.len().saturating_sub(MOST_TRACES);
    traces.drain(..surplus);
}

/// Look-ups for one look. A key that two share finds neither.
struct Matching<'a> {
    known: &'a mut Vec<KnownEpisode>,
    by_guid: HashMap<Guid, usize>,
    by_file: HashMap<String, Option<usize>>,
    by_date: HashMap<(String, DateTime<Utc>), Option<usize>>,
    /// Files that several items of the look share.
    shared_files: HashSet<String>,
    /// Known episodes that an item of the look was found to be.
    matched: HashSet<usize>,
    aliases: usize,
    revisions: usize,
}

impl<'a> Matching<'a> {
    fn new(known: &'a mut KnownEpisodes, look: &[Episode]) -> Self {
        let known = &mut known.episodes;
        let mut by_guid = HashMap::new();
        let mut by_file = HashMap::new();
        let mut by_date = HashMap::new();
        for (at, episode) in known.iter().enumerate() {
            for guid in episode.guids() {
                by_guid.entry(guid.clone()).or_insert(at);
            }
            for file in &episode.files {
                unique(&mut by_file, file.clone(), at);
            }
            if let Some(date) = episode.published.filter(|_| !episode.title.is_empty()) {
                unique(&mut by_date, (episode.title.clone(), date), at);
            }
        }
        let mut files = HashSet::new();
        let shared = look
            .iter()
            .map(file_of)
            .filter(|file| !files.insert(file.clone()));
        let shared_files = shared.collect();
        Self {
            known,
            by_guid,
            by_file,
            by_date,
            shared_files,
            matched: HashSet::new(),
            aliases: 0,
            revisions: 0,
        }
    }

    /// Whether an item's guid is another name of a known episode; `None` where it is unknown.
    fn is_alias(&self, episode: &Episode) -> Option<bool> {
        let guid = &episode.id.guid;
        let at = self.by_guid.get(guid)?;
        Some(&self.known[*at].guid != guid)
    }

    /// The stored guid of an item whose guid is known.
    fn by_guid(&mut self, episode: &Episode) -> Option<Guid> {
        let guid = &episode.id.guid;
        let at = *self.by_guid.get(guid)?;
        if let Some(revision) = self.revision(at, episode) {
            return Some(revision);
        }
        if !self.matched.insert(at) {
            // The feed has both, so they were two episodes all along.
            self.known[at].aliases.retain(|alias| alias != guid);
            self.add(guid.clone(), episode);
            return Some(guid.clone());
        }
        Some(self.found(at, episode))
    }

    /// The item is the known episode, under whatever guid it comes now.
    fn found(&mut self, at: usize, episode: &Episode) -> Guid {
        let known = &mut self.known[at];
        known.is_called(&episode.id.guid);
        known.update(episode);
        known.guid.clone()
    }

    /// Where the guid is used again: the revision that has this file, or a new one.
    fn revision(&mut self, at: usize, episode: &Episode) -> Option<Guid> {
        let guid = episode.id.guid.revised(&file_of(episode));
        match self.by_guid.get(&guid).copied() {
            // The mark of its own file: another name of the same episode, from a look in which a
            // second item had its guid.
            Some(known) if known == at => None,
            Some(known) => {
                self.matched.insert(known);
                self.known[known].update(episode);
                Some(self.known[known].guid.clone())
            }
            None if self.known[at].is_another(episode) => {
                self.revisions += 1;
                self.add(guid.clone(), episode);
                Some(guid)
            }
            None => None,
        }
    }

    /// The stored guid of an item whose guid is unknown.
    fn without_guid(&mut self, episode: &Episode) -> Guid {
        let found = self.by_file(episode).or_else(|| self.by_date(episode));
        let Some(at) = found.filter(|at| !self.matched.contains(at)) else {
            let guid = episode.id.guid.clone();
            self.add(guid.clone(), episode);
            return guid;
        };
        self.aliases += 1;
        self.matched.insert(at);
        self.found(at, episode)
    }

    fn by_file(&self, episode: &Episode) -> Option<usize> {
        let file = file_of(episode);
        if self.shared_files.contains(&file) {
            return None;
        }
        let at = self.by_file.get(&file).copied().flatten()?;
        self.known[at].may_be(episode).then_some(at)
    }

    /// By title and date, which a show keeps when it moves; two bulletins of one day differ in the time.
    fn by_date(&self, episode: &Episode) -> Option<usize> {
        let key = (folded(&episode.title), episode.published?);
        let at = self.by_date.get(&key).copied().flatten()?;
        let (then, now) = (self.known[at].duration_s?, episode.duration_s?);
        (then.abs_diff(now) <= LENGTH_TOLERANCE_S).then_some(at)
    }

    fn add(&mut self, guid: Guid, episode: &Episode) {
        let at = self.known.len();
        self.known.push(KnownEpisode::new(guid.clone(), episode));
        self.by_guid.insert(guid, at);
        self.matched.insert(at);
    }
}

fn unique<K: Eq + std::hash::Hash>(map: &mut HashMap<K, Option<usize>>, key: K, at: usize) {
    map.entry(key)
        .and_modify(|known| {
            if *known != Some(at) {
                *known = None;
            }
        })
        .or_insert(Some(at));
}

#[cfg(test)]
mod tests;
