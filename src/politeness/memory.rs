//! Adapter: host windows in memory, for tests and for a single worker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::window::{HostState, Verdict};
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::OwnerId;
use crate::runtime::clock::{Clock, later};

/// Windows that end with the process, of fixed size: how transfers went changes nothing.
#[derive(Debug)]
pub struct MemoryHostWindows {
    limits: HostLimits,
    clock: Arc<dyn Clock>,
    hosts: Mutex<HashMap<HostKey, Host>>,
}

#[derive(Debug, Default)]
struct Host {
    not_before: Option<DateTime<Utc>>,
    next_start: Option<DateTime<Utc>>,
    /// When each slot expires.
    slots: HashMap<String, DateTime<Utc>>,
}

impl Host {
    fn state(&self) -> HostState {
        HostState {
            not_before: self.not_before,
            next_start: self.next_start,
            live: u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
            first_expiry: self.slots.values().min().copied(),
        }
    }
}

impl MemoryHostWindows {
    /// Windows without any slot taken.
    pub fn new(limits: HostLimits, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits,
            clock,
            hosts: Mutex::default(),
        }
    }

    /// The windows stay usable after a panic elsewhere: no change is made in two steps.
    fn hosts(&self) -> MutexGuard<'_, HashMap<HostKey, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HostWindows for MemoryHostWindows {
    async fn acquire(
        &self,
        host: &HostKey,
        _owner: &OwnerId,
        ttl: Duration,
    ) -> Result<SlotDecision, WindowError> {
        let mut hosts = self.hosts();
        let entry = hosts.entry(host.clone()).or_default();
        let now = self.clock.now();
        entry.slots.retain(|_, expiry| now < *expiry);
        let limit = self.limits.limit(host);
        match entry
            .state()
            .decide(now, limit, self.limits.start_spacing())
        {
            Verdict::Refuse(decision) => Ok(decision),
            Verdict::Grant { next_start } => {
                let id = uuid::Uuid::new_v4().simple().to_string();
                entry.next_start = Some(next_start);
                entry.slots.insert(id.clone(), later(now, ttl));
                let host = host.clone();
                Ok(SlotDecision::Granted(Slot { host, id }))
            }
        }
    }

    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError> {
        let now = self.clock.now();
        let mut hosts = self.hosts();
        let expiry = hosts
            .get_mut(&slot.host)
            .and_then(|host| host.slots.get_mut(&slot.id));
        match expiry {
            Some(expiry) if now < *expiry => {
                *expiry = later(now, ttl);
                Ok(())
            }
            _ => Err(WindowError::SlotLost {
                host: slot.host.clone(),
            }),
        }
    }

    async fn release(&self, slot: Slot, _signal: Signal) -> Result<(), WindowError> {
        if let Some(host) = self.hosts().get_mut(&slot.host) {
            host.slots.remove(&slot.id);
        }
        Ok(())
    }

    async fn hold_off(&self, host: &HostKey, until: DateTime<Utc>) -> Result<(), WindowError> {
        let mut hosts = self.hosts();
        let entry = hosts.entry(host.clone()).or_default();
        entry.not_before = entry.not_before.max(Some(until));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use crate::runtime::clock::ManualClock;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_keeps_the_ports_promises() {
        let clock = Arc::new(ManualClock::default());
        let windows = MemoryHostWindows::new(conformance::limits(), clock.clone());
        conformance::all(Arc::new(windows), clock).await;
    }
}
