//! Tables of DynamoDB whose items are replaced whole: read, decide, write if nobody wrote in between.
//!
//! Every item carries the random name of its latest write in the attribute `version`. A write is
//! conditional on the version that was read, so:
//!
//! * of two writers that read the same item one wins, and the other decides again on what the winner
//!   wrote;
//! * a write whose answer was lost (timeout, 500, dropped connection) is sent again by the SDK. If
//!   the first one took effect, the second is refused by an item that carries our own version: that
//!   is success, and not somebody else's write. If others wrote on top, the decision is made again
//!   on theirs;
//! * a copy of a request that arrives minutes late changes nothing.

mod definition;
mod item;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::AwsError;
use crate::runtime::retry::RetryPolicy;

pub use definition::{IndexDefinition, TableDefinition};
pub use item::{Attributes, Fields, Problem};

/// An item, or the key of one.
pub type Item = HashMap<String, AttributeValue>;

/// Name of an item's latest write.
const VERSION: &str = "version";
/// Writers that meet on one item: each round one of them gets through.
const CONFLICTS: RetryPolicy = RetryPolicy {
    max_attempts: 16,
    base: Duration::from_millis(10),
    cap: Duration::from_secs(1),
};
/// Keys that one `BatchGetItem` takes.
const BATCH: usize = 100;
/// Batches read at the same time.
const BATCHES: usize = 4;
/// A batch is answered in part where the table is throttled or the items exceed 16 MiB.
const UNPROCESSED: RetryPolicy = RetryPolicy {
    max_attempts: 10,
    base: Duration::from_millis(50),
    cap: Duration::from_secs(5),
};

/// A failed call on a table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The service refused, or could not be reached, after the SDK's own retries.
    #[error("table {table}: {source}")]
    Call {
        /// Which table.
        table: String,
        /// The SDK's error in words.
        #[source]
        source: AwsError,
    },
    /// An item holds what no podrun wrote.
    #[error(
        "table {table}: the item {item} cannot be read: {problem}; correct or delete it and run again"
    )]
    UnreadableItem {
        /// Which table.
        table: String,
        /// The item's key.
        item: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Others wrote the item each time between our read and our write.
    #[error("table {table}: the item {item} changed under each of {} writes", CONFLICTS.max_attempts)]
    Contended {
        /// Which table.
        table: String,
        /// The item's key.
        item: String,
    },
    /// The service kept leaving keys of a batch unread.
    #[error(
        "table {table}: BatchGetItem left {keys} keys unread {} times; the table is throttled",
        UNPROCESSED.max_attempts
    )]
    Unprocessed {
        /// Which table.
        table: String,
        /// How many keys.
        keys: usize,
    },
}

impl TableError {
    /// Whether the account refuses us, so that trying again is pointless.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Call { source, .. } if source.is_refusal())
    }
}

/// A table as one adapter uses it. Clones share the client.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
    definition: &'static TableDefinition,
}

/// What a conditional write came to.
enum Written {
    Ours,
    /// Somebody else wrote since.
    Theirs,
}

impl Table {
    /// The table `name`, which has to be as `definition` says. Calls nobody.
    pub fn new(
        client: Client,
        name: impl Into<String>,
        definition: &'static TableDefinition,
    ) -> Self {
        Self {
            client,
            name: name.into(),
            definition,
        }
    }

    /// The client, for calls that are one adapter's own.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The item with that key, as of now (a consistent read).
    ///
    /// # Errors
    ///
    /// [`TableError::Call`].
    pub async fn get(&self, key: &Item) -> Result<Option<Item>, TableError> {
        let get = self.client.get_item().table_name(&self.name);
        let got = get
            .set_key(Some(key.clone()))
            .consistent_read(true)
            .send()
            .await;
        Ok(got.map_err(|error| self.failed("GetItem", &error))?.item)
    }

    /// The items with those keys, as of now, in no order; what does not exist is left out. A key must
    /// not be given twice.
    ///
    /// # Errors
    ///
    /// [`TableError::Call`], [`TableError::Unprocessed`].
    pub async fn get_many(&self, keys: &[Item]) -> Result<Vec<Item>, TableError> {
        // Collected first: a stream over borrowed keys cannot be sent to another thread.
        let batches: Vec<_> = keys
            .chunks(BATCH)
            .map(|batch| self.get_batch(batch.to_vec()))
            .collect();
        let batches: Vec<Vec<Item>> = stream::iter(batches)
            .buffer_unordered(BATCHES)
            .try_collect()
            .await?;
        Ok(batches.into_iter().flatten().collect())
    }

