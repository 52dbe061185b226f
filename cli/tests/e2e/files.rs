//! `podrun transcribe FILE...`: how people try a transcriber.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::context::{Context, Ran, fixture_model};
use crate::wer::word_error_rate;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/");
const PLANET: &str = "1-a-strange-planet";
const GARDEN: &str = "2-a-small-garden";

/// A folder with the two episodes of the demo as `planet.mp3` and `garden.mp3`.
fn context() -> Context {
    let context = Context::new();
    for (name, copy) in [(PLANET, "planet.mp3"), (GARDEN, "garden.mp3")] {
        fs::copy(format!("{DEMO}{name}.mp3"), context.path(copy)).unwrap();
    }
    context
}

fn truth(name: &str) -> String {
    let text = fs::read_to_string(format!("{DEMO}{name}.truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&text).unwrap();
    let sentences = truth.as_array().unwrap().iter();
    let sentences: Vec<_> = sentences.map(|s| s["text"].as_str().unwrap()).collect();
    sentences.join(" ")
}

fn transcribe(context: &Context, arguments: &str) -> Ran {
    let model = fixture_model();
    let mut line = vec!["transcribe", "--model", &model];
    line.extend(arguments.split_whitespace());
    context.podrun(&line)
}

fn assert_nothing_was_made(context: &Context) {
    assert!(
        !context.path("podrun-data").exists(),
        "made a data directory"
    );
}

#[test]
fn a_file_goes_to_stdout_as_text_and_nothing_else_does() {
    let context = context();
    let ran = transcribe(&context, "planet.mp3").expect_code(0);
    assert!(
        word_error_rate(&truth(PLANET), &ran.stdout) < 0.1,
        "{ran:#?}"
    );
    assert!(
        ran.stdout.lines().count() > 5,
        "a sentence a line: {ran:#?}"
    );
    assert!(ran.stderr.contains("planet.mp3"), "progress: {ran:#?}");
    let quiet = transcribe(&context, "planet.mp3 --quiet").expect_code(0);
    assert_eq!((quiet.stdout, quiet.stderr), (ran.stdout, String::new()));
    assert_nothing_was_made(&context);
}

#[test]
fn stdin_is_a_file_like_any_other() {
    let context = context();
    let model = fixture_model();
    let arguments = ["transcribe", "-", "--model", &model, "-f", "json"];
    let ran = context
        .podrun_reading(&arguments, &context.path("garden.mp3"))
        .expect_code(0);
    let heard = ran.json();
    assert_eq!(heard["language"], "en");
    let rate = word_error_rate(&truth(GARDEN), heard["text"].as_str().unwrap());
    assert!(rate < 0.1, "{heard:#}");
}

#[test]
fn a_folder_gets_every_format_of_every_good_file() {
    let context = context();
    context.write("broken.mp3", [7; 4000]);
    // Older transcripts give way, other files stay.
    context.write("texts/planet.txt", "old");
    context.write("texts/notes.txt", "mine");
    let ran = transcribe(
        &context,
        "planet.mp3 broken.mp3 missing.mp3 garden.mp3 --output_dir texts \
         --output_format all --output-format segments,podcast_json --json",
    )
    .expect_code(3);
    let summary = ran.json();
    assert_eq!(
        (summary["done"].as_u64(), summary["failed"].as_u64()),
        (Some(2), Some(2))
    );
    let errors = [1, 2].map(|file| summary["files"][file]["error"].as_str().unwrap());
    assert!(errors[0].contains("begins with 07"), "{errors:?}");
    assert!(errors[1].contains("no such file"), "{errors:?}");

    let names: Vec<String> = context.files("texts").into_keys().collect();
    let expected = "garden.json garden.podcast.json garden.segments.jsonl garden.srt garden.tsv \
                    garden.txt garden.vtt notes.txt planet.json planet.podcast.json \
                    planet.segments.jsonl planet.srt planet.tsv planet.txt planet.vtt";
    assert_eq!(names.join(" "), expected);
    assert_eq!(context.read("texts/notes.txt"), "mine");
    assert_formats_agree(&context, "texts/planet");
    assert_nothing_was_made(&context);
}

/// All formats of a transcript have its segments.
fn assert_formats_agree(context: &Context, stem: &str) {
    let read = |extension: &str| context.read(&format!("{stem}.{extension}"));
    let json: Value = serde_json::from_str(&read("json")).unwrap();
    let segments = json["segments"].as_array().unwrap();
    assert!(segments.len() > 5);
    let texts: Vec<&str> = segments
        .iter()
        .map(|s| s["text"].as_str().unwrap())
        .collect();
    assert_eq!(json["text"], texts.concat());
    let lines: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
    assert_eq!(read("txt").lines().collect::<Vec<_>>(), lines);
    assert_eq!(read("tsv").lines().count(), lines.len() + 1);
    assert_eq!(read("srt").matches(" --> ").count(), lines.len());
    assert_eq!(read("vtt").matches(" --> ").count(), lines.len());
    let rows = read("segments.jsonl");
    let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!(rows.lines().count(), lines.len());
    assert_eq!(row["guid"], "planet.mp3");
    let podcast: Value = serde_json::from_str(&read("podcast.json")).unwrap();
    assert_eq!(podcast["segments"].as_array().unwrap().len(), lines.len());
}

#[test]
fn options_of_openai_whisper_are_understood_in_both_spellings() {
    let context = context();
    let underscored = transcribe(
        &context,
        "planet.mp3 --beam_size 1 --language English --task transcribe --best_of 2 \
         --temperature 0 --temperature_increment_on_fallback None --logprob_threshold -1.0 \
         --no_speech_threshold 0.6 --condition_on_previous_text False --word_timestamps False \
         --suppress_tokens -1 --threads 1 --compute_type int8 --device cpu --verbose False",
    )
    .expect_code(0);
    let dashed = transcribe(
        &context,
        "planet.mp3 --beam-size=1 --language en --best-of 2 --threads 1 --compute-type int8 \
         --device cpu",
    )
    .expect_code(0);
    assert_eq!(underscored.stdout, dashed.stdout);
    let unknown = transcribe(&context, "planet.mp3 --beam_sice 1").expect_code(2);
    assert!(
        unknown.stderr.contains("--beam-size"),
        "a similar name: {unknown:#?}"
    );
}

#[test]
fn what_would_lose_something_is_refused_before_anything_is_done() {
    let context = context();
    context.write("more/planet.wav", "audio");
    context.write("talk.txt", "perhaps audio");
    context.write("a-file", "");
    for (arguments, code, word) in [
        ("planet.mp3 more/planet.wav -o texts", 2, "same name"),
        ("talk.txt -o .", 2, "talk.txt"),
        ("planet.mp3 garden.mp3 -f srt", 2, "--output-dir"),
        ("planet.mp3 -f srt,vtt", 2, "--output-dir"),
        ("- -", 2, "stdin"),
        ("planet.mp3 -o a-file/texts", 4, "a-file"),
        ("planet.mp3 --limit 3", 2, "--limit"),
        ("-o texts", 2, "FILE"),
        (
            "planet.mp3 --batched False --vad_filter True",
            2,
            "--vad-filter",
        ),
    ] {
        let ran = transcribe(&context, arguments).expect_code(code);
        assert!(ran.stderr.contains(word), "{arguments}: {ran:#?}");
        assert_eq!(ran.stdout, "", "{arguments}");
    }
    assert!(!context.path("texts").exists());
    assert_eq!(context.read("talk.txt"), "perhaps audio");
}

#[test]
fn files_that_are_no_audio_fail_alone_and_say_why() {
    let context = context();
    context.write("page.mp3", "<!DOCTYPE html><title>Sign in</title>");
    context.write("empty.mp3", "");
    fs::create_dir(context.path("folder")).unwrap();
    let ran = transcribe(&context, "page.mp3 empty.mp3 folder --quiet").expect_code(3);
    assert_eq!(ran.stdout, "");
    for (file, reason) in [
        ("page.mp3", "web page"),
        ("empty.mp3", "empty"),
        ("folder", "is a folder"),
    ] {
        let line = ran.stderr.lines().find(|line| line.contains(file));
        assert!(
            line.is_some_and(|line| line.contains(reason)),
            "{file}: {ran:#?}"
        );
    }
}

#[test]
fn a_cut_file_is_transcribed_as_far_as_it_goes() {
    let context = context();
    let whole = fs::read(context.path("planet.mp3")).unwrap();
    context.write("cut.mp3", &whole[..whole.len() / 2]);
    let ran = transcribe(&context, "cut.mp3 --json").expect_code(0);
    let file = &ran.json()["files"][0];
    assert!(file["damage"].is_string(), "{file:#}");
    assert!(
        !file["content"].as_str().unwrap().trim().is_empty(),
        "{file:#}"
    );
}

#[test]
fn an_interruption_does_not_wait_for_a_pipe_into_which_nobody_writes() {
    let context = context();
    let model = fixture_model();
    let arguments = ["transcribe", "-", "--model", &model];
    let mut running = context.start_waiting_for_stdin(&arguments);
    // Waiting for the end would close it.
    let _open = running.stdin.take();
    // It listens for signals before it loads the model, and says when it has.
    let mut stderr = BufReader::new(running.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    assert!(said.contains("loaded"), "{said}");
    let id = running.id().to_string();
    let killed = Command::new("kill").args(["-INT", &id]).status();
    assert!(killed.unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(130));
}

#[test]
fn the_model_can_be_tested_first() {
    let context = context();
    let ran = transcribe(&context, "garden.mp3 --self-test --quiet").expect_code(0);
    assert!(
        word_error_rate(&truth(GARDEN), &ran.stdout) < 0.1,
        "{ran:#?}"
    );
}

#[test]
fn episodes_get_the_formats_that_the_settings_name() {
    let context = context();
    let audio = fs::read(context.path("planet.mp3")).unwrap();
    let server = crate::rude_server::RudeServer::start(move |_| {
        crate::rude_server::response("200 OK", "audio/mpeg", &audio)
    });
    let row = format!("show,g,t,{}\n", server.url("a.mp3"));
    context.write(
        "one.csv",
        format!("feed_slug,guid,title,enclosure_url\n{row}"),
    );
    context
        .podrun(&["fetch", "--manifest", "one.csv"])
        .expect_code(0);
    let settings = context.read("podrun.toml");
    context.write(
        "podrun.toml",
        settings + "\n[transcribe]\nformats = [\"srt\"]\n",
    );
    transcribe(&context, "--output_format podcast_json").expect_code(0);
    let stage = Path::new("podrun-data/stage/show/g/transcripts");
    for (name, begins) in [
        ("transcript.srt", "1\n00:00:"),
        ("transcript.podcast.json", "{\"version\":\"1.0.0\""),
        ("transcript.vtt", "WEBVTT\n"),
    ] {
        let text = context.read(stage.join(name).to_str().unwrap());
        assert!(text.starts_with(begins), "{name}: {text}");
    }
    let kpis = context.read("podrun-data/stage/show/g/kpis/kpis.json");
    let kpis: Value = serde_json::from_str(&kpis).unwrap();
    assert!(
        kpis["peak_rss_bytes"].as_u64().unwrap() > 1_000_000,
        "{kpis:#}"
    );
    assert!(
        kpis["stage_rtfx"]["decode"].as_f64().unwrap() > 1.0,
        "{kpis:#}"
    );
    assert!(kpis["stage_seconds"]["write"].is_number(), "{kpis:#}");
    assert_eq!(kpis["flagged_phrases"], 0);
}
