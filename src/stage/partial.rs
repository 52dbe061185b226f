//! What is finished of an episode that is still worked on.

use std::ops::Range;

use bytes::Bytes;

use super::{StageError, StageStore};
use crate::domain::{EpisodeId, StageKey};
use crate::runtime::blob::{BlobErrorKind, PutMode, read_all};

/// Most that is read of an episode's parts.
const PARTS_LIMIT: usize = 256 << 20;

/// Most parts of an episode: one every ten seconds for three days.
const MOST_PARTS: usize = 25_000;

/// Parts asked for at a time.
const PAGE: usize = 1000;

impl StageStore {
    /// Keeps a part of an episode: these windows, made in the way that `recipe` names. Whoever was first
    /// with it made the same; what differs is damaged, and is replaced.
    pub async fn keep_part(
        &self,
        episode: &EpisodeId,
        recipe: &str,
        windows: Range<usize>,
        part: Bytes,
    ) -> Result<(), StageError> {
        let key = StageKey::Part(episode, recipe, windows).to_string();
        for _ in 0..2 {
            match self.blobs.put(&key, part.clone(), PutMode::Create).await {
                Err(error) if error.kind == BlobErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
            if self.holds(&key, &part).await? {
                return Ok(());
            }
            self.blobs.delete(&key).await?;
        }
        Err(StageError::Contended {
            location: self.blobs.location(&key),
        })
    }

    /// The parts of an episode that were made in the way that `recipe` names and can be read.
    pub async fn parts(&self, episode: &EpisodeId, recipe: &str) -> Result<Vec<Bytes>, StageError> {
        let prefix = StageKey::Parts(episode).to_string();
        let mut parts = Vec::new();
        let mut size = 0;
        for key in self.part_keys(&format!("{prefix}{recipe}/")).await? {
            match read_all(&*self.blobs, &key, PARTS_LIMIT - size).await {
                Ok(bytes) => {
                    size += bytes.len();
                    parts.push(bytes);
                }
                // Somebody finished the episode in between, or it is damaged: decoded again.
                Err(error) => tracing::debug!(%error, "a part of an episode is left out"),
            }
        }
        Ok(parts)
    }

    /// Removes all parts of an episode, however they were made: it is complete.
    pub async fn drop_parts(&self, episode: &EpisodeId) -> Result<(), StageError> {
        let prefix = StageKey::Parts(episode).to_string();
        for key in self.part_keys(&prefix).await? {
            self.blobs.delete(&key).await?;
        }
        Ok(())
    }

    async fn part_keys(&self, prefix: &str) -> Result<Vec<String>, StageError> {
        let mut keys: Vec<String> = Vec::new();
        while keys.len() < MOST_PARTS {
            let after = keys.last().map(String::as_str);
            let page = self.blobs.list(prefix, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            keys.extend(page);
            if is_last {
                break;
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runtime::blob::MemoryBlobStore;

    #[tokio::test]
    async fn parts_belong_to_their_episode_and_recipe() {
        let store = StageStore::new(Arc::new(MemoryBlobStore::new()));
        let id = |guid: &str| EpisodeId {
            feed_slug: "show".parse().unwrap(),
            guid: guid.parse().unwrap(),
        };
        let (one, other) = (id("1"), id("2"));
        for (episode, recipe, windows, part) in [
            (&one, "a", 0..16, "first"),
            (&one, "a", 16..32, "damaged"),
            (&one, "a", 16..32, "second"),
            (&one, "b", 0..16, "by another model"),
            (&other, "a", 0..16, "another's"),
        ] {
            store
                .keep_part(episode, recipe, windows, part.into())
                .await
                .unwrap();
        }
        assert_eq!(store.parts(&one, "a").await.unwrap(), ["first", "second"]);
        store.drop_parts(&one).await.unwrap();
        assert!(store.parts(&one, "a").await.unwrap().is_empty());
        assert!(store.parts(&one, "b").await.unwrap().is_empty());
        assert_eq!(store.parts(&other, "a").await.unwrap(), ["another's"]);
    }
}
