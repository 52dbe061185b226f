//! What the demuxer leaves out of MP4 files: those that broke off, and the encoder's delay.
//!
//! A download that ends early has its index (`moov`) in front and less media (`mdat`) than the box
//! says. The demuxer drops a box that reaches beyond the file, and with it all the audio that is
//! there. So the file is presented as long as its media box claims; reading then meets the end
//! where it is.
//!
//! AAC encoders put 1024 to 2112 samples before the audio (up to 48 ms) and say so in the track's
//! edit list, which the demuxer does not read.

use std::io::{self, Read, SeekFrom};
use std::ops::Range;

use crate::transcribe::source::MediaBytes;

/// Boxes looked at on one level: what matters is among the first few.
const MAX_BOXES: usize = 64;

/// Where a track's first edit begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EditStart {
    media_time: u64,
    timescale: u32,
}

impl EditStart {
    /// In samples.
    pub(super) fn samples(self, rate: u32) -> u64 {
        self.media_time.saturating_mul(u64::from(rate)) / u64::from(self.timescale.max(1))
    }
}

/// The size of the file from `start` on as its boxes claim it; `size` for anything but a cut MP4.
pub(super) fn claimed_size(bytes: &mut dyn MediaBytes, start: u64, size: u64) -> io::Result<u64> {
    let boxes = top_level(bytes, start, size)?;
    let media = boxes.iter().find(|found| found.kind == *b"mdat");
    Ok(media.map_or(size, |media| size.max(media.body.end - start)))
}

/// The edit of the first audio track, where there is one.
pub(super) fn edit_start(
    bytes: &mut dyn MediaBytes,
    start: u64,
    size: u64,
) -> io::Result<Option<EditStart>> {
    let boxes = top_level(bytes, start, size)?;
    let Some(movie) = boxes.into_iter().find(|found| found.kind == *b"moov") else {
        return Ok(None);
    };
    for track in children(bytes, movie.body)? {
        if track.kind == *b"trak" && is_audio(bytes, &track)? {
            return edit_of(bytes, &track);
        }
    }
    Ok(None)
}

fn is_audio(bytes: &mut dyn MediaBytes, track: &BoxAt) -> io::Result<bool> {
    let handler = body_of(bytes, track, &[b"mdia", b"hdlr"])?;
    Ok(handler.get(8..12) == Some(b"soun"))
}

fn edit_of(bytes: &mut dyn MediaBytes, track: &BoxAt) -> io::Result<Option<EditStart>> {
    let edits = body_of(bytes, track, &[b"edts", b"elst"])?;
    let header = body_of(bytes, track, &[b"mdia", b"mdhd"])?;
    let is_long = |body: &[u8]| body.first() == Some(&1);
    let timescale = number(&header, if is_long(&header) { 20 } else { 12 }, 4);
    let (entry, width) = if is_long(&edits) { (20, 8) } else { (12, 4) };
    // A duration, then the time in the media where the edit begins; all ones mark a gap.
    let gap = u64::MAX >> (64 - 8 * width);
    let begins = edits.get(8..).unwrap_or_default().chunks_exact(entry);
    let media_time = begins
        .filter_map(|entry| number(entry, width, width))
        .find(|&time| time != gap);
    Ok(media_time
        .zip(timescale)
        .map(|(media_time, timescale)| EditStart {
            media_time,
            timescale: timescale as u32,
        }))
}

/// A big-endian number of `width` bytes.
fn number(bytes: &[u8], offset: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset + width)?;
    Some(
        bytes
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    )
}

struct BoxAt {
    kind: [u8; 4],
    body: Range<u64>,
}

/// The boxes of an MP4 file; none for another kind.
fn top_level(bytes: &mut dyn MediaBytes, start: u64, size: u64) -> io::Result<Vec<BoxAt>> {
    let end = start.saturating_add(size);
    match read_box(bytes, start, end)? {
        Some(first) if first.kind == *b"ftyp" => children(bytes, start..end),
        _ => Ok(Vec::new()),
    }
}

fn children(bytes: &mut dyn MediaBytes, parent: Range<u64>) -> io::Result<Vec<BoxAt>> {
    let mut found = Vec::new();
    let mut position = parent.start;
    while position < parent.end && found.len() < MAX_BOXES {
        let Some(child) = read_box(bytes, position, parent.end)? else {
            break;
        };
        position = child.body.end;
        found.push(child);
    }
    Ok(found)
}

