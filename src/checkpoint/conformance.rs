//! What every adapter must pass. An adapter's test calls [`run_all`]; a case that fails panics.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Acquired, CheckpointError, Checkpoints, FailureNote, Filter, Lease, Record, Reopen, State,
    Subject, Transition,
};
use crate::domain::{EpisodeId, FailureClass, FeedSlug, Guid, OwnerId, StageName};
use crate::runtime::clock::{Clock, ManualClock};

mod queries;

pub use queries::{lists_in_order_by_filter_and_page, tallies_in_order};

/// An empty table as two processes see it, and the clock it goes by.
#[derive(Debug)]
pub struct Fixture<C> {
    /// One process's adapter.
    pub first: Arc<C>,
    /// The other's, on the same records.
    pub second: Arc<C>,
    /// What both take the time from.
    pub clock: Arc<ManualClock>,
}

const TTL: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_secs(1);

/// Runs every case on a table of its own.
pub async fn run_all<C: Checkpoints>(
    fresh: impl AsyncFn() -> Fixture<C>,
) -> Result<(), CheckpointError> {
    plans_what_is_not_known_yet(&fresh().await).await?;
    plans_many_and_the_same_twice(&fresh().await).await?;
    plans_again_by_state_and_policy(&fresh().await).await?;
    acquires_what_was_never_planned(&fresh().await).await?;
    grants_one_live_lease(&fresh().await).await?;
    takes_an_ended_lease_over_with_a_larger_token(&fresh().await).await?;
    renewing_counts_from_now(&fresh().await).await?;
    refuses_a_stale_lease(&fresh().await).await?;
    refuses_a_lease_that_differs_in_anything(&fresh().await).await?;
    keeps_what_became_of_the_work(&fresh().await).await?;
    rests_until_the_time(&fresh().await).await?;
    stages_are_apart(&fresh().await).await?;
    lists_in_order_by_filter_and_page(&fresh().await).await?;
    tallies_in_order(&fresh().await).await?;
    grants_once_to_concurrent_owners(&fresh().await).await?;
    grants_once_to_one_owner_that_asks_twice_at_once(&fresh().await).await
}

/// An episode to fetch.
///
/// # Panics
/// Where the texts are no identifiers.
pub fn subject(feed: &str, guid: &str) -> Subject {
    Subject {
        stage: StageName::Fetch,
        episode: EpisodeId {
            feed_slug: FeedSlug::try_new(feed).expect("a test's feed slug is valid"),
            guid: Guid::try_new(guid).expect("a test's guid is valid"),
        },
    }
}

/// A failure of that class.
pub fn note(class: FailureClass) -> FailureNote {
    FailureNote {
        class,
        message: format!("{class}: it's \"odd\" \u{1f399}"),
    }
}

async fn granted<C: Checkpoints>(
    checkpoints: &C,
    subject: &Subject,
    owner: &str,
) -> Result<Lease, CheckpointError> {
    let owner = OwnerId::from_stored(owner);
    match checkpoints.acquire(subject, &owner, TTL).await? {
        Acquired::Granted(lease) => Ok(lease),
        other => panic!("{subject} was not granted: {other:?}"),
    }
}

async fn ended<C: Checkpoints>(
    checkpoints: &C,
    subject: &Subject,
    transition: Transition,
) -> Result<(), CheckpointError> {
    let lease = granted(checkpoints, subject, "someone").await?;
    checkpoints.advance(&lease, transition).await
}

async fn answer<C: Checkpoints>(
    checkpoints: &C,
    subject: &Subject,
) -> Result<Acquired, CheckpointError> {
    let other = OwnerId::from_stored("another");
    checkpoints.acquire(subject, &other, TTL).await
}

async fn recorded<C: Checkpoints>(
    checkpoints: &C,
    subject: &Subject,
) -> Result<Record, CheckpointError> {
    let record = checkpoints.get(subject).await?;
    Ok(record.unwrap_or_else(|| panic!("{subject} has no record")))
}

#[track_caller]
fn assert_lost(result: Result<(), CheckpointError>, expected: &Subject) {
    assert!(
        matches!(&result, Err(CheckpointError::LeaseLost { subject }) if subject == expected),
        "{result:?}"
    );
}

