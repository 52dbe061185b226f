use std::sync::atomic::{AtomicU64, Ordering};

use chrono::DateTime;
use serde_json::json;

use super::*;
use crate::domain::{ContentDigest, Enclosure, FeedSlug, Guid};
use crate::runtime::blob::flaky::{Fault, Verb};
use crate::runtime::blob::{FlakyBlobStore, MemoryBlobStore};

const TRANSCRIPT: &str = "20vc/d5d8/transcripts/transcript.json";

fn episode(guid: &str) -> EpisodeId {
    EpisodeId {
        feed_slug: FeedSlug::try_new("20vc").unwrap(),
        guid: Guid::try_new(guid).unwrap(),
    }
}

fn meta(guid: &str) -> EpisodeMeta {
    let episode = episode(guid);
    EpisodeMeta {
        schema_version: EpisodeMeta::SCHEMA_VERSION,
        title: "A title".into(),
        published: DateTime::from_timestamp(1_750_000_000, 0),
        duration_s: Some(3600),
        transcript_key: None,
        audio: AudioMeta {
            key: RawKey::Audio(&episode, AudioContainer::Mp3).to_string(),
            bytes: 3,
            sha256: ContentDigest::of(b"abc"),
            container: AudioContainer::Mp3,
            content_type: Some("audio/mpeg".into()),
            etag: Some("\"x\"".into()),
            last_modified: None,
            fetched_at: DateTime::UNIX_EPOCH,
        },
        rendition: None,
        publisher_transcript: None,
        enclosure: Enclosure {
            url: "https://example.com/a.mp3".into(),
            media_type: None,
            length: Some(3),
        },
        redirects: vec![RedirectHop {
            url: "https://cdn.example.com/a.mp3?Signature=REDACTED".into(),
            status: 200,
        }],
        tool_version: "0.1.0".into(),
        attempts: 1,
        feed_slug: episode.feed_slug,
        guid: episode.guid,
    }
}

#[tokio::test]
async fn a_meta_that_could_not_be_read_again_is_not_written() {
    let (_, store) = memory();
    let mut meta = meta("large");
    meta.title = "x".repeat(META_LIMIT);
    let refused = store.put_meta(&meta).await.unwrap_err();
    assert!(matches!(refused, RawError::Unreadable { .. }), "{refused}");
    assert!(!store.is_complete(&meta.episode()).await.unwrap());
}

fn memory() -> (Arc<MemoryBlobStore>, RawStore) {
    let blobs = Arc::new(MemoryBlobStore::new());
    (blobs.clone(), RawStore::new(blobs))
}

async fn stored(blobs: &MemoryBlobStore, key: &str) -> Value {
    let bytes = read_all(blobs, key, META_LIMIT).await.unwrap();
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_meta_is_one_line_with_a_null_transcript_key() {
    let (blobs, store) = memory();
    let written = meta("d5d8");
    assert!(store.meta(&written.episode()).await.unwrap().is_none());
    store.put_meta(&written).await.unwrap();

    let (read, _) = store.meta(&written.episode()).await.unwrap().unwrap();
    assert_eq!(read, written);
    let json = stored(&blobs, "20vc/d5d8/meta/meta.json").await;
    assert_eq!(json["transcript_key"], Value::Null);
    assert!(json.as_object().unwrap().contains_key("transcript_key"));
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["audio"]["container"], "mp3");

    let error = store.put_meta(&written).await.unwrap_err();
    assert_eq!(error.blob_kind(), Some(BlobErrorKind::AlreadyExists));
}

#[tokio::test]
async fn setting_the_transcript_key_keeps_what_it_does_not_know() {
    let (blobs, store) = memory();
    let mut expected = serde_json::to_value(meta("d5d8")).unwrap();
    expected["later"] = json!({"nested": [1, 2.5]});
    expected["audio"]["rendition"] = json!("b");
    let key = "20vc/d5d8/meta/meta.json";
    let bytes = expected.to_string().into();
    blobs.put(key, bytes, PutMode::Create).await.unwrap();

    let id = episode("d5d8");
    let set = || store.set_transcript_key(&id, TRANSCRIPT);
    assert!(set().await.unwrap());
    expected["transcript_key"] = json!(TRANSCRIPT);
    assert_eq!(stored(&blobs, key).await, expected);

    let version = blobs.head(key).await.unwrap();
    assert!(!set().await.unwrap());
    assert_eq!(
        blobs.head(key).await.unwrap(),
        version,
        "it was written again"
    );
}

/// A store in which somebody changes the meta between reading and replacing it, `times` times.
fn contended(times: u64) -> (Arc<MemoryBlobStore>, RawStore) {
    let blobs = Arc::new(MemoryBlobStore::new());
    let attempts = AtomicU64::new(0);
    let flaky = FlakyBlobStore::new(blobs.clone(), move |verb, _| match verb {
        Verb::Put if attempts.fetch_add(1, Ordering::SeqCst) < times => {
            Fault::Before(BlobErrorKind::Precondition)
        }
        _ => Fault::None,
    });
    (blobs, RawStore::new(Arc::new(flaky)))
}

#[tokio::test]
async fn changes_by_others_are_waited_out_but_not_for_ever() {
    let written = meta("d5d8");
    for (times, set) in [(0, true), (7, true), (8, false)] {
        let (blobs, store) = contended(times);
        RawStore::new(blobs).put_meta(&written).await.unwrap();
        let outcome = store
            .set_transcript_key(&written.episode(), TRANSCRIPT)
            .await;
        match outcome {
            Ok(changed) => assert!(set && changed),
            Err(error) => assert!(
                !set && matches!(error, RawError::Contended { .. }),
                "{error}"
            ),
        }
    }
}

