//! The typed store of the stage bucket: transcripts, committed.
//!
//! An episode has three data objects (transcript, VTT, segments), more formats where they were asked
//! for, and then `kpis.json`, whose
//! existence says that the others are there and belong together. Whatever interrupts a writer, the
//! next one finds either a complete episode or one without a marker, whose data it may replace.
//!
//! A bucket cannot check leases. A writer that lost its lease and goes on all the same is kept from
//! an episode that somebody else completed, up to the moment between its last look and its write;
//! the caller's own lease check before [`StageStore::put`] makes that a matter of milliseconds.

mod partial;

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::domain::{EpisodeId, ExtraFormat, Failure, FailureClass, StageKey, Transcript};
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobStore, PutMode, read_all};

/// Largest transcript that is read: a day of speech with word times has about 50 MB.
const TRANSCRIPT_LIMIT: usize = 256 << 20;

/// Largest `kpis.json` that is read.
const KPIS_LIMIT: usize = 1 << 20;

/// Tries to write one object against others who do the same.
const WRITE_TRIES: u32 = 8;

/// The stage bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StageStore {
    blobs: Arc<dyn BlobStore>,
}

/// The objects of an episode, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// `transcript.json`.
    pub transcript: Bytes,
    /// `transcript.vtt`.
    pub vtt: Bytes,
    /// `segments.json`, one object a line.
    pub segments: Bytes,
    /// Formats that were asked for beyond those, each at most once.
    pub extra: Vec<(ExtraFormat, Bytes)>,
    /// `kpis.json`.
    pub kpis: Bytes,
}

impl Product {
    fn data<'a>(
        &'a self,
        episode: &'a EpisodeId,
    ) -> impl Iterator<Item = (StageKey<'a>, &'a Bytes)> {
        let extra = self.extra.iter();
        [
            (StageKey::Transcript(episode), &self.transcript),
            (StageKey::Vtt(episode), &self.vtt),
            (StageKey::Segments(episode), &self.segments),
        ]
        .into_iter()
        .chain(extra.map(move |(format, bytes)| (StageKey::Extra(episode, *format), bytes)))
    }

    fn lacks(&self, format: ExtraFormat) -> bool {
        self.extra.iter().all(|(extra, _)| *extra != format)
    }
}

/// What to do about an episode that is complete already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave it as it is.
    Never,
    /// Put the new product in its place. Until that is done the episode counts as incomplete.
    Complete,
}

/// What [`StageStore::put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It stored the product.
    Written,
    /// The very same product was stored already.
    Unchanged,
}

/// A failed call to the stage store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The bucket failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Another product is stored, and [`Overwrite::Complete`] was not asked for. The work is done,
    /// by somebody.
    #[error("{episode} has a complete transcript already")]
    AlreadyComplete {
        /// Which.
        episode: EpisodeId,
    },
    /// An object that is not what its key says.
    #[error("{location} cannot be read: {source}")]
    Unreadable {
        /// Path or URI of the object.
        location: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Others wrote the object each time.
    #[error("{location} is changed by others all the time")]
    Contended {
        /// Path or URI of the object.
        location: String,
    },
}

impl StageError {
    /// Whether the store itself is unusable, so that going on with other episodes is pointless.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Blob(error) if error.kind.is_fatal())
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self::new(FailureClass::Storage, error.to_string())
    }
}

impl StageStore {
    /// The store whose objects lie in `blobs`.
    pub fn new(blobs: Arc<dyn BlobStore>) -> Self {
        Self { blobs }
    }

