//! Transfers that break, and when they may go on where they broke.

use std::sync::Arc;
use std::time::Duration;

use podrun::domain::{ContentDigest, FailureClass};
use podrun::fetch::DownloadError;
use podrun::runtime::blob::DirectoryBlobStore;

use crate::bench::{Bench, quick_tries};
use crate::guard::FakeLookup;
use crate::server::{RawServer, Request, Step, announced, answer, mp3, redirect};

const ETAG: &str = "ETag: \"v1\"\r\n";
const CUT: usize = 200_000;

fn audio() -> Vec<u8> {
    mp3(2000)
}

/// The beginning of the file under a strong validator, and then a closed connection.
fn cut_with(headers: &str) -> Vec<Step> {
    announced("200 OK", headers, audio().len(), &audio()[..CUT])
}

/// The rest of the file, as `Content-Range` and `headers` describe it.
fn part(range: &str, headers: &str, body: &[u8]) -> Vec<Step> {
    let headers = format!("Content-Range: {range}\r\n{headers}");
    answer("206 Partial Content", &headers, body)
}

fn whole_range() -> String {
    format!("bytes {CUT}-{}/{}", audio().len() - 1, audio().len())
}

fn header(request: &Request, name: &str) -> Option<String> {
    request.head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

fn ranges(server: &RawServer) -> Vec<Option<String>> {
    server
        .requests()
        .iter()
        .map(|request| header(request, "range"))
        .collect()
}

fn patient() -> Bench {
    let mut bench = Bench::new();
    bench.retry = quick_tries(3);
    bench
}

/// Downloads from a server whose first answer is cut and whose second is `second`; every later one is
/// whole. The file must come out right whatever happens.
async fn after_a_cut(
    first: &'static str,
    second: impl Fn() -> Vec<Step> + Send + Sync + 'static,
) -> (RawServer, u32) {
    let server = RawServer::start(move |_, before| match before {
        0 => cut_with(first),
        1 => second(),
        _ => answer("200 OK", ETAG, &audio()),
    })
    .await;
    let bench = patient();
    let download = bench.download(&server.url("/e.mp3")).await.unwrap();
    assert_eq!(download.content.sha256, ContentDigest::of(&audio()));
    assert_eq!(bench.stored("audio.mp3").await, audio());
    (server, download.resumes)
}

#[tokio::test]
async fn a_cut_transfer_goes_on_where_it_broke() {
    let rest = || part(&whole_range(), ETAG, &audio()[CUT..]);
    let (server, resumes) = after_a_cut(ETAG, rest).await;
    assert_eq!(resumes, 1);
    assert_eq!(ranges(&server), [None, Some(format!("bytes={CUT}-"))]);
    let second = &server.requests()[1];
    assert_eq!(header(second, "if-range").as_deref(), Some("\"v1\""));
}

#[tokio::test]
async fn a_transfer_goes_on_a_few_times_and_no_more() {
    let server = RawServer::start(|_, before| {
        let from = CUT * before.min(1) + 10_000 * before;
        let range = format!("bytes {from}-{}/{}", audio().len() - 1, audio().len());
        let until = if before == 0 { CUT } else { from + 10_000 };
        match before {
            0 => announced("200 OK", ETAG, audio().len(), &audio()[..CUT + 10_000]),
            _ => {
                let headers = format!("Content-Range: {range}\r\n{ETAG}");
                let left = audio().len() - from;
                announced("206 Partial Content", &headers, left, &audio()[from..until])
            }
        }
    })
    .await;
    let failure = Bench::new().fails(&server.url("/e.mp3")).await;
    assert_eq!(failure.class, FailureClass::Truncated);
    // The first request, and as many more as are allowed.
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn case_095_a_part_that_is_not_the_rest_begins_anew() {
    let (from, whole) = (CUT, audio().len());
    let wrong = [
        format!(
            "Content-Range: bytes {}-{}/{whole}\r\n",
            from + 1,
            whole - 1
        ),
        format!("Content-Range: bytes {from}-{}/{}\r\n", whole, whole + 1),
        format!("Content-Range: bytes {from}-{}/*\r\n", whole - 1),
        String::new(),
    ];
    for range in wrong {
        let second = move || {
            let headers = format!("{range}{ETAG}");
            answer("206 Partial Content", &headers, &audio()[CUT..])
        };
        let (server, resumes) = after_a_cut(ETAG, second).await;
        assert_eq!(resumes, 0, "what counts is the try that was stored");
        assert_eq!(ranges(&server).iter().flatten().count(), 1);
    }
}

/// A part that tells its range and no length, so that it ends with its connection.
fn unmeasured(range: &str, headers: &str, body: &[u8]) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\n{headers}\
         Connection: close\r\n\r\n"
    );
    vec![Step::Send([head.as_bytes(), body].concat())]
}

