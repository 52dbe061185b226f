//! A queue in the local target's database: leases instead of locks, so that a killed worker's
//! messages come back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Transaction, params};

use super::{Delivery, Depth, NewMessage, Queue, QueueError, Receipt, Settlement};
use crate::domain::{OwnerId, StageName};
use crate::runtime::clock::{Clock, later};
use crate::runtime::sqlite::{
    Database, DatabaseError, StatementError, read_count, read_row, to_micros,
};

/// Messages sent in one transaction: enough that the commit costs nothing a message, few enough
/// that other processes get their turn after some ten milliseconds.
const SEND_BATCH: usize = 1000;

/// The queue of one stage.
///
/// A `dedup_id` is unique among queued and leased messages: a second one is dropped. One that is
/// dead is replaced, since whoever sends it again wants it tried again.
#[derive(Debug, Clone)]
pub struct SqliteQueue {
    database: Database,
    stage: StageName,
    clock: Arc<dyn Clock>,
}

impl SqliteQueue {
    /// The queue of `stage` in `database`; leases end by `clock`.
    pub fn new(database: Database, stage: StageName, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            stage,
            clock,
        }
    }

    /// Makes everything `owner` has on lease deliverable at once; for an owner that is known to be
    /// dead. Returns how many messages that were.
    pub async fn release_owner(&self, owner: &OwnerId) -> Result<u64, QueueError> {
        let (now, owner) = (to_micros(self.clock.now()), owner.clone());
        let sql =
            "UPDATE messages SET state = 'queued', visible_us = ?2, receipt = NULL, owner = NULL
            WHERE queue = ?1 AND state = 'leased' AND owner = ?3";
        self.write(move |rows, queue| rows.execute(sql, params![queue, now, owner.as_str()]))
            .await
            .map(|changed| changed as u64)
    }

    /// One transaction; `work` gets the queue's name.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &'static str) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, QueueError> {
        let queue = self.stage.as_str();
        let written = self.database.write(move |rows| Ok(work(rows, queue)?));
        written.await.map_err(|error| self.failed(error))
    }

    /// A change of the delivery that `receipt` is for.
    async fn change(
        &self,
        work: impl FnOnce(&Transaction<'_>, &'static str) -> rusqlite::Result<usize> + Send + 'static,
    ) -> Result<(), QueueError> {
        match self.write(work).await? {
            0 => Err(QueueError::LeaseLost),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: DatabaseError) -> QueueError {
        QueueError::Backend {
            queue: self.stage.to_string(),
            source: Box::new(error),
        }
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn send(&self, messages: &[NewMessage]) -> Result<u64, QueueError> {
        let mut added = 0;
        for batch in messages.chunks(SEND_BATCH) {
            let (batch, now) = (batch.to_vec(), to_micros(self.clock.now()));
            added += self
                .write(move |rows, queue| insert(rows, queue, &batch, now))
                .await?;
        }
        Ok(added)
    }

    async fn receive(
        &self,
        owner: &OwnerId,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Delivery>, QueueError> {
        let (owner, now) = (owner.clone(), self.clock.now());
        let (queue, until) = (self.stage.as_str(), later(now, lease));
        let taken = self.database.write(move |rows| {
            // A random receipt a delivery: nobody else's, not even that of this message's last one.
            let mut take = rows.prepare_cached(
                "UPDATE messages SET state = 'leased', visible_us = ?4, owner = ?5,
                    deliveries = deliveries + 1, receipt = lower(hex(randomblob(16)))
                WHERE id IN (SELECT id FROM messages
                    WHERE queue = ?1 AND state IN ('queued', 'leased') AND visible_us <= ?2 LIMIT ?3)
                RETURNING id, receipt, body, deliveries",
            )?;
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            let (now, until) = (to_micros(now), to_micros(until));
            let mut found = take.query(params![queue, now, max, until, owner.as_str()])?;
            let mut deliveries = Vec::new();
            while let Some(row) = found.next()? {
                deliveries.push(delivery(row)?);
            }
            Ok(deliveries)
        });
        taken.await.map_err(|error| self.failed(error))
    }

    async fn extend(&self, receipt: &Receipt, lease: Duration) -> Result<(), QueueError> {
        let (receipt, until) = (receipt.clone(), to_micros(later(self.clock.now(), lease)));
        let sql = "UPDATE messages SET visible_us = ?3 WHERE queue = ?1 AND receipt = ?2";
        self.change(move |rows, queue| rows.execute(sql, params![queue, receipt.0, until]))
            .await
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> Result<(), QueueError> {
        let (receipt, now) = (receipt.0.clone(), self.clock.now());
        self.change(move |rows, queue| {
            match settlement {
            Settlement::Done => rows.execute(
                "DELETE FROM messages WHERE queue = ?1 AND receipt = ?2",
                params![queue, receipt],
            ),
            Settlement::Again(delay) => rows.execute(
                "UPDATE messages SET state = 'queued', visible_us = ?3, receipt = NULL, owner = NULL
                WHERE queue = ?1 AND receipt = ?2",
                params![queue, receipt, to_micros(later(now, delay))],
            ),
            Settlement::Dead(reason) => rows.execute(
                "UPDATE messages SET state = 'dead', visible_us = ?3, dead_reason = ?4,
                    receipt = NULL, owner = NULL
                WHERE queue = ?1 AND receipt = ?2",
                params![queue, receipt, to_micros(now), reason],
            ),
        }
        })
        .await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let (queue, now) = (self.stage.as_str(), to_micros(self.clock.now()));
        let counted = self.database.read(move |rows| {
            // Only columns of the index `messages_by_state`, so no message is read.
            let mut count = rows.prepare_cached(
                "SELECT count(*) FILTER (WHERE state <> 'dead' AND visible_us <= ?2) AS ready,
                    count(*) FILTER (WHERE state = 'queued' AND visible_us > ?2) AS delayed,
                    count(*) FILTER (WHERE state = 'leased' AND visible_us > ?2) AS leased,
                    count(*) FILTER (WHERE state = 'dead') AS dead
                FROM messages WHERE queue = ?1",
            )?;
            count.query_one(params![queue, now], |row| Ok(depth(row)))?
        });
        counted.await.map_err(|error| self.failed(error))
    }
}

/// Adds what is not queued yet; a dead message counts as not queued.
fn insert(
    rows: &Transaction<'_>,
    queue: &str,
    messages: &[NewMessage],
    now: i64,
) -> rusqlite::Result<u64> {
    let mut insert = rows.prepare_cached(
        "INSERT INTO messages (queue, dedup_id, body, state, visible_us)
        VALUES (?1, ?2, ?3, 'queued', ?4)
        ON CONFLICT (queue, dedup_id) DO UPDATE SET
            body = excluded.body, state = 'queued', visible_us = excluded.visible_us,
            deliveries = 0, dead_reason = NULL
        WHERE state = 'dead'",
    )?;
    let mut added = 0;
    for message in messages {
        added += insert.execute(params![queue, message.dedup_id, message.body, now])? as u64;
    }
    Ok(added)
}

fn delivery(row: &rusqlite::Row<'_>) -> Result<Delivery, StatementError> {
    read_row("messages", &["id"], row, |row| {
        Ok(Delivery {
            receipt: Receipt(row.get("receipt")?),
            body: row.get("body")?,
            deliveries: row.get("deliveries")?,
        })
    })
}

fn depth(row: &rusqlite::Row<'_>) -> Result<Depth, StatementError> {
    read_row("messages", &[], row, |row| {
        Ok(Depth {
            ready: read_count(row, "ready")?,
            delayed: read_count(row, "delayed")?,
            leased: read_count(row, "leased")?,
            dead: read_count(row, "dead")?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::conformance::{self, Fixture, Promises, Time};
    use crate::runtime::clock::ManualClock;

    const STAGE: StageName = StageName::Fetch;

    /// Two handles on one file, as two processes have them.
    fn fixture(directory: &tempfile::TempDir) -> Fixture<SqliteQueue> {
        let clock = Arc::new(ManualClock::default());
        let path = directory
            .path()
            .join(format!("{}.db", uuid::Uuid::new_v4()));
        let open = || SqliteQueue::new(Database::open(&path).unwrap(), STAGE, clock.clone());
        Fixture {
            first: Arc::new(open()),
            second: Arc::new(open()),
            time: Time::Manual(clock.clone()),
            promises: Promises::ALL,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn conforms() {
        let directory = tempfile::tempdir().unwrap();
        conformance::run_all(async || fixture(&directory))
            .await
            .unwrap();
        conformance::gives_a_dead_owners_messages_back(
            &fixture(&directory),
            async |queue: &SqliteQueue, owner| queue.release_owner(owner).await,
        )
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn stages_have_queues_of_their_own() {
        let database = Database::open_in_memory().unwrap();
        let clock = Arc::new(ManualClock::default());
        let fetch = SqliteQueue::new(database.clone(), StageName::Fetch, clock.clone());
        let transcribe = SqliteQueue::new(database, StageName::Transcribe, clock);
        let message = conformance::message("a");
        assert_eq!(fetch.send(std::slice::from_ref(&message)).await.unwrap(), 1);
        assert_eq!(transcribe.depth().await.unwrap(), Depth::default());
        assert_eq!(transcribe.send(&[message]).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn messages_and_leases_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podrun.db");
        let clock = Arc::new(ManualClock::default());
        let open = || SqliteQueue::new(Database::open(&path).unwrap(), STAGE, clock.clone());
        let lease = Duration::from_secs(60);
        let before = open();
        let messages = [conformance::message("a"), conformance::message("b")];
        before.send(&messages).await.unwrap();
        let owner = OwnerId::generate("before");
        let taken = before.receive(&owner, 1, lease).await.unwrap();
        drop(before);
        let after = open();
        let expected = Depth {
            ready: 1,
            leased: 1,
            ..Depth::default()
        };
        assert_eq!(after.depth().await.unwrap(), expected);
        after
            .settle(&taken[0].receipt, Settlement::Done)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn an_unreadable_message_is_named() {
        let database = Database::open_in_memory().unwrap();
        let queue = SqliteQueue::new(database.clone(), STAGE, Arc::new(ManualClock::default()));
        queue.send(&[conformance::message("a")]).await.unwrap();
        let spoil = "UPDATE messages SET id = 41, deliveries = -7";
        database
            .write(move |rows| Ok(rows.execute(spoil, [])?))
            .await
            .unwrap();
        let owner = OwnerId::generate("o");
        let taken = queue.receive(&owner, 1, Duration::from_secs(1)).await;
        let error = taken.unwrap_err().to_string();
        assert!(error.contains("row \"41\" of messages"), "{error}");
    }

    /// Bounded generously: it takes about a second, one transaction a message would take minutes.
    #[tokio::test]
    async fn a_hundred_thousand_messages_are_sent_quickly() {
        let directory = tempfile::tempdir().unwrap();
        let queue = fixture(&directory).first;
        let messages: Vec<_> = (0..100_000)
            .map(|n| conformance::message(&n.to_string()))
            .collect();
        let start = std::time::Instant::now();
        assert_eq!(queue.send(&messages).await.unwrap(), 100_000);
        assert_eq!(queue.depth().await.unwrap().ready, 100_000);
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{:?}",
            start.elapsed()
        );
    }
}
