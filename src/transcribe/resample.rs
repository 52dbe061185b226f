//! Any sample rate to 16 kHz, in a stream.
//!
//! Whisper's training data went through ffmpeg's default resampler, and so does what peers hear; the
//! top mel bands differ by up to a third of their range behind a steeper filter. So this is the same
//! filter: a polyphase bank of Kaiser-windowed sincs, 32 zero crossings long, cut off at 97 % of the
//! lower Nyquist frequency, each phase with a gain of one, the ends mirrored. `n` samples become
//! `ceil(n * 16000 / rate)`, and stay where they were in time.

use std::f64::consts::PI;

use super::mel::SAMPLE_RATE;
use super::mirror::Mirrored;
use super::vectors::{Loop, with_widest};

/// Rates outside are no audio but a damaged header; the upper bound limits the filter's length.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=384_000;
/// Length of the filter in zero crossings.
const CROSSINGS: f64 = 32.0;
const CUTOFF: f64 = 0.97;
const KAISER_BETA: f64 = 9.0;
/// Partial sums of a product, so that it can be computed in vectors; `dot` adds up 16.
const LANES: usize = 16;

/// Converts one run of samples of one rate to 16 kHz.
#[derive(Debug)]
pub struct RateConverter {
    rate: u32,
    filter: Filter,
    samples: Mirrored,
    /// Of the next output sample, between two input samples.
    phase: usize,
    taken: u64,
    given: u64,
}

impl RateConverter {
    /// A converter from `rate`; `None` where that is no rate of audio.
    pub fn try_new(rate: u32) -> Option<Self> {
        let filter = RATES.contains(&rate).then(|| Filter::new(rate))?;
        Some(Self {
            rate,
            samples: Mirrored::new(filter.center, filter.taps),
            filter,
            phase: 0,
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
        if self.rate == SAMPLE_RATE {
            return output.extend_from_slice(samples);
        }
        self.samples.push(samples);
        self.convert(u64::MAX, output);
    }

    /// Ends the run: appends what is left.
    pub fn finish(mut self, output: &mut Vec<f32>) {
        if self.rate != SAMPLE_RATE {
            self.samples.finish();
            let total = self.taken * u64::from(SAMPLE_RATE);
            self.convert(total.div_ceil(u64::from(self.rate)), output);
        }
    }

    /// Gives samples until `total` were given or the input does not suffice for the next.
    fn convert(&mut self, total: u64, output: &mut Vec<f32>) {
        let before = output.len();
        let start = with_widest(Conversion {
            filter: &self.filter,
            samples: self.samples.ready(),
            phase: &mut self.phase,
            limit: (total - self.given).try_into().unwrap_or(usize::MAX),
            output,
        });
        self.given += (output.len() - before) as u64;
        self.samples.advance(start);
    }
}

/// The inner loop; gives the number of input samples it is done with.
struct Conversion<'a> {
    filter: &'a Filter,
    samples: &'a [f32],
    phase: &'a mut usize,
    /// Samples to give at most.
    limit: usize,
    output: &'a mut Vec<f32>,
}

impl Loop for Conversion<'_> {
    type Output = usize;

    #[inline(always)]
    fn run(self) -> usize {
        let Filter {
            taps, phases, step, ..
        } = *self.filter;
        let (mut start, mut phase) = (0, *self.phase);
        let mut given = 0;
        while given < self.limit && start + taps <= self.samples.len() {
            let bank = &self.filter.bank[phase * taps..][..taps];
            self.output
                .push(dot(&self.samples[start..start + taps], bank));
            given += 1;
            phase += step;
            start += phase / phases;
            phase %= phases;
        }
        *self.phase = phase;
        start
    }
}

/// One filter for every position of an output sample between two input samples.
#[derive(Debug)]
struct Filter {
    /// Row by row, a phase each.
    bank: Vec<f32>,
    /// Length of a row, filled up with zeros to whole [`LANES`].
    taps: usize,
    /// The tap that lies on the input sample of phase 0.
    center: usize,
    phases: usize,
    /// Phases from one output sample to the next.
    step: usize,
}

