use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::runtime::blob::MemoryBlobStore;

fn feed() -> FeedSlug {
    FeedSlug::try_new("show").unwrap()
}

fn url() -> Url {
    Url::parse("https://e.com/feed?key=k").unwrap()
}

fn answer() -> FetchedFeed {
    FetchedFeed {
        body: None,
        final_url: url(),
        is_moved: false,
        validators: Validators {
            etag: Some("\"1\"".into()),
            last_modified: None,
        },
        fresh_for: Duration::from_secs(60),
    }
}

fn record(bytes: &'static [u8], now: DateTime<Utc>) -> PageRecord {
    PageRecord::new(&url(), &answer(), None, ContentDigest::of(bytes), now)
}

#[tokio::test]
async fn what_is_kept_is_found_and_keeping_it_again_changes_nothing() {
    let store = Arc::new(MemoryBlobStore::new());
    let copies = FeedCopies::new(Arc::clone(&store) as _);
    let kept = record(b"body", Utc::now());
    for _ in 0..2 {
        copies
            .keep(&feed(), &kept, Bytes::from_static(b"body"))
            .await;
        let found = copies.find(&feed(), &url()).await.unwrap().unwrap();
        assert!(found == kept);
        assert_eq!(copies.body(&feed(), &found).await.unwrap(), "body");
    }
    assert_eq!(store.list("", None, 9).await.unwrap().len(), 2);
    let other = Url::parse("https://e.com/feed?key=l").unwrap();
    assert!(copies.find(&feed(), &other).await.unwrap().is_none());
}

#[tokio::test]
async fn a_new_version_leaves_the_old_bytes_until_the_record_names_the_new_ones() {
    let copies = FeedCopies::new(Arc::new(MemoryBlobStore::new()));
    let (old, new) = (record(b"old", Utc::now()), record(b"new", Utc::now()));
    copies.keep(&feed(), &old, Bytes::from_static(b"old")).await;
    copies.keep(&feed(), &new, Bytes::from_static(b"new")).await;
    assert_eq!(copies.body(&feed(), &old).await.unwrap(), "old");
    copies.prune(&feed(), std::slice::from_ref(&new)).await;
    assert!(copies.body(&feed(), &old).await.is_err());
    assert_eq!(copies.body(&feed(), &new).await.unwrap(), "new");
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_record_are_damaged_and_make_room() {
    let store = Arc::new(MemoryBlobStore::new());
    let copies = FeedCopies::new(Arc::clone(&store) as _);
    let kept = record(b"body", Utc::now());
    let key = FeedCopyKey::Body(&feed(), &kept.body).to_string();
    for damage in [
        pack(b"other").unwrap(),
        pack(b"body").unwrap()[..15].to_vec(),
        vec![],
    ] {
        store
            .put(&key, damage.into(), PutMode::Create)
            .await
            .unwrap();
        let warning = copies.body(&feed(), &kept).await.unwrap_err();
        assert!(warning.contains("damaged"), "{warning}");
        assert!(store.head(&key).await.unwrap().is_none());
    }
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_fresh() {
    let now = Utc::now();
    let kept = record(b"body", now);
    assert!(kept.is_fresh(now) && kept.is_fresh(now + TimeDelta::seconds(59)));
    assert!(!kept.is_fresh(now + TimeDelta::seconds(60)));
    assert!(!kept.is_fresh(now - TimeDelta::seconds(1)));
}
