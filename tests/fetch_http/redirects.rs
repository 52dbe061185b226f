//! Chains of redirects, as hosts and measuring services really make them.

use std::time::{Duration, Instant};

use podrun::domain::FailureClass;

use crate::bench::{Bench, class_of};
use crate::server::{RawServer, Step, announced, answer, mp3, redirect};

#[tokio::test]
async fn case_089_loops_and_long_chains_end() {
    let server = RawServer::start(|path, _| match path {
        "/loop" => redirect("302 Found", "/pool"),
        "/pool" => redirect("302 Found", "/loop"),
        "/self" => redirect("302 Found", "/self"),
        "/12" => answer("200 OK", "", &mp3(10)),
        number => {
            let number = number.trim_start_matches('/').trim_start_matches("long");
            let number: u32 = number.parse().unwrap();
            let prefix = if number >= 20 { "long" } else { "" };
            redirect("302 Found", &format!("/{prefix}{}", number + 1))
        }
    })
    .await;
    for (path, problem) in [
        ("/loop", "redirect loop"),
        ("/self", "redirect loop"),
        ("/long20", "more than 12 redirects"),
    ] {
        let failure = Bench::new().fails(&server.url(path)).await;
        assert_eq!(failure.class, FailureClass::Redirect);
        assert!(failure.message.contains(problem), "{failure}");
    }
    let asked = |path: &str| server.requests().iter().filter(|r| r.path == path).count();
    assert_eq!((asked("/loop"), asked("/pool"), asked("/self")), (1, 1, 1));
    let twelve = Bench::new().download(&server.url("/0")).await.unwrap();
    assert_eq!(twelve.hops.len(), 13);
}

/// An answer that sets a cookie and sends the client on.
fn cookie(value: &str, location: &str) -> Vec<Step> {
    let headers = format!("Set-Cookie: seen={value}; Path=/\r\nLocation: {location}\r\n");
    answer("302 Found", &headers, b"")
}

