//! Checkpoints in the local target's database: read, decide with [`state`], write, all in one
//! transaction.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Transaction, params};

use super::{
    Acquired, CheckpointError, Checkpoints, Filter, Lease, Record, Reopen, State, Subject, Tally,
    Transition, state,
};
use crate::domain::{FeedSlug, OwnerId, StageName};
use crate::runtime::clock::Clock;
use crate::runtime::sqlite::{Database, DatabaseError, StatementError};
use rows::{key, load, records, store, tally};

mod rows;

/// Subjects planned in one transaction: enough that the commit costs nothing a subject, few enough
/// that workers get their turn after some ten milliseconds.
const PLAN_BATCH: usize = 1000;

/// The records of all stages in one table.
#[derive(Debug, Clone)]
pub struct SqliteCheckpoints {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl SqliteCheckpoints {
    /// The checkpoints in `database`; leases end by `clock`.
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    /// Makes everything `owner` has on lease pending at once; for an owner that is known to be
    /// dead. Returns how many subjects that were.
    pub async fn release_owner(&self, owner: &OwnerId) -> Result<u64, CheckpointError> {
        let (owner, now) = (owner.clone(), self.clock.now());
        let released = self.database.write(move |rows| {
            let sql = "SELECT * FROM checkpoints WHERE state = 'leased' AND owner = ?1";
            let records = records(rows, sql, [owner.as_str()])?;
            let mut released = 0;
            for record in records {
                if let Some(pending) = state::release(&record, &owner, now) {
                    store(rows, &pending)?;
                    released += 1;
                }
            }
            Ok(released)
        });
        released.await.map_err(failed)
    }

    /// Replaces the subject's record by what `decide` makes of it, and passes its answer on.
    async fn change<T: Send + 'static>(
        &self,
        subject: &Subject,
        decide: impl FnOnce(Option<Record>) -> (T, Option<Record>) + Send + 'static,
    ) -> Result<T, CheckpointError> {
        let subject = subject.clone();
        let changed = self.database.write(move |rows| {
            let (answer, record) = decide(load(rows, &subject)?);
            if let Some(record) = record {
                store(rows, &record)?;
            }
            Ok(answer)
        });
        changed.await.map_err(failed)
    }

    /// The same under `lease`; no new record means that the lease is lost.
    async fn change_under(
        &self,
        lease: &Lease,
        decide: impl FnOnce(&Record) -> Option<Record> + Send + 'static,
    ) -> Result<(), CheckpointError> {
        let changed = self.change(&lease.subject, |record| {
            let record = record.as_ref().and_then(decide);
            (record.is_some(), record)
        });
        if changed.await? {
            return Ok(());
        }
        Err(CheckpointError::LeaseLost {
            subject: lease.subject.clone(),
        })
    }
}

#[async_trait]
impl Checkpoints for SqliteCheckpoints {
    async fn plan(
        &self,
        subjects: &[Subject],
        reopen: Reopen,
    ) -> Result<Vec<Subject>, CheckpointError> {
        let mut workable = Vec::with_capacity(subjects.len());
        for batch in subjects.chunks(PLAN_BATCH) {
            let (batch, now) = (batch.to_vec(), self.clock.now());
            let planned = self
                .database
                .write(move |rows| plan(rows, batch, reopen, now));
            workable.extend(planned.await.map_err(failed)?);
        }
        Ok(workable)
    }

