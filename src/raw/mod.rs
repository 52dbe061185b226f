//! The typed store of the raw bucket: audio as received, and what is known about it.
//!
//! The audio is written first and `meta.json` last, so an episode whose meta exists is complete.
//! Audio without a meta is what a killed worker left; [`RawStore::find_audio`] finds it.

mod error;
mod meta;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::key::episode_prefix;
use crate::domain::{AudioContainer, ContentDigest, EpisodeId, RawKey, TranscriptFormat};
use crate::runtime::blob::{
    BlobError, BlobErrorKind, BlobInfo, BlobStore, BlobWriter, PutMode, Version, read_all,
};

pub use error::RawError;
pub use meta::{AudioMeta, EpisodeMeta, RedirectHop};

/// Largest `meta.json` that is written and read: hundred times what a long redirect chain needs.
const META_LIMIT: usize = 1 << 20;

/// Keys asked for at once while scanning; S3 gives no more.
const LIST_PAGE: usize = 1000;

/// Metas read at once while scanning.
const SCAN_READS: usize = 8;

/// Bytes of audio that are read back at once; hashing them takes well under a millisecond.
const READ_PIECE: usize = 256 * 1024;

/// Tries to change a meta. Each one fails only because another change got through.
const CHANGE_TRIES: u32 = 8;

/// The raw bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RawStore {
    blobs: Arc<dyn BlobStore>,
}

/// A part of [`RawStore::scan`].
#[derive(Debug)]
pub struct ScanPage {
    /// In byte order of the keys. An unreadable meta is an error of its own.
    pub items: Vec<Result<EpisodeMeta, RawError>>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<String>,
}

impl RawStore {
    /// The store whose objects lie in `blobs`.
    pub fn new(blobs: Arc<dyn BlobStore>) -> Self {
        Self { blobs }
    }

