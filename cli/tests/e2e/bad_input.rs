//! Bad input: one clear line, the right exit code, and the rest of the run goes on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::context::{Context, Ran, fixture_model};
use crate::rude_server::{RudeServer, response, with_length};
use crate::speech;
use crate::web::rss;

/// The error line of a command that cannot start: what, where, and what to do.
fn assert_clear(ran: &Ran, words: &[&str]) {
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert!(lines.len() <= 2, "one line and a hint: {ran:#?}");
    assert!(lines[0].starts_with("podrun: "), "{ran:#?}");
    for word in words {
        assert!(ran.stderr.contains(word), "no {word:?}: {ran:#?}");
    }
    assert!(ran.stdout.is_empty(), "{ran:#?}");
}

#[test]
fn no_feeds_folder() {
    let context = Context::new();
    let ran = context.podrun(&["fetch"]).expect_code(4);
    assert_clear(&ran, &["feeds", "--feeds"]);
    assert!(!context.path("podrun-data").exists());
}

#[test]
fn a_tier_file_with_a_mistake_names_file_and_line() {
    let context = Context::new();
    context.write(
        "feeds/tier1_feeds.yaml",
        "feeds:\n  - slug: show\n    uri: http://a.example/feed\n",
    );
    let ran = context.podrun(&["fetch"]).expect_code(4);
    assert_clear(&ran, &["tier1_feeds.yaml", "3", "uri"]);
}

#[test]
fn a_limit_of_nothing() {
    let context = Context::new();
    let ran = context.podrun(&["fetch", "--limit", "0"]).expect_code(2);
    assert!(ran.stderr.contains("at least 1"), "{ran:#?}");
}

#[test]
fn each_bad_feed_has_its_line_and_the_good_one_is_fetched() {
    let mp3 = fs::read(&speech::fifty()[0].audio).unwrap();
    let server = {
        let audio = mp3.clone();
        RudeServer::start(move |path| match path {
            "/good.xml" => response("200 OK", "application/rss+xml", FEED_AT_ROOT.as_bytes()),
            "/page.xml" => response("200 OK", "text/html", b"<!doctype html><title>Hi</title>"),
            "/empty.xml" => response("200 OK", "application/rss+xml", b""),
            "/a.mp3" => response("200 OK", "audio/mpeg", &audio),
            _ => response("404 Not Found", "text/plain", b"no"),
        })
    };
    let context = Context::new();
    context.catalog(&[
        ("good", &server.url("good.xml")),
        ("page", &server.url("page.xml")),
        ("empty", &server.url("empty.xml")),
        ("gone", &server.url("gone.xml")),
        ("unreachable", "http://127.0.0.1:1/feed.xml"),
    ]);
    let ran = context.podrun(&["fetch"]).expect_code(3);
    for slug in ["page", "empty", "gone", "unreachable"] {
        let line = format!("feed {slug} failed: ");
        assert_eq!(ran.stderr.matches(&line).count(), 1, "{line}: {ran:#?}");
    }
    assert!(
        context
            .path("podrun-data/raw/good/g/audio/episode.mp3")
            .is_file(),
        "{ran:#?}"
    );
}

const FEED_AT_ROOT: &str = "<rss version=\"2.0\"><channel><title>t</title><item>\
    <guid isPermaLink=\"false\">g</guid><title>t</title>\
    <enclosure url=\"/a.mp3\" type=\"audio/mpeg\" length=\"1\"/></item></channel></rss>";

