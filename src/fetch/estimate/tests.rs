use super::*;
use crate::fetch::mpeg::tests::{adts_frames, mp3_frames};

/// The estimate must not depend on how the bytes are cut after the first window.
fn estimate(container: AudioContainer, file: &[u8]) -> Estimate {
    let whole = {
        let mut probe = Probe::new(container);
        probe.push(file);
        probe.finish()
    };
    for piece in [997, 4096] {
        let mut probe = Probe::new(container);
        let (head, rest) = file.split_at(file.len().min(64 * 1024));
        probe.push(head);
        rest.chunks(piece).for_each(|piece| probe.push(piece));
        assert_eq!(probe.finish(), whole, "in pieces of {piece}");
    }
    whole
}

fn seconds(container: AudioContainer, file: &[u8]) -> Option<f64> {
    estimate(container, file).duration_s
}

const FRAME_S: f64 = 1152.0 / 44_100.0;

fn about(seconds: Option<f64>, wanted: f64) {
    let found = seconds.unwrap_or(-1.0);
    assert!((found - wanted).abs() < 0.002, "{found} is not {wanted}");
}

fn tag(size: usize, content: &[u8]) -> Vec<u8> {
    let size = [21, 14, 7, 0].map(|shift| (size >> shift) as u8 & 0x7f);
    [&b"ID3\x04\x00\x00"[..], &size, content].concat()
}

/// Frames of MPEG-1 layer III at 44.1 kHz with changing bit rates and no index of them.
fn vbr_frames(count: usize) -> Vec<u8> {
    const RATES: [(u8, usize); 3] = [(0x50, 208), (0x90, 417), (0xb0, 626)];
    let mut file = Vec::new();
    for number in 0..count {
        let (rate, length) = RATES[number * 7 % 3];
        let mut frame = vec![0x21; length];
        frame[..4].copy_from_slice(&[0xff, 0xfb, rate, 0]);
        file.extend(frame);
    }
    file
}

#[test]
fn case_110_variable_bit_rate_without_an_index_is_counted() {
    about(
        seconds(AudioContainer::Mp3, &vbr_frames(1000)),
        1000.0 * FRAME_S,
    );
    about(
        seconds(AudioContainer::Mp3, &mp3_frames(1000)),
        1000.0 * FRAME_S,
    );
    about(
        seconds(AudioContainer::Aac, &adts_frames(4000)),
        4000.0 * 1024.0 / 44_100.0,
    );
}

#[test]
fn case_113_streams_of_another_rate_add_up() {
    let mut other = vec![0x21; 432];
    other[..4].copy_from_slice(&[0xff, 0xfb, 0xa4, 0]); // 160 kbit/s at 48 kHz: 480 bytes
    other.resize(480, 0x21);
    let ad = other.repeat(500);
    let file = [mp3_frames(300), tag(100, &[7; 100]), ad, mp3_frames(300)].concat();
    let found = estimate(AudioContainer::Mp3, &file);
    about(found.duration_s, 600.0 * FRAME_S + 500.0 * 0.024);
    assert!(found.audio_share.unwrap() > 0.99);
}

#[test]
fn case_106_a_tag_of_megabytes_is_stepped_over() {
    let cover = [
        &b"APIC\x00\x4f\x00\x00\x00\x00"[..],
        &vec![0xd8; 5_000_000 - 10],
    ]
    .concat();
    let file = [tag(cover.len(), &cover), mp3_frames(500)].concat();
    about(seconds(AudioContainer::Mp3, &file), 500.0 * FRAME_S);
}

#[test]
fn case_107_a_tag_that_lies_about_its_size_is_seen_through() {
    let title = b"TIT2\x00\x00\x00\x02\x00\x00\x00x";
    let too_long = [tag(4_000_000, title), mp3_frames(500)].concat();
    about(seconds(AudioContainer::Mp3, &too_long), 500.0 * FRAME_S);
    let too_short = [tag(20, title), vec![7; 300], mp3_frames(500)].concat();
    about(seconds(AudioContainer::Mp3, &too_short), 500.0 * FRAME_S);
}

#[test]
fn zeros_behind_some_frames_are_no_audio() {
    let file = [mp3_frames(10), vec![0; 200_000]].concat();
    let found = estimate(AudioContainer::Mp3, &file);
    about(found.duration_s, 10.0 * FRAME_S);
    assert!(found.audio_share.unwrap() < 0.05);
    let nothing = estimate(AudioContainer::Mp3, &[b'<'; 100_000]);
    assert_eq!((nothing.duration_s, nothing.audio_share), (None, Some(0.0)));
}

fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32 + 8).to_be_bytes();
    [&size[..], kind, content].concat()
}

fn movie(version: u8, scale: u32, duration: u32) -> Vec<u8> {
    let mut header = vec![version, 0, 0, 0];
    match version {
        1 => {
            header.extend([0; 16]);
            header.extend(scale.to_be_bytes());
            header.extend(u64::from(duration).to_be_bytes());
        }
        _ => {
            header.extend([0; 8]);
            header.extend(scale.to_be_bytes());
            header.extend(duration.to_be_bytes());
        }
    }
    header.extend([0; 80]);
    let tracks = mp4_box(b"trak", &[1; 100_000]);
    mp4_box(b"moov", &[mp4_box(b"mvhd", &header), tracks].concat())
}

