//! One download against servers that answer as badly as real ones do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use podrun::domain::{AudioContainer, ContentDigest, FailureClass};
use podrun::fetch::{DownloadError, FetchConfig};
use podrun::runtime::blob::read_all;
use podrun::runtime::worker::LeaseCheck;

use crate::bench::{Bench, class_of, quick_tries};
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
    assert_eq!(download.content.sha256, ContentDigest::of(&audio));
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
        FailureClass::LiveStream
    );
    bench.fetch = FetchConfig {
        max_duration: Duration::from_millis(200),
        ..FetchConfig::default()
    };
    assert_eq!(
        bench.fails(&server.url("/live")).await.class,
        FailureClass::LiveStream
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
