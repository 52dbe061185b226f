//! Feeds that moved: what to tell, and whom to believe.

use std::collections::HashSet;

use super::paging::Walked;
use super::parse::ParsedFeed;
use crate::domain::Guid;

/// Whether `new` is the show of `old`: they carry the same `podcast:guid`, or at least four of five
/// episodes of `old` are in `new`. Different `podcast:guid`s settle it too; publishers who move keep
/// theirs.
pub(super) fn is_same_show(old: &Walked, new: &Walked) -> bool {
    match (podcast_guid(&old.feed), podcast_guid(&new.feed)) {
        (Some(old), Some(new)) => old == new,
        _ => {
            let new: HashSet<&Guid> = new.guids().collect();
            let total = old.guids().count();
            let kept = old.guids().filter(|guid| new.contains(guid)).count();
            total > 0 && kept * 5 >= total * 4
        }
    }
}

fn podcast_guid(feed: &ParsedFeed) -> Option<String> {
    let guid = feed.podcast_guid.as_deref()?.trim().to_ascii_lowercase();
    (!guid.is_empty()).then_some(guid)
}