#[tokio::test]
async fn two_writers_both_get_their_field_through() {
    let (_, store) = memory();
    store.put_meta(&meta("d5d8")).await.unwrap();
    let tasks = (0..8).map(|number| {
        let store = store.clone();
        let key = format!("k{number}");
        tokio::spawn(async move { store.set_transcript_key(&episode("d5d8"), &key).await })
    });
    for outcome in futures::future::join_all(tasks).await {
        outcome.unwrap().unwrap();
    }
    let (meta, _) = store.meta(&episode("d5d8")).await.unwrap().unwrap();
    assert!(meta.transcript_key.unwrap().starts_with('k'));
}

#[tokio::test]
async fn a_crash_around_the_change_leaves_it_done_or_undone() {
    for (fault, done) in [
        (Fault::Before(BlobErrorKind::Other), false),
        (Fault::After(BlobErrorKind::Other), true),
    ] {
        let (blobs, store) = memory();
        store.put_meta(&meta("d5d8")).await.unwrap();
        let dying = FlakyBlobStore::dying_after(blobs, 0, fault);
        let dying = RawStore::new(Arc::new(dying));
        let episode = episode("d5d8");
        assert!(
            dying
                .set_transcript_key(&episode, TRANSCRIPT)
                .await
                .is_err()
        );
        let changed = store
            .set_transcript_key(&episode, TRANSCRIPT)
            .await
            .unwrap();
        assert_eq!(changed, !done);
        let (meta, _) = store.meta(&episode).await.unwrap().unwrap();
        assert_eq!(meta.transcript_key.as_deref(), Some(TRANSCRIPT));
    }
}

#[tokio::test]
async fn without_a_meta_there_is_nothing_to_change() {
    let (blobs, store) = memory();
    let outcome = store.set_transcript_key(&episode("d5d8"), TRANSCRIPT).await;
    assert!(matches!(outcome, Err(RawError::Missing { .. })));
    assert_eq!(
        blobs.list("", None, 10).await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_scan_meets_every_complete_episode_once_and_survives_bad_ones() {
    let (blobs, store) = memory();
    let put = async |key: &str, text: &'static str| {
        blobs.put(key, text.into(), PutMode::Create).await.unwrap();
    };
    for number in 0..25 {
        let guid = format!("e{number:02}");
        store.put_meta(&meta(&guid)).await.unwrap();
        put(&format!("20vc/{guid}/audio/episode.mp3"), "x").await;
    }
    put("20vc/orphan/audio/episode.mp3", "x").await;
    put("20vc/e03x/meta/meta.json", "{").await;
    put("20vc/e04x/meta/meta.json", r#"{"schema_version": 2}"#).await;
    let other = serde_json::to_string(&meta("e00")).unwrap();
    put("20vc/e05x/meta/meta.json", other.leak()).await;

    for limit in [0, 1, 7, 28, 1000] {
        let (mut guids, mut problems, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = store.scan(after.as_deref(), limit).await.unwrap();
            assert!(page.items.len() <= limit.max(1));
            for item in page.items {
                match item {
                    Ok(meta) => guids.push(meta.guid.to_string()),
                    Err(error) => problems.push(error.to_string()),
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<_> = (0..25).map(|number| format!("e{number:02}")).collect();
        assert_eq!(guids, expected, "in pages of {limit}");
        let parts = [
            "e03x/meta/meta.json",
            "schema version is 2",
            "it is of 20vc/e00",
        ];
        assert_eq!(problems.len(), parts.len());
        for (problem, part) in problems.iter().zip(parts) {
            assert!(problem.contains(part), "{problem}");
        }
    }
}

#[tokio::test]
async fn a_scan_goes_on_over_long_stretches_without_metas() {
    let (blobs, store) = memory();
    for number in 0..2 * LIST_PAGE {
        let key = format!("20vc/a{number:05}/audio/episode.mp3");
        blobs.put(&key, "x".into(), PutMode::Create).await.unwrap();
    }
    store.put_meta(&meta("z")).await.unwrap();
    let page = store.scan(None, 5).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn audio_of_any_kind_is_found() {
    let (blobs, store) = memory();
    let id = episode("d5d8");
    assert_eq!(store.find_audio(&id).await.unwrap(), []);
    for kind in [AudioContainer::Mp3, AudioContainer::Mp4] {
        let mut writer = store
            .create_audio(&id, kind, PutMode::Create)
            .await
            .unwrap();
        writer.write("abc".into()).await.unwrap();
        writer.finish().await.unwrap();
    }
    let neighbour = "20vc/d5d8/audio/episode.txt";
    blobs
        .put(neighbour, "x".into(), PutMode::Create)
        .await
        .unwrap();

    let found = store.find_audio(&id).await.unwrap();
    let kinds: Vec<_> = found
        .iter()
        .map(|(kind, info)| (*kind, info.size))
        .collect();
    assert_eq!(kinds, [(AudioContainer::Mp3, 3), (AudioContainer::Mp4, 3)]);
    let info = store.audio_info(&id, AudioContainer::Mp4).await.unwrap();
    assert_eq!(info.as_ref(), Some(&found[1].1));

    store.delete_audio(&id, AudioContainer::Mp4).await.unwrap();
    assert_eq!(
        store.audio_info(&id, AudioContainer::Mp4).await.unwrap(),
        None
    );
    assert_eq!(store.find_audio(&id).await.unwrap().len(), 1);
}
