//! Adapter: host windows in a table of DynamoDB, shared by every worker of the fleet.
//!
//! One item a host: `host` (the partition key) and `window`, which is JSON: the state of the window and
//! the leases on it. A step reads the item consistently, decides, and writes it back if nobody wrote in
//! between, else decides again on what the other wrote. A refusal only reads, so that any number of
//! workers may wait at a busy host without ever getting in the way of those that have a turn.
//!
//! An item is about 400 bytes and 150 more for each slot that is out. Nothing is ever deleted: what a
//! host taught is of use to the next run.
//!
//! Clocks: leases and rests go by each worker's own. Those of a fleet may be seconds apart, which
//! shortens or lengthens a dead worker's lease by as much and does no harm to a living one's, which is
//! renewed every third of its life. An interval between two starts may shrink by as much.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use chrono::{DateTime, Utc};
use rand::Rng;

use super::window::{LeasedHost, Verdict};
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::OwnerId;
use crate::runtime::aws::dynamodb::{Attributes, Item, Table, TableDefinition, TableError};
use crate::runtime::clock::Clock;

/// What the table has to be: on demand, no index, no time to live.
pub const HOSTS_TABLE: TableDefinition = TableDefinition {
    partition_key: HOST,
    sort_key: None,
    indexes: &[],
    time_to_live: None,
};

const HOST: &str = "host";
const WINDOW: &str = "window";

/// When to ask again after all tries met somebody else's write.
const CONTENDED: Duration = Duration::from_secs(1);

/// The windows in one table. Needs `dynamodb:GetItem` and `dynamodb:PutItem`.
#[derive(Debug, Clone)]
pub struct DynamoHostWindows {
    table: Table,
    limits: Arc<HostLimits>,
    clock: Arc<dyn Clock>,
}

impl DynamoHostWindows {
    /// The windows in `table`, which is as [`HOSTS_TABLE`] says; slots end by `clock`.
    pub fn new(
        client: Client,
        table: impl Into<String>,
        limits: HostLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            table: Table::new(client, table, &HOSTS_TABLE),
            limits: Arc::new(limits),
            clock,
        }
    }

    /// One step of `host`: written where it changed anything. May be taken several times.
    async fn step<T>(
        &self,
        host: &HostKey,
        mut take: impl FnMut(&mut LeasedHost, DateTime<Utc>) -> T,
    ) -> Result<T, TableError> {
        let key = Attributes::new().text(HOST, host.as_str()).into_item();
        let decide = |item: Option<&Item>| {
            let before = item.map(|item| self.read(item)).transpose()?;
            let before = before.unwrap_or_default();
            let mut after = before.clone();
            let answer = take(&mut after, self.clock.now());
            let replacement = (after != before).then(|| self.item(host, &after));
            Ok((answer, replacement.transpose()?))
        };
        self.table.change(&key, decide).await
    }

    fn read(&self, item: &Item) -> Result<LeasedHost, TableError> {
        let read = |window: &str| Ok(serde_json::from_str(window)?);
        self.table
            .read(item, |fields| fields.text(WINDOW).and_then(read))
    }

    fn item(&self, host: &HostKey, window: &LeasedHost) -> Result<Item, TableError> {
        let item = Attributes::new().text(HOST, host.as_str());
        match serde_json::to_string(window) {
            Ok(window) => Ok(item.text(WINDOW, window).into_item()),
            Err(error) => Err(self.table.unreadable(&item.into_item(), error)),
        }
    }
}

fn failed(error: TableError) -> WindowError {
    WindowError::Backend {
        source: Box::new(error),
    }
}

#[async_trait]
impl HostWindows for DynamoHostWindows {
    async fn acquire(
        &self,
        host: &HostKey,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<SlotDecision, WindowError> {
        let rules = self.limits.rules(host);
        let mut slot = Slot::new(host.clone(), self.clock.now(), false);
        let step = self.step(host, |window, now| {
            if window.has(&slot.id, now) {
                // An earlier try whose answer was lost got through.
                return SlotDecision::Granted(slot.clone());
            }
            match window.acquire(now, rules, &slot.id, owner, ttl) {
                Verdict::Refuse(decision) => decision,
                Verdict::Grant { is_hop } => {
                    (slot.granted_at, slot.is_hop) = (now, is_hop);
                    SlotDecision::Granted(slot.clone())
                }
            }
        });
        match step.await {
            // Everybody else got through: the host has enough to do.
            Err(TableError::Contended { .. }) => Ok(SlotDecision::Full(CONTENDED)),
            decision => decision.map_err(failed),
        }
    }

    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError> {
        let rules = self.limits.rules(&slot.host);
        let renewed = self.step(&slot.host, |window, now| {
            window.renew(now, rules, &slot.id, ttl)
        });
        match renewed.await.map_err(failed)? {
            true => Ok(()),
            false => Err(WindowError::SlotLost {
                host: slot.host.clone(),
            }),
        }
    }

    async fn release(&self, slot: Slot, signal: Signal) -> Result<(), WindowError> {
        let rules = self.limits.rules(&slot.host);
        let random = rand::rng().random();
        let released = self.step(&slot.host, |window, now| {
            window.release(now, rules, &slot, signal, random);
        });
        released.await.map_err(failed)
    }
}
