//! How many transfers at once.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Beta, micros, past_only};

/// The width that a host never asked before begins with.
const START: u32 = 2;
/// Successes for one more slot below the cap: the host bore that width before.
const SUCCESSES_TO_REGAIN: u32 = 10;
/// Successes for one more slot above it, and for believing one.
const SUCCESSES_TO_GROW: u32 = 25;
/// Successes since the last event before the first probe above the cap.
const SUCCESSES_TO_PROBE: u32 = 250;
/// The most that failed probes raise that to.
const MOST_TO_PROBE: u32 = 4000;
/// A cap this old is probed whatever the count.
const PROBE_ANYWAY: TimeDelta = TimeDelta::days(1);

/// The width with what is known about its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Width {
    slots: u32,
    /// The widest that is known to be good; none before the first event (slow start).
    cap: Option<u32>,
    /// Successes since the last event.
    ok_since_event: u32,
    /// Successes, with the window in use, since the width last changed.
    ok_since_change: u32,
    /// Successes since the last event that the next probe needs.
    probe_after: u32,
    /// When the cap was last found too wide, or its probe began.
    #[serde(with = "micros")]
    probed_at: Option<DateTime<Utc>>,
}

impl Default for Width {
    fn default() -> Self {
        Self {
            slots: START,
            cap: None,
            ok_since_event: 0,
            ok_since_change: 0,
            probe_after: SUCCESSES_TO_PROBE,
            probed_at: None,
        }
    }
}

impl Width {
    /// The width under `limit`, at least 1.
    pub(super) fn slots(&self, limit: u32) -> u32 {
        self.slots.min(limit).max(1)
    }

    /// Counts a success with `in_flight` transfers out, itself included, and grows where it may.
    pub(super) fn succeeded(
        &mut self,
        now: DateTime<Utc>,
        limit: u32,
        in_flight: u32,
        may_grow: bool,
    ) {
        self.ok_since_event = self.ok_since_event.saturating_add(1);
        let slots = self.slots(limit);
        // An idle window proves nothing about its width.
        if in_flight.saturating_mul(2) < slots {
            return;
        }
        self.ok_since_change = self.ok_since_change.saturating_add(1);
        if self.ok_since_change >= SUCCESSES_TO_GROW {
            // A probe that held: the cap moves up to it.
            self.cap = self.cap.map(|cap| cap.max(slots));
        }
        if slots < limit && may_grow && self.is_due(now, slots, in_flight) {
            if self.cap.is_some_and(|cap| slots >= cap) {
                self.probed_at = Some(now);
            }
            self.change(slots + 1);
        }
    }

    fn is_due(&self, now: DateTime<Utc>, slots: u32, in_flight: u32) -> bool {
        let Some(cap) = self.cap else {
            // Slow start goes by success, and only where the window is really full.
            return in_flight >= slots;
        };
        let has_waited = || {
            let since = self.probed_at.map(|at| now - at);
            self.ok_since_event >= self.probe_after || since.is_none_or(|age| age >= PROBE_ANYWAY)
        };
        match slots < cap {
            true => self.ok_since_change >= SUCCESSES_TO_REGAIN,
            false => self.ok_since_change >= SUCCESSES_TO_GROW && has_waited(),
        }
    }

    /// Whether the host bore this width: before, or for a whole round of transfers just now.
    pub(super) fn is_proven(&self, limit: u32) -> bool {
        let slots = self.slots(limit);
        self.cap
            .is_some_and(|cap| slots <= cap || self.ok_since_change >= slots)
    }

    /// Takes a congestion event at `now`. `is_the_width` tells that nothing but the width can be the
    /// cause. True where the width was 1 already.
    pub(super) fn decrease(
        &mut self,
        now: DateTime<Utc>,
        limit: u32,
        beta: Beta,
        is_the_width: bool,
    ) -> bool {
        let failed = self.slots(limit);
        let cap = self.cap;
        let is_failed_probe = is_the_width && cap.is_some_and(|cap| cap < failed);
        let less = match beta {
            Beta::Half => failed / 2,
            Beta::Most => failed.saturating_mul(7) / 10,
        };
        self.fail(now, failed);
        if is_failed_probe {
            self.probe_after = self.probe_after.saturating_mul(2).min(MOST_TO_PROBE);
        } else if !is_the_width && cap.is_some_and(|cap| cap <= failed) {
            // What was borne may be regained. If it fails again on the way there, the cap is lower
            // indeed.
            self.cap = Some(failed);
        }
        // The cap below a failed probe is what was borne before it.
        self.change(if is_failed_probe { failed - 1 } else { less }.max(1));
        failed == 1
    }

    /// Gives back one slot: a body did not come through.
    pub(super) fn step_back(&mut self, now: DateTime<Utc>, limit: u32) {
        let failed = self.slots(limit);
        if self.cap.is_some_and(|cap| cap < failed) {
            self.probe_after = self.probe_after.saturating_mul(2).min(MOST_TO_PROBE);
        }
        self.fail(now, failed);
        self.change((failed - 1).max(1));
    }

    /// Takes a block: half the width, and no probe for as long as there ever is none. What a host
    /// punishes for half an hour is not tried for curiosity.
    pub(super) fn blocked(&mut self, now: DateTime<Utc>, limit: u32) {
        self.decrease(now, limit, Beta::Half, true);
        self.probe_after = MOST_TO_PROBE;
    }

    pub(super) fn forget_the_future(&mut self, now: DateTime<Utc>) {
        past_only(&mut self.probed_at, now);
    }

    fn fail(&mut self, now: DateTime<Utc>, failed: u32) {
        self.cap = Some((failed - 1).max(1));
        self.ok_since_event = 0;
        self.probed_at = Some(now);
    }

    fn change(&mut self, slots: u32) {
        self.slots = slots;
        self.ok_since_change = 0;
    }
}
