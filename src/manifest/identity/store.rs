//! What is remembered, in the manifests store: a file for every feed, and for every show with a
//! `podcast:guid` the slug that it is kept under.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::known::{KnownEpisodes, Settled};
use crate::domain::{Episode, FailureClass, FeedSlug, IdentityKey};
use crate::feeds::{CrawledFeed, FeedProblem, ParsedFeed};
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobStore, PutMode, Version, read_all};

/// Largest identity file that is read: a hundred thousand episodes.
const LIMIT: usize = 128 << 20;

/// Tries to write; each one fails only because another run got through.
const TRIES: u32 = 8;

/// Of a show's guids, how many have to be known under another slug to make it the same show.
const SAME_SHOW_PERCENT: usize = 80;

/// Why a feed's identities cannot be settled.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The file is damaged, or of a newer version of this program.
    #[error("{location}: {problem}")]
    Unreadable {
        /// Which file.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Other runs kept changing it.
    #[error("{location}: changed by others again and again; try again")]
    Contended {
        /// Which file.
        location: String,
    },
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    schema_version: u32,
    #[serde(flatten)]
    known: KnownEpisodes,
}

const SCHEMA_VERSION: u32 = 1;

/// The memory of which episode is which. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identities {
    blobs: Arc<dyn BlobStore>,
    remember: bool,
}

impl Identities {
    /// The memory in `blobs`. Without `remember` it is asked and not changed, for dry runs.
    pub fn new(blobs: Arc<dyn BlobStore>, remember: bool) -> Self {
        Self { blobs, remember }
    }

    /// Gives the episodes of a crawled feed the guids that they are stored under. A feed whose memory
    /// cannot be read becomes a failed one: without it, episodes would be fetched twice.
    pub async fn settle(&self, mut crawled: CrawledFeed) -> CrawledFeed {
        let Ok(feed) = crawled.outcome else {
            return crawled;
        };
        crawled.outcome = match self.settle_feed(&crawled.entry.slug, feed).await {
            Ok(outcome) => outcome,
            Err(error) => Err(FeedProblem {
                class: FailureClass::Storage,
                reason: format!("what is remembered of its episodes cannot be used: {error}"),
                hint: "restore the file, or delete it to begin anew, and run again",
            }),
        };
        crawled
    }

    async fn settle_feed(
        &self,
        slug: &FeedSlug,
        feed: ParsedFeed,
    ) -> Result<Result<ParsedFeed, FeedProblem>, IdentityError> {
        if let Some(other) = self.kept_under(slug, &feed).await? {
            return Ok(Err(FeedProblem {
                class: FailureClass::BadUrl,
                reason: format!("the show is kept under the slug {other} already"),
                hint: "give the feed that slug in the catalog, or remove it there",
            }));
        }
        let key = IdentityKey::Feed(slug).to_string();
        for _ in 0..TRIES {
            let stored = self.read(&key).await?;
            let (bytes, mode) = match stored {
                Some((bytes, version)) => (Some(bytes), PutMode::Replace(version)),
                None => (None, PutMode::Create),
            };
            let look = (feed.episodes.clone(), feed.podcast_guid.clone());
            // Long back catalogues take their time.
            let settling = tokio::task::spawn_blocking(move || settle(bytes, look.0, look.1));
            let settling = settling
                .await
                .map_err(|error| self.unreadable(&key, error))?;
            let (settled, changed) = settling.map_err(|problem| self.unreadable(&key, problem))?;
            let written = match changed.filter(|_| self.remember) {
                None => true,
                Some(text) if text.len() > LIMIT => {
                    tracing::warn!(feed = %slug, "more episodes than can be remembered; nothing new is");
                    true
                }
                Some(text) => self.write(&key, text, mode).await?,
            };
            if written {
                if self.remember {
                    self.claim(slug, &feed).await?;
                }
                return Ok(Ok(told(slug, feed, settled)));
            }
        }
        Err(IdentityError::Contended {
            location: self.blobs.location(&key),
        })
    }

