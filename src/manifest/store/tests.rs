use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::StreamExt;

use super::*;
use crate::manifest::{ManifestFile, ManifestRow, episode_for_test};
use crate::runtime::blob::{BlobInfo, BlobWriter, Version};

/// The part of a store that manifests need, with a rival that takes names between look and write.
#[derive(Debug, Default)]
struct Shelf {
    objects: Mutex<BTreeMap<String, Bytes>>,
    rivals: Mutex<u32>,
}

impl Shelf {
    fn with(keys: &[&str]) -> Self {
        let objects = keys.iter().map(|key| ((*key).to_owned(), Bytes::new()));
        Self {
            objects: Mutex::new(objects.collect()),
            rivals: Mutex::new(0),
        }
    }

    fn error(&self, key: &str, kind: BlobErrorKind) -> BlobError {
        BlobError {
            location: self.location(key),
            kind,
            source: None,
        }
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("shelf")
    }
}

#[async_trait]
impl BlobStore for Shelf {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<BlobInfo, BlobError> {
        assert_eq!(mode, PutMode::Create, "a manifest is never replaced");
        let mut objects = self.objects.lock().unwrap();
        let mut rivals = self.rivals.lock().unwrap();
        if *rivals > 0 {
            *rivals -= 1;
            objects.insert(key.to_owned(), Bytes::new());
        }
        if objects.contains_key(key) {
            return Err(self.error(key, BlobErrorKind::AlreadyExists));
        }
        objects.insert(key.to_owned(), bytes);
        Ok(BlobInfo {
            size: 0,
            version: Version(String::new()),
        })
    }

    async fn create(&self, key: &str, _: PutMode) -> Result<Box<dyn BlobWriter>, BlobError> {
        Err(self.error(key, BlobErrorKind::Other))
    }

    async fn read_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, BlobError> {
        assert_eq!(offset, 0);
        let objects = self.objects.lock().unwrap();
        let bytes = objects.get(key).cloned();
        let bytes = bytes.ok_or_else(|| self.error(key, BlobErrorKind::NotFound))?;
        Ok(bytes.slice(..length.min(bytes.len())))
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        Err(self.error(key, BlobErrorKind::Other))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BlobError> {
        let objects = self.objects.lock().unwrap();
        let keys = objects.keys().filter(|key| key.starts_with(prefix));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit).cloned().collect())
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        Err(self.error(key, BlobErrorKind::Other))
    }

    fn location(&self, key: &str) -> String {
        format!("shelf/{key}")
    }
}

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 9).unwrap()
}

fn manifest() -> Manifest {
    let episode = episode_for_test("show", "g", Some(1));
    Manifest::from_rows([ManifestRow { episode, tier: 2 }])
}

async fn stored_as(shelf: &Shelf) -> String {
    store_manifest(shelf, day(), &manifest()).await.unwrap().key
}

#[tokio::test]
async fn names_count_up_through_the_day_and_the_text_comes_back() {
    let shelf = Shelf::with(&["20260308-7.csv", "20260309x.csv", "20260309-2.txt"]);
    let stored = store_manifest(&shelf, day(), &manifest()).await.unwrap();
    assert_eq!(
        (stored.key.as_str(), stored.location.as_str()),
        ("20260309.csv", "shelf/20260309.csv")
    );
    assert_eq!(stored_as(&shelf).await, "20260309-2.csv");
    assert_eq!(stored_as(&shelf).await, "20260309-3.csv");
    let file = ManifestFile::copy(&shelf, &stored.key).await.unwrap();
    assert_eq!(file.warnings(), Vec::<String>::new());
    assert_eq!(file.name(), "shelf/20260309.csv");
    assert_eq!(rows(file).await, manifest().into_rows());
}

#[tokio::test]
async fn the_tenth_of_a_day_follows_the_ninth() {
    let keys: Vec<String> = (2..=9)
        .map(|number| format!("20260309-{number}.csv"))
        .collect();
    let keys: Vec<&str> = keys
        .iter()
        .map(String::as_str)
        .chain(["20260309.csv"])
        .collect();
    let shelf = Shelf::with(&keys);
    assert_eq!(stored_as(&shelf).await, "20260309-10.csv");
    assert_eq!(stored_as(&shelf).await, "20260309-11.csv");
}

#[tokio::test]
async fn a_rival_costs_a_number_and_no_manifest() {
    let shelf = Shelf::default();
    *shelf.rivals.lock().unwrap() = 2;
    assert_eq!(stored_as(&shelf).await, "20260309-3.csv");
    *shelf.rivals.lock().unwrap() = u32::MAX;
    let error = store_manifest(&shelf, day(), &manifest())
        .await
        .unwrap_err();
    assert!(matches!(error, ManifestStoreError::Contended { .. }));
}

async fn rows(file: ManifestFile) -> Vec<ManifestRow> {
    file.into_rows().map(Result::unwrap).collect().await
}

#[tokio::test]
async fn a_local_file_is_read_and_a_missing_one_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.csv");
    write_file(&path, &manifest()).unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing else is left there"
    );
    let file = ManifestFile::open(&path).await.unwrap();
    assert_eq!(rows(file).await, manifest().into_rows());
    for wrong in [folder.path(), &folder.path().join("none.csv")] {
        let message = ManifestFile::open(wrong).await.unwrap_err().to_string();
        assert!(message.contains("check the path"), "{message}");
        let below = wrong.join("deeper/m.csv");
        assert!(matches!(
            write_file(&below, &manifest()),
            Err(ManifestStoreError::Write { .. })
        ));
    }
}

#[tokio::test]
async fn an_episode_that_is_listed_twice_is_read_once_and_a_bad_row_before_any_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.csv");
    let head = "feed_slug,guid,enclosure_url\n";
    let good = "show,a,https://example.com/a.mp3\n";
    std::fs::write(&path, format!("{head}{good}{good}")).unwrap();
    let file = ManifestFile::open(&path).await.unwrap();
    assert_eq!(rows(file).await.len(), 1);
    std::fs::write(&path, format!("{head}{good}show,b,\n")).unwrap();
    let error = ManifestFile::open(&path).await.unwrap_err().to_string();
    assert!(error.contains("m.csv:3:"), "{error}");
}
