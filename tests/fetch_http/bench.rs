//! One download with everything it needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use podrun::domain::{AudioContainer, EpisodeId, Failure, FailureClass, FeedSlug, Guid};
use podrun::fetch::{
    AudioSink, Content, Download, DownloadError, Downloader, FetchConfig, Progress,
};
use podrun::runtime::blob::{
    BlobError, BlobInfo, BlobStore, BlobWriter, MemoryBlobStore, PutMode, read_all,
};
use podrun::runtime::http::{
    HopGate, HttpClient, HttpConfig, Lookup, OpenGate, StallRule, SystemLookup,
};
use podrun::runtime::retry::RetryPolicy;
use podrun::runtime::telemetry::Ignore;
use podrun::runtime::worker::{AlwaysHeld, LeaseCheck};
use tokio_util::sync::CancellationToken;

use crate::server::{RawServer, Step};

/// Longer than any test's download, shorter than a person's patience.
const LOST_TRY: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Sink(MemoryBlobStore, Arc<AtomicUsize>);

#[async_trait]
impl AudioSink for Sink {
    async fn open(&self, container: AudioContainer) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let key = format!("audio.{}", container.extension());
        self.0.create(&key, PutMode::Create).await
    }

    async fn find(&self, _: AudioContainer, _: &Content) -> Option<BlobInfo> {
        None
    }
}

/// One download with everything it needs; `retry` is off unless a test turns it on.
pub(crate) struct Bench {
    pub(crate) http: HttpConfig,
    pub(crate) fetch: FetchConfig,
    pub(crate) retry: RetryPolicy,
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) gate: Arc<dyn HopGate>,
    pub(crate) lease: Arc<dyn LeaseCheck>,
    pub(crate) cancel: CancellationToken,
    pub(crate) store: MemoryBlobStore,
    /// How many objects were begun.
    pub(crate) opened: Arc<AtomicUsize>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let http = HttpConfig {
            allow_private_addresses: true,
            first_byte_timeout: Duration::from_millis(300),
            connect_timeout: Duration::from_millis(300),
            stall: StallRule {
                silence: Duration::from_millis(300),
                window: Duration::from_millis(400),
                min_bytes_per_s: 16 * 1024,
            },
            ..HttpConfig::default()
        };
        Self {
            http,
            fetch: FetchConfig::default(),
            retry: quick_tries(1),
            lookup: Arc::new(SystemLookup),
            roots: Vec::new(),
            gate: Arc::new(OpenGate),
            lease: Arc::new(AlwaysHeld),
            cancel: CancellationToken::new(),
            store: MemoryBlobStore::default(),
            opened: Arc::default(),
        }
    }

    pub(crate) fn client(&self) -> HttpClient {
        let roots: Vec<_> = self.roots.iter().map(Vec::as_slice).collect();
        HttpClient::try_with(self.http.clone(), Arc::clone(&self.lookup), &roots).unwrap()
    }

    pub(crate) async fn download(&self, url: &str) -> Result<Download, DownloadError> {
        self.download_with(&self.client(), url).await
    }

    /// With a client that lives longer than one download.
    pub(crate) async fn download_with(
        &self,
        client: &HttpClient,
        url: &str,
    ) -> Result<Download, DownloadError> {
        let episode = EpisodeId {
            feed_slug: FeedSlug::try_new("a").unwrap(),
            guid: Guid::try_new("g").unwrap(),
        };
        let downloader = Downloader {
            client,
            gate: &*self.gate,
            config: &self.fetch,
            retry: self.retry,
            cancel: &self.cancel,
            lease: &*self.lease,
        };
        let sink = Sink(self.store.clone(), Arc::clone(&self.opened));
        let mut progress = Progress::new(&Ignore, &episode);
        let run = downloader.run(url, &sink, &mut progress);
        tokio::time::timeout(LOST_TRY, run)
            .await
            .expect("a download that ends")
    }

    /// The failure's class; nothing may be visible after it.
    pub(crate) async fn fails(&self, url: &str) -> Failure {
        let failure = match self.download(url).await {
            Err(DownloadError::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        };
        assert!(self.visible().await.is_empty(), "after {failure}");
        failure
    }

    /// What was stored, under the name of its kind.
    pub(crate) async fn stored(&self, name: &str) -> bytes::Bytes {
        read_all(&self.store, name, 1 << 24).await.unwrap()
    }

    pub(crate) async fn visible(&self) -> Vec<String> {
        self.store.list("", None, 10).await.unwrap()
    }
}

pub(crate) fn quick_tries(max_attempts: u32) -> RetryPolicy {
    RetryPolicy {
        max_attempts,
        base: Duration::from_millis(1),
        cap: Duration::from_millis(1),
    }
}

/// The class that a server with this one answer leads to.
pub(crate) async fn class_of(steps: Vec<Step>) -> FailureClass {
    let server = RawServer::start(move |_, _| steps.clone()).await;
    Bench::new().fails(&server.url("/e.mp3")).await.class
}