#[tokio::test]
async fn case_095_a_part_without_a_length_is_the_rest_only_if_all_of_it_comes() {
    let rest = || unmeasured(&whole_range(), ETAG, &audio()[CUT..]);
    assert_eq!(after_a_cut(ETAG, rest).await.1, 1);
    let short = || unmeasured(&whole_range(), ETAG, &audio()[CUT..audio().len() - 1]);
    let (server, resumes) = after_a_cut(ETAG, short).await;
    let last = audio().len() - 1;
    let asked = [None, Some(CUT), Some(last)].map(|at| at.map(|at| format!("bytes={at}-")));
    assert_eq!(ranges(&server)[..3], asked);
    // The third answer is the whole file, and begins anew.
    assert_eq!(resumes, 0);
    let long = || unmeasured(&whole_range(), ETAG, &[&audio()[CUT..], b"more"].concat());
    assert_eq!(after_a_cut(ETAG, long).await.1, 0);
}

#[tokio::test]
async fn case_095_a_part_from_a_signed_address_does_not_follow() {
    let server = RawServer::start(move |path, before| match (path, before) {
        ("/e.mp3", 0) => cut_with(ETAG),
        ("/e.mp3", 1) => redirect("302 Found", "/e.mp3?Signature=s"),
        ("/e.mp3", _) => answer("200 OK", ETAG, &audio()),
        _ => part(&whole_range(), ETAG, &audio()[CUT..]),
    })
    .await;
    let bench = patient();
    let download = bench.download(&server.url("/e.mp3")).await.unwrap();
    assert_eq!(download.resumes, 0);
    assert_eq!(bench.stored("audio.mp3").await, audio());
}

