//! Items to episodes: which file is the audio, which guid, which date; all hints but the address.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, SubsecRound, TimeDelta, Utc};
use url::Url;

use super::date;
use super::item::{FileRole, RawFile, RawItem};
use super::media_url::{
    MediaKind, derived_guid, file_key, kind_of_type, kind_of_url, lasting_query,
};
use super::parse::FeedSource;
use super::xml::entity;
use crate::domain::{Enclosure, Episode, EpisodeId, Guid, TranscriptLink};

/// Longest title that is kept, in characters.
const MAX_TITLE: usize = 1000;

/// Longest URL that is kept, in bytes; servers refuse longer request lines.
const MAX_URL: usize = 8 * 1024;

/// Most bytes of all addresses of a feed together. A few written bytes are a long address on a long
/// base, so the size of the feed is no bound.
const MAX_ADDRESSES: usize = 128 << 20;

/// Most other renditions and most transcripts of an episode that are kept.
const MOST_LINKS: usize = 8;

/// How many items were dropped or changed, and why.
#[derive(Default)]
struct Oddities {
    no_media: usize,
    no_enclosure: usize,
    no_guid: usize,
    repeated: usize,
    revised: usize,
    no_room: usize,
}

impl Oddities {
    fn tell(&self, warnings: &mut Vec<String>) {
        for (count, what) in [
            (
                self.no_media,
                "items without an audio or video file were skipped",
            ),
            (
                self.no_enclosure,
                "items have no enclosure; another link to a media file was taken",
            ),
            (
                self.no_guid,
                "items have no usable guid; the address of their file stands for it",
            ),
            (
                self.repeated,
                "items occur twice; the first of each was kept",
            ),
            (
                self.revised,
                "items share their guid with another one; both were kept",
            ),
            (
                self.no_room,
                "items were left out: the addresses of the feed are too long altogether",
            ),
        ] {
            if count > 0 {
                warnings.push(format!("{count} {what}"));
            }
        }
    }
}

/// The episodes of all items that have a file, in feed order, each guid once.
pub(super) fn from_items(
    items: &[RawItem],
    source: &FeedSource<'_>,
    warnings: &mut Vec<String>,
) -> Vec<Episode> {
    let mut oddities = Oddities::default();
    let mut room = MAX_ADDRESSES;
    let mut chosen = Vec::new();
    for item in items {
        let Some(mut choice) = choose(item, source, &mut oddities) else {
            oddities.no_media += 1;
            continue;
        };
        if !choice.fits(&mut room) {
            oddities.no_room += 1;
            continue;
        }
        chosen.push((item, choice));
    }
    let shared = shared_paths(&chosen);
    let episodes = chosen.into_iter().filter_map(|(item, choice)| {
        let guid = own_guid(item).or_else(|| {
            oddities.no_guid += 1;
            derived(&choice.url, &shared)
        })?;
        Some(episode(item, guid, choice, source))
    });
    let episodes = episodes.collect();
    let episodes = distinct(episodes, &mut oddities);
    oddities.tell(warnings);
    episodes
}

fn own_guid(item: &RawItem) -> Option<Guid> {
    let guid = item.guid.as_ref().or(item.about.as_ref())?;
    Guid::try_new(guid).ok()
}

/// Identifiers that items without a guid would share although their addresses differ: there the query
/// says which file is meant.
fn shared_paths(chosen: &[(&RawItem, Choice)]) -> HashSet<String> {
    let mut first: HashMap<String, &Url> = HashMap::new();
    let without = chosen.iter().filter(|(item, _)| own_guid(item).is_none());
    without
        .filter_map(|(_, choice)| {
            let guid = derived_guid(&choice.url)?;
            let url = first.entry(guid.clone()).or_insert(&choice.url);
            (*url != &choice.url).then_some(guid)
        })
        .collect()
}

fn derived(url: &Url, shared: &HashSet<String>) -> Option<Guid> {
    let guid = derived_guid(url)?;
    let query = match shared.contains(&guid) && !guid.contains('?') {
        true => lasting_query(url),
        false => String::new(),
    };
    Guid::try_new(guid + &query).ok()
}

