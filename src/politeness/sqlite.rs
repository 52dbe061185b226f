//! Adapter: host windows in the local target's database, shared by every process on the machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction, params};

use super::window::{HostState, Verdict};
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::OwnerId;
use crate::runtime::clock::{Clock, later};
use crate::runtime::sqlite::{
    Database, DatabaseError, StatementError, read_row, read_time, to_micros,
};

/// Windows of fixed size: how transfers went changes nothing.
///
/// The clock is read inside the transaction. A time from before it would be too old by however long
/// the call waited for its turn at the file.
#[derive(Debug, Clone)]
pub struct SqliteHostWindows {
    database: Database,
    limits: Arc<HostLimits>,
    clock: Arc<dyn Clock>,
}

impl SqliteHostWindows {
    /// The windows in `database`; slots end by `clock`.
    pub fn new(database: Database, limits: HostLimits, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            limits: Arc::new(limits),
            clock,
        }
    }

    /// Gives back every slot of `owner`; for an owner that is known to be dead. Returns how many
    /// slots that were.
    pub async fn release_owner(&self, owner: &OwnerId) -> Result<u64, WindowError> {
        let owner = owner.clone();
        let delete = "DELETE FROM host_slots WHERE owner = ?1";
        self.write(move |rows, _| Ok(rows.execute(delete, [owner.as_str()])? as u64))
            .await
    }

    /// One transaction; `work` gets the time.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, DateTime<Utc>) -> Result<T, StatementError> + Send + 'static,
    ) -> Result<T, WindowError> {
        let clock = Arc::clone(&self.clock);
        let written = self.database.write(move |rows| work(rows, clock.now()));
        written.await.map_err(failed)
    }
}

fn failed(error: DatabaseError) -> WindowError {
    WindowError::Backend {
        source: Box::new(error),
    }
}