impl Filter {
    fn new(rate: u32) -> Self {
        let common = greatest_common_divisor(rate, SAMPLE_RATE);
        let [phases, step] = [SAMPLE_RATE / common, rate / common].map(|n| n as usize);
        let pass = (CUTOFF * f64::from(SAMPLE_RATE) / f64::from(rate)).min(1.0);
        let length = ((CROSSINGS / pass).ceil() as usize).next_multiple_of(2);
        let center = (length - 1) / 2;
        let taps = length.next_multiple_of(LANES);
        let mut bank = Vec::with_capacity(phases * taps);
        for phase in 0..phases {
            let shift = center as f64 + phase as f64 / phases as f64;
            let row: Vec<f64> = (0..length)
                .map(|tap| windowed_sinc((tap as f64 - shift) * pass, pass * length as f64))
                .collect();
            let gain: f64 = row.iter().sum();
            bank.extend(row.iter().map(|value| (value / gain) as f32));
            bank.resize((phase + 1) * taps, 0.0);
        }
        Self {
            bank,
            taps,
            center,
            phases,
            step,
        }
    }
}

/// A sinc at `x` zero crossings from its middle under a Kaiser window of `width` crossings.
fn windowed_sinc(x: f64, width: f64) -> f64 {
    let sinc = if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    };
    let edge = 2.0 * x / width;
    sinc * bessel_i0(KAISER_BETA * (1.0 - edge * edge).max(0.0).sqrt())
}

/// The modified Bessel function of order 0 by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 0.0);
    while term > sum * f64::EPSILON {
        k += 1.0;
        term *= (x / (2.0 * k)).powi(2);
        sum += term;
    }
    sum
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Summed in lanes: a single sum would have to be added up one by one.
#[inline(always)]
fn dot(samples: &[f32], taps: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let pairs = samples.chunks_exact(LANES).zip(taps.chunks_exact(LANES));
    for (samples, taps) in pairs {
        for lane in 0..LANES {
            sums[lane] += samples[lane] * taps[lane];
        }
    }
    for width in [LANES / 2, LANES / 4, LANES / 8, LANES / 16] {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const FFMPEG: [(u32, [f32; 8]); 3] = [
        (
            44_100,
            [
                -0.460943, -0.4645426, -0.1277475, 0.0635141, -0.1359063, -0.1311961, 0.1243515,
                -0.0061851,
            ],
        ),
        (
            48_000,
            [
                -0.4746941, -0.4379247, -0.0709747, 0.0396595, -0.1957673, 0.0051938, 0.0862989,
                0.0067367,
            ],
        ),
        (
            11_025,
            [
                -0.5, -0.4930647, -0.4851541, -0.4542488, -0.4136269, -0.3933244, -0.3150483,
                -0.245307,
            ],
        ),
    ];

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
        let found = convert(&tone(5000.0, 44_100, 44_100), 44_100, 1152);
        let error = error_db(&found, &tone(5000.0, 16_000, 16_000));
        assert!(error < -80.0, "consonants: {error} dB");
    }

    #[test]
    fn what_16_khz_cannot_carry_is_gone() {
        for (hertz, rate) in [(10_000.0, 44_100), (10_000.0, 48_000), (9_500.0, 22_050)] {
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
            for count in [0_usize, 1, 2, 160, 441, 4409, 44_101] {
                let expected = (count * 16_000).div_ceil(rate as usize);
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
    fn equals_ffmpeg() {
        // The first samples of `ffmpeg -ar 16000 -c:a pcm_f32le` for this input.
        let ramp: Vec<f32> = (0..2000)
            .map(|n| (n * n % 97) as f32 / 97.0 - 0.5)
            .collect();
        for (rate, expected) in FFMPEG {
            let found = convert(&ramp, rate, 100);
            for (n, (found, expected)) in found.iter().zip(expected).enumerate() {
                let difference = (found - expected).abs();
                assert!(
                    difference < 1e-5,
                    "{rate} Hz, sample {n}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn refuses_what_is_no_rate() {
        assert!(RateConverter::try_new(0).is_none());
        assert!(RateConverter::try_new(4_000_000_000).is_none());
    }
}
