use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::domain::{FeedSlug, Guid};
use crate::runtime::blob::flaky::{Fault, Verb};
use crate::runtime::blob::{FlakyBlobStore, MemoryBlobStore};

const NAMES: [&str; 4] = [
    "20vc/g/kpis/kpis.json",
    "20vc/g/segments/segments.json",
    "20vc/g/transcripts/transcript.json",
    "20vc/g/transcripts/transcript.vtt",
];

fn episode() -> EpisodeId {
    EpisodeId {
        feed_slug: FeedSlug::try_new("20vc").unwrap(),
        guid: Guid::try_new("g").unwrap(),
    }
}

fn product(text: &str) -> Product {
    let transcript = json!({
        "text": text, "segments": [], "language": "en", "language_probability": 1.0, "duration": 1.0
    });
    Product {
        transcript: transcript.to_string().into(),
        vtt: format!("WEBVTT {text}").into(),
        segments: format!("{{\"text\":\"{text}\"}}\n").into(),
        extra: Vec::new(),
        kpis: json!({ "text": text }).to_string().into(),
    }
}

fn store_over(blobs: impl BlobStore) -> StageStore {
    StageStore::new(Arc::new(blobs))
}

async fn put(
    store: &StageStore,
    text: &str,
    overwrite: Overwrite,
) -> Result<Committed, StageError> {
    store.put(&episode(), &product(text), overwrite).await
}

/// The text that all four objects agree on.
async fn complete_text(blobs: &MemoryBlobStore) -> String {
    assert_eq!(blobs.list("", None, 10).await.unwrap(), NAMES);
    let store = store_over(blobs.clone());
    let kpis: Value = store.read_kpis(&episode()).await.unwrap().unwrap();
    let text = kpis["text"].as_str().unwrap().to_owned();
    let settled = store.settle(&episode(), &product(&text)).await;
    assert_eq!(settled.unwrap(), Committed::Unchanged, "a mixture");
    text
}

#[tokio::test]
async fn an_episode_is_complete_with_its_marker() {
    let blobs = MemoryBlobStore::new();
    let store = store_over(blobs.clone());
    assert!(!store.is_complete(&episode()).await.unwrap());
    assert_eq!(store.read_kpis::<Value>(&episode()).await.unwrap(), None);
    let committed = put(&store, "a", Overwrite::Never).await.unwrap();
    assert_eq!(committed, Committed::Written);
    assert!(store.is_complete(&episode()).await.unwrap());
    let transcript = store.read_transcript(&episode()).await.unwrap().unwrap();
    assert_eq!(transcript.text, "a");

    blobs.delete(NAMES[0]).await.unwrap();
    assert_eq!(store.read_transcript(&episode()).await.unwrap(), None);
}

#[tokio::test]
async fn a_complete_episode_changes_only_when_told_to() {
    let blobs = MemoryBlobStore::new();
    let store = store_over(blobs.clone());
    put(&store, "a", Overwrite::Never).await.unwrap();
    for overwrite in [Overwrite::Never, Overwrite::Complete] {
        let before = blobs.head(NAMES[2]).await.unwrap();
        let committed = put(&store, "a", overwrite).await.unwrap();
        assert_eq!(committed, Committed::Unchanged);
        assert_eq!(blobs.head(NAMES[2]).await.unwrap(), before);
    }
    let error = put(&store, "b", Overwrite::Never).await.unwrap_err();
    assert!(matches!(error, StageError::AlreadyComplete { .. }));
    assert_eq!(complete_text(&blobs).await, "a");

    let committed = put(&store, "b", Overwrite::Complete).await.unwrap();
    assert_eq!(committed, Committed::Written);
    assert_eq!(complete_text(&blobs).await, "b");
}

