//! What every blob store has to pass. Each check uses keys of its own, so that one store, even a
//! shared one, can take them all; each panics where a promise is broken.

use std::sync::Arc;

use bytes::Bytes;

use super::{BlobErrorKind, BlobInfo, BlobStore, PutMode, Version, key, read_all};

/// Runs every check on `store`, which has to be empty.
pub async fn all(store: Arc<dyn BlobStore>) {
    let plain = store.as_ref();
    reads_back_what_was_written(plain).await;
    reads_ranges_up_to_the_end(plain).await;
    creates_only_where_nothing_is(plain).await;
    replaces_only_the_version_it_was_told(plain).await;
    shows_nothing_before_the_finish(plain).await;
    discards_what_is_dropped_or_aborted(plain).await;
    decides_about_a_writer_at_its_end(plain).await;
    streams_large_objects(plain).await;
    refuses_invalid_keys(plain).await;
    deletes_twice(plain).await;
    lists_in_byte_order_and_in_pages(plain).await;
    lets_one_creator_win(Arc::clone(&store)).await;
    lets_one_replacer_win(store).await;
}

const DONE: &str = "the store does what it was asked";

async fn put(store: &dyn BlobStore, key: &str, text: &'static str) -> BlobInfo {
    let bytes = Bytes::from_static(text.as_bytes());
    store.put(key, bytes, PutMode::Create).await.expect(DONE)
}

async fn content(store: &dyn BlobStore, key: &str) -> Bytes {
    read_all(store, key, 1 << 20).await.expect(DONE)
}

async fn put_kind(store: &dyn BlobStore, key: &str, mode: PutMode) -> Option<BlobErrorKind> {
    let put = store.put(key, Bytes::from_static(b"other"), mode).await;
    put.err().map(|error| error.kind)
}

/// Size, version and bytes agree; absence is no error to `head` and one to `read_range`.
pub async fn reads_back_what_was_written(store: &dyn BlobStore) {
    let key = "back/a b/ü%2F.json";
    assert_eq!(store.head(key).await.expect(DONE), None);
    let error = store
        .read_range(key, 0, 1)
        .await
        .expect_err("nothing there");
    assert_eq!(error.kind, BlobErrorKind::NotFound);
    assert!(
        error.location.contains(key),
        "{error} does not name the key"
    );

    let written = put(store, key, "hello").await;
    assert_eq!(written.size, 5);
    assert_eq!(store.head(key).await.expect(DONE), Some(written));
    assert_eq!(content(store, key).await, "hello");

    put(store, "back/empty", "").await;
    assert_eq!(content(store, "back/empty").await, "");
}

/// A range ends where the object ends, also when it begins behind it.
pub async fn reads_ranges_up_to_the_end(store: &dyn BlobStore) {
    put(store, "range/x", "0123456789").await;
    for (offset, length, expected) in [
        (0, 4, "0123"),
        (4, 3, "456"),
        (8, 100, "89"),
        (0, usize::MAX, "0123456789"),
        (3, 0, ""),
        (10, 5, ""),
        (11, 5, ""),
        (u64::MAX, 5, ""),
    ] {
        let bytes = store.read_range("range/x", offset, length).await;
        assert_eq!(bytes.expect(DONE), expected, "{length} bytes from {offset}");
    }
    let too_large = read_all(store, "range/x", 9).await;
    assert!(too_large.is_err(), "read_all cut an object short");
    assert_eq!(read_all(store, "range/x", 10).await.expect(DONE).len(), 10);
}

/// [`PutMode::Create`] leaves an existing object alone.
pub async fn creates_only_where_nothing_is(store: &dyn BlobStore) {
    let first = put(store, "create/x", "first").await;
    let kind = put_kind(store, "create/x", PutMode::Create).await;
    assert_eq!(kind, Some(BlobErrorKind::AlreadyExists));
    assert_eq!(content(store, "create/x").await, "first");
    assert_eq!(store.head("create/x").await.expect(DONE), Some(first));
}