fn episode(item: &RawItem, guid: Guid, choice: Choice, source: &FeedSource<'_>) -> Episode {
    let titles = [&item.title, &item.itunes_title, &item.media_title];
    let mut titles = titles.into_iter().flatten().map(|title| clean_title(title));
    let dates = [&item.published, &item.updated].into_iter().flatten();
    let published = dates.filter_map(|text| date::parse(text)).next();
    let id = EpisodeId {
        feed_slug: source.feed.clone(),
        guid,
    };
    Episode {
        id,
        title: titles.find(|title| !title.is_empty()).unwrap_or_default(),
        published: published.and_then(|date| plausible(date, source.now)),
        duration_s: item
            .duration
            .as_deref()
            .and_then(seconds)
            .filter(|seconds| *seconds > 0),
        season: number(item.season.as_deref()),
        number: number(item.number.as_deref()),
        enclosure: choice.enclosure,
        alternates: choice.alternates,
        transcripts: choice.transcripts,
    }
}

/// Makes guids distinct. An item that repeats another's guid and file is dropped. Of items that share a
/// guid and differ in their file the oldest keeps it, so that a newer one never takes its place.
fn distinct(episodes: Vec<Episode>, oddities: &mut Oddities) -> Vec<Episode> {
    let mut files = HashSet::new();
    let mut owners: HashMap<Guid, usize> = HashMap::new();
    let mut kept: Vec<Episode> = Vec::with_capacity(episodes.len());
    for episode in episodes {
        let guid = episode.id.guid.clone();
        if !files.insert((guid.clone(), file_key(&episode.enclosure.url))) {
            oddities.repeated += 1;
            continue;
        }
        let at = kept.len();
        if let Some(owner) = owners.get_mut(&guid) {
            // Feeds list the newest first, so without dates the last one is the oldest.
            let dates = (kept[*owner].published, episode.published);
            if !matches!(dates, (Some(owner), Some(other)) if owner < other) {
                *owner = at;
            }
            oddities.revised += 1;
        } else {
            owners.insert(guid, at);
        }
        kept.push(episode);
    }
    for (at, episode) in kept.iter_mut().enumerate() {
        if owners.get(&episode.id.guid) != Some(&at) {
            episode.id.guid = episode.id.guid.revised(&file_key(&episode.enclosure.url));
        }
    }
    kept
}

/// Podcasts are younger than 1990, so an earlier date is a zero in disguise; a day of grace ahead
/// covers clocks and time zones. A wrong date would reorder the manifest, no date keeps feed order.
fn plausible(date: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let first = NaiveDate::from_ymd_opt(1990, 1, 1)?;
    let known = date.date_naive() >= first && date <= now + TimeDelta::days(1);
    known.then(|| date.trunc_subsecs(0))
}

/// The file of an item.
struct Choice {
    url: Url,
    enclosure: Enclosure,
    alternates: Vec<Enclosure>,
    transcripts: Vec<TranscriptLink>,
}

impl Choice {
    /// Takes its share of the room for addresses, without its extras where they do not fit; false
    /// where not even the file does.
    fn fits(&mut self, room: &mut usize) -> bool {
        let file = 2 * self.enclosure.url.len();
        let alternates = self.alternates.iter().map(|file| file.url.len());
        let transcripts = self.transcripts.iter().map(|link| link.url.len());
        let extras: usize = alternates.chain(transcripts).sum();
        if let Some(left) = room.checked_sub(file + extras) {
            *room = left;
            return true;
        }
        self.alternates = Vec::new();
        self.transcripts = Vec::new();
        room.checked_sub(file).map(|left| *room = left).is_some()
    }
}

/// The audio, and the other files that are audio or video, in feed order.
///
/// The first enclosure that is audio or video by type or extension; else the first of which neither
/// says; else the same of `media:content`; else the item's link, where it names a media file.
fn choose(item: &RawItem, source: &FeedSource<'_>, oddities: &mut Oddities) -> Option<Choice> {
    let files: Vec<_> = item
        .files
        .iter()
        .filter_map(|file| Some((file.role, file_of(file, source.final_url)?)))
        .collect();
    let best = |role: FileRole| {
        let of_role = || {
            files
                .iter()
                .filter(move |(is, _)| *is == role)
                .map(|(_, file)| file)
        };
        let is = |kind| of_role().find(move |(url, enclosure)| kind_of(url, enclosure) == kind);
        is(MediaKind::Media)
            .or_else(|| is(MediaKind::Unknown))
            .cloned()
    };
    let (url, enclosure) = best(FileRole::Enclosure).or_else(|| {
        let other = best(FileRole::MediaContent).or_else(|| linked_file(item, source.final_url))?;
        oddities.no_enclosure += 1;
        Some(other)
    })?;
    let others = files.into_iter().map(|(_, file)| file);
    let others =
        others.filter(|(other, file)| other != &url && kind_of(other, file) == MediaKind::Media);
    let alternates = others.map(|(_, file)| file).take(MOST_LINKS).collect();
    Some(Choice {
        url,
        enclosure,
        alternates,
        transcripts: transcripts(item, source.final_url),
    })
}