#[test]
fn bad_audio_is_named_and_never_stored() {
    let mp3 = fs::read(&speech::fifty()[0].audio).unwrap();
    let half = mp3[..mp3.len() / 2].to_vec();
    let whole = mp3.len();
    let server = RudeServer::start(move |path| match path {
        "/good.mp3" => response("200 OK", "audio/mpeg", &mp3),
        "/empty.mp3" => response("200 OK", "audio/mpeg", b""),
        "/page.mp3" => response("200 OK", "audio/mpeg", b"<!DOCTYPE html><html></html>"),
        "/cut.mp3" => with_length("200 OK", "audio/mpeg", &half, whole),
        "/text.mp3" => response("200 OK", "audio/mpeg", &b"just words. ".repeat(1000)),
        _ => response("404 Not Found", "text/plain", b"no"),
    });
    let context = Context::new();
    let names = ["good", "gone", "empty", "page", "cut", "text"];
    let items: Vec<_> = names
        .map(|name| {
            let url = server.url(&format!("{name}.mp3"));
            (name.to_owned(), name.to_owned(), url, 1)
        })
        .into();
    context.write("feed.xml", rss(&items));
    context.write("manifest.csv", manifest(&items));
    let ran = context
        .podrun(&["fetch", "--manifest", "manifest.csv", "--json"])
        .expect_code(3);
    let result = ran.json();
    assert_eq!(result["done"], 1, "{result:#}");
    let class_of = |name: &str| {
        let failures = result["failures"].as_array().unwrap();
        let failure = failures
            .iter()
            .find(|f| f["episode"] == format!("show/{name}"));
        failure.unwrap_or_else(|| panic!("{name}: {result:#}"))["class"].clone()
    };
    assert_eq!(class_of("gone"), "not_found");
    assert_eq!(class_of("page"), "not_audio");
    assert_eq!(class_of("text"), "not_audio");
    assert_eq!(class_of("empty"), "empty");
    assert_eq!(class_of("cut"), "truncated");
    let files = context.files("podrun-data/raw");
    let stored: Vec<_> = files.keys().filter(|name| !name.starts_with('.')).collect();
    assert_eq!(
        stored,
        ["show/good/audio/episode.mp3", "show/good/meta/meta.json"]
    );
}

fn manifest(items: &[(String, String, String, u64)]) -> String {
    let rows: String = items
        .iter()
        .map(|(guid, title, url, _)| format!("show,{guid},{title},{url}\n"))
        .collect();
    format!("feed_slug,guid,title,enclosure_url\n{rows}")
}

#[test]
fn a_missing_or_broken_model_folder() {
    let context = Context::new();
    context.write("podrun-data/.keep", "");
    let ran = context
        .podrun(&["transcribe", "--model", "./no-such-model"])
        .expect_code(4);
    assert_clear(&ran, &["no-such-model"]);

    one_fetched_episode(&context);
    context.write("broken/model.bin", "rubbish");
    let ran = context
        .podrun(&["transcribe", "--model", "./broken", "--quiet"])
        .expect_code(4);
    assert_clear(&ran, &["broken"]);

    let model = fixture_model();
    for name in [
        "config.json",
        "vocabulary.json",
        "tokenizer.json",
        "preprocessor_config.json",
    ] {
        context.write(
            &format!("cut/{name}"),
            fs::read(format!("{model}/{name}")).unwrap(),
        );
    }
    let weights = fs::read(format!("{model}/model.bin")).unwrap();
    context.write("cut/model.bin", &weights[..weights.len() / 3]);
    let ran = context
        .podrun(&["transcribe", "--model", "./cut", "--quiet"])
        .expect_code(4);
    assert_clear(&ran, &["cut"]);

    context
        .podrun(&["transcribe", "--model", &model, "--quiet"])
        .expect_code(0);
}

/// A real episode in the raw store, fetched the ordinary way.
fn one_fetched_episode(context: &Context) {
    let mp3 = fs::read(&speech::fifty()[0].audio).unwrap();
    let server = RudeServer::start(move |_| response("200 OK", "audio/mpeg", &mp3));
    let row = format!("show,g,t,{}\n", server.url("a.mp3"));
    context.write(
        "one.csv",
        format!("feed_slug,guid,title,enclosure_url\n{row}"),
    );
    context
        .podrun(&["fetch", "--manifest", "one.csv"])
        .expect_code(0);
}

#[test]
fn audio_that_cannot_be_decoded_fails_alone() {
    let context = Context::new();
    one_fetched_episode(&context);
    let audio = context.path("podrun-data/raw/show/g/audio/episode.mp3");
    fs::write(&audio, [0; 5000]).unwrap();
    let model = fixture_model();
    let ran = context
        .podrun(&["transcribe", "--model", &model, "--json"])
        .expect_code(3);
    assert_eq!(
        ran.json()["failures"][0]["class"],
        "undecodable",
        "{ran:#?}"
    );
    assert!(
        context
            .files("podrun-data/stage")
            .keys()
            .all(|name| name.starts_with('.'))
    );
}