/// New subjects become pending records, workable in the order given.
pub async fn plans_what_is_not_known_yet<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subjects = ["z", "a", "m"].map(|guid| subject("feed", guid));
    assert_eq!(fixture.first.get(&subjects[0]).await?, None);
    assert_eq!(fixture.first.plan(&[], Reopen::Exhausted).await?, []);
    for _ in 0..2 {
        let workable = fixture.first.plan(&subjects, Reopen::Exhausted).await?;
        assert_eq!(workable, subjects);
    }
    let expected = super::state::fresh(subjects[0].clone(), fixture.clock.now());
    assert_eq!(recorded(&*fixture.second, &subjects[0]).await?, expected);
    Ok(())
}

/// More than a batch, guids of any length, one subject twice: each is planned once and answered for
/// each time.
pub async fn plans_many_and_the_same_twice<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let long = "\u{fc}".repeat(Guid::MAX_LEN / 2 - 2);
    let mut subjects: Vec<_> = (0..230)
        .map(|number| subject("feed", &format!("{long}{number}")))
        .collect();
    subjects.push(subjects[7].clone());
    let workable = fixture.first.plan(&subjects, Reopen::Exhausted).await?;
    assert_eq!(workable, subjects);
    let listed = fixture.second.list(&Filter::default(), None, 999).await?;
    assert_eq!(listed.len(), 230);
    assert_eq!(
        recorded(&*fixture.second, &subjects[7]).await?.subject,
        subjects[7]
    );
    let other = &fixture.second;
    let (one, two) = tokio::join!(
        fixture.first.plan(&subjects, Reopen::Exhausted),
        other.plan(&subjects, Reopen::Exhausted)
    );
    assert_eq!((one?, two?), (subjects.clone(), subjects));
    Ok(())
}

/// Done ones reopen, failed ones by policy; what is leased or waiting stays, and stays workable.
pub async fn plans_again_by_state_and_policy<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let checkpoints = &*fixture.first;
    let subjects =
        ["done", "dead", "exhausted", "leased", "waiting"].map(|guid| subject("feed", guid));
    let [done, dead, exhausted, leased, waiting] = &subjects;
    let failed = |class| Transition::Failed {
        failure: note(class),
    };
    ended(checkpoints, done, Transition::Done).await?;
    ended(checkpoints, dead, failed(FailureClass::NotFound)).await?;
    ended(checkpoints, exhausted, failed(FailureClass::Timeout)).await?;
    let lease = granted(checkpoints, leased, "someone").await?;
    let rest = Transition::Retry {
        at: fixture.clock.now() + TTL,
        failure: note(FailureClass::Timeout),
    };
    ended(checkpoints, waiting, rest).await?;

    let workable = checkpoints.plan(&subjects, Reopen::Exhausted).await?;
    assert_eq!(
        workable,
        [done, exhausted, leased, waiting].map(Clone::clone)
    );
    assert_eq!(recorded(checkpoints, dead).await?.state, State::Failed);
    let reopened = recorded(checkpoints, exhausted).await?;
    assert_eq!((reopened.state, reopened.failures), (State::Pending, 0));
    assert_eq!(recorded(checkpoints, waiting).await?.failures, 1);
    checkpoints.renew(&lease, TTL).await?;

    let workable = checkpoints.plan(&subjects, Reopen::AllFailed).await?;
    assert_eq!(workable, subjects);
    assert_eq!(granted(checkpoints, dead, "another").await?.token, 2);
    Ok(())
}

/// A message without a record (a table that was moved away) is worked on all the same.
pub async fn acquires_what_was_never_planned<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subject = subject("feed", "guid");
    let lease = granted(&*fixture.first, &subject, "owner").await?;
    assert_eq!((lease.token, lease.failures), (1, 0));
    let record = recorded(&*fixture.second, &subject).await?;
    assert_eq!(record.state, State::Leased);
    assert_eq!(record.owner, Some(lease.owner));
    assert_eq!(record.until, Some(fixture.clock.now() + TTL));
    Ok(())
}

/// Everybody else, the owner's own second try included, is told until when.
pub async fn grants_one_live_lease<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subject = subject("feed", "guid");
    let end = fixture.clock.now() + TTL;
    let lease = granted(&*fixture.first, &subject, "owner").await?;
    fixture.clock.advance(TTL - MOMENT);
    assert_eq!(
        answer(&*fixture.second, &subject).await?,
        Acquired::Busy(end)
    );
    let again = fixture.first.acquire(&subject, &lease.owner, TTL).await?;
    assert_eq!(again, Acquired::Busy(end));
    Ok(())
}

