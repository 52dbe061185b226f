//! A host's window with the leases on it, for adapters that keep both in one place.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CLOCK_SKEW, Ended, HostState, Leases, Rules, Verdict};
use crate::domain::OwnerId;
use crate::politeness::{Signal, Slot};
use crate::runtime::clock::later;

/// Everything remembered about a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::politeness) struct LeasedHost {
    state: HostState,
    /// By the slot's handle.
    leases: BTreeMap<String, Lease>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Lease {
    /// For whoever looks at it.
    owner: String,
    #[serde(with = "chrono::serde::ts_microseconds")]
    until: DateTime<Utc>,
    is_hop: bool,
}

impl LeasedHost {
    /// Decides about one more request, and where it may go notes it under `id`. A refusal changes
    /// nothing but leases from before the clock was set back.
    pub(in crate::politeness) fn acquire(
        &mut self,
        now: DateTime<Utc>,
        rules: Rules,
        id: &str,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Verdict {
        let until = later(now, ttl);
        self.shorten(until);
        let mut state = self.state.clone();
        let verdict = state.acquire(now, rules, self.out(now));
        if let Verdict::Grant { is_hop } = verdict {
            self.state = state;
            self.leases.retain(|_, lease| now < lease.until);
            let owner = owner.as_str().to_owned();
            let lease = Lease {
                owner,
                until,
                is_hop,
            };
            self.leases.insert(id.to_owned(), lease);
        }
        verdict
    }

    /// Whether there is a lease `id` at `now`.
    pub(in crate::politeness) fn has(&self, id: &str, now: DateTime<Utc>) -> bool {
        self.leases.get(id).is_some_and(|lease| now < lease.until)
    }

    /// Keeps the lease `id`, as one of a transfer from now on; false where it ended, or where the
    /// window is full of transfers already.
    pub(in crate::politeness) fn renew(
        &mut self,
        now: DateTime<Utc>,
        rules: Rules,
        id: &str,
        ttl: Duration,
    ) -> bool {
        let out = self.out(now);
        let Some(lease) = self.leases.get_mut(id).filter(|lease| now < lease.until) else {
            return false;
        };
        if lease.is_hop && !self.state.saw_body(rules, out) {
            return false;
        }
        lease.until = later(now, ttl);
        lease.is_hop = false;
        true
    }

    /// Takes the lease back and learns from how it went. `random` is uniform in `[0, 1)`.
    pub(in crate::politeness) fn release(
        &mut self,
        now: DateTime<Utc>,
        rules: Rules,
        slot: &Slot,
        signal: Signal,
        random: f64,
    ) {
        let in_flight = self.out(now).slots;
        let ended = Ended {
            signal,
            granted_at: slot.granted_at,
            was_live: self.has(&slot.id, now),
            in_flight,
        };
        self.leases.remove(&slot.id);
        self.state.learn(now, rules, ended, random);
    }

    /// Makes a lease that would last far longer than one until `longest` such a one: it is from before
    /// the clock was set back, and its owner may be dead since.
    fn shorten(&mut self, longest: DateTime<Utc>) {
        let suspect = later(longest, CLOCK_SKEW);
        let leases = self.leases.values_mut();
        for lease in leases.filter(|lease| suspect < lease.until) {
            lease.until = longest;
        }
    }

    /// What is out at `now`.
    fn out(&self, now: DateTime<Utc>) -> Leases {
        let mut out = Leases::default();
        for lease in self.leases.values().filter(|lease| now < lease.until) {
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