    /// Replaces the item by what `decide` makes of it, and passes the answer on. `decide` is asked
    /// again with the new item where somebody else wrote in between; no item to store writes nothing.
    /// What it returns must have the key it was asked for.
    ///
    /// # Errors
    ///
    /// [`TableError::Call`], [`TableError::Contended`], and what `decide` finds.
    pub async fn change<T>(
        &self,
        key: &Item,
        decide: impl FnMut(Option<&Item>) -> Result<(T, Option<Item>), TableError>,
    ) -> Result<T, TableError> {
        let seen = self.get(key).await?;
        self.change_seen(key, seen, decide).await
    }

    /// The same for an item that was read already, `None` where there was none.
    ///
    /// # Errors
    ///
    /// As [`change`](Self::change).
    pub async fn change_seen<T>(
        &self,
        key: &Item,
        mut seen: Option<Item>,
        mut decide: impl FnMut(Option<&Item>) -> Result<(T, Option<Item>), TableError>,
    ) -> Result<T, TableError> {
        let mut conflicts = 0;
        loop {
            let (answer, replacement) = decide(seen.as_ref())?;
            let Some(replacement) = replacement else {
                return Ok(answer);
            };
            if let Written::Ours = self.replace(seen.as_ref(), replacement).await? {
                return Ok(answer);
            }
            conflicts += 1;
            let Some(pause) = CONFLICTS.jittered(conflicts) else {
                return Err(TableError::Contended {
                    table: self.name.clone(),
                    item: self.described(key),
                });
            };
            tokio::time::sleep(pause).await;
            // What the refusal brought along is as old as the pause by now. With many writers it is
            // outdated, and only a fresh one gets through.
            seen = self.get(key).await?;
        }
    }

    /// Takes an item apart with `read`; what fails there is reported with the item's key.
    ///
    /// # Errors
    ///
    /// [`TableError::UnreadableItem`].
    pub fn read<T>(
        &self,
        item: &Item,
        read: impl FnOnce(Fields<'_>) -> Result<T, Problem>,
    ) -> Result<T, TableError> {
        read(Fields::of(item)).map_err(|problem| self.unreadable(item, problem))
    }

    /// An item that must not be worked with.
    pub fn unreadable(&self, item: &Item, problem: impl Into<Problem>) -> TableError {
        TableError::UnreadableItem {
            table: self.name.clone(),
            item: self.described(item),
            problem: problem.into().to_string(),
        }
    }

    /// A failed call of the SDK.
    pub fn failed<E, R>(&self, operation: &'static str, error: &SdkError<E, R>) -> TableError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        TableError::Call {
            table: self.name.clone(),
            source: AwsError::new(operation, error),
        }
    }

    async fn replace(&self, seen: Option<&Item>, mut item: Item) -> Result<Written, TableError> {
        let version = AttributeValue::S(uuid::Uuid::new_v4().simple().to_string());
        item.insert(VERSION.to_owned(), version.clone());
        let put = self.client.put_item().table_name(&self.name);
        let put = put
            .set_item(Some(item))
            .expression_attribute_names("#version", VERSION)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match seen.and_then(|item| item.get(VERSION)) {
            // Neither an item nor, where somebody wrote one by hand, a version.
            None => put.condition_expression("attribute_not_exists(#version)"),
            Some(seen) => put
                .condition_expression("#version = :seen")
                .expression_attribute_values(":seen", seen.clone()),
        };
        let Err(error) = put.send().await else {
            return Ok(Written::Ours);
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                let current = refused.item().filter(|item| !item.is_empty());
                let is_ours = current.and_then(|item| item.get(VERSION)) == Some(&version);
                Ok(match is_ours {
                    true => Written::Ours,
                    false => Written::Theirs,
                })
            }
            _ => Err(self.failed("PutItem", &error)),
        }
    }

    async fn get_batch(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, TableError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut failures = 0;
        while !keys.is_empty() {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true);
            // The builder refuses a request without keys, and there are some.
            let request = request.build().map_err(|error| {
                self.failed(
                    "BatchGetItem",
                    &SdkError::<PutItemError>::construction_failure(error),
                )
            })?;
            let get = self.client.batch_get_item();
            let got = get.request_items(&self.name, request).send().await;
            let got = got.map_err(|error| self.failed("BatchGetItem", &error))?;
            let items = got
                .responses
                .and_then(|mut by_table| by_table.remove(&self.name));
            found.extend(items.unwrap_or_default());
            let left = got
                .unprocessed_keys
                .and_then(|mut by_table| by_table.remove(&self.name));
            keys = left.map(|left| left.keys).unwrap_or_default();
            if keys.is_empty() {
                break;
            }
            failures += 1;
            let Some(pause) = UNPROCESSED.jittered(failures) else {
                return Err(TableError::Unprocessed {
                    table: self.name.clone(),
                    keys: keys.len(),
                });
            };
            tokio::time::sleep(pause).await;
        }
        Ok(found)
    }

    fn described(&self, item: &Item) -> String {
        item::described(item, &self.definition.key())
    }
}
