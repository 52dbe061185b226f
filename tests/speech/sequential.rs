//! The speech engine, and the sequential mode on it.

use std::path::Path;
use std::sync::Arc;

use podrun::domain::Segment;
use podrun::transcribe::ct2::Ct2Engine;
use podrun::transcribe::ct2_config::{ComputeType, Ct2Config, Device};
use podrun::transcribe::engine::{
    DecodeOptions, EngineError, MelWindow, SpeechEngine, WindowRequest,
};
use podrun::transcribe::model::ModelFiles;
use podrun::transcribe::options::TranscribeOptions;
use podrun::transcribe::sequential::{Transcription, transcribe};
use podrun::transcribe::thread::EngineThreads;
use serde_json::Value;

use crate::common::{EPISODES, MODEL, features, files, path, peer, read_json, tokenizer, words};

fn config() -> Ct2Config {
    Ct2Config {
        device: Device::Cpu,
        threads: 1,
        ..Ct2Config::default()
    }
}

fn engine() -> Ct2Engine {
    Ct2Engine::load(&files(), &config()).unwrap()
}

fn greedy() -> TranscribeOptions {
    TranscribeOptions {
        beam_size: 1,
        ..TranscribeOptions::default()
    }
}

fn hear(engine: &mut dyn SpeechEngine, episode: &str) -> Transcription {
    let mut features = features(episode);
    transcribe(engine, &tokenizer(), &mut features, &greedy(), &mut ()).unwrap()
}

#[test]
fn every_word_of_the_scripts_is_heard() {
    let thread = EngineThreads::start(|| Ct2Engine::load_replicas(&files(), &config())).unwrap();
    for (episode, language) in std::iter::zip(EPISODES, ["en", "en", "es", "en"]) {
        let heard = hear(&mut thread.handle(), episode);
        let truth = read_json(&format!("{episode}.truth.json"));
        let sentences = truth.as_array().unwrap().iter();
        let spoken: Vec<&str> = sentences.map(|s| s["text"].as_str().unwrap()).collect();
        let said: String = heard.segments.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(words(&said), words(&spoken.join(" ")), "{episode}");
        assert_eq!(heard.language, language);
        assert!(heard.language_probability > 0.9);
        assert_times(&heard.segments, &truth);
    }
}

/// Each sentence is one segment, and its times are the sentence's within half a second.
fn assert_times(segments: &[Segment], truth: &Value) {
    let sentences = truth.as_array().unwrap();
    assert_eq!(segments.len(), sentences.len());
    for (segment, sentence) in std::iter::zip(segments, sentences) {
        for (time, name) in [(segment.start, "start"), (segment.end, "end")] {
            let spoken = sentence[name].as_f64().unwrap();
            assert!(
                (time - spoken).abs() < 0.5,
                "{name} {time}, spoken at {spoken}"
            );
        }
    }
}

/// Texts are the same to the letter. Times may differ by two steps of a timestamp, and scores a
/// little: another resampler and other integer kernels are at work.
#[test]
fn segments_are_those_of_faster_whisper() {
    let mut engine = engine();
    for episode in EPISODES {
        let peer = peer(episode);
        let peers = peer["segments"].as_array().unwrap();
        let heard = hear(&mut engine, episode);
        assert_eq!(heard.segments.len(), peers.len(), "{episode}");
        for (ours, theirs) in std::iter::zip(&heard.segments, peers) {
            assert_eq!(ours.text, theirs["text"].as_str().unwrap());
            assert_eq!(
                ours.tokens.len(),
                theirs["tokens"].as_array().unwrap().len()
            );
            for (number, field, tolerance) in [
                (ours.start, "start", 0.041),
                (ours.end, "end", 0.041),
                (ours.avg_logprob.into(), "avg_logprob", 0.02),
                (ours.no_speech_prob.into(), "no_speech_prob", 0.02),
                (ours.compression_ratio.into(), "compression_ratio", 0.05),
            ] {
                let difference = (number - theirs[field].as_f64().unwrap()).abs();
                assert!(
                    difference < tolerance,
                    "{}: {field} {difference}",
                    ours.text
                );
            }
        }
    }
}

