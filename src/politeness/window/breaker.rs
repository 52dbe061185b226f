//! The end of asking, for a host that only refuses.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{micros, past_only};
use crate::runtime::clock::later;

/// Events, or blocked episodes, without a success between that open it.
const FAILURES_TO_OPEN: usize = 5;
/// How long it stays open the first time.
const FIRST: Duration = Duration::from_secs(30 * 60);
/// The longest.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// Closed (everybody may ask), open (nobody), or half open: one may, and the answer decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Breaker {
    #[serde(with = "micros")]
    open_until: Option<DateTime<Utc>>,
    /// Times it opened without a success between; 0 is closed.
    openings: u32,
    /// Different episodes that were answered 403 since the last success, at most [`FAILURES_TO_OPEN`].
    blocked: Vec<u64>,
    #[serde(with = "micros")]
    last_block: Option<DateTime<Utc>>,
}

impl Breaker {
    /// When it lets somebody through again, where it is open.
    pub(super) fn until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.open_until.filter(|until| now < *until)
    }

    /// Forgets what is said to have happened after `now`, and an end of which that is true of the
    /// beginning: the next request is the probe.
    pub(super) fn forget_the_future(&mut self, now: DateTime<Utc>) {
        past_only(&mut self.last_block, now);
        let length = length(self.openings.saturating_sub(1));
        past_only(&mut self.open_until, later(now, length));
    }

    /// It was open, and the host has not served anything since.
    pub(super) fn is_half_open(&self) -> bool {
        self.openings > 0
    }

    /// Takes a congestion event, the `fails`-th without a success between.
    pub(super) fn congested(&mut self, now: DateTime<Utc>, fails: u32) {
        if self.is_half_open() || fails as usize >= FAILURES_TO_OPEN {
            self.open(now);
        }
    }

    /// Takes a 403 for `episode`, asked for at `granted_at`. True where it opened the breaker.
    ///
    /// One episode that is forbidden, however often it is asked for, says nothing about the host.
    pub(super) fn blocked(
        &mut self,
        now: DateTime<Utc>,
        episode: u64,
        granted_at: DateTime<Utc>,
    ) -> bool {
        if self.until(now).is_some() {
            return false;
        }
        self.last_block = Some(now);
        // An answer to what was asked before it opened is no answer to the probe.
        let opened = self.open_until.filter(|_| self.is_half_open());
        let is_probe = opened.is_some_and(|until| until <= granted_at);
        if !self.blocked.contains(&episode) && self.blocked.len() < FAILURES_TO_OPEN {
            self.blocked.push(episode);
        }
        let opens = is_probe || (opened.is_none() && self.blocked.len() >= FAILURES_TO_OPEN);
        if opens {
            self.open(now);
        }
        opens
    }

    /// The host served what it was asked for at `granted_at`.
    pub(super) fn succeeded(&mut self, granted_at: DateTime<Utc>) {
        let is_new = |at: Option<DateTime<Utc>>| at.is_none_or(|at| at <= granted_at);
        // Transfers that were under way when the host began to refuse prove nothing.
        if is_new(self.last_block) && (!self.is_half_open() || is_new(self.open_until)) {
            *self = Self::default();
        }
    }

    /// Opens it for longer than the last time.
    fn open(&mut self, now: DateTime<Utc>) {
        self.open_until = Some(later(now, length(self.openings)));
        self.openings = self.openings.saturating_add(1);
        self.blocked.clear();
    }
}

/// How long it stays open after it opened `openings` times before.
fn length(openings: u32) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(openings));
    doubled.min(LONGEST)
}
