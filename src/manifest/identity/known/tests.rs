use proptest::prelude::*;

use super::*;
use crate::manifest::episode_for_test;

/// An episode with a title, a day of 2026-01, a length of ten minutes and a size.
fn episode(guid: &str, url: &str, day: u32) -> Episode {
    let mut episode = episode_for_test("show", guid, Some(day));
    episode.title = format!("Day {day}");
    episode.duration_s = Some(600);
    episode.enclosure.url = url.to_owned();
    episode.enclosure.length = Some(1000 + u64::from(day));
    episode
}

fn guids(settled: &Settled) -> Vec<&str> {
    settled
        .episodes
        .iter()
        .map(|episode| episode.id.guid.as_str())
        .collect()
}

#[test]
fn a_look_that_repeats_changes_nothing() {
    let mut known = KnownEpisodes::default();
    let look = vec![
        episode("b", "https://e.com/b.mp3", 2),
        episode("a", "https://e.com/a.mp3", 1),
    ];
    let first = known.settle(look.clone());
    assert_eq!(guids(&first), ["b", "a"]);
    let remembered = known.clone();
    assert_eq!(known.settle(look), first);
    assert_eq!(known, remembered);
}

#[test]
fn case_041_guids_that_change_on_every_poll_are_aliases() {
    let mut known = KnownEpisodes::default();
    known.settle(vec![episode("poll-0", "https://e.com/a.mp3", 1)]);
    for poll in 1..50 {
        let settled = known.settle(vec![episode(
            &format!("poll-{poll}"),
            "https://e.com/a.mp3",
            1,
        )]);
        assert_eq!((guids(&settled), settled.aliases), (vec!["poll-0"], 1));
    }
    assert_eq!(known.episodes.len(), 1);
    assert_eq!(known.episodes[0].aliases.len(), MOST_TRACES);
}

#[test]
fn a_moved_show_with_new_guids_and_new_addresses_is_known_by_title_day_and_length() {
    let mut known = KnownEpisodes::default();
    known.settle(vec![episode("old", "https://old.com/a.mp3", 1)]);
    let mut moved = episode("new", "https://new.com/x/9.mp3", 1);
    moved.duration_s = Some(655);
    assert_eq!(guids(&known.settle(vec![moved.clone()])), ["old"]);
    // From now on both guids are known, also with yet another file.
    moved.enclosure.url = "https://cdn.com/1.mp3".to_owned();
    assert_eq!(guids(&known.settle(vec![moved.clone()])), ["old"]);
    // A minute and more apart is another episode, as is another day.
    moved.id.guid = Guid::try_new("third").unwrap();
    moved.enclosure.url = "https://cdn.com/3.mp3".to_owned();
    moved.duration_s = Some(900);
    assert_eq!(guids(&known.settle(vec![moved])), ["third"]);
}

#[test]
fn trackers_and_tokens_do_not_matter() {
    let mut known = KnownEpisodes::default();
    known.settle(vec![episode(
        "a",
        "https://pdst.fm/e/cdn.com/a.mp3?updated=1",
        1,
    )]);
    let mut edited = episode(
        "new",
        "https://dts.podtrac.com/redirect.mp3/cdn.com/a.mp3?updated=2",
        1,
    );
    edited.title = "Another title".to_owned();
    assert_eq!(guids(&known.settle(vec![edited])), ["a"]);
}

#[test]
fn two_items_of_one_look_are_two_episodes() {
    let mut known = KnownEpisodes::default();
    known.settle(vec![episode("a", "https://e.com/a.mp3", 1)]);
    // The old item is still there: the new one is no alias of it, whatever they share.
    let both = vec![
        episode("b", "https://e.com/a.mp3", 1),
        episode("a", "https://e.com/a.mp3", 1),
    ];
    assert_eq!(guids(&known.settle(both)), ["b", "a"]);
}

#[test]
fn a_file_that_never_changes_its_name_is_a_new_episode_every_day() {
    let mut known = KnownEpisodes::default();
    for day in 1..6 {
        let guid = format!("g{day}");
        let settled = known.settle(vec![episode(&guid, "https://e.com/latest.mp3", day)]);
        assert_eq!((guids(&settled), settled.aliases), (vec![guid.as_str()], 0));
    }
}

#[test]
fn bulletins_of_one_day_stay_apart() {
    let mut known = KnownEpisodes::default();
    for hour in 0..4 {
        let mut bulletin = episode(&format!("g{hour}"), &format!("https://e.com/{hour}.mp3"), 1);
        bulletin.title = "News".to_owned();
        bulletin.published = bulletin.published.map(|date| date + TimeDelta::hours(hour));
        let settled = known.settle(vec![bulletin]);
        assert_eq!(settled.aliases, 0);
        assert_eq!(guids(&settled), [format!("g{hour}")]);
    }
}