    /// The objects themselves, for reading audio piece by piece.
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.blobs
    }

    /// Where an object lies, for people.
    pub fn location(&self, key: &RawKey<'_>) -> String {
        self.blobs.location(&key.to_string())
    }

    /// Whether an episode is complete, without reading its meta.
    pub async fn is_complete(&self, episode: &EpisodeId) -> Result<bool, RawError> {
        let key = RawKey::Meta(episode).to_string();
        Ok(self.blobs.head(&key).await?.is_some())
    }

    /// The meta of an episode, or `None` where it is not complete.
    pub async fn meta(
        &self,
        episode: &EpisodeId,
    ) -> Result<Option<(EpisodeMeta, Version)>, RawError> {
        let key = RawKey::Meta(episode).to_string();
        let Some((bytes, version)) = self.read_versioned(&key).await? else {
            return Ok(None);
        };
        Ok(Some((self.parse(&key, &bytes)?, version)))
    }

    /// Writes the meta of an episode that has none yet, which makes it complete. Where there is one,
    /// this fails with [`BlobErrorKind::AlreadyExists`]. One that would be too large to be read again is
    /// refused.
    pub async fn put_meta(&self, meta: &EpisodeMeta) -> Result<(), RawError> {
        let episode = meta.episode();
        let key = RawKey::Meta(&episode).to_string();
        let bytes = meta::encode(meta).map_err(|error| self.unreadable(&key, error))?;
        if bytes.len() > META_LIMIT {
            let problem = format!("its {} bytes are over {META_LIMIT}", bytes.len());
            return Err(self.unreadable(&key, problem));
        }
        self.blobs.put(&key, bytes, PutMode::Create).await?;
        Ok(())
    }

    /// Writes down where an episode's transcript is, and leaves the rest of its meta as it is, parts
    /// that this program does not know included. Returns whether anything had to be changed.
    pub async fn set_transcript_key(
        &self,
        episode: &EpisodeId,
        transcript_key: &str,
    ) -> Result<bool, RawError> {
        let key = RawKey::Meta(episode).to_string();
        for _ in 0..CHANGE_TRIES {
            let Some((bytes, version)) = self.read_versioned(&key).await? else {
                let episode = episode.clone();
                return Err(RawError::Missing { episode });
            };
            if self.parse(&key, &bytes)?.transcript_key.as_deref() == Some(transcript_key) {
                return Ok(false);
            }
            let changed = meta::with_field(&bytes, "transcript_key", Value::from(transcript_key))
                .map_err(|error| self.unreadable(&key, error))?;
            match self
                .blobs
                .put(&key, changed, PutMode::Replace(version))
                .await
            {
                Ok(_) => return Ok(true),
                Err(error) if error.kind == BlobErrorKind::Precondition => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RawError::Contended {
            location: self.blobs.location(&key),
        })
    }

    /// Up to `limit` (at least one) complete episodes after `after`, which is the
    /// [`next`](ScanPage::next) of the page before.
    pub async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, RawError> {
        let (keys, next) = self.meta_keys(after, limit.max(1)).await?;
        let items = stream::iter(keys)
            .map(|key| async move { self.scanned(&key).await })
            .buffered(SCAN_READS)
            .filter_map(async |item| item)
            .collect()
            .await;
        Ok(ScanPage { items, next })
    }

    /// Size and version of an episode's audio, or `None` where there is none of this kind.
    pub async fn audio_info(
        &self,
        episode: &EpisodeId,
        container: AudioContainer,
    ) -> Result<Option<BlobInfo>, RawError> {
        let key = RawKey::Audio(episode, container).to_string();
        Ok(self.blobs.head(&key).await?)
    }

    /// Begins an episode's audio.
    pub async fn create_audio(
        &self,
        episode: &EpisodeId,
        container: AudioContainer,
        mode: PutMode,
    ) -> Result<Box<dyn BlobWriter>, BlobError> {
        let key = RawKey::Audio(episode, container).to_string();
        self.blobs.create(&key, mode).await
    }

    /// Discards what an earlier owner of the episode left half written. Only for its owner.
    pub async fn discard_unfinished(&self, episode: &EpisodeId) -> Result<(), BlobError> {
        let prefix = format!("{}/", episode_prefix(episode));
        self.blobs.discard_unfinished(&prefix).await
    }

    /// All audio of an episode, of any kind, with or without a meta. More than one means that the
    /// publisher changed the format between two attempts.
    pub async fn find_audio(
        &self,
        episode: &EpisodeId,
    ) -> Result<Vec<(AudioContainer, BlobInfo)>, RawError> {
        let kinds =
            AudioContainer::ALL.map(|kind| (kind, RawKey::Audio(episode, kind).to_string()));
        let folder = kinds[0]
            .1
            .rfind('/')
            .map_or("", |slash| &kinds[0].1[..=slash]);
        let stored = self.blobs.list(folder, None, LIST_PAGE).await?;
        let present = kinds.iter().filter(|(_, key)| stored.contains(key));
        stream::iter(present)
            .then(|(kind, key)| async move { Ok((*kind, self.blobs.head(key).await?)) })
            // Deleted since it was listed.
            .try_filter_map(async |(kind, info)| Ok(info.map(|info| (kind, info))))
            .try_collect()
            .await
    }

    /// Stores the publisher's own transcript, before the meta that names it. One that a killed worker
    /// left is replaced.
    pub async fn put_publisher_transcript(
        &self,
        episode: &EpisodeId,
        format: TranscriptFormat,
        bytes: Bytes,
    ) -> Result<String, RawError> {
        let key = RawKey::PublisherTranscript(episode, format).to_string();
        for _ in 0..CHANGE_TRIES {
            let mode = match self.blobs.head(&key).await? {
                Some(info) => PutMode::Replace(info.version),
                None => PutMode::Create,
            };
            match self.blobs.put(&key, bytes.clone(), mode).await {
                Ok(_) => return Ok(key),
                Err(error) if error.kind.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RawError::Contended {
            location: self.blobs.location(&key),
        })
    }

    /// The visible audio of this kind, if it has these bytes. Reads it back piece by piece, so it is
    /// for the rare case that a write failed and may have happened all the same.
    pub async fn find_same(
        &self,
        episode: &EpisodeId,
        container: AudioContainer,
        bytes: u64,
        sha256: &ContentDigest,
    ) -> Result<Option<BlobInfo>, RawError> {
        let key = RawKey::Audio(episode, container).to_string();
        let found = self.blobs.head(&key).await?;
        let Some(info) = found.filter(|info| info.size == bytes) else {
            return Ok(None);
        };
        let mut hasher = Sha256::new();
        let mut offset = 0;
        while offset < bytes {
            let piece = self.blobs.read_range(&key, offset, READ_PIECE).await?;
            if piece.is_empty() {
                return Ok(None);
            }
            hasher.update(&piece);
            offset += piece.len() as u64;
        }
        // Read under the name and not under the version: what is there now has these bytes.
        let is_same = ContentDigest::from_hasher(hasher) == *sha256;
        Ok(is_same.then_some(info))
    }

    /// Removes an episode's audio of one kind, whether or not it is there.
    pub async fn delete_audio(
        &self,
        episode: &EpisodeId,
        container: AudioContainer,
    ) -> Result<(), RawError> {
        let key = RawKey::Audio(episode, container).to_string();
        Ok(self.blobs.delete(&key).await?)
    }

    /// The next meta keys, and the last of them where more may follow.
    async fn meta_keys(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<String>), RawError> {
        let mut after = after.map(str::to_owned);
        let mut keys = Vec::new();
        loop {
            let page = self.blobs.list("", after.as_deref(), LIST_PAGE).await?;
            let is_last = page.len() < LIST_PAGE;
            after = page.last().cloned();
            for key in page {
                if key.ends_with(RawKey::META_SUFFIX) {
                    keys.push(key);
                    if keys.len() == limit {
                        let last = keys.last().cloned();
                        return Ok((keys, last));
                    }
                }
            }
            if is_last {
                return Ok((keys, None));
            }
        }
    }

    /// The meta at a key that was listed; `None` where it was deleted since.
    async fn scanned(&self, key: &str) -> Option<Result<EpisodeMeta, RawError>> {
        match read_all(&*self.blobs, key, META_LIMIT).await {
            Ok(bytes) => Some(self.parse(key, &bytes)),
            Err(error) if error.kind == BlobErrorKind::NotFound => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    /// An object and its version. The version is asked for first: if the object changes in between,
    /// it is that of older bytes, and replacing it fails instead of undoing the change.
    async fn read_versioned(&self, key: &str) -> Result<Option<(Bytes, Version)>, RawError> {
        let Some(info) = self.blobs.head(key).await? else {
            return Ok(None);
        };
        match read_all(&*self.blobs, key, META_LIMIT).await {
            Ok(bytes) => Ok(Some((bytes, info.version))),
            Err(error) if error.kind == BlobErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn parse(&self, key: &str, bytes: &[u8]) -> Result<EpisodeMeta, RawError> {
        let meta = meta::decode(bytes).map_err(|problem| self.unreadable(key, problem))?;
        if RawKey::Meta(&meta.episode()).to_string() == key {
            return Ok(meta);
        }
        let problem = format!("it says that it is of {}", meta.episode());
        Err(self.unreadable(key, problem))
    }

    fn unreadable(&self, key: &str, problem: impl ToString) -> RawError {
        RawError::Unreadable {
            location: self.blobs.location(key),
            problem: problem.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
