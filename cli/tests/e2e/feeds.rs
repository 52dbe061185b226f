//! `podrun feeds`, and what the copies of feeds mean to `podrun fetch`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::context::{Context, Ran};
use crate::rude_server::{RudeServer, response};

fn feed(guids: &[&str]) -> Vec<u8> {
    let items: String = guids
        .iter()
        .map(|guid| {
            format!(
                "<item><guid isPermaLink=\"false\">{guid}</guid><title>t {guid}</title>\
                 <pubDate>Mon, 09 Mar 2026 06:00:00 GMT</pubDate>\
                 <enclosure url=\"/{guid}.mp3\" type=\"audio/mpeg\" length=\"1\"/></item>"
            )
        })
        .collect();
    let text = format!("<rss version=\"2.0\"><channel><title>Show</title>{items}</channel></rss>");
    response("200 OK", "application/rss+xml", text.as_bytes())
}

fn json_lines(ran: &Ran) -> Vec<Value> {
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn check_says_what_each_feed_is_like_and_fails_for_one_that_is_not_usable() {
    let server = RudeServer::start(|path| match path {
        "/good.xml" => feed(&["a", "b"]),
        "/page.xml" => response("200 OK", "text/html", b"<!doctype html><title>Hi</title>"),
        _ => response("410 Gone", "text/plain", b"no"),
    });
    let context = Context::new();
    context.catalog(&[("good", &server.url("good.xml"))]);
    let ran = context.podrun(&["feeds", "check"]).expect_code(0);
    let row = ran.stdout.lines().nth(1).unwrap();
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        cells,
        ["good", "ok", "RSS", "2", "2026-03-09", "127.0.0.1"],
        "{ran:#?}"
    );
    assert!(ran.stdout.ends_with("1 of 1 feed usable\n"), "{ran:#?}");
    assert!(
        !context.path("podrun-data").exists(),
        "a check makes no data directory"
    );

    context.catalog(&[
        ("good", &server.url("good.xml")),
        ("page", &server.url("page.xml")),
        ("gone", &server.url("gone.xml")),
    ]);
    let ran = context.podrun(&["feeds", "check", "--json"]).expect_code(3);
    let lines = json_lines(&ran);
    let usable: Vec<_> = lines
        .iter()
        .map(|line| (&line["slug"], &line["usable"]))
        .collect();
    assert_eq!(
        serde_json::json!(usable),
        serde_json::json!([["good", true], ["page", false], ["gone", false]])
    );
    assert_eq!(lines[0]["hosts"], serde_json::json!(["127.0.0.1"]));
    assert!(
        lines[1]["problem"].as_str().unwrap().contains("web page"),
        "{ran:#?}"
    );
    assert!(
        lines[2]["problem"].as_str().unwrap().contains("410"),
        "{ran:#?}"
    );
    assert!(
        ran.stderr.contains("\"event\":\"crawl_started\""),
        "{ran:#?}"
    );
}

#[test]
fn check_without_a_catalog_cannot_start() {
    let ran = Context::new().podrun(&["feeds", "check"]).expect_code(4);
    assert!(ran.stderr.contains("there is no folder feeds"), "{ran:#?}");
}

const OPML: &str = r#"<?xml version="1.0"?><opml version="2.0"><body>
    <outline text="Folder">
      <outline type="rss" text="The Show & More" xmlUrl="https://e.com/show?key=s3cret"/>
      <outline type="rss" text="The Show &amp; More" xmlUrl="feed://e.com/other"/>
    </outline>
    <outline type="rss" text="Mine" xmlUrl="https://e.com/mine/"/>
    <outline type="rss" text="Twice" xmlUrl="http://e.com/other"/>
  </body></opml>"#;

#[test]
fn import_adds_what_is_new_and_leaves_the_rest_alone() {
    let context = Context::new();
    context.catalog(&[("mine", "https://e.com/mine")]);
    let before = context.read("feeds/tier1_feeds.yaml");
    context.write("list.opml", OPML);

    let dry = context
        .podrun(&["feeds", "import", "list.opml", "--dry-run"])
        .expect_code(0);
    let summary =
        "would add 2 feeds to feeds/tier1_feeds.yaml, 1 in the catalog already, 1 listed twice\n";
    assert!(dry.stdout.ends_with(summary), "{dry:#?}");
    assert_eq!(context.read("feeds/tier1_feeds.yaml"), before);

    let ran = context
        .podrun(&["feeds", "import", "list.opml", "--tier", "3", "--json"])
        .expect_code(0);
    let result = ran.json();
    assert_eq!(result["output"], "feeds/tier3_feeds.yaml");
    let slugs: Vec<_> = result["added"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["slug"])
        .collect();
    assert_eq!(slugs, ["the-show-more", "the-show-more-2"]);
    assert!(!ran.stdout.contains("s3cret"), "{ran:#?}");
    let file = context.read("feeds/tier3_feeds.yaml");
    assert!(
        file.contains("s3cret") && file.contains("https://e.com/other"),
        "{file}"
    );

    let again = context
        .podrun(&["feeds", "import", "list.opml", "--json"])
        .expect_code(0);
    assert_eq!(again.json()["known"], 4, "{again:#?}");
    assert_eq!(context.read("feeds/tier1_feeds.yaml"), before);
}

