//! Matroska and WebM files that broke off: as in `mp4`, the demuxer refuses a segment that reaches
//! beyond the file, so the file is presented as long as its segment claims.

use std::io::{self, Read, SeekFrom};

use crate::transcribe::source::MediaBytes;

const HEADER: u64 = 0x1a45_dfa3;
const SEGMENT: u64 = 0x1853_8067;

/// Elements looked at before the segment: the header, and padding at most.
const MAX_ELEMENTS: usize = 8;

/// The size of the file from `start` on as its segment claims it; `size` for anything but a cut
/// Matroska file.
pub(super) fn claimed_size(bytes: &mut dyn MediaBytes, start: u64, size: u64) -> io::Result<u64> {
    let mut position = 0;
    for number in 0..MAX_ELEMENTS {
        bytes.seek(SeekFrom::Start(start.saturating_add(position)))?;
        let mut head = Vec::new();
        (&mut *bytes).take(16).read_to_end(&mut head)?;
        let Some((id, length, body)) = element(&head) else {
            break;
        };
        if number == 0 && id != HEADER {
            break;
        }
        let Some(end) = length.and_then(|length| (position + body).checked_add(length)) else {
            break;
        };
        if id == SEGMENT {
            return Ok(size.max(end));
        }
        position = end;
    }
    Ok(size)
}

/// An element's id, its length (`None`: until the end of the file) and how long both are.
fn element(head: &[u8]) -> Option<(u64, Option<u64>, u64)> {
    let id_width = width(*head.first()?, 4)?;
    let id = number(head.get(..id_width)?);
    let rest = head.get(id_width..)?;
    let width = width(*rest.first()?, 8)?;
    let marked = number(rest.get(..width)?);
    let all_ones = (1_u64 << (7 * width)) - 1;
    let length = marked & all_ones;
    let length = (length != all_ones).then_some(length);
    Some((id, length, (id_width + width) as u64))
}

/// Bytes of a number that says its own width by its leading zeros.
fn width(first: u8, most: usize) -> Option<usize> {
    let width = first.leading_zeros() as usize + 1;
    (width <= most).then_some(width)
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn claimed(file: &[u8]) -> u64 {
        let file = [b"tag", file].concat();
        let size = file.len() as u64 - 3;
        claimed_size(&mut Cursor::new(file), 3, size).unwrap()
    }

    #[test]
    fn a_cut_file_is_as_long_as_its_segment_says() {
        let mut file = b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x48\x00".to_vec();
        file.resize(500, 0);
        assert_eq!(claimed(&file), 7 + 4 + 2 + 0x800);
        file.resize(5000, 0);
        assert_eq!(claimed(&file), 5000);
    }

    #[test]
    fn a_segment_without_a_length_and_other_files_are_as_long_as_they_are() {
        let live = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff......";
        assert_eq!(claimed(live), live.len() as u64);
        for other in [
            &b"RIFF....WAVE"[..],
            b"",
            b"\x1a\x45\xdf\xa3",
            b"\0\0\0\0\0\0",
        ] {
            assert_eq!(claimed(other), other.len() as u64);
        }
    }
}
