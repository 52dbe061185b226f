//! Checkpoints in a table of DynamoDB.
//!
//! One item a subject, one index for [`list`](Checkpoints::list) and [`tally`](Checkpoints::tally):
//!
//! ```text
//! pk       ep#<feed_slug>#<hash of the guid>   guids may be 8 KiB long, keys may not
//! sk       <stage>
//! list_pk  <stage>#<state>#<shard>             index by_state, partition key
//! list_sk  <feed_slug>#<guid>                  index by_state, sort key
//! version  name of the latest write            see runtime/aws/dynamodb
//! feed_slug, guid, state, failures, token, owner, until_us, failure_class, failure_message, updated_us
//! ```
//!
//! * Each step is a consistent read, a function of [`state`], and one write on the condition that the
//!   item is still the one that was read. What the service may do with such a write (refuse it, do it
//!   and not say so, do it twice) is dealt with in [`Table`]; here it either happened or it did not.
//! * Tokens only grow: they stay in the item when it is planned again, and nothing deletes items. The
//!   table must have no time to live.
//! * An index partition takes a thousand writes a second, so each state of a stage is spread over
//!   four, as many as a new table takes in all. Lists merge the shards' pages in order; memory is a
//!   page a shard. A guid over 800 bytes counts in this order with its first 800.
//! * The index follows the table within milliseconds, seconds at worst. A record that is changing its
//!   state may be seen in both or in neither; the newer of two is listed. Whoever decides over a
//!   lease reads the table.
//! * Clocks of workers differ. One that is ahead takes a lease over too early, by the difference,
//!   and one that is behind too late: with leases of a minute and clocks within seconds neither is
//!   noticed. Taken over too early, the first owner's next renewal is refused by its token, it stops,
//!   and whatever it still tries to record is refused as well.

mod items;
mod listing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Acquired, CheckpointError, Checkpoints, Filter, Lease, Record, Reopen, Subject, Tally,
    Transition, state,
};
use crate::domain::OwnerId;
use crate::runtime::aws::dynamodb::{Item, Table, TableDefinition, TableError};
use crate::runtime::clock::Clock;

/// Subjects whose items are in memory at the same time while planning.
const PLAN_BATCH: usize = 1000;
/// Writes under way at the same time while planning.
const PLAN_WRITES: usize = 32;

/// The records of all stages in one table.
#[derive(Debug, Clone)]
pub struct DynamoCheckpoints {
    table: Table,
    clock: Arc<dyn Clock>,
}

impl DynamoCheckpoints {
    /// What the table has to be. The caller needs `GetItem`, `BatchGetItem` and `PutItem` on it, and
    /// `Query` on its index.
    pub const TABLE: TableDefinition = items::TABLE;

