//! The stages between decoder and model, each for a minute of speech: resampler, log-mel, speech
//! detection. Elements are samples at 16 kHz, so 16 million a second are a thousand times real time.

use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use podrun::transcribe::decode::PcmStream;
use podrun::transcribe::mel::LogMel;
use podrun::transcribe::resample::RateConverter;
use podrun::transcribe::speech::SpeechStream;
use podrun::transcribe::vad::SpeechDetector;

const SPEECH: &[u8] = include_bytes!("../tests/fixtures/speech/three-windows.mp3");
const SECONDS: usize = 60;
/// Samples an MP3 frame gives.
const BLOCK: usize = 1152;

/// A minute of speech at 16 kHz.
fn speech() -> Vec<f32> {
    let decoded = PcmStream::open(Box::new(Cursor::new(SPEECH))).expect("the fixture is an MP3");
    let mut stream = SpeechStream::new(decoded);
    let mut samples = Vec::new();
    while let Some(block) = stream.next_block().expect("the fixture is sound") {
        samples.extend_from_slice(block);
    }
    samples.truncate(SECONDS * 16_000);
    samples
}

fn resampler(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resample");
    group.throughput(Throughput::Elements(SECONDS as u64 * 16_000));
    for rate in [22_050, 24_000, 44_100, 48_000] {
        let samples: Vec<f32> = (0..SECONDS * rate as usize)
            .map(|n| (n % 997) as f32 / 997.0 - 0.5)
            .collect();
        group.bench_function(format!("{rate} Hz"), |bencher| {
            bencher.iter(|| {
                let mut converter = RateConverter::try_new(rate).expect("a rate of audio");
                let mut output = Vec::with_capacity(SECONDS * 16_000 + BLOCK);
                for block in samples.chunks(BLOCK) {
                    converter.push(black_box(block), &mut output);
                }
                converter.finish(&mut output);
                output
            });
        });
    }
    group.finish();
}

fn log_mel(criterion: &mut Criterion) {
    let samples = speech();
    let mut group = criterion.benchmark_group("log-mel");
    group.throughput(Throughput::Elements(samples.len() as u64));
    for n_mels in [80, 128] {
        group.bench_function(format!("{n_mels} bands"), |bencher| {
            bencher.iter(|| {
                let mut mel = LogMel::new(n_mels);
                let mut frames = Vec::with_capacity(n_mels * (samples.len() / 160 + 2));
                for block in samples.chunks(BLOCK) {
                    mel.push(black_box(block), &mut frames);
                }
                mel.finish(&mut frames);
                frames
            });
        });
    }
    group.finish();
}

fn detector(criterion: &mut Criterion) {
    let samples = speech();
    let mut group = criterion.benchmark_group("speech detection");
    group.throughput(Throughput::Elements(samples.len() as u64));
    group.bench_function("probabilities", |bencher| {
        bencher.iter(|| {
            let mut detector = SpeechDetector::new();
            let mut probabilities = Vec::new();
            for block in samples.chunks(BLOCK) {
                detector.push(black_box(block), &mut probabilities);
            }
            detector.finish(&mut probabilities);
            probabilities
        });
    });
    group.finish();
}

criterion_group!(benches, resampler, log_mel, detector);
criterion_main!(benches);
