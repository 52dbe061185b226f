//! Objects: the port's promises, and what only S3 has.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use base64::Engine as _;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::StreamExt;
use podrun::runtime::blob::s3::{MultipartCheck, S3BlobStore};
use podrun::runtime::blob::{BlobErrorKind, BlobStore, PutMode, conformance, read_all};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::localstack::LocalStack;
use crate::stand_in::{StandIn, clients_of};

pub(crate) const BUCKET: &str = "pod-insights-raw";

/// Makes the bucket, and opens it as it is opened on AWS.
pub(crate) async fn make_store(client: &Client) -> S3BlobStore {
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    S3BlobStore::new(client.clone(), BUCKET)
}

/// Bytes in which no part is like another.
pub(crate) fn noise(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    StdRng::seed_from_u64(7).fill_bytes(&mut bytes);
    bytes.into()
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
async fn the_ports_promises_are_kept() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.s3;
    let store = make_store(&client).await;
    conformance::all(Arc::new(store.clone())).await;
    a_whole_object_has_a_checksum(&client, &store).await;
    assert_eq!(open_uploads(&client).await, Vec::<String>::new());

    let lax = S3BlobStore::with_check(client, BUCKET, MultipartCheck::PartsOnly);
    conformance::streams_large_objects(&lax).await;
}

/// A second opinion on what goes up in parts and under conditions. Skipped where it is not installed.
#[tokio::test(flavor = "multi_thread")]
async fn another_server_agrees_about_parts_and_conditions() {
    let Some(stack) = LocalStack::start() else {
        return;
    };
    let client = clients_of(&stack.endpoint).await.s3;
    let store = make_store(&client).await;
    // No lists: it compares `StartAfter` with the encoded keys.
    conformance::creates_only_where_nothing_is(&store).await;
    conformance::replaces_only_the_version_it_was_told(&store).await;
    conformance::decides_about_a_writer_at_its_end(&store).await;
    let port: Arc<dyn BlobStore> = Arc::new(store.clone());
    conformance::lets_one_creator_win(Arc::clone(&port)).await;
    conformance::lets_one_replacer_win(port).await;
    a_whole_object_has_a_checksum(&client, &store).await;
    assert_eq!(open_uploads(&client).await, Vec::<String>::new());
}

/// The service keeps the checksum of all bytes, whatever the parts they came in.
async fn a_whole_object_has_a_checksum(client: &Client, store: &S3BlobStore) {
    let bytes = noise(20_000_000);
    let mut writer = store.create("whole/x", PutMode::Create).await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    let info = writer.finish().await.unwrap();
    assert_eq!(info.size, 20_000_000);
    let head = client.head_object().bucket(BUCKET).key("whole/x");
    let head = head.checksum_mode(ChecksumMode::Enabled).send().await;
    let head = head.unwrap();
    let crc = crc_fast::crc64_nvme(&bytes).to_be_bytes();
    let crc = base64::engine::general_purpose::STANDARD.encode(crc);
    assert_eq!(head.checksum_crc64_nvme.as_deref(), Some(&*crc));
    assert_eq!(head.checksum_type, Some(ChecksumType::FullObject));
    let read = read_all(store, "whole/x", bytes.len()).await.unwrap();
    assert!(read == bytes, "the bytes changed");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named_and_ends_the_run() {
    let stand_in = StandIn::start();
    let store = S3BlobStore::new(stand_in.clients().await.s3, BUCKET);
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
    let store = make_store(&client).await;
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
    let store = make_store(&client).await;
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
    let store = make_store(&client).await;
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
