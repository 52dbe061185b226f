//! Real files of every kind against the formula they were made from.

use std::f64::consts::TAU;
use std::io::Cursor;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/audio/", $name)).as_slice()
    };
}

const MONO_MP3: &[u8] = fixture!("mono-22050.mp3");
const STEREO_MP3: &[u8] = fixture!("stereo-44100.mp3");

fn open(bytes: &[u8]) -> Result<PcmStream, DecodeError> {
    PcmStream::open(Box::new(Cursor::new(bytes.to_vec())))
}

/// Runs of one rate each, and the stream.
fn decode(bytes: &[u8]) -> (Vec<(u32, Vec<f32>)>, PcmStream) {
    let mut stream = open(bytes).unwrap();
    let mut runs: Vec<(u32, Vec<f32>)> = Vec::new();
    while let Some(block) = stream.next_block().unwrap() {
        match runs.last_mut() {
            Some((rate, samples)) if *rate == block.rate => samples.extend(block.samples),
            _ => runs.push((block.rate, block.samples.to_vec())),
        }
    }
    (runs, stream)
}

fn decode_one(bytes: &[u8]) -> (u32, Vec<f32>, PcmStream) {
    let (mut runs, stream) = decode(bytes);
    assert_eq!(runs.len(), 1);
    let (rate, samples) = runs.remove(0);
    (rate, samples, stream)
}

/// The chirp at `level`, delayed by `delay` samples.
fn chirp(rate: u32, level: f64, delay: usize, count: usize) -> Vec<f32> {
    let sample = |n: usize| {
        let t = (n as f64 - delay as f64) / f64::from(rate);
        level * (TAU * (200.0 + 400.0 * t) * t).sin()
    };
    (0..count).map(|n| sample(n) as f32).collect()
}

/// Decibels from the chirp to what differs from it, in the middle of the second.
fn quality(samples: &[f32], rate: u32, level: f64, delay: usize) -> f64 {
    let inner = delay + samples.len() / 10..samples.len() * 9 / 10;
    let expected = chirp(rate, level, delay, samples.len());
    let sum = |value: &dyn Fn(usize) -> f32| inner.clone().map(|n| value(n).powi(2)).sum::<f32>();
    let signal = sum(&|n| expected[n]);
    let noise = sum(&|n| samples[n] - expected[n]);
    10.0 * f64::from(signal / noise).log10()
}

#[test]
fn mp3_lies_where_it_was_before_encoding() {
    let (rate, samples, stream) = decode_one(MONO_MP3);
    assert_eq!((rate, samples.len()), (22_050, 22_050));
    let quality = quality(&samples, rate, 0.5, 0);
    assert!(quality > 25.0, "{quality} dB");
    let format = stream.format();
    assert_eq!([&format.container, &format.codec], ["mp3", "mp3"]);
    assert_eq!(stream.damage(), None);
}

#[test]
fn channels_are_averaged() {
    let (rate, samples, stream) = decode_one(STEREO_MP3);
    assert_eq!((rate, samples.len()), (44_100, 44_100));
    let quality = quality(&samples, rate, 0.375, 0);
    assert!(quality > 25.0, "{quality} dB");
    assert_eq!(stream.damage(), None);
}

#[test]
fn lossless_formats_are_exact() {
    for (bytes, codec) in [
        (fixture!("mono.flac"), "flac"),
        (fixture!("mono-alac.m4a"), "alac"),
        (fixture!("mono.aiff"), "pcm_s16be"),
    ] {
        let (rate, samples, stream) = decode_one(bytes);
        assert_eq!(rate, 16_000);
        assert_eq!(stream.format().codec, codec);
        assert_eq!(stream.damage(), None);
        let expected = chirp(rate, 0.5, 0, samples.len());
        let worst = samples.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f32::max) < 2.0 / 32_768.0, "{codec}");
    }
}

