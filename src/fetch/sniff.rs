//! What a file is, by its first bytes: never by its name, its `Content-Type` or the feed's word.
//!
//! Expired links answer with pages, players with playlists, and all of them with status 200 and
//! `audio/mpeg`. Nothing is stored before this module recognised it.

use super::mpeg::{FrameHeader, Frames, frames};
use crate::domain::AudioContainer;

/// As much of the start as is looked at.
pub const WINDOW: usize = 64 * 1024;

/// It is no audio; what it looks like instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it looks like {looks_like}")]
pub struct NotAudio {
    /// With its article, so that it completes "it looks like".
    pub looks_like: &'static str,
}

/// What [`NotAudio::looks_like`] says of a playlist for HTTP Live Streaming.
pub const HLS: &str = "an HLS playlist";

/// Names the container that `head` begins: the file's first [`WINDOW`] bytes, or all of a shorter
/// file.
///
/// An ID3v2 tag that ends inside the window must be followed by frames; where it is not, its size
/// lies, and the frames are searched in the whole window. A tag that is longer than the window (a
/// cover image of megabytes) is taken for the MP3 it belongs to, provided that its own first frame
/// is one: the decoder sees the rest, and holding megabytes back to be sure would cost every worker
/// that much memory.
pub fn sniff(head: &[u8]) -> Result<AudioContainer, NotAudio> {
    let head = &head[..head.len().min(WINDOW)];
    if head.starts_with(b"ID3") {
        return behind_id3(head);
    }
    if let Some(container) = by_magic(head) {
        return Ok(container);
    }
    if let Some(looks_like) = other_by_magic(head).or_else(|| text(head)) {
        return Err(NotAudio { looks_like });
    }
    bare_frames(head).ok_or(NotAudio {
        looks_like: if head.iter().all(|byte| *byte == 0) {
            "nothing but zero bytes"
        } else {
            "no format that is known here"
        },
    })
}

/// Containers with a signature.
fn by_magic(head: &[u8]) -> Option<AudioContainer> {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    let container = match head {
        _ if at(0, b"OggS\0") => AudioContainer::Ogg,
        _ if at(0, b"fLaC") => AudioContainer::Flac,
        _ if (at(0, b"RIFF") || at(0, b"RF64")) && at(8, b"WAVE") => AudioContainer::Wav,
        _ if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) => AudioContainer::Aiff,
        _ if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) => AudioContainer::Matroska,
        _ if at(4, b"ftyp") && !is_image_brand(head) => AudioContainer::Mp4,
        // QuickTime files from before `ftyp`.
        _ if at(4, b"moov") || at(4, b"mdat") || at(4, b"wide") => AudioContainer::Mp4,
        _ => return None,
    };
    Some(container)
}

/// Still images share the container of `.m4a`.
fn is_image_brand(head: &[u8]) -> bool {
    const IMAGES: [&[u8; 4]; 6] = [b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"];
    IMAGES
        .iter()
        .any(|brand| head.get(8..12) == Some(&brand[..]))
}

/// Formats that are no audio and have a signature.
fn other_by_magic(head: &[u8]) -> Option<&'static str> {
    const OTHERS: [(&[u8], &str); 14] = [
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"PK\x05\x06", "a ZIP archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"Rar!", "a RAR archive"),
        (b"7z\xbc\xaf", "a 7-Zip archive"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"\x89PNG", "a PNG image"),
        (b"GIF8", "a GIF image"),
        (b"\x7fELF", "a program"),
        (b"MZ", "a program"),
        (b"d8:announce", "a BitTorrent file"),
        (b"FLV\x01", "a Flash video"),
        (b"\0\0\x01\xba", "an MPEG program stream"),
    ];
    let other = OTHERS.iter().find(|(magic, _)| head.starts_with(magic));
    match other {
        Some((_, looks_like)) => Some(looks_like),
        None if head.get(4..8) == Some(b"ftyp") => Some("an image"),
        None if head.starts_with(b"RIFF") => Some("an image or a video in a RIFF file"),
        None => None,
    }
}

