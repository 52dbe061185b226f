//! Any sample rate to 16 kHz, in a stream.
//!
//! rubato's FFT resampler works on fixed blocks and answers late. [`RateConverter`] takes blocks of
//! any size, drops the delay at the beginning and drives the rest out at the end, so that `n`
//! samples become exactly `round(n * 16000 / rate)` and stay where they were in time.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use super::decode::{DecodeError, MediaFormat, PcmStream};
use super::mel::SAMPLE_RATE;

/// Rates outside are no audio but a damaged header; the upper bound limits the transform's size.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=384_000;
/// Blocks per second, about: 50 ms each. Long enough for a steep filter, short enough for the cache.
const BLOCKS_PER_SECOND: usize = 20;

/// Converts one run of samples of one rate to 16 kHz.
pub struct RateConverter {
    rate: u32,
    /// `None` where the rate is 16 kHz already.
    resampler: Option<Fft<f32>>,
    /// Input that does not fill a block yet.
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Output that is still to be dropped: the filter's delay.
    delay: usize,
    taken: u64,
    given: u64,
}

impl RateConverter {
    /// A converter from `rate`; `None` where that is no rate of audio.
    pub fn try_new(rate: u32) -> Option<Self> {
        if !RATES.contains(&rate) {
            return None;
        }
        let resampler = (rate != SAMPLE_RATE).then(|| resampler(rate));
        let sizes = |fft: &Fft<f32>| (fft.output_frames_max(), fft.output_delay());
        let (block, delay) = resampler.as_ref().map_or((0, 0), sizes);
        Some(Self {
            rate,
            resampler,
            pending: Vec::new(),
            block: vec![0.0; block],
            delay,
            taken: 0,
            given: 0,
        })
    }

    /// The input's rate.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes samples and appends what they complete to `output`.
    pub fn push(&mut self, samples: &[f32], output: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        if self.resampler.is_none() {
            output.extend_from_slice(samples);
            return;
        }
        self.pending.extend_from_slice(samples);
        self.convert(u64::MAX, output);
    }

    /// Ends the run: appends what is left.
    pub fn finish(mut self, output: &mut Vec<f32>) {
        let Some(resampler) = &self.resampler else {
            return;
        };
        let block = resampler.input_frames_next();
        let [rate, target] = [u64::from(self.rate), u64::from(SAMPLE_RATE)];
        let total = (self.taken * target + rate / 2) / rate;
        while self.given < total {
            let filled = self.pending.len().div_ceil(block).max(1) * block;
            self.pending.resize(filled, 0.0);
            self.convert(total, output);
        }
    }

    /// Converts the whole blocks that are pending, until `total` samples were given.
    fn convert(&mut self, total: u64, output: &mut Vec<f32>) {
        let Some(resampler) = &mut self.resampler else {
            return;
        };
        let block = resampler.input_frames_next();
        let mut start = 0;
        while start + block <= self.pending.len() {
            let count = convert_block(resampler, &self.pending[start..][..block], &mut self.block);
            start += block;
            let skipped = self.delay.min(count);
            self.delay -= skipped;
            let wanted = (total - self.given).min((count - skipped) as u64) as usize;
            output.extend_from_slice(&self.block[skipped..skipped + wanted]);
            self.given += wanted as u64;
        }
        self.pending.drain(..start);
    }
}

