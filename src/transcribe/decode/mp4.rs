//! MP4 files that broke off.
//!
//! A download that ends early has its index (`moov`) in front and less media (`mdat`) than the box
//! says. The demuxer drops a box that reaches beyond the file, and with it all the audio that is
//! there. So the file is presented as long as its media box claims; reading then meets the end
//! where it is.

use std::io::{self, Read, SeekFrom};

use crate::transcribe::source::MediaBytes;

/// Boxes looked at before giving up: the media box is among the first few.
const MAX_BOXES: usize = 16;

/// The size of the file from `start` on as its boxes claim it; `size` for anything but a cut MP4.
pub(super) fn claimed_size(bytes: &mut dyn MediaBytes, start: u64, size: u64) -> io::Result<u64> {
    let mut position = 0;
    for index in 0..MAX_BOXES {
        let Some((kind, length)) = read_box(bytes, start + position)? else {
            break;
        };
        let end = position.saturating_add(length);
        match &kind {
            b"ftyp" if index == 0 => {}
            b"mdat" if index > 0 => return Ok(end.max(size)),
            _ if index == 0 => break,
            _ => {}
        }
        if length < 8 || end > size {
            break;
        }
        position = end;
    }
    Ok(size)
}

/// Kind and length of the box at `position`; a length of 0 stands for the rest of the file.
fn read_box(bytes: &mut dyn MediaBytes, position: u64) -> io::Result<Option<([u8; 4], u64)>> {
    const HAS_LONG_LENGTH: u32 = 1;
    bytes.seek(SeekFrom::Start(position))?;
    let mut header = Vec::with_capacity(16);
    bytes.take(16).read_to_end(&mut header)?;
    let Some((length, rest)) = header.split_first_chunk() else {
        return Ok(None);
    };
    let Some((kind, long)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    let length = match (u32::from_be_bytes(*length), long.first_chunk()) {
        (HAS_LONG_LENGTH, Some(long)) => u64::from_be_bytes(*long),
        (length, _) => u64::from(length),
    };
    Ok(Some((*kind, length)))
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
}
