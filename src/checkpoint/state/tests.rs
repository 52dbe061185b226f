//! The state machine by example, then by random walks.

use proptest::prelude::*;

use super::*;
use crate::checkpoint::conformance::{note, subject};
use crate::domain::FailureClass;
use crate::runtime::clock::{Clock, ManualClock};

const TTL: Duration = Duration::from_secs(60);

fn start() -> DateTime<Utc> {
    ManualClock::default().now()
}

fn owner(name: &str) -> OwnerId {
    OwnerId::from_stored(name)
}

fn granted(record: &Record, by: &str, now: DateTime<Utc>) -> (Lease, Record) {
    match acquire(record, &owner(by), TTL, now) {
        (Acquired::Granted(lease), Some(record)) => (lease, record),
        other => panic!("not granted: {other:?}"),
    }
}

fn leased() -> (Lease, Record) {
    granted(&fresh(subject("a", "b"), start()), "first", start())
}

fn advanced(transition: Transition) -> Record {
    let (lease, record) = leased();
    advance(&record, &lease, transition, start()).unwrap()
}

#[test]
fn a_lease_ends_exactly_at_its_time() {
    let (_, record) = leased();
    let end = start() + TTL;
    let before = acquire(
        &record,
        &owner("second"),
        TTL,
        end - Duration::from_nanos(1),
    );
    assert_eq!(before, (Acquired::Busy(end), None));
    assert_eq!(granted(&record, "second", end).0.token, 2);
}

#[test]
fn only_failed_attempts_count() {
    let (at, failure) = (start() + TTL, note(FailureClass::Timeout));
    let retry = Transition::Retry {
        at,
        failure: failure.clone(),
    };
    let defer = Transition::Defer {
        at,
        failure: failure.clone(),
    };
    let counted = [
        (retry, 1),
        (defer, 0),
        (Transition::Failed { failure }, 1),
        (Transition::Release, 0),
        (Transition::Done, 0),
    ];
    for (transition, failures) in counted {
        assert_eq!(
            advanced(transition.clone()).failures,
            failures,
            "{transition:?}"
        );
    }
}

#[test]
fn a_count_from_a_strange_record_does_not_overflow() {
    let (lease, record) = leased();
    let record = Record {
        failures: u32::MAX,
        ..record
    };
    let failure = note(FailureClass::Timeout);
    let failed = advance(&record, &lease, Transition::Failed { failure }, start());
    assert_eq!(failed.unwrap().failures, u32::MAX);
}

#[test]
fn planning_reopens_by_policy() {
    let failed = |class| {
        advanced(Transition::Failed {
            failure: note(class),
        })
    };
    let reopens = |record: &Record, reopen| plan(record, reopen, start()).is_some();
    assert!(reopens(&advanced(Transition::Done), Reopen::Exhausted));
    assert!(reopens(&failed(FailureClass::Timeout), Reopen::Exhausted));
    assert!(!reopens(&failed(FailureClass::NotFound), Reopen::Exhausted));
    assert!(reopens(&failed(FailureClass::NotFound), Reopen::AllFailed));
    assert!(!reopens(&leased().1, Reopen::AllFailed));
    assert!(!reopens(&advanced(Transition::Release), Reopen::AllFailed));
}

#[test]
fn a_reopened_record_forgets_its_failures_and_keeps_its_token() {
    let failure = note(FailureClass::Timeout);
    let reopened = plan(
        &advanced(Transition::Failed { failure }),
        Reopen::Exhausted,
        start(),
    );
    let expected = Record {
        token: 1,
        ..fresh(subject("a", "b"), start())
    };
    assert_eq!(reopened, Some(expected));
}

#[test]
fn a_dead_owners_lease_is_given_back_and_nobody_elses() {
    let (lease, record) = leased();
    assert_eq!(release(&record, &owner("second"), start()), None);
    let pending = release(&record, &lease.owner, start()).unwrap();
    assert_eq!((pending.state, pending.token), (State::Pending, 1));
    assert!(!holds(&pending, &lease));
    assert_eq!(release(&pending, &lease.owner, start()), None);
}

/// What may happen to one subject. Leases are picked from all that were ever granted.
#[derive(Debug, Clone)]
enum Step {
    Plan(Reopen),
    Acquire(usize, u64),
    Renew(prop::sample::Index, u64),
    Advance(prop::sample::Index, usize, u64),
    OwnerDies(usize),
    Wait(u64),
}

const OWNERS: [&str; 3] = ["x", "y", "z"];

fn step() -> impl Strategy<Value = Step> {
    let seconds = 0..100_u64;
    let lease = any::<prop::sample::Index>;
    prop_oneof![
        prop_oneof![Just(Reopen::Exhausted), Just(Reopen::AllFailed)].prop_map(Step::Plan),
        (0..OWNERS.len(), seconds.clone()).prop_map(|(owner, ttl)| Step::Acquire(owner, ttl)),
        (lease(), seconds.clone()).prop_map(|(lease, ttl)| Step::Renew(lease, ttl)),
        (lease(), 0..6_usize, seconds.clone())
            .prop_map(|(lease, kind, delay)| Step::Advance(lease, kind, delay)),
        (0..OWNERS.len()).prop_map(Step::OwnerDies),
        seconds.prop_map(Step::Wait),
    ]
}

