use super::*;
use crate::domain::Episode;
use crate::feeds::{CatalogEntry, FeedFormat, Repairs};
use crate::manifest::episode_for_test;
use crate::runtime::blob::MemoryBlobStore;

const SHOW: &str = "917393e3-1b1e-5cef-ace4-edaa54e1f810";

fn episode(guid: &str, url: &str) -> Episode {
    let mut episode = episode_for_test("show", guid, Some(1));
    episode.enclosure.url = url.to_owned();
    episode
}

fn crawled(slug: &str, episodes: Vec<Episode>) -> CrawledFeed {
    CrawledFeed {
        pages: 1,
        outage: None,
        entry: CatalogEntry {
            slug: FeedSlug::try_new(slug).unwrap(),
            url: format!("https://e.com/{slug}"),
            title: None,
            max_episodes: None,
            tier: 1,
        },
        outcome: Ok(ParsedFeed {
            format: FeedFormat::Rss,
            title: "Show".to_owned(),
            podcast_guid: Some(SHOW.to_owned()),
            moved_to: None,
            next_page: None,
            episodes,
            repairs: Repairs::default(),
            warnings: Vec::new(),
        }),
    }
}

fn guids(crawled: &CrawledFeed) -> Vec<&str> {
    let episodes = &crawled.outcome.as_ref().unwrap().episodes;
    episodes
        .iter()
        .map(|episode| episode.id.guid.as_str())
        .collect()
}

#[tokio::test]
async fn identities_outlast_the_process() {
    let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
    let first = Identities::new(Arc::clone(&blobs), true);
    first
        .settle(crawled("a", vec![episode("old", "https://e.com/1.mp3")]))
        .await;
    let moved = || crawled("a", vec![episode("new", "https://pdst.fm/e/e.com/1.mp3")]);
    let second = Identities::new(Arc::clone(&blobs), true)
        .settle(moved())
        .await;
    assert_eq!(guids(&second), ["old"]);
    let warnings = &second.outcome.as_ref().unwrap().warnings;
    assert_eq!(
        warnings,
        &["1 episodes have new guids; they are kept under the guids they had"]
    );
    // Known by now, so there is nothing to tell.
    let third = first.settle(moved()).await;
    assert!(third.outcome.as_ref().unwrap().warnings.is_empty());
}

#[tokio::test]
async fn a_dry_run_asks_and_does_not_remember() {
    let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
    let dry = Identities::new(Arc::clone(&blobs), false);
    dry.settle(crawled("a", vec![episode("old", "https://e.com/1.mp3")]))
        .await;
    assert_eq!(
        blobs.list("", None, 10).await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn case_040_the_same_guid_in_two_feeds_is_two_episodes() {
    let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
    let identities = Identities::new(blobs, true);
    let mut one = crawled("a", vec![episode("g", "https://e.com/1.mp3")]);
    let mut other = crawled("b", vec![episode("g", "https://e.com/2.mp3")]);
    for feed in [&mut one, &mut other] {
        feed.outcome.as_mut().unwrap().podcast_guid = None;
    }
    assert_eq!(guids(&identities.settle(one).await), ["g"]);
    assert_eq!(guids(&identities.settle(other).await), ["g"]);
}

#[tokio::test]
async fn a_show_under_a_second_slug_is_not_fetched_twice() {
    let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
    let identities = Identities::new(blobs, true);
    let episodes = vec![
        episode("1", "https://e.com/1.mp3"),
        episode("2", "https://e.com/2.mp3"),
    ];
    identities.settle(crawled("a", episodes.clone())).await;
    let problem = identities
        .settle(crawled("b", episodes))
        .await
        .outcome
        .unwrap_err();
    assert!(problem.reason.contains("under the slug a"), "{problem}");
    // Another show that copied the identifier is another show.
    let other = crawled("c", vec![episode("9", "https://e.com/9.mp3")]);
    assert_eq!(guids(&identities.settle(other).await), ["9"]);
}

#[tokio::test]
async fn a_damaged_memory_stops_its_feed_and_says_where_it_lies() {
    let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
    for (text, part) in [
        ("{", "EOF"),
        (r#"{"schema_version":2,"episodes":[]}"#, "newer version"),
    ] {
        let key = "identity/feeds/a.json";
        blobs.delete(key).await.unwrap();
        blobs.put(key, text.into(), PutMode::Create).await.unwrap();
        let identities = Identities::new(Arc::clone(&blobs), true);
        let feed = crawled("a", vec![episode("1", "https://e.com/1.mp3")]);
        let problem = identities.settle(feed).await.outcome.unwrap_err();
        assert_eq!(problem.class, FailureClass::Storage);
        assert!(
            problem.reason.contains(key) && problem.reason.contains(part),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn two_runs_at_once_both_remember() {
    let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
    let runs = (0..6).map(|n| {
        let identities = Identities::new(Arc::clone(&blobs), true);
        let guid = format!("g{n}");
        let feed = crawled("a", vec![episode(&guid, &format!("https://e.com/{n}.mp3"))]);
        async move { identities.settle(feed).await }
    });
    futures::future::join_all(runs).await;
    let key = IdentityKey::Feed(&FeedSlug::try_new("a").unwrap()).to_string();
    let stored = Identities::new(blobs, false).read(&key).await.unwrap();
    let known = decode(&stored.unwrap().0).unwrap();
    let all: Vec<_> = (0..6)
        .map(|n| episode(&format!("g{n}"), &format!("https://e.com/{n}.mp3")))
        .collect();
    assert_eq!(known.overlap(&all), (6, 6));
}
