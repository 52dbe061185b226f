//! What feeds last said, kept between runs.
//!
//! A copy makes the next run cheap (the server says "unchanged" in a few bytes, or need not be asked at
//! all) and survives its outages. It lies in a [`BlobStore`], so the same copies work in a directory and
//! in a bucket:
//!
//! * The bytes are stored first, under their digest; the record that names them comes last. Whatever
//!   dies in between, the old record still names the old bytes.
//! * A copy is never needed: a record that cannot be read, or bytes that are not those it names, are as
//!   if they were not there. A store that cannot be written is told to the log once, and changes
//!   nothing else.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use url::Url;

use super::fetcher::{FetchedFeed, Validators};
use super::parse::MAX_FEED_BYTES;
use crate::domain::{ContentDigest, FeedCopyKey, FeedSlug};
use crate::runtime::blob::{BlobError, BlobErrorKind, BlobStore, PutMode, read_all};

/// Largest record, in bytes; the addresses in it are the longest part.
const MAX_RECORD: usize = 64 * 1024;

/// The shape of a record; another one is as if it were not there.
const SCHEMA_VERSION: u32 = 1;

/// What is known of one page of a feed. Not for showing: the addresses in it may be signed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageRecord {
    schema_version: u32,
    /// The address that was asked.
    address: String,
    /// The address that answered.
    pub(super) final_url: Url,
    /// Whether all redirects between the two were for good.
    pub(super) is_moved: bool,
    /// Whether the page ends in the middle; any other may take its place.
    #[serde(default)]
    pub(super) is_cut: bool,
    pub(super) content_type: Option<String>,
    pub(super) validators: Validators,
    /// The bytes of the page.
    pub(super) body: ContentDigest,
    /// When they came.
    pub(super) read_at: DateTime<Utc>,
    /// Until when the server wants not to be asked.
    fresh_until: DateTime<Utc>,
}

impl PageRecord {
    /// The record of what `address` answered at `now` with `body`.
    pub(super) fn new(
        address: &Url,
        answer: &FetchedFeed,
        content_type: Option<String>,
        body: ContentDigest,
        now: DateTime<Utc>,
    ) -> Self {
        let mut record = Self {
            schema_version: SCHEMA_VERSION,
            address: address.to_string(),
            final_url: answer.final_url.clone(),
            is_moved: answer.is_moved,
            is_cut: false,
            content_type,
            validators: answer.validators.clone(),
            body,
            read_at: now,
            fresh_until: now,
        };
        record.be_fresh_for(answer, now);
        record
    }

    fn be_fresh_for(&mut self, answer: &FetchedFeed, now: DateTime<Utc>) {
        let fresh_for = TimeDelta::from_std(answer.fresh_for).unwrap_or_default();
        self.fresh_until = now + fresh_for;
    }

    /// Whether the server need not be asked. A clock that was set back makes nothing fresh for ever.
    pub(super) fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.read_at <= now && now < self.fresh_until
    }

    /// Whether "unchanged" from this answer is about this page: a validator means something at the
    /// address it came from only (whose query may be a signature), and a server that calls a newer page
    /// unchanged, by a weak tag, tells on itself by its date.
    pub(super) fn is_confirmed_by(&self, answer: &FetchedFeed) -> bool {
        let place = |url: &Url| (url.origin(), url.path().to_owned());
        let is_same_date = match &answer.validators.last_modified {
            Some(date) => self.validators.last_modified.as_ref() == Some(date),
            None => true,
        };
        place(&self.final_url) == place(&answer.final_url) && is_same_date
    }

    /// Takes over what a confirmation says anew.
    pub(super) fn confirm(&mut self, answer: &FetchedFeed, now: DateTime<Utc>) {
        if answer.validators.etag.is_some() {
            self.validators.etag.clone_from(&answer.validators.etag);
        }
        self.final_url = answer.final_url.clone();
        self.is_moved = answer.is_moved;
        if !answer.fresh_for.is_zero() {
            self.be_fresh_for(answer, now);
        }
    }
}

/// The copies in one store.
#[derive(Debug)]
pub struct FeedCopies {
    store: Arc<dyn BlobStore>,
    may_write: bool,
    has_complained: AtomicBool,
}

impl FeedCopies {
    /// Reads and keeps copies in `store`.
    pub fn new(store: Arc<dyn BlobStore>) -> Self {
        Self {
            store,
            may_write: true,
            has_complained: AtomicBool::new(false),
        }
    }

    /// Reads copies and changes none, as a dry run does.
    pub fn read_only(store: Arc<dyn BlobStore>) -> Self {
        Self {
            may_write: false,
            ..Self::new(store)
        }
    }

