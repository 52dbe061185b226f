//! Checkpoints that end with the process; for tests and examples.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Acquired, CheckpointError, Checkpoints, Filter, Lease, Record, Reopen, Subject, Tally,
    Transition, state,
};
use crate::domain::OwnerId;
use crate::runtime::clock::Clock;

/// Checkpoints in memory.
#[derive(Debug)]
pub struct MemoryCheckpoints {
    clock: Arc<dyn Clock>,
    records: Mutex<BTreeMap<Subject, Record>>,
}

impl MemoryCheckpoints {
    /// Without records; leases end by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            records: Mutex::default(),
        }
    }

    /// Makes everything `owner` has on lease pending at once; for an owner that is known to be
    /// dead. Returns how many subjects that were.
    pub async fn release_owner(&self, owner: &OwnerId) -> Result<u64, CheckpointError> {
        let now = self.clock.now();
        let mut released = 0;
        for record in self.records().values_mut() {
            if let Some(pending) = state::release(record, owner, now) {
                *record = pending;
                released += 1;
            }
        }
        Ok(released)
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Subject, Record>> {
        // Records are replaced whole, so a panic elsewhere leaves nothing half done.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_under(
        &self,
        lease: &Lease,
        decide: impl FnOnce(&Record) -> Option<Record>,
    ) -> Result<(), CheckpointError> {
        let mut records = self.records();
        if let Some(record) = records.get_mut(&lease.subject)
            && let Some(changed) = decide(record)
        {
            *record = changed;
            return Ok(());
        }
        Err(CheckpointError::LeaseLost {
            subject: lease.subject.clone(),
        })
    }
}

#[async_trait]
impl Checkpoints for MemoryCheckpoints {
    async fn plan(
        &self,
        subjects: &[Subject],
        reopen: Reopen,
    ) -> Result<Vec<Subject>, CheckpointError> {
        let now = self.clock.now();
        let mut records = self.records();
        let mut workable = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let known = records.get(subject).cloned();
            let (is_workable, changed) = state::planned(known, subject, reopen, now);
            if let Some(record) = changed {
                records.insert(subject.clone(), record);
            }
            if is_workable {
                workable.push(subject.clone());
            }
        }
        Ok(workable)
    }

    async fn acquire(
        &self,
        subject: &Subject,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<Acquired, CheckpointError> {
        let now = self.clock.now();
        let mut records = self.records();
        let known = records.get(subject).cloned();
        let record = known.unwrap_or_else(|| state::fresh(subject.clone(), now));
        let (answer, changed) = state::acquire(&record, owner, ttl, now);
        if let Some(record) = changed {
            records.insert(subject.clone(), record);
        }
        Ok(answer)
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), CheckpointError> {
        let now = self.clock.now();
        self.change_under(lease, |record| state::renew(record, lease, ttl, now))
    }

    async fn advance(&self, lease: &Lease, transition: Transition) -> Result<(), CheckpointError> {
        let now = self.clock.now();
        self.change_under(lease, |record| {
            state::advance(record, lease, transition, now)
        })
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, CheckpointError> {
        Ok(self.records().get(subject).cloned())
    }

    async fn list(
        &self,
        filter: &Filter,
        after: Option<&Subject>,
        limit: usize,
    ) -> Result<Vec<Record>, CheckpointError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let records = self.records();
        let fitting = records
            .range::<Subject, _>((start, Bound::Unbounded))
            .map(|(_, record)| record)
            .filter(|record| fits(filter, record));
        Ok(fitting.take(limit).cloned().collect())
    }

    async fn tally(&self) -> Result<Vec<Tally>, CheckpointError> {
        let mut counts = BTreeMap::<_, u64>::new();
        for (subject, record) in &*self.records() {
            let feed = subject.episode.feed_slug.clone();
            *counts
                .entry((subject.stage, feed, record.state))
                .or_default() += 1;
        }
        let tally = |((stage, feed, state), count)| Tally {
            stage,
            feed,
            state,
            count,
        };
        Ok(counts.into_iter().map(tally).collect())
    }
}

fn fits(filter: &Filter, record: &Record) -> bool {
    let Subject { stage, episode } = &record.subject;
    filter.stage.is_none_or(|wanted| wanted == *stage)
        && filter
            .feed
            .as_ref()
            .is_none_or(|wanted| *wanted == episode.feed_slug)
        && filter.state.is_none_or(|wanted| wanted == record.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::conformance::{self, Fixture};
    use crate::runtime::clock::ManualClock;

    fn fixture() -> Fixture<MemoryCheckpoints> {
        let clock = Arc::new(ManualClock::default());
        let checkpoints = Arc::new(MemoryCheckpoints::new(clock.clone()));
        Fixture {
            first: checkpoints.clone(),
            second: checkpoints,
            clock,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn conforms() {
        conformance::run_all(async || fixture()).await.unwrap();
        conformance::gives_a_dead_owners_subjects_back(
            &fixture(),
            async |checkpoints: &MemoryCheckpoints, owner| checkpoints.release_owner(owner).await,
        )
        .await
        .unwrap();
    }
}
