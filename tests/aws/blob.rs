//! Objects: the port's promises on both stand-ins, and what only S3 has.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine as _;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::StreamExt;
use podrun::runtime::blob::s3::{MultipartCheck, S3BlobStore};
use podrun::runtime::blob::{BlobErrorKind, BlobStore, PutMode, conformance};

use crate::localstack::LocalStack;
use crate::stand_in::{StandIn, clients_of};

pub(crate) const BUCKET: &str = "pod-insights-raw";

/// The stand-in takes no checksum of a whole object.
pub(crate) fn lax_store(client: &Client) -> S3BlobStore {
    S3BlobStore::with_check(client.clone(), BUCKET, MultipartCheck::PartsOnly)
}

pub(crate) async fn make_bucket(client: &Client) {
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
}

/// Keys of the uploads that were begun and neither completed nor aborted.
pub(crate) async fn open_uploads(client: &Client) -> Vec<String> {
    let list = client.list_multipart_uploads().bucket(BUCKET);
    let uploads = list.send().await.unwrap().uploads.unwrap_or_default();
    uploads
        .into_iter()
        .filter_map(|upload| upload.key)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ports_promises_are_kept_on_the_stand_in() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.s3;
    make_bucket(&client).await;
    conformance::all(Arc::new(lax_store(&client))).await;
    assert_eq!(open_uploads(&client).await, Vec::<String>::new());
}

/// Skipped where it is not installed.
#[tokio::test(flavor = "multi_thread")]
async fn the_ports_promises_are_kept_where_parts_and_checksums_are_checked() {
    let Some(stack) = LocalStack::start() else {
        return;
    };
    let client = clients_of(&stack.endpoint).await.s3;
    make_bucket(&client).await;
    let store = S3BlobStore::new(client.clone(), BUCKET);
    // All but the lists: it compares `StartAfter` with the encoded keys.
    let port: Arc<dyn BlobStore> = Arc::new(store.clone());
    conformance::reads_back_what_was_written(&store).await;
    conformance::reads_ranges_up_to_the_end(&store).await;
    conformance::creates_only_where_nothing_is(&store).await;
    conformance::replaces_only_the_version_it_was_told(&store).await;
    conformance::shows_nothing_before_the_finish(&store).await;
    conformance::discards_what_is_dropped_or_aborted(&store).await;
    conformance::decides_about_a_writer_at_its_end(&store).await;
    conformance::streams_large_objects(&store).await;
    conformance::refuses_invalid_keys(&store).await;
    conformance::deletes_twice(&store).await;
    conformance::lets_one_creator_win(Arc::clone(&port)).await;
    conformance::lets_one_replacer_win(port).await;

    let bytes = Bytes::from_iter((0..20_000_000_u32).map(|at| (at ^ (at >> 9)) as u8));
    let mut writer = store.create("whole/x", PutMode::Create).await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    let info = writer.finish().await.unwrap();
    let head = client.head_object().bucket(BUCKET).key("whole/x");
    let head = head
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    let crc = crc_fast::crc64_nvme(&bytes).to_be_bytes();
    let crc = base64::engine::general_purpose::STANDARD.encode(crc);
    assert_eq!(head.checksum_crc64_nvme.as_deref(), Some(&*crc));
    assert_eq!(info.size, 20_000_000);
    assert_eq!(open_uploads(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named_and_ends_the_run() {
    let stand_in = StandIn::start();
    let store = lax_store(&stand_in.clients().await.s3);
    let mut large = store.create("a/x", PutMode::Create).await.unwrap();
    let large = match large.write(vec![0; 9 << 20].into()).await {
        Ok(()) => large.finish().await.map(drop),
        Err(error) => Err(error),
    };
    let errors = [
        store.check().await,
        store
            .put("a/x", "1".into(), PutMode::Create)
            .await
            .map(drop),
        store.read_range("a/x", 0, 1).await.map(drop),
        store.list("", None, 1).await.map(drop),
        store
            .abort_stale_uploads(Duration::ZERO, Utc::now())
            .await
            .map(drop),
        large,
    ];
    for error in errors {
        let error = error.unwrap_err();
        assert_eq!(error.kind, BlobErrorKind::NoStore, "{error}");
        assert!(error.kind.is_fatal());
        let text = error.to_string();
        assert!(
            text.contains("create the bucket pod-insights-raw"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_come_in_pages_and_without_strangers() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.s3;
    make_bucket(&client).await;
    let store = lax_store(&client);
    let keys: Vec<_> = (0..1_003)
        .map(|number| format!("many/{number:04}+ü x"))
        .collect();
    let puts = futures::stream::iter(keys.clone()).map(|key| {
        let store = store.clone();
        async move { store.put(&key, "x".into(), PutMode::Create).await.map(drop) }
    });
    let puts: Vec<_> = puts.buffer_unordered(16).collect().await;
    assert!(puts.into_iter().all(|put| put.is_ok()));
    // What the console makes of a folder.
    for stranger in ["many/", "many/0500/"] {
        let put = client.put_object().bucket(BUCKET).key(stranger);
        put.send().await.unwrap();
    }
    assert_eq!(store.list("many/", None, 2_000).await.unwrap(), keys);
    assert_eq!(
        store.list("many/", None, 1_001).await.unwrap(),
        keys[..1_001]
    );
    let rest = store.list("many/", Some(&keys[499]), 1_000).await.unwrap();
    assert_eq!(rest, keys[500..]);
}

#[tokio::test]
async fn the_next_owner_discards_what_the_last_one_left() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.s3;
    make_bucket(&client).await;
    let store = lax_store(&client);
    for key in [
        "show/1/audio/x.mp3",
        "show/1/audio/x.m4a",
        "show/10/audio/x.mp3",
    ] {
        let begin = client.create_multipart_upload().bucket(BUCKET).key(key);
        begin.send().await.unwrap();
    }
    store.discard_unfinished("show/1/").await.unwrap();
    assert_eq!(open_uploads(&client).await, ["show/10/audio/x.mp3"]);
    store.discard_unfinished("show/1/").await.unwrap();
}

#[tokio::test]
async fn uploads_of_the_dead_are_aborted_and_young_ones_are_not() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.s3;
    make_bucket(&client).await;
    let store = lax_store(&client);
    for key in ["dead/ü 1", "dead/2"] {
        let begin = client.create_multipart_upload().bucket(BUCKET).key(key);
        begin.send().await.unwrap();
    }
    let age = Duration::from_secs(24 * 3600);
    assert_eq!(store.abort_stale_uploads(age, Utc::now()).await.unwrap(), 0);
    assert_eq!(open_uploads(&client).await.len(), 2);
    let tomorrow = Utc::now() + TimeDelta::hours(25);
    assert_eq!(store.abort_stale_uploads(age, tomorrow).await.unwrap(), 2);
    assert_eq!(open_uploads(&client).await, Vec::<String>::new());
    assert_eq!(store.abort_stale_uploads(age, tomorrow).await.unwrap(), 0);
}
