//! The global domain window: how hard one host may be pressed now. Pure: the time and the randomness
//! are arguments, and a step is `state + what happened -> answer + new state`. Adapters keep the state
//! and make each step atomic.
//!
//! # The algorithm
//!
//! A host's real limit is unknown and moves, and it answers 429 when it is passed. Plain AIMD finds it
//! again and again: at a window of 4 one answer in seven is a 429. This window remembers instead.
//!
//! * **Start** ([`Width`]): two at once, then one more for each success while the window is in full use
//!   (TCP's slow start). Growing by one at a time, with starts kept apart, the first refusal comes at
//!   exactly one above the host's limit. A fixed +1 per 25 successes from the start would spend a
//!   third of a run of 1000 episodes below a limit of 16.
//! * **Congestion** ([`Rest`]): 429, 503, or two signs of strain (502, 504, no connection) within 30 s.
//!   Exactly one decrease per event for the whole fleet: what was sent before the last event belongs to
//!   it, as in TCP's once-per-round-trip rule. The width falls to β (0.5 after a 429, 0.7 else) and the
//!   width before the failed one becomes the cap. Nobody starts before
//!   `max(Retry-After, 15 s · 2^fails)` is over, plus up to a quarter: jitter only adds.
//! * **Growth**, only while at least half of the window is in use: +1 per 10 successes up to the cap,
//!   which was borne before. Above it +1 per 25, beginning with a probe that waits for 250 successes
//!   without an event, and for twice as many after each probe that failed, up to 4000 or a day. A failed
//!   probe says nothing new, so the width goes back to the cap and not to β. In the long run that is
//!   one 429 in 250 answers or fewer: under 1 %.
//! * **Pace** ([`Spacing`]): a host that refuses a width which it bore before counts requests, not
//!   connections. The starts between its 429s tell its rate, and starts are then kept that far apart:
//!   whole slots are too coarse to follow a rate, one in five is 20 %. After 100 successes a tenth more
//!   is tried, and four times as seldom after each time that this was too much.
//! * **Below one**: a host that refuses a single transfer gets more time between two, 30 s to 15 min.
//! * **Breaker** ([`Breaker`]): five events, or five episodes answered 403, without a success between:
//!   30 min, doubled up to 6 h, then a single probe.
//! * **Slow hosts** ([`Speed`]): first bytes four times later than usual, or bodies four times slower,
//!   stop growth. A body that stalls or breaks off takes back one slot, without a rest: on a server
//!   that crawls beyond some number of connections nothing else would end the crawl.
//! * **Redirects** ([`Role`]): a host whose last 20 answers were all redirects is a tracker; its
//!   requests cost a start and no slot.
//!
//! The configured limit of a host is a promise: no state makes the window wider.

mod breaker;
mod host;
mod rest;
mod role;
mod spacing;
mod speed;
#[cfg(test)]
mod tests;
mod width;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use self::breaker::Breaker;
pub(super) use self::host::LeasedHost;
use self::rest::{Rest, jittered};
use self::role::Role;
use self::spacing::Spacing;
use self::speed::Speed;
use self::width::Width;
use super::{Signal, SlotDecision};
use crate::runtime::clock::later;

/// Longest advice to a caller that found all slots out. Slots come back when transfers end, long
/// before their leases do, so asking again is the only way to learn of it.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What an operator promised for a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The widest window, at least 1.
    pub(super) limit: u32,
    /// Least time between two starts.
    pub(super) spacing: Duration,
}

/// Leases of a host that are out and not expired.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Leases {
    /// Transfers.
    pub(super) slots: u32,
    /// Requests to a tracker.
    pub(super) hops: u32,
    /// When the first of them expires.
    pub(super) first_expiry: Option<DateTime<Utc>>,
}

/// Everything remembered about a host. Serialized by the adapters; a field that is missing is as in a
/// host that was never asked, and a number that no step makes does no harm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HostState {
    width: Width,
    rest: Rest,
    spacing: Spacing,
    breaker: Breaker,
    speed: Speed,
    role: Role,
}

/// What to do about a request for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Write down the state and a lease.
    Grant {
        /// It is for a redirect only.
        is_hop: bool,
    },
    /// Tell the caller; nothing changed.
    Refuse(SlotDecision),
}

/// A request that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// How it went.
    pub(super) signal: Signal,
    /// When it was let in.
    pub(super) granted_at: DateTime<Utc>,
    /// Whether its lease was still there: what is told twice, or after the lease ended, may make the
    /// window narrower and never wider.
    pub(super) was_live: bool,
    /// Slots that were out, its own included.
    pub(super) in_flight: u32,
}

impl HostState {
    /// Decides at `now` whether one more may start.
    pub(super) fn acquire(&mut self, now: DateTime<Utc>, rules: Rules, out: Leases) -> Verdict {
        self.forget_the_future(now);
        if let Some(until) = self.rest.until(now).max(self.breaker.until(now)) {
            return Verdict::Refuse(SlotDecision::HeldOff(until));
        }
        let is_hop = self.role.is_tracker() && !self.breaker.is_half_open();
        let is_full = match is_hop {
            true => out.hops >= Role::MOST_HOPS,
            false => out.slots >= self.width(rules),
        };
        if is_full {
            let wait = out.first_expiry.map_or(ASK_AGAIN, |at| time_until(now, at));
            return Verdict::Refuse(SlotDecision::Full(wait.min(ASK_AGAIN)));
        }
        match self.spacing.start(now, rules.spacing) {
            Some(wait) => Verdict::Refuse(SlotDecision::Full(wait)),
            None => Verdict::Grant { is_hop },
        }
    }