/// What kind of text it is, if it is one.
fn text(head: &[u8]) -> Option<&'static str> {
    if head.is_empty() {
        return Some("an empty file");
    }
    if head.starts_with(b"\xff\xfe<\0") || head.starts_with(b"\xfe\xff\0<") {
        return Some("a page in UTF-16");
    }
    let is_utf16 = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    // Frames of layer I may begin as UTF-16 does.
    if is_utf16 && !matches!(frames(head, 2), Frames::Run(_)) {
        return Some("text in UTF-16");
    }
    let start = &head[..head.len().min(1024)];
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    // Pages in old encodings are no UTF-8, but no page has control characters.
    let is_text = |byte: &u8| !matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31 | 127);
    if !start.iter().all(is_text) {
        return None;
    }
    let start = String::from_utf8_lossy(start)
        .trim_start()
        .to_ascii_lowercase();
    let looks_like = match start.as_str() {
        page if page.contains("<html") || page.starts_with("<!doctype html") => "an HTML page",
        xml if xml.starts_with("<?xml") => "an XML document",
        markup if markup.starts_with('<') => "an HTML page",
        json if json.starts_with('{') || json.starts_with('[') && json.contains('"') => {
            "a JSON document"
        }
        list if list.starts_with("#extm3u") && list.contains("#ext-x-") => HLS,
        list if list.starts_with("#extm3u") => "an M3U playlist",
        list if list.starts_with("[playlist]") => "a PLS playlist",
        _ => "plain text",
    };
    // Sixteen text-like bytes may be chance; a whole short file of them is not.
    (start.len() >= 16 || head.len() < 1024).then_some(looks_like)
}

/// MPEG or ADTS frames without a signature: at the start, or behind junk that players skip.
fn bare_frames(head: &[u8]) -> Option<AudioContainer> {
    match frames(head, 2) {
        Frames::Run(container) => Some(container),
        // A file of one frame, all of it; a longer file cannot be cut here.
        Frames::Cut(container) if head.len() < WINDOW && is_whole(head) => Some(container),
        Frames::Cut(_) | Frames::None => resync(head),
    }
}

/// Whether the first frame ends within `head`.
fn is_whole(head: &[u8]) -> bool {
    FrameHeader::parse(head).is_some_and(|first| first.length() <= head.len())
}

/// Searches the window. Four frames in a row: in 64 KiB of noise two are a coincidence to expect.
fn resync(head: &[u8]) -> Option<AudioContainer> {
    const WANTED: usize = 4;
    (0..head.len()).find_map(|offset| match frames(&head[offset..], WANTED) {
        Frames::Run(container) => Some(container),
        Frames::Cut(_) | Frames::None => None,
    })
}

/// Bytes of a tag's own header.
pub(super) const ID3_HEADER: usize = 10;

/// The container behind an ID3v2 tag (id3.org, *ID3 tag version 2.4.0*, section 3).
fn behind_id3(head: &[u8]) -> Result<AudioContainer, NotAudio> {
    let not_audio = |looks_like| Err(NotAudio { looks_like });
    let Some(end) = id3_end(head) else {
        return not_audio("a damaged ID3 tag");
    };
    let Some(rest) = head.get(end..).filter(|rest| !rest.is_empty()) else {
        return match head.len() {
            WINDOW if has_id3_frame(head) => Ok(AudioContainer::Mp3),
            _ => resync(head).ok_or(NotAudio {
                looks_like: "an ID3 tag without audio",
            }),
        };
    };
    let audio = skip_zeros(rest);
    if let Some(container) = by_magic(audio) {
        return Ok(container);
    }
    match frames(audio, 2) {
        Frames::Run(container) => Ok(container),
        Frames::Cut(container) => Ok(container),
        // The padding, or a header, goes on beyond the window.
        Frames::None if audio.len() < 8 && head.len() == WINDOW => Ok(AudioContainer::Mp3),
        Frames::None => resync(head).ok_or(NotAudio {
            looks_like: "an ID3 tag without audio",
        }),
    }
}

/// Where the tag says that it ends, or `None` where its header is none.
pub(super) fn id3_end(head: &[u8]) -> Option<usize> {
    let header: &[u8; ID3_HEADER] = head.first_chunk()?;
    let [_, _, _, major, revision, flags, size @ ..] = header;
    let is_valid =
        (2..=4).contains(major) && *revision != 0xff && size.iter().all(|byte| *byte < 0x80);
    let size = size
        .iter()
        .fold(0, |size, byte| (size << 7) | usize::from(*byte));
    let footer = if *major == 4 && flags & 0x10 != 0 {
        ID3_HEADER
    } else {
        0
    };
    is_valid.then_some(ID3_HEADER + size + footer)
}