#[test]
fn a_damaged_database_is_named_and_nothing_is_lost() {
    let context = Context::new();
    one_fetched_episode(&context);
    context.write(
        "podrun-data/podrun.db",
        "this is no database, not even a small one",
    );
    let ran = context.podrun(&["status"]).expect_code(4);
    assert_clear(&ran, &["podrun.db", "move it away"]);

    fs::rename(
        context.path("podrun-data/podrun.db"),
        context.path("moved.db"),
    )
    .unwrap();
    for journal in ["podrun.db-wal", "podrun.db-shm"] {
        // Present only where the last process could not fold them in.
        let _ = fs::remove_file(context.path("podrun-data").join(journal));
    }
    let ran = context
        .podrun(&["fetch", "--manifest", "one.csv", "--json"])
        .expect_code(0);
    assert_eq!(ran.json()["present"], 1, "{ran:#?}");
}

#[test]
fn a_data_directory_that_cannot_be_written() {
    let context = Context::new();
    // Root may write anywhere, so a file in the way stands for a read-only disk.
    context.write("podrun-data", "a file");
    context.write(
        "m.csv",
        "feed_slug,guid,title,enclosure_url\nshow,g,t,http://127.0.0.1:1/a.mp3\n",
    );
    let ran = context
        .podrun(&["fetch", "--manifest", "m.csv", "--quiet"])
        .expect_code(4);
    assert_clear(&ran, &["podrun-data", "--data-dir"]);
}

#[test]
fn a_full_disk_stops_the_run_with_one_line() {
    // A tiny file system needs root and the mount system call; elsewhere there is nothing to show.
    let context = Context::new();
    let data = context.path("podrun-data");
    fs::create_dir_all(&data).unwrap();
    let mount = |arguments: &[&str]| {
        std::process::Command::new("mount")
            .args(arguments)
            .arg(&data)
            .status()
    };
    let mounted = mount(&["-t", "tmpfs", "-o", "size=256k", "podrun-test"]);
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: cannot mount a small file system here");
        return;
    }
    let mp3 = fs::read(&speech::fifty()[0].audio).unwrap().repeat(10);
    let server = RudeServer::start(move |_| response("200 OK", "audio/mpeg", &mp3));
    let row = format!("show,g,t,{}\n", server.url("a.mp3"));
    context.write(
        "one.csv",
        format!("feed_slug,guid,title,enclosure_url\n{row}"),
    );
    let ran = context.podrun(&["fetch", "--manifest", "one.csv", "--quiet"]);
    let files = context.files("podrun-data/raw");
    let unmounted = std::process::Command::new("umount").arg(&data).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    let ran = ran.expect_code(4);
    assert!(ran.stderr.contains("no space left"), "{ran:#?}");
    assert!(files.keys().all(|name| name.starts_with('.')), "{files:?}");
}

#[test]
fn case_122_a_proxy_of_the_environment_is_not_used() {
    let mp3 = fs::read(&speech::fifty()[0].audio).unwrap();
    let server = RudeServer::start(move |path| match path {
        "/good.xml" => response("200 OK", "application/rss+xml", FEED_AT_ROOT.as_bytes()),
        _ => response("200 OK", "audio/mpeg", &mp3),
    });
    let asked = Arc::new(AtomicUsize::new(0));
    let proxy = {
        let asked = Arc::clone(&asked);
        RudeServer::start(move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            response("502 Bad Gateway", "text/plain", b"a proxy")
        })
    };
    let context = Context::new();
    context.catalog(&[("show", &server.url("good.xml"))]);
    let proxy = proxy.url("");
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let environment = names.map(|name| (name, proxy.as_str()));
    let ran = context
        .podrun_in(&["fetch", "--json"], &environment)
        .expect_code(0);
    assert_eq!(ran.json()["done"], 1, "{ran:#?}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