#[test]
fn case_124_import_salvages_and_says_what_it_could_not_take() {
    let context = Context::new();
    context.write(
        "list.opml",
        "\u{feff}<opml><outline text='A' xmlUrl='https://e.com/a'/>\
         <outline text='B' xmlUrl='file:///etc/passwd'/><outline text='C' xmlUrl='https://e.com/c'/><!--",
    );
    let ran = context
        .podrun(&["feeds", "import", "list.opml", "--output", "new.yaml"])
        .expect_code(3);
    for part in [
        "+ a ",
        "+ c ",
        "refused B (file:///etc/passwd)",
        "no well-formed XML",
        "added 2 feeds to new.yaml",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:#?}");
    }
    context.write("list.opml", "<html></html>");
    let ran = context
        .podrun(&["feeds", "import", "list.opml"])
        .expect_code(4);
    assert!(ran.stderr.contains("list.opml names no feed"), "{ran:#?}");
    let ran = context
        .podrun(&["feeds", "import", "missing.opml"])
        .expect_code(4);
    assert!(ran.stderr.contains("missing.opml"), "{ran:#?}");
    assert!(!context.path("feeds").exists());
}

/// Audio enough for the sniffer: a second of empty MPEG frames.
fn mp3() -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
    frame.resize(417, 0);
    frame.repeat(40)
}

#[test]
fn case_034_a_feed_that_shrinks_deletes_nothing() {
    let shrunk = Arc::new(AtomicBool::new(false));
    let server = {
        let shrunk = Arc::clone(&shrunk);
        RudeServer::start(move |path| match path {
            "/feed" if shrunk.load(Ordering::SeqCst) => feed(&["c"]),
            "/feed" => feed(&["a", "b", "c"]),
            _ => response("200 OK", "audio/mpeg", &mp3()),
        })
    };
    let context = Context::new();
    context.catalog(&[("show", &server.url("feed"))]);
    context.podrun(&["fetch"]).expect_code(0);
    let before = context.files("podrun-data/raw");
    assert_eq!(
        before
            .keys()
            .filter(|key| key.ends_with("meta.json"))
            .count(),
        3
    );
    shrunk.store(true, Ordering::SeqCst);
    let ran = context.podrun(&["fetch", "--json"]).expect_code(0);
    assert_eq!(ran.json()["present"], 1, "{ran:#?}");
    assert_eq!(context.files("podrun-data/raw"), before);
    let status = context.podrun(&["status", "--json"]).expect_code(0).json();
    assert_eq!(status["stages"][0]["episodes"]["done"], 3, "{status:#}");
}

#[test]
fn case_081_a_busy_host_leaves_the_run_its_copies() {
    let busy = Arc::new(AtomicBool::new(false));
    let server = {
        let busy = Arc::clone(&busy);
        RudeServer::start(move |path| match path {
            "/one" | "/two" if busy.load(Ordering::SeqCst) => {
                b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n".to_vec()
            }
            "/one" => feed(&["a"]),
            "/two" => feed(&["b"]),
            _ => response("200 OK", "audio/mpeg", &mp3()),
        })
    };
    let context = Context::new();
    context.catalog(&[("one", &server.url("one")), ("two", &server.url("two"))]);
    context.podrun(&["fetch", "--dry-run"]).expect_code(0);
    assert!(!context.path("podrun-data").exists());
    context.podrun(&["fetch"]).expect_code(0);
    busy.store(true, Ordering::SeqCst);
    let ran = context.podrun(&["fetch", "--json"]).expect_code(0);
    assert_eq!(ran.json()["present"], 2, "{ran:#?}");
    assert_eq!(
        ran.stderr.matches("could not be read now").count(),
        2,
        "{ran:#?}"
    );
    let check = context.podrun(&["feeds", "check"]).expect_code(3);
    assert_eq!(check.stdout.matches(" COPY ").count(), 2, "{check:#?}");
}
