//! Fetch some, fetch the rest, transcribe all: nginx serves fifty spoken episodes.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::context::{Context, fixture_model};
use crate::speech;
use crate::web::{Nginx, rss};
use crate::wer::word_error_rate;

/// The fixture model's own word error rate (clean speech, sequential, beam 5), as its README has it.
const MODEL_WORD_ERROR_RATE: f64 = 0.052;

/// A served folder with `feed.xml` and the episodes.
pub(crate) struct Show {
    pub(crate) web: Nginx,
    _root: tempfile::TempDir,
}

/// Serves the first `count` spoken episodes as one feed.
pub(crate) fn serve(count: usize, limit_rate: Option<&str>) -> Show {
    let root = tempfile::tempdir().unwrap();
    let web = Nginx::serve(root.path(), limit_rate);
    let items: Vec<_> = speech::fifty()[..count]
        .iter()
        .enumerate()
        .map(|(number, spoken)| {
            let name = format!("{number}.mp3");
            let size = fs::copy(&spoken.audio, root.path().join(&name)).unwrap();
            (
                guid(number),
                format!("Episode {number}"),
                web.url(&name),
                size,
            )
        })
        .collect();
    fs::write(root.path().join("feed.xml"), rss(&items)).unwrap();
    Show { web, _root: root }
}

pub(crate) fn guid(number: usize) -> String {
    format!("guid-{number}")
}

pub(crate) fn audio_key(number: usize) -> String {
    format!("show/{}/audio/episode.mp3", guid(number))
}

pub(crate) fn meta_key(number: usize) -> String {
    format!("show/{}/meta/meta.json", guid(number))
}

#[test]
fn fifty_episodes_from_feed_to_transcript() {
    let show = serve(50, None);
    let context = Context::new();
    context.catalog(&[("show", &show.web.url("feed.xml"))]);

    let dry = context
        .podrun(&["fetch", "--limit", "20", "--dry-run", "--json"])
        .expect_code(0);
    assert_eq!(dry.json()["planned"], 20);
    assert!(
        !context.path("podrun-data").exists(),
        "a dry run made the data directory"
    );

    let first = context
        .podrun(&["fetch", "--limit", "20", "--json"])
        .expect_code(0);
    assert_eq!(first.json()["done"], 20, "{first:#?}");
    assert_eq!(metas(&context), 20);

    let second = context.podrun(&["fetch", "--json"]).expect_code(0);
    assert_eq!(second.json()["done"], 30, "{second:#?}");
    assert_eq!(metas(&context), 50);
    for number in 0..50 {
        let stored = fs::read(context.path("podrun-data/raw").join(audio_key(number))).unwrap();
        let spoken = fs::read(&speech::fifty()[number].audio).unwrap();
        assert!(stored == spoken, "episode {number} is not what was served");
    }

    let nothing = context.podrun(&["fetch", "--json"]).expect_code(0);
    assert_eq!(nothing.json()["done"], 0);
    assert_eq!(nothing.json()["present"], 50);
    let manifests = context.files("podrun-data/manifests");
    assert_eq!(
        manifests
            .keys()
            .filter(|name| name.ends_with(".csv"))
            .count(),
        3,
        "each run keeps its own manifest: {manifests:?}"
    );

    let model = fixture_model();
    let run = context
        .podrun(&["transcribe", "--model", &model, "--json"])
        .expect_code(0);
    assert_eq!(run.json()["done"], 50, "{run:#?}");
    check_transcripts(&context);

    let again = context
        .podrun(&["transcribe", "--model", &model, "--json"])
        .expect_code(0);
    assert_eq!(again.json()["done"], 0);

    let status = context.podrun(&["status", "--json"]).expect_code(0).json();
    for stage in status["stages"].as_array().unwrap() {
        assert_eq!(stage["episodes"]["done"], 50, "{status:#}");
        assert_eq!(stage["queue"]["ready"], 0, "{status:#}");
    }
}

fn metas(context: &Context) -> usize {
    let files = context.files("podrun-data/raw");
    files
        .keys()
        .filter(|name| name.ends_with("/meta/meta.json"))
        .count()
}

fn check_transcripts(context: &Context) {
    let stage = Path::new("podrun-data/stage/show");
    let (mut truth, mut heard) = (String::new(), String::new());
    for (number, spoken) in speech::fifty().iter().enumerate() {
        let folder = stage.join(guid(number));
        let read = |name: &str| context.read(folder.join(name).to_str().unwrap());
        let transcript: Value = serde_json::from_str(&read("transcripts/transcript.json")).unwrap();
        assert_eq!(transcript["language"], "en");
        truth += &format!(" {}", spoken.words);
        heard += &format!(" {}", transcript["text"].as_str().unwrap());

        let kpis: Value = serde_json::from_str(&read("kpis/kpis.json")).unwrap();
        let duration = kpis["audio_seconds"].as_f64().unwrap();
        let lines = read("segments/segments.json");
        for line in lines.lines() {
            let segment: Value = serde_json::from_str(line).unwrap();
            let (start, end) = (&segment["start_s"], &segment["end_s"]);
            let (start, end) = (start.as_f64().unwrap(), end.as_f64().unwrap());
            assert!(
                start < end && end <= duration + 0.1,
                "{line} in {duration} s"
            );
        }
        assert!(read("transcripts/transcript.vtt").starts_with("WEBVTT\n"));

        let meta = context.read(&format!("podrun-data/raw/{}", meta_key(number)));
        let meta: Value = serde_json::from_str(&meta).unwrap();
        let key = format!("show/{}/transcripts/transcript.json", guid(number));
        assert_eq!(meta["transcript_key"], key);
    }
    let rate = word_error_rate(&truth, &heard);
    println!("word error rate: {:.2} %", rate * 100.0);
    assert!(
        rate <= MODEL_WORD_ERROR_RATE + 0.02,
        "word error rate {rate}"
    );
}