#[test]
fn case_109_a_movie_header_at_the_end_is_found() {
    let brand = mp4_box(b"ftyp", b"M4A \0\0\0\0");
    let media = mp4_box(b"mdat", &[0x11; 300_000]);
    for version in [0, 1] {
        let movie = movie(version, 1000, 61_500);
        let first = [brand.clone(), movie.clone(), media.clone()].concat();
        let last = [brand.clone(), media.clone(), movie].concat();
        about(seconds(AudioContainer::Mp4, &first), 61.5);
        about(seconds(AudioContainer::Mp4, &last), 61.5);
    }
    let short = [
        brand.clone(),
        media.clone(),
        mp4_box(b"moov", &mp4_box(b"mvhd", &[0; 100])),
    ]
    .concat();
    assert_eq!(seconds(AudioContainer::Mp4, &short), None);
    let open_end = [&brand[..], &[0, 0, 0, 0], b"mdat", &[0x11; 1000]].concat();
    assert_eq!(seconds(AudioContainer::Mp4, &open_end), None);
}

fn page(flags: u8, granule: u64, serial: u32, content: &[u8]) -> Vec<u8> {
    let mut page = [&b"OggS\0"[..], &[flags], &granule.to_le_bytes()].concat();
    page.extend(serial.to_le_bytes());
    page.extend([0; 8]);
    let lengths: Vec<u8> = content.chunks(255).map(|part| part.len() as u8).collect();
    page.push(lengths.len() as u8);
    [page, lengths, content.to_vec()].concat()
}

fn opus(serial: u32, samples: u64) -> Vec<u8> {
    let head = [&b"OpusHead\x01\x02"[..], &312_u16.to_le_bytes(), &[0; 7]].concat();
    let mut file = page(2, 0, serial, &head);
    for number in 1..=20 {
        file.extend(page(0, samples * number / 20 + 312, serial, &[9; 5000]));
        file.extend(page(0, u64::MAX, serial, &[9; 3000]));
    }
    [file, page(4, samples + 312, serial, b"x")].concat()
}

#[test]
fn ogg_tells_by_its_last_granule() {
    about(seconds(AudioContainer::Ogg, &opus(7, 48_000 * 30)), 30.0);
    let chained = [opus(7, 48_000 * 30), opus(8, 48_000 * 12)].concat();
    about(seconds(AudioContainer::Ogg, &chained), 42.0);
    let vorbis = [
        &b"\x01vorbis\0\0\0\0\x02"[..],
        &44_100_u32.to_le_bytes(),
        &[0; 14],
    ]
    .concat();
    let file = [page(2, 0, 1, &vorbis), page(4, 441_000, 1, &[3; 2000])].concat();
    about(seconds(AudioContainer::Ogg, &file), 10.0);
}

#[test]
fn headers_of_uncompressed_and_lossless_files_tell() {
    let mut info = vec![0; 34];
    let packed = (44_100_u64 << 44) | (15 << 36) | (44_100 * 90);
    info[10..18].copy_from_slice(&packed.to_be_bytes());
    let flac = [&b"fLaC\x80\x00\x00\x22"[..], &info, &[0; 1000]].concat();
    about(seconds(AudioContainer::Flac, &flac), 90.0);

    let wave = |claimed: u32, bytes: usize| {
        let format = [
            &b"fmt \x10\0\0\0\x01\0\x02\0"[..],
            &44_100_u32.to_le_bytes(),
            &176_400_u32.to_le_bytes(),
            &[4, 0, 16, 0],
        ]
        .concat();
        let data = [&b"data"[..], &claimed.to_le_bytes(), &vec![1; bytes]].concat();
        [&b"RIFF\0\0\0\0WAVE"[..], &format, &data].concat()
    };
    about(seconds(AudioContainer::Wav, &wave(176_400, 176_400)), 1.0);
    // Streamed: the claim is nonsense, the bytes are what they are.
    for claimed in [0, u32::MAX, 1 << 30] {
        about(seconds(AudioContainer::Wav, &wave(claimed, 352_800)), 2.0);
    }

    let rate = [0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0];
    let common = [
        &b"COMM\0\0\0\x12\0\x02"[..],
        &441_000_u32.to_be_bytes(),
        &[0, 16],
        &rate,
    ]
    .concat();
    let aiff = [&b"FORM\0\0\0\0AIFF"[..], &common].concat();
    about(seconds(AudioContainer::Aiff, &aiff), 10.0);
    let endless = b"FORM\0\0\0\0AIFFXXXX\xff\xff\xff\xff";
    assert_eq!(estimate(AudioContainer::Aiff, endless).duration_s, None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        start in "(ID3|OggS|RIFF|FORM|fLaC|moov|)",
        rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..3000),
    ) {
        let file = [start.as_bytes(), &rest].concat();
        for container in AudioContainer::ALL {
            estimate(container, &file);
        }
    }
}
