//! One download against servers that answer as badly as real ones do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use podrun::domain::{AudioContainer, ContentDigest, FailureClass};
use podrun::fetch::DownloadError;
use podrun::runtime::blob::read_all;
use podrun::runtime::worker::LeaseCheck;

use crate::bench::{Bench, quick_tries};
use crate::server::{RawServer, Step, announced, answer, chunked, mp3, redirect};

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
        assert_eq!(download.content.sha256, ContentDigest::of(&audio));
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
    assert_eq!(download.content.sha256, ContentDigest::of(&audio));
    assert_eq!(bench.visible().await, ["audio.mp3"]);
    assert_eq!(server.requests().len(), 3);
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
