//! Time between two starts: the operator's, more for a host that counts requests, and more again for
//! one that refuses a single transfer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{is_ahead, micros, past_only, time_until};
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
/// How much slower than the last starts, which were too quick, is slow enough.
const SLOWER_THAN_LAST: f64 = 1.25;
/// One over the weight of the newest interval in the average of the last ones.
const LAST_STARTS: u64 = 8;
/// Successes after which a tenth more than that is tried, four times as many each time that it was too
/// much.
const SUCCESSES_TO_QUICKEN: u32 = 100;
/// The most that becomes of it.
const MOST_TO_QUICKEN: u32 = 4000;

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
    /// Successes that the next try of a quicker pace needs.
    quicken_after: u32,
    /// The last start, and the average milliseconds between the last ones.
    #[serde(with = "micros")]
    last_start: Option<DateTime<Utc>>,
    interval_ms: u64,
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
        self.count(now);
        None
    }

    pub(super) fn forget_the_future(&mut self, now: DateTime<Utc>) {
        past_only(&mut self.last_start, now);
        past_only(&mut self.last_429, now);
    }

    fn count(&mut self, now: DateTime<Utc>) {
        self.starts = self.starts.saturating_add(1);
        if let Some(last) = self.last_start.replace(now) {
            let interval = whole_ms(time_until(last, now)).min(u64::from(LONGEST_GAP_S) * 1000);
            let others = self.interval_ms.min(u64::from(LONGEST_GAP_S) * 1000) * (LAST_STARTS - 1);
            self.interval_ms = (others + interval) / LAST_STARTS;
        }
    }

    fn own(&self) -> Duration {
        let pace = Duration::from_millis(self.pace_ms);
        let longest = Duration::from_secs(LONGEST_GAP_S.into());
        pace.max(Duration::from_secs(self.gap_s.into()))
            .min(longest)
    }

    /// Takes a 429. Where it came at a width that the host bore before, it counts requests, not
    /// connections: its tokens were used up at both of the last 429s, so the starts between them are
    /// the tokens that came in, and tell how many come in a second. At least so many, because what
    /// came while the host could hold no more is not seen. The last starts before the refusal tell how
    /// many are too many. The quicker of both is the pace, and a quicker one still is tried later. True
    /// where there is one.
    pub(super) fn refused(&mut self, now: DateTime<Utc>, is_about_rate: bool) -> bool {
        let starts = std::mem::take(&mut self.starts);
        let since = self.last_429.replace(now);
        self.successes = 0;
        if is_about_rate && self.pace_ms > 0 {
            self.pace_ms = self.pace_ms.saturating_mul(11) / 10;
            self.quicken_after = self.quicken_after.saturating_mul(4).min(MOST_TO_QUICKEN);
            self.next_start = Some(later(now, self.own()));
            return true;
        }
        let Some(since) = since.filter(|_| is_about_rate && starts >= STARTS_TO_TELL) else {
            return false;
        };
        self.quicken_after = SUCCESSES_TO_QUICKEN;
        let borne = time_until(since, now).mul_f64(SLOWER) / starts;
        let refused = Duration::from_millis(self.interval_ms).mul_f64(SLOWER_THAN_LAST);
        self.pace_ms = whole_ms(borne.min(refused));
        // The next token is not here before.
        self.next_start = Some(later(now, self.own()));
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
            if self.successes >= self.quicken_after {
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

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
