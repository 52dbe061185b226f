//! The fetch stage over a real loopback server and a store that can fail at every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use podrun::domain::{
    AudioContainer, ContentDigest, Enclosure, Episode, EpisodeId, FailureClass, FeedSlug, FetchJob,
    Guid, RawKey,
};
use podrun::fetch::{FetchConfig, FetchStage};
use podrun::raw::{EpisodeMeta, RawStore};
use podrun::runtime::blob::flaky::{Fault, Verb};
use podrun::runtime::blob::{
    BlobErrorKind, BlobStore, FlakyBlobStore, MemoryBlobStore, PutMode, read_all,
};
use podrun::runtime::clock::ManualClock;
use podrun::runtime::http::{HttpClient, HttpConfig, OpenGate};
use podrun::runtime::telemetry::{Ignore, MemoryMetrics, Metrics, metric};
use podrun::runtime::worker::{
    AlwaysHeld, FatalError, LeaseCheck, Stage, StageOutcome, WorkContext,
};
use tokio_util::sync::CancellationToken;

use crate::server::{RawServer, Step, answer, mp3, redirect};

pub(crate) struct Bench {
    pub(crate) server: RawServer,
    pub(crate) store: MemoryBlobStore,
    metrics: Arc<MemoryMetrics>,
}

impl Bench {
    pub(crate) async fn new(
        script: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self {
            server: RawServer::start(script).await,
            store: MemoryBlobStore::default(),
            metrics: Arc::default(),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url("/e.mp3?token=secret")
    }

    fn stage(&self, blobs: Arc<dyn BlobStore>) -> FetchStage {
        let http = HttpConfig {
            allow_private_addresses: true,
            ..HttpConfig::default()
        };
        FetchStage {
            raw: RawStore::new(blobs),
            client: HttpClient::try_new(http).unwrap(),
            gate: Arc::new(OpenGate),
            limits: Arc::default(),
            observer: Arc::new(Ignore),
            config: FetchConfig::default(),
            metrics: Arc::clone(&self.metrics) as Arc<dyn Metrics>,
            clock: Arc::new(ManualClock::default()),
        }
    }

    async fn run(&self) -> StageOutcome {
        self.run_on(Arc::new(self.store.clone())).await.unwrap()
    }

    async fn run_on(&self, blobs: Arc<dyn BlobStore>) -> Result<StageOutcome, FatalError> {
        let episode = episode(&self.url());
        self.stage(blobs)
            .process(FetchJob { episode }, &context(0))
            .await
    }

    pub(crate) async fn run_episode(&self, episode: Episode, config: FetchConfig) -> StageOutcome {
        let mut stage = self.stage(Arc::new(self.store.clone()));
        stage.config = config;
        stage
            .process(FetchJob { episode }, &context(0))
            .await
            .unwrap()
    }

    pub(crate) async fn read(&self, key: &str) -> Bytes {
        read_all(&self.store, key, 1 << 20).await.unwrap()
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        self.store.list("", None, 10).await.unwrap()
    }

    pub(crate) async fn meta(&self) -> EpisodeMeta {
        let raw = RawStore::new(Arc::new(self.store.clone()));
        raw.meta(&id()).await.unwrap().expect("a meta").0
    }

    async fn put(&self, key: &RawKey<'_>, bytes: &'static [u8]) {
        let bytes = Bytes::from_static(bytes);
        self.store
            .put(&key.to_string(), bytes, PutMode::Create)
            .await
            .unwrap();
    }
}

fn id() -> EpisodeId {
    EpisodeId {
        feed_slug: FeedSlug::try_new("show").unwrap(),
        guid: Guid::try_new("g1").unwrap(),
    }
}

fn context(failures: u32) -> WorkContext {
    WorkContext {
        cancel: CancellationToken::new(),
        lease: Arc::new(AlwaysHeld),
        failures,
        is_last_delivery: false,
    }
}

pub(crate) fn episode(url: &str) -> Episode {
    Episode {
        id: id(),
        title: "One".to_owned(),
        published: None,
        duration_s: Some(7),
        season: None,
        number: None,
        enclosure: Enclosure {
            url: url.to_owned(),
            media_type: None,
            length: Some(1),
        },
        alternates: Vec::new(),
        transcripts: Vec::new(),
    }
}

const DONE: [&str; 2] = ["show/g1/audio/episode.mp3", "show/g1/meta/meta.json"];

#[tokio::test]
async fn an_episode_is_fetched_once_and_described() {
    let bench = Bench::new(|path, _| match path {
        "/e.mp3?token=secret" => redirect("302 Found", "/real?Signature=secret"),
        _ => answer(
            "200 OK",
            "Content-Type: audio/mpeg\r\nETag: \"v1\"\r\n",
            &mp3(100),
        ),
    })
    .await;
    assert_eq!(bench.run().await, StageOutcome::Done { amount: 41_700 });
    assert_eq!(bench.run().await, StageOutcome::AlreadyDone);
    assert_eq!(bench.server.requests().len(), 2);
    assert_eq!(bench.keys().await, DONE);

    let meta = bench.meta().await;
    assert_eq!(meta.audio.key, DONE[0]);
    assert_eq!(meta.audio.sha256, ContentDigest::of(&mp3(100)));
    assert_eq!(
        (meta.audio.bytes, meta.audio.container),
        (41_700, AudioContainer::Mp3)
    );
    assert_eq!(meta.audio.etag.as_deref(), Some("\"v1\""));
    assert_eq!(meta.audio.content_type.as_deref(), Some("audio/mpeg"));
    assert_eq!((meta.attempts, meta.duration_s), (1, Some(7)));
    let hops: Vec<_> = meta
        .redirects
        .iter()
        .map(|hop| (hop.url.as_str(), hop.status))
        .collect();
    let shown = [
        (bench.server.url("/e.mp3?token=REDACTED"), 302),
        (bench.server.url("/real?Signature=REDACTED"), 200),
    ];
    assert_eq!(
        hops,
        shown
            .each_ref()
            .map(|(url, status)| (url.as_str(), *status))
    );
}

#[tokio::test]
async fn the_numbers_are_kept() {
    let bench = Bench::new(|_, _| answer("200 OK", "", &mp3(1000))).await;
    bench.run().await;
    bench.run().await;
    let summaries = bench.metrics.summarize(DateTime::UNIX_EPOCH).await.unwrap();
    let kept: Vec<_> = summaries
        .iter()
        .map(|s| {
            (
                s.name.as_str(),
                s.dimension.as_str(),
                s.value.as_str(),
                s.count,
                s.sum,
            )
        })
        .collect();
    assert_eq!(
        kept,
        [
            (metric::AVG_DOWNLOAD_MB, "phase", "fetch", 1, 0.417),
            (metric::DOWNLOAD_SUCCESS_RATE, "feed_slug", "show", 1, 1.0),
            (metric::GB_TRANSFERRED, "phase", "fetch", 1, 0.000_417),
            (metric::PER_HOST_429, "hostname", "127.0.0.1", 1, 0.0),
        ]
    );
}

#[tokio::test]
async fn what_a_dead_worker_left_is_replaced() {
    let bench = Bench::new(|_, _| answer("200 OK", "", &mp3(100))).await;
    bench
        .put(&RawKey::Audio(&id(), AudioContainer::Mp3), b"half")
        .await;
    bench
        .put(
            &RawKey::Audio(&id(), AudioContainer::Mp4),
            b"another format",
        )
        .await;
    assert_eq!(bench.run().await, StageOutcome::Done { amount: 41_700 });
    assert_eq!(bench.keys().await, DONE);
    let audio = read_all(&bench.store, DONE[0], 1 << 20).await.unwrap();
    assert_eq!(audio, mp3(100));
}

/// A lease that is somebody else's after it was asked for so many times.
#[derive(Debug)]
struct LostAfter(AtomicU32);

#[async_trait]
impl LeaseCheck for LostAfter {
    async fn still_held(&self) -> bool {
        let left = |left: u32| left.checked_sub(1);
        self.0.fetch_update(SeqCst, SeqCst, left).is_ok()
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_removes_nobodys_audio() {
    let bench = Bench::new(|_, _| answer("200 OK", "", &mp3(100))).await;
    let theirs = RawKey::Audio(&id(), AudioContainer::Mp4);
    bench.put(&theirs, b"theirs").await;
    let episode = episode(&bench.url());
    let context = WorkContext {
        lease: Arc::new(LostAfter(AtomicU32::new(1))),
        ..context(0)
    };
    let stage = bench.stage(Arc::new(bench.store.clone()));
    let outcome = stage.process(FetchJob { episode }, &context).await;
    assert_eq!(outcome.unwrap(), StageOutcome::Interrupted);
    assert_eq!(bench.read(&theirs.to_string()).await, b"theirs"[..]);
}

#[tokio::test]
async fn a_header_of_any_length_makes_a_meta_that_can_be_read() {
    let headers = format!("ETag: \"{}\"\r\n", "x".repeat(200_000));
    let bench = Bench::new(move |_, _| answer("200 OK", &headers, &mp3(100))).await;
    assert_eq!(bench.run().await, StageOutcome::Done { amount: 41_700 });
    assert_eq!(bench.meta().await.audio.etag.unwrap().len(), 1024);
}

#[tokio::test]
async fn dying_at_any_step_leaves_nothing_that_the_next_worker_cannot_finish() {
    let bench = Bench::new(|_, _| answer("200 OK", "", &mp3(100))).await;
    let mut died = 0;
    for survived in 0.. {
        for last in [Fault::Before, Fault::After] {
            for key in bench.keys().await {
                bench.store.delete(&key).await.unwrap();
            }
            // Of the other format: its removal is one more step to die at.
            bench
                .put(&RawKey::Audio(&id(), AudioContainer::Mp4), b"left")
                .await;
            let inner: Arc<dyn BlobStore> = Arc::new(bench.store.clone());
            let last = last(BlobErrorKind::Other);
            let dying = FlakyBlobStore::dying_after(inner, survived, last);
            match bench.run_on(Arc::new(dying)).await.unwrap() {
                StageOutcome::Failed(failure) => {
                    assert_eq!(failure.class, FailureClass::Storage);
                    died += 1;
                }
                StageOutcome::Done { .. } => {
                    // Audio, removal, meta: three effects, each of them died at in two ways.
                    assert_eq!((survived, died), (3, 6));
                    return;
                }
                other => panic!("{other:?}"),
            }
            let next = bench.run().await;
            assert!(
                matches!(next, StageOutcome::Done { .. } | StageOutcome::AlreadyDone),
                "{next:?}"
            );
            assert_eq!(
                bench.keys().await,
                DONE,
                "died after {survived} effects, {last:?}"
            );
            let audio = read_all(&bench.store, DONE[0], 1 << 20).await.unwrap();
            assert_eq!(bench.meta().await.audio.sha256, ContentDigest::of(&audio));
        }
    }
}

#[tokio::test]
async fn a_full_store_stops_the_worker() {
    let bench = Bench::new(|_, _| answer("200 OK", "", &mp3(100))).await;
    let inner: Arc<dyn BlobStore> = Arc::new(bench.store.clone());
    let full = FlakyBlobStore::new(inner, |verb, _| match verb {
        Verb::Write => Fault::Before(BlobErrorKind::Full),
        _ => Fault::None,
    });
    let fatal = bench.run_on(Arc::new(full)).await.unwrap_err();
    assert!(fatal.message.contains("no space left"), "{fatal}");
    assert!(bench.keys().await.is_empty());
}

#[tokio::test]
async fn a_worker_that_was_overtaken_harms_nothing() {
    let slow = || {
        let mut steps = answer("200 OK", "", &mp3(100));
        steps.insert(0, Step::Wait(Duration::from_millis(300)));
        steps
    };
    let bench = Bench::new(move |_, _| slow()).await;
    let overtake = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench
            .put(&RawKey::Audio(&id(), AudioContainer::Mp3), b"theirs")
            .await;
    };
    let (outcome, ()) = tokio::join!(bench.run(), overtake);
    let StageOutcome::Failed(failure) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.class, FailureClass::Storage);
    let audio = read_all(&bench.store, DONE[0], 100).await.unwrap();
    assert_eq!(audio, b"theirs"[..]);
}

#[tokio::test]
async fn a_dead_link_is_the_publishers_failure_and_no_number_of_ours() {
    let bench = Bench::new(|_, _| answer("404 Not Found", "", b"")).await;
    let StageOutcome::Failed(failure) = bench.run().await else {
        panic!("a dead link was fetched");
    };
    assert_eq!(failure.class, FailureClass::NotFound);
    assert!(!failure.message.contains("secret"), "{failure}");
    assert!(bench.keys().await.is_empty());
    let summaries = bench.metrics.summarize(DateTime::UNIX_EPOCH).await.unwrap();
    let names: Vec<_> = summaries
        .iter()
        .map(|summary| summary.name.as_str())
        .collect();
    assert_eq!(names, [metric::PER_HOST_429, metric::PUBLISHER_FAILURES]);
}

#[tokio::test]
async fn the_success_rate_leaves_publishers_out() {
    let bench = Bench::new(|path, _| match path {
        "/good" => answer("200 OK", "", &mp3(1000)),
        "/broken" => answer("500 Oops", "", b""),
        _ => answer("410 Gone", "", b""),
    })
    .await;
    let last = podrun::runtime::retry::RetryPolicy::EPISODE.max_attempts - 1;
    // Three that are stored, one that is given up, one that will be tried again, two dead links.
    for (guid, path, failures) in [
        ("1", "/good", 0),
        ("2", "/good", 1),
        ("3", "/good", 0),
        ("4", "/broken", last),
        ("5", "/broken", 0),
        ("6", "/gone", 0),
        ("7", "/gone", last),
    ] {
        let mut episode = episode(&bench.server.url(path));
        episode.id.guid = Guid::try_new(guid).unwrap();
        let stage = bench.stage(Arc::new(bench.store.clone()));
        let job = FetchJob { episode };
        stage.process(job, &context(failures)).await.unwrap();
    }
    let summaries = bench.metrics.summarize(DateTime::UNIX_EPOCH).await.unwrap();
    let of = |name: &str| {
        let summary = summaries
            .iter()
            .find(|summary| summary.name == name)
            .unwrap();
        (summary.value.as_str(), summary.count, summary.sum)
    };
    assert_eq!(of(metric::DOWNLOAD_SUCCESS_RATE), ("show", 4, 3.0));
    assert_eq!(of(metric::PUBLISHER_FAILURES), ("show", 2, 2.0));
    let (phase, episodes, megabytes) = of(metric::AVG_DOWNLOAD_MB);
    assert_eq!((phase, episodes), ("fetch", 3));
    assert!((megabytes / episodes as f64 - 0.417).abs() < 1e-9);
    let (phase, _, gigabytes) = of(metric::GB_TRANSFERRED);
    assert_eq!(phase, "fetch");
    assert!((gigabytes - 3.0 * 0.000_417).abs() < 1e-9);
}

#[tokio::test]
async fn case_103_two_workers_with_one_message_store_one_object() {
    let bench = Bench::new(|_, _| answer("200 OK", "", &mp3(100))).await;
    let (first, second) = tokio::join!(bench.run(), bench.run());
    let outcomes = [first, second];
    let done = |outcome: &StageOutcome| matches!(outcome, StageOutcome::Done { .. });
    assert_eq!(
        outcomes.iter().filter(|outcome| done(outcome)).count(),
        1,
        "{outcomes:?}"
    );
    assert!(
        outcomes.contains(&StageOutcome::AlreadyDone),
        "{outcomes:?}"
    );
    assert_eq!(bench.keys().await, DONE);
    let audio = bench.read(DONE[0]).await;
    assert_eq!(bench.meta().await.audio.sha256, ContentDigest::of(&audio));
}

/// A store whose making-visible of audio meets `fault`.
fn failing_commit(bench: &Bench, fault: fn(BlobErrorKind) -> Fault) -> Arc<dyn BlobStore> {
    let inner: Arc<dyn BlobStore> = Arc::new(bench.store.clone());
    Arc::new(FlakyBlobStore::new(inner, move |verb, _| match verb {
        Verb::Finish => fault(BlobErrorKind::Other),
        _ => Fault::None,
    }))
}

#[tokio::test]
async fn case_104_a_commit_whose_answer_is_lost_is_found_by_its_bytes() {
    let bench = Bench::new(|_, _| answer("200 OK", "", &mp3(1000))).await;
    let outcome = bench
        .run_on(failing_commit(&bench, Fault::After))
        .await
        .unwrap();
    assert_eq!(outcome, StageOutcome::Done { amount: 417_000 });
    assert_eq!(bench.keys().await, DONE);
    assert_eq!(
        bench.meta().await.audio.sha256,
        ContentDigest::of(&mp3(1000))
    );
    assert_eq!(bench.run().await, StageOutcome::AlreadyDone);
    assert_eq!(bench.server.requests().len(), 1);
}

#[tokio::test]
async fn case_105_a_commit_that_fails_is_a_failure() {
    let bench = Bench::new(|_, _| answer("200 OK", "", &mp3(100))).await;
    let outcome = bench
        .run_on(failing_commit(&bench, Fault::Before))
        .await
        .unwrap();
    let StageOutcome::Failed(failure) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.class, FailureClass::Storage);
    assert!(bench.keys().await.is_empty());
}

#[tokio::test]
async fn case_126_messages_and_checkpoints_point_at_a_large_meta() {
    use podrun::domain::{TranscribeJob, job};
    let hop = "/".to_owned() + &"x".repeat(600);
    let bench = Bench::new(move |_, _| answer("200 OK", "", &mp3(100))).await;
    let mut large = episode(&bench.url());
    large.title = format!("{hop}\u{202e}").repeat(900);
    let outcome = bench.run_episode(large, FetchConfig::default()).await;
    assert_eq!(outcome, StageOutcome::Done { amount: 41_700 });
    // Larger than a record of DynamoDB may be, and readable all the same.
    assert!(bench.read(DONE[1]).await.len() > 400 * 1024);
    let meta = bench.meta().await;
    let message = job::encode(&TranscribeJob {
        episode: meta.episode(),
    });
    assert!(message.len() < 200, "{message}");
}
