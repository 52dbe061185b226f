//! Frame headers of MPEG audio (ISO/IEC 11172-3, 13818-3) and of ADTS (ISO/IEC 13818-7).
//!
//! Eleven set bits begin a frame, and random bytes have them often. What random bytes do not have is
//! a second header exactly where the first one says, of the same kind.

use crate::domain::AudioContainer;

/// Bytes of a header that this module looks at.
pub(super) const HEADER_LEN: usize = 7;

/// What one frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    container: AudioContainer,
    /// Version, layer and sampling rate: the same in all frames of a stream.
    kind: (u8, u8, u8),
    /// From this header to the next, in bytes.
    length: usize,
    /// Samples of one channel in the frame.
    samples: u32,
    /// Samples of one channel a second.
    sampling_rate: u32,
}

/// Bit rates in kbit/s by index 1 to 14.
type BitRates = [u32; 14];
const V1_LAYER_1: BitRates = [
    32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
];
const V1_LAYER_2: BitRates = [
    32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
];
const V1_LAYER_3: BitRates = [
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
];
const V2_LAYER_1: BitRates = [
    32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
];
const V2_LAYER_2_3: BitRates = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// Sampling rates of ADTS by index.
const ADTS_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

impl FrameHeader {
    /// Reads the header at the start of `bytes`, where there is one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let header: [u8; HEADER_LEN] = bytes.get(..HEADER_LEN)?.try_into().ok()?;
        let is_sync = header[0] == 0xff && header[1] & 0xe0 == 0xe0;
        match (header[1] >> 1) & 3 {
            _ if !is_sync => None,
            0 => Self::parse_adts(header),
            layer => Self::parse_mpeg(header, layer),
        }
    }

    /// `layer` as its two bits say it: 3 is layer I, 2 is II, 1 is III. Free-format streams (bit rate
    /// index 0) are not recognised: their length stands nowhere, and no decoder here reads them.
    fn parse_mpeg(header: [u8; HEADER_LEN], layer: u8) -> Option<Self> {
        let version = (header[1] >> 3) & 3;
        let rates = match (version, layer) {
            (1, _) => return None,
            (3, 3) => V1_LAYER_1,
            (3, 2) => V1_LAYER_2,
            (3, _) => V1_LAYER_3,
            (_, 3) => V2_LAYER_1,
            _ => V2_LAYER_2_3,
        };
        let bit_rate = 1000 * rates.get(usize::from(header[2] >> 4).checked_sub(1)?)?;
        let rate_index = (header[2] >> 2) & 3;
        let base: u32 = *[44_100, 48_000, 32_000].get(usize::from(rate_index))?;
        let sampling_rate = match version {
            3 => base,
            2 => base / 2,
            _ => base / 4,
        };
        let padding = u32::from((header[2] >> 1) & 1);
        let length = match (layer, version) {
            (3, _) => (12 * bit_rate / sampling_rate + padding) * 4,
            (1, 0 | 2) => 72 * bit_rate / sampling_rate + padding,
            _ => 144 * bit_rate / sampling_rate + padding,
        };
        let samples = match (layer, version) {
            (3, _) => 384,
            (1, 0 | 2) => 576,
            _ => 1152,
        };
        Some(Self {
            container: AudioContainer::Mp3,
            kind: (version, layer, rate_index),
            length: length as usize,
            samples,
            sampling_rate,
        })
    }

    fn parse_adts(header: [u8; HEADER_LEN]) -> Option<Self> {
        // Here the sync word has twelve bits.
        let is_sync = header[1] & 0xf0 == 0xf0;
        let rate_index = (header[2] >> 2) & 15;
        let length = (usize::from(header[3] & 3) << 11)
            | (usize::from(header[4]) << 3)
            | usize::from(header[5] >> 5);
        let sampling_rate = *ADTS_RATES.get(usize::from(rate_index))?;
        (is_sync && length > HEADER_LEN).then_some(Self {
            container: AudioContainer::Aac,
            kind: (header[1] & 0xf8, header[2] >> 6, rate_index),
            length,
            samples: 1024 * (u32::from(header[6] & 3) + 1),
            sampling_rate,
        })
    }

    /// Bytes from this header to the next.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// How long it sounds.
    pub(super) fn seconds(&self) -> f64 {
        f64::from(self.samples) / f64::from(self.sampling_rate)
    }

    /// Whether the other frame is of the same stream.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.container, self.kind) == (other.container, other.kind)
    }
}