    /// The objects themselves.
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.blobs
    }

    /// Where an object lies, for people.
    pub fn location(&self, key: &StageKey<'_>) -> String {
        self.blobs.location(&key.to_string())
    }

    /// Whether all of an episode is stored.
    pub async fn is_complete(&self, episode: &EpisodeId) -> Result<bool, StageError> {
        let marker = StageKey::Kpis(episode).to_string();
        Ok(self.blobs.head(&marker).await?.is_some())
    }

    /// Stores the product of an episode, the marker last. Safe to repeat after any failure.
    pub async fn put(
        &self,
        episode: &EpisodeId,
        product: &Product,
        overwrite: Overwrite,
    ) -> Result<Committed, StageError> {
        let marker = StageKey::Kpis(episode).to_string();
        if self.is_complete(episode).await? {
            match (self.settle(episode, product).await, overwrite) {
                (Err(StageError::AlreadyComplete { .. }), Overwrite::Complete) => {
                    // First of all, so that no reader takes a mixture for an episode.
                    self.blobs.delete(&marker).await?;
                }
                (settled, _) => return settled,
            }
        }
        self.drop_stale(episode, product).await?;
        for (key, bytes) in product.data(episode) {
            self.put_data(episode, &key.to_string(), bytes).await?;
        }
        match self
            .blobs
            .put(&marker, product.kpis.clone(), PutMode::Create)
            .await
        {
            Ok(_) => Ok(Committed::Written),
            Err(error) if error.kind == BlobErrorKind::AlreadyExists => {
                self.settle(episode, product).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The figures of a complete episode.
    pub async fn read_kpis<T: DeserializeOwned>(
        &self,
        episode: &EpisodeId,
    ) -> Result<Option<T>, StageError> {
        self.read(&StageKey::Kpis(episode), KPIS_LIMIT).await
    }

    /// The transcript of a complete episode; that of an incomplete one is not shown, since it may
    /// not be the one that stays.
    pub async fn read_transcript(
        &self,
        episode: &EpisodeId,
    ) -> Result<Option<Transcript>, StageError> {
        if !self.is_complete(episode).await? {
            return Ok(None);
        }
        self.read(&StageKey::Transcript(episode), TRANSCRIPT_LIMIT)
            .await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        key: &StageKey<'_>,
        limit: usize,
    ) -> Result<Option<T>, StageError> {
        let bytes = match read_all(&*self.blobs, &key.to_string(), limit).await {
            Err(error) if error.kind == BlobErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|source| StageError::Unreadable {
            location: self.location(key),
            source,
        })
    }

    /// Removes what an earlier product of an incomplete episode left in formats that this one lacks:
    /// it says something else.
    async fn drop_stale(&self, episode: &EpisodeId, product: &Product) -> Result<(), StageError> {
        for format in ExtraFormat::ALL {
            let key = StageKey::Extra(episode, format).to_string();
            let is_left = product.lacks(format) && self.blobs.head(&key).await?.is_some();
            if is_left && !self.is_complete(episode).await? {
                self.blobs.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// The outcome for an episode that somebody completed: unchanged if it is the same product.
    async fn settle(
        &self,
        episode: &EpisodeId,
        product: &Product,
    ) -> Result<Committed, StageError> {
        let kpis = (StageKey::Kpis(episode), &product.kpis);
        for (key, bytes) in product.data(episode).chain([kpis]) {
            if !self.holds(&key.to_string(), bytes).await? {
                let episode = episode.clone();
                return Err(StageError::AlreadyComplete { episode });
            }
        }
        Ok(Committed::Unchanged)
    }

    /// Whether an object has exactly these bytes.
    async fn holds(&self, key: &str, bytes: &Bytes) -> Result<bool, StageError> {
        // One byte more than expected shows that the object is longer.
        match self.blobs.read_range(key, 0, bytes.len() + 1).await {
            Ok(stored) => Ok(stored == bytes),
            Err(error) if error.kind == BlobErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes one data object of an incomplete episode over whatever an earlier attempt left.
    async fn put_data(
        &self,
        episode: &EpisodeId,
        key: &str,
        bytes: &Bytes,
    ) -> Result<(), StageError> {
        let mut mode = PutMode::Create;
        for _ in 0..WRITE_TRIES {
            match self.blobs.put(key, bytes.clone(), mode).await {
                Ok(_) => return Ok(()),
                Err(error) if error.kind.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
            // Asked before the content is looked at: a change in between makes it outdated.
            let found = self.blobs.head(key).await?;
            if self.holds(key, bytes).await? {
                return Ok(());
            }
            if self.is_complete(episode).await? {
                let episode = episode.clone();
                return Err(StageError::AlreadyComplete { episode });
            }
            mode = found.map_or(PutMode::Create, |found| PutMode::Replace(found.version));
        }
        Err(StageError::Contended {
            location: self.blobs.location(key),
        })
    }
}

#[cfg(test)]
mod tests;
