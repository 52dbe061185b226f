//! From bytes to a demuxer: tags skipped, container recognised, read failures kept apart.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::{Hint, Probe};
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::default::formats::{
    AdtsReader, AiffReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader,
};
use symphonia_format_caf::CafReader;

use super::DecodeError;
use super::mp4::{EditStart, edit_start};
use super::{matroska, mp4};
use crate::transcribe::source::MediaBytes;

/// Containers only. The library's own probe also reads tags, which would hold every picture in
/// memory and look for tags at the file's end first.
static CONTAINERS: LazyLock<Probe> = LazyLock::new(|| {
    let mut probe = Probe::default();
    probe.register_format::<AdtsReader<'_>>();
    probe.register_format::<FlacReader<'_>>();
    probe.register_format::<IsoMp4Reader<'_>>();
    probe.register_format::<MpaReader<'_>>();
    probe.register_format::<AiffReader<'_>>();
    probe.register_format::<WavReader<'_>>();
    probe.register_format::<OggReader<'_>>();
    probe.register_format::<MkvReader<'_>>();
    probe.register_format::<CafReader<'_>>();
    probe
});

/// A file whose container is known.
pub(super) struct Opened {
    pub(super) format: Box<dyn FormatReader>,
    /// Tells failed reads from bad data: the demuxers report both as errors, or as the end.
    pub(super) failure: ReadFailure,
    /// Of an MP4 file.
    pub(super) edit: Option<EditStart>,
}

/// Recognises the container.
pub(super) fn open(bytes: Box<dyn MediaBytes>) -> Result<Opened, DecodeError> {
    let (source, head, edit) = prepare(bytes).map_err(DecodeError::Read)?;
    let failure = source.failure.clone();
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let probed = CONTAINERS.probe(
        &Hint::new(),
        stream,
        FormatOptions::default(),
        MetadataOptions::default(),
    );
    failure.check()?;
    match probed {
        Ok(format) => Ok(Opened {
            format,
            failure,
            edit,
        }),
        Err(error) => Err(DecodeError::Undecodable(refusal(&head, &error))),
    }
}

/// The source from behind its tags on, its first bytes, and its edit.
fn prepare(mut bytes: Box<dyn MediaBytes>) -> io::Result<(Guarded, Vec<u8>, Option<EditStart>)> {
    let size = bytes.seek(SeekFrom::End(0))?;
    let start = end_of_tags(&mut *bytes)?;
    let head = head(&mut *bytes, start)?;
    let size = size.saturating_sub(start);
    let edit = edit_start(&mut *bytes, start, size)?;
    let size = mp4::claimed_size(&mut *bytes, start, size)?;
    let claimed = matroska::claimed_size(&mut *bytes, start, size)?;
    bytes.seek(SeekFrom::Start(start))?;
    let source = Guarded {
        bytes: Mutex::new(bytes),
        start,
        size: claimed,
        // The index of a cut Matroska file is lost; its demuxer looks for it all the same where it can.
        is_seekable: claimed == size,
        failure: ReadFailure::default(),
    };
    Ok((source, head, edit))
}

/// Where the audio begins: behind all ID3v2 tags, which may be huge and may follow one another.
fn end_of_tags(bytes: &mut dyn MediaBytes) -> io::Result<u64> {
    let mut start = 0;
    loop {
        let header = head(bytes, start)?;
        match id3_length(&header) {
            Some(length) => start += length,
            None => return Ok(start),
        }
    }
}

/// The length of the ID3v2 tag with this header: 7 bits a byte, header and footer not counted in.
fn id3_length(header: &[u8]) -> Option<u64> {
    const HAS_FOOTER: u8 = 0x10;
    let [b'I', b'D', b'3', major, minor, flags, size @ ..] = header.first_chunk::<10>()? else {
        return None;
    };
    let is_sound = *major < 0xff && *minor < 0xff && size.iter().all(|byte| byte & 0x80 == 0);
    let size = size.iter().fold(0, |sum, &byte| sum << 7 | u64::from(byte));
    let frame = if flags & HAS_FOOTER == 0 { 10 } else { 20 };
    is_sound.then_some(frame + size)
}

/// Up to 16 bytes from `start`.
fn head(bytes: &mut dyn MediaBytes, start: u64) -> io::Result<Vec<u8>> {
    bytes.seek(SeekFrom::Start(start))?;
    let mut head = Vec::with_capacity(16);
    bytes.take(16).read_to_end(&mut head)?;
    Ok(head)
}