#[test]
fn case_039_a_guid_is_seen_to_be_used_again_without_sizes_too() {
    let mut known = KnownEpisodes::default();
    let sizeless = |file: &str, day| {
        let mut episode = episode("1", &format!("https://e.com/{file}.mp3"), day);
        episode.enclosure.length = None;
        episode
    };
    known.settle(vec![sizeless("a", 1)]);
    assert_eq!(known.settle(vec![sizeless("b", 2)]).revisions, 1);
}

#[test]
fn case_039_items_that_share_a_guid_keep_theirs_when_one_gets_another_date() {
    let mut known = KnownEpisodes::default();
    let (a, b) = ("https://e.com/a.mp3", "https://e.com/b.mp3");
    let mark = |file: &str| Guid::try_new("G").unwrap().revised(&file_key(file));
    // The reader gives the guid to the older of the two, and the newer gets a mark.
    let first = vec![episode(mark(b).as_str(), b, 2), episode("G", a, 1)];
    let settled = known.settle(first.clone());
    // Another date for the first turns them round.
    let mut redated = episode(mark(a).as_str(), a, 1);
    redated.published = redated.published.map(|date| date + TimeDelta::days(2));
    let second = vec![redated, episode("G", b, 2)];
    let turned = known.settle(second);
    let of = |settled: &Settled, file: &str| {
        let mut all = settled.episodes.iter();
        all.find(|episode| episode.enclosure.url == file)
            .unwrap()
            .id
            .guid
            .clone()
    };
    assert_eq!(of(&settled, a), of(&turned, a));
    assert_eq!(of(&settled, b), of(&turned, b));
    // And back again.
    let back = known.settle(first);
    assert_eq!(of(&settled, a), of(&back, a));
    assert_eq!(of(&settled, b), of(&back, b));
}

#[test]
fn case_049_items_that_all_have_one_file_stay_apart() {
    let mut known = KnownEpisodes::default();
    let look = |from: u32| -> Vec<Episode> {
        (from..from + 3)
            .map(|day| episode(&format!("g{day}"), "https://e.com/latest.mp3", day))
            .collect()
    };
    assert_eq!(guids(&known.settle(look(1))), ["g1", "g2", "g3"]);
    assert_eq!(guids(&known.settle(look(2))), ["g2", "g3", "g4"]);
    // Alone in the feed it is still nobody's alias: three have had this file.
    assert_eq!(
        guids(&known.settle(vec![episode("g9", "https://e.com/latest.mp3", 9)])),
        ["g9"]
    );
}

#[test]
fn case_039_a_guid_that_is_used_again_is_a_revision_and_stays_one() {
    let mut known = KnownEpisodes::default();
    known.settle(vec![episode("g", "https://e.com/1.mp3", 1)]);
    let settled = known.settle(vec![episode("g", "https://e.com/2.mp3", 2)]);
    let revision = settled.episodes[0].id.guid.clone();
    assert!(revision.as_str().starts_with("g~"), "{revision}");
    assert_eq!(settled.revisions, 1);
    let again = known.settle(vec![episode("g", "https://e.com/2.mp3", 2)]);
    assert_eq!(
        (again.episodes[0].id.guid.clone(), again.revisions),
        (revision, 0)
    );
    assert_eq!(
        guids(&known.settle(vec![episode("g", "https://e.com/1.mp3", 1)])),
        ["g"]
    );
    // An edit that leaves the date, the size or the file is no revision.
    let mut edited = episode("g", "https://e.com/3.mp3", 1);
    edited.enclosure.length = Some(7);
    assert_eq!(guids(&known.settle(vec![edited])), ["g"]);
}

#[test]
fn case_034_a_feed_that_shrinks_forgets_nothing() {
    let mut known = KnownEpisodes::default();
    let all: Vec<_> = (1..=20)
        .map(|day| episode(&format!("g{day}"), &format!("https://e.com/{day}.mp3"), day))
        .collect();
    known.settle(all.clone());
    known.settle(all[..10].to_vec());
    assert_eq!(known.episodes.len(), 20);
    assert_eq!(known.settle(all.clone()).episodes, all);
}

proptest! {
    /// Whatever a feed does, no two items of a look end under one guid, and the same look after it
    /// gives the same guids.
    #[test]
    fn looks_are_stable(looks in prop::collection::vec(
        prop::collection::vec((0_u8..6, 0_u8..6, 1_u32..5), 0..6), 1..5,
    )) {
        let mut known = KnownEpisodes::default();
        for look in looks {
            let mut seen = HashSet::new();
            let look: Vec<_> = look
                .into_iter()
                .filter(|(guid, ..)| seen.insert(*guid))
                .map(|(guid, file, day)| episode(&guid.to_string(), &format!("https://e.com/{file}.mp3"), day))
                .collect();
            let settled = known.settle(look.clone());
            prop_assert_eq!(settled.episodes.len(), look.len());
            let again = known.settle(look);
            prop_assert_eq!(settled.episodes, again.episodes);
        }
    }
}
