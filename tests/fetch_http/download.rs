//! One download against servers that answer as badly as real ones do.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::server::{RawServer, Step, announced, answer, chunked, mp3, redirect};
use async_trait::async_trait;
use podrun::domain::{
    AudioContainer, ContentDigest, EpisodeId, Failure, FailureClass, FeedSlug, Guid,
};
use podrun::fetch::{AudioSink, Download, DownloadError, Downloader, FetchConfig, Progress};
use podrun::runtime::blob::{BlobError, BlobStore, BlobWriter, MemoryBlobStore, PutMode, read_all};
use podrun::runtime::http::{
    Get, HopGate, HopPass, HopVerdict, HttpClient, HttpConfig, OpenGate, StallRule, follow,
    read_to_vec,
};
use podrun::runtime::retry::RetryPolicy;
use podrun::runtime::telemetry::Ignore;
use podrun::runtime::worker::{AlwaysHeld, LeaseCheck};
use tokio_util::sync::CancellationToken;
use url::Url;

const LOST_TRY: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Sink(MemoryBlobStore);

#[async_trait]
impl AudioSink for Sink {
    async fn open(&self, container: AudioContainer) -> Result<Box<dyn BlobWriter>, BlobError> {
        let key = format!("audio.{}", container.extension());
        self.0.create(&key, PutMode::Create).await
    }
}

/// One download with everything it needs; `retry` is off unless a test turns it on.
struct Bench {
    http: HttpConfig,
    fetch: FetchConfig,
    retry: RetryPolicy,
    gate: Arc<dyn HopGate>,
    lease: Arc<dyn LeaseCheck>,
    cancel: CancellationToken,
    store: MemoryBlobStore,
}

impl Bench {
    fn new() -> Self {
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
            gate: Arc::new(OpenGate),
            lease: Arc::new(AlwaysHeld),
            cancel: CancellationToken::new(),
            store: MemoryBlobStore::default(),
        }
    }

    async fn download(&self, url: &str) -> Result<Download, DownloadError> {
        let client = HttpClient::try_new(self.http.clone()).unwrap();
        let episode = EpisodeId {
            feed_slug: FeedSlug::try_new("a").unwrap(),
            guid: Guid::try_new("g").unwrap(),
        };
        let downloader = Downloader {
            client: &client,
            gate: &*self.gate,
            config: &self.fetch,
            retry: self.retry,
            cancel: &self.cancel,
            lease: &*self.lease,
        };
        let sink = Sink(self.store.clone());
        let mut progress = Progress::new(&Ignore, &episode);
        let run = downloader.run(url, &sink, &mut progress);
        tokio::time::timeout(LOST_TRY, run)
            .await
            .expect("a download that ends")
    }

    /// The failure's class; nothing may be visible after it.
    async fn fails(&self, url: &str) -> Failure {
        let failure = match self.download(url).await {
            Err(DownloadError::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        };
        assert!(self.visible().await.is_empty(), "after {failure}");
        failure
    }

    async fn visible(&self) -> Vec<String> {
        self.store.list("", None, 10).await.unwrap()
    }
}

fn quick_tries(max_attempts: u32) -> RetryPolicy {
    RetryPolicy {
        max_attempts,
        base: Duration::from_millis(1),
        cap: Duration::from_millis(1),
    }
}

/// The class that a server with this one answer leads to.
async fn class_of(steps: Vec<Step>) -> FailureClass {
    let server = RawServer::start(move |_, _| steps.clone()).await;
    Bench::new().fails(&server.url("/e.mp3")).await.class
}

#[tokio::test]
async fn a_good_episode_is_stored_byte_for_byte() {
    let audio = mp3(2000);
    let (sent, chunks) = (audio.clone(), audio.clone());
    let server = RawServer::start(move |path, _| match path {
        "/chunked" => chunked(&chunks, true),
        _ => answer(
            "200 OK",
            "Content-Type: text/html\r\nETag: \"1\"\r\n",
            &sent,
        ),
    })
    .await;
    for path in ["/e.mp3", "/chunked"] {
        let bench = Bench::new();
        let download = bench.download(&server.url(path)).await.unwrap();
        assert_eq!(download.container, AudioContainer::Mp3);
        assert_eq!(download.info.size, audio.len() as u64);
        assert_eq!(download.sha256, ContentDigest::of(&audio));
        let stored = read_all(&bench.store, "audio.mp3", 1 << 22).await.unwrap();
        assert_eq!(stored, audio);
    }
}

