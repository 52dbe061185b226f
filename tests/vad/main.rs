//! What the speech detector must reach, on a small scale: `examples/vad.rs` measures it in full.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

mod measure;
mod sounds;

use std::path::Path;

use measure::{Sentence, found, read_samples, read_truth, seconds, spans};
use podrun::transcribe::vad::VadOptions;
use sounds::{at_level, decibels_to_level, under};

/// Spoken by a synthesiser, in English and Spanish.
const SPEECH: [&str; 2] = [
    "tests/fixtures/speech/three-windows.mp3",
    "cli/assets/demo/3-viajes-y-cocina.mp3",
];
/// Of each of them, and of each sound.
const SECONDS: usize = 30;

fn speech() -> Vec<(Vec<f32>, Vec<Sentence>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &&str| {
        let file = root.join(file);
        let mut samples = read_samples(&file).unwrap();
        let mut sentences = read_truth(&file).unwrap();
        samples.truncate(SECONDS * 16_000);
        sentences.retain(|sentence| sentence.end < SECONDS as f64);
        (samples, sentences)
    };
    SPEECH.iter().map(read).collect()
}

/// Percent of the spoken time that is found.
fn percent_found(change: impl Fn(&[f32]) -> Vec<f32>) -> f64 {
    let (mut total, mut heard) = (0.0, 0.0);
    for (samples, sentences) in speech() {
        let spans = spans(&change(&samples), &VadOptions::default());
        let (of, found) = found(&spans, &sentences);
        total += of;
        heard += found;
    }
    assert!(total > 30.0, "{total} s of speech");
    100.0 * heard / total
}

fn found_over(kind: &str, decibels: f32, least: f64) {
    let (_, make) = sounds::KINDS
        .iter()
        .find(|(name, _)| *name == kind)
        .unwrap();
    let percent = percent_found(|speech| under(speech, &make(speech.len(), 7), decibels));
    assert!(
        percent >= least,
        "{percent} % of speech {decibels} dB over {kind}"
    );
}

fn taken(kind: &str, decibels: f32) {
    let (_, make) = sounds::KINDS
        .iter()
        .find(|(name, _)| *name == kind)
        .unwrap();
    let sound = at_level(make(SECONDS * 16_000, 11), decibels_to_level(decibels));
    let percent = 100.0 * seconds(&spans(&sound, &VadOptions::default())) / SECONDS as f64;
    assert!(
        percent <= 5.0,
        "{percent} % of {kind} at {decibels} dB are taken for speech"
    );
}

#[test]
fn speech_is_found_at_any_level() {
    for decibels in [10.0, -40.0] {
        let gain = decibels_to_level(decibels);
        let percent = percent_found(|speech| speech.iter().map(|sample| sample * gain).collect());
        assert!(percent >= 99.5, "{percent} % at {decibels} dB");
    }
}

#[test]
fn speech_is_found_in_white_noise() {
    for (decibels, least) in [(20.0, 99.0), (10.0, 97.0), (5.0, 90.0)] {
        found_over("white", decibels, least);
    }
}

#[test]
fn speech_is_found_in_pink_noise() {
    for (decibels, least) in [(20.0, 99.0), (10.0, 97.0), (5.0, 90.0)] {
        found_over("pink", decibels, least);
    }
}

#[test]
fn speech_is_found_over_music_and_hum() {
    for kind in ["hum", "band"] {
        found_over(kind, 5.0, 97.0);
    }
}

#[test]
fn silence_and_noise_are_not_speech() {
    taken("silence", 0.0);
    for decibels in [-60.0, -30.0, -12.0] {
        taken("white", decibels);
        taken("pink", decibels);
    }
}

#[test]
fn hum_is_not_speech() {
    for decibels in [-60.0, -30.0, -12.0] {
        taken("hum", decibels);
    }
}

#[test]
fn music_is_not_speech() {
    for kind in ["chords", "arpeggio", "drums", "band", "strings"] {
        taken(kind, -20.0);
    }
}