    async fn acquire(
        &self,
        subject: &Subject,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<Acquired, CheckpointError> {
        let (now, owner, new) = (self.clock.now(), owner.clone(), subject.clone());
        self.change(subject, move |record| {
            let record = record.unwrap_or_else(|| state::fresh(new, now));
            state::acquire(&record, &owner, ttl, now)
        })
        .await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), CheckpointError> {
        let (held, now) = (lease.clone(), self.clock.now());
        self.change_under(lease, move |record| state::renew(record, &held, ttl, now))
            .await
    }

    async fn advance(&self, lease: &Lease, transition: Transition) -> Result<(), CheckpointError> {
        let (held, now) = (lease.clone(), self.clock.now());
        self.change_under(lease, move |record| {
            state::advance(record, &held, transition, now)
        })
        .await
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, CheckpointError> {
        let subject = subject.clone();
        let found = self.database.read(move |rows| load(rows, &subject));
        found.await.map_err(failed)
    }

    async fn list(
        &self,
        filter: &Filter,
        after: Option<&Subject>,
        limit: usize,
    ) -> Result<Vec<Record>, CheckpointError> {
        let (filter, after) = (filter.clone(), after.cloned());
        let listed = self.database.read(move |rows| {
            let stage = filter.stage.map(StageName::as_str);
            let feed = filter.feed.as_ref().map(FeedSlug::as_str);
            let state = filter.state.map(State::as_str);
            // No record lies before the filter's own stage: the index takes us there.
            let first = (stage.unwrap_or_default(), "", "");
            let start = after.as_ref().map_or(first, |after| first.max(key(after)));
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            // Bytes are compared, as `Ord` does in `Subject`; the stages' names sort as they do.
            let sql = "SELECT * FROM checkpoints
                WHERE (stage, feed_slug, guid) > (?1, ?2, ?3)
                    AND (?4 IS NULL OR stage = ?4)
                    AND (?5 IS NULL OR feed_slug = ?5)
                    AND (?6 IS NULL OR state = ?6)
                ORDER BY stage, feed_slug, guid LIMIT ?7";
            let (after_stage, after_feed, after_guid) = start;
            let parameters = params![
                after_stage,
                after_feed,
                after_guid,
                stage,
                feed,
                state,
                limit
            ];
            records(rows, sql, parameters)
        });
        listed.await.map_err(failed)
    }

    async fn tally(&self) -> Result<Vec<Tally>, CheckpointError> {
        let counted = self.database.read(|rows| {
            let mut count = rows.prepare_cached(
                "SELECT stage, feed_slug, state, count(*) AS count FROM checkpoints
                GROUP BY stage, feed_slug, state",
            )?;
            let mut found = count.query([])?;
            let mut tallies = Vec::new();
            while let Some(row) = found.next()? {
                tallies.push(tally(row)?);
            }
            tallies.sort_unstable();
            Ok(tallies)
        });
        counted.await.map_err(failed)
    }
}

fn plan(
    rows: &Transaction<'_>,
    subjects: Vec<Subject>,
    reopen: Reopen,
    now: DateTime<Utc>,
) -> Result<Vec<Subject>, StatementError> {
    let mut workable = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let known = load(rows, &subject)?;
        let (is_workable, changed) = state::planned(known, &subject, reopen, now);
        if let Some(record) = changed {
            store(rows, &record)?;
        }
        if is_workable {
            workable.push(subject);
        }
    }
    Ok(workable)
}

fn failed(error: DatabaseError) -> CheckpointError {
    CheckpointError::Backend {
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::conformance::{self, Fixture, subject};
    use crate::runtime::clock::ManualClock;

    const TTL: Duration = Duration::from_secs(60);

    /// Two handles on one file, as two processes have them.
    fn fixture(directory: &tempfile::TempDir) -> Fixture<SqliteCheckpoints> {
        let clock = Arc::new(ManualClock::default());
        let path = directory
            .path()
            .join(format!("{}.db", uuid::Uuid::new_v4()));
        let open = || SqliteCheckpoints::new(Database::open(&path).unwrap(), clock.clone());
        Fixture {
            first: Arc::new(open()),
            second: Arc::new(open()),
            clock: clock.clone(),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn conforms() {
        let directory = tempfile::tempdir().unwrap();
        conformance::run_all(async || fixture(&directory))
            .await
            .unwrap();
        conformance::gives_a_dead_owners_subjects_back(
            &fixture(&directory),
            async |checkpoints: &SqliteCheckpoints, owner| checkpoints.release_owner(owner).await,
        )
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn unreadable_records_are_named_and_nothing_panics() {
        for spoil in [
            "state = 'lost'",
            "stage = 'mix'",
            "feed_slug = '../x'",
            "guid = ' '",
            "token = -1",
            "failures = 4294967296",
            "until_us = 9223372036854775807",
            "failure_class = 'bad_luck'",
            "failure_class = 'timeout'",
        ] {
            let database = Database::open_in_memory().unwrap();
            let checkpoints =
                SqliteCheckpoints::new(database.clone(), Arc::new(ManualClock::default()));
            checkpoints
                .plan(&[subject("a", "b")], Reopen::Exhausted)
                .await
                .unwrap();
            let sql = format!("UPDATE checkpoints SET {spoil}");
            database
                .write(move |rows| Ok(rows.execute(&sql, [])?))
                .await
                .unwrap();
            let listed = checkpoints.list(&Filter::default(), None, 9).await;
            let error = listed.unwrap_err().to_string();
            assert!(
                error.contains("of checkpoints cannot be read"),
                "{spoil}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn an_exhausted_token_is_an_error() {
        let database = Database::open_in_memory().unwrap();
        let checkpoints =
            SqliteCheckpoints::new(database.clone(), Arc::new(ManualClock::default()));
        let subject = subject("a", "b");
        checkpoints
            .plan(std::slice::from_ref(&subject), Reopen::Exhausted)
            .await
            .unwrap();
        let sql = "UPDATE checkpoints SET token = 9223372036854775807";
        database
            .write(move |rows| Ok(rows.execute(sql, [])?))
            .await
            .unwrap();
        let acquired = checkpoints
            .acquire(&subject, &OwnerId::generate("o"), TTL)
            .await;
        assert!(acquired.unwrap_err().to_string().contains("fetch a/b"));
    }

    #[tokio::test]
    async fn two_owners_in_two_processes_never_both_get_it() {
        let directory = tempfile::tempdir().unwrap();
        let Fixture { first, second, .. } = fixture(&directory);
        let (one, two) = (OwnerId::generate("one"), OwnerId::generate("two"));
        for number in 0..50 {
            let subject = subject("a", &number.to_string());
            let (one, two) = tokio::try_join!(
                first.acquire(&subject, &one, TTL),
                second.acquire(&subject, &two, TTL)
            )
            .unwrap();
            let granted = [one, two]
                .iter()
                .filter(|a| matches!(a, Acquired::Granted(_)))
                .count();
            assert_eq!(granted, 1);
        }
    }

    /// Bounded generously: it takes seconds, one transaction a subject would take minutes.
    #[tokio::test]
    async fn a_hundred_thousand_subjects_are_planned_quickly() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = fixture(&directory).first;
        let subjects: Vec<_> = (0..100_000).map(|n| subject("a", &n.to_string())).collect();
        let start = std::time::Instant::now();
        let workable = checkpoints
            .plan(&subjects, Reopen::Exhausted)
            .await
            .unwrap();
        assert_eq!(workable, subjects);
        assert_eq!(checkpoints.tally().await.unwrap()[0].count, 100_000);
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{:?}",
            start.elapsed()
        );
    }
}