#[tokio::test]
async fn every_request_says_who_asks_and_nothing_else() {
    let server = RawServer::start(|path, _| match path {
        "/a" => redirect("302 Found", "/b"),
        _ => answer("200 OK", "Set-Cookie: a=b\r\n", &mp3(10)),
    })
    .await;
    let bench = Bench::new();
    bench.download(&server.url("/a")).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let head = request.head.to_lowercase();
        assert!(head.contains(
            "user-agent: podinsight-mvp/1.0 (+https://github.com/podinsight/podrun)\r\n"
        ));
        assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
        assert_eq!(head.matches("\r\naccept: ").count(), 1, "{head}");
        for never in [
            "cookie:",
            "referer:",
            "range:",
            "icy-metadata:",
            "authorization:",
        ] {
            assert!(!head.contains(never), "{head}");
        }
    }
}

#[tokio::test]
async fn redirects_are_followed_and_written_down_without_secrets() {
    let server = RawServer::start(|path, _| match path {
        "/a" => redirect("301 Moved Permanently", "b/c?token=secret"),
        "/b/c?token=secret" => redirect("307 Temporary Redirect", "../d#part"),
        _ => answer("200 OK", "", &mp3(10)),
    })
    .await;
    let download = Bench::new().download(&server.url("/a")).await.unwrap();
    let hops: Vec<_> = download
        .hops
        .iter()
        .map(|hop| (hop.url.clone(), hop.status))
        .collect();
    let expected = [("/a", 301), ("/b/c?token=REDACTED", 307), ("/d", 200)];
    assert_eq!(
        hops,
        expected.map(|(path, status)| (server.url(path), status))
    );
    assert_eq!(download.final_url, server.url("/d"));
}

#[tokio::test]
async fn loops_and_long_chains_end() {
    let server = RawServer::start(|path, _| match path {
        "/loop" => redirect("302 Found", "/pool"),
        "/pool" => redirect("302 Found", "/loop"),
        "/nowhere" => answer("302 Found", "", b""),
        "/12" => answer("200 OK", "", &mp3(10)),
        number => {
            let number: u32 = number
                .trim_start_matches('/')
                .trim_start_matches("long")
                .parse()
                .unwrap();
            let prefix = if number >= 20 { "long" } else { "" };
            redirect("302 Found", &format!("/{prefix}{}", number + 1))
        }
    })
    .await;
    for (path, problem) in [
        ("/loop", "redirect loop"),
        ("/nowhere", "without a target"),
        ("/long20", "more than 12 redirects"),
    ] {
        let failure = Bench::new().fails(&server.url(path)).await;
        assert_eq!(failure.class, FailureClass::Redirect);
        assert!(failure.message.contains(problem), "{failure}");
    }
    let twelve = Bench::new().download(&server.url("/0")).await.unwrap();
    assert_eq!(twelve.hops.len(), 13);
}

