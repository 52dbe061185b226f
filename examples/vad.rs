//! Measures speech detection: how much of the speech is found, alone and over noise and music, how much
//! of what is no speech is taken for it, and how fast that is on one core.
//!
//! The files are those of `tools/speech/make_speech.py`, with their truth beside them.
//!
//! ```text
//! cargo run --release --no-default-features --example vad -- episodes/*.mp3
//! ```
#![expect(clippy::print_stdout, reason = "an example reports on the terminal")]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use podrun::transcribe::vad::VadOptions;

#[path = "../tests/vad/measure.rs"]
mod measure;
#[path = "../tests/vad/sounds.rs"]
mod sounds;

/// Of each sound without speech.
const MINUTES: usize = 30;
/// Decibels of full scale.
const LEVELS: [f32; 4] = [-60.0, -40.0, -20.0, -12.0];
/// Decibels of speech over another sound.
const RATIOS: [f32; 4] = [20.0, 10.0, 5.0, 0.0];

/// An episode and what is said in it.
type Episode = (Vec<f32>, Vec<measure::Sentence>);

fn main() -> Result<(), Box<dyn Error>> {
    let mut episodes = Vec::new();
    for file in std::env::args_os().skip(1).map(PathBuf::from) {
        episodes.push((measure::read_samples(&file)?, measure::read_truth(&file)?));
    }
    if episodes.is_empty() {
        return Err("usage: vad FILE...".into());
    }
    print_found(&episodes);
    print_taken();
    print_speed(&episodes);
    Ok(())
}

fn print_found(episodes: &[Episode]) {
    println!("speech found, and seconds outside it taken along, in percent");
    let (found, beside) = listen(episodes, |speech| speech.to_vec());
    println!("{:>10}: {found:6.2} ({beside:.0})", "alone");
    for (name, make) in &sounds::KINDS[1..] {
        let columns = RATIOS.map(|ratio| {
            let (found, beside) = listen(episodes, |speech| {
                sounds::under(speech, &make(speech.len(), 3), ratio)
            });
            format!("{found:6.2} ({beside:.0}) at {ratio} dB")
        });
        println!("{name:>10}: {}", columns.join(", "));
    }
}

/// Percent of the sentences found, and of the time outside them taken for speech.
fn listen(episodes: &[Episode], change: impl Fn(&[f32]) -> Vec<f32>) -> (f64, f64) {
    let (mut spoken, mut heard, mut taken, mut length) = (0.0, 0.0, 0.0, 0.0);
    for (samples, sentences) in episodes {
        let spans = measure::spans(&change(samples), &VadOptions::default());
        let (of, found) = measure::found(&spans, sentences);
        spoken += of;
        heard += found;
        taken += measure::seconds(&spans);
        length += samples.len() as f64 / 16_000.0;
    }
    (
        100.0 * heard / spoken,
        100.0 * (taken - heard) / (length - spoken),
    )
}

fn print_taken() {
    println!("taken for speech of {MINUTES} minutes each, in percent");
    for (name, make) in sounds::KINDS {
        let sound = make(MINUTES * 60 * 16_000, 5);
        let columns = LEVELS.map(|level| {
            let sound = sounds::at_level(sound.clone(), sounds::decibels_to_level(level));
            let spans = measure::spans(&sound, &VadOptions::default());
            let percent = 100.0 * measure::seconds(&spans) / (MINUTES * 60) as f64;
            format!("{percent:5.2} at {level} dB")
        });
        println!("{name:>10}: {}", columns.join(", "));
    }
}

/// The best of several runs: other programs can only slow it down.
fn print_speed(episodes: &[Episode]) {
    let (samples, _) = &episodes[0];
    let run = |_| {
        let start = Instant::now();
        std::hint::black_box(measure::spans(samples, &VadOptions::default()));
        start.elapsed()
    };
    let best = (0..50).map(run).min().unwrap_or(Duration::MAX);
    let seconds = samples.len() as f64 / 16_000.0;
    println!("{:.0} times real time", seconds / best.as_secs_f64());
}
