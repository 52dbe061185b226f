//! Measures the audio front end on a file: how many times faster than real time each stage is, and
//! the peak memory. With a second argument, the 16 kHz samples are written there as raw f32, to be
//! compared with other decoders.
//!
//! ```text
//! cargo run --release --no-default-features --example front_end -- episode.mp3 [samples.f32]
//! ```
#![expect(clippy::print_stdout, reason = "an example reports on the terminal")]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use podrun::transcribe::decode::PcmStream;
use podrun::transcribe::features::{FeatureStream, scan};
use podrun::transcribe::source::MediaBytes;
use podrun::transcribe::speech::SpeechStream;
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let file = arguments.next().ok_or("usage: front_end FILE [SAMPLES]")?;
    if let Some(samples) = arguments.next() {
        return write_samples(&file, &samples);
    }
    let open = || -> io::Result<Box<dyn MediaBytes>> { Ok(Box::new(File::open(&file)?)) };
    let cancel = CancellationToken::new();

    let start = Instant::now();
    let summary = scan(&open, 80, &cancel)?;
    let seconds = summary.duration_s;
    println!("{summary:#?}");
    report("first pass", seconds, start);

    let start = Instant::now();
    let mut pcm = PcmStream::open(open()?)?;
    while pcm.next_block()?.is_some() {}
    report("decode alone", seconds, start);

    let start = Instant::now();
    let mut speech = SpeechStream::new(PcmStream::open(open()?)?);
    while speech.next_block()?.is_some() {}
    report("decode, resample", seconds, start);

    let start = Instant::now();
    let mut features = FeatureStream::open(&open, summary, cancel)?;
    for seek in (0..features.content_frames()).step_by(3000) {
        features.window(seek)?;
    }
    report("second pass", seconds, start);
    println!("{}", peak_memory().unwrap_or_default());
    Ok(())
}

fn report(stage: &str, seconds: f64, start: Instant) {
    let spent = start.elapsed().as_secs_f64();
    println!(
        "{stage:>16}: {spent:7.2} s, {:6.0} times real time",
        seconds / spent
    );
}

/// The line of the kernel that holds the peak resident size; Linux only.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.to_owned())
}

fn write_samples(file: &Path, samples: &Path) -> Result<(), Box<dyn Error>> {
    let mut speech = SpeechStream::new(PcmStream::open(Box::new(File::open(file)?))?);
    let mut output = BufWriter::new(File::create(samples)?);
    while let Some(block) = speech.next_block()? {
        for sample in block {
            output.write_all(&sample.to_le_bytes())?;
        }
    }
    println!(
        "{} samples, damage: {:?}",
        speech.samples(),
        speech.damage()
    );
    Ok(output.flush()?)
}
