//! Media files of every kind that podcasts come in, made by ffmpeg from our own speech, and decoded by
//! both: the same samples, the same length.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it measured, in its helpers as well"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use podrun::transcribe::decode::{DecodeError, PcmStream};

/// Our speech: 22 kHz, mono.
const SPEECH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/cli/assets/demo/1-a-strange-planet.mp3"
);

/// Seconds of it that are used.
const SECONDS: f64 = 4.0;

/// A file to make: its name, and what makes it of the speech.
struct Made {
    name: &'static str,
    arguments: &'static str,
    /// How far the length may be from ffmpeg's, in samples.
    slack: usize,
}

const fn made(name: &'static str, arguments: &'static str, slack: usize) -> Made {
    Made {
        name,
        arguments,
        slack,
    }
}

fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is installed; tools/test installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffmpeg {arguments:?}: {said}");
    output.stdout
}

fn probe(file: &Path, entries: &str) -> String {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "a:0",
            "-show_entries",
            entries,
        ])
        .args(["-of", "default=noprint_wrappers=1:nokey=1"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().next().unwrap().to_owned()
}

/// Makes a file of the first seconds of the speech.
fn make(folder: &Path, made: &Made) -> PathBuf {
    let file = folder.join(made.name);
    let seconds = SECONDS.to_string();
    let mut arguments = vec!["-t", &seconds, "-i", SPEECH];
    arguments.extend(made.arguments.split_whitespace());
    arguments.push(file.to_str().unwrap());
    ffmpeg(&arguments);
    file
}

/// Mono samples as ffmpeg decodes them, at the file's own rate.
fn reference(file: &Path) -> Vec<f32> {
    let mut arguments = Vec::new();
    if probe(file, "stream=codec_name") == "opus" {
        // Its own decoder resamples low rates in another way than the reference library.
        arguments.extend(["-c:a", "libopus"]);
    }
    arguments.extend(["-i", file.to_str().unwrap(), "-ac", "1", "-f", "f32le", "-"]);
    let bytes = ffmpeg(&arguments);
    let samples = bytes.chunks_exact(4);
    samples
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

struct Decoded {
    rate: u32,
    samples: Vec<f32>,
    damage: Option<String>,
    codec: String,
}

fn decode(file: &Path) -> Result<Decoded, DecodeError> {
    let mut stream = PcmStream::open(Box::new(File::open(file).unwrap()))?;
    let (mut rate, mut samples) = (0, Vec::new());
    while let Some(block) = stream.next_block()? {
        rate = block.rate;
        samples.extend_from_slice(block.samples);
    }
    Ok(Decoded {
        rate,
        samples,
        damage: stream.damage(),
        codec: stream.format().codec.clone(),
    })
}

/// Decibels from the expected samples to what differs from them; the scale does not count, since
/// channels are mixed by different weights.
fn agreement(found: &[f32], expected: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { std::iter::zip(a, b).map(|(a, b)| f64::from(a * b)).sum() };
    let count = found.len().min(expected.len());
    let (found, expected) = (&found[..count], &expected[..count]);
    let scale = dot(found, expected) / dot(found, found);
    let error = dot(expected, expected) - scale * dot(found, expected);
    10.0 * (dot(expected, expected) / error.max(1e-12)).log10()
}

fn check(all: &[Made]) {
    let folder = tempfile::tempdir().unwrap();
    for made in all {
        let file = make(folder.path(), made);
        let found = decode(&file).unwrap_or_else(|error| panic!("{}: {error}", made.name));
        let expected = reference(&file);
        let (name, count) = (made.name, found.samples.len());
        assert_eq!(found.damage, None, "{name}");
        assert_eq!(
            found.rate.to_string(),
            probe(&file, "stream=sample_rate"),
            "{name}"
        );
        let seconds: f64 = probe(&file, "format=duration").parse().unwrap();
        let decibels = agreement(&found.samples, &expected);
        println!(
            "{name} ({}): {count} samples, ffmpeg {}, {seconds} s; {decibels:.1} dB",
            found.codec,
            expected.len()
        );
        assert!(count.abs_diff(expected.len()) <= made.slack, "{name}");
        let length = count as f64 / f64::from(found.rate);
        // Containers count the encoder's delay in; a stream without any is guessed from its bitrate.
        let is_close = (length - seconds).abs() < 0.25 || name.ends_with(".aac");
        assert!(is_close, "{name}: {length} s of {seconds} s");
        assert!(decibels > 30.0, "{name}: {decibels} dB");
    }
}

#[test]
fn opus_of_every_container_is_what_ffmpeg_decodes() {
    check(&[
        made("stereo.opus", "-c:a libopus -ac 2 -b:a 64k", 0),
        made("mono.ogg", "-c:a libopus -ac 1 -b:a 24k", 0),
        made(
            "short-frames.opus",
            "-c:a libopus -ac 1 -frame_duration 2.5",
            0,
        ),
        made(
            "long-frames.opus",
            "-c:a libopus -ac 1 -b:a 16k -frame_duration 60",
            0,
        ),
        made(
            "narrow.opus",
            "-c:a libopus -ac 1 -ar 8000 -b:a 8k -application voip",
            0,
        ),
        // Matroska's padding of the last packet is not read by the demuxer.
        made("stereo.webm", "-c:a libopus -ac 2", 960),
        made("mono.mka", "-c:a libopus -ac 1", 960),
        made("mono.mp4", "-c:a libopus -ac 1 -f mp4", 0),
    ]);
}

#[test]
fn lossless_files_of_every_container_are_what_ffmpeg_decodes() {
    check(&[
        made("mono.wav", "", 0),
        made("24-bit.wav", "-c:a pcm_s24le -ar 96000 -ac 2", 0),
        made("float.wav", "-c:a pcm_f32le -ar 48000", 0),
        made("8-bit.wav", "-c:a pcm_u8 -ar 8000", 0),
        made("telephone.wav", "-c:a pcm_mulaw -ar 8000", 0),
        made("surround.wav", "-ac 6", 0),
        made("stereo.flac", "-ac 2 -ar 48000", 0),
        made("surround.flac", "-ac 6", 0),
        made("mono.aiff", "-ar 32000", 0),
        made("stereo.caf", "-ac 2 -c:a pcm_s16be", 0),
        made("alac.caf", "-c:a alac", 0),
        made("alac.m4a", "-c:a alac", 0),
        made("movie.mkv", "-c:a flac", 0),
        made("movie.mov", "-c:a pcm_s16le", 0),
    ]);
}

#[test]
fn lossy_files_of_every_container_are_what_ffmpeg_decodes() {
    check(&[
        made("stereo.mp3", "-ac 2 -ar 44100 -b:a 128k", 0),
        made("low.mp3", "-ac 1 -ar 8000 -b:a 16k", 0),
        made("variable.mp3", "-ac 1 -ar 24000 -q:a 5", 0),
        made(
            "untagged.mp3",
            "-ac 1 -b:a 64k -write_xing 0 -id3v2_version 0",
            1152,
        ),
        made("stereo.m4a", "-c:a aac -ac 2 -ar 44100", 0),
        made("mono.aac", "-c:a aac -ac 1 -ar 32000", 1024),
        made(
            "stream.mp4",
            "-c:a aac -ac 1 -ar 48000 -movflags frag_keyframe+empty_moov",
            2048,
        ),
        made("stereo.ogg", "-c:a libvorbis -ac 2 -ar 44100", 0),
        made("surround.ogg", "-c:a libvorbis -ac 6 -ar 48000", 0),
        made("vorbis.webm", "-c:a libvorbis -ac 1", 2048),
    ]);
}

#[test]
fn the_sound_of_a_film_is_found_beside_its_pictures() {
    let pictures = "-f lavfi -i testsrc=size=64x48:rate=5:duration=4 -map 0:a -map 1:v -shortest";
    let folder = tempfile::tempdir().unwrap();
    for (name, codecs) in [
        ("film.mp4", "-c:v mpeg4 -c:a aac -ac 2"),
        ("film.mkv", "-c:v mpeg4 -c:a libopus -ac 1"),
    ] {
        let file = folder.path().join(name);
        let arguments = format!("-t 4 -i {SPEECH} {pictures} {codecs} {}", file.display());
        ffmpeg(&arguments.split_whitespace().collect::<Vec<_>>());
        let found = decode(&file).unwrap();
        let decibels = agreement(&found.samples, &reference(&file));
        assert!(decibels > 30.0, "{name}: {decibels} dB");
    }
}

#[test]
fn joined_ogg_files_are_decoded_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let parts = [
        made("one.opus", "-c:a libopus -ac 1", 0),
        made("two.opus", "-c:a libopus -ac 2 -frame_duration 60", 0),
    ];
    let files = parts.map(|part| make(folder.path(), &part));
    let joined = files.map(|file| fs::read(file).unwrap()).concat();
    let file = folder.path().join("joined.opus");
    fs::write(&file, joined).unwrap();
    let found = decode(&file).unwrap();
    // Delay and padding of both are dropped.
    assert_eq!(
        found.samples.len() as f64,
        2.0 * SECONDS * f64::from(found.rate)
    );
    assert_eq!(found.damage, None);
}

#[test]
fn a_cut_file_of_any_kind_gives_its_part_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for (cut, arguments) in [
        ("cut.opus", "-c:a libopus -ac 1"),
        ("cut.ogg", "-c:a libvorbis -ac 1"),
        ("cut.mp3", "-ac 1 -b:a 64k"),
        ("cut.wav", ""),
        ("cut.flac", ""),
        ("cut.m4a", "-c:a aac -movflags faststart"),
        ("cut.webm", "-c:a libopus"),
    ] {
        let file = make(folder.path(), &made(cut, arguments, 0));
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() * 6 / 10]).unwrap();
        let found = decode(&file).unwrap_or_else(|error| panic!("{cut}: {error}"));
        let seconds = found.samples.len() as f64 / f64::from(found.rate);
        println!("{cut}: {seconds:.2} s, {:?}", found.damage);
        assert!((1.0..3.4).contains(&seconds), "{cut}: {seconds} s");
        assert!(found.damage.is_some(), "{cut}: not a word about the cut");
    }
}

#[test]
fn surround_that_cannot_be_decoded_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [("surround.opus", "opus"), ("surround.m4a", "aac")] {
        let encoder = if codec == "opus" { "libopus" } else { "aac" };
        let arguments = format!("-t 1 -i {SPEECH} -c:a {encoder} -ac 6");
        let file = folder.path().join(name);
        let mut arguments: Vec<_> = arguments.split_whitespace().collect();
        arguments.push(file.to_str().unwrap());
        ffmpeg(&arguments);
        let error = decode(&file).err().unwrap().to_string();
        assert!(
            error.contains(&format!("{codec} audio of 6 channels")),
            "{error}"
        );
    }
}