/// Whether the tag's content begins with a frame: an identifier of capitals and digits. An extended
/// header in between is skipped over by looking at its size, which is small.
fn has_id3_frame(head: &[u8]) -> bool {
    let is_identifier = |bytes: &[u8], length: usize| {
        bytes.get(..length).is_some_and(|name| {
            name.iter()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        })
    };
    let length = if head[3] == 2 { 3 } else { 4 };
    let has_extended_header = head[3] > 2 && head[5] & 0x40 != 0;
    let starts = if has_extended_header { 10..32 } else { 10..11 };
    starts.into_iter().any(|start| {
        head.get(start..)
            .is_some_and(|rest| is_identifier(rest, length))
    })
}

/// Taggers leave room behind the tag that its size does not count.
fn skip_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    // An MP4 box may begin with three zero bytes of its size.
    let is_box = bytes.get(4..8) == Some(b"ftyp");
    if is_box { bytes } else { &bytes[zeros..] }
}

#[cfg(test)]
mod tests {
    use super::super::mpeg::tests::{adts_frames, mp3_frames};
    use super::*;
    use proptest::prelude::*;

    fn id3(size: usize, content: &[u8]) -> Vec<u8> {
        let size = [21, 14, 7, 0].map(|shift| (size >> shift) as u8 & 0x7f);
        [&b"ID3\x04\x00\x00"[..], &size, content].concat()
    }

    fn title_frame() -> Vec<u8> {
        b"TIT2\x00\x00\x00\x02\x00\x00\x00x".to_vec()
    }

