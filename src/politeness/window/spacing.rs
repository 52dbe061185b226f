//! Time between two starts: the operator's, more for a host that counts requests, and more again for
//! one that refuses a single transfer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{is_ahead, micros, time_until};
use crate::runtime::clock::later;

/// The first gap of a host that refuses even one transfer at a time.
const FIRST_GAP_S: u32 = 30;
/// The longest.
const LONGEST_GAP_S: u32 = 15 * 60;
/// Successes that halve the gap.
const SUCCESSES_TO_NARROW: u32 = 25;
/// Starts between two 429s that tell the host's rate.
const STARTS_TO_TELL: u32 = 10;
/// How much slower than that rate is slow enough.
const SLOWER: f64 = 1.05;
/// Successes after which a little more than that is tried.
const SUCCESSES_TO_QUICKEN: u32 = 1000;

/// When the next start may be. No bursts: two starts in the same moment would make two refusals out of
/// each failed probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Spacing {
    #[serde(with = "micros")]
    next_start: Option<DateTime<Utc>>,
    /// Seconds between two starts, where the window would have to be narrower than one; else 0.
    gap_s: u32,
    /// Successes since the gap or the pace last changed.
    successes: u32,
    /// Milliseconds between two starts that a host which counts requests was found to bear; else 0.
    pace_ms: u64,
    /// Starts since the last 429, and when that was.
    starts: u32,
    #[serde(with = "micros")]
    last_429: Option<DateTime<Utc>>,
}

impl Spacing {
    /// Takes the turn to start at `now`, or says how long it is until the next.
    pub(super) fn start(&mut self, now: DateTime<Utc>, least: Duration) -> Option<Duration> {
        let apart = least.max(self.own());
        // Further ahead than one step only if the clock was set back since: ignore it then, or the
        // host stays shut until the clock has caught up.
        if let Some(start) = self.next_start.filter(|start| is_ahead(now, *start, apart)) {
            return Some(time_until(now, start));
        }
        self.next_start = Some(later(now, apart));
        self.starts = self.starts.saturating_add(1);
        None
    }

    fn own(&self) -> Duration {
        let pace = Duration::from_millis(self.pace_ms);
        let longest = Duration::from_secs(LONGEST_GAP_S.into());
        pace.max(Duration::from_secs(self.gap_s.into()))
            .min(longest)
    }

    /// Takes a 429. Where it came at a width that the host bore before, it counts requests, not
    /// connections: its tokens were used up at both of the last 429s, so the starts between them are
    /// the tokens that came in, and tell how many come in a second. True where they did.
    pub(super) fn refused(&mut self, now: DateTime<Utc>, is_about_rate: bool) -> bool {
        let starts = std::mem::take(&mut self.starts);
        let since = self.last_429.replace(now);
        self.successes = 0;
        let Some(since) = since.filter(|_| is_about_rate && starts >= STARTS_TO_TELL) else {
            return false;
        };
        let interval = time_until(since, now).mul_f64(SLOWER) / starts;
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.pace_ms = self.pace_ms.max(interval);
        true
    }

    /// Doubles the gap.
    pub(super) fn widen(&mut self) {
        let doubled = self.gap_s.saturating_mul(2);
        self.gap_s = doubled.clamp(FIRST_GAP_S, LONGEST_GAP_S);
        self.successes = 0;
    }

    /// Counts a success; true where there is no gap, so that the width may learn from it.
    pub(super) fn succeeded(&mut self) -> bool {
        self.successes = self.successes.saturating_add(1);
        if self.gap_s == 0 {
            if self.successes >= SUCCESSES_TO_QUICKEN {
                self.successes = 0;
                self.pace_ms = self.pace_ms / 10 * 9;
            }
            return true;
        }
        if self.successes >= SUCCESSES_TO_NARROW {
            self.successes = 0;
            self.gap_s /= 2;
            if self.gap_s < FIRST_GAP_S {
                self.gap_s = 0;
            }
        }
        false
    }
}
