//! Word times and the options of sequential mode, against faster-whisper with the same weights and the
//! same arithmetic.

use std::io::{self, Cursor};
use std::sync::Arc;

use podrun::transcribe::ct2::Ct2Engine;
use podrun::transcribe::ct2_config::{ComputeType, Ct2Config, Device};
use podrun::transcribe::engine::{AlignRequest, Alignment, MelWindow, SpeechEngine};
use podrun::transcribe::features::FeatureStream;
use podrun::transcribe::options::TranscribeOptions;
use podrun::transcribe::sequential::{Transcription, WindowSource, transcribe};
use podrun::transcribe::words::{TokenWord, words_of};

use crate::common::{
    EPISODES, THREE_WINDOWS, assert_words, features, files, peer, read_json, silence, stream,
    tokenizer,
};

/// In float32, where the two programs agree to the last bit that matters.
fn engine() -> Ct2Engine {
    let config = Ct2Config {
        device: Device::Cpu,
        threads: 1,
        compute_type: ComputeType::Float32,
        ..Ct2Config::default()
    };
    Ct2Engine::load(&files(), &config).unwrap()
}

/// A file's features, to be heard many times.
#[derive(Clone)]
struct Frames {
    bands: Vec<Vec<f32>>,
}

impl Frames {
    fn read(mut source: FeatureStream) -> Self {
        let mut bands = vec![Vec::new(); 80];
        for seek in (0..source.content_frames()).step_by(MelWindow::FRAMES) {
            let window = source.window(seek).unwrap();
            let rows = window.features.chunks(MelWindow::FRAMES);
            for (band, row) in std::iter::zip(&mut bands, rows) {
                band.extend(&row[..window.frames]);
            }
        }
        Self { bands }
    }
}

impl WindowSource for Frames {
    type Error = io::Error;

    fn content_frames(&self) -> u64 {
        self.bands[0].len() as u64
    }

    fn window(&mut self, seek: u64) -> io::Result<Arc<MelWindow>> {
        let rest = (self.content_frames() - seek) as usize;
        let (seek, frames) = (seek as usize, rest.min(MelWindow::FRAMES));
        let mut features = vec![0.0; 80 * MelWindow::FRAMES];
        for (row, band) in std::iter::zip(features.chunks_mut(MelWindow::FRAMES), &self.bands) {
            row[..frames].copy_from_slice(&band[seek..seek + frames]);
        }
        Ok(Arc::new(MelWindow {
            features,
            n_mels: 80,
            frames,
        }))
    }
}

fn options() -> TranscribeOptions {
    TranscribeOptions {
        beam_size: 1,
        word_timestamps: true,
        ..TranscribeOptions::default()
    }
}

fn hear(engine: &mut Ct2Engine, source: &Frames, options: &TranscribeOptions) -> Transcription {
    transcribe(engine, &tokenizer(), &mut source.clone(), options, &mut ()).unwrap()
}

/// What was changed, and to what: the names of `tools/compare_faster_whisper.py`.
fn variants() -> Vec<(&'static str, TranscribeOptions)> {
    let with = |change: fn(&mut TranscribeOptions)| {
        let mut options = options();
        change(&mut options);
        options
    };
    vec![
        ("plain", options()),
        ("beam", with(|o| o.beam_size = 5)),
        (
            "hotwords",
            with(|o| o.hotwords = Some("science Clara".to_owned())),
        ),
        (
            "prefix",
            with(|o| o.prefix = Some("Welcome to the".to_owned())),
        ),
        (
            "initial_prompt",
            with(|o| o.initial_prompt = Some("A show about planets.".to_owned())),
        ),
        ("conditioned", with(|o| o.condition_on_previous_text = true)),
        ("without_timestamps", with(|o| o.without_timestamps = true)),
        ("repetition_penalty", with(|o| o.repetition_penalty = 1.2)),
        ("no_repeat_ngram_size", with(|o| o.no_repeat_ngram_size = 2)),
        (
            "suppress_tokens",
            with(|o| o.suppress_tokens = vec![-1, 13]),
        ),
        (
            "hallucination_silence",
            with(|o| o.hallucination_silence_threshold = Some(0.1)),
        ),
    ]
}

