//! Transcribes a file in sequential mode and prints its segments as JSON, one a line, as the comparison
//! with other programs needs them.
//!
//! ```text
//! cargo run --release --example segments -- MODEL AUDIO [NAME=VALUE ...]
//! ```
//!
//! Names are `beam`, `compute_type`, `threads`, `language`, `words` (`true`), `conditioned` (`true`),
//! `hotwords`, `prefix`, `hallucination_silence` (seconds), `write_features` and `read_features`: a file
//! of raw f32, one row of all frames a mel band, that the file's features are written to, or that is
//! read in their place.
#![expect(clippy::print_stdout, reason = "an example reports on the terminal")]

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use podrun::transcribe::ct2::Ct2Engine;
use podrun::transcribe::ct2_config::{ComputeType, Ct2Config, Device};
use podrun::transcribe::engine::{MelWindow, SpeechEngine};
use podrun::transcribe::features::{FeatureStream, scan};
use podrun::transcribe::model::ModelFiles;
use podrun::transcribe::options::TranscribeOptions;
use podrun::transcribe::sequential::{Transcription, WindowSource, transcribe};
use podrun::transcribe::source::MediaBytes;
use podrun::transcribe::tokenizer::Tokenizer;
use tokio_util::sync::CancellationToken;

const USAGE: &str = "usage: segments MODEL AUDIO [NAME=VALUE ...]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or(USAGE)?;
    let audio = arguments.next().ok_or(USAGE)?;
    let mut given = HashMap::new();
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or(USAGE)?;
        given.insert(name.to_owned(), value.to_owned());
    }
    let files = ModelFiles::in_directory(Path::new(&model), "example")?;
    let tokenizer = Tokenizer::from_file(&files.tokenizer())?;
    let mut engine = Ct2Engine::load(&files, &config(&given)?)?;
    let options = options(&given)?;
    let n_mels = engine.describe().n_mels;
    let heard = match given.get("read_features") {
        Some(file) => {
            let mut source = Matrix::read(Path::new(file), n_mels)?;
            transcribe(&mut engine, &tokenizer, &mut source, &options, &mut ())?
        }
        None => {
            let mut source = features(&audio, n_mels)?;
            if let Some(file) = given.get("write_features") {
                write_features(features(&audio, n_mels)?, Path::new(file))?;
            }
            transcribe(&mut engine, &tokenizer, &mut source, &options, &mut ())?
        }
    };
    print(&heard)
}

fn config(given: &HashMap<String, String>) -> Result<Ct2Config, Box<dyn Error>> {
    let mut config = Ct2Config {
        device: Device::Cpu,
        ..Ct2Config::default()
    };
    if let Some(threads) = given.get("threads") {
        config.threads = threads.parse()?;
    }
    if let Some(compute_type) = given.get("compute_type") {
        config.compute_type = ComputeType::from_str(compute_type)?;
    }
    Ok(config)
}

fn options(given: &HashMap<String, String>) -> Result<TranscribeOptions, Box<dyn Error>> {
    let is_true = |name: &str| given.get(name).is_some_and(|value| value == "true");
    let mut options = TranscribeOptions {
        language: given.get("language").cloned(),
        hotwords: given.get("hotwords").cloned(),
        prefix: given.get("prefix").cloned(),
        word_timestamps: is_true("words"),
        condition_on_previous_text: is_true("conditioned"),
        ..TranscribeOptions::default()
    };
    if let Some(beam) = given.get("beam") {
        options.beam_size = beam.parse()?;
    }
    if let Some(seconds) = given.get("hallucination_silence") {
        options.hallucination_silence_threshold = Some(seconds.parse()?);
    }
    Ok(options)
}

fn features(audio: &str, n_mels: usize) -> Result<FeatureStream, Box<dyn Error>> {
    let open =
        || -> io::Result<Box<dyn MediaBytes>> { Ok(Box::new(BufReader::new(File::open(audio)?))) };
    let cancel = CancellationToken::new();
    let summary = scan(&open, n_mels, &cancel)?;
    Ok(FeatureStream::open(&open, summary, cancel)?)
}

fn write_features(mut source: FeatureStream, file: &Path) -> Result<(), Box<dyn Error>> {
    let mut bands: Vec<Vec<u8>> = Vec::new();
    for seek in (0..source.content_frames()).step_by(MelWindow::FRAMES) {
        let window = source.window(seek)?;
        bands.resize(window.n_mels, Vec::new());
        for (band, row) in bands
            .iter_mut()
            .zip(window.features.chunks(MelWindow::FRAMES))
        {
            band.extend(
                row[..window.frames]
                    .iter()
                    .flat_map(|value| value.to_le_bytes()),
            );
        }
    }
    fs::write(file, bands.concat())?;
    Ok(())
}

/// Features of a whole audio.
struct Matrix {
    bands: Vec<Vec<f32>>,
}

impl Matrix {
    fn read(file: &Path, n_mels: usize) -> Result<Self, Box<dyn Error>> {
        let bytes = fs::read(file)?;
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]]))
            .collect();
        let frames = values.len() / n_mels;
        let bands = values.chunks_exact(frames.max(1)).map(<[f32]>::to_vec);
        Ok(Self {
            bands: bands.collect(),
        })
    }
}

impl WindowSource for Matrix {
    type Error = io::Error;

    fn content_frames(&self) -> u64 {
        self.bands.first().map_or(0, Vec::len) as u64
    }

    fn window(&mut self, seek: u64) -> io::Result<Arc<MelWindow>> {
        let frames = (self.content_frames() - seek).min(MelWindow::FRAMES as u64) as usize;
        let seek = seek as usize;
        let mut features = vec![0.0; self.bands.len() * MelWindow::FRAMES];
        for (row, band) in features.chunks_mut(MelWindow::FRAMES).zip(&self.bands) {
            row[..frames].copy_from_slice(&band[seek..seek + frames]);
        }
        Ok(Arc::new(MelWindow {
            features,
            n_mels: self.bands.len(),
            frames,
        }))
    }
}

fn print(heard: &Transcription) -> Result<(), Box<dyn Error>> {
    println!(
        "{{\"language\": {:?}, \"probability\": {}}}",
        heard.language, heard.language_probability
    );
    for segment in &heard.segments {
        println!("{}", serde_json::to_string(segment)?);
    }
    Ok(())
}