/// Dies around each of its effects in turn; then comes the next worker with another product.
/// `effects` is how many an undisturbed run has.
async fn crash_everywhere(first: Option<&str>, overwrite: Overwrite, effects: u64) {
    for survived in 0..effects {
        for fault in [
            Fault::Before(BlobErrorKind::Other),
            Fault::After(BlobErrorKind::Other),
        ] {
            let blobs = MemoryBlobStore::new();
            if let Some(text) = first {
                let store = store_over(blobs.clone());
                put(&store, text, Overwrite::Never).await.unwrap();
            }
            let dying = FlakyBlobStore::dying_after(Arc::new(blobs.clone()), survived, fault);
            let crashed = put(&store_over(dying), "crashed", overwrite).await;
            assert!(
                crashed.is_err(),
                "survived {survived} effects and then {fault:?}"
            );

            let store = store_over(blobs.clone());
            let was_complete = store.is_complete(&episode()).await.unwrap();
            if was_complete {
                // Whatever was cut short, the marker never stands over a mixture.
                complete_text(&blobs).await;
            }
            match put(&store, "rerun", overwrite).await {
                Ok(Committed::Written) => assert_eq!(complete_text(&blobs).await, "rerun"),
                Err(StageError::AlreadyComplete { .. }) => {
                    assert!(was_complete && overwrite == Overwrite::Never);
                    assert_eq!(complete_text(&blobs).await, "crashed");
                }
                other => panic!("survived {survived} effects and then {fault:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_crash_between_any_two_writes_is_made_good_by_the_next_run() {
    crash_everywhere(None, Overwrite::Never, 4).await;
}

#[tokio::test]
async fn a_crash_while_overwriting_is_made_good_too() {
    // Three failed creations and three replacements, between deleting and creating the marker.
    crash_everywhere(Some("old"), Overwrite::Complete, 8).await;
}

#[tokio::test]
async fn a_rerun_with_the_same_product_finishes_what_was_begun() {
    let blobs = MemoryBlobStore::new();
    let dying = FlakyBlobStore::dying_after(
        Arc::new(blobs.clone()),
        2,
        Fault::Before(BlobErrorKind::Other),
    );
    assert!(
        put(&store_over(dying), "a", Overwrite::Never)
            .await
            .is_err()
    );
    let before = blobs.head(NAMES[2]).await.unwrap();
    let committed = put(&store_over(blobs.clone()), "a", Overwrite::Never).await;
    assert_eq!(committed.unwrap(), Committed::Written);
    assert_eq!(blobs.head(NAMES[2]).await.unwrap(), before, "written anew");
    assert_eq!(complete_text(&blobs).await, "a");
}

#[tokio::test]
async fn a_late_writer_does_not_touch_what_another_completed() {
    for overtaken_at in 0..4 {
        let blobs = MemoryBlobStore::new();
        let (winner, puts) = (store_over(blobs.clone()), AtomicU64::new(0));
        let late = FlakyBlobStore::new(Arc::new(blobs.clone()), move |verb, _| {
            if verb == Verb::Put && puts.fetch_add(1, Ordering::SeqCst) == overtaken_at {
                let won = put(&winner, "winner", Overwrite::Never).now_or_never();
                assert_eq!(won.unwrap().unwrap(), Committed::Written);
            }
            Fault::None
        });
        let error = put(&store_over(late), "late", Overwrite::Never)
            .await
            .unwrap_err();
        assert!(
            matches!(error, StageError::AlreadyComplete { .. }),
            "{error}"
        );
        assert_eq!(complete_text(&blobs).await, "winner");
    }
}

#[tokio::test]
async fn a_full_disk_is_fatal_and_damage_is_named() {
    let full = FlakyBlobStore::new(Arc::new(MemoryBlobStore::new()), |verb, _| match verb {
        Verb::Put => Fault::Before(BlobErrorKind::Full),
        _ => Fault::None,
    });
    assert!(
        put(&store_over(full), "a", Overwrite::Never)
            .await
            .unwrap_err()
            .is_fatal()
    );

    let blobs = MemoryBlobStore::new();
    blobs
        .put(NAMES[0], "{".into(), PutMode::Create)
        .await
        .unwrap();
    let error = store_over(blobs)
        .read_kpis::<Value>(&episode())
        .await
        .unwrap_err();
    assert!(
        !error.is_fatal() && error.to_string().contains(NAMES[0]),
        "{error}"
    );
}

#[tokio::test]
async fn formats_asked_for_are_stored_and_those_of_a_former_product_go() {
    let blobs = MemoryBlobStore::new();
    let store = store_over(blobs.clone());
    let with = |text: &str, extra: &[ExtraFormat]| Product {
        extra: extra.iter().map(|f| (*f, text.to_owned().into())).collect(),
        ..product(text)
    };
    let both = with("a", &[ExtraFormat::Srt, ExtraFormat::Txt]);
    let stored = store.put(&episode(), &both, Overwrite::Never).await;
    assert_eq!(stored.unwrap(), Committed::Written);
    let names = blobs
        .list("20vc/g/transcripts/transcript.", None, 10)
        .await
        .unwrap();
    let ends: Vec<_> = names
        .iter()
        .map(|name| name.rsplit('.').next().unwrap())
        .collect();
    assert_eq!(ends, ["json", "srt", "txt", "vtt"]);

    let again = store.put(&episode(), &both, Overwrite::Never).await;
    assert_eq!(again.unwrap(), Committed::Unchanged);
    // Fewer formats of the same text are all there.
    let one = with("a", &[ExtraFormat::Srt]);
    let stored = store.put(&episode(), &one, Overwrite::Never).await;
    assert_eq!(
        stored.unwrap(),
        Committed::Unchanged,
        "all that was asked for is there"
    );

    let none = with("b", &[]);
    let stored = store.put(&episode(), &none, Overwrite::Complete).await;
    assert_eq!(stored.unwrap(), Committed::Written);
    assert_eq!(complete_text(&blobs).await, "b");
}