#[async_trait]
impl HostWindows for SqliteHostWindows {
    async fn acquire(
        &self,
        host: &HostKey,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<SlotDecision, WindowError> {
        let (limit, spacing) = (self.limits.limit(host), self.limits.start_spacing());
        let (host, owner) = (host.clone(), owner.clone());
        self.write(
            move |rows, now| match state(rows, &host, now)?.decide(now, limit, spacing) {
                Verdict::Refuse(decision) => Ok(decision),
                Verdict::Grant { next_start } => {
                    let until = later(now, ttl);
                    grant(rows, host, &owner, until, next_start).map(SlotDecision::Granted)
                }
            },
        )
        .await
    }

    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError> {
        let id = slot.id.clone();
        let update = "UPDATE host_slots SET until_us = ?3 WHERE id = ?1 AND until_us > ?2";
        let renew = self.write(move |rows, now| {
            let (now, until) = (to_micros(now), to_micros(later(now, ttl)));
            Ok(rows.execute(update, params![id, now, until])?)
        });
        match renew.await? {
            0 => Err(WindowError::SlotLost {
                host: slot.host.clone(),
            }),
            _ => Ok(()),
        }
    }

    async fn release(&self, slot: Slot, _signal: Signal) -> Result<(), WindowError> {
        let delete = "DELETE FROM host_slots WHERE id = ?1";
        self.write(move |rows, _| Ok(rows.execute(delete, [slot.id])?))
            .await
            .map(drop)
    }

    async fn hold_off(&self, host: &HostKey, until: DateTime<Utc>) -> Result<(), WindowError> {
        let host = host.clone();
        let upsert = "INSERT INTO hosts (host, not_before_us) VALUES (?1, ?2)
            ON CONFLICT (host) DO UPDATE SET
                not_before_us = max(ifnull(not_before_us, ?2), ?2)";
        self.write(move |rows, _| {
            Ok(rows.execute(upsert, params![host.as_str(), to_micros(until)])?)
        })
        .await
        .map(drop)
    }
}

/// What is known about `host`, after its expired slots are gone.
fn state(
    rows: &Transaction<'_>,
    host: &HostKey,
    now: DateTime<Utc>,
) -> Result<HostState, StatementError> {
    rows.prepare_cached("DELETE FROM host_slots WHERE host = ?1 AND until_us <= ?2")?
        .execute(params![host.as_str(), to_micros(now)])?;
    let mut times = rows.prepare_cached("SELECT * FROM hosts WHERE host = ?1")?;
    let times = times
        .query_row([host.as_str()], |row| {
            Ok(read_row("hosts", &["host"], row, |row| {
                Ok((
                    read_time(row, "not_before_us")?,
                    read_time(row, "next_start_us")?,
                ))
            }))
        })
        .optional()?
        .transpose()?;
    let (not_before, next_start) = times.unwrap_or_default();
    let mut slots = rows.prepare_cached(
        "SELECT ?1 AS host, count(*) AS live, min(until_us) AS first FROM host_slots WHERE host = ?1",
    )?;
    slots.query_row([host.as_str()], |row| {
        Ok(read_row("host_slots", &["host"], row, |row| {
            Ok(HostState {
                not_before,
                next_start,
                live: row.get("live")?,
                first_expiry: read_time(row, "first")?,
            })
        }))
    })?
}

fn grant(
    rows: &Transaction<'_>,
    host: HostKey,
    owner: &OwnerId,
    until: DateTime<Utc>,
    next_start: DateTime<Utc>,
) -> Result<Slot, StatementError> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    rows.prepare_cached(
        "INSERT INTO host_slots (id, host, owner, until_us) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![id, host.as_str(), owner.as_str(), to_micros(until)])?;
    rows.prepare_cached(
        "INSERT INTO hosts (host, next_start_us) VALUES (?1, ?2)
        ON CONFLICT (host) DO UPDATE SET next_start_us = ?2",
    )?
    .execute(params![host.as_str(), to_micros(next_start)])?;
    Ok(Slot { host, id })
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use crate::runtime::clock::ManualClock;

    const TTL: Duration = Duration::from_secs(60);

    fn windows(database: Database, clock: &Arc<ManualClock>) -> SqliteHostWindows {
        SqliteHostWindows::new(database, conformance::limits(), clock.clone())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn they_keep_the_ports_promises() {
        let clock = Arc::new(ManualClock::default());
        let windows = windows(Database::open_in_memory().unwrap(), &clock);
        conformance::all(Arc::new(windows), clock).await;
    }

    #[tokio::test]
    async fn two_processes_share_the_slots_of_a_host() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podrun.db");
        let clock = Arc::new(ManualClock::default());
        let open = || windows(Database::open(&path).unwrap(), &clock);
        let (first, second) = (open(), open());
        let (host, owner) = (HostKey("a.example".into()), OwnerId::generate("a"));
        for windows in [&first, &second] {
            clock.advance(Duration::from_secs(1));
            let decision = windows.acquire(&host, &owner, TTL).await.unwrap();
            assert!(matches!(decision, SlotDecision::Granted(_)));
        }
        clock.advance(Duration::from_secs(1));
        let decision = first.acquire(&host, &owner, TTL).await.unwrap();
        assert!(matches!(decision, SlotDecision::Full(_)), "{decision:?}");
    }

    #[tokio::test]
    async fn a_dead_owners_slots_come_back_and_nobody_elses() {
        let clock = Arc::new(ManualClock::default());
        let windows = windows(Database::open_in_memory().unwrap(), &clock);
        let (dead, alive) = (OwnerId::generate("dead"), OwnerId::generate("alive"));
        let hosts = [HostKey("a.example".into()), HostKey("b.example".into())];
        let mut kept = Vec::new();
        for host in &hosts {
            for owner in [&dead, &alive] {
                clock.advance(Duration::from_secs(1));
                match windows.acquire(host, owner, TTL).await.unwrap() {
                    SlotDecision::Granted(slot) if owner == &alive => kept.push(slot),
                    SlotDecision::Granted(_) => {}
                    refused => panic!("{refused:?}"),
                }
            }
        }
        assert_eq!(windows.release_owner(&dead).await.unwrap(), 2);
        assert_eq!(windows.release_owner(&dead).await.unwrap(), 0);
        for slot in &kept {
            windows.renew(slot, TTL).await.unwrap();
        }
        clock.advance(Duration::from_secs(1));
        let decision = windows.acquire(&hosts[0], &dead, TTL).await.unwrap();
        assert!(matches!(decision, SlotDecision::Granted(_)));
    }
}