#[test]
fn tokens_are_those_of_faster_whisper() {
    let tokenizer = tokenizer();
    let peer = read_json("tests/fixtures/faster-whisper/tokenizer.json");
    assert_eq!(
        serde_json::json!(tokenizer.suppressed()),
        peer["suppressed"]
    );
    assert_eq!(tokenizer.timestamp_begin(), peer["timestamp_begin"]);
    assert_eq!(tokenizer.languages().len(), 99);
    assert!(tokenizer.is_multilingual());
    let texts = peer["texts"].as_array().unwrap();
    for text in texts.iter().chain([&peer["cut"]]) {
        let ids: Vec<u32> = serde_json::from_value(text["ids"].clone()).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text["decoded"]);
        if let Some(written) = text["text"].as_str() {
            assert_eq!(tokenizer.encode(written).unwrap(), ids);
        }
    }
}

/// The first windows of three episodes, in two languages.
fn three_windows() -> Vec<Arc<MelWindow>> {
    let first = |episode: &&str| {
        let mut features = features(episode);
        Arc::new(features.window(0).unwrap())
    };
    EPISODES[..3].iter().map(first).collect()
}

fn requests(windows: &[Arc<MelWindow>]) -> Vec<WindowRequest> {
    let tokenizer = tokenizer();
    let special = tokenizer.special();
    let english = tokenizer.language("en").unwrap();
    let request = |window: &Arc<MelWindow>| WindowRequest {
        window: Arc::clone(window),
        prompt: vec![special.start_of_transcript, english, special.transcribe],
    };
    windows.iter().map(request).collect()
}

#[test]
fn a_batch_answers_like_its_windows_one_by_one() {
    let mut engine = engine();
    let requests = requests(&three_windows());
    let options = DecodeOptions::default();
    let together = engine.generate(&requests, &options).unwrap();
    assert_eq!(together.len(), 3);
    for (request, expected) in std::iter::zip(&requests, &together) {
        let alone = engine
            .generate(std::slice::from_ref(request), &options)
            .unwrap();
        assert_eq!(alone[0].tokens, expected.tokens);
        assert!((alone[0].score - expected.score).abs() < 1e-3);
    }
    let again = engine.generate(&requests, &options).unwrap();
    assert_eq!(again, together);
    assert_eq!(engine.generate(&[], &options).unwrap(), []);
}

#[test]
fn languages_are_heard_window_by_window() {
    let mut engine = engine();
    let heard = engine.detect_language(&three_windows()).unwrap();
    let best: Vec<&str> = heard.iter().map(|all| all[0].language.as_str()).collect();
    assert_eq!(best, ["en", "en", "es"]);
    for scores in &heard {
        assert_eq!(scores.len(), 99);
        assert!(scores.is_sorted_by(|a, b| a.probability >= b.probability));
        let sum: f32 = scores.iter().map(|score| score.probability).sum();
        assert!((sum - 1.0).abs() < 1e-3);
    }
}

#[test]
fn beams_and_samples_hear_the_same_sentence() {
    let mut engine = engine();
    let tokenizer = tokenizer();
    let request = &requests(&three_windows()[..1]);
    for (beam_size, temperature) in [(5, 0.0), (1, 0.2)] {
        let options = DecodeOptions {
            beam_size,
            temperature,
            ..DecodeOptions::default()
        };
        let heard = engine.generate(request, &options).unwrap();
        let text = tokenizer.decode(&heard[0].tokens).unwrap();
        assert!(
            text.starts_with(" Welcome to the science podcast."),
            "{text}"
        );
        assert!(heard[0].score < 0.0 && heard[0].no_speech_prob < 0.5);
    }
}

