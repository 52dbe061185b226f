//! Adapter: host windows in the local target's database, shared by every process on the machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rand::Rng;
use rusqlite::{OptionalExtension, Transaction, params};

use super::window::{CLOCK_SKEW, Ended, HostState, Leases, Verdict};
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
            shorten(rows, &host, now, ttl)?;
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
        let rules = self.limits.rules(&slot.host);
        let slot = slot.clone();
        let host = slot.host.clone();
        let renew = self.write(move |rows, now| {
            let may_go_on = match is_hop(rows, &slot, now)? {
                None => false,
                Some(false) => true,
                Some(true) => {
                    let mut state = state(rows, &slot.host)?;
                    let has_room = state.saw_body(rules, leases(rows, &slot.host, now)?);
                    keep(rows, &slot.host, &state)?;
                    has_room
                }
            };
            if may_go_on {
                let update = "UPDATE host_slots SET until_us = ?2, is_hop = 0 WHERE id = ?1";
                rows.prepare_cached(update)?
                    .execute(params![slot.id, to_micros(later(now, ttl))])?;
            }
            Ok(may_go_on)
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

/// Makes a lease of `host` that would last far longer than one that begins now such a one: it is from
/// before the clock was set back, and its owner may be dead since.
fn shorten(
    rows: &Transaction<'_>,
    host: &HostKey,
    now: DateTime<Utc>,
    ttl: Duration,
) -> Result<(), StatementError> {
    let longest = later(now, ttl);
    let shorten = "UPDATE host_slots SET until_us = ?2 WHERE host = ?1 AND until_us > ?3";
    let suspect = later(longest, CLOCK_SKEW);
    rows.prepare_cached(shorten)?.execute(params![
        host.as_str(),
        to_micros(longest),
        to_micros(suspect)
    ])?;
    Ok(())
}

/// Whether `slot` is a hop still; `None` where it ended.
fn is_hop(
    rows: &Transaction<'_>,
    slot: &Slot,
    now: DateTime<Utc>,
) -> Result<Option<bool>, StatementError> {
    let found = rows
        .prepare_cached("SELECT is_hop FROM host_slots WHERE id = ?1 AND until_us > ?2")?
        .query_row(params![slot.id, to_micros(now)], |row| row.get(0))
        .optional()?;
    Ok(found)
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
mod tests;
