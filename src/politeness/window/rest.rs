//! How long nobody starts after a host said that it was too much.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{is_ahead, is_future, micros, past_only};
use crate::runtime::clock::later;

/// Least rest after an event, doubled with each event without a success between.
const LEAST: Duration = Duration::from_secs(15);
/// Doublings at most; from the fifth event on the breaker decides.
const MOST_DOUBLINGS: u32 = 5;
/// Two signs of strain this close are an event.
const STRAIN_WINDOW: TimeDelta = TimeDelta::seconds(30);
/// What was let in up to this long after an event belongs to it. Within [`LEAST`] after an event
/// nobody is let in, so nothing newer is swallowed, and workers whose clocks differ by seconds still
/// agree on which requests were sent before.
const EVENT_TAIL: Duration = Duration::from_secs(10);
/// Longer than any rest that a host can ask for and be believed: a stored time beyond is damage.
const LONGEST: Duration = Duration::from_secs(10 * 24 * 3600);

/// When the host may be asked again, and the events behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rest {
    /// Nobody starts before.
    #[serde(with = "micros")]
    not_before: Option<DateTime<Utc>>,
    /// When that was said.
    #[serde(with = "micros")]
    said_at: Option<DateTime<Utc>>,
    /// Events since the last success of a request that was sent after one.
    fails: u32,
    #[serde(with = "micros")]
    last_event: Option<DateTime<Utc>>,
    /// The last loss of a slot to a body that did not come; needs no rest.
    #[serde(with = "micros")]
    last_step_back: Option<DateTime<Utc>>,
    /// The last sign of strain that was not part of an event.
    #[serde(with = "micros")]
    last_strain: Option<DateTime<Utc>>,
}

impl Rest {
    /// When the rest that is on ends.
    pub(super) fn until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.not_before
            .filter(|until| is_ahead(now, *until, LONGEST))
    }

    /// Whether a request let in at `granted_at` was sent after the last event, and so knows of it.
    pub(super) fn is_new(&self, granted_at: DateTime<Utc>) -> bool {
        let after_event = self
            .last_event
            .is_none_or(|event| later(event, EVENT_TAIL) < granted_at);
        after_event && self.last_step_back.is_none_or(|step| step < granted_at)
    }

    /// Forgets what is said to have happened after `now`. A rest that began then is over: how long it
    /// was is known, and when it began is not.
    pub(super) fn forget_the_future(&mut self, now: DateTime<Utc>) {
        if self.said_at.is_some_and(|at| is_future(now, at)) {
            self.not_before = None;
        }
        let times = [
            &mut self.said_at,
            &mut self.last_event,
            &mut self.last_step_back,
            &mut self.last_strain,
        ];
        times.into_iter().for_each(|time| past_only(time, now));
    }

    /// Makes the rest last at least `asked` from `now` on.
    pub(super) fn extend(&mut self, now: DateTime<Utc>, asked: Option<Duration>) {
        let until = asked.map(|wait| later(now, wait));
        if self.until(now) < until {
            (self.not_before, self.said_at) = (until, Some(now));
        }
    }

    /// Takes an event; returns how many there were without a success between.
    pub(super) fn congested(&mut self, now: DateTime<Utc>, random: f64) -> u32 {
        let own = LEAST * 2_u32.pow(self.fails.min(MOST_DOUBLINGS));
        self.extend(now, Some(jittered(own, random)));
        self.fails = self.fails.saturating_add(1);
        self.last_event = Some(now);
        self.last_strain = None;
        self.fails
    }

    /// Takes a sign of strain; true where it makes an event with the one before.
    pub(super) fn strained(&mut self, now: DateTime<Utc>) -> bool {
        let before = self.last_strain.replace(now);
        before.is_some_and(|before| (now - before).abs() <= STRAIN_WINDOW)
    }

    /// Notes that a slot was taken back for a body that did not come.
    pub(super) fn stepped_back(&mut self, now: DateTime<Utc>) {
        self.last_step_back = Some(now);
    }

    /// The host serves again.
    pub(super) fn succeeded(&mut self) {
        self.fails = 0;
    }
}

/// Up to a quarter more: those who wait together must not come back together. Never less.
pub(super) fn jittered(wait: Duration, random: f64) -> Duration {
    let more = wait.mul_f64(random.clamp(0.0, 1.0) / 4.0);
    wait.saturating_add(more)
}
