//! How long a file sounds, found while its bytes pass by.
//!
//! MPEG and ADTS frames are counted one by one, which is exact for every bit rate and costs a look at
//! seven bytes a frame; the other containers say it somewhere. Memory is a few kilobytes.

mod frames;
mod header;
mod mp4;
mod ogg;

use crate::domain::AudioContainer;

/// Watches one file go by.
#[derive(Debug)]
pub struct Probe {
    reader: Reader,
    bytes: u64,
}

#[derive(Debug)]
enum Reader {
    Frames(frames::FrameCount),
    Mp4(mp4::MovieHeader),
    Ogg(ogg::LastGranule),
    /// Containers whose first bytes say it.
    Header {
        container: AudioContainer,
        found: Option<header::Found>,
    },
    Nothing,
}

/// What was found at the end of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Length in seconds.
    pub duration_s: Option<f64>,
    /// Share of the bytes that are audio, 0 to 1, where that is known.
    pub audio_share: Option<f64>,
}

impl Probe {
    /// A watcher of a file in `container`.
    pub fn new(container: AudioContainer) -> Self {
        let reader = match container {
            AudioContainer::Mp3 | AudioContainer::Aac => Reader::Frames(Default::default()),
            AudioContainer::Mp4 => Reader::Mp4(Default::default()),
            AudioContainer::Ogg => Reader::Ogg(Default::default()),
            AudioContainer::Flac | AudioContainer::Wav | AudioContainer::Aiff => Reader::Header {
                container,
                found: None,
            },
            // Its length stands behind an index of elements that no other use needs.
            AudioContainer::Matroska => Reader::Nothing,
        };
        Self { reader, bytes: 0 }
    }

    /// The next bytes. The first ones hold the container's header: a sniffing window or more.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.reader {
            Reader::Frames(frames) => frames.push(bytes),
            Reader::Mp4(header) => header.push(bytes),
            Reader::Ogg(granule) => granule.push(bytes),
            Reader::Header { container, found } if self.bytes == 0 => {
                *found = header::find(*container, bytes);
            }
            Reader::Header { .. } | Reader::Nothing => {}
        }
        self.bytes += bytes.len() as u64;
    }

    /// What was found, after the last bytes.
    pub fn finish(self) -> Estimate {
        let total = self.bytes;
        let (duration_s, audio_share) = match self.reader {
            Reader::Frames(frames) => {
                let counted = frames.finish();
                let share = counted.bytes as f64 / total.max(1) as f64;
                (Some(counted.seconds), Some(share.min(1.0)))
            }
            Reader::Mp4(header) => (header.seconds(), None),
            Reader::Ogg(granule) => (granule.seconds(), None),
            Reader::Header { found, .. } => (found.and_then(|found| found.seconds(total)), None),
            Reader::Nothing => (None, None),
        };
        let is_plausible = |seconds: &f64| seconds.is_finite() && *seconds > 0.0;
        Estimate {
            // Milliseconds: more digits would claim more than is known.
            duration_s: duration_s
                .filter(is_plausible)
                .map(|seconds| (seconds * 1000.0).round() / 1000.0),
            audio_share,
        }
    }
}

#[cfg(test)]
mod tests;