/// [`PutMode::Replace`] works once a version, and neither on another object nor on none.
pub async fn replaces_only_the_version_it_was_told(store: &dyn BlobStore) {
    let key = "replace/x";
    let nowhere = put_kind(store, key, PutMode::Replace(Version("1".into()))).await;
    assert_eq!(nowhere, Some(BlobErrorKind::Precondition));
    assert_eq!(store.head(key).await.expect(DONE), None);

    let first = put(store, key, "first").await;
    let mut versions = vec![first.version.clone()];
    // Contents of one length, as fast as it goes: the hardest to tell apart.
    for round in ["one", "two", "one", "two", "one"] {
        let mode = PutMode::Replace(versions[versions.len() - 1].clone());
        let info = store.put(key, round.into(), mode).await.expect(DONE);
        assert_eq!(store.head(key).await.expect(DONE).as_ref(), Some(&info));
        assert_eq!(content(store, key).await, round);
        versions.push(info.version);
    }
    let stale = put_kind(store, key, PutMode::Replace(first.version)).await;
    assert_eq!(stale, Some(BlobErrorKind::Precondition));
    assert_eq!(content(store, key).await, "one");

    store.delete(key).await.expect(DONE);
    let last = versions[versions.len() - 1].clone();
    let deleted = put_kind(store, key, PutMode::Replace(last)).await;
    assert_eq!(deleted, Some(BlobErrorKind::Precondition));
}

/// An object on its way in is neither readable nor listed.
pub async fn shows_nothing_before_the_finish(store: &dyn BlobStore) {
    let key = "hidden/x";
    let mut writer = store.create(key, PutMode::Create).await.expect(DONE);
    writer
        .write(Bytes::from(vec![7; 3 << 20]))
        .await
        .expect(DONE);
    assert_eq!(store.head(key).await.expect(DONE), None);
    let listed = store.list("hidden/", None, 10).await.expect(DONE);
    assert_eq!(listed, Vec::<String>::new());
    let info = writer.finish().await.expect(DONE);
    assert_eq!(info.size, 3 << 20);
    assert_eq!(store.head(key).await.expect(DONE), Some(info));
}

/// Neither way of giving up leaves anything, and the key stays free.
pub async fn discards_what_is_dropped_or_aborted(store: &dyn BlobStore) {
    let key = "dropped/x";
    for abort in [false, true] {
        let mut writer = store.create(key, PutMode::Create).await.expect(DONE);
        writer
            .write(Bytes::from(vec![7; 1 << 20]))
            .await
            .expect(DONE);
        if abort {
            writer.abort().await.expect(DONE);
        } else {
            drop(writer);
        }
        assert_eq!(store.head(key).await.expect(DONE), None);
    }
    put(store, key, "free").await;
}

/// A writer's mode counts when it finishes, not when it begins.
pub async fn decides_about_a_writer_at_its_end(store: &dyn BlobStore) {
    let key = "late/x";
    let mut late = store.create(key, PutMode::Create).await.expect(DONE);
    late.write("late".into()).await.expect(DONE);
    let first = put(store, key, "first").await;
    let error = late.finish().await.expect_err("an object is there by now");
    assert_eq!(error.kind, BlobErrorKind::AlreadyExists);

    let mode = PutMode::Replace(first.version.clone());
    let mut stale = store.create(key, mode.clone()).await.expect(DONE);
    stale.write("stale".into()).await.expect(DONE);
    let mut good = store.create(key, mode).await.expect(DONE);
    good.write("good".into()).await.expect(DONE);
    good.finish().await.expect(DONE);
    let error = stale.finish().await.expect_err("it was replaced");
    assert_eq!(error.kind, BlobErrorKind::Precondition);
    assert_eq!(content(store, key).await, "good");
}