/// What the file is instead of audio, as far as its first bytes tell.
fn refusal(head: &[u8], error: &SymphoniaError) -> String {
    let text = head.trim_ascii_start();
    let found = match text {
        [] if head.is_empty() => "the file is empty or holds tags only",
        [b'<', ..] => "it is a web page or an XML document",
        [b'{' | b'[', ..] => "it is a JSON document",
        _ if head.starts_with(b"%PDF") => "it is a PDF document",
        _ if head.starts_with(b"PK\x03\x04") => "it is a ZIP archive",
        _ if head.starts_with(b"\xff\xd8\xff") || head.starts_with(b"\x89PNG") => "it is a picture",
        _ => {
            let bytes: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
            return format!(
                "no container that can be read ({error}); it begins with {}",
                bytes.join(" ")
            );
        }
    };
    found.to_owned()
}

/// The first failure of the underlying reader.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadFailure(Arc<Mutex<Option<io::Error>>>);

impl ReadFailure {
    /// The failure, once.
    pub(super) fn check(&self) -> Result<(), DecodeError> {
        match self.slot().take() {
            Some(error) => Err(DecodeError::Read(error)),
            None => Ok(()),
        }
    }

    fn keep(&self, error: io::Error) -> io::Error {
        let shown = io::Error::other(error.to_string());
        self.slot().get_or_insert(error);
        shown
    }

    fn slot(&self) -> MutexGuard<'_, Option<io::Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes from `start` on, with failures noted. The mutex is never contended: it only makes a
/// `Send` reader `Sync`, which symphonia asks for.
struct Guarded {
    bytes: Mutex<Box<dyn MediaBytes>>,
    start: u64,
    size: u64,
    is_seekable: bool,
    failure: ReadFailure,
}

impl Guarded {
    fn bytes(&mut self) -> &mut Box<dyn MediaBytes> {
        self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Guarded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.bytes().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure.keep(error)),
                Ok(count) => return Ok(count),
            }
        }
    }
}

impl Seek for Guarded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let start = self.start;
        let absolute = |offset: Option<u64>| match offset {
            Some(offset) => Ok(SeekFrom::Start(start.saturating_add(offset))),
            None => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        let to = match to {
            SeekFrom::Start(offset) => absolute(Some(offset))?,
            // The claimed end, which the real one may fall short of.
            SeekFrom::End(offset) => absolute(self.size.checked_add_signed(offset))?,
            SeekFrom::Current(offset) => SeekFrom::Current(offset),
        };
        match self.bytes().seek(to) {
            Ok(position) => Ok(position.saturating_sub(start)),
            // A jump that a damaged index asks for, not a failing reader.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(error),
            Err(error) => Err(self.failure.keep(error)),
        }
    }
}

impl MediaSource for Guarded {
    fn is_seekable(&self) -> bool {
        self.is_seekable
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn refused(bytes: &[u8]) -> String {
        match open(Box::new(Cursor::new(bytes.to_vec()))) {
            Err(DecodeError::Undecodable(found)) => found,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("taken for audio"),
        }
    }

    #[test]
    fn says_what_a_file_is_instead_of_audio() {
        assert!(refused(b"\n <!DOCTYPE html><title>Not found</title>").contains("web page"));
        assert!(refused(b"{\"error\": \"expired\"}").contains("JSON"));
        assert!(refused(b"").contains("empty"));
        assert!(refused(b"ID3\x04\0\0\0\0\0\x02..").contains("tags only"));
        assert!(refused(&[7; 64]).contains("begins with 07 07"));
    }

    #[test]
    fn skips_tags_one_behind_the_other() {
        let mut file = b"ID3\x03\0\0\0\0\x01\x00".to_vec();
        file.extend([0xff; 128]);
        file.extend(b"ID3\x04\0\x10\0\0\0\x05.....3DI\x04\0\x10\0\0\0\x05");
        let tags = file.len() as u64;
        file.extend(b"audio");
        assert_eq!(end_of_tags(&mut Cursor::new(file)).unwrap(), tags);
        assert_eq!(id3_length(b"ID3\x03\0\0\x80\0\0\0"), None, "not 7 bits");
    }

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    impl Seek for Failing {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(1000)
        }
    }

    #[test]
    fn a_failing_reader_is_not_a_bad_file() {
        let error = open(Box::new(Failing)).err().unwrap();
        assert!(
            matches!(error, DecodeError::Read(e) if e.kind() == io::ErrorKind::ConnectionReset)
        );
    }
}
