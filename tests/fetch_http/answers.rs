//! Answers as bad as real servers give them, and what each of them means.

use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use podrun::domain::{AudioContainer, ContentDigest, Disposition, FailureClass};
use podrun::runtime::http::HopGate;
use std::io::Write;

use crate::bench::{Bench, class_of, quick_tries};
use crate::gate::Doorman;
use crate::server::{RawServer, Step, announced, answer, chunked, forever, mp3, send};

/// A body that calls itself audio.
fn typed(body: &[u8]) -> Vec<Step> {
    answer("200 OK", "Content-Type: audio/mpeg\r\n", body)
}

#[tokio::test]
async fn case_056_a_page_with_status_200_is_refused() {
    for page in [
        &b"<html>expired</html>"[..],
        b"This file is no longer here.",
        b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
    ] {
        assert_eq!(class_of(typed(page)).await, FailureClass::NotAudio);
    }
}

#[tokio::test]
async fn case_057_json_with_status_200_is_refused() {
    let json = typed(b"{\"error\": \"gone\"}");
    assert_eq!(class_of(json).await, FailureClass::NotAudio);
}

#[tokio::test]
async fn case_058_an_empty_body_is_tried_again_and_then_named() {
    for empty in [typed(b""), chunked(b"", true)] {
        let script = {
            let empty = empty.clone();
            move |path: &str, before| match (path, before) {
                ("/filling", 1) => typed(&mp3(10)),
                _ => empty.clone(),
            }
        };
        let server = RawServer::start(script).await;
        let mut bench = Bench::new();
        bench.retry = quick_tries(3);
        let failure = bench.fails(&server.url("/empty")).await;
        assert_eq!(failure.class, FailureClass::Empty);
        assert_eq!(failure.class.disposition(), Disposition::Transient);
        assert_eq!(server.requests().len(), 3);
        bench.download(&server.url("/filling")).await.unwrap();
    }
}

#[tokio::test]
async fn case_059_a_chunked_body_without_its_end_is_cut() {
    let cut = class_of(chunked(&mp3(1000), false)).await;
    assert_eq!(cut, FailureClass::Truncated);
    assert_eq!(cut.disposition(), Disposition::Transient);
}

#[tokio::test]
async fn case_060_a_body_shorter_than_announced_is_cut() {
    let audio = mp3(1000);
    let cut = announced("200 OK", "", audio.len() + 1, &audio);
    assert_eq!(class_of(cut).await, FailureClass::Truncated);
    // Cut before there is enough to recognise.
    let early = announced("200 OK", "", 100_000, b"ID3");
    assert_eq!(class_of(early).await, FailureClass::Truncated);
}

