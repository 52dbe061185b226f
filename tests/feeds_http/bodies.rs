//! Bodies: compressed, too large, broken, and pages in place of feeds.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use podrun::domain::FailureClass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::bench::{Bench, assert_warned, class, guids, parsed};
use super::server::{FeedServer, answer, ok, rss};

const GZIP: &str = "Content-Encoding: gzip\r\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_asked_for_and_decoded_and_a_wrong_label_does_not_matter() {
    let server = FeedServer::start(|request| match request.path.as_str() {
        "/packed" => answer("200 OK", GZIP, gzip(rss("", ["a"]).as_bytes())),
        "/only-labelled" => answer("200 OK", GZIP, rss("", ["b"])),
        _ => answer("200 OK", "", gzip(rss("", ["c"]).as_bytes())),
    })
    .await;
    let urls = ["/packed", "/only-labelled", "/feed.xml.gz"].map(|path| server.url(path));
    let feeds = Bench::new().crawl_all(&urls).await;
    assert_eq!(
        feeds.iter().map(guids).collect::<Vec<_>>(),
        [["a"], ["b"], ["c"]]
    );
    for request in server.requests() {
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
    }
}

/// Sends `total` bytes of a feed that never ends, and tells how many got rid of.
async fn endless(total: u64) -> (String, tokio::task::JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/feed", listener.local_addr().unwrap());
    let sending = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<rss><channel>";
        stream.write_all(head.as_bytes()).await.unwrap();
        let filler = vec![b' '; 1024 * 1024];
        let mut sent = 0;
        while sent < total && stream.write_all(&filler).await.is_ok() {
            sent += filler.len() as u64;
        }
        sent
    });
    (url, sending)
}

#[tokio::test]
async fn case_022_a_feed_of_200_mb_stops_at_the_cap() {
    let (url, sending) = endless(200 << 20).await;
    let crawled = Bench::new().crawl(&url).await;
    assert_eq!(class(&crawled), FailureClass::TooLarge);
    // The cap, and what the sockets in between hold.
    let sent = sending.await.unwrap() >> 20;
    assert!((64..160).contains(&sent), "{sent} MiB were sent");
}

#[tokio::test]
async fn case_022_a_feed_that_announces_too_much_is_not_read() {
    let server = FeedServer::start(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n<rss>".to_vec()
    })
    .await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    assert_eq!(class(&crawled), FailureClass::TooLarge);
}

#[tokio::test]
async fn case_025_bombs_are_stopped_after_decompression_and_other_codings_refused() {
    let bomb = gzip(&vec![b' '; 80 << 20]);
    assert!(bomb.len() < 100_000);
    let server = FeedServer::start(move |request| match request.path.as_str() {
        "/gzip" => answer("200 OK", GZIP, &bomb),
        _ => answer("200 OK", "Content-Encoding: zstd\r\n", b"\x28\xb5\x2f\xfd"),
    })
    .await;
    let feeds = Bench::new()
        .crawl_all(&[server.url("/gzip"), server.url("/zstd")])
        .await;
    assert_eq!(class(&feeds[0]), FailureClass::TooLarge);
    let problem = feeds[0].outcome.as_ref().unwrap_err().to_string();
    assert!(
        problem.contains("/gzip") && problem.contains("unpacks"),
        "{problem}"
    );
    assert_eq!(class(&feeds[1]), FailureClass::Protocol);
}

#[tokio::test]
async fn case_026_a_truncated_gzip_gives_what_came_with_a_warning_and_replaces_no_copy() {
    let server = FeedServer::start(|request| {
        let whole = match request.before {
            0 => return answer("200 OK", "ETag: \"1\"\r\n", rss("", ["a", "b", "c"])),
            _ => rss("", ["d"]),
        };
        let filler: String = (0..20_000)
            .map(|n| [" ", "\n", "\t"][n * n % 7 % 3])
            .collect();
        let packed = gzip((whole + &filler).as_bytes());
        answer(
            "200 OK",
            &format!("{GZIP}ETag: \"2\"\r\n"),
            &packed[..packed.len() - 12],
        )
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    assert_eq!(guids(&bench.crawl(&url).await), ["a", "b", "c"]);
    let kept = bench.copies().await;
    let partial = bench.crawl(&url).await;
    assert_eq!(guids(&partial), ["d"]);
    assert_warned(&partial, &["compressed feed is damaged"]);
    assert_eq!(bench.copies().await, kept);
    // The half is not taken for the whole the next time either.
    bench.crawl(&url).await;
    assert_eq!(server.requests()[2].header("if-none-match"), Some("\"1\""));
}

const PAGE: &str = "<!DOCTYPE html><html><head><title>Show</title>\
    <link rel=\"alternate\" type=\"application/rss+xml\" href=\"/real?token=s3cret\"></head></html>";

#[tokio::test]
async fn case_027_a_web_page_leads_to_the_feed_it_names() {
    let server = FeedServer::start(|request| match request.path.as_str() {
        "/show" => answer("200 OK", "Content-Type: text/html\r\n", PAGE),
        _ => ok(rss("", ["a"])),
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/show"));
    let crawled = bench.crawl(&url).await;
    assert_eq!(guids(&crawled), ["a"]);
    assert_warned(
        &crawled,
        &["/show is a web page", "put http://", "/real?token=REDACTED"],
    );
    assert!(!format!("{:?}", parsed(&crawled).warnings).contains("s3cret"));
}

#[tokio::test]
async fn case_027_only_one_hop_is_taken_and_a_page_without_a_link_is_no_feed() {
    let server = FeedServer::start(|request| {
        let page = match request.path.as_str() {
            "/show" => PAGE.to_owned(),
            "/bare" => "<html></html>".to_owned(),
            _ => PAGE.replace("/real", "/further"),
        };
        answer("200 OK", "Content-Type: text/html\r\n", page)
    })
    .await;
    let feeds = Bench::new()
        .crawl_all(&[server.url("/show"), server.url("/bare")])
        .await;
    assert_eq!(
        feeds.iter().map(class).collect::<Vec<_>>(),
        [FailureClass::NotAFeed; 2]
    );
    let problem = feeds[0].outcome.as_ref().unwrap_err().to_string();
    assert!(
        problem.contains("it names") && !problem.contains("s3cret"),
        "{problem}"
    );
    assert_eq!(server.paths(), ["/show", "/real?token=s3cret", "/bare"]);
}
