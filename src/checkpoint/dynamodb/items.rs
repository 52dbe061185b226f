//! Records as items, and items, which may hold anything, as records.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use sha2::{Digest, Sha256};

use crate::checkpoint::{FailureNote, Record, State, Subject};
use crate::domain::{EpisodeId, FailureClass, FeedSlug, Guid, OwnerId, StageName};
use crate::runtime::aws::dynamodb::{
    Attributes, Fields, IndexDefinition, Item, Problem, TableDefinition,
};

pub(super) const TABLE: TableDefinition = TableDefinition {
    partition_key: "pk",
    sort_key: Some("sk"),
    indexes: &[INDEX],
    time_to_live: None,
};
pub(super) const INDEX: IndexDefinition = IndexDefinition {
    name: "by_state",
    partition_key: "list_pk",
    sort_key: "list_sk",
};

/// Partitions of the index for each stage and state.
pub(super) const SHARDS: u8 = 4;
/// Bytes of a guid that stand in a sort key, which may have 1,024 in all.
const GUID_IN_KEY: usize = 800;
/// Bytes of a failure's message that are kept: an item may have 400 KiB, a list reads many.
const MAX_MESSAGE: usize = 4 * 1024;

/// The key of the subject's item.
pub(super) fn key(subject: &Subject) -> Item {
    with_key(subject).into_item()
}

fn with_key(subject: &Subject) -> Attributes {
    let episode = &subject.episode;
    let pk = format!("ep#{}#{}", episode.feed_slug, hash(episode.guid.as_str()));
    Attributes::new()
        .text("pk", pk)
        .text("sk", subject.stage.as_str())
}

/// 128 bits of SHA-256 in hexadecimal: nobody finds two guids that share them.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The index partition `shard` of a stage's state.
pub(super) fn partition(stage: StageName, state: State, shard: u8) -> String {
    format!("{stage}#{}#{shard}", state.as_str())
}

fn shard(episode: &EpisodeId) -> u8 {
    Sha256::digest(episode.guid.as_str().as_bytes())[31] % SHARDS
}

/// The episode's place in a list. Sorts as feed and guid do: `#` comes before all that a slug holds.
pub(super) fn sort_key(episode: &EpisodeId) -> String {
    let (feed, guid) = (&episode.feed_slug, episode.guid.as_str());
    if guid.len() <= GUID_IN_KEY {
        return format!("{feed}#{guid}");
    }
    let start = &guid[..guid.floor_char_boundary(GUID_IN_KEY)];
    format!("{feed}#{start}#{}", hash(guid))
}

/// The bounds of a feed's sort keys, both included; of all where no feed is given.
pub(super) fn sort_keys(feed: Option<&FeedSlug>) -> (String, String) {
    match feed {
        // `$` follows `#`, and no slug holds it.
        Some(feed) => (format!("{feed}#"), format!("{feed}$")),
        // Slugs begin with a digit or a letter.
        None => ("#".to_owned(), "~".to_owned()),
    }
}

pub(super) fn item(record: &Record) -> Item {
    let Subject { stage, episode } = &record.subject;
    let failure = record.failure.as_ref();
    let message = failure.map(|note| {
        let end = note.message.floor_char_boundary(MAX_MESSAGE);
        &note.message[..end]
    });
    with_key(&record.subject)
        .text(
            INDEX.partition_key,
            partition(*stage, record.state, shard(episode)),
        )
        .text(INDEX.sort_key, sort_key(episode))
        .text("feed_slug", episode.feed_slug.as_str())
        .text("guid", episode.guid.as_str())
        .text("state", record.state.as_str())
        .number("failures", record.failures)
        .number("token", record.token)
        .optional_text("owner", record.owner.as_ref().map(OwnerId::as_str))
        .optional_time("until_us", record.until)
        .optional_text("failure_class", failure.map(|note| note.class.as_str()))
        .optional_text("failure_message", message)
        .time("updated_us", record.updated_at)
        .into_item()
}

pub(super) fn record(fields: Fields<'_>) -> Result<Record, Problem> {
    Ok(Record {
        subject: Subject {
            stage: fields.text("sk")?.parse()?,
            episode: EpisodeId {
                feed_slug: feed(fields)?,
                guid: Guid::try_new(fields.text("guid")?)?,
            },
        },
        state: state(fields.text("state")?)?,
        failures: fields.number("failures")?,
        token: fields.number("token")?,
        owner: fields.optional_text("owner")?.map(OwnerId::from_stored),
        until: fields.optional_time("until_us")?,
        failure: failure(fields)?,
        updated_at: fields.time("updated_us")?,
    })
}