fn kind_of(url: &Url, enclosure: &Enclosure) -> MediaKind {
    let by_type = enclosure.media_type.as_deref().map(kind_of_type);
    let by_type = by_type.unwrap_or(MediaKind::Unknown);
    match (by_type, kind_of_url(url)) {
        // `audio/x-mpegurl` is a list of addresses even where its name ends in `.mp3`.
        (MediaKind::Other, _) if is_playlist(enclosure) => MediaKind::Other,
        (MediaKind::Media, _) | (_, MediaKind::Media) => MediaKind::Media,
        (MediaKind::Unknown, MediaKind::Unknown) => MediaKind::Unknown,
        _ => MediaKind::Other,
    }
}

fn is_playlist(enclosure: &Enclosure) -> bool {
    let kind = enclosure.media_type.as_deref().unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    kind.contains("mpegurl") || kind.contains("scpls")
}

fn file_of(file: &RawFile, base: &Url) -> Option<(Url, Enclosure)> {
    let url = absolute(&file.url, base)?;
    let enclosure = Enclosure {
        url: url.to_string(),
        media_type: short(file.media_type.as_deref()),
        length: file.length.as_deref().and_then(length),
    };
    Some((url, enclosure))
}

fn linked_file(item: &RawItem, base: &Url) -> Option<(Url, Enclosure)> {
    let url = absolute(item.link.as_deref()?, base)?;
    let enclosure = Enclosure {
        url: url.to_string(),
        media_type: None,
        length: None,
    };
    (kind_of_url(&url) == MediaKind::Media).then_some((url, enclosure))
}

/// A size in bytes; separators of thousands are passed over, zero and nonsense are no size.
fn length(text: &str) -> Option<u64> {
    let digits: String = text
        .chars()
        .filter(|c| !matches!(c, ',' | '.' | ' ' | '\''))
        .collect();
    digits.parse().ok().filter(|length| *length > 0)
}

fn short(text: Option<&str>) -> Option<String> {
    let text = text.map(str::trim)?;
    (!text.is_empty() && text.len() <= 100).then(|| text.to_owned())
}

fn transcripts(item: &RawItem, base: &Url) -> Vec<TranscriptLink> {
    let links = item.transcripts.iter().filter_map(|link| {
        Some(TranscriptLink {
            url: absolute(&link.url, base)?.to_string(),
            media_type: short(link.media_type.as_deref()),
            language: short(link.language.as_deref()),
        })
    });
    links.take(MOST_LINKS).collect()
}

/// A season's or episode's number, if it is a whole one.
fn number(text: Option<&str>) -> Option<u32> {
    text?.trim().parse().ok()
}

/// `H:M:S`, `M:S` or `S`, the last part with an optional fraction, in seconds.
fn seconds(text: &str) -> Option<u32> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    parts
        .iter()
        .enumerate()
        .try_fold(0_u32, |total, (at, part)| {
            let last = at + 1 == parts.len();
            let whole = if last {
                part.split(['.', ',']).next()?
            } else {
                part
            };
            let number = whole.trim().parse().ok()?;
            total.checked_mul(60)?.checked_add(number)
        })
}

/// The web address that `url` means on `base`, without its fragment.
pub(super) fn absolute(url: &str, base: &Url) -> Option<Url> {
    let mut url = base.join(url.trim()).ok()?;
    url.set_fragment(None);
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (web && url.as_str().len() <= MAX_URL).then_some(url)
}

/// One line of plain text: white space collapsed, at most [`MAX_TITLE`] long, without control characters
/// and without those that turn the direction of the text around them. References that are left are
/// resolved: titles in CDATA often hold them.
pub(super) fn clean_title(text: &str) -> String {
    let (text, _) = entity::decode(text);
    let text: String = text
        .chars()
        .filter(|c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_TITLE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_053_durations_are_read_or_left_out() {
        for (text, expected) in [
            ("3600", Some(3600)),
            ("45:30", Some(2730)),
            ("1:02:03", Some(3723)),
            ("3600.5", Some(3600)),
            ("1:2:3:4", None),
            ("-5", None),
            ("99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
    }

    #[test]
    fn case_046_lengths_are_hints() {
        for (text, expected) in [
            ("12345", Some(12345)),
            ("12,345", Some(12345)),
            ("0", None),
            ("-1", None),
            ("unknown", None),
            ("99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(length(text), expected, "{text:?}");
        }
    }
}