    fn looks_like(head: &[u8]) -> &'static str {
        sniff(head).unwrap_err().looks_like
    }

    #[test]
    fn every_container_is_known_by_its_signature() {
        use AudioContainer as C;
        for (head, container) in [
            (&b"OggS\0\x02rest"[..], C::Ogg),
            (b"fLaC\0\0\0\x22", C::Flac),
            (b"RIFF\x24\0\0\0WAVEfmt ", C::Wav),
            (b"RF64\xff\xff\xff\xffWAVEds64", C::Wav),
            (b"FORM\0\0\0\x20AIFFCOMM", C::Aiff),
            (b"FORM\0\0\0\x20AIFCCOMM", C::Aiff),
            (b"\x1a\x45\xdf\xa3\x9fwebm", C::Matroska),
            (b"\0\0\0\x20ftypM4A \0\0\0\0", C::Mp4),
            (b"\0\0\0\x14ftypisom", C::Mp4),
            (b"\0\0\x10\0moov\0\0\0\x6cmvhd", C::Mp4),
        ] {
            assert_eq!(sniff(head), Ok(container));
        }
        assert_eq!(sniff(&mp3_frames(3)), Ok(C::Mp3));
        assert_eq!(sniff(&adts_frames(3)), Ok(C::Aac));
    }

    #[test]
    fn pages_and_files_that_call_themselves_audio_are_named() {
        let long_text = "word ".repeat(20_000);
        let utf16 = "\u{feff}Error: not found".encode_utf16();
        let utf16: Vec<u8> = utf16.flat_map(u16::to_le_bytes).collect();
        for (head, name) in [
            (&b""[..], "an empty file"),
            (b"<!DOCTYPE html><title>Not found</title>", "an HTML page"),
            (b"\xef\xbb\xbf\r\n <HTML>", "an HTML page"),
            (b"<?xml version=\"1.0\"?><html xmlns=\"x\">", "an HTML page"),
            (
                b"<?xml version=\"1.0\"?><Error><Code>AccessDenied",
                "an XML document",
            ),
            (b"<head><meta>caf\xe9", "an HTML page"),
            (b"\xff\xfe<\0h\0t\0m\0l\0", "a page in UTF-16"),
            (utf16.as_slice(), "text in UTF-16"),
            (&mp3_frames(1)[..416], "no format that is known here"),
            (b"{\"error\":\"gone\"}", "a JSON document"),
            (b"[{\"error\":\"gone\"}]", "a JSON document"),
            (b"#EXTM3U\n#EXT-X-VERSION:3", HLS),
            (b"#EXTM3U\nhttps://a.example/1.mp3", "an M3U playlist"),
            (b"[playlist]\nFile1=http://a", "a PLS playlist"),
            (b"Not found", "plain text"),
            (long_text.as_bytes(), "plain text"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"PK\x03\x04\x14\0", "a ZIP archive"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
            (b"\x89PNG\r\n\x1a\n", "a PNG image"),
            (
                b"RIFF\x24\0\0\0WEBPVP8 ",
                "an image or a video in a RIFF file",
            ),
            (b"\0\0\0\x20ftypavif", "an image"),
            (&[0; 4096], "nothing but zero bytes"),
            (&[0x80, 0x81, 0x03, 0x00], "no format that is known here"),
        ] {
            assert_eq!(looks_like(head), name, "{:?}", &head[..head.len().min(20)]);
        }
    }

    #[test]
    fn a_tag_is_skipped_whatever_its_size() {
        let frames = mp3_frames(4);
        let tag = [title_frame(), vec![0; 500]].concat();
        let tagged = [id3(tag.len(), &tag), frames.clone()].concat();
        assert_eq!(sniff(&tagged), Ok(AudioContainer::Mp3));
        let padded = [id3(tag.len(), &tag), vec![0; 77], frames].concat();
        assert_eq!(sniff(&padded), Ok(AudioContainer::Mp3));
        let aac = [id3(tag.len(), &tag), adts_frames(3)].concat();
        assert_eq!(sniff(&aac), Ok(AudioContainer::Aac));
        let flac = [id3(tag.len(), &tag), b"fLaC\0\0\0\x22".to_vec()].concat();
        assert_eq!(sniff(&flac), Ok(AudioContainer::Flac));
    }

    #[test]
    fn a_tag_longer_than_the_window_needs_a_frame_of_its_own() {
        let cover = [b"APIC\x00\x4f\x00\x00\x00\x00".to_vec(), vec![0xd8; WINDOW]].concat();
        assert_eq!(sniff(&id3(5_000_000, &cover)), Ok(AudioContainer::Mp3));
        let no_frames = vec![b'<'; WINDOW];
        assert_eq!(
            looks_like(&id3(5_000_000, &no_frames)),
            "an ID3 tag without audio"
        );
    }

    #[test]
    fn a_tag_that_lies_about_its_size_is_seen_through() {
        let lies = [id3(20, &title_frame()), vec![7; 300], mp3_frames(5)].concat();
        assert_eq!(sniff(&lies), Ok(AudioContainer::Mp3));
        let too_long = [id3(4_000_000, &title_frame()), mp3_frames(5)].concat();
        assert_eq!(sniff(&too_long), Ok(AudioContainer::Mp3));
        let nothing = [id3(12, &title_frame()), vec![7; 3000]].concat();
        assert_eq!(looks_like(&nothing), "an ID3 tag without audio");
        assert_eq!(looks_like(b"ID3 is a format"), "a damaged ID3 tag");
    }

    #[test]
    fn junk_before_the_first_frame_is_skipped() {
        let zeros = [vec![0; 1000], mp3_frames(8)].concat();
        assert_eq!(sniff(&zeros), Ok(AudioContainer::Mp3));
        let half_a_frame = mp3_frames(9).split_off(200);
        assert_eq!(sniff(&half_a_frame), Ok(AudioContainer::Mp3));
    }

    #[test]
    fn a_file_of_one_frame_is_a_file() {
        assert_eq!(sniff(&mp3_frames(1)), Ok(AudioContainer::Mp3));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = sniff(&head);
        }

        #[test]
        fn no_tag_makes_it_panic(
            start in "(ID3|OggS|RIFF|FORM|....ftyp|\\[|<)",
            rest in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let _ = sniff(&[start.as_bytes(), &rest].concat());
        }

        #[test]
        fn no_cut_makes_it_panic(length in 0_usize..3000, tag in 0_usize..4000) {
            let mut file = [id3(tag, &title_frame()), mp3_frames(8)].concat();
            file.truncate(length);
            let _ = sniff(&file);
        }
    }
}
