//! Adapter: host windows in the local target's database, shared by every process on the machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rand::Rng;
use rusqlite::{OptionalExtension, Transaction, params};

use super::window::{Ended, HostState, Leases, Verdict};
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::OwnerId;
use crate::runtime::clock::{Clock, later};
use crate::runtime::sqlite::{
    Database, DatabaseError, StatementError, read_row, read_time, to_micros,
};

/// One transaction a step, so that many processes may share the file.
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
        let rules = self.limits.rules(host);
        let (host, owner) = (host.clone(), owner.clone());
        self.write(move |rows, now| {
            let out = leases(rows, &host, now)?;
            let mut state = state(rows, &host)?;
            match state.acquire(now, rules, out) {
                Verdict::Refuse(decision) => Ok(decision),
                Verdict::Grant { is_hop } => {
                    let slot = Slot::new(host, now, is_hop);
                    keep(rows, &slot.host, &state)?;
                    lease(rows, &slot, &owner, later(now, ttl))?;
                    Ok(SlotDecision::Granted(slot))
                }
            }
        })
        .await
    }

    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError> {
        let slot = slot.clone();
        let host = slot.host.clone();
        let update =
            "UPDATE host_slots SET until_us = ?3, is_hop = 0 WHERE id = ?1 AND until_us > ?2";
        let renew = self.write(move |rows, now| {
            let (at, until) = (to_micros(now), to_micros(later(now, ttl)));
            let renewed = rows.execute(update, params![slot.id, at, until])? > 0;
            if renewed && slot.is_hop {
                let mut state = state(rows, &slot.host)?;
                state.saw_body();
                keep(rows, &slot.host, &state)?;
            }
            Ok(renewed)
        });
        match renew.await? {
            true => Ok(()),
            false => Err(WindowError::SlotLost { host }),
        }
    }

    async fn release(&self, slot: Slot, signal: Signal) -> Result<(), WindowError> {
        let rules = self.limits.rules(&slot.host);
        let random = rand::rng().random();
        self.write(move |rows, now| {
            let out = leases(rows, &slot.host, now)?;
            let delete = "DELETE FROM host_slots WHERE id = ?1";
            let ended = Ended {
                signal,
                granted_at: slot.granted_at,
                was_live: rows.prepare_cached(delete)?.execute([&slot.id])? > 0,
                in_flight: out.slots,
            };
            let before = state(rows, &slot.host)?;
            let mut after = before.clone();
            after.learn(now, rules, ended, random);
            if after != before {
                keep(rows, &slot.host, &after)?;
            }
            Ok(())
        })
        .await
    }
}

/// What of `host` is out at `now`; what expired is removed.
fn leases(
    rows: &Transaction<'_>,
    host: &HostKey,
    now: DateTime<Utc>,
) -> Result<Leases, StatementError> {
    rows.prepare_cached("DELETE FROM host_slots WHERE host = ?1 AND until_us <= ?2")?
        .execute(params![host.as_str(), to_micros(now)])?;
    let mut slots = rows.prepare_cached(
        "SELECT ?1 AS host, count(*) FILTER (WHERE NOT is_hop) AS slots,
            count(*) FILTER (WHERE is_hop) AS hops, min(until_us) AS first
        FROM host_slots WHERE host = ?1",
    )?;
    slots.query_row([host.as_str()], |row| {
        Ok(read_row("host_slots", &["host"], row, |row| {
            Ok(Leases {
                slots: row.get("slots")?,
                hops: row.get("hops")?,
                first_expiry: read_time(row, "first")?,
            })
        }))
    })?
}

/// What is remembered about `host`.
fn state(rows: &Transaction<'_>, host: &HostKey) -> Result<HostState, StatementError> {
    let state = rows
        .prepare_cached("SELECT host, state FROM hosts WHERE host = ?1")?
        .query_row([host.as_str()], |row| {
            Ok(read_row("hosts", &["host"], row, |row| {
                let state: String = row.get("state")?;
                Ok(serde_json::from_str(&state)?)
            }))
        })
        .optional()?
        .transpose()?;
    Ok(state.unwrap_or_default())
}

fn keep(rows: &Transaction<'_>, host: &HostKey, state: &HostState) -> Result<(), StatementError> {
    let state = serde_json::to_string(state)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    rows.prepare_cached(
        "INSERT INTO hosts (host, state) VALUES (?1, ?2)
        ON CONFLICT (host) DO UPDATE SET state = ?2",
    )?
    .execute(params![host.as_str(), state])?;
    Ok(())
}

