//! The fixed window: whether a host may be asked now. Pure; the adapters make its steps atomic.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::SlotDecision;
use crate::runtime::clock::later;

/// Longest advice to a caller that found all slots out. Slots come back when transfers end, long
/// before their leases do, so asking again is the only way to learn of it.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a store knows about a host when somebody asks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HostState {
    /// Nobody asks before.
    pub(super) not_before: Option<DateTime<Utc>>,
    /// The earliest time of the next start.
    pub(super) next_start: Option<DateTime<Utc>>,
    /// Slots that are out and not expired.
    pub(super) live: u32,
    /// When the first of them expires.
    pub(super) first_expiry: Option<DateTime<Utc>>,
}

/// What to do about a request for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Write down a slot, and this as the earliest next start.
    Grant {
        /// For [`HostState::next_start`].
        next_start: DateTime<Utc>,
    },
    /// Tell the caller.
    Refuse(SlotDecision),
}

impl HostState {
    /// Decides at `now` for a host with `limit` slots and `spacing` between starts.
    pub(super) fn decide(&self, now: DateTime<Utc>, limit: u32, spacing: Duration) -> Verdict {
        if let Some(until) = self.not_before.filter(|until| now < *until) {
            return Verdict::Refuse(SlotDecision::HeldOff(until));
        }
        if self.live >= limit {
            let rest = self
                .first_expiry
                .map_or(ASK_AGAIN, |expiry| rest(now, expiry));
            return Verdict::Refuse(SlotDecision::Full(rest.min(ASK_AGAIN)));
        }
        let next_start = later(now, spacing);
        match self.next_start {
            // Further ahead than one spacing only if the clock was set back since: ignore it then,
            // or the host stays shut until the clock has caught up.
            Some(start) if now < start && start <= next_start => {
                Verdict::Refuse(SlotDecision::Full(rest(now, start)))
            }
            _ => Verdict::Grant { next_start },
        }
    }
}

/// From `now` to `until`; zero where that is past.
pub(super) fn rest(now: DateTime<Utc>, until: DateTime<Utc>) -> Duration {
    (until - now).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACING: Duration = Duration::from_millis(250);

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_000_000 + milliseconds).unwrap()
    }

    fn refused(decision: SlotDecision) -> Verdict {
        Verdict::Refuse(decision)
    }

    #[test]
    fn starts_keep_their_distance() {
        let mut state = HostState::default();
        let granted = Verdict::Grant {
            next_start: at(250),
        };
        assert_eq!(state.decide(at(0), 2, SPACING), granted);
        state.next_start = Some(at(250));
        let early = refused(SlotDecision::Full(Duration::from_millis(50)));
        assert_eq!(state.decide(at(200), 2, SPACING), early);
        let granted = Verdict::Grant {
            next_start: at(500),
        };
        assert_eq!(state.decide(at(250), 2, SPACING), granted);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_shut_the_host() {
        let state = HostState {
            next_start: Some(at(3_600_000)),
            ..HostState::default()
        };
        assert!(matches!(
            state.decide(at(0), 1, SPACING),
            Verdict::Grant { .. }
        ));
    }

    #[test]
    fn a_full_host_says_when_to_ask_again() {
        let mut state = HostState {
            live: 2,
            first_expiry: Some(at(300)),
            ..HostState::default()
        };
        let soon = refused(SlotDecision::Full(Duration::from_millis(300)));
        assert_eq!(state.decide(at(0), 2, SPACING), soon);
        state.first_expiry = Some(at(60_000));
        assert_eq!(
            state.decide(at(0), 2, SPACING),
            refused(SlotDecision::Full(ASK_AGAIN))
        );
    }

    #[test]
    fn a_wait_comes_before_everything_else() {
        let state = HostState {
            not_before: Some(at(10)),
            live: 9,
            ..HostState::default()
        };
        assert_eq!(
            state.decide(at(9), 2, SPACING),
            refused(SlotDecision::HeldOff(at(10)))
        );
    }
}