/// The fence: each grant's token is larger than all before, whatever came between.
pub async fn takes_an_ended_lease_over_with_a_larger_token<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subject = subject("feed", "guid");
    let mut token = 0;
    for round in 0..4 {
        let lease = granted(&*fixture.first, &subject, "owner").await?;
        assert!(lease.token > token);
        token = lease.token;
        match round {
            0 => fixture.clock.advance(TTL),
            1 => fixture.first.advance(&lease, Transition::Release).await?,
            _ => {
                fixture.first.advance(&lease, Transition::Done).await?;
                let planned = std::slice::from_ref(&subject);
                fixture.second.plan(planned, Reopen::Exhausted).await?;
            }
        }
    }
    Ok(())
}

/// A renewal counts from the time of the call, and works late where nobody took over.
pub async fn renewing_counts_from_now<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subject = subject("feed", "guid");
    let lease = granted(&*fixture.first, &subject, "owner").await?;
    for wait in [TTL - MOMENT, TTL + MOMENT] {
        fixture.clock.advance(wait);
        fixture.first.renew(&lease, TTL).await?;
        let end = fixture.clock.now() + TTL;
        assert_eq!(
            answer(&*fixture.second, &subject).await?,
            Acquired::Busy(end)
        );
    }
    Ok(())
}

/// A paused owner that wakes up after somebody took over changes nothing.
pub async fn refuses_a_stale_lease<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subject = subject("feed", "guid");
    let stale = granted(&*fixture.first, &subject, "paused").await?;
    fixture.clock.advance(TTL);
    let current = granted(&*fixture.second, &subject, "successor").await?;
    let before = recorded(&*fixture.second, &subject).await?;
    assert_lost(fixture.first.renew(&stale, TTL * 9).await, &subject);
    let failure = note(FailureClass::Timeout);
    let at = fixture.clock.now();
    for transition in [
        Transition::Done,
        Transition::Retry {
            at,
            failure: failure.clone(),
        },
        Transition::Defer {
            at,
            failure: failure.clone(),
        },
        Transition::Failed { failure },
        Transition::Release,
    ] {
        assert_lost(fixture.first.advance(&stale, transition).await, &subject);
    }
    assert_eq!(recorded(&*fixture.first, &subject).await?, before);
    fixture.second.advance(&current, Transition::Done).await?;
    assert_lost(
        fixture.second.advance(&current, Transition::Release).await,
        &subject,
    );
    assert_eq!(answer(&*fixture.first, &subject).await?, Acquired::Done);
    Ok(())
}

/// Owner, token and state are all part of the condition; no record is no lease.
pub async fn refuses_a_lease_that_differs_in_anything<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let lease = granted(&*fixture.first, &subject("feed", "guid"), "owner").await?;
    let forged = [
        Lease {
            owner: OwnerId::from_stored("somebody"),
            ..lease.clone()
        },
        Lease {
            token: lease.token + 1,
            ..lease.clone()
        },
        Lease {
            subject: subject("feed", "unknown"),
            ..lease.clone()
        },
    ];
    for forged in forged {
        assert_lost(fixture.first.renew(&forged, TTL).await, &forged.subject);
        let done = fixture.first.advance(&forged, Transition::Done).await;
        assert_lost(done, &forged.subject);
    }
    assert_eq!(fixture.first.get(&subject("feed", "unknown")).await?, None);
    fixture.first.advance(&lease, Transition::Done).await
}

/// Failures are counted and remembered until the work is done.
pub async fn keeps_what_became_of_the_work<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subject = subject("feed", "guid");
    let (at, failure) = (fixture.clock.now(), note(FailureClass::Truncated));
    let retry = Transition::Retry {
        at,
        failure: failure.clone(),
    };
    ended(&*fixture.first, &subject, retry).await?;
    let lease = granted(&*fixture.second, &subject, "someone").await?;
    assert_eq!(lease.failures, 1);
    let failed = Transition::Failed {
        failure: note(FailureClass::Gone),
    };
    fixture.second.advance(&lease, failed).await?;
    let record = recorded(&*fixture.first, &subject).await?;
    assert_eq!((record.state, record.failures), (State::Failed, 2));
    assert_eq!(record.failure, Some(note(FailureClass::Gone)));
    assert_eq!(record.until, None);
    assert_eq!(answer(&*fixture.first, &subject).await?, Acquired::Failed);
    Ok(())
}