fn transition(kind: usize, at: DateTime<Utc>) -> Transition {
    let failure = note(FailureClass::Timeout);
    match kind {
        0 => Transition::Done,
        1 => Transition::Retry { at, failure },
        2 => Transition::Defer { at, failure },
        3 => Transition::Failed { failure },
        4 => Transition::Failed {
            failure: note(FailureClass::NotFound),
        },
        _ => Transition::Release,
    }
}

/// A subject, the time, and every lease it ever granted.
struct Walk {
    record: Record,
    now: DateTime<Utc>,
    leases: Vec<Lease>,
}

impl Walk {
    fn take(&mut self, step: &Step) {
        let before = self.record.clone();
        let seconds = Duration::from_secs;
        let (lease, after) = match step {
            Step::Wait(time) => return self.now += seconds(*time),
            Step::Plan(reopen) => (None, plan(&before, *reopen, self.now)),
            Step::OwnerDies(dead) => (None, release(&before, &owner(OWNERS[*dead]), self.now)),
            Step::Acquire(by, ttl) => {
                let by = owner(OWNERS[*by]);
                let (answer, after) = acquire(&before, &by, seconds(*ttl), self.now);
                if let Acquired::Granted(lease) = answer {
                    assert!(
                        self.leases
                            .iter()
                            .all(|earlier| earlier.token < lease.token)
                    );
                    self.leases.push(lease);
                }
                (None, after)
            }
            Step::Renew(..) | Step::Advance(..) if self.leases.is_empty() => return,
            Step::Renew(lease, ttl) => {
                let lease = lease.get(&self.leases);
                let after = renew(&before, lease, seconds(*ttl), self.now);
                (Some(lease), after)
            }
            Step::Advance(lease, kind, delay) => {
                let lease = lease.get(&self.leases);
                let transition = transition(*kind, self.now + seconds(*delay));
                (Some(lease), advance(&before, lease, transition, self.now))
            }
        };
        if let Some(lease) = lease {
            let is_latest = self.leases.last() == Some(lease);
            assert!(
                after.is_none() || is_latest,
                "a stale lease changed {before:?}"
            );
        }
        self.record = after.unwrap_or(before);
    }
}

proptest! {
    #[test]
    fn whatever_happens(steps in prop::collection::vec(step(), 0..60)) {
        let record = fresh(subject("a", "b"), start());
        let mut walk = Walk { record, now: start(), leases: Vec::new() };
        for step in &steps {
            let token = walk.record.token;
            walk.take(step);
            // Tokens only grow, and the record's is that of the latest lease.
            prop_assert!(walk.record.token >= token);
            let latest = walk.leases.last().map_or(0, |lease| lease.token);
            prop_assert_eq!(walk.record.token, latest);
            // At most one lease holds.
            let held = walk.leases.iter().filter(|lease| holds(&walk.record, lease)).count();
            prop_assert_eq!(held, usize::from(walk.record.state == State::Leased));
        }
        // From wherever that led, planning and patience lead to a new lease, and that one to done.
        let planned = plan(&walk.record, Reopen::AllFailed, walk.now).unwrap_or(walk.record);
        prop_assert!(is_workable(&planned));
        let now = planned.until.unwrap_or(walk.now).max(walk.now);
        let (lease, record) = granted(&planned, "x", now);
        let done = advance(&record, &lease, Transition::Done, now);
        prop_assert_eq!(done.map(|record| record.state), Some(State::Done));
    }
}

#[test]
fn case_073_a_dead_link_is_looked_at_once_more_a_day_later() {
    let failed = |class| Transition::Failed {
        failure: note(class),
    };
    let given_up = advanced(failed(FailureClass::NotFound));
    let day = TimeDelta::hours(24);
    let replan = |record: &Record, now| plan(record, Reopen::Exhausted, now);
    assert_eq!(
        replan(&given_up, start() + day - TimeDelta::seconds(1)),
        None
    );
    let reopened = replan(&given_up, start() + day).unwrap();
    assert_eq!(
        (reopened.state, reopened.failure.as_ref()),
        (State::Pending, None)
    );

    let (lease, record) = granted(&reopened, "second", start() + day);
    let end = |transition| advance(&record, &lease, transition, start() + day).unwrap();
    let gone = end(failed(FailureClass::NotFound));
    assert_eq!(replan(&gone, start() + day * 100), None, "no third look");
    assert_eq!(end(Transition::Done).state, State::Done);

    let taken_down = advanced(failed(FailureClass::Gone));
    assert_eq!(replan(&taken_down, start() + day * 100), None);
}