/// The first bytes of the box that lies down this path; empty where there is none.
fn body_of(bytes: &mut dyn MediaBytes, root: &BoxAt, path: &[&[u8; 4]]) -> io::Result<Vec<u8>> {
    const ENOUGH: u64 = 64;
    let mut body = root.body.clone();
    for kind in path {
        let child = children(bytes, body)?
            .into_iter()
            .find(|child| child.kind == **kind);
        let Some(child) = child else {
            return Ok(Vec::new());
        };
        body = child.body;
    }
    read(bytes, body.start, (body.end - body.start).min(ENOUGH))
}

/// The box at `position`, if a whole header is there. Its end is as it claims.
fn read_box(bytes: &mut dyn MediaBytes, position: u64, end: u64) -> io::Result<Option<BoxAt>> {
    let header = read(bytes, position, 16)?;
    let Some(kind) = header.get(4..8).and_then(|kind| kind.try_into().ok()) else {
        return Ok(None);
    };
    let (head, length) = match number(&header, 0, 4) {
        // A length of 0 stands for the rest, one of 1 for a long length behind the kind.
        Some(0) => (8, Some(end.saturating_sub(position))),
        Some(1) => (16, number(&header, 8, 8)),
        length => (8, length),
    };
    let length = length.filter(|&length| length >= head);
    let close = length.and_then(|length| position.checked_add(length));
    Ok(close.map(|close| BoxAt {
        kind,
        body: position + head..close,
    }))
}

fn read(bytes: &mut dyn MediaBytes, position: u64, count: u64) -> io::Result<Vec<u8>> {
    bytes.seek(SeekFrom::Start(position))?;
    let mut found = Vec::new();
    bytes.take(count).read_to_end(&mut found)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn boxes(boxes: &[(&[u8; 4], u32)]) -> Vec<u8> {
        let mut file = vec![0; 5];
        for (kind, length) in boxes {
            let start = file.len();
            file.extend(length.to_be_bytes());
            file.extend(*kind);
            file.resize(start + *length as usize, 0);
        }
        file
    }

    fn claimed(file: &[u8]) -> u64 {
        let size = file.len() as u64 - 5;
        claimed_size(&mut Cursor::new(file.to_vec()), 5, size).unwrap()
    }

    #[test]
    fn a_cut_file_is_as_long_as_its_media_box_says() {
        let file = boxes(&[(b"ftyp", 24), (b"moov", 100), (b"mdat", 1000)]);
        assert_eq!(claimed(&file), 1124);
        assert_eq!(claimed(&file[..600]), 1124);
        assert_eq!(claimed(&file[..129]), 124, "cut before the media box");
    }

    #[test]
    fn whole_files_and_other_kinds_are_as_long_as_they_are() {
        let trailing = boxes(&[(b"ftyp", 24), (b"mdat", 1000), (b"moov", 100)]);
        assert_eq!(claimed(&trailing), 1124);
        let other = boxes(&[(b"RIFF", 24), (b"mdat", 1000)]);
        assert_eq!(claimed(&other[..100]), 95);
        assert_eq!(claimed(&[0; 9]), 4);
        assert_eq!(claimed(&[0; 7]), 2);
    }

    #[test]
    fn finds_the_edit_of_the_audio_track() {
        let file = include_bytes!("../../../tests/fixtures/audio/stereo.m4a").as_slice();
        let edit = edit_start(&mut Cursor::new(file), 0, file.len() as u64).unwrap();
        let expected = EditStart {
            media_time: 1024,
            timescale: 44_100,
        };
        assert_eq!(edit, Some(expected));
        assert_eq!(expected.samples(22_050), 512);
    }

    #[test]
    fn a_gap_is_no_edit() {
        let mut file = include_bytes!("../../../tests/fixtures/audio/stereo.m4a").to_vec();
        let edits = file.windows(4).position(|kind| kind == b"elst").unwrap();
        file[edits + 16..edits + 20].fill(0xff);
        let size = file.len() as u64;
        assert_eq!(edit_start(&mut Cursor::new(file), 0, size).unwrap(), None);
    }
}
