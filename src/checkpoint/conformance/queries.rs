//! What reading many records must give.

use super::{Fixture, ended, subject};
use crate::checkpoint::{
    CheckpointError, Checkpoints, Filter, Record, Reopen, State, Subject, Tally, Transition,
};
use crate::domain::StageName;

/// Subjects of two stages and feeds, some done, in the order that lists have.
async fn populate<C: Checkpoints>(checkpoints: &C) -> Result<Vec<Subject>, CheckpointError> {
    let mut subjects = Vec::new();
    for stage in StageName::ALL {
        for feed in ["20vc", "a-b", "a.b", "ab"] {
            // Byte order: capitals before small letters, `ü` after both.
            for guid in ["B", "a", "a'b%_", "ü"] {
                let subject = subject(feed, guid);
                subjects.push(Subject { stage, ..subject });
            }
        }
    }
    let mixed: Vec<_> = subjects.iter().rev().cloned().collect();
    checkpoints.plan(&mixed, Reopen::Exhausted).await?;
    for subject in subjects.iter().step_by(3) {
        ended(checkpoints, subject, Transition::Done).await?;
    }
    Ok(subjects)
}

/// Pages of any length add up to everything that fits, in order.
pub async fn lists_in_order_by_filter_and_page<C: Checkpoints>(
    fixture: &Fixture<C>,
) -> Result<(), CheckpointError> {
    let subjects = populate(&*fixture.first).await?;
    let feed = &subjects[5].episode.feed_slug;
    for number in 0..8 {
        let filter = Filter {
            stage: (number & 1 > 0).then_some(StageName::Transcribe),
            feed: (number & 2 > 0).then(|| feed.clone()),
            state: (number & 4 > 0).then_some(State::Done),
        };
        let all = fixture.first.list(&filter, None, usize::MAX).await?;
        let fits = |index: &usize| {
            (number & 1 == 0 || subjects[*index].stage == StageName::Transcribe)
                && (number & 2 == 0 || subjects[*index].episode.feed_slug == *feed)
                && (number & 4 == 0 || index.is_multiple_of(3))
        };
        let expected: Vec<_> = (0..subjects.len()).filter(fits).collect();
        let found: Vec<_> = all.iter().map(|record| record.subject.clone()).collect();
        let expected: Vec<_> = expected.into_iter().map(|i| subjects[i].clone()).collect();
        assert_eq!(found, expected, "{filter:?}");
        let mut paged: Vec<Record> = Vec::new();
        loop {
            let after = paged.last().map(|record| record.subject.clone());
            let page = fixture.second.list(&filter, after.as_ref(), 3).await?;
            assert!(page.len() <= 3);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, all, "{filter:?}");
    }
    assert_eq!(fixture.first.list(&Filter::default(), None, 0).await?, []);
    Ok(())
}

/// Counts are those of the list, ordered by stage, feed and state.
pub async fn tallies_in_order<C: Checkpoints>(fixture: &Fixture<C>) -> Result<(), CheckpointError> {
    assert_eq!(fixture.first.tally().await?, []);
    populate(&*fixture.first).await?;
    let mut counts = std::collections::BTreeMap::<_, u64>::new();
    for record in fixture.first.list(&Filter::default(), None, 999).await? {
        let Subject { stage, episode } = record.subject;
        *counts
            .entry((stage, episode.feed_slug, record.state))
            .or_default() += 1;
    }
    let expected = counts
        .into_iter()
        .map(|((stage, feed, state), count)| Tally {
            stage,
            feed,
            state,
            count,
        });
    assert_eq!(fixture.second.tally().await?, expected.collect::<Vec<_>>());
    Ok(())
}
