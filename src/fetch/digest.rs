//! What is computed while the bytes pass by: hashes, length, and whether they are anything at all.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use sha2::{Digest, Sha256};

use super::estimate::{Estimate, Probe};
use crate::domain::{AudioContainer, ContentDigest};

/// Bytes between two samples that are looked at for change, and the length of each.
const SAMPLE_EVERY: usize = 64 * 1024;
const SAMPLE: usize = 1024;

/// Watches the bytes of one file.
#[derive(Debug)]
pub(super) struct Passing {
    sha256: Sha256,
    crc: crc_fast::Digest,
    probe: Probe,
    bytes: u64,
    /// Bytes since the last sample.
    unsampled: usize,
    compared: u64,
    repeated: u64,
}

/// What was found out about a whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Its SHA-256.
    pub sha256: ContentDigest,
    /// Its CRC-64/NVME in base 64, high byte first, as S3 writes it.
    pub crc64nvme: String,
    /// Its size.
    pub bytes: u64,
    /// How long it sounds, where that can be told.
    pub duration_s: Option<f64>,
    /// Share of it that is audio frames and their tags, 0 to 1, where that can be told.
    pub audio_share: Option<f64>,
    /// Share of its bytes that equal the one before, 0 to 1. Compressed sound has 0.004 by chance,
    /// silence nearly 1.
    pub repetition: f64,
}

impl Passing {
    pub(super) fn new(container: AudioContainer) -> Self {
        Self {
            sha256: Sha256::new(),
            crc: crc_fast::Digest::new(Crc64Nvme),
            probe: Probe::new(container),
            bytes: 0,
            // A short file is sampled too.
            unsampled: SAMPLE_EVERY,
            compared: 0,
            repeated: 0,
        }
    }

    pub(super) fn push(&mut self, block: &[u8]) {
        self.sha256.update(block);
        self.crc.update(block);
        self.probe.push(block);
        self.bytes += block.len() as u64;
        self.unsampled += block.len();
        if self.unsampled < SAMPLE_EVERY {
            return;
        }
        self.unsampled = 0;
        // Samples: looking at every byte would cost as much as hashing them.
        for part in block.chunks(SAMPLE_EVERY) {
            let sample = &part[part.len().saturating_sub(SAMPLE)..];
            let repeated = sample.windows(2).filter(|pair| pair[0] == pair[1]).count();
            self.repeated += repeated as u64;
            self.compared += sample.len().saturating_sub(1) as u64;
        }
    }

    pub(super) fn finish(self) -> Content {
        let Estimate {
            duration_s,
            audio_share,
        } = self.probe.finish();
        Content {
            sha256: ContentDigest::from_hasher(self.sha256),
            crc64nvme: BASE64_STANDARD.encode(self.crc.finalize().to_be_bytes()),
            bytes: self.bytes,
            duration_s,
            audio_share,
            repetition: self.repeated as f64 / self.compared.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(blocks: &[&[u8]]) -> Content {
        let mut passing = Passing::new(AudioContainer::Matroska);
        blocks.iter().for_each(|block| passing.push(block));
        passing.finish()
    }

    #[test]
    fn both_checksums_agree_with_their_published_check_values() {
        let check = content(&[b"1234", b"56789"]);
        assert_eq!(check.sha256, ContentDigest::of(b"123456789"));
        // CRC-64/NVME of "123456789" is ae8b14860a799888.
        assert_eq!(check.crc64nvme, "rosUhgp5mIg=");
        assert_eq!(check.bytes, 9);
    }

    #[test]
    fn silence_repeats_itself_and_noise_does_not() {
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..500_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        assert!(content(&[&noise]).repetition < 0.02);
        assert!(content(&[&[0; 500_000]]).repetition > 0.99);
        assert!(content(&[&noise[..1000], &[0x55; 1_000_000]]).repetition > 0.9);
    }
}
