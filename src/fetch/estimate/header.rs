//! Containers whose first bytes say how long they are: FLAC, WAVE, AIFF.

use crate::domain::AudioContainer;
use crate::fetch::sniff::id3_end;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Found {
    /// The length itself.
    Seconds(f64),
    /// Where the samples begin, what they claim to take, and how fast they are played.
    Rate {
        offset: u64,
        claimed: u64,
        bytes_per_s: f64,
    },
}

impl Found {
    pub(super) fn seconds(self, total: u64) -> Option<f64> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Rate {
                offset,
                claimed,
                bytes_per_s,
            } => {
                // Writers that stream leave 0 or the largest number; the file's end is the truth.
                let there = total.saturating_sub(offset);
                let samples = if claimed == 0 {
                    there
                } else {
                    claimed.min(there)
                };
                (bytes_per_s > 0.0).then(|| samples as f64 / bytes_per_s)
            }
        }
    }
}

pub(super) fn find(container: AudioContainer, head: &[u8]) -> Option<Found> {
    match container {
        AudioContainer::Flac => flac(head),
        AudioContainer::Wav => wave(head),
        AudioContainer::Aiff => aiff(head),
        _ => None,
    }
}

/// The stream information block (RFC 9639, section 8.2).
fn flac(head: &[u8]) -> Option<Found> {
    let tag = if head.starts_with(b"ID3") {
        id3_end(head)?
    } else {
        0
    };
    let at = tag
        + head
            .get(tag..)?
            .windows(4)
            .take(4096)
            .position(|w| w == b"fLaC")?;
    let info = head.get(at + 8..)?;
    let packed = u64::from_be_bytes(*info.get(10..)?.first_chunk()?);
    let (rate, samples) = (packed >> 44, packed & 0xf_ffff_ffff);
    (rate > 0 && samples > 0).then(|| Found::Seconds(samples as f64 / rate as f64))
}

/// The `fmt ` and `data` chunks of RIFF, RF64 included.
fn wave(head: &[u8]) -> Option<Found> {
    let mut bytes_per_s = None;
    let mut at = 12;
    loop {
        let chunk = head.get(at..)?;
        let size = u64::from(u32::from_le_bytes(*chunk.get(4..)?.first_chunk()?));
        match chunk.get(..4)? {
            b"fmt " => {
                let rate = u32::from_le_bytes(*chunk.get(16..)?.first_chunk()?);
                bytes_per_s = Some(f64::from(rate));
            }
            b"data" => {
                return Some(Found::Rate {
                    offset: at as u64 + 8,
                    claimed: if size == u64::from(u32::MAX) { 0 } else { size },
                    bytes_per_s: bytes_per_s?,
                });
            }
            _ => {}
        }
        at = at.checked_add(8 + usize::try_from(size + size % 2).ok()?)?;
    }
}

/// The common chunk (Apple, *Audio Interchange File Format* 1.3).
fn aiff(head: &[u8]) -> Option<Found> {
    let mut at = 12;
    loop {
        let chunk = head.get(at..)?;
        let size = u64::from(u32::from_be_bytes(*chunk.get(4..)?.first_chunk()?));
        if chunk.starts_with(b"COMM") {
            let frames = u32::from_be_bytes(*chunk.get(10..)?.first_chunk()?);
            let rate = extended(chunk.get(16..)?.first_chunk()?);
            return (rate > 0.0).then(|| Found::Seconds(f64::from(frames) / rate));
        }
        at = at.checked_add(8 + usize::try_from(size + size % 2).ok()?)?;
    }
}

/// An 80-bit number of IEEE 754, sampling rates of which are whole and positive.
fn extended(bytes: &[u8; 10]) -> f64 {
    let exponent = i32::from(u16::from_be_bytes([bytes[0] & 0x7f, bytes[1]]));
    let mantissa = u64::from_be_bytes([
        bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9],
    ]);
    mantissa as f64 * 2_f64.powi(exponent - 16_383 - 63)
}
