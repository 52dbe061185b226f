//! Decorator: a store that fails when a test says so.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobError, BlobErrorKind, BlobInfo, BlobStore, BlobWriter, PutMode};

/// What a store or a writer was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// [`BlobStore::put`].
    Put,
    /// [`BlobStore::create`].
    Create,
    /// [`BlobWriter::write`].
    Write,
    /// [`BlobWriter::finish`].
    Finish,
    /// [`BlobWriter::abort`].
    Abort,
    /// [`BlobStore::read_range`].
    ReadRange,
    /// [`BlobStore::head`].
    Head,
    /// [`BlobStore::list`].
    List,
    /// [`BlobStore::delete`].
    Delete,
}

impl Verb {
    /// Whether the call changes what readers see.
    pub fn is_effect(self) -> bool {
        matches!(self, Self::Put | Self::Finish | Self::Delete)
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    None,
    /// It fails and nothing happened.
    Before(BlobErrorKind),
    /// It happens, but the answer is lost and an error comes instead.
    After(BlobErrorKind),
}

/// Decides about each call by its verb and key (a list's prefix).
type Decide = dyn Fn(Verb, &str) -> Fault + Send + Sync;

/// A store between the program and another store.
#[derive(Clone)]
pub struct FlakyBlobStore {
    inner: Arc<dyn BlobStore>,
    decide: Arc<Decide>,
}

impl FlakyBlobStore {
    /// Asks `decide` before every call to `inner`.
    pub fn new(
        inner: Arc<dyn BlobStore>,
        decide: impl Fn(Verb, &str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            decide: Arc::new(decide),
        }
    }

    /// A process that dies around its effect number `survived` + 1: `survived` effects happen, the
    /// next one meets `last`, and from then on every call fails.
    pub fn dying_after(inner: Arc<dyn BlobStore>, survived: u64, last: Fault) -> Self {
        let effects = AtomicU64::new(0);
        Self::new(inner, move |verb, _| {
            let seen = if verb.is_effect() {
                effects.fetch_add(1, Ordering::SeqCst)
            } else {
                effects.load(Ordering::SeqCst)
            };
            if seen > survived {
                Fault::Before(BlobErrorKind::Other)
            } else if seen == survived && verb.is_effect() {
                last
            } else {
                Fault::None
            }
        })
    }

    async fn call<T>(
        &self,
        verb: Verb,
        key: &str,
        work: impl Future<Output = Result<T, BlobError>>,
    ) -> Result<T, BlobError> {
        let injected = |kind| Err(BlobError::new(self.location(key), kind).because("injected"));
        match (self.decide)(verb, key) {
            Fault::None => work.await,
            Fault::Before(kind) => injected(kind),
            Fault::After(kind) => {
                work.await?;
                injected(kind)
            }
        }
    }
}

impl fmt::Debug for FlakyBlobStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FlakyBlobStore({:?})", self.inner)
    }
}

impl fmt::Display for FlakyBlobStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "flaky {}", self.inner)
    }
}

#[async_trait]
impl BlobStore for FlakyBlobStore {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<BlobInfo, BlobError> {
        let work = self.inner.put(key, bytes, mode);
        self.call(Verb::Put, key, work).await
    }

    async fn create(&self, key: &str, mode: PutMode) -> Result<Box<dyn BlobWriter>, BlobError> {
        let work = self.inner.create(key, mode);
        let writer = self.call(Verb::Create, key, work).await?;
        Ok(Box::new(FlakyWriter {
            store: self.clone(),
            key: key.to_owned(),
            inner: writer,
        }))
    }

    async fn read_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, BlobError> {
        let work = self.inner.read_range(key, offset, length);
        self.call(Verb::ReadRange, key, work).await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        self.call(Verb::Head, key, self.inner.head(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BlobError> {
        let work = self.inner.list(prefix, after, limit);
        self.call(Verb::List, prefix, work).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.call(Verb::Delete, key, self.inner.delete(key)).await
    }

    fn location(&self, key: &str) -> String {
        self.inner.location(key)
    }
}

#[derive(Debug)]
struct FlakyWriter {
    store: FlakyBlobStore,
    key: String,
    inner: Box<dyn BlobWriter>,
}

#[async_trait]
impl BlobWriter for FlakyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        let work = self.inner.write(bytes);
        self.store.call(Verb::Write, &self.key, work).await
    }

    async fn finish(self: Box<Self>) -> Result<BlobInfo, BlobError> {
        let work = self.inner.finish();
        self.store.call(Verb::Finish, &self.key, work).await
    }

    async fn abort(self: Box<Self>) -> Result<(), BlobError> {
        let work = self.inner.abort();
        self.store.call(Verb::Abort, &self.key, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryBlobStore, conformance};
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn without_faults_it_keeps_the_ports_promises() {
        let memory = Arc::new(MemoryBlobStore::new());
        let store = FlakyBlobStore::new(memory, |_, _| Fault::None);
        conformance::all(Arc::new(store)).await;
    }

    #[tokio::test]
    async fn an_effect_happens_before_or_after_its_fault() {
        for (last, stored) in [
            (Fault::Before(BlobErrorKind::Full), false),
            (Fault::After(BlobErrorKind::Full), true),
        ] {
            let memory = Arc::new(MemoryBlobStore::new());
            let store = FlakyBlobStore::dying_after(memory.clone(), 1, last);
            let bytes = Bytes::from_static(b"x");
            store
                .put("a", bytes.clone(), PutMode::Create)
                .await
                .unwrap();
            let error = store.put("b", bytes, PutMode::Create).await.unwrap_err();
            assert_eq!(error.kind, BlobErrorKind::Full);
            assert_eq!(memory.head("b").await.unwrap().is_some(), stored);
            assert!(store.head("a").await.is_err(), "it is dead by now");
        }
    }
}
