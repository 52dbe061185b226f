//! Measures the audio front end on a file: how many times faster than real time each stage is on one
//! core, what all of them come to in the one pass of batched transcription, and the peak memory. With
//! a second argument, the 16 kHz samples are written there as raw f32, to be compared with other
//! decoders.
//!
//! ```text
//! cargo run --release --no-default-features --example front_end -- episode.mp3 [samples.f32]
//! ```
#![expect(clippy::print_stdout, reason = "an example reports on the terminal")]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use podrun::transcribe::decode::PcmStream;
use podrun::transcribe::features::{FeatureStream, scan};
use podrun::transcribe::mel::{LogMel, normalise};
use podrun::transcribe::source::MediaBytes;
use podrun::transcribe::speech::SpeechStream;
use podrun::transcribe::vad::{SpeechDetector, SpeechSpan, SpeechSpans, VadOptions};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let file = arguments.next().ok_or("usage: front_end FILE [SAMPLES]")?;
    if let Some(samples) = arguments.next() {
        return write_samples(&file, &samples);
    }
    let open = || -> io::Result<Box<dyn MediaBytes>> { Ok(Box::new(File::open(&file)?)) };
    let cancel = CancellationToken::new();

    let start = spent();
    let summary = scan(&open, 80, &cancel)?;
    let seconds = summary.duration_s;
    println!("{summary:#?}");
    report("first pass", seconds, start);

    let start = spent();
    let mut pcm = PcmStream::open(open()?)?;
    while pcm.next_block()?.is_some() {}
    report("decode alone", seconds, start);

    let start = spent();
    let mut speech = SpeechStream::new(PcmStream::open(open()?)?);
    while speech.next_block()?.is_some() {}
    report("decode, resample", seconds, start);

    let start = spent();
    let (speech, windows) = one_pass(PcmStream::open(open()?)?)?;
    report("one pass", seconds, start);
    let spoken = speech / seconds * 100.0;
    println!("{spoken:.0} % of it speech, in {windows} windows");

    let start = spent();
    let mut features = FeatureStream::open(&open, summary, cancel)?;
    for seek in (0..features.content_frames()).step_by(3000) {
        features.window(seek)?;
    }
    report("second pass", seconds, start);
    println!("{}", peak_memory().unwrap_or_default());
    Ok(())
}

/// What batched transcription needs of the file: decode, resample, find speech, and the features of
/// the windows that speech fills, each normalised by its own maximum. Gives the seconds of speech and
/// the number of windows.
fn one_pass(pcm: PcmStream) -> Result<(f64, usize), Box<dyn Error>> {
    const WINDOW: usize = 30 * 16_000;
    let mut speech = SpeechStream::new(pcm);
    let mut detector = SpeechDetector::new();
    let mut spans = SpeechSpans::new(&VadOptions::default());
    let mut probabilities = Vec::new();
    // The samples from `first` on: what no span has been decided about, and the span itself.
    let (mut held, mut first) = (Vec::new(), 0);
    let (mut window, mut windows, mut spoken) = (Vec::with_capacity(WINDOW), 0, 0.0);
    let mut take = |span: SpeechSpan, held: &mut Vec<f32>, first: &mut u64| {
        let [start, end] = [span.start, span.end].map(|at| (at - *first) as usize);
        if window.len() + end - start > WINDOW {
            std::hint::black_box(features(&window));
            windows += 1;
            window.clear();
        }
        window.extend_from_slice(&held[start..end]);
        spoken += (end - start) as f64 / 16_000.0;
        held.drain(..end);
        *first = span.end;
    };
    while let Some(block) = speech.next_block()? {
        held.extend_from_slice(block);
        detector.push(block, &mut probabilities);
        for probability in probabilities.drain(..) {
            if let Some(span) = spans.push(probability) {
                take(span, &mut held, &mut first);
            }
        }
    }
    detector.finish(&mut probabilities);
    let last: Vec<_> = probabilities
        .into_iter()
        .filter_map(|p| spans.push(p))
        .collect();
    for span in last.into_iter().chain(spans.finish(speech.samples())) {
        take(span, &mut held, &mut first);
    }
    std::hint::black_box(features(&window));
    Ok((spoken, windows + 1))
}

/// Log-mel features of a window, normalised.
fn features(window: &[f32]) -> Vec<f32> {
    let mut mel = LogMel::new(80);
    let mut frames = Vec::with_capacity(80 * 3001);
    mel.push(window, &mut frames);
    mel.finish(&mut frames);
    let max = frames.iter().copied().fold(f32::MIN, f32::max);
    for value in &mut frames {
        *value = normalise(*value, max);
    }
    frames
}

fn report(stage: &str, seconds: f64, start: Duration) {
    let spent = (spent() - start).as_secs_f64();
    println!(
        "{stage:>16}: {spent:7.3} s, {:6.0} times real time",
        seconds / spent
    );
}

/// Processor time of this process, which has one thread: other programs do not show in it as they do
/// in the time of day. That is taken where the system does not tell, on other systems than Linux.
fn spent() -> Duration {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let of_process = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = of_process.and_then(|line| line.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| BEGUN.elapsed(), Duration::from_nanos)
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