/// What goes in in pieces of odd sizes comes out the same in pieces of others. 13 MB are more than
/// two parts of any multipart upload.
pub async fn streams_large_objects(store: &dyn BlobStore) {
    let pattern = |at: usize| (at ^ (at >> 8) ^ (at >> 16)) as u8;
    let size = 13_000_003;
    let expected = Bytes::from_iter((0..size).map(pattern));
    let mut writer = store.create("big/x", PutMode::Create).await.expect(DONE);
    let mut rest = expected.clone();
    for piece in [1, 100_003, 0, 4 << 20, 16 << 10].into_iter().cycle() {
        let piece = rest.split_to(rest.len().min(piece));
        writer.write(piece).await.expect(DONE);
        if rest.is_empty() {
            break;
        }
    }
    let info = writer.finish().await.expect(DONE);
    assert_eq!(info.size, size as u64);

    let mut read = Vec::new();
    while read.len() < size {
        let piece = store
            .read_range("big/x", read.len() as u64, 3_000_001)
            .await;
        let piece = piece.expect(DONE);
        assert!(!piece.is_empty(), "the object ends at {}", read.len());
        read.extend_from_slice(&piece);
    }
    assert!(read == expected, "the bytes changed on their way");
    store.delete("big/x").await.expect(DONE);
}

/// Every verb with a key refuses what is none, and nothing is written anywhere.
pub async fn refuses_invalid_keys(store: &dyn BlobStore) {
    let before = store.list("", None, 1000).await.expect(DONE);
    let long = "x/".repeat(key::MAX_LEN / 2) + "x";
    for key in [
        "", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/..", "a/../b", "a/./b", "a\\b",
        "a\0b", ".tmp", ".tmp/a", ".lock", ".LOCK", &long,
    ] {
        let kinds = [
            put_kind(store, key, PutMode::Create).await,
            store
                .create(key, PutMode::Create)
                .await
                .err()
                .map(|e| e.kind),
            store.read_range(key, 0, 1).await.err().map(|e| e.kind),
            store.head(key).await.err().map(|e| e.kind),
            store.delete(key).await.err().map(|e| e.kind),
        ];
        assert_eq!(kinds, [Some(BlobErrorKind::InvalidKey); 5], "{key:?}");
    }
    let after = store.list("", None, 1000).await.expect(DONE);
    assert_eq!(before, after);
}

/// Deleting what is not there is no error; a deleted key is free again.
pub async fn deletes_twice(store: &dyn BlobStore) {
    let key = "delete/a/x";
    store.delete(key).await.expect(DONE);
    put(store, key, "1").await;
    put(store, "delete/a/y", "neighbour").await;
    store.delete(key).await.expect(DONE);
    store.delete(key).await.expect(DONE);
    assert_eq!(store.head(key).await.expect(DONE), None);
    assert_eq!(content(store, "delete/a/y").await, "neighbour");
    put(store, key, "2").await;
}