#[test]
fn what_the_model_cannot_take_is_an_error() {
    let mut engine = engine();
    let options = DecodeOptions::default();
    let good = requests(&three_windows()[..1]).remove(0);
    let narrow = MelWindow {
        features: vec![0.0; 128 * MelWindow::FRAMES],
        n_mels: 128,
        frames: 10,
    };
    let broken = [
        (Arc::new(narrow), good.prompt.clone(), "128 mel bands"),
        (Arc::clone(&good.window), vec![999_999], "no token 999999"),
        (
            Arc::clone(&good.window),
            vec![1, 2],
            "<|startoftranscript|>",
        ),
        (Arc::clone(&good.window), vec![], "<|startoftranscript|>"),
    ];
    for (window, prompt, expected) in broken {
        let outcome = engine.generate(&[WindowRequest { window, prompt }], &options);
        let EngineError::Failed(problem) = outcome.unwrap_err() else {
            panic!("expected a failed call");
        };
        assert!(problem.contains(expected), "{problem}");
    }
    let mut longer = good.clone();
    longer.prompt.insert(0, 5);
    let outcome = engine.generate(&[good.clone(), longer], &options);
    assert!(matches!(outcome, Err(EngineError::Failed(_))));
    assert_eq!(engine.generate(&[good], &options).unwrap().len(), 1);
}

#[test]
fn the_engine_says_what_it_is() {
    let info = engine().describe();
    assert_eq!((info.model.as_str(), info.n_mels), ("fixture", 80));
    assert!(info.is_multilingual);
    assert_eq!(info.device, "cpu");
    assert_eq!(info.model_digest.unwrap().len(), 64);
}

/// A copy of the model, to break.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(path(MODEL)).unwrap() {
        let file = entry.unwrap().path();
        std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    folder
}

fn load_error(folder: &Path, config: &Ct2Config) -> String {
    let files = ModelFiles::in_directory(folder, "broken").unwrap();
    let error = Ct2Engine::load(&files, config).unwrap_err();
    let EngineError::Load { path, problem } = error else {
        panic!("expected a load error, got {error}");
    };
    assert_eq!(path, folder.display().to_string());
    problem
}

#[test]
fn a_broken_model_is_refused_with_words() {
    let folder = copy();
    let model = folder.path().join("model.bin");
    let whole = std::fs::read(&model).unwrap();
    // The last cut is within the aliases, which only CTranslate2 reads.
    for length in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&model, &whole[..length]).unwrap();
        let problem = load_error(folder.path(), &config());
        assert!(problem.contains("again"), "{length}: {problem}");
    }
    std::fs::write(&model, vec![0xa5; 100_000]).unwrap();
    assert!(load_error(folder.path(), &config()).contains("no CTranslate2 model"));
    std::fs::write(&model, &whole).unwrap();
    for (file, content) in [
        ("vocabulary.json", "[\"a\"]"),
        ("vocabulary.json", "garbage"),
        ("config.json", "{}"),
        ("config.json", "garbage"),
    ] {
        let target = folder.path().join(file);
        let before = std::fs::read(&target).unwrap();
        std::fs::write(&target, content).unwrap();
        let problem = load_error(folder.path(), &config());
        assert!(
            problem.contains(file) || problem.contains("vocabulary"),
            "{problem}"
        );
        std::fs::write(&target, before).unwrap();
    }
    let files = ModelFiles::in_directory(folder.path(), "whole again").unwrap();
    assert!(Ct2Engine::load(&files, &config()).is_ok());
}

#[test]
fn settings_the_machine_cannot_do_are_refused_with_words() {
    let float16 = Ct2Config {
        compute_type: ComputeType::Float16,
        ..config()
    };
    let problem = load_error(&path(MODEL), &float16);
    assert!(problem.contains("take `default`"), "{problem}");
    if !cfg!(feature = "cuda") {
        let cuda = Ct2Config {
            device: Device::Cuda,
            ..config()
        };
        let problem = load_error(&path(MODEL), &cuda);
        assert!(problem.contains("take the device `cpu`"), "{problem}");
    }
}