#[tokio::test]
async fn case_061_a_body_longer_than_announced_ends_there_with_its_connection() {
    let server = RawServer::start(|_, _| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4170\r\n\r\n";
        let bytes = [head.as_bytes(), &mp3(10), b"HTTP/1.1 200 OK\r\n\r\n"].concat();
        // The connection stays open: a second request on it would wait in vain.
        vec![Step::Send(bytes), Step::Hang]
    })
    .await;
    let client = Bench::new().client();
    for _ in 0..2 {
        let bench = Bench::new();
        let url = server.url("/e.mp3");
        let download = bench.download_with(&client, &url).await.unwrap();
        assert_eq!(download.content.sha256, ContentDigest::of(&mp3(10)));
    }
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn case_062_two_lengths_are_refused() {
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    assert_eq!(class_of(send(two)).await, FailureClass::Protocol);
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn case_063_a_body_that_comes_compressed_is_unpacked_and_noted() {
    let audio = mp3(1000);
    let packed = gzipped(&audio);
    let server = RawServer::start(move |path, _| match path {
        "/cut" => announced(
            "200 OK",
            "Content-Encoding: gzip\r\n",
            packed.len(),
            &packed[..9000],
        ),
        "/bomb" => answer(
            "200 OK",
            "Content-Encoding: gzip\r\n",
            &gzipped(&[mp3(100), vec![0; 16 << 20]].concat()),
        ),
        "/brotli" => answer("200 OK", "Content-Encoding: br\r\n", &packed),
        "/nonsense" => answer("200 OK", "Content-Encoding: utf-8\r\n", &mp3(10)),
        _ => answer("200 OK", "Content-Encoding: gzip\r\n", &packed),
    })
    .await;
    let bench = Bench::new();
    let download = bench.download(&server.url("/e.mp3")).await.unwrap();
    assert_eq!(download.coding, Some("gzip"));
    assert_eq!(download.content.sha256, ContentDigest::of(&audio));
    assert_eq!(bench.stored("audio.mp3").await, audio);

    let nonsense = Bench::new()
        .download(&server.url("/nonsense"))
        .await
        .unwrap();
    assert_eq!(nonsense.coding, None);
    for (path, class) in [
        ("/cut", FailureClass::Truncated),
        ("/bomb", FailureClass::TooLarge),
        ("/brotli", FailureClass::Protocol),
    ] {
        let failure = Bench::new().fails(&server.url(path)).await;
        assert_eq!(failure.class, class, "{path}: {failure}");
    }
}

#[tokio::test]
async fn case_064_head_is_never_asked() {
    let server = RawServer::start(|_, _| typed(&mp3(10))).await;
    Bench::new().download(&server.url("/e.mp3")).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].head.starts_with("GET "));
}

#[tokio::test]
async fn case_065_a_drop_at_a_time_is_given_up() {
    let begun = |rest: Vec<Step>| [announced("200 OK", "", 1 << 20, &mp3(10)), rest].concat();
    let timeout = FailureClass::Timeout;
    assert_eq!(class_of(begun(vec![Step::Hang])).await, timeout);
    let trickle = begun(forever(&[0], Duration::from_millis(20)));
    assert_eq!(class_of(trickle).await, timeout);
    assert_eq!(class_of(vec![Step::Hang]).await, timeout);
    let slow_head = [
        send("HTTP/1.1 200 OK\r\nX: "),
        forever(b"x", Duration::from_millis(20)),
    ]
    .concat();
    assert_eq!(class_of(slow_head).await, timeout);
}

#[tokio::test]
async fn case_066_headers_have_an_end() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(1 << 20));
    assert_eq!(class_of(send(&long)).await, FailureClass::Protocol);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: a\r\n".repeat(5000));
    assert_eq!(class_of(send(&many)).await, FailureClass::Protocol);
    let endless = [
        send("HTTP/1.1 200 OK\r\n"),
        forever(b"A: a\r\n", Duration::from_millis(5)),
    ]
    .concat();
    let class = class_of(endless).await;
    assert!(matches!(
        class,
        FailureClass::Timeout | FailureClass::Protocol
    ));
}

#[tokio::test]
async fn case_067_interim_answers_are_passed_over_and_bounded() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let server = RawServer::start(move |path, _| match path {
        "/endless" => forever(interim.as_bytes(), Duration::from_millis(5)),
        _ => [send(&interim.repeat(20)), typed(&mp3(10))].concat(),
    })
    .await;
    let bench = Bench::new();
    bench.download(&server.url("/e.mp3")).await.unwrap();
    let failure = Bench::new().fails(&server.url("/endless")).await;
    assert_eq!(failure.class, FailureClass::Timeout);
}

#[tokio::test]
async fn answers_that_break_http_are_named() {
    assert_eq!(class_of(vec![]).await, FailureClass::Connect);
    let protocol = FailureClass::Protocol;
    assert_eq!(class_of(send("SSH-2.0-server\r\n\r\n")).await, protocol);
    let no_number = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    assert_eq!(class_of(send(no_number)).await, protocol);
    let unasked = answer(
        "206 Partial Content",
        "Content-Range: bytes 0-9/20\r\n",
        &mp3(10),
    );
    assert_eq!(class_of(unasked).await, protocol);
}

