//! `kill -9` at random moments, then a rerun: every episode once, whole, and nothing else.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::context::{Context, fixture_model};
use crate::pipeline::{audio_key, meta_key, serve};
use crate::speech;

const EPISODES: usize = 20;
const KILLS: usize = 10;

/// Starts the command and kills it at ten random moments.
fn kill_ten_times(context: &Context, arguments: &[&str], longest: Duration) {
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    println!("seed {seed}");
    let mut state = u64::from(seed) | 1;
    for _ in 0..KILLS {
        // A multiplicative generator is random enough for moments.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let share = (state >> 40) as f64 / f64::from(1 << 24);
        let mut child = context.start(arguments);
        std::thread::sleep(longest.mul_f64(0.05 + 0.95 * share));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_killed_fetch_loses_and_doubles_nothing() {
    // Slow enough that ten runs of at most a second do not finish.
    let show = serve(EPISODES, Some("100k"));
    let context = Context::new();
    context.catalog(&[("show", &show.web.url("feed.xml"))]);
    kill_ten_times(&context, &["fetch"], Duration::from_millis(1500));
    context.podrun(&["fetch"]).expect_code(0);

    let expected: Vec<String> = {
        let mut keys: Vec<_> = (0..EPISODES)
            .flat_map(|number| [audio_key(number), meta_key(number)])
            .collect();
        keys.sort();
        keys
    };
    let files: Vec<String> = visible(&context, "podrun-data/raw");
    assert_eq!(files, expected);
    for number in 0..EPISODES {
        let stored = fs::read(context.path("podrun-data/raw").join(audio_key(number))).unwrap();
        assert!(stored == fs::read(&speech::fifty()[number].audio).unwrap());
        let meta = context.read(&format!("podrun-data/raw/{}", meta_key(number)));
        let meta: Value = serde_json::from_str(&meta).unwrap();
        assert_eq!(meta["audio"]["sha256"], sha256(&stored), "{meta:#}");
        assert_eq!(meta["audio"]["bytes"], stored.len());
    }
    assert_nothing_left_over(&context);
}

#[test]
fn a_killed_transcribe_loses_and_doubles_nothing() {
    let show = serve(EPISODES, None);
    let context = Context::new();
    context.catalog(&[("show", &show.web.url("feed.xml"))]);
    context.podrun(&["fetch"]).expect_code(0);
    let model = fixture_model();
    let arguments = ["transcribe", "--model", &model, "--beam-size", "1"];
    kill_ten_times(&context, &arguments, Duration::from_millis(1500));
    context.podrun(&arguments).expect_code(0);

    let names = [
        "kpis/kpis.json",
        "segments/segments.json",
        "transcripts/transcript.json",
        "transcripts/transcript.vtt",
    ];
    let mut expected: Vec<String> = (0..EPISODES)
        .flat_map(|number| names.map(|name| format!("show/guid-{number}/{name}")))
        .collect();
    expected.sort();
    assert_eq!(visible(&context, "podrun-data/stage"), expected);
    for number in 0..EPISODES {
        let meta = context.read(&format!("podrun-data/raw/{}", meta_key(number)));
        let meta: Value = serde_json::from_str(&meta).unwrap();
        assert!(meta["transcript_key"].is_string(), "{meta:#}");
    }
    assert_nothing_left_over(&context);
}

#[test]
fn a_signal_hands_everything_back_and_says_how_to_go_on() {
    // At this rate no episode ends before the signal.
    let show = serve(4, Some("10k"));
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let context = Context::new();
        context.catalog(&[("show", &show.web.url("feed.xml"))]);
        let child = context.start_watched(&["fetch"]);
        wait_until_leased(&context, 4);
        let kill = ["-s", signal, &child.id().to_string()].map(str::to_owned);
        let sent = std::process::Command::new("kill").args(kill).status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("run `podrun fetch` again"), "{said}");
        let status = context.podrun(&["status", "--json"]).json();
        assert_eq!(status["stages"][0]["queue"]["ready"], 4, "{status:#}");
        assert_eq!(status["stages"][0]["episodes"]["pending"], 4, "{status:#}");
        assert!(context.files("podrun-data/raw/.tmp").is_empty());
    }
}

/// Looks until the first stage has so many episodes under way, at most half a minute.
fn wait_until_leased(context: &Context, count: u64) {
    for _ in 0..150 {
        std::thread::sleep(Duration::from_millis(200));
        let ran = context.podrun(&["status", "--json"]);
        if ran.code == Some(0) && ran.json()["stages"][0]["episodes"]["leased"] == count {
            return;
        }
    }
    panic!("{count} episodes were never under way");
}

/// The objects of a store, without its housekeeping files.
fn visible(context: &Context, store: &str) -> Vec<String> {
    let files = context.files(store);
    files
        .into_keys()
        .filter(|name| !name.starts_with('.'))
        .collect()
}

fn assert_nothing_left_over(context: &Context) {
    for store in ["raw", "stage"] {
        let temporary = context.files(&format!("podrun-data/{store}/.tmp"));
        assert!(temporary.is_empty(), "{store}: {temporary:?}");
    }
    let status = context.podrun(&["status", "--json"]).expect_code(0).json();
    for stage in status["stages"].as_array().unwrap() {
        for state in ["ready", "delayed", "leased", "dead"] {
            assert_eq!(stage["queue"][state], 0, "{status:#}");
        }
        for state in ["pending", "leased", "waiting", "failed"] {
            assert_eq!(stage["episodes"][state], 0, "{status:#}");
        }
    }
}

/// By an independent program, not by podrun's own hash.
fn sha256(bytes: &[u8]) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}
