//! Manifests on their way out: into the manifests store, and into local files.
//!
//! A run's manifest is kept for good as `<yyyymmdd>.csv`, the day's second as `<yyyymmdd>-2.csv`. The
//! number is claimed by a create-only write, so two runs that start at once never overwrite each other.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use bytes::Bytes;
use chrono::NaiveDate;

use super::Manifest;
use super::csv::{CsvError, write_manifest};
use crate::domain::ManifestKey;
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobStore, PutMode};

/// Largest manifest that is read from the store, in bytes: a million episodes.
pub const MAX_MANIFEST_BYTES: usize = 512 * 1024 * 1024;

/// Rounds of asking for a free number; each lost round means that another run took one.
const ROUNDS: u32 = 16;

/// A manifest that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its key.
    pub key: String,
    /// Where it lies, for people: a path or an `s3://` URI.
    pub location: String,
}

/// Why a manifest could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestStoreError {
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Other runs took every number that was tried.
    #[error("no free name for a manifest of {day}; try again")]
    Contended {
        /// Which day.
        day: NaiveDate,
    },
    /// The manifest is wrong.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// It is larger than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest {file} is larger than {MAX_MANIFEST_BYTES} bytes; split it")]
    TooLarge {
        /// Which.
        file: String,
    },
    /// The local file cannot be opened.
    #[error("cannot open the manifest {file}: {problem}; check the path")]
    Open {
        /// Which.
        file: String,
        /// The system's words.
        problem: String,
    },
    /// The manifest cannot be written.
    #[error("cannot write the manifest {file}: {problem}; check folder, permissions and space")]
    Write {
        /// Where to.
        file: String,
        /// The system's words.
        problem: String,
    },
}

/// Stores `manifest` under the first free name of `day`.
pub async fn store_manifest(
    store: &dyn BlobStore,
    day: NaiveDate,
    manifest: &Manifest,
) -> Result<StoredManifest, ManifestStoreError> {
    let mut text = Vec::new();
    let written = write_manifest(manifest.rows(), &mut text);
    written.map_err(|problem| ManifestStoreError::Write {
        file: format!("of {day}"),
        problem: problem.to_string(),
    })?;
    let text = Bytes::from(text);
    for _ in 0..ROUNDS {
        let key = free_key(store, day).await?.to_string();
        match store.put(&key, text.clone(), PutMode::Create).await {
            Ok(_) => {
                let location = store.location(&key);
                return Ok(StoredManifest { key, location });
            }
            Err(error) if error.kind == BlobErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ManifestStoreError::Contended { day })
}

/// The name after the day's highest number, so that names follow time even where one was deleted.
async fn free_key(store: &dyn BlobStore, day: NaiveDate) -> Result<ManifestKey, BlobError> {
    const PAGE: usize = 1000;
    let prefix = day.format("%Y%m%d").to_string();
    let mut highest = 0;
    let mut after: Option<String> = None;
    loop {
        let page = store.list(&prefix, after.as_deref(), PAGE).await?;
        let numbers = page.iter().filter_map(|key| number(key, &prefix));
        highest = numbers.max().unwrap_or(0).max(highest);
        if page.len() < PAGE {
            let number = highest + 1;
            return Ok(ManifestKey { day, number });
        }
        after = page.into_iter().next_back();
    }
}

/// The number of a manifest's name; other files in the store do not matter.
fn number(key: &str, prefix: &str) -> Option<u32> {
    let rest = key.strip_prefix(prefix)?.strip_suffix(".csv")?;
    match rest.strip_prefix('-') {
        None => rest.is_empty().then_some(1),
        Some(number) => number.parse().ok().filter(|number| *number < u32::MAX),
    }
}

/// Writes a manifest on this machine: whole or not at all, over what was there. Blocks on the file
/// system.
pub fn write_file(path: &Path, manifest: &Manifest) -> Result<(), ManifestStoreError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let written = File::create(&partial).and_then(|file| {
        let mut output = BufWriter::new(file);
        write_manifest(manifest.rows(), &mut output)?;
        output.into_inner()?.sync_all()?;
        std::fs::rename(&partial, path)
    });
    written.map_err(|problem| ManifestStoreError::Write {
        file: path.display().to_string(),
        problem: problem.to_string(),
    })
}

#[cfg(test)]
mod tests;
