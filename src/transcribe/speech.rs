//! A media file as the models hear it.

use super::decode::{DecodeError, MediaFormat, PcmStream};
use super::resample::RateConverter;
use super::vectors::{Loop, with_widest};

/// Decoder and resampler in one: 16 kHz, mono, -1 to 1, pulled block by block.
///
/// Values are those of 16-bit samples, as the models were trained with and as peers decode: faint
/// noise of a decoder is silence then, and overshoot is clipped.
#[derive(Debug)]
pub struct SpeechStream {
    pcm: PcmStream,
    converter: Option<RateConverter>,
    block: Vec<f32>,
    samples: u64,
}

impl SpeechStream {
    /// Resamples what `pcm` decodes.
    pub fn new(pcm: PcmStream) -> Self {
        Self {
            pcm,
            converter: None,
            block: Vec::new(),
            samples: 0,
        }
    }

    /// Container and codec.
    pub fn format(&self) -> &MediaFormat {
        self.pcm.format()
    }

    /// Samples given so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What is wrong with the file; complete at the end.
    pub fn damage(&self) -> Option<String> {
        self.pcm.damage()
    }

    /// The next samples, never empty, or `None` at the end.
    ///
    /// # Errors
    /// As [`PcmStream::next_block`], and [`DecodeError::Undecodable`] for an absurd sample rate.
    pub fn next_block(&mut self) -> Result<Option<&[f32]>, DecodeError> {
        self.block.clear();
        while self.block.is_empty() {
            if !self.pull()? {
                break;
            }
        }
        with_widest(SixteenBits(&mut self.block));
        self.samples += self.block.len() as u64;
        Ok((!self.block.is_empty()).then_some(&self.block))
    }

    /// Converts one block; `false` at the end.
    fn pull(&mut self) -> Result<bool, DecodeError> {
        let Some(pcm) = self.pcm.next_block()? else {
            if let Some(converter) = self.converter.take() {
                converter.finish(&mut self.block);
            }
            return Ok(false);
        };
        let current = self.converter.take_if(|current| current.rate() != pcm.rate);
        if let Some(finished) = current {
            finished.finish(&mut self.block);
        }
        if self.converter.is_none() {
            self.converter = RateConverter::try_new(pcm.rate);
        }
        let Some(converter) = &mut self.converter else {
            let problem = format!("a sample rate of {} Hz", pcm.rate);
            return Err(DecodeError::Undecodable(problem));
        };
        converter.push(pcm.samples, &mut self.block);
        Ok(true)
    }
}

/// Brings samples to the values of 16 bits.
struct SixteenBits<'a>(&'a mut [f32]);

impl Loop for SixteenBits<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for sample in self.0 {
            *sample = sixteen_bits(*sample);
        }
    }
}

#[inline(always)]
fn sixteen_bits(sample: f32) -> f32 {
    const FULL_SCALE: f32 = 32_768.0;
    let level = (sample * FULL_SCALE).round_ties_even();
    level.clamp(-FULL_SCALE, FULL_SCALE - 1.0) / FULL_SCALE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_has_the_levels_of_sixteen_bits() {
        let step = 1.0 / 32_768.0;
        for (sample, level) in [(1.2, 32_767.0), (-1.2, -32_768.0), (0.4 * step, 0.0)] {
            assert_eq!(sixteen_bits(sample), level * step);
        }
    }

    #[test]
    fn a_spliced_file_keeps_its_duration() {
        let part = include_bytes!("../../tests/fixtures/audio/mono-22050.mp3");
        let other = include_bytes!("../../tests/fixtures/audio/stereo-44100.mp3");
        let file = [part.as_slice(), other.as_slice()].concat();
        let pcm = PcmStream::open(Box::new(std::io::Cursor::new(file))).unwrap();
        let mut speech = SpeechStream::new(pcm);
        let mut count = 0;
        while let Some(block) = speech.next_block().unwrap() {
            assert!(!block.is_empty());
            count += block.len();
        }
        assert_eq!(count as u64, speech.samples());
        assert!((32_000..34_000).contains(&count), "{count} samples of 2 s");
    }
}