#[test]
fn lossy_formats_decode() {
    for (bytes, codec, rate, level, delay) in [
        (fixture!("stereo.m4a"), "aac", 44_100, 0.375, 0),
        (fixture!("stereo.ogg"), "vorbis", 44_100, 0.375, 0),
        (fixture!("mono.mkv"), "vorbis", 16_000, 0.5, 0),
        (fixture!("opus.ogg"), "opus", 48_000, 0.5, 0),
        // No tag tells the delay of MPEG layer 2.
        (fixture!("mono.mp2"), "mp2", 22_050, 0.5, 481),
    ] {
        let (found, samples, stream) = decode_one(bytes);
        assert_eq!(found, rate, "{codec}");
        assert_eq!(stream.format().codec, codec);
        assert_eq!(stream.damage(), None, "{codec}");
        let quality = quality(&samples, rate, level, delay);
        assert!(quality > 20.0, "{codec}: {quality} dB of {}", samples.len());
    }
}

#[test]
fn joined_files_are_decoded_to_the_end() {
    let joined = [STEREO_MP3, MONO_MP3, MONO_MP3, STEREO_MP3].concat();
    let (runs, stream) = decode(&joined);
    let rates: Vec<u32> = runs.iter().map(|(rate, _)| *rate).collect();
    assert_eq!(rates, [44_100, 22_050, 44_100]);
    for ((rate, samples), seconds) in runs.iter().zip([1.0, 2.0, 1.0]) {
        let found = samples.len() as f64 / f64::from(*rate);
        // Only the first file's delay and padding are known: 0.1 s is theirs.
        assert!((found - seconds).abs() < 0.15, "{found} s of {seconds} s");
    }
    assert_eq!(stream.damage(), None);
}

#[test]
fn pictures_before_the_audio_are_skipped() {
    // A picture is full of what looks like the beginning of a frame.
    let picture = [0xff, 0xfb, 0x90, 0x44].repeat(1 << 18);
    let mut file = b"ID3\x03\0\0\0\x40\0\0".to_vec();
    file.extend(picture);
    file.extend(MONO_MP3);
    let (_, samples, _) = decode_one(&file);
    assert_eq!(samples, decode_one(MONO_MP3).1);
}

#[test]
fn a_cut_file_gives_what_is_there_and_says_so() {
    // The tag's count must exceed what is left by a second to be believed.
    let mp3 = claim_frames(MONO_MP3, 200);
    let wave = wave_float(16_000, &[0; 40_000]);
    for bytes in [&mp3, &wave, fixture!("mono.flac"), fixture!("stereo.m4a")] {
        let (runs, stream) = decode(&bytes[..bytes.len() * 6 / 10]);
        let format = stream.format();
        assert!(runs[0].1.len() > 1000, "{format:?}");
        assert!(stream.damage().is_some(), "{format:?}");
    }
}

/// The MP3 with another number of frames in its Xing tag.
fn claim_frames(mp3: &[u8], frames: u32) -> Vec<u8> {
    let mut mp3 = mp3.to_vec();
    let tag = mp3.windows(4).position(|four| four == b"Info").unwrap();
    mp3[tag + 8..tag + 12].copy_from_slice(&frames.to_be_bytes());
    mp3
}

#[test]
fn damage_in_the_middle_is_skipped_and_counted() {
    let mut bytes = MONO_MP3.to_vec();
    bytes[2000..2300].fill(0x55);
    let (_, samples, stream) = decode_one(&bytes);
    assert!(samples.len() > 15_000, "{}", samples.len());
    assert!(stream.damage().is_some());
}

#[test]
fn wave_files_of_any_width_decode_and_no_number_is_silence() {
    let samples = [0.25_f32, f32::NAN, -0.5, f32::INFINITY];
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let (rate, decoded, _) = decode_one(&wave_float(8000, &data));
    assert_eq!((rate, decoded), (8000, vec![0.25, 0.0, -0.5, 0.0]));
}

/// A mono WAV file of 32-bit floats.
fn wave_float(rate: u32, data: &[u8]) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x03\0\x01\0");
    file.extend(rate.to_le_bytes());
    file.extend((rate * 4).to_le_bytes());
    file.extend(b"\x04\0\x20\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}
