//! The life of a subject, as pure functions.
//!
//! ```text
//!              plan                acquire                 advance
//!   (nothing) ------> pending ----------------> leased --------------> done
//!                        ^                        | |
//!                        | release                | +----------------> failed
//!                        +------------------------+ |                    |
//!                                                   +--> waiting         |
//!   acquire also takes: waiting once its time has come;  |               |
//!                       leased once the lease ended  <---+               |
//!   plan also reopens:  done (its product is gone), failed (by policy; a <-+
//!                       dead link once more after a day)
//! ```
//!
//! Failure cases, and what makes each harmless:
//!
//! * A worker dies: its lease ends by time, the next `acquire` takes over with a larger token.
//! * A worker is paused and wakes up after its lease ended: its token is stale, every write it tries
//!   is refused ([`holds`]).
//! * A message is delivered twice: the second `acquire` is told [`Acquired::Done`] or busy.
//! * A worker dies after the product is durable and before `advance`: the next one finds the product
//!   and advances without doing the work again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Acquired, FailureNote, Lease, Record, Reopen, State, Subject, Transition};
use crate::domain::{Disposition, FailureClass, OwnerId};
use crate::runtime::clock::later;
use crate::runtime::retry::RetryPolicy;

/// A subject nobody has touched.
pub fn fresh(subject: Subject, now: DateTime<Utc>) -> Record {
    Record {
        subject,
        state: State::Pending,
        failures: 0,
        token: 0,
        owner: None,
        until: None,
        failure: None,
        updated_at: now,
    }
}

/// What planning makes of a record: `None` leaves it as it is.
pub fn plan(record: &Record, reopen: Reopen, now: DateTime<Utc>) -> Option<Record> {
    let reopened = match record.state {
        State::Done => true,
        State::Failed if reopen == Reopen::AllFailed || !is_permanent(record.failure.as_ref()) => {
            true
        }
        State::Failed if may_be_back(record, now) => {
            return Some(Record {
                token: record.token,
                failures: RECHECKED,
                ..fresh(record.subject.clone(), now)
            });
        }
        State::Failed => false,
        State::Pending | State::Leased | State::Waiting => false,
    };
    // The token survives, so that a lease from before is still told apart.
    reopened.then(|| Record {
        token: record.token,
        ..fresh(record.subject.clone(), now)
    })
}

/// How long a dead link rests before it is looked at once more: publishers announce episodes hours
/// before their file is there, and mend links when listeners complain.
const RECHECK_AFTER: TimeDelta = TimeDelta::hours(24);

/// Failures that a record under its second look begins with: all but one of those it may have, so that
/// there is no third look.
const RECHECKED: u32 = RetryPolicy::EPISODE.max_attempts - 1;

/// Whether a dead link is due for its second and last look.
fn may_be_back(record: &Record, now: DateTime<Utc>) -> bool {
    let note = record.failure.as_ref();
    let is_dead_link = note.is_some_and(|note| note.class == FailureClass::NotFound);
    is_dead_link
        && record.failures <= RECHECKED
        && now.signed_duration_since(record.updated_at) >= RECHECK_AFTER
}

fn is_permanent(failure: Option<&FailureNote>) -> bool {
    failure.is_some_and(|note| note.class.disposition() == Disposition::Permanent)
}

/// What planning does to a subject and its record, if there is one: whether it is workable then, and
/// the record to store, if it changed.
pub fn planned(
    known: Option<Record>,
    subject: &Subject,
    reopen: Reopen,
    now: DateTime<Utc>,
) -> (bool, Option<Record>) {
    match known {
        None => (true, Some(fresh(subject.clone(), now))),
        Some(record) => match plan(&record, reopen, now) {
            None => (is_workable(&record), None),
            reopened => (true, reopened),
        },
    }
}

/// Whether a planned record still needs a message: all but those that are over.
pub fn is_workable(record: &Record) -> bool {
    !matches!(record.state, State::Done | State::Failed)
}

/// Decides a request for the subject; a grant comes with the record to store.
pub fn acquire(
    record: &Record,
    owner: &OwnerId,
    ttl: Duration,
    now: DateTime<Utc>,
) -> (Acquired, Option<Record>) {
    let until = record.until.unwrap_or(now);
    match record.state {
        State::Done => return (Acquired::Done, None),
        State::Failed => return (Acquired::Failed, None),
        State::Leased | State::Waiting if until > now => return (Acquired::Busy(until), None),
        State::Pending | State::Leased | State::Waiting => {}
    }
    let lease = Lease {
        subject: record.subject.clone(),
        owner: owner.clone(),
        token: record.token.saturating_add(1),
        failures: record.failures,
    };
    let leased = Record {
        state: State::Leased,
        token: lease.token,
        owner: Some(owner.clone()),
        until: Some(later(now, ttl)),
        updated_at: now,
        ..record.clone()
    };
    (Acquired::Granted(lease), Some(leased))
}

/// Whether `lease` still is the record's lease. An ended lease that nobody took over still holds:
/// what its owner writes harms nobody.
pub fn holds(record: &Record, lease: &Lease) -> bool {
    record.state == State::Leased
        && record.token == lease.token
        && record.owner.as_ref() == Some(&lease.owner)
}

/// The record after a renewal; `None` where the lease is lost.
pub fn renew(record: &Record, lease: &Lease, ttl: Duration, now: DateTime<Utc>) -> Option<Record> {
    holds(record, lease).then(|| Record {
        until: Some(later(now, ttl)),
        updated_at: now,
        ..record.clone()
    })
}

/// The record after its owner was found dead: as if it had given the lease back. `None` where the
/// lease is not `owner`'s.
pub fn release(record: &Record, owner: &OwnerId, now: DateTime<Utc>) -> Option<Record> {
    let lease = Lease {
        subject: record.subject.clone(),
        owner: owner.clone(),
        token: record.token,
        failures: record.failures,
    };
    advance(record, &lease, Transition::Release, now)
}

/// The record after the work; `None` where the lease is lost.
pub fn advance(
    record: &Record,
    lease: &Lease,
    transition: Transition,
    now: DateTime<Utc>,
) -> Option<Record> {
    if !holds(record, lease) {
        return None;
    }
    let (state, failures, until, failure) = match transition {
        Transition::Done => (State::Done, record.failures, None, None),
        Transition::Retry { at, failure } => (
            State::Waiting,
            record.failures.saturating_add(1),
            Some(at),
            Some(failure),
        ),
        Transition::Defer { at, failure } => {
            (State::Waiting, record.failures, Some(at), Some(failure))
        }
        Transition::Failed { failure } => (
            State::Failed,
            record.failures.saturating_add(1),
            None,
            Some(failure),
        ),
        Transition::Release => (
            State::Pending,
            record.failures,
            None,
            record.failure.clone(),
        ),
    };
    Some(Record {
        state,
        failures,
        until,
        failure,
        updated_at: now,
        ..record.clone()
    })
}

#[cfg(test)]
mod tests;
