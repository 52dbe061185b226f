//! `podrun demo`: correct transcripts of the bundled speech, and every file where it says.

use std::path::Path;

use serde_json::Value;

use crate::context::Context;
use crate::wer::word_error_rate;

#[test]
fn the_demo_transcribes_its_speech() {
    let context = Context::new();
    let ran = context.podrun(&["demo", "--json"]).expect_code(0);
    let result = ran.json();
    let episodes = result["episodes"].as_array().unwrap();
    assert_eq!(episodes.len(), 3, "{result:#}");
    for episode in episodes {
        let (spoken, heard) = (&episode["spoken"], &episode["heard"]);
        let rate = word_error_rate(spoken.as_str().unwrap(), heard.as_str().unwrap());
        assert!(rate == 0.0, "spoken: {spoken}\nheard: {heard}");
        for file in ["audio", "meta", "transcript", "vtt", "segments", "kpis"] {
            let path = episode["files"][file].as_str().unwrap();
            let path = context.path(path);
            assert!(Path::new(&path).is_file(), "{} is missing", path.display());
        }
    }
}

#[test]
fn the_demo_runs_again_and_shows_the_same() {
    let context = Context::new();
    let shown = || -> Value { context.podrun(&["demo", "--json"]).expect_code(0).json() };
    assert_eq!(shown()["episodes"], shown()["episodes"]);
}

#[test]
fn people_get_words_and_paths() {
    let context = Context::new();
    let ran = context.podrun(&["demo"]).expect_code(0);
    assert!(ran.stdout.contains("transcript.json"), "{ran:#?}");
    assert!(ran.stderr.contains("feed demo: 3 episodes"), "{ran:#?}");
}