#[tokio::test]
async fn case_096_a_whole_answer_to_a_range_begins_anew() {
    let (server, _) = after_a_cut(ETAG, || answer("200 OK", ETAG, &audio())).await;
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn case_097_a_416_completes_a_file_of_that_length_and_no_other() {
    // All bytes came, and only the last chunk is missing: no length was told.
    let unended = || crate::server::chunked(&audio(), false);
    let with_etag = move || {
        let Some(Step::Send(bytes)) = unended().pop() else {
            unreachable!("one step");
        };
        let text = format!("HTTP/1.1 200 OK\r\n{ETAG}");
        let rest = &bytes["HTTP/1.1 200 OK\r\n".len()..];
        vec![Step::Send([text.as_bytes(), rest].concat())]
    };
    for (claimed, requests) in [(audio().len(), 2), (audio().len() + 5, 3)] {
        let server = RawServer::start(move |_, before| match before {
            0 => with_etag(),
            1 => answer(
                "416 Range Not Satisfiable",
                &format!("Content-Range: bytes */{claimed}\r\n{ETAG}"),
                b"",
            ),
            _ => answer("200 OK", ETAG, &audio()),
        })
        .await;
        let bench = patient();
        let download = bench.download(&server.url("/e.mp3")).await.unwrap();
        assert_eq!(download.content.sha256, ContentDigest::of(&audio()));
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test]
async fn case_098_without_the_same_strong_etag_a_transfer_begins_anew() {
    for weak in [
        "ETag: W/\"v1\"\r\n",
        "",
        "ETag: v1\r\n",
        "ETag: \"v1\"\r\nAccept-Ranges: none\r\n",
    ] {
        let (server, _) = after_a_cut(weak, || answer("200 OK", "", &audio())).await;
        assert_eq!(ranges(&server), [None, None], "{weak}");
    }
    let changed = || part(&whole_range(), "ETag: \"v2\"\r\n", &audio()[CUT..]);
    let (server, _) = after_a_cut(ETAG, changed).await;
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn case_099_parts_in_an_envelope_begin_anew() {
    let envelope = || {
        let headers = format!("Content-Type: multipart/byteranges; boundary=x\r\n{ETAG}");
        part(&whole_range(), &headers, &audio()[CUT..])
    };
    let (server, _) = after_a_cut(ETAG, envelope).await;
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn case_100_a_host_that_stitches_is_never_asked_for_the_rest() {
    // It would answer a range, with the same total and other bytes.
    let server = RawServer::start(|_, before| match before {
        0 => cut_with(ETAG),
        _ => answer("200 OK", ETAG, &audio()),
    })
    .await;
    let mut bench = patient();
    bench.lookup = Arc::new(FakeLookup::default().with("cdn.stitch.example", &["127.0.0.1"]));
    bench.fetch.ads.dynamic = vec!["stitch.example".to_owned()];
    let url = format!("http://cdn.stitch.example:{}/e.mp3", server.port());
    bench.download(&url).await.unwrap();
    assert_eq!(ranges(&server), [None, None]);
}

#[tokio::test]
async fn case_078_a_signed_file_begins_anew_at_the_enclosures_own_url() {
    let server = RawServer::start(|path, before| match (path, before) {
        ("/e.mp3", before) => {
            redirect("302 Found", &format!("/file{before}?Expires=9&Signature=s"))
        }
        ("/file0?Expires=9&Signature=s", _) => cut_with(ETAG),
        _ => answer("200 OK", ETAG, &audio()),
    })
    .await;
    patient().download(&server.url("/e.mp3")).await.unwrap();
    let paths: Vec<_> = server.requests().iter().map(|r| r.path.clone()).collect();
    let signed = |n: u32| format!("/file{n}?Expires=9&Signature=s");
    assert_eq!(
        paths,
        [
            "/e.mp3".to_owned(),
            signed(0),
            "/e.mp3".to_owned(),
            signed(1)
        ]
    );
    assert_eq!(ranges(&server).iter().flatten().count(), 0);
}

#[tokio::test]
async fn a_host_that_asks_for_patience_in_between_gets_it() {
    let server = RawServer::start(|_, before| match before {
        0 => cut_with(ETAG),
        _ => answer("429 Slow Down", "Retry-After: 60\r\n", b""),
    })
    .await;
    let failure = patient().fails(&server.url("/e.mp3")).await;
    assert_eq!(failure.class, FailureClass::RateLimited);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(60)));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn case_101_a_stopped_transfer_leaves_nothing_behind() {
    use async_trait::async_trait;
    use podrun::domain::{AudioContainer, EpisodeId, FeedSlug, Guid};
    use podrun::fetch::{AudioSink, Content, Downloader, Progress};
    use podrun::runtime::blob::{BlobError, BlobInfo, BlobStore, BlobWriter, PutMode};
    use podrun::runtime::telemetry::Ignore;

    #[derive(Debug)]
    struct Folder(DirectoryBlobStore);

    #[async_trait]
    impl AudioSink for Folder {
        async fn open(&self, _: AudioContainer) -> Result<Box<dyn BlobWriter>, BlobError> {
            self.0.create("audio.mp3", PutMode::Create).await
        }
        async fn find(&self, _: AudioContainer, _: &Content) -> Option<BlobInfo> {
            None
        }
    }

    let half = || {
        [
            announced("200 OK", "", 1 << 20, &mp3(1000)),
            vec![Step::Hang],
        ]
        .concat()
    };
    let server = RawServer::start(move |_, _| half()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryBlobStore::open(folder.path()).unwrap();
    let sink = Folder(store);
    let mut bench = Bench::new();
    bench.http.stall.silence = Duration::from_secs(20);
    let client = bench.client();
    let episode = EpisodeId {
        feed_slug: FeedSlug::try_new("a").unwrap(),
        guid: Guid::try_new("g").unwrap(),
    };
    let downloader = Downloader {
        client: &client,
        gate: &*bench.gate,
        config: &bench.fetch,
        retry: bench.retry,
        cancel: &bench.cancel,
        lease: &*bench.lease,
    };
    let mut progress = Progress::new(&Ignore, &episode);
    let url = server.url("/e.mp3");
    let stop = async {
        // Until bytes are on their way; the request was read by then.
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.cancel.cancel();
    };
    let (result, ()) = tokio::join!(downloader.run(&url, &sink, &mut progress), stop);
    assert!(
        matches!(result, Err(DownloadError::Interrupted)),
        "{result:?}"
    );
    assert!(sink.0.list("", None, 10).await.unwrap().is_empty());
    assert_eq!(
        sink.0.sweep().await.unwrap(),
        0,
        "its temporary file is gone already"
    );
}