/// The failure behind one status, how often it was asked for, and what the gate heard.
async fn met(status: &'static str, headers: &'static str, body: &'static str) -> Met {
    let server = RawServer::start(move |_, _| answer(status, headers, body.as_bytes())).await;
    let mut bench = Bench::new();
    bench.retry = quick_tries(3);
    let gate = Arc::new(Doorman::default());
    bench.gate = Arc::clone(&gate) as Arc<dyn HopGate>;
    let failure = bench.fails(&server.url("/e.mp3")).await;
    let log = gate.log.lock().unwrap();
    let said = log.iter().rfind(|line| line.starts_with("out")).unwrap();
    Met {
        class: failure.class,
        retry_after: failure.retry_after.map(|wait| wait.as_secs()),
        asked: server.requests().len(),
        said: said.trim_start_matches("out /e.mp3 ").to_owned(),
    }
}

#[derive(Debug)]
struct Met {
    class: FailureClass,
    retry_after: Option<u64>,
    asked: usize,
    said: String,
}

#[tokio::test]
async fn case_072_refusals_are_final_and_no_sign_of_load() {
    for (status, class) in [
        ("401 Unauthorized", FailureClass::Refused),
        ("402 Payment Required", FailureClass::Refused),
        ("403 Forbidden", FailureClass::Refused),
        ("404 Not Found", FailureClass::NotFound),
        ("410 Gone", FailureClass::Gone),
        ("451 Unavailable", FailureClass::Gone),
    ] {
        let met = met(status, "Content-Type: text/html\r\n", "<p>members only</p>").await;
        assert_eq!((met.class, met.asked), (class, 1), "{status}");
        assert!(met.said.starts_with("Answered"), "{met:?}");
        assert_eq!(class.disposition(), Disposition::Permanent);
        assert!(class.is_publisher_side());
    }
}

#[tokio::test]
async fn case_072_a_bot_walls_403_is_the_hosts_and_not_the_files() {
    for (headers, page) in [
        ("cf-mitigated: challenge\r\n", ""),
        (
            "Server: cloudflare\r\n",
            "<title>Attention Required! | Cloudflare</title>",
        ),
        (
            "Server: CloudFront\r\nX-Cache: Error from cloudfront\r\nContent-Type: text/html\r\n",
            "<H1>403 ERROR</H1> Request blocked.",
        ),
    ] {
        let met = met("403 Forbidden", headers, page).await;
        assert_eq!(
            (met.class, met.asked),
            (FailureClass::Blocked, 1),
            "{headers}"
        );
        assert_eq!(met.said, "Blocked { status: 403, retry_after: None }");
    }
    let expired = met(
        "403 Forbidden",
        "Server: CloudFront\r\nX-Cache: Error from cloudfront\r\nContent-Type: text/xml\r\n",
        "<Error><Code>AccessDenied</Code></Error>",
    )
    .await;
    assert_eq!(expired.class, FailureClass::Refused);
}

#[tokio::test]
async fn case_074_odd_statuses_of_fronts_pass_and_strain_the_host() {
    for status in [
        "418 Teapot",
        "520 Unknown",
        "524 Timeout",
        "530 Origin",
        "599 Timeout",
    ] {
        let met = met(status, "", "").await;
        assert_eq!(
            (met.class, met.asked),
            (FailureClass::ServerError, 3),
            "{status}"
        );
        assert!(met.said.starts_with("Strained"), "{met:?}");
    }
}

#[tokio::test]
async fn a_server_that_names_a_time_is_not_asked_before() {
    for (status, headers, class, wait) in [
        (
            "429 Slow Down",
            "Retry-After: 120\r\n",
            FailureClass::RateLimited,
            Some(120),
        ),
        ("429 Slow Down", "", FailureClass::RateLimited, None),
        (
            "503 Busy",
            "Retry-After: 7\r\n",
            FailureClass::RateLimited,
            Some(7),
        ),
    ] {
        let met = met(status, headers, "").await;
        assert_eq!((met.class, met.retry_after, met.asked), (class, wait, 1));
        assert!(met.said.starts_with("Throttled"), "{met:?}");
    }
    let bare = met("503 Busy", "", "").await;
    assert_eq!((bare.class, bare.asked), (FailureClass::ServerError, 3));
}