    /// The checkpoints in the table `name`; leases end by `clock`. Calls nobody.
    pub fn new(client: Client, name: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            table: Table::new(client, name, &items::TABLE),
            clock,
        }
    }

    /// The record in `item`, which was asked for under the key of `subject`.
    fn known(&self, item: Option<&Item>, subject: &Subject) -> Result<Option<Record>, TableError> {
        let Some(item) = item else {
            return Ok(None);
        };
        let record = self.table.read(item, items::record)?;
        if record.subject != *subject {
            return Err(self
                .table
                .unreadable(item, format!("it is of {}", record.subject)));
        }
        Ok(Some(record))
    }

    /// The item of a decision, if there is one to store.
    fn item(&self, record: Option<Record>) -> Result<Option<Item>, TableError> {
        let Some(record) = record else {
            return Ok(None);
        };
        let item = items::item(&record);
        if record.token == u64::MAX {
            let problem = "its token cannot grow any further";
            return Err(self.table.unreadable(&item, problem));
        }
        Ok(Some(item))
    }

    /// Changes the record under `lease`; no new record means that the lease is lost.
    async fn change_under(
        &self,
        lease: &Lease,
        decide: impl Fn(&Record) -> Option<Record> + Send,
    ) -> Result<(), CheckpointError> {
        let subject = &lease.subject;
        let key = items::key(subject);
        let changed = self.table.change(&key, |item| {
            let record = self.known(item, subject)?;
            let changed = record.as_ref().and_then(&decide);
            Ok((changed.is_some(), self.item(changed)?))
        });
        match changed.await.map_err(failed)? {
            true => Ok(()),
            false => Err(CheckpointError::LeaseLost {
                subject: subject.clone(),
            }),
        }
    }

    /// Plans a batch; says of each subject whether it is workable.
    async fn plan_batch(
        &self,
        subjects: &[Subject],
        reopen: Reopen,
    ) -> Result<Vec<bool>, TableError> {
        // A batch read refuses a key that is given twice.
        let keys: HashMap<_, _> = subjects
            .iter()
            .map(|subject| (subject, items::key(subject)))
            .collect();
        let keys: Vec<_> = keys.into_values().collect();
        let mut seen = HashMap::with_capacity(keys.len());
        for item in self.table.get_many(&keys).await? {
            let record = self.table.read(&item, items::record)?;
            seen.insert(record.subject, item);
        }
        let planned = subjects.iter().map(|subject| {
            let seen = seen.get(subject).cloned();
            self.plan_one(subject, seen, reopen)
        });
        // Collected first, since the stream would borrow the closure for too long.
        let planned: Vec<_> = planned.collect();
        stream::iter(planned)
            .buffered(PLAN_WRITES)
            .try_collect()
            .await
    }

    async fn plan_one(
        &self,
        subject: &Subject,
        seen: Option<Item>,
        reopen: Reopen,
    ) -> Result<bool, TableError> {
        let key = items::key(subject);
        let decide = |item: Option<&Item>| {
            let known = self.known(item, subject)?;
            let (is_workable, changed) = state::planned(known, subject, reopen, self.clock.now());
            Ok((is_workable, self.item(changed)?))
        };
        self.table.change_seen(&key, seen, decide).await
    }
}

#[async_trait]
impl Checkpoints for DynamoCheckpoints {
    async fn plan(
        &self,
        subjects: &[Subject],
        reopen: Reopen,
    ) -> Result<Vec<Subject>, CheckpointError> {
        let mut workable = Vec::new();
        for batch in subjects.chunks(PLAN_BATCH) {
            let planned = self.plan_batch(batch, reopen).await.map_err(failed)?;
            let are_workable = batch
                .iter()
                .zip(planned)
                .filter(|(_, is_workable)| *is_workable);
            workable.extend(are_workable.map(|(subject, _)| subject.clone()));
        }
        Ok(workable)
    }

    async fn acquire(
        &self,
        subject: &Subject,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<Acquired, CheckpointError> {
        let key = items::key(subject);
        let acquired = self.table.change(&key, |item| {
            let now = self.clock.now();
            let known = self.known(item, subject)?;
            let record = known.unwrap_or_else(|| state::fresh(subject.clone(), now));
            let (answer, changed) = state::acquire(&record, owner, ttl, now);
            Ok((answer, self.item(changed)?))
        });
        acquired.await.map_err(failed)
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), CheckpointError> {
        self.change_under(lease, |record| {
            state::renew(record, lease, ttl, self.clock.now())
        })
        .await
    }

    async fn advance(&self, lease: &Lease, transition: Transition) -> Result<(), CheckpointError> {
        self.change_under(lease, |record| {
            state::advance(record, lease, transition.clone(), self.clock.now())
        })
        .await
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, CheckpointError> {
        let item = self.table.get(&items::key(subject)).await.map_err(failed)?;
        self.known(item.as_ref(), subject).map_err(failed)
    }

    async fn list(
        &self,
        filter: &Filter,
        after: Option<&Subject>,
        limit: usize,
    ) -> Result<Vec<Record>, CheckpointError> {
        listing::list(&self.table, filter, after, limit)
            .await
            .map_err(failed)
    }

    async fn tally(&self) -> Result<Vec<Tally>, CheckpointError> {
        listing::tally(&self.table).await.map_err(failed)
    }
}

fn failed(error: TableError) -> CheckpointError {
    CheckpointError::Backend {
        source: Box::new(error),
    }
}