/// Pages of every size, from every key, with every prefix, are cuts of the one sorted list.
pub async fn lists_in_byte_order_and_in_pages(store: &dyn BlobStore) {
    let mut keys: Vec<String> = [
        "a-b/x",
        "a/x",
        "a/y/z",
        "a/y-z",
        "a/y.z",
        "a.b",
        "a0",
        "a b/x",
        "ab/x",
        "A/x",
        "a/ü",
        "a/~",
        "a/-",
        ".hidden/x",
        "a/.tmp",
        "a/%2F",
        "é/x",
        "日/本",
        "zz/1/2/3/4/5",
    ]
    .iter()
    .map(|key| format!("list/{key}"))
    .collect();
    for key in &keys {
        put(store, key, "x").await;
    }
    keys.sort();
    let list = |prefix: String, after: Option<String>, limit| async move {
        store
            .list(&prefix, after.as_deref(), limit)
            .await
            .expect(DONE)
    };
    let whole = list("list/".into(), None, 1000).await;
    assert_eq!(whole, keys);
    assert_eq!(list("list/".into(), None, 0).await, Vec::<String>::new());

    for prefix in [
        "list/",
        "list",
        "list/a",
        "list/a/",
        "list/a/y",
        "list/zz/1/2",
        "list/a/x",
        "list/nothing/",
        "list/a/x/",
        "list/../list/",
        "/",
        "list//",
    ] {
        let fits = |key: &&String| key.starts_with(prefix);
        let expected: Vec<String> = keys.iter().filter(fits).cloned().collect();
        for limit in [1, 2, 3, 1000] {
            let mut paged: Vec<String> = Vec::new();
            loop {
                let page = list(prefix.into(), paged.last().cloned(), limit).await;
                let is_last = page.len() < limit;
                paged.extend(page);
                if is_last {
                    break;
                }
                assert!(paged.len() <= keys.len(), "listing does not end");
            }
            assert_eq!(paged, expected, "prefix {prefix:?} in pages of {limit}");
        }
    }
    for after in [
        "", "list/a", "list/a/", "list/a/y", "list/b", "list/zzz", "m", "a",
    ] {
        let later = |key: &&String| key.as_str() > after;
        let expected: Vec<String> = keys.iter().filter(later).cloned().collect();
        let found = list("list/".into(), Some(after.into()), 1000).await;
        assert_eq!(found, expected, "after {after:?}");
    }
}

/// Of eight tasks that create one object at once, one succeeds, and it is that one's object.
pub async fn lets_one_creator_win(store: Arc<dyn BlobStore>) {
    let outcomes = race(&store, "race/create/x", &PutMode::Create).await;
    assert_one_winner(
        &*store,
        "race/create/x",
        &outcomes,
        BlobErrorKind::AlreadyExists,
    )
    .await;
}

/// Of eight tasks that replace one version at once, one succeeds.
pub async fn lets_one_replacer_win(store: Arc<dyn BlobStore>) {
    let key = "race/replace/x";
    let mode = PutMode::Replace(put(&*store, key, "first").await.version);
    let outcomes = race(&store, key, &mode).await;
    assert_one_winner(&*store, key, &outcomes, BlobErrorKind::Precondition).await;
}

type Outcome = (String, Result<BlobInfo, BlobErrorKind>);

/// Half of the tasks put, half of them stream.
async fn race(store: &Arc<dyn BlobStore>, key: &'static str, mode: &PutMode) -> Vec<Outcome> {
    let start = Arc::new(tokio::sync::Barrier::new(8));
    let tasks = (0..8).map(|number| {
        let (store, mode, start) = (Arc::clone(store), mode.clone(), Arc::clone(&start));
        tokio::spawn(async move {
            let text = format!("written by {number}");
            let bytes = Bytes::from(text.clone());
            start.wait().await;
            let written = if number % 2 == 0 {
                store.put(key, bytes, mode).await
            } else {
                let mut writer = store.create(key, mode).await.expect(DONE);
                writer.write(bytes).await.expect(DONE);
                writer.finish().await
            };
            (text, written.map_err(|error| error.kind))
        })
    });
    let outcomes = futures::future::join_all(tasks).await;
    let whole = outcomes
        .into_iter()
        .map(|task| task.expect("no task panics"));
    whole.collect()
}

async fn assert_one_winner(
    store: &dyn BlobStore,
    key: &str,
    outcomes: &[Outcome],
    others: BlobErrorKind,
) {
    let winners: Vec<_> = outcomes.iter().filter(|(_, won)| won.is_ok()).collect();
    let [(text, Ok(info))] = winners[..] else {
        panic!("not one winner: {outcomes:?}");
    };
    for (_, outcome) in outcomes.iter().filter(|(_, won)| won.is_err()) {
        assert_eq!(outcome.as_ref().err(), Some(&others));
    }
    assert_eq!(content(store, key).await, text.as_bytes());
    assert_eq!(store.head(key).await.expect(DONE).as_ref(), Some(info));
}
