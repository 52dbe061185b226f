//! The movie header of ISO base media (ISO/IEC 14496-12, sections 4.2 and 8.2.2), wherever it stands.

/// As much of a `moov` box as is searched for its header, which stands first in practice.
const SEARCHED: usize = 64 * 1024;

/// Walks over the boxes of the top level; memory is [`SEARCHED`] at most.
#[derive(Debug, Default)]
pub(super) struct MovieHeader {
    rest: Vec<u8>,
    skip: u64,
    seconds: Option<f64>,
}

impl MovieHeader {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.seconds.is_some() {
            return;
        }
        let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= skipped as u64;
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(&bytes[skipped..]);
        let decided = self.walk(&rest);
        rest.drain(..decided);
        self.rest = rest;
    }

    pub(super) fn seconds(mut self) -> Option<f64> {
        // A movie that is shorter than what is searched, at the file's end.
        if let Some(header) = BoxHeader::parse(&self.rest).filter(|header| header.kind == *b"moov")
        {
            self.seconds = self.seconds.or(movie(&self.rest[header.length..]));
        }
        self.seconds
    }

    fn walk(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(header) = BoxHeader::parse(&bytes[at..]) {
            let here = bytes.len() - at;
            let size = usize::try_from(header.size).unwrap_or(usize::MAX);
            if header.kind == *b"moov" {
                if here < size.min(SEARCHED) {
                    return at;
                }
                self.seconds = movie(&bytes[at + header.length..at + size.min(here)]);
            }
            if size >= here {
                self.skip = header.size - here as u64;
                return bytes.len();
            }
            at += size;
        }
        at
    }
}

struct BoxHeader {
    kind: [u8; 4],
    /// Of the whole box; one that goes on to the file's end has the largest number.
    size: u64,
    /// Of the header alone.
    length: usize,
}

impl BoxHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let size = u64::from(u32::from_be_bytes(*bytes.first_chunk()?));
        let kind = *bytes.get(4..)?.first_chunk()?;
        let (size, length) = match size {
            0 => (u64::MAX, 8),
            1 => (u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?), 16),
            size => (size, 8),
        };
        // A box that is shorter than its header would be walked over forever.
        let size = size.max(length as u64);
        Some(Self { kind, size, length })
    }
}

/// Duration by the movie header, or, in files made of fragments, by the extends header.
fn movie(bytes: &[u8]) -> Option<f64> {
    let header = child(bytes, b"mvhd")?;
    let version = *header.first()?;
    let word = |at: usize| -> Option<u64> {
        Some(u64::from(u32::from_be_bytes(
            *header.get(at..)?.first_chunk()?,
        )))
    };
    let long = |bytes: &[u8], at: usize| -> Option<u64> {
        Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
    };
    let (scale, duration, unknown) = match version {
        1 => (word(20)?, long(header, 24)?, u64::MAX),
        _ => (word(12)?, word(16)?, u64::from(u32::MAX)),
    };
    let duration = match duration {
        0 => {
            let extends = child(child(bytes, b"mvex")?, b"mehd")?;
            match extends.first()? {
                1 => long(extends, 4)?,
                _ => u64::from(u32::from_be_bytes(*extends.get(4..)?.first_chunk()?)),
            }
        }
        known => known,
    };
    (scale > 0 && duration != unknown).then(|| duration as f64 / scale as f64)
}

/// The content of the first child of this kind.
fn child<'a>(mut bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    while let Some(header) = BoxHeader::parse(bytes) {
        let size = usize::try_from(header.size)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        if header.kind == *kind {
            return bytes.get(header.length..size);
        }
        bytes = &bytes[size..];
    }
    None
}
