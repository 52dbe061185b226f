//! What checkpoints have to answer: the life of a subject once more, told in the plainest way.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use podrun::checkpoint::{Acquired, Lease, Record, State, Subject, Transition};
use podrun::domain::{FailureClass, OwnerId};

/// Where a subject is.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    Pending,
    Leased(OwnerId, DateTime<Utc>),
    Waiting(DateTime<Utc>),
    Done,
    Failed { for_good: bool },
}

#[derive(Debug, Clone)]
struct Life {
    place: Place,
    token: u64,
    failures: u32,
}

/// All subjects.
#[derive(Debug, Default)]
pub(super) struct Spec(BTreeMap<Subject, Life>);

impl Spec {
    /// Whether the subject is workable once it is planned.
    pub(super) fn plan(&mut self, subject: &Subject) -> bool {
        let new = Life {
            place: Place::Pending,
            token: 0,
            failures: 0,
        };
        let life = self.0.entry(subject.clone()).or_insert(new);
        match life.place {
            Place::Failed { for_good: true } => return false,
            Place::Done | Place::Failed { for_good: false } => {
                (life.place, life.failures) = (Place::Pending, 0);
            }
            Place::Pending | Place::Leased(..) | Place::Waiting(_) => {}
        }
        true
    }

    pub(super) fn acquire(
        &mut self,
        subject: &Subject,
        owner: &OwnerId,
        ttl: Duration,
        now: DateTime<Utc>,
    ) -> Acquired {
        self.plan_if_unknown(subject);
        let life = self.life(subject);
        match life.place {
            Place::Done => return Acquired::Done,
            Place::Failed { .. } => return Acquired::Failed,
            Place::Leased(_, until) | Place::Waiting(until) if now < until => {
                return Acquired::Busy(until);
            }
            _ => {}
        }
        life.token += 1;
        life.place = Place::Leased(owner.clone(), now + ttl);
        Acquired::Granted(Lease {
            subject: subject.clone(),
            owner: owner.clone(),
            token: life.token,
            failures: life.failures,
        })
    }

    /// Whether the lease is still there.
    pub(super) fn renew(&mut self, lease: &Lease, ttl: Duration, now: DateTime<Utc>) -> bool {
        let holds = self.holds(lease);
        if holds {
            self.life(&lease.subject).place = Place::Leased(lease.owner.clone(), now + ttl);
        }
        holds
    }

    /// Whether the lease was still there.
    pub(super) fn advance(&mut self, lease: &Lease, transition: &Transition) -> bool {
        if !self.holds(lease) {
            return false;
        }
        let life = self.life(&lease.subject);
        match transition {
            Transition::Done => life.place = Place::Done,
            Transition::Release => life.place = Place::Pending,
            Transition::Defer { at, .. } => life.place = Place::Waiting(*at),
            Transition::Retry { at, .. } => {
                life.failures += 1;
                life.place = Place::Waiting(*at);
            }
            Transition::Failed { failure } => {
                life.failures += 1;
                let for_good = failure.class == FailureClass::Undecodable;
                life.place = Place::Failed { for_good };
            }
        }
        true
    }

    pub(super) fn is_over(&self, subject: &Subject) -> bool {
        let life = self.0.get(subject);
        life.is_some_and(|life| matches!(life.place, Place::Done | Place::Failed { .. }))
    }

    pub(super) fn is_done(&self, subject: &Subject) -> bool {
        self.0
            .get(subject)
            .is_some_and(|life| life.place == Place::Done)
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.0.keys()
    }

    /// Says what is wrong with a list of all records.
    pub(super) fn compare(&self, records: &[Record]) -> Result<(), String> {
        let expected = self.0.iter().map(|(subject, life)| {
            let state = match life.place {
                Place::Pending => State::Pending,
                Place::Leased(..) => State::Leased,
                Place::Waiting(_) => State::Waiting,
                Place::Done => State::Done,
                Place::Failed { .. } => State::Failed,
            };
            (subject, state, life.token, life.failures)
        });
        let expected: Vec<_> = expected.collect();
        let found: Vec<_> = records
            .iter()
            .map(|record| (&record.subject, record.state, record.token, record.failures))
            .collect();
        match expected == found {
            true => Ok(()),
            false => Err(format!("expected {expected:?}, listed {found:?}")),
        }
    }

    fn plan_if_unknown(&mut self, subject: &Subject) {
        if !self.0.contains_key(subject) {
            self.plan(subject);
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.0.get(&lease.subject).is_some_and(|life| {
            life.token == lease.token
                && matches!(&life.place, Place::Leased(owner, _) if *owner == lease.owner)
        })
    }

    fn life(&mut self, subject: &Subject) -> &mut Life {
        self.0.get_mut(subject).unwrap()
    }
}
