//! Adapter: host windows in memory, for tests and for a single worker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::window::{CLOCK_SKEW, Ended, HostState, Leases, Verdict};
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::OwnerId;
use crate::runtime::clock::{Clock, later};

/// Windows that end with the process.
#[derive(Debug)]
pub struct MemoryHostWindows {
    limits: HostLimits,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    hosts: HashMap<HostKey, Host>,
    random: StdRng,
}

#[derive(Debug, Default)]
struct Host {
    state: HostState,
    leases: HashMap<String, Lease>,
}

#[derive(Debug)]
struct Lease {
    until: DateTime<Utc>,
    is_hop: bool,
}

impl Host {
    /// What is out at `now`; what expired is gone.
    fn out(&mut self, now: DateTime<Utc>) -> Leases {
        self.leases.retain(|_, lease| now < lease.until);
        let mut out = Leases::default();
        for lease in self.leases.values() {
            match lease.is_hop {
                true => out.hops += 1,
                false => out.slots += 1,
            }
            let first = out.first_expiry.unwrap_or(lease.until);
            out.first_expiry = Some(first.min(lease.until));
        }
        out
    }
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
        _owner: &OwnerId,
        ttl: Duration,
    ) -> Result<SlotDecision, WindowError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let entry = inner.hosts.entry(host.clone()).or_default();
        for lease in entry.leases.values_mut() {
            let longest = later(now, ttl);
            if lease.until > later(longest, CLOCK_SKEW) {
                // From before the clock was set back.
                lease.until = longest;
            }
        }
        let out = entry.out(now);
        match entry.state.acquire(now, self.limits.rules(host), out) {
            Verdict::Refuse(decision) => Ok(decision),
            Verdict::Grant { is_hop } => {
                let slot = Slot::new(host.clone(), now, is_hop);
                let until = later(now, ttl);
                entry
                    .leases
                    .insert(slot.id.clone(), Lease { until, is_hop });
                Ok(SlotDecision::Granted(slot))
            }
        }
    }

    async fn renew(&self, slot: &Slot, ttl: Duration) -> Result<(), WindowError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let lost = || WindowError::SlotLost {
            host: slot.host.clone(),
        };
        let host = inner.hosts.get_mut(&slot.host).ok_or_else(lost)?;
        let out = host.out(now);
        let lease = host.leases.get_mut(&slot.id).ok_or_else(lost)?;
        if lease.is_hop && !host.state.saw_body(self.limits.rules(&slot.host), out) {
            return Err(lost());
        }
        lease.until = later(now, ttl);
        lease.is_hop = false;
        Ok(())
    }

    async fn release(&self, slot: Slot, signal: Signal) -> Result<(), WindowError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let Inner { hosts, random } = &mut *inner;
        let host = hosts.entry(slot.host.clone()).or_default();
        let in_flight = host.out(now).slots;
        let ended = Ended {
            signal,
            granted_at: slot.granted_at,
            was_live: host.leases.remove(&slot.id).is_some(),
            in_flight,
        };
        let rules = self.limits.rules(&slot.host);
        host.state.learn(now, rules, ended, random.random());
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