fn lease(
    rows: &Transaction<'_>,
    slot: &Slot,
    owner: &OwnerId,
    until: DateTime<Utc>,
) -> Result<(), StatementError> {
    rows.prepare_cached(
        "INSERT INTO host_slots (id, host, owner, until_us, is_hop) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        slot.id,
        slot.host.as_str(),
        owner.as_str(),
        to_micros(until),
        slot.is_hop
    ])?;
    Ok(())
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

    /// Somebody else's view of the same time.
    #[derive(Debug)]
    struct Skewed(Arc<ManualClock>, chrono::TimeDelta);

    impl Clock for Skewed {
        fn now(&self) -> DateTime<Utc> {
            self.0.now() + self.1
        }
    }

    async fn is_granted(windows: &SqliteHostWindows, host: &HostKey) -> Option<Slot> {
        let owner = OwnerId::generate("somebody");
        match windows.acquire(host, &owner, TTL).await.unwrap() {
            SlotDecision::Granted(slot) => Some(slot),
            SlotDecision::Full(_) => None,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn case_087_a_killed_workers_slots_are_free_after_a_minute() {
        let clock = Arc::new(ManualClock::default());
        let windows = windows(Database::open_in_memory().unwrap(), &clock);
        let host = HostKey("a.example".into());
        let second = Duration::from_secs(1);
        let killed = is_granted(&windows, &host).await.unwrap();
        clock.advance(second);
        let alive = is_granted(&windows, &host).await.unwrap();
        for _ in 1..60 {
            assert_eq!(is_granted(&windows, &host).await, None);
            windows.renew(&alive, TTL).await.unwrap();
            clock.advance(second);
        }
        assert!(is_granted(&windows, &host).await.is_some());
        let late = windows.renew(&killed, TTL).await;
        assert!(
            matches!(late, Err(WindowError::SlotLost { .. })),
            "{late:?}"
        );
        windows.renew(&alive, TTL).await.unwrap();
    }

    #[tokio::test]
    async fn case_088_clocks_ten_seconds_apart_grant_no_living_slot_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podrun.db");
        let clock = Arc::new(ManualClock::default());
        let skewed = |seconds| {
            let skew = chrono::TimeDelta::seconds(seconds);
            let clock = Arc::new(Skewed(Arc::clone(&clock), skew));
            let database = Database::open(&path).unwrap();
            SqliteHostWindows::new(database, conformance::limits(), clock)
        };
        let (slow, fast) = (skewed(-5), skewed(5));
        let host = HostKey("a.example".into());
        let second = Duration::from_secs(1);
        let mut slots = Vec::new();
        for windows in [&slow, &fast] {
            slots.push(is_granted(windows, &host).await.unwrap());
            // Ten seconds pass for whoever changes from one clock to the other.
            clock.advance(second);
        }
        // Each renews as a worker does, every third of a slot's life, by its own clock.
        for elapsed in 0..300 {
            if elapsed % 20 == 0 {
                slow.renew(&slots[0], TTL).await.unwrap();
                fast.renew(&slots[1], TTL).await.unwrap();
            }
            clock.advance(second);
            assert_eq!(is_granted(&slow, &host).await, None);
            assert_eq!(is_granted(&fast, &host).await, None);
        }
        // Both die. Each slot goes to one other, at most ten seconds early, and to no second one.
        let mut again = Vec::new();
        for _ in 0..75 {
            clock.advance(second);
            for windows in [&fast, &slow] {
                again.extend(is_granted(windows, &host).await);
            }
            // Nobody renews, so what was granted first may be over before this ends; it is not.
            assert!(again.len() <= 2, "{again:?}");
        }
        assert_eq!(again.len(), 2);
    }

    #[tokio::test]
    async fn a_file_from_before_adaptive_windows_keeps_its_rests() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podrun.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        for migration in [
            include_str!("../runtime/sqlite/migrations/0001_queue_checkpoints_metrics.sql"),
            include_str!("../runtime/sqlite/migrations/0002_host_windows.sql"),
        ] {
            old.execute_batch(migration).unwrap();
        }
        let clock = Arc::new(ManualClock::default());
        let until = later(clock.now(), Duration::from_secs(3600));
        let insert = "INSERT INTO hosts VALUES ('a.example', ?1, NULL), ('b.example', NULL, 5)";
        old.execute(insert, [to_micros(until)]).unwrap();
        old.pragma_update(None, "application_id", 0x706f_6472)
            .unwrap();
        old.pragma_update(None, "user_version", 2).unwrap();
        drop(old);

        let windows = windows(Database::open(&path).unwrap(), &clock);
        let host = HostKey("a.example".into());
        let owner = OwnerId::generate("somebody");
        let answer = windows.acquire(&host, &owner, TTL).await.unwrap();
        assert_eq!(answer, SlotDecision::HeldOff(until));
        let host = HostKey("b.example".into());
        assert!(is_granted(&windows, &host).await.is_some());
    }

    #[tokio::test]
    async fn a_damaged_row_stops_its_own_host_and_says_so() {
        let clock = Arc::new(ManualClock::default());
        let database = Database::open_in_memory().unwrap();
        let damage = "INSERT INTO hosts (host, state) VALUES ('a.example', '{\"width\": 7}')";
        let write = database.write(move |rows| Ok(rows.execute(damage, [])?));
        write.await.unwrap();
        let windows = windows(database, &clock);
        let (host, owner) = (HostKey("a.example".into()), OwnerId::generate("somebody"));
        let error = windows.acquire(&host, &owner, TTL).await.unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("hosts") && told.contains("a.example"),
            "{told}"
        );
        let other = HostKey("b.example".into());
        assert!(is_granted(&windows, &other).await.is_some());
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