/// What follows a position in the bytes that are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frames {
    /// As many frames in a row as were asked for.
    Run(AudioContainer),
    /// A frame, and then the end of what is here.
    Cut(AudioContainer),
    /// No such thing.
    None,
}

/// Looks for `wanted` frames of one kind in a row, from the start of `bytes`.
pub(super) fn frames(bytes: &[u8], wanted: usize) -> Frames {
    let Some(first) = FrameHeader::parse(bytes) else {
        return Frames::None;
    };
    let mut offset = first.length;
    for _ in 1..wanted {
        let Some(rest) = bytes.get(offset..).filter(|rest| rest.len() >= HEADER_LEN) else {
            return Frames::Cut(first.container);
        };
        match FrameHeader::parse(rest) {
            Some(next) if next.kind == first.kind => offset += next.length,
            _ => return Frames::None,
        }
    }
    Frames::Run(first.container)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// MPEG-1 layer III, 128 kbit/s, 44.1 kHz, no padding: 417 bytes a frame.
    pub(in crate::fetch) fn mp3_frames(count: usize) -> Vec<u8> {
        let mut frame = [0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        frame.repeat(count)
    }

    /// ADTS, 44.1 kHz stereo, 32 bytes a frame.
    pub(in crate::fetch) fn adts_frames(count: usize) -> Vec<u8> {
        let mut frame = [0; 32];
        frame[..7].copy_from_slice(&[0xff, 0xf1, 0x50, 0x80, 0x04, 0x1f, 0xfc]);
        frame.repeat(count)
    }

    fn length(header: [u8; 3]) -> Option<usize> {
        let bytes = [&header[..], &[0; 4]].concat();
        FrameHeader::parse(&bytes).map(|header| header.length)
    }

    #[test]
    fn frame_lengths_agree_with_the_standard() {
        assert_eq!(length([0xff, 0xfb, 0x90]), Some(417));
        assert_eq!(length([0xff, 0xfb, 0x92]), Some(418));
        // MPEG-2 layer III, 64 kbit/s at 22.05 kHz; MPEG-2.5, 16 kbit/s at 8 kHz.
        assert_eq!(length([0xff, 0xf3, 0x80]), Some(208));
        assert_eq!(length([0xff, 0xe3, 0x28]), Some(144));
        // Layer II, 192 kbit/s at 48 kHz; layer I, 384 kbit/s at 48 kHz.
        assert_eq!(length([0xff, 0xfd, 0xa4]), Some(576));
        assert_eq!(length([0xff, 0xff, 0xc4]), Some(384));
    }

    #[test]
    fn reserved_values_are_no_header() {
        for header in [
            [0xff, 0xeb, 0x90],
            [0xff, 0xfb, 0x00],
            [0xff, 0xfb, 0xf0],
            [0xff, 0xfb, 0x9c],
            [0xfe, 0xfb, 0x90],
        ] {
            assert_eq!(length(header), None, "{header:x?}");
        }
    }

    #[test]
    fn a_run_needs_its_next_header_in_its_place() {
        assert_eq!(frames(&mp3_frames(3), 3), Frames::Run(AudioContainer::Mp3));
        assert_eq!(frames(&mp3_frames(2), 3), Frames::Cut(AudioContainer::Mp3));
        assert_eq!(frames(&adts_frames(2), 2), Frames::Run(AudioContainer::Aac));
        let mut shifted = mp3_frames(3);
        shifted.insert(100, 0);
        assert_eq!(frames(&shifted, 2), Frames::None);
    }
}
