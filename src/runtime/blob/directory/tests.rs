use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::sync::Arc;

use super::super::conformance;
use super::*;

fn store() -> (tempfile::TempDir, DirectoryBlobStore) {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryBlobStore::open(root.path().join("raw")).unwrap();
    (root, store)
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn temporary_files(store: &DirectoryBlobStore) -> usize {
    fs::read_dir(store.path(".tmp")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_ports_promises() {
    let (_root, store) = store();
    conformance::all(Arc::new(store.clone())).await;
    assert_eq!(temporary_files(&store), 0, "something was left behind");
}

#[tokio::test]
async fn case_102_a_sweep_takes_the_dead_and_spares_the_living() {
    let (_root, store) = store();
    let mut living = store.create("a/b", PutMode::Create).await.unwrap();
    living.write(text("x")).await.unwrap();
    // Nobody holds a lock on this one: its writer was killed.
    File::create(store.path(".tmp/left-behind")).unwrap();

    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(temporary_files(&store), 1);
    living.finish().await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(store.head("a/b").await.unwrap().unwrap().size, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_that_never_rest_do_no_harm_to_writers() {
    let (_root, store) = store();
    let sweeper = {
        let folder = store.path(".tmp");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let sweep = move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                temporary::sweep(&folder).unwrap();
            }
        };
        (stop, tokio::task::spawn_blocking(sweep))
    };
    for number in 0..100 {
        let key = format!("k/{number}");
        store.put(&key, text("x"), PutMode::Create).await.unwrap();
    }
    drop(sweeper.0);
    sweeper.1.await.unwrap();
    assert_eq!(store.list("", None, 1000).await.unwrap().len(), 100);
}

#[tokio::test]
async fn links_are_not_followed_and_not_listed() {
    let (root, store) = store();
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "s").unwrap();
    symlink(&outside, store.path("link")).unwrap();
    symlink(outside.join("secret"), store.path("secret")).unwrap();

    assert!(
        store
            .put("link/new", text("x"), PutMode::Create)
            .await
            .is_err()
    );
    assert!(
        store
            .put("link/a/new", text("x"), PutMode::Create)
            .await
            .is_err()
    );
    assert!(store.delete("link/secret").await.is_err());
    assert!(store.read_range("link/secret", 0, 1).await.is_err());
    assert!(store.read_range("secret", 0, 1).await.is_err());
    assert_eq!(
        store.list("", None, 10).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        store.list("link/", None, 10).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test]
async fn deleting_tidies_empty_folders_and_only_those() {
    let (_root, store) = store();
    for key in ["f/g/audio/a", "f/g/meta/m", "f/h/x"] {
        store.put(key, text("x"), PutMode::Create).await.unwrap();
    }
    store.delete("f/g/audio/a").await.unwrap();
    assert!(!store.path("f/g/audio").exists() && store.path("f/g/meta").exists());
    store.delete("f/g/meta/m").await.unwrap();
    assert!(!store.path("f/g").exists() && store.path("f/h/x").exists());
    store.delete("f/h/x").await.unwrap();
    assert!(!store.path("f").exists() && store.path("").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_stored_though_its_neighbours_are_deleted_meanwhile() {
    let (_root, store) = store();
    let neighbour = store.clone();
    let deleting = tokio::spawn(async move {
        for number in 0..50 {
            let key = format!("f/g/n{number}");
            neighbour
                .put(&key, text("x"), PutMode::Create)
                .await
                .unwrap();
            neighbour.delete(&key).await.unwrap();
        }
    });
    for number in 0..50 {
        let key = format!("f/g/k{number}");
        store.put(&key, text("x"), PutMode::Create).await.unwrap();
        store.delete(&key).await.unwrap();
    }
    deleting.await.unwrap();
    assert!(!store.path("f").exists());
}

#[tokio::test]
async fn a_file_with_the_time_of_its_successor_still_gets_another_version() {
    let (_root, store) = store();
    let first = store.put("k", text("1"), PutMode::Create).await.unwrap();
    // As if the clock had been an hour ahead.
    let ahead = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let file = File::options().write(true).open(store.path("k")).unwrap();
    file.set_modified(ahead).unwrap();
    let current = store.head("k").await.unwrap().unwrap();
    assert_ne!(current, first);

    let replace = PutMode::Replace(current.version.clone());
    let second = store.put("k", text("2"), replace).await.unwrap();
    assert!(fs::metadata(store.path("k")).unwrap().modified().unwrap() > ahead);
    let replace = PutMode::Replace(second.version);
    let third = store.put("k", text("3"), replace).await.unwrap();
    assert!(third.version != current.version && third.version != first.version);
}

#[tokio::test]
async fn a_folder_is_no_object() {
    let (_root, store) = store();
    store.put("a/b", text("x"), PutMode::Create).await.unwrap();
    assert_eq!(store.head("a").await.unwrap(), None);
    let error = store.read_range("a", 0, 1).await.unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::NotFound);
    let error = store
        .put("a", text("x"), PutMode::Create)
        .await
        .unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::Other);
    let error = store
        .put("a/b/c", text("x"), PutMode::Create)
        .await
        .unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::Other);
    store.delete("a").await.unwrap();
    assert!(store.head("a/b").await.unwrap().is_some());
}

#[test]
fn a_root_that_cannot_be_made_is_named() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let error = DirectoryBlobStore::open(root.path().join("file/raw")).unwrap_err();
    assert!(error.to_string().contains("file/raw"), "{error}");
}
