//! Runs of a fleet: what was submitted, written down before it is.
//!
//! A run lives in three places, in this order, each safe to repeat:
//!
//! 1. its messages, one an episode: durable before anything else; a run that dies here is planned
//!    again by the next one, and workers that meet a message twice do its work once;
//! 2. its record, `runs/<run>.json` beside the manifests, with the settings that all of its workers
//!    go by;
//! 3. its job, named like the run. A submission whose answer is lost is found by that name.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{RunId, RunKey, StageName};
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobStore, PutMode, read_all};

/// Largest record in bytes; a settings file has some kilobytes.
const LIMIT: usize = 1 << 20;

/// What was submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// 1.
    pub schema_version: u32,
    /// Its name.
    pub run: RunId,
    /// Which queue its workers drain.
    pub stage: StageName,
    /// When, by the clock of whoever submitted it.
    pub submitted_at: DateTime<Utc>,
    /// Episodes that it was submitted for.
    pub planned: u64,
    /// Workers at most.
    pub workers: u32,
    /// The manifest that the episodes come from, where there is one.
    pub manifest: Option<String>,
    /// Settings that every worker goes by: one fleet must not press hosts by two measures.
    pub settings: Value,
}

impl RunRecord {
    /// The version of the form that is written here.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Writes it down, once; returns where, for its workers.
    pub async fn keep(&self, store: &dyn BlobStore) -> Result<String, RunError> {
        let key = RunKey(&self.run).to_string();
        let text = serde_json::to_vec_pretty(self).map_err(|source| RunError::Unreadable {
            location: store.location(&key),
            problem: source.to_string(),
        })?;
        store.put(&key, Bytes::from(text), PutMode::Create).await?;
        Ok(store.location(&key))
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// [`RunError::Unknown`] where no such run was submitted.
    pub async fn read(store: &dyn BlobStore, run: &RunId) -> Result<Self, RunError> {
        let key = RunKey(run).to_string();
        let text = match read_all(store, &key, LIMIT).await {
            Ok(text) => text,
            Err(error) if error.kind == BlobErrorKind::NotFound => {
                return Err(RunError::Unknown(run.clone()));
            }
            Err(error) => return Err(error.into()),
        };
        let unreadable = |problem: String| RunError::Unreadable {
            location: store.location(&key),
            problem,
        };
        let record: Self =
            serde_json::from_slice(&text).map_err(|problem| unreadable(problem.to_string()))?;
        if record.schema_version != Self::SCHEMA_VERSION {
            let version = record.schema_version;
            return Err(unreadable(format!("its form has the version {version}")));
        }
        Ok(record)
    }
}

/// A run that cannot be written down or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Nothing like that was submitted.
    #[error("there is no run {0}")]
    Unknown(RunId),
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The record is not what this version writes.
    #[error("{location}: no record of a run that this version can read: {problem}")]
    Unreadable {
        /// Where it lies.
        location: String,
        /// In words.
        problem: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::blob::MemoryBlobStore;

    fn record() -> RunRecord {
        let submitted_at = "2026-11-21T23:15:00Z".parse().unwrap();
        RunRecord {
            schema_version: RunRecord::SCHEMA_VERSION,
            run: RunId::new(StageName::Fetch, submitted_at),
            stage: StageName::Fetch,
            submitted_at,
            planned: 1000,
            workers: 40,
            manifest: Some("s3://manifests/20261121.csv".to_owned()),
            settings: serde_json::json!({"fetch": {"concurrency": 8}}),
        }
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_never_overwritten() {
        let store = MemoryBlobStore::new();
        let record = record();
        record.keep(&store).await.unwrap();
        assert_eq!(RunRecord::read(&store, &record.run).await.unwrap(), record);
        assert!(matches!(record.keep(&store).await, Err(RunError::Blob(_))));
    }

    #[tokio::test]
    async fn other_runs_and_other_forms_are_told() {
        let store = MemoryBlobStore::new();
        let mut record = record();
        let unknown = RunRecord::read(&store, &record.run).await;
        assert!(matches!(unknown, Err(RunError::Unknown(_))));
        record.schema_version = 2;
        record.keep(&store).await.unwrap();
        let error = RunRecord::read(&store, &record.run).await.unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        let key = RunKey(&record.run).to_string();
        store.delete(&key).await.unwrap();
        let garbage = Bytes::from_static(b"{}");
        store.put(&key, garbage, PutMode::Create).await.unwrap();
        let error = RunRecord::read(&store, &record.run).await.unwrap_err();
        assert!(error.to_string().contains("no record"), "{error}");
    }
}
