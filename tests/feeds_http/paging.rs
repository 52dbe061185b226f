//! Feeds in pages.

use std::ops::Range;

use podrun::feeds::Repair;

use super::bench::{Bench, assert_warned, guids, parsed};
use super::server::{FeedServer, Request, answer, ok, rss};

/// The number in `?page=N`; the first page has none.
fn number(request: &Request) -> usize {
    let page = request.path.split_once("page=");
    page.map_or(1, |(_, number)| number.parse().unwrap())
}

fn page(next: &str, guids: Range<usize>) -> String {
    let next = match next {
        "" => String::new(),
        next => format!("<atom:link rel=\"next\" href=\"{next}\"/>"),
    };
    rss(&next, guids)
}

#[tokio::test]
async fn pages_are_read_to_the_last_and_unchanged_ones_do_not_end_the_walk() {
    let server = FeedServer::start(|request| {
        let number = number(request);
        if request.header("if-none-match").is_some() {
            return answer("304 Not Modified", "", "");
        }
        let next = if number < 3 {
            format!("/feed?page={}", number + 1)
        } else {
            String::new()
        };
        let body = page(&next, number * 10..number * 10 + 10);
        answer("200 OK", &format!("ETag: \"{number}\"\r\n"), body)
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    let first = bench.crawl(&url).await;
    assert_eq!((guids(&first).len(), first.pages), (30, 3));
    assert_eq!(bench.copies().await.len(), 6);
    let second = bench.crawl(&url).await;
    assert_eq!(parsed(&second), parsed(&first));
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn case_029_a_json_feed_whose_next_url_loops_ends() {
    let server = FeedServer::start(|request| {
        let (number, host) = (number(request), request.header("host").unwrap());
        let next = if number == 1 { "/feed?page=2" } else { "/feed" };
        let body = format!(
            r#"{{"version": "https://jsonfeed.org/version/1.1", "title": "t",
                "next_url": "http://{host}{next}", "items": [{{"id": "{number}",
                "attachments": [{{"url": "https://e.com/a.mp3", "mime_type": "audio/mpeg"}}]}}]}}"#
        );
        answer("200 OK", "Content-Type: application/feed+json\r\n", body)
    })
    .await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    assert_eq!(guids(&crawled), ["1", "2"]);
    assert_warned(&crawled, &["page 2 leads back"]);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn case_030_a_next_page_that_is_the_page_itself_ends() {
    let server = FeedServer::start(|_| ok(page("/feed#again", 0..3))).await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    assert_eq!(guids(&crawled).len(), 3);
    assert_warned(&crawled, &["page 1 leads back"]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn case_030_pages_that_are_ever_new_but_bring_nothing_new_end() {
    let server = FeedServer::start(|request| {
        let number = number(request);
        ok(page(&format!("/feed?page={}", number + 1), 0..3))
    })
    .await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    assert_eq!(guids(&crawled).len(), 3);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn case_030_pages_that_are_ever_new_with_new_episodes_end_at_the_cap() {
    let server = FeedServer::start(|request| {
        let number = number(request);
        ok(page(
            &format!("/feed?page={}", number + 1),
            number..number + 1,
        ))
    })
    .await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    assert_eq!((guids(&crawled).len(), crawled.pages), (200, 200));
    assert_warned(&crawled, &["more than 200 pages"]);
    assert_eq!(server.requests().len(), 200);
}

#[tokio::test]
async fn case_031_overlapping_pages_count_each_episode_once() {
    let server = FeedServer::start(|request| {
        let number = number(request);
        let next = if number < 4 {
            format!("/feed?page={}", number + 1)
        } else {
            String::new()
        };
        ok(page(&next, number * 5..number * 5 + 10))
    })
    .await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    let expected: Vec<String> = (5..30).map(|guid| guid.to_string()).collect();
    assert_eq!(guids(&crawled), expected);
}

#[tokio::test]
async fn a_page_that_fails_keeps_what_was_read_and_its_copy_serves_the_next_time() {
    let server = FeedServer::start(|request| match (number(request), request.before) {
        (1, _) => ok(page("/feed?page=2", 0..3)),
        (2, 1) => ok(page("/feed?page=3", 3..6)),
        (3, _) => ok(page("", 6..9)),
        _ => answer("500 No", "", ""),
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    let first = bench.crawl(&url).await;
    assert_eq!(guids(&first).len(), 3);
    assert_warned(
        &first,
        &["page 2 could not be read", "answered 500", "3 episodes"],
    );
    assert_eq!(guids(&bench.crawl(&url).await).len(), 9);
    let third = bench.crawl(&url).await;
    assert_eq!(guids(&third).len(), 9);
    assert_warned(&third, &["page 2 could not be read now", "its copy"]);
}

#[tokio::test]
async fn an_episode_that_slips_to_the_next_page_is_not_lost_to_its_max_age() {
    let server = FeedServer::start(|request| {
        let age = "Cache-Control: max-age=600\r\n";
        match (number(request), request.before) {
            (1, 0) => ok(page("/feed?page=2", 10..13)),
            (1, _) => ok(page("/feed?page=2", 9..12)),
            (_, 0) => answer("200 OK", age, page("", 13..15)),
            _ => answer("200 OK", age, page("", 12..15)),
        }
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    assert_eq!(guids(&bench.crawl(&url).await).len(), 5);
    let expected = ["9", "10", "11", "12", "13", "14"];
    assert_eq!(guids(&bench.crawl(&url).await), expected);
}

#[tokio::test]
async fn copies_of_pages_that_are_gone_are_removed() {
    let server = FeedServer::start(|request| match (number(request), request.before) {
        (1, 0) => ok(page("/feed?page=2", 0..3)),
        (1, _) => ok(page("", 0..4)),
        _ => ok(page("", 3..4)),
    })
    .await;
    let (bench, url) = (Bench::new(), server.url("/feed"));
    bench.crawl(&url).await;
    assert_eq!(bench.copies().await.len(), 4);
    bench.crawl(&url).await;
    assert_eq!(bench.copies().await.len(), 2);
}

#[tokio::test]
async fn what_was_repaired_is_that_of_all_pages() {
    let server = FeedServer::start(|request| {
        let number = number(request);
        let next = if number == 1 { "/feed?page=2" } else { "" };
        ok(page(next, number..number + 1).replace("<title>t</title>", "<title>a\u{b}b</title>"))
    })
    .await;
    let crawled = Bench::new().crawl(&server.url("/feed")).await;
    assert_eq!(guids(&crawled), ["1", "2"]);
    assert_eq!(parsed(&crawled).repairs.count(Repair::ControlCharacters), 2);
}