    /// Transfers at once now.
    pub(super) fn width(&self, rules: Rules) -> u32 {
        match self.breaker.is_half_open() {
            true => 1,
            false => self.width.slots(rules.limit),
        }
    }

    /// Learns at `now` from a request that ended. `random` is uniform in `[0, 1)`.
    pub(super) fn learn(&mut self, now: DateTime<Utc>, rules: Rules, ended: Ended, random: f64) {
        self.forget_the_future(now);
        match ended.signal {
            Signal::Served(pace) if ended.was_live => {
                self.role.saw(false);
                self.speed.saw(pace);
                self.succeeded(ended.granted_at);
                if self.spacing.succeeded() {
                    let may_grow = !self.speed.is_slow();
                    self.width
                        .succeeded(now, rules.limit, ended.in_flight, may_grow);
                }
            }
            Signal::Redirected if ended.was_live => {
                self.role.saw(true);
                self.succeeded(ended.granted_at);
            }
            Signal::Throttled {
                status,
                retry_after,
            } => {
                // Whatever else is true, what the host asked for is kept.
                let asked = retry_after.map(|wait| jittered(wait, random));
                self.rest.extend(now, asked);
                let beta = if status == 429 {
                    Beta::Half
                } else {
                    Beta::Most
                };
                self.congested(now, rules, ended, beta, random);
            }
            // For a probe, one sign is enough.
            Signal::Strained
                if ended.was_live && (self.rest.strained(now) || self.breaker.is_half_open()) =>
            {
                self.congested(now, rules, ended, Beta::Most, random);
            }
            Signal::BrokenOff if self.rest.is_new(ended.granted_at) => {
                self.rest.stepped_back(now);
                self.width.step_back(now, rules.limit);
            }
            Signal::Blocked {
                episode,
                retry_after,
            } => {
                let asked = retry_after.map(|wait| jittered(wait, random));
                self.rest.extend(now, asked);
                if self.breaker.blocked(now, episode, ended.granted_at) {
                    self.width.blocked(now, rules.limit);
                }
            }
            _ => {}
        }
    }

    /// Notes that a body comes on what was granted as a hop, beside the transfers that are `out`. False
    /// where they are as many as may be.
    pub(super) fn saw_body(&mut self, rules: Rules, out: Leases) -> bool {
        self.role.saw(false);
        out.slots < self.width(rules)
    }

    /// What happened is over. A time that is yet to come would make whatever the host says now an old
    /// story: no 429 would count until the clock has caught up.
    fn forget_the_future(&mut self, now: DateTime<Utc>) {
        self.width.forget_the_future(now);
        self.rest.forget_the_future(now);
        self.spacing.forget_the_future(now);
        self.breaker.forget_the_future(now);
    }

    fn succeeded(&mut self, granted_at: DateTime<Utc>) {
        if self.rest.is_new(granted_at) {
            self.rest.succeeded();
            self.breaker.succeeded(granted_at);
        }
    }

    fn congested(
        &mut self,
        now: DateTime<Utc>,
        rules: Rules,
        ended: Ended,
        beta: Beta,
        random: f64,
    ) {
        if !self.rest.is_new(ended.granted_at) {
            return;
        }
        let is_proven = self.width.is_proven(rules.limit);
        // 503 and strain at a width that was borne are more likely an outage than a lower limit.
        let is_the_width = match beta {
            Beta::Half => !self.spacing.refused(now, is_proven),
            Beta::Most => !is_proven,
        };
        let was_one = self.width.decrease(now, rules.limit, beta, is_the_width);
        let has_pace = beta == Beta::Half && !is_the_width;
        if was_one && !has_pace {
            self.spacing.widen();
        }
        let fails = self.rest.congested(now, random);
        self.breaker.congested(now, fails);
    }
}

/// What is left of the width after a congestion event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beta {
    /// 0.5: the host said that it was too much.
    Half,
    /// 0.7: it only seems so.
    Most,
}

/// From `now` to `until`; zero where that is past.
pub(super) fn time_until(now: DateTime<Utc>, until: DateTime<Utc>) -> Duration {
    (until - now).to_std().unwrap_or_default()
}

/// Times as whole microseconds since 1970, as everywhere in stored state.
mod micros {
    pub(super) use chrono::serde::ts_microseconds_option::{deserialize, serialize};
}

/// How far apart the clocks of those who share a state may be.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// `at`, when something is said to have happened, cannot be believed at `now`: the clock was set back
/// since, or the state is damaged.
fn is_future(now: DateTime<Utc>, at: DateTime<Utc>) -> bool {
    at > later(now, CLOCK_SKEW)
}

/// Forgets a time that cannot be believed.
fn past_only(time: &mut Option<DateTime<Utc>>, now: DateTime<Utc>) {
    time.take_if(|at| is_future(now, *at));
}

/// `at` is later than `now` and, where a clock was set back, not later than any step of `longest`
/// makes it.
fn is_ahead(now: DateTime<Utc>, at: DateTime<Utc>, longest: Duration) -> bool {
    now < at && at <= later(now, longest)
}
