//! Adapter: host windows in memory, for tests and for a single worker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::window::{LeasedHost, Verdict};
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::OwnerId;
use crate::runtime::clock::Clock;

/// Windows that end with the process.
#[derive(Debug)]
pub struct MemoryHostWindows {
    limits: HostLimits,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    hosts: HashMap<HostKey, LeasedHost>,
    random: StdRng,
}

impl MemoryHostWindows {
    /// Windows without any slot taken.
    pub fn new(limits: HostLimits, clock: Arc<dyn Clock>) -> Self {
        Self::with_random(limits, clock, StdRng::from_os_rng())
    }

    /// The same, whose jitter repeats with `seed`; for simulations.
    pub fn seeded(limits: HostLimits, clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self::with_random(limits, clock, StdRng::seed_from_u64(seed))
    }

    fn with_random(limits: HostLimits, clock: Arc<dyn Clock>, random: StdRng) -> Self {
        let hosts = HashMap::new();
        Self {
            limits,
            clock,
            inner: Mutex::new(Inner { hosts, random }),
        }
    }

    /// The windows stay usable after a panic elsewhere: nothing in here panics between two changes.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HostWindows for MemoryHostWindows {
    async fn acquire(
        &self,
        host: &HostKey,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<SlotDecision, WindowError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let mut slot = Slot::new(host.clone(), now, false);
        let window = inner.hosts.entry(host.clone()).or_default();
        match window.acquire(now, self.limits.rules(host), &slot.id, owner, ttl) {
            Verdict::Refuse(decision) => Ok(decision),
            Verdict::Grant { is_hop } => {
                slot.is_hop = is_hop;
                Ok(SlotDecision::Granted(slot))
            }
        }
    }

    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let rules = self.limits.rules(&slot.host);
        let window = inner.hosts.get_mut(&slot.host);
        match window.is_some_and(|window| window.renew(now, rules, &slot.id, ttl)) {
            true => Ok(()),
            false => Err(WindowError::SlotLost {
                host: slot.host.clone(),
            }),
        }
    }

    async fn release(&self, slot: Slot, signal: Signal) -> Result<(), WindowError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let Inner { hosts, random } = &mut *inner;
        let window = hosts.entry(slot.host.clone()).or_default();
        let rules = self.limits.rules(&slot.host);
        window.release(now, rules, &slot, signal, random.random());
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
