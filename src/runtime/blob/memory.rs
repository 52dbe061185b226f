//! Adapter: objects in memory, for tests and examples.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{BlobError, BlobErrorKind, BlobInfo, BlobStore, BlobWriter, PutMode, Version, key};

/// A store that ends with the process. Clones share their objects.
#[derive(Debug, Clone, Default)]
pub struct MemoryBlobStore {
    objects: Arc<Mutex<Objects>>,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<String, Object>,
    /// Counts all writes, so that no version ever comes back.
    writes: u64,
}

#[derive(Debug)]
struct Object {
    bytes: Bytes,
    version: Version,
}

impl Object {
    fn info(&self) -> BlobInfo {
        BlobInfo {
            size: self.bytes.len() as u64,
            version: self.version.clone(),
        }
    }
}

impl Objects {
    fn put(&mut self, key: &str, bytes: Bytes, mode: &PutMode) -> Result<BlobInfo, BlobErrorKind> {
        match (mode, self.by_key.get(key)) {
            (PutMode::Create, None) => {}
            (PutMode::Create, Some(_)) => return Err(BlobErrorKind::AlreadyExists),
            (PutMode::Replace(expected), Some(found)) if found.version == *expected => {}
            (PutMode::Replace(_), _) => return Err(BlobErrorKind::Precondition),
        }
        self.writes += 1;
        let version = Version(self.writes.to_string());
        let object = Object { bytes, version };
        let info = object.info();
        self.by_key.insert(key.to_owned(), object);
        Ok(info)
    }
}

impl MemoryBlobStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The store stays usable after a panic elsewhere: no change is made in two steps.
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, key: &str, kind: BlobErrorKind) -> BlobError {
        BlobError::new(self.location(key), kind)
    }

    fn check(&self, key: &str) -> Result<(), BlobError> {
        match key::problem_of(key) {
            None => Ok(()),
            Some(problem) => Err(self.error(key, BlobErrorKind::InvalidKey).because(problem)),
        }
    }
}

impl fmt::Display for MemoryBlobStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("memory")
    }
}

#[async_trait]
impl BlobStore for MemoryBlobStore {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<BlobInfo, BlobError> {
        self.check(key)?;
        let put = self.objects().put(key, bytes, &mode);
        put.map_err(|kind| self.error(key, kind))
    }

    async fn create(&self, key: &str, mode: PutMode) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.check(key)?;
        Ok(Box::new(MemoryWriter {
            store: self.clone(),
            key: key.to_owned(),
            mode,
            written: BytesMut::new(),
        }))
    }

    async fn read_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, BlobError> {
        self.check(key)?;
        let objects = self.objects();
        let Some(object) = objects.by_key.get(key) else {
            return Err(self.error(key, BlobErrorKind::NotFound));
        };
        let end = object.bytes.len();
        let start = usize::try_from(offset).unwrap_or(end).min(end);
        Ok(object
            .bytes
            .slice(start..end.min(start.saturating_add(length))))
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        self.check(key)?;
        Ok(self.objects().by_key.get(key).map(Object::info))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BlobError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let objects = self.objects();
        let range = objects.by_key.range::<str, _>((start, Bound::Unbounded));
        let keys = range.map(|(key, _)| key);
        Ok(keys
            .take_while(|key| key.starts_with(prefix))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.check(key)?;
        self.objects().by_key.remove(key);
        Ok(())
    }

    fn location(&self, key: &str) -> String {
        format!("memory:{key}")
    }
}

#[derive(Debug)]
struct MemoryWriter {
    store: MemoryBlobStore,
    key: String,
    mode: PutMode,
    written: BytesMut,
}

#[async_trait]
impl BlobWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.written.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<BlobInfo, BlobError> {
        let Self {
            store,
            key,
            mode,
            written,
        } = *self;
        store.put(&key, written.freeze(), mode).await
    }

    async fn abort(self: Box<Self>) -> Result<(), BlobError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_keeps_the_ports_promises() {
        conformance::all(Arc::new(MemoryBlobStore::new())).await;
    }
}
