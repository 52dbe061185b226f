//! Feeds that moved: what to tell, and whom to believe.

use std::collections::HashSet;

use super::paging::Walked;
use super::parse::ParsedFeed;
use crate::domain::Guid;

/// Whether `new` is the show of `old`: at least four of five episodes of `old` are in `new`, or both
/// carry the same `podcast:guid` and `new` has about as many. Different `podcast:guid`s settle it too;
/// publishers who move keep theirs.
pub(super) fn is_same_show(old: &Walked, new: &Walked) -> bool {
    match (podcast_guid(&old.feed), podcast_guid(&new.feed)) {
        (Some(is), Some(should)) if is != should => false,
        (Some(_), Some(_)) => {
            has_most_of(&old.feed, new) || is_most(new.guids().count(), old.guids().count())
        }
        _ => has_most_of(&old.feed, new),
    }
}

/// Whether at least four of five episodes of `old` are in `new` by their guid.
pub(super) fn has_most_of(old: &ParsedFeed, new: &Walked) -> bool {
    let new: HashSet<&Guid> = new.guids().collect();
    let guids = old.episodes.iter().map(|episode| &episode.id.guid);
    let kept = guids.filter(|guid| new.contains(guid)).count();
    is_most(kept, old.episodes.len())
}

fn is_most(part: usize, whole: usize) -> bool {
    whole > 0 && part * 5 >= whole * 4
}

fn podcast_guid(feed: &ParsedFeed) -> Option<String> {
    let guid = feed.podcast_guid.as_deref()?.trim().to_ascii_lowercase();
    (!guid.is_empty()).then_some(guid)
}