#[tokio::test]
async fn case_075_ten_gigabytes_are_refused_before_anything_is_stored() {
    let server = RawServer::start(|path, _| match path {
        "/honest" => announced("200 OK", "", 10 << 30, &mp3(1000)),
        _ => answer("200 OK", "", &mp3(1000)),
    })
    .await;
    let mut bench = Bench::new();
    let failure = bench.fails(&server.url("/honest")).await;
    assert_eq!(failure.class, FailureClass::TooLarge);
    bench.fetch.max_bytes = 400_000;
    let failure = bench.fails(&server.url("/small-cap")).await;
    assert_eq!(failure.class, FailureClass::TooLarge);
    assert_eq!(bench.opened.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn case_076_a_live_stream_ends_at_once_or_at_a_cap() {
    let server = RawServer::start(|path, _| {
        let icy = match path {
            "/station" => "icy-name: Radio\r\nicy-br: 128\r\n",
            _ => "",
        };
        let head = format!("HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n{icy}\r\n");
        [send(&head), forever(&mp3(100), Duration::from_millis(5))].concat()
    })
    .await;
    let mut bench = Bench::new();
    let station = bench.fails(&server.url("/station")).await;
    assert_eq!(station.class, FailureClass::LiveStream);
    assert_eq!(bench.opened.load(std::sync::atomic::Ordering::SeqCst), 0);

    bench.fetch.max_bytes = 1 << 20;
    let too_much = bench.fails(&server.url("/unnamed")).await;
    assert_eq!(too_much.class, FailureClass::LiveStream, "{too_much}");
    bench.fetch.max_bytes = u64::MAX;
    bench.fetch.max_duration = Duration::from_millis(200);
    let too_long = bench.fails(&server.url("/unnamed")).await;
    assert_eq!(too_long.class, FailureClass::LiveStream, "{too_long}");
    assert_eq!(too_long.class.disposition(), Disposition::Permanent);
}

#[tokio::test]
async fn a_station_that_tells_a_length_serves_a_file() {
    let file = answer("200 OK", "icy-name: Archive\r\n", &mp3(10));
    let server = RawServer::start(move |_, _| file.clone()).await;
    Bench::new().download(&server.url("/e.mp3")).await.unwrap();
}

#[tokio::test]
async fn case_077_titles_between_the_sound_are_not_asked_for() {
    let server = RawServer::start(|_, _| typed(&mp3(10))).await;
    Bench::new().download(&server.url("/e.mp3")).await.unwrap();
    assert!(!server.requests()[0].head.to_lowercase().contains("icy-"));
}

#[tokio::test]
async fn case_050_an_hls_playlist_is_named_and_not_stored() {
    let playlist = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n1.ts\n";
    let failure = class_of(typed(playlist)).await;
    assert_eq!(failure, FailureClass::UnsupportedHls);
    assert_eq!(failure.disposition(), Disposition::Permanent);
}

#[tokio::test]
async fn case_051_documents_and_lists_are_refused_and_video_is_kept_as_what_it_is() {
    for other in [
        &b"%PDF-1.7\n%\xe2\xe3\xcf\xd3"[..],
        b"d8:announce20:http://a.example/ann",
        b"[playlist]\nFile1=http://a.example/1.mp3",
        b"#EXTM3U\nhttp://a.example/1.mp3",
        b"PK\x03\x04epub",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
    ] {
        assert_eq!(class_of(typed(other)).await, FailureClass::NotAudio);
    }
    let video = [&b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"[..], &[7; 5000]].concat();
    let server = RawServer::start(move |_, _| typed(&video)).await;
    let bench = Bench::new();
    let download = bench.download(&server.url("/e.mp3")).await.unwrap();
    assert_eq!(download.container, AudioContainer::Mp4);
    assert_eq!(bench.visible().await, ["audio.m4a"]);
}