/// Neither a retry nor a deferral is granted before its time; only the retry counts.
pub async fn rests_until_the_time<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subject = subject("feed", "guid");
    let failure = note(FailureClass::RateLimited);
    let at = fixture.clock.now() + TTL * 3;
    ended(&*fixture.first, &subject, Transition::Defer { at, failure }).await?;
    fixture.clock.advance(TTL * 3 - MOMENT);
    assert_eq!(
        answer(&*fixture.second, &subject).await?,
        Acquired::Busy(at)
    );
    fixture.clock.advance(MOMENT);
    assert_eq!(
        granted(&*fixture.second, &subject, "next").await?.failures,
        0
    );
    Ok(())
}

/// One episode has one life a stage.
pub async fn stages_are_apart<C: Checkpoints>(fixture: &Fixture<C>) -> Result<(), CheckpointError> {
    let fetch = subject("feed", "guid");
    let transcribe = Subject {
        stage: StageName::Transcribe,
        ..fetch.clone()
    };
    ended(&*fixture.first, &fetch, Transition::Done).await?;
    assert_eq!(
        granted(&*fixture.first, &transcribe, "owner").await?.token,
        1
    );
    Ok(())
}

/// Eight tasks on two adapters ask for the same subjects: each is granted to one.
pub async fn grants_once_to_concurrent_owners<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let mut owners = tokio::task::JoinSet::new();
    for number in 0..8 {
        let checkpoints = if number % 2 == 0 {
            fixture.first.clone()
        } else {
            fixture.second.clone()
        };
        owners.spawn(async move {
            let owner = OwnerId::from_stored(number.to_string());
            let mut granted = 0;
            for guid in 0..25 {
                let subject = subject("feed", &guid.to_string());
                let answer = checkpoints.acquire(&subject, &owner, TTL).await?;
                granted += usize::from(matches!(answer, Acquired::Granted(_)));
            }
            Ok::<_, CheckpointError>(granted)
        });
    }
    let mut granted = 0;
    for count in owners.join_all().await {
        granted += count?;
    }
    assert_eq!(granted, 25);
    Ok(())
}

/// An owner is a process, and a message may reach it twice at once: one of the two gets the lease.
pub async fn grants_once_to_one_owner_that_asks_twice_at_once<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let owner = OwnerId::from_stored("owner");
    for number in 0..20 {
        let subject = subject("feed", &number.to_string());
        let (one, two) = tokio::try_join!(
            fixture.first.acquire(&subject, &owner, TTL),
            fixture.second.acquire(&subject, &owner, TTL)
        )?;
        let is_granted = |answer: &&Acquired| matches!(answer, Acquired::Granted(_));
        assert_eq!([one, two].iter().filter(is_granted).count(), 1);
    }
    Ok(())
}

/// For adapters that can tell that an owner is dead: `release` frees its subjects at once, and
/// nobody else's, and fences it off.
pub async fn gives_a_dead_owners_subjects_back<C: Checkpoints>(
    fixture: &Fixture<C>,
    release: impl AsyncFn(&C, &OwnerId) -> Result<u64, CheckpointError>,
) -> Result<(), CheckpointError> {
    let (lost, kept) = (subject("feed", "lost"), subject("feed", "kept"));
    let dead = granted(&*fixture.first, &lost, "dead").await?;
    let alive = granted(&*fixture.first, &kept, "alive").await?;
    ended(&*fixture.first, &subject("feed", "done"), Transition::Done).await?;
    assert_eq!(release(&*fixture.second, &dead.owner).await?, 1);
    assert_eq!(release(&*fixture.second, &dead.owner).await?, 0);
    assert_eq!(
        recorded(&*fixture.first, &lost).await?.state,
        State::Pending
    );
    assert_lost(fixture.first.advance(&dead, Transition::Done).await, &lost);
    assert_eq!(granted(&*fixture.second, &lost, "next").await?.token, 2);
    fixture.first.renew(&alive, TTL).await
}