pub(super) fn feed(fields: Fields<'_>) -> Result<FeedSlug, Problem> {
    Ok(FeedSlug::try_new(fields.text("feed_slug")?)?)
}

fn state(name: &str) -> Result<State, Problem> {
    let known = State::ALL.into_iter().find(|state| state.as_str() == name);
    Ok(known.ok_or_else(|| format!("{name:?} is no state"))?)
}

fn failure(fields: Fields<'_>) -> Result<Option<FailureNote>, Problem> {
    let Some(class) = fields.optional_text("failure_class")? else {
        return Ok(None);
    };
    let class: StrDeserializer<'_, ValueError> = class.into_deserializer();
    Ok(Some(FailureNote {
        class: FailureClass::deserialize(class)?,
        message: fields.text("failure_message")?.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::conformance::{note, subject};
    use chrono::{DateTime, Utc};

    fn full(guid: &str) -> Record {
        Record {
            subject: subject("a-b.c", guid),
            state: State::Waiting,
            failures: 3,
            token: 7,
            owner: Some(OwnerId::from_stored("o")),
            until: Some(DateTime::<Utc>::MAX_UTC),
            failure: Some(note(FailureClass::Timeout)),
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn records_survive_their_items() {
        for guid in ["g", "ü#$~", &"x".repeat(Guid::MAX_LEN)] {
            let record = full(guid);
            let mut read = super::record(Fields::of(&item(&record))).unwrap();
            // Microseconds are kept, and the end of time has nanoseconds.
            assert_eq!(
                read.until.map(|at| at.timestamp_micros()),
                record.until.map(|at| at.timestamp_micros())
            );
            read.until = record.until;
            assert_eq!(read, record);
        }
    }

    #[test]
    fn keys_are_within_the_services_limits_and_apart() {
        let one = full(&"ü".repeat(4096)).subject;
        let two = full(&format!("{}o", "ü".repeat(4095))).subject;
        assert_ne!(key(&one), key(&two));
        assert_ne!(sort_key(&one.episode), sort_key(&two.episode));
        let slug = "a".repeat(FeedSlug::MAX_LEN);
        let longest = subject(&slug, &"x".repeat(Guid::MAX_LEN));
        assert!(sort_key(&longest.episode).len() <= 1024);
    }

    #[test]
    fn sort_keys_have_the_order_of_subjects() {
        let mut episodes = Vec::new();
        for feed in ["a", "a-", "a.b", "a_b", "ab", "0", "z9"] {
            for guid in [
                "\u{1}",
                " x",
                "#",
                "$",
                "A",
                "a",
                "aa",
                "~",
                "ü",
                "\u{10ffff}",
            ] {
                if let Ok(guid) = Guid::try_new(guid) {
                    let feed_slug = FeedSlug::try_new(feed).unwrap();
                    episodes.push(EpisodeId { feed_slug, guid });
                }
            }
        }
        let mut by_key = episodes.clone();
        by_key.sort_by_key(sort_key);
        episodes.sort();
        assert_eq!(by_key, episodes);
        for episode in &episodes {
            for feed in [None, Some(&episode.feed_slug)] {
                let (low, high) = sort_keys(feed);
                assert!((low..=high).contains(&sort_key(episode)));
            }
        }
        let (low, high) = sort_keys(Some(&episodes[20].feed_slug));
        let inside = episodes
            .iter()
            .filter(|episode| (&low..=&high).contains(&&sort_key(episode)));
        let feeds = inside.map(|episode| &episode.feed_slug);
        assert!(feeds.eq(std::iter::repeat_n(&episodes[20].feed_slug, 10)));
    }

    #[test]
    fn unreadable_attributes_are_named() {
        let spoilt = [
            ("state", "lost"),
            ("sk", "mix"),
            ("feed_slug", "../x"),
            ("guid", " "),
            ("token", "1"),
            ("until_us", "soon"),
            ("failure_class", "bad_luck"),
        ];
        for (name, value) in spoilt {
            let mut item = item(&full("g"));
            item.extend(Attributes::new().text(name, value).into_item());
            assert!(super::record(Fields::of(&item)).is_err(), "{name}");
        }
        let mut item = item(&full("g"));
        item.extend(
            Attributes::new()
                .number("failures", 1_u64 << 32)
                .into_item(),
        );
        assert!(super::record(Fields::of(&item)).is_err());
    }

    #[test]
    fn a_long_message_is_cut() {
        let mut record = full("g");
        if let Some(note) = &mut record.failure {
            note.message = "ü".repeat(MAX_MESSAGE);
        }
        let read = super::record(Fields::of(&item(&record))).unwrap();
        assert_eq!(read.failure.unwrap().message.len(), MAX_MESSAGE);
    }
}