#[tokio::test]
async fn case_089_a_self_redirect_that_sets_a_cookie_is_followed_once() {
    let server = RawServer::start(|path, before| match (path, before) {
        ("/e.mp3", 0) => cookie("1", "/e.mp3"),
        ("/ever-new", before) => cookie(&before.to_string(), "/ever-new"),
        _ => answer("200 OK", "", &mp3(10)),
    })
    .await;
    let download = Bench::new().download(&server.url("/e.mp3")).await.unwrap();
    assert_eq!(download.hops.len(), 2);
    let failure = Bench::new().fails(&server.url("/ever-new")).await;
    assert!(failure.message.contains("redirect loop"), "{failure}");
    let asked = server
        .requests()
        .iter()
        .filter(|r| r.path == "/ever-new")
        .count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn case_079_cookies_live_as_long_as_one_chain() {
    let server = RawServer::start(|path, _| match path {
        "/a" => cookie("secret", "/b"),
        _ => answer("200 OK", "Set-Cookie: late=1\r\n", &mp3(10)),
    })
    .await;
    let bench = Bench::new();
    let client = bench.client();
    for _ in 0..2 {
        let bench = Bench::new();
        bench
            .download_with(&client, &server.url("/a"))
            .await
            .unwrap();
    }
    let sent: Vec<_> = server
        .requests()
        .iter()
        .map(|request| {
            let head = request.head.to_lowercase();
            let cookie = head.lines().find_map(|line| line.strip_prefix("cookie: "));
            (request.path.clone(), cookie.map(str::to_owned))
        })
        .collect();
    let once = [
        ("/a".to_owned(), None),
        ("/b".to_owned(), Some("seen=secret".to_owned())),
    ];
    assert_eq!(sent, [once.clone(), once].concat());
}

#[tokio::test]
async fn case_079_a_cookie_goes_to_no_other_host() {
    let other = RawServer::start(|_, _| answer("200 OK", "", &mp3(10))).await;
    let target = format!("http://localhost:{}/e.mp3", other.port());
    let server = RawServer::start(move |_, _| cookie("secret", &target)).await;
    Bench::new().download(&server.url("/a")).await.unwrap();
    let head = other.requests()[0].head.to_lowercase();
    assert!(!head.contains("cookie:"), "{head}");
}

#[tokio::test]
async fn case_090_odd_targets_are_followed_or_named() {
    let server = RawServer::start(|path, _| {
        let location: &[u8] = match path {
            "/relative" => b"sub/../e.mp3",
            "/spaces" => b" /e e.mp3 ",
            "/utf-8" => "/ü.mp3".as_bytes(),
            "/fragment" => b"/e.mp3#t=5",
            "/none" => return answer("302 Found", "", b""),
            "/empty" => b"",
            "/latin-1" => b"/\xfc.mp3",
            "/glued" => b"https://",
            "/user" => b"http://me:pw@127.0.0.1/e.mp3",
            _ => return answer("200 OK", "", &mp3(10)),
        };
        let head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: ";
        vec![Step::Send([head, location, b"\r\n\r\n"].concat())]
    })
    .await;
    for (path, asked) in [
        ("/relative", "/e.mp3"),
        ("/spaces", "/e%20e.mp3"),
        ("/utf-8", "/%C3%BC.mp3"),
        ("/fragment", "/e.mp3"),
    ] {
        let download = Bench::new().download(&server.url(path)).await.unwrap();
        assert_eq!(download.final_url, server.url(asked));
    }
    for (path, problem) in [
        ("/none", "without a target"),
        ("/empty", "without a target"),
        ("/latin-1", "is no text"),
        ("/glued", "is no URL"),
        ("/user", "carries a password"),
    ] {
        let failure = Bench::new().fails(&server.url(path)).await;
        assert_eq!(failure.class, FailureClass::Redirect, "{path}");
        assert!(failure.message.contains(problem), "{failure}");
        assert!(!failure.message.contains("pw"), "{failure}");
    }
}

#[tokio::test]
async fn case_082_a_redirect_that_asks_to_wait_is_waited_for() {
    let server = RawServer::start(|path, _| match path {
        "/soon" => answer("302 Found", "Retry-After: 1\r\nLocation: /e.mp3\r\n", b""),
        "/later" => answer("302 Found", "Retry-After: 900\r\nLocation: /e.mp3\r\n", b""),
        _ => answer("200 OK", "", &mp3(10)),
    })
    .await;
    let started = Instant::now();
    Bench::new().download(&server.url("/soon")).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));

    let failure = Bench::new().fails(&server.url("/later")).await;
    assert_eq!(failure.class, FailureClass::RateLimited);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(900)));
    assert_eq!(server.requests().len(), 3, "the target was not asked early");
}

#[tokio::test]
async fn case_093_a_redirect_to_a_page_is_no_audio() {
    let server = RawServer::start(|path, _| match path {
        "/e.mp3" => redirect("302 Found", "/consent?return=/e.mp3"),
        _ => answer(
            "200 OK",
            "Content-Type: audio/mpeg\r\n",
            b"<!doctype html><title>Before you continue</title>",
        ),
    })
    .await;
    let failure = Bench::new().fails(&server.url("/e.mp3")).await;
    assert_eq!(failure.class, FailureClass::NotAudio);
    assert!(failure.message.contains("an HTML page"), "{failure}");
}

#[tokio::test]
async fn case_094_redirects_inside_pages_are_not_followed() {
    let server = RawServer::start(|_, _| {
        let page = b"<html><head><meta http-equiv=\"refresh\" content=\"0; url=/real.mp3\">\
            <script>location = '/real.mp3'</script></head></html>";
        answer("200 OK", "Refresh: 0; url=/real.mp3\r\n", page)
    })
    .await;
    let failure = Bench::new().fails(&server.url("/e.mp3")).await;
    assert_eq!(failure.class, FailureClass::NotAudio);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn statuses_without_one_target_are_no_redirects() {
    for status in ["300 Multiple Choices", "305 Use Proxy", "304 Not Modified"] {
        let class = class_of(announced(status, "Location: /x\r\n", 0, b"")).await;
        assert_eq!(class, FailureClass::Protocol, "{status}");
    }
}
