//! Reading many records: the pages of an index's shards, merged in order.

use std::collections::{BTreeMap, VecDeque};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};

use super::items::{self, INDEX, SHARDS};
use crate::checkpoint::{Filter, Record, State, Subject, Tally};
use crate::domain::{FeedSlug, StageName};
use crate::runtime::aws::dynamodb::{Fields, Item, Table, TableError};

/// Most items of a shard in memory.
const PAGE: usize = 500;
/// Fewest items worth a call.
const SMALL_PAGE: usize = 25;
/// Shards counted at the same time.
const COUNTS: usize = 8;

/// Up to `limit` records that fit, in order, after `after`.
pub(super) async fn list(
    table: &Table,
    filter: &Filter,
    after: Option<&Subject>,
    limit: usize,
) -> Result<Vec<Record>, TableError> {
    let mut records: Vec<Record> = Vec::new();
    let first_stage = after.map(|after| after.stage);
    for stage in StageName::ALL {
        if filter.stage.is_some_and(|wanted| wanted != stage) || Some(stage) < first_stage {
            continue;
        }
        let after = after.filter(|after| after.stage == stage);
        let Some(mut merged) = Merged::over(stage, filter, after, limit - records.len()) else {
            continue;
        };
        while let Some(record) = merged.next(table).await? {
            match records.last_mut() {
                // One that just changed its state may be in both.
                Some(last) if last.subject == record.subject => {
                    if version(last) < version(&record) {
                        *last = record;
                    }
                    continue;
                }
                _ => {}
            }
            if records.len() == limit {
                return Ok(records);
            }
            records.push(record);
        }
    }
    Ok(records)
}

fn version(record: &Record) -> (u64, chrono::DateTime<chrono::Utc>) {
    (record.token, record.updated_at)
}

/// The shards of one stage.
struct Merged {
    shards: Vec<Shard>,
}

impl Merged {
    /// `None` where no record can fit.
    fn over(
        stage: StageName,
        filter: &Filter,
        after: Option<&Subject>,
        limit: usize,
    ) -> Option<Self> {
        let (mut low, high) = items::sort_keys(filter.feed.as_ref());
        let after = after.map(|after| items::sort_key(&after.episode));
        if let Some(after) = &after {
            low = low.max(after.clone());
        }
        if limit == 0 || low > high {
            return None;
        }
        let states = State::ALL.into_iter();
        let states = states.filter(|state| filter.state.is_none_or(|wanted| wanted == *state));
        let partitions: Vec<_> = states
            .flat_map(|state| (0..SHARDS).map(move |shard| items::partition(stage, state, shard)))
            .collect();
        // Twice a shard's share: subjects spread evenly, but not exactly so.
        let page = (limit / partitions.len())
            .saturating_mul(2)
            .clamp(SMALL_PAGE, PAGE);
        let shard = |partition| Shard {
            partition,
            low: low.clone(),
            high: high.clone(),
            after: after.clone(),
            page,
            items: VecDeque::new(),
            next: Next::First,
        };
        Some(Self {
            shards: partitions.into_iter().map(shard).collect(),
        })
    }

    /// The first record that was not returned yet.
    async fn next(&mut self, table: &Table) -> Result<Option<Record>, TableError> {
        let empty = self.shards.iter_mut().filter(|shard| shard.is_behind());
        let reads: Vec<_> = empty.map(|shard| shard.fill(table)).collect();
        try_join_all(reads).await?;
        let ahead = self
            .shards
            .iter_mut()
            .filter(|shard| !shard.items.is_empty())
            .min_by(|one, other| one.head().cmp(&other.head()));
        let Some((_, item)) = ahead.and_then(|shard| shard.items.pop_front()) else {
            return Ok(None);
        };
        table.read(&item, items::record).map(Some)
    }
}

/// One partition of the index, read page by page.
struct Shard {
    partition: String,
    low: String,
    high: String,
    after: Option<String>,
    page: usize,
    /// What was read and not returned yet, with its sort key.
    items: VecDeque<(String, Item)>,
    next: Next,
}

enum Next {
    First,
    From(Item),
    End,
}

impl Shard {
    fn head(&self) -> Option<&str> {
        self.items.front().map(|(sort_key, _)| sort_key.as_str())
    }

    fn is_behind(&self) -> bool {
        self.items.is_empty() && !matches!(self.next, Next::End)
    }

    /// Reads on until there is an item, or no more.
    async fn fill(&mut self, table: &Table) -> Result<(), TableError> {
        while self.items.is_empty() {
            let start = match &mut self.next {
                Next::End => return Ok(()),
                Next::First => None,
                Next::From(key) => Some(std::mem::take(key)),
            };
            let got = query(table, &self.partition, &self.low, &self.high)
                .limit(i32::try_from(self.page).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await;
            let got = got.map_err(|error| table.failed("Query", &error))?;
            self.next = match got.last_evaluated_key {
                Some(key) if !key.is_empty() => Next::From(key),
                _ => Next::End,
            };
            for item in got.items.unwrap_or_default() {
                let sort_key =
                    table.read(&item, |fields| Ok(fields.text(INDEX.sort_key)?.to_owned()))?;
                if self.after.as_ref() != Some(&sort_key) {
                    self.items.push_back((sort_key, item));
                }
            }
        }
        Ok(())
    }
}

fn query(table: &Table, partition: &str, low: &str, high: &str) -> QueryFluentBuilder {
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let query = table.client().query().table_name(table.name());
    query
        .index_name(INDEX.name)
        .key_condition_expression("#partition = :partition AND #sort BETWEEN :low AND :high")
        .expression_attribute_names("#partition", INDEX.partition_key)
        .expression_attribute_names("#sort", INDEX.sort_key)
        .expression_attribute_values(":partition", text(partition))
        .expression_attribute_values(":low", text(low))
        .expression_attribute_values(":high", text(high))
}

/// Counts by stage, feed and state.
pub(super) async fn tally(table: &Table) -> Result<Vec<Tally>, TableError> {
    let mut counts = Vec::new();
    for stage in StageName::ALL {
        for state in State::ALL {
            for shard in 0..SHARDS {
                counts.push(count(table, stage, state, shard));
            }
        }
    }
    let mut shards = stream::iter(counts).buffer_unordered(COUNTS);
    let mut tallies = BTreeMap::<_, u64>::new();
    while let Some((stage, state, feeds)) = shards.try_next().await? {
        for (feed, count) in feeds {
            *tallies.entry((stage, feed, state)).or_default() += count;
        }
    }
    let tally = |((stage, feed, state), count)| Tally {
        stage,
        feed,
        state,
        count,
    };
    Ok(tallies.into_iter().map(tally).collect())
}

async fn count(
    table: &Table,
    stage: StageName,
    state: State,
    shard: u8,
) -> Result<(StageName, State, BTreeMap<FeedSlug, u64>), TableError> {
    let mut feeds = BTreeMap::new();
    let (low, high) = items::sort_keys(None);
    let query = query(table, &items::partition(stage, state, shard), &low, &high);
    let mut pages = query
        .projection_expression("pk, sk, feed_slug")
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| table.failed("Query", &error))?;
        for item in page.items() {
            let feed = table.read(item, |fields: Fields<'_>| items::feed(fields))?;
            *feeds.entry(feed).or_default() += 1;
        }
    }
    Ok((stage, state, feeds))
}