    /// The slug that this show is kept under, if it is another one.
    ///
    /// A `podcast:guid` alone proves nothing, for publishers copy feeds; most episodes have to be the
    /// same too.
    async fn kept_under(
        &self,
        slug: &FeedSlug,
        feed: &ParsedFeed,
    ) -> Result<Option<FeedSlug>, IdentityError> {
        let Some(show) = show_of(feed) else {
            return Ok(None);
        };
        let Some(other) = self.owner(show).await?.filter(|other| other != slug) else {
            return Ok(None);
        };
        let key = IdentityKey::Feed(&other).to_string();
        let Some((bytes, _)) = self.read(&key).await? else {
            return Ok(None);
        };
        let known = decode(&bytes).map_err(|problem| self.unreadable(&key, problem))?;
        let (found, all) = known.overlap(&feed.episodes);
        Ok((all > 0 && found * 100 >= all * SAME_SHOW_PERCENT).then_some(other))
    }

    /// The slug that claimed a show first.
    async fn owner(&self, show: Uuid) -> Result<Option<FeedSlug>, IdentityError> {
        let key = IdentityKey::Show(show).to_string();
        let text = match read_all(&*self.blobs, &key, 2 * FeedSlug::MAX_LEN).await {
            Ok(text) => text,
            Err(error) if error.kind == BlobErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&text);
        let slug = FeedSlug::try_new(text.trim()).map_err(|error| self.unreadable(&key, error))?;
        Ok(Some(slug))
    }

    async fn claim(&self, slug: &FeedSlug, feed: &ParsedFeed) -> Result<(), IdentityError> {
        let Some(show) = show_of(feed) else {
            return Ok(());
        };
        if self.owner(show).await?.is_some() {
            return Ok(());
        }
        let key = IdentityKey::Show(show).to_string();
        let text = Bytes::from(format!("{slug}\n"));
        match self.blobs.put(&key, text, PutMode::Create).await {
            Ok(_) => Ok(()),
            // Another run, or another feed of the same show: it was first.
            Err(error) if error.kind == BlobErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, key: &str) -> Result<Option<(Bytes, Version)>, IdentityError> {
        // The version first: if the file changes in between, writing fails and is tried again.
        let Some(info) = self.blobs.head(key).await? else {
            return Ok(None);
        };
        match read_all(&*self.blobs, key, LIMIT).await {
            Ok(bytes) => Ok(Some((bytes, info.version))),
            Err(error) if error.kind == BlobErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it was written; not where another run was faster.
    async fn write(&self, key: &str, text: Bytes, mode: PutMode) -> Result<bool, IdentityError> {
        match self.blobs.put(key, text, mode).await {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.kind,
                    BlobErrorKind::Precondition | BlobErrorKind::AlreadyExists
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn unreadable(&self, key: &str, problem: impl ToString) -> IdentityError {
        IdentityError::Unreadable {
            location: self.blobs.location(key),
            problem: problem.to_string(),
        }
    }
}

fn decode(bytes: &[u8]) -> Result<KnownEpisodes, String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match stored.schema_version > SCHEMA_VERSION {
        true => Err("a newer version of this program wrote it; use that one".to_owned()),
        false => Ok(stored.known),
    }
}

/// Matches a look with what is stored; the text to store comes with it where that changed.
fn settle(
    stored: Option<Bytes>,
    look: Vec<Episode>,
    podcast_guid: Option<String>,
) -> Result<(Settled, Option<Bytes>), String> {
    let before = stored.map_or(Ok(KnownEpisodes::default()), |bytes| decode(&bytes))?;
    let mut known = before.clone();
    let settled = known.settle(look);
    known.podcast_guid = podcast_guid.or(known.podcast_guid);
    if known == before {
        return Ok((settled, None));
    }
    let stored = Stored {
        schema_version: SCHEMA_VERSION,
        known,
    };
    let text = serde_json::to_vec(&stored).map_err(|error| error.to_string())?;
    Ok((settled, Some(text.into())))
}

/// The show's identifier, where it is one.
fn show_of(feed: &ParsedFeed) -> Option<Uuid> {
    Uuid::parse_str(feed.podcast_guid.as_deref()?).ok()
}

/// The feed with its settled episodes, and a line about what changed.
fn told(slug: &FeedSlug, mut feed: ParsedFeed, settled: Settled) -> ParsedFeed {
    feed.episodes = settled.episodes;
    for (count, what) in [
        (
            settled.aliases,
            "episodes have new guids; they are kept under the guids they had",
        ),
        (
            settled.revisions,
            "guids were used again for other episodes; both are kept",
        ),
    ] {
        if count > 0 {
            tracing::warn!(feed = %slug, "{count} {what}");
            feed.warnings.push(format!("{count} {what}"));
        }
    }
    feed
}

#[cfg(test)]
mod tests;