/// Tokens, windows, words and their times are the same, whatever option is set.
#[test]
fn words_and_options_are_those_of_faster_whisper() {
    let peer = read_json("tests/fixtures/faster-whisper/variants.json");
    let mut engine = engine();
    let source = Frames::read(features(THREE_WINDOWS));
    let variants = variants();
    assert_eq!(variants.len(), peer.as_object().unwrap().len());
    for (name, options) in variants {
        let heard = hear(&mut engine, &source, &options);
        let theirs = peer[name].as_array().unwrap();
        assert_eq!(heard.segments.len(), theirs.len(), "{name}");
        for (ours, theirs) in std::iter::zip(&heard.segments, theirs) {
            assert_eq!(serde_json::json!(ours.tokens), theirs["tokens"], "{name}");
            assert_eq!(serde_json::json!(ours.seek), theirs["seek"], "{name}");
            let words = theirs["words"].as_array().unwrap();
            assert_eq!(ours.words.len(), words.len(), "{name}");
            for (ours, theirs) in std::iter::zip(&ours.words, words) {
                assert_eq!(ours.word, theirs[0].as_str().unwrap(), "{name}");
                let numbers = [ours.start, ours.end, f64::from(ours.probability)];
                for (n, ours) in (1..).zip(numbers) {
                    let difference = (ours - theirs[n].as_f64().unwrap()).abs();
                    assert!(difference < 0.011, "{name}: {theirs} {ours}");
                }
            }
        }
        assert_words(&heard.segments, 72.0);
    }
}

#[test]
fn a_prefix_begins_the_text_and_is_part_of_it() {
    let options = TranscribeOptions {
        prefix: Some(" Thank you for ".to_owned()),
        ..options()
    };
    let source = Frames::read(features(THREE_WINDOWS));
    let heard = hear(&mut engine(), &source, &options);
    assert_eq!(heard.segments[0].text, " Thank you for listening.");
    assert_eq!(heard.segments[0].words.len(), 4);
}

/// Nothing to hear, less than a frame, one encoder position at most, and a second.
#[test]
fn audio_of_almost_nothing_is_no_failure() {
    let mut engine = engine();
    for samples in [100, 160, 320, 16_000] {
        let file = silence(samples);
        let mut features = stream(move || Ok(Cursor::new(file.clone())));
        let heard = transcribe(
            &mut engine,
            &tokenizer(),
            &mut features,
            &options(),
            &mut (),
        );
        let heard = heard.unwrap();
        assert_words(&heard.segments, f64::from(samples) / 16_000.0);
        if samples < 160 {
            assert_eq!(heard.segments, []);
        }
    }
}

/// The first windows of three episodes and what is said in them, all of them cut to 20 s.
fn three_requests() -> Vec<AlignRequest> {
    let tokenizer = tokenizer();
    let request = |episode: &str| {
        let window = features(episode).window(0);
        let peer = peer(episode);
        let segments = peer["segments"].as_array().unwrap();
        let tokens = segments
            .iter()
            .flat_map(|s| s["tokens"].as_array().unwrap());
        let tokens = tokens.map(|token| token.as_u64().unwrap() as u32);
        AlignRequest {
            window: Arc::new(MelWindow {
                frames: 2000,
                ..window.unwrap()
            }),
            text: tokens
                .filter(|&token| token < tokenizer.special().end_of_text)
                .collect(),
        }
    };
    EPISODES[..3]
        .iter()
        .map(|episode| request(episode))
        .collect()
}

fn start() -> Vec<u32> {
    let tokenizer = tokenizer();
    let special = tokenizer.special();
    let english = tokenizer.language("en").unwrap();
    vec![special.start_of_transcript, english, special.transcribe]
}

fn words(request: &AlignRequest, alignment: &Alignment) -> Vec<TokenWord> {
    words_of(&tokenizer(), "en", &request.text, alignment, 20.0).unwrap()
}

/// Texts of different lengths in windows of one length: none may be padded into another's times. The
/// longest text's window is taken for a position shorter, which may move its last words.
#[test]
fn a_batch_is_aligned_like_its_windows_one_by_one() {
    let mut engine = engine();
    let requests = three_requests();
    let longest = requests.iter().map(|request| request.text.len()).max();
    let together = engine.align(&start(), &requests).unwrap();
    for (request, together) in std::iter::zip(&requests, &together) {
        let alone = engine.align(&start(), std::slice::from_ref(request));
        let alone = words(request, &alone.unwrap()[0]);
        let tolerance = if Some(request.text.len()) == longest {
            0.1
        } else {
            0.001
        };
        for (alone, together) in std::iter::zip(alone, words(request, together)) {
            assert_eq!(alone.text, together.text);
            assert!((alone.probability - together.probability).abs() < 1e-3);
            for (alone, together) in [(alone.start, together.start), (alone.end, together.end)] {
                assert!((alone - together).abs() < tolerance, "{alone} {together}");
            }
        }
    }
}

#[test]
fn tokens_the_model_does_not_know_are_refused() {
    let mut engine = engine();
    let mut request = three_requests().remove(0);
    request.text.push(999_999);
    let error = engine.align(&start(), &[request]).unwrap_err();
    assert!(error.to_string().contains("no token 999999"), "{error}");
    let options = TranscribeOptions {
        suppress_tokens: vec![-1, 999_999],
        ..options()
    };
    let mut features = features(THREE_WINDOWS);
    let outcome = transcribe(&mut engine, &tokenizer(), &mut features, &options, &mut ());
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("no token 999999"), "{error}");
}
