//! Records as rows, and rows, which may hold anything, as records.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::checkpoint::{FailureNote, Record, State, Subject, Tally};
use crate::domain::{EpisodeId, FailureClass, FeedSlug, Guid, OwnerId, StageName};
use crate::runtime::sqlite::{StatementError, read_count, read_row, read_time, to_micros};

const TABLE: &str = "checkpoints";
const KEY: [&str; 3] = ["stage", "feed_slug", "guid"];

type Unreadable = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn key(subject: &Subject) -> (&str, &str, &str) {
    let episode = &subject.episode;
    (
        subject.stage.as_str(),
        episode.feed_slug.as_str(),
        episode.guid.as_str(),
    )
}

pub(super) fn load(
    rows: &Transaction<'_>,
    subject: &Subject,
) -> Result<Option<Record>, StatementError> {
    let mut select = rows.prepare_cached(
        "SELECT * FROM checkpoints WHERE stage = ?1 AND feed_slug = ?2 AND guid = ?3",
    )?;
    let read = |row: &Row<'_>| Ok(read_row(TABLE, &KEY, row, record));
    select.query_one(key(subject), read).optional()?.transpose()
}

pub(super) fn records(
    rows: &Transaction<'_>,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Record>, StatementError> {
    let mut select = rows.prepare_cached(sql)?;
    let mut found = select.query(parameters)?;
    let mut records = Vec::new();
    while let Some(row) = found.next()? {
        records.push(read_row(TABLE, &KEY, row, record)?);
    }
    Ok(records)
}

pub(super) fn store(rows: &Transaction<'_>, record: &Record) -> Result<(), StatementError> {
    let mut replace = rows.prepare_cached(
        "REPLACE INTO checkpoints (stage, feed_slug, guid, state, failures, token, owner, until_us,
            failure_class, failure_message, updated_us)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let (stage, feed, guid) = key(&record.subject);
    // Refused here: a token that grew past what the column holds, which only an edited file can do.
    let token = i64::try_from(record.token).map_err(|_| StatementError::UnreadableRow {
        table: TABLE,
        row: record.subject.to_string(),
        problem: "its token cannot grow any further".to_owned(),
    })?;
    replace.execute(params![
        stage,
        feed,
        guid,
        record.state.as_str(),
        record.failures,
        token,
        record.owner.as_ref().map(OwnerId::as_str),
        record.until.map(to_micros),
        record.failure.as_ref().map(|note| note.class.as_str()),
        record.failure.as_ref().map(|note| note.message.as_str()),
        to_micros(record.updated_at),
    ])?;
    Ok(())
}

fn record(row: &Row<'_>) -> Result<Record, Unreadable> {
    Ok(Record {
        subject: Subject {
            stage: stage(row)?,
            episode: EpisodeId {
                feed_slug: FeedSlug::try_new(row.get::<_, String>("feed_slug")?)?,
                guid: Guid::try_new(row.get::<_, String>("guid")?)?,
            },
        },
        state: state_of(row)?,
        failures: row.get("failures")?,
        token: read_count(row, "token")?,
        owner: row
            .get::<_, Option<String>>("owner")?
            .map(OwnerId::from_stored),
        until: read_time(row, "until_us")?,
        failure: failure(row)?,
        updated_at: read_time(row, "updated_us")?.ok_or("updated_us is missing")?,
    })
}

pub(super) fn tally(row: &Row<'_>) -> Result<Tally, StatementError> {
    read_row(TABLE, &["stage", "feed_slug", "state"], row, |row| {
        Ok(Tally {
            stage: stage(row)?,
            feed: FeedSlug::try_new(row.get::<_, String>("feed_slug")?)?,
            state: state_of(row)?,
            count: read_count(row, "count")?,
        })
    })
}

fn stage(row: &Row<'_>) -> Result<StageName, Unreadable> {
    Ok(row.get::<_, String>("stage")?.parse()?)
}

fn state_of(row: &Row<'_>) -> Result<State, Unreadable> {
    let name: String = row.get("state")?;
    let known = State::ALL.into_iter().find(|state| state.as_str() == name);
    Ok(known.ok_or_else(|| format!("{name:?} is no state"))?)
}

fn failure(row: &Row<'_>) -> Result<Option<FailureNote>, Unreadable> {
    let Some(class) = row.get::<_, Option<String>>("failure_class")? else {
        return Ok(None);
    };
    let class: StrDeserializer<'_, ValueError> = class.as_str().into_deserializer();
    Ok(Some(FailureNote {
        class: FailureClass::deserialize(class)?,
        message: row.get("failure_message")?,
    }))
}