fn resampler(rate: u32) -> Fft<f32> {
    let [from, to] = [rate, SAMPLE_RATE].map(|rate| rate as usize);
    // The filter's delay is half a block. Only a block of even length on both sides makes that a
    // whole number of samples; an odd one would shift the audio by half a sample.
    let even = 2 * from / greatest_common_divisor(from, to);
    let block = (from / BLOCKS_PER_SECOND).div_ceil(even) * even;
    let window = WindowFunction::BlackmanHarris2;
    Fft::new_custom(from, to, block, 1, 1, window, FixedSync::Both)
        .expect("neither the rates nor the block are zero")
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

fn convert_block(resampler: &mut Fft<f32>, input: &[f32], output: &mut [f32]) -> usize {
    let [taken, room] = [input.len(), output.len()];
    let input = InterleavedSlice::new(input, 1, taken).expect("one channel, all of the slice");
    let mut output =
        InterleavedSlice::new_mut(output, 1, room).expect("one channel, all of the slice");
    let (_, given) = resampler
        .process_into_buffer(&input, &mut output, None)
        .expect("both buffers have the size that the resampler asked for");
    given
}

impl std::fmt::Debug for RateConverter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateConverter")
            .field("rate", &self.rate)
            .field("taken", &self.taken)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

/// A media file as the models want it: 16 kHz, mono, -1 to 1, pulled block by block.
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
        // Peers decode to 16 bits, which clips; resampling overshoots a full-scale edge.
        for sample in &mut self.block {
            *sample = sample.clamp(-1.0, 1.0);
        }
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

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn tone(hertz: f64, rate: u32, count: usize) -> Vec<f32> {
        let sample = |n: usize| (TAU * hertz * n as f64 / f64::from(rate)).sin() * 0.5;
        (0..count).map(|n| sample(n) as f32).collect()
    }

    fn convert(samples: &[f32], rate: u32, block: usize) -> Vec<f32> {
        let mut converter = RateConverter::try_new(rate).unwrap();
        let mut output = Vec::new();
        for block in samples.chunks(block) {
            converter.push(block, &mut output);
        }
        converter.finish(&mut output);
        output
    }

    /// Level of the difference to `expected` away from the edges, in decibels of full scale.
    fn error_db(found: &[f32], expected: &[f32]) -> f64 {
        let inner = 1600..expected.len() - 1600;
        let squares = inner
            .clone()
            .map(|n| f64::from(found[n] - expected[n]).powi(2));
        10.0 * (squares.sum::<f64>() / inner.len() as f64).log10()
    }

    #[test]
    fn speech_frequencies_stay_where_they_were() {
        for rate in [
            8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 44_056,
        ] {
            let found = convert(&tone(1000.0, rate, rate as usize), rate, 1152);
            let error = error_db(&found, &tone(1000.0, 16_000, 16_000));
            assert!(error < -80.0, "{rate} Hz: {error} dB");
        }
        let found = convert(&tone(7000.0, 44_100, 44_100), 44_100, 1152);
        let error = error_db(&found, &tone(7000.0, 16_000, 16_000));
        assert!(error < -80.0, "near the edge of the band: {error} dB");
    }

    #[test]
    fn what_16_khz_cannot_carry_is_gone() {
        for (hertz, rate) in [(10_000.0, 44_100), (8_400.0, 44_100), (9_000.0, 48_000)] {
            let found = convert(&tone(hertz, rate, rate as usize), rate, 1152);
            let left = error_db(&found, &vec![0.0; found.len()]);
            assert!(
                left < -66.0,
                "{hertz} Hz at {rate}: {left} dB, 60 below the tone"
            );
        }
    }

    #[test]
    fn gives_exactly_the_samples_of_the_duration() {
        for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000] {
            for count in [0, 1, 2, 160, 441, 4409, 44_101] {
                let expected = (count as f64 * 16_000.0 / f64::from(rate)).round() as usize;
                let found = convert(&vec![0.1; count], rate, 500).len();
                assert_eq!(found, expected, "{count} samples of {rate} Hz");
            }
        }
    }

    #[test]
    fn blocks_do_not_show() {
        let samples = tone(440.0, 44_100, 20_000);
        let whole = convert(&samples, 44_100, usize::MAX);
        for block in [1, 441, 1152, 3000] {
            assert_eq!(convert(&samples, 44_100, block), whole, "blocks of {block}");
        }
    }

    #[test]
    fn sixteen_kilohertz_pass_untouched() {
        let samples = tone(440.0, 16_000, 999);
        assert_eq!(convert(&samples, 16_000, 100), samples);
    }

    #[test]
    fn refuses_what_is_no_rate() {
        assert!(RateConverter::try_new(0).is_none());
        assert!(RateConverter::try_new(4_000_000_000).is_none());
    }
}