    /// The record of `address`; the error is a warning in words.
    pub(super) async fn find(
        &self,
        feed: &FeedSlug,
        address: &Url,
    ) -> Result<Option<PageRecord>, String> {
        let key = FeedCopyKey::Page(feed, address.as_str()).to_string();
        let bytes = match read_all(&*self.store, &key, MAX_RECORD).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind == BlobErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("the kept copy cannot be read: {error}")),
        };
        let record: Option<PageRecord> = serde_json::from_slice(&bytes).ok();
        let fits = |record: &PageRecord| {
            record.schema_version == SCHEMA_VERSION && record.address == address.as_str()
        };
        record.filter(fits).map(Some).ok_or_else(damaged)
    }

    /// The bytes that `record` names; the error is a warning in words.
    pub(super) async fn body(&self, feed: &FeedSlug, record: &PageRecord) -> Result<Bytes, String> {
        let key = FeedCopyKey::Body(feed, &record.body).to_string();
        let packed = match read_all(&*self.store, &key, 2 * MAX_FEED_BYTES).await {
            Ok(packed) => packed,
            Err(error) if error.kind == BlobErrorKind::NotFound => return Err(damaged()),
            Err(error) => return Err(format!("the kept copy cannot be read: {error}")),
        };
        let digest = record.body.clone();
        let unpacking = tokio::task::spawn_blocking(move || unpack(&packed, &digest));
        let unpacked = unpacking.await.ok().flatten();
        if unpacked.is_none() && self.may_write {
            // Out of the way of the good bytes that come next under the same name.
            let removed = self.store.delete(&key).await;
            self.complain(removed);
        }
        unpacked.ok_or_else(damaged)
    }

    /// Keeps `record` and the bytes it names.
    pub(super) async fn keep(&self, feed: &FeedSlug, record: &PageRecord, bytes: Bytes) {
        if self.may_write {
            let kept = self.put_both(feed, record, bytes).await;
            self.complain(kept);
        }
    }

    async fn put_both(
        &self,
        feed: &FeedSlug,
        record: &PageRecord,
        bytes: Bytes,
    ) -> Result<(), BlobError> {
        let key = FeedCopyKey::Body(feed, &record.body).to_string();
        // Equal names mean equal bytes; damaged ones were removed when they were found.
        if self.store.head(&key).await?.is_none() {
            let failed = || BlobError::new(self.store.location(&key), BlobErrorKind::Other);
            let packing = tokio::task::spawn_blocking(move || pack(&bytes)).await;
            let packed = packing.map_err(|error| failed().because(error))?;
            let packed = packed.map_err(|error| failed().because(error))?;
            self.replace(&key, packed.into()).await?;
        }
        self.put_record(feed, record).await
    }

    /// Keeps `record`, whose bytes are there already.
    pub(super) async fn renew(&self, feed: &FeedSlug, record: &PageRecord) {
        if self.may_write {
            let kept = self.put_record(feed, record).await;
            self.complain(kept);
        }
    }

    async fn put_record(&self, feed: &FeedSlug, record: &PageRecord) -> Result<(), BlobError> {
        let key = FeedCopyKey::Page(feed, &record.address).to_string();
        // A record is text and numbers; nothing in it can fail to be written.
        let text = serde_json::to_vec(record).unwrap_or_default();
        self.replace(&key, text.into()).await
    }

    /// Writes over what is there. Where somebody else was faster, theirs is as new as ours.
    async fn replace(&self, key: &str, bytes: Bytes) -> Result<(), BlobError> {
        let mode = match self.store.head(key).await? {
            Some(present) => PutMode::Replace(present.version),
            None => PutMode::Create,
        };
        match self.store.put(key, bytes, mode).await {
            Err(error)
                if !matches!(
                    error.kind,
                    BlobErrorKind::AlreadyExists | BlobErrorKind::Precondition
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Removes the copies of `feed` that `records` do not use, so that addresses that are asked no more
    /// and old versions do not pile up. A run beside this one may lose a copy by it, which costs one
    /// request.
    pub(super) async fn prune(&self, feed: &FeedSlug, records: &[PageRecord]) {
        if !self.may_write || records.is_empty() {
            return;
        }
        let used: HashSet<String> = records
            .iter()
            .flat_map(|record| {
                let page = FeedCopyKey::Page(feed, &record.address).to_string();
                [page, FeedCopyKey::Body(feed, &record.body).to_string()]
            })
            .collect();
        if let Err(error) = self.delete_except(feed, &used).await {
            // A store may forbid it; what stays costs space and nothing else.
            tracing::debug!(%feed, "old copies stay: {error}");
        }
    }

    async fn delete_except(
        &self,
        feed: &FeedSlug,
        used: &HashSet<String>,
    ) -> Result<(), BlobError> {
        const PAGE: usize = 1000;
        let prefix = FeedCopyKey::prefix(feed);
        let mut after: Option<String> = None;
        loop {
            let keys = self.store.list(&prefix, after.as_deref(), PAGE).await?;
            for key in keys.iter().filter(|key| !used.contains(*key)) {
                self.store.delete(key).await?;
            }
            if keys.len() < PAGE {
                return Ok(());
            }
            after = keys.into_iter().next_back();
        }
    }

    /// One line for a store that cannot be written: every feed would say the same.
    fn complain(&self, kept: Result<(), BlobError>) {
        if let Err(error) = kept
            && !self.has_complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("copies of feeds cannot be kept, so they are fetched anew: {error}");
        }
    }
}

fn damaged() -> String {
    "the kept copy is damaged and was ignored".to_owned()
}

fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The bytes of that digest, or `None`: the store is not trusted either.
fn unpack(packed: &[u8], digest: &ContentDigest) -> Option<Bytes> {
    let mut bytes = Vec::new();
    let mut reader = GzDecoder::new(packed).take(MAX_FEED_BYTES as u64 + 1);
    reader.read_to_end(&mut bytes).ok()?;
    (ContentDigest::of(&bytes) == *digest).then(|| bytes.into())
}

#[cfg(test)]
mod tests;