#[tokio::test]
async fn statuses_mean_what_they_say() {
    let server = RawServer::start(|path, _| match path {
        "/429" => answer("429 Slow Down", "Retry-After: 120\r\n", b""),
        "/503" => answer("503 Busy", "Retry-After: 7\r\n", b""),
        "/503-bare" => answer("503 Busy", "", b""),
        "/404" => answer("404 Not Found", "", b"<html>"),
        "/partial" => answer("206 Partial Content", "", &mp3(10)),
        _ => answer("410 Gone", "", b""),
    })
    .await;
    for (path, class, retry_after) in [
        ("/429", FailureClass::RateLimited, Some(120)),
        ("/503", FailureClass::RateLimited, Some(7)),
        ("/503-bare", FailureClass::ServerError, None),
        ("/404", FailureClass::NotFound, None),
        ("/410", FailureClass::Gone, None),
        ("/partial", FailureClass::Protocol, None),
    ] {
        let mut bench = Bench::new();
        bench.retry = quick_tries(3);
        let failure = bench.fails(&server.url(path)).await;
        assert_eq!(
            (failure.class, failure.retry_after),
            (class, retry_after.map(Duration::from_secs))
        );
        // Only what may pass by itself is asked for again on the spot.
        let asked = server.requests().iter().filter(|r| r.path == path).count();
        let is_transient = matches!(class, FailureClass::ServerError | FailureClass::Protocol);
        assert_eq!(asked, if is_transient { 3 } else { 1 }, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_audio_is_refused_whatever_it_calls_itself() {
    let typed = |body: &[u8]| answer("200 OK", "Content-Type: audio/mpeg\r\n", body);
    assert_eq!(
        class_of(typed(b"<html>expired</html>")).await,
        FailureClass::NotAudio
    );
    assert_eq!(
        class_of(typed(b"This file is no longer here.")).await,
        FailureClass::NotAudio
    );
    assert_eq!(class_of(typed(b"#EXTM3U\n")).await, FailureClass::NotAudio);
    assert_eq!(class_of(typed(b"")).await, FailureClass::Empty);
    let packed = answer("200 OK", "Content-Encoding: gzip\r\n", &mp3(10));
    assert_eq!(class_of(packed).await, FailureClass::Protocol);
}

#[tokio::test]
async fn cut_bodies_are_never_taken_for_whole_ones() {
    let audio = mp3(1000);
    let cut = announced("200 OK", "", audio.len() + 1, &audio);
    assert_eq!(class_of(cut).await, FailureClass::Truncated);
    assert_eq!(
        class_of(chunked(&audio, false)).await,
        FailureClass::Truncated
    );
    // Cut before there is enough to recognise.
    assert_eq!(
        class_of(announced("200 OK", "", 100_000, b"ID3")).await,
        FailureClass::Truncated
    );
}

#[tokio::test]
async fn a_dropped_connection_is_worth_a_second_try() {
    let audio = mp3(1000);
    let sent = audio.clone();
    let server = RawServer::start(move |_, before| match before {
        0 => vec![],
        1 => announced("200 OK", "", sent.len(), &sent[..200_000]),
        _ => answer("200 OK", "", &sent),
    })
    .await;
    let mut bench = Bench::new();
    bench.retry = quick_tries(3);
    let download = bench.download(&server.url("/e.mp3")).await.unwrap();
    assert_eq!(download.sha256, ContentDigest::of(&audio));
    assert_eq!(bench.visible().await, ["audio.mp3"]);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn silence_and_trickles_are_given_up() {
    let begun = |rest: Vec<Step>| [announced("200 OK", "", 1 << 20, &mp3(10)), rest].concat();
    assert_eq!(
        class_of(begun(vec![Step::Hang])).await,
        FailureClass::Timeout
    );
    let drop_by_drop = [Step::Send(vec![0]), Step::Wait(Duration::from_millis(20))];
    let trickle = begun(drop_by_drop.iter().cycle().take(500).cloned().collect());
    assert_eq!(class_of(trickle).await, FailureClass::Timeout);
    assert_eq!(class_of(vec![Step::Hang]).await, FailureClass::Timeout);
}

#[tokio::test]
async fn answers_that_break_http_are_named() {
    assert_eq!(class_of(vec![]).await, FailureClass::Connect);
    let send = |text: &str| vec![Step::Send(text.as_bytes().to_vec())];
    assert_eq!(
        class_of(send("SSH-2.0-server\r\n\r\n")).await,
        FailureClass::Protocol
    );
    let two_lengths = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    assert_eq!(class_of(send(two_lengths)).await, FailureClass::Protocol);
    let no_number = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    assert_eq!(class_of(send(no_number)).await, FailureClass::Protocol);
    let endless_header = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(1 << 20));
    assert_eq!(
        class_of(send(&endless_header)).await,
        FailureClass::Protocol
    );
}

#[tokio::test]
async fn hosts_that_are_not_there_and_urls_that_are_none() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    for (url, class) in [
        (closed.as_str(), FailureClass::Connect),
        ("ftp://127.0.0.1/e.mp3", FailureClass::BadUrl),
        ("e.mp3", FailureClass::BadUrl),
        ("data:audio/mpeg,ID3", FailureClass::BadUrl),
    ] {
        assert_eq!(Bench::new().fails(url).await.class, class, "{url}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_a_tls_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    assert_eq!(Bench::new().fails(&url).await.class, FailureClass::Tls);
    plain.await.unwrap();
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    let server = RawServer::start(|_, _| answer("200 OK", "", &mp3(10))).await;
    let mut bench = Bench::new();
    bench.http.allow_private_addresses = false;
    let by_name = format!("http://localhost:{}/", server.port());
    for url in [server.url("/"), by_name] {
        let failure = bench.fails(&url).await;
        assert_eq!(failure.class, FailureClass::BadUrl, "{failure}");
        assert!(
            failure.message.contains("allow_private_addresses"),
            "{failure}"
        );
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn caps_end_what_would_never_end() {
    let endless = |_: &str, _| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n".to_vec();
        let piece = [Step::Send(mp3(100)), Step::Wait(Duration::from_millis(5))];
        let pieces = piece.iter().cycle().take(4000).cloned();
        std::iter::once(Step::Send(head)).chain(pieces).collect()
    };
    let server = RawServer::start(endless).await;
    let mut bench = Bench::new();
    bench.fetch.max_bytes = 1 << 20;
    assert_eq!(
        bench.fails(&server.url("/live")).await.class,
        FailureClass::TooLarge
    );
    bench.fetch = FetchConfig {
        max_duration: Duration::from_millis(200),
        ..FetchConfig::default()
    };
    assert_eq!(
        bench.fails(&server.url("/live")).await.class,
        FailureClass::TooLarge
    );
    let honest = RawServer::start(|_, _| announced("200 OK", "", 10 << 30, &mp3(10))).await;
    let failure = Bench::new().fails(&honest.url("/")).await;
    assert_eq!(failure.class, FailureClass::TooLarge);
}

#[tokio::test]
async fn a_cancelled_download_leaves_nothing_visible() {
    let half = || {
        [
            announced("200 OK", "", 1 << 20, &mp3(1000)),
            vec![Step::Hang],
        ]
        .concat()
    };
    let server = RawServer::start(move |_, _| half()).await;
    let bench = Bench::new();
    let cancel = bench.cancel.clone();
    let cancelling = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    });
    let result = bench.download(&server.url("/e.mp3")).await;
    assert!(
        matches!(result, Err(DownloadError::Interrupted)),
        "{result:?}"
    );
    assert!(bench.visible().await.is_empty());
    cancelling.await.unwrap();
}

#[derive(Debug)]
struct LostLease;

#[async_trait]
impl LeaseCheck for LostLease {
    async fn still_held(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_whole_body_is_not_published_without_the_lease() {
    let server = RawServer::start(|_, _| answer("200 OK", "", &mp3(10))).await;
    let mut bench = Bench::new();
    bench.lease = Arc::new(LostLease);
    let result = bench.download(&server.url("/e.mp3")).await;
    assert!(
        matches!(result, Err(DownloadError::Interrupted)),
        "{result:?}"
    );
    assert!(bench.visible().await.is_empty());
}

/// Writes down who came and went.
#[derive(Debug, Default)]
struct Doorman {
    log: Arc<Mutex<Vec<String>>>,
    lost: CancellationToken,
}

#[derive(Debug)]
struct DoormansPass {
    path: String,
    log: Arc<Mutex<Vec<String>>>,
    lost: CancellationToken,
}

#[async_trait]
impl HopGate for Doorman {
    async fn enter(&self, url: &Url, _: &CancellationToken) -> Result<Box<dyn HopPass>, Failure> {
        let path = url.path().to_owned();
        self.log.lock().unwrap().push(format!("in {path}"));
        Ok(Box::new(DoormansPass {
            path,
            log: Arc::clone(&self.log),
            lost: self.lost.clone(),
        }))
    }
}

#[async_trait]
impl HopPass for DoormansPass {
    fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    async fn finish(self: Box<Self>, verdict: HopVerdict) {
        self.log
            .lock()
            .unwrap()
            .push(format!("out {} {verdict:?}", self.path));
    }
}

#[tokio::test]
async fn each_hop_is_charged_to_its_own_host_and_the_last_one_till_its_end() {
    let server = RawServer::start(|path, _| match path {
        "/a" => redirect("302 Found", "/b"),
        "/busy" => answer("429 Slow Down", "Retry-After: 5\r\n", b""),
        "/cut" => announced("200 OK", "", 1000, b"x"),
        _ => answer("200 OK", "", b"all of it"),
    })
    .await;
    let gate = Doorman::default();
    let client = HttpClient::try_new(Bench::new().http).unwrap();
    let cancel = CancellationToken::new();
    let get = |path: &str| Get::try_new(&server.url(path), "*/*").unwrap();

    let found = follow(&client, get("/a"), &gate, &cancel).await.unwrap();
    gate.log.lock().unwrap().push("reading".to_owned());
    assert_eq!(read_to_vec(found, 100).await.unwrap(), b"all of it");
    follow(&client, get("/busy"), &gate, &cancel)
        .await
        .unwrap_err();
    let found = follow(&client, get("/cut"), &gate, &cancel).await.unwrap();
    read_to_vec(found, 5000).await.unwrap_err();
    let found = follow(&client, get("/big"), &gate, &cancel).await.unwrap();
    let failure = read_to_vec(found, 3).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::TooLarge);

    assert_eq!(
        *gate.log.lock().unwrap(),
        [
            "in /a",
            "out /a Answered { status: 302 }",
            "in /b",
            "reading",
            "out /b Answered { status: 200 }",
            "in /busy",
            "out /busy Throttled { status: 429, retry_after: Some(5s) }",
            "in /cut",
            "out /cut Strained { status: Some(200) }",
            "in /big",
            "out /big Unknown { status: Some(200) }",
        ]
    );
}

#[tokio::test]
async fn a_lost_pass_ends_the_transfer_and_counts_as_no_attempt() {
    let half = || {
        [
            announced("200 OK", "", 1 << 20, &mp3(100)),
            vec![Step::Hang],
        ]
        .concat()
    };
    let server = RawServer::start(move |_, _| half()).await;
    let gate = Doorman::default();
    let lost = gate.lost.clone();
    let losing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        lost.cancel();
    });
    let mut bench = Bench::new();
    bench.gate = Arc::new(gate);
    let failure = bench.fails(&server.url("/e.mp3")).await;
    assert_eq!(failure.class, FailureClass::RateLimited);
    losing.await.unwrap();
}
