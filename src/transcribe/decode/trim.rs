//! Encoder delay and padding, cut as ffmpeg cuts them.
//!
//! An MP3's LAME tag says how many samples the encoder put before and behind the audio, and how
//! many frames there are. Everything before is dropped, and of the end exactly the padding at the
//! place where the tag expects it: what comes later belongs to a file joined on. MP4 names the delay
//! in its edit list, Opus in its header.

use std::ops::Range;

use symphonia::core::formats::Track;

/// Drops ranges of a stream's samples.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Trim {
    position: u64,
    dropped: [Range<u64>; 2],
}

impl Trim {
    /// By the tag of an MPEG audio file; without one, nothing is dropped.
    pub(super) fn of_mpeg(track: &Track) -> Self {
        let delay = u64::from(track.delay.unwrap_or(0));
        let end = match (track.delay, track.num_frames) {
            (Some(_), Some(frames)) => delay + frames,
            // Without the tag the number of frames is a guess from the first few.
            _ => return Self::default(),
        };
        let padding = u64::from(track.padding.unwrap_or(0));
        Self {
            position: 0,
            dropped: [0..delay, end..end + padding],
        }
    }

    /// Of a file that names the encoder's delay alone.
    pub(super) fn of_beginning(samples: u64) -> Self {
        Self {
            position: 0,
            dropped: [0..samples, 0..0],
        }
    }

    /// Advances by a block and removes what is to be dropped from it.
    pub(super) fn apply(&mut self, samples: &mut Vec<f32>) {
        let block = self.position..self.position + samples.len() as u64;
        // From the back, so that the first range's places still hold.
        for range in self.dropped.iter().rev() {
            let from = range.start.max(block.start);
            let to = range.end.min(block.end);
            if from < to {
                samples.drain((from - block.start) as usize..(to - block.start) as usize);
            }
        }
        self.position = block.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(delay: u32, padding: u32, frames: u64, total: u16, block: usize) -> Vec<f32> {
        let mut track = Track::new(0);
        track.with_delay(delay);
        track.with_padding(padding);
        track.with_num_frames(frames);
        let mut trim = Trim::of_mpeg(&track);
        let all: Vec<f32> = (0..total).map(f32::from).collect();
        let mut kept = Vec::new();
        for block in all.chunks(block) {
            let mut block = block.to_vec();
            trim.apply(&mut block);
            kept.extend(block);
        }
        kept
    }

    #[test]
    fn drops_delay_and_padding_and_keeps_what_was_joined_on() {
        let expected: Vec<f32> = (5_u8..15).chain(18..30).map(f32::from).collect();
        for block in [1, 4, 7, 30] {
            assert_eq!(trimmed(5, 3, 10, 30, block), expected, "blocks of {block}");
        }
    }

    #[test]
    fn a_guessed_length_drops_nothing() {
        let mut track = Track::new(0);
        track.with_num_frames(10);
        assert_eq!(Trim::of_mpeg(&track), Trim::default());
    }
}
