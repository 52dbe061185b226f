//! Whisper's log-mel features, streamed.
//!
//! The front end the models were trained with: 16 kHz samples, periodic Hann windows of 400 samples
//! every 160, power spectrum of a real FFT of 400, Slaney's mel filters (linear below 1 kHz,
//! logarithmic above, each of constant energy), `log10` with a floor of 1e-10. Frames are centred:
//! frame `k` looks at samples `160 k - 200 .. 160 k + 200`, and both ends are mirrored.
//!
//! faster-whisper's sequential mode is the reference for lengths: it appends 160 zero samples,
//! computes every centred frame, drops the last, and of the rest calls all but the last *content*.
//! So `n` samples give `n / 160 + 1` frames, of which `n / 160` are content; the one more still
//! counts for the maximum that [`normalise`] needs.
//!
//! The reference implementations read the whole file first. This one keeps a window's worth of
//! samples; normalising, which needs the file's maximum, is therefore a step of its own.

use std::f64::consts::{LOG10_2, LOG10_E, TAU};
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::mirror::Mirrored;

/// Samples per second everything here works on.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples from one frame to the next: 10 ms.
pub const HOP: usize = 160;
/// Samples a frame looks at: 25 ms.
pub const WINDOW: usize = 400;

const BINS: usize = WINDOW / 2 + 1;
/// Samples mirrored at both ends, so that frames are centred.
const MARGIN: usize = WINDOW / 2;
/// Zero samples behind the audio.
const PADDING: usize = HOP;
const FLOOR: f32 = 1e-10;

/// Frames of content that `samples` give.
pub fn content_frames(samples: u64) -> u64 {
    samples / HOP as u64
}

/// What the model sees: at most 8 (80 dB) below the file's maximum, then about -1 to 1.
pub fn normalise(log_mel: f32, max_log_mel: f32) -> f32 {
    (log_mel.max(max_log_mel - 8.0) + 4.0) / 4.0
}

/// A bank of triangular filters, stored without the zeros.
#[derive(Debug, Clone)]
pub struct MelFilters {
    /// Per band: the first bin and the number of weights.
    bands: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

impl MelFilters {
    /// `n_mels` bands from 0 to 8 kHz.
    pub fn new(n_mels: usize) -> Self {
        let top = hertz_to_mel(f64::from(SAMPLE_RATE) / 2.0);
        let edges: Vec<f64> = (0..n_mels + 2)
            .map(|i| mel_to_hertz(top * i as f64 / (n_mels + 1) as f64))
            .collect();
        let mut filters = Self {
            bands: Vec::with_capacity(n_mels),
            weights: Vec::new(),
        };
        for corners in edges.windows(3) {
            filters.push_triangle(corners[0], corners[1], corners[2]);
        }
        filters
    }

    /// Bands.
    pub fn n_mels(&self) -> usize {
        self.bands.len()
    }

    /// Band energies of a power spectrum.
    ///
    /// # Panics
    /// If there are fewer than 201 bins or `energies` is shorter than [`n_mels`](Self::n_mels).
    #[inline]
    pub fn apply(&self, power: &[f32], energies: &mut [f32]) {
        let mut weights = self.weights.as_slice();
        for (energy, &(first, count)) in energies[..self.bands.len()].iter_mut().zip(&self.bands) {
            let (band, rest) = weights.split_at(count);
            weights = rest;
            let bins = &power[first..first + count];
            *energy = bins
                .iter()
                .zip(band)
                .map(|(bin, weight)| bin * weight)
                .sum();
        }
    }

    fn push_triangle(&mut self, low: f64, peak: f64, high: f64) {
        // Slaney: the area of every triangle is the same.
        let height = 2.0 / (high - low);
        let weight = |bin: usize| {
            let hertz = bin as f64 * f64::from(SAMPLE_RATE) / WINDOW as f64;
            height * ((hertz - low) / (peak - low)).min((high - hertz) / (high - peak))
        };
        let first = (0..BINS).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
        let before = self.weights.len();
        let positive = (first..BINS).map(weight).take_while(|&weight| weight > 0.0);
        self.weights.extend(positive.map(|weight| weight as f32));
        self.bands.push((first, self.weights.len() - before));
    }
}

/// Hertz per mel below the knee of the scale.
const LINEAR: f64 = 200.0 / 3.0;
/// Where the scale turns logarithmic, in hertz; in mel it is `KNEE / LINEAR`.
const KNEE: f64 = 1000.0;

/// Mel per e-fold of frequency above the knee: 27 mel for a factor of 6.4.
fn logarithmic() -> f64 {
    27.0 / 6.4_f64.ln()
}

fn hertz_to_mel(hertz: f64) -> f64 {
    if hertz < KNEE {
        hertz / LINEAR
    } else {
        KNEE / LINEAR + (hertz / KNEE).ln() * logarithmic()
    }
}

fn mel_to_hertz(mel: f64) -> f64 {
    let knee = KNEE / LINEAR;
    if mel < knee {
        mel * LINEAR
    } else {
        KNEE * ((mel - knee) / logarithmic()).exp()
    }
}

/// Turns samples into log-mel frames as they come.
pub struct LogMel {
    filters: MelFilters,
    transform: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    windowed: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    power: Vec<f32>,
    samples: Mirrored,
    samples_taken: u64,
    frames_given: u64,
}

impl LogMel {
    /// A front end for a model of `n_mels` bands.
    pub fn new(n_mels: usize) -> Self {
        let transform = RealFftPlanner::<f32>::new().plan_fft_forward(WINDOW);
        let hann = |n: usize| 0.5 - 0.5 * (TAU * n as f64 / WINDOW as f64).cos();
        Self {
            filters: MelFilters::new(n_mels),
            hann: (0..WINDOW).map(|n| hann(n) as f32).collect(),
            windowed: vec![0.0; WINDOW],
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            power: vec![0.0; BINS],
            transform,
            samples: Mirrored::new(MARGIN, MARGIN),
            samples_taken: 0,
            frames_given: 0,
        }
    }

    /// Bands.
    pub fn n_mels(&self) -> usize {
        self.filters.n_mels()
    }

    /// Takes samples at 16 kHz and appends the frames that are complete to `frames`, one after the
    /// other, `n_mels` values each, not normalised.
    pub fn push(&mut self, samples: &[f32], frames: &mut Vec<f32>) {
        self.samples.push(samples);
        self.samples_taken += samples.len() as u64;
        self.give_frames(u64::MAX, frames);
    }

    /// Ends the audio: appends the remaining frames and gives the number of content frames.
    pub fn finish(mut self, frames: &mut Vec<f32>) -> u64 {
        self.samples.push(&[0.0; PADDING]);
        self.samples.finish();
        let content = content_frames(self.samples_taken);
        self.give_frames(content + 1, frames);
        content
    }

    fn give_frames(&mut self, limit: u64, frames: &mut Vec<f32>) {
        let mut start = 0;
        while start + WINDOW <= self.samples.ready().len() && self.frames_given < limit {
            self.give_frame(start, frames);
            start += HOP;
        }
        self.samples.advance(start);
    }

    fn give_frame(&mut self, start: usize, frames: &mut Vec<f32>) {
        let samples = &self.samples.ready()[start..start + WINDOW];
        for ((windowed, sample), hann) in self.windowed.iter_mut().zip(samples).zip(&self.hann) {
            *windowed = sample * hann;
        }
        self.transform
            .process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch)
            .expect("the transform made these buffers");
        let from = frames.len();
        frames.resize(from + self.filters.n_mels(), 0.0);
        let bands = &mut frames[from..];
        for (power, value) in self.power.iter_mut().zip(&self.spectrum) {
            *power = value.norm_sqr();
        }
        self.filters.apply(&self.power, bands);
        for value in bands {
            *value = log10(value.max(FLOOR));
        }
        self.frames_given += 1;
    }
}

/// The decadic logarithm of a positive normal number, to the precision of an `f32`. The library's is
/// computed number by number, this one in vectors.
///
/// With `x = 2^e * m` and `m` around 1, `ln m` is twice the area tangent of `(m - 1) / (m + 1)`, whose
/// series needs five terms.
#[inline(always)]
fn log10(x: f32) -> f32 {
    /// Bits of the square root of a half: where `m` begins.
    const ORIGIN: u32 = 0x3f35_04f3;
    let above = x.to_bits().wrapping_sub(ORIGIN);
    let exponent = (above as i32) >> 23;
    let m = f32::from_bits((above & 0x007f_ffff) + ORIGIN);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = 1.0 / 9.0;
    let series = series * square + 1.0 / 7.0;
    let series = series * square + 1.0 / 5.0;
    let series = series * square + 1.0 / 3.0;
    let ln_m = 2.0 * (s + s * square * series);
    (f64::from(exponent) * LOG10_2 + f64::from(ln_m) * LOG10_E) as f32
}

impl std::fmt::Debug for LogMel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogMel")
            .field("n_mels", &self.n_mels())
            .field("samples_taken", &self.samples_taken)
            .field("frames_given", &self.frames_given)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        n_mels: usize,
        samples: usize,
        content_frames: u64,
        max_log_mel: f32,
        frames: Vec<Frame>,
    }

    #[derive(Deserialize)]
    struct Frame {
        index: usize,
        log_mel: Vec<f32>,
    }

    /// The signal of `tools/reference/mel_vectors.py`: a chirp and noise of a 64-bit congruential
    /// generator, quiet in the middle third.
    fn signal(samples: usize) -> Vec<f32> {
        let mut state = 1_u64;
        (0..samples)
            .map(|n| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let noise = (state >> 40) as f64 / f64::from(1 << 23) - 1.0;
                let t = n as f64 / f64::from(SAMPLE_RATE);
                let quiet = if n / (samples / 3) == 1 { 1e-3 } else { 1.0 };
                (quiet * (0.5 * (TAU * (100.0 + 2000.0 * t) * t).sin() + 0.05 * noise)) as f32
            })
            .collect()
    }

    fn log_mel(samples: &[f32], n_mels: usize, block: usize) -> (Vec<f32>, u64) {
        let mut mel = LogMel::new(n_mels);
        let mut frames = Vec::new();
        for block in samples.chunks(block) {
            mel.push(block, &mut frames);
        }
        let content = mel.finish(&mut frames);
        (frames, content)
    }

    fn compare(vectors: &str) {
        let expected: Vectors = serde_json::from_str(vectors).unwrap();
        let (frames, content) = log_mel(&signal(expected.samples), expected.n_mels, 777);
        assert_eq!(content, expected.content_frames);
        assert_eq!(frames.len(), (content as usize + 1) * expected.n_mels);
        let max = frames.iter().copied().fold(f32::MIN, f32::max);
        assert!((max - expected.max_log_mel).abs() < 1e-4);
        for Frame { index, log_mel } in expected.frames {
            let ours = &frames[index * expected.n_mels..][..expected.n_mels];
            for (band, (ours, theirs)) in ours.iter().zip(&log_mel).enumerate() {
                // What lies deeper than the model is shown is rounding noise of the transform.
                let [ours, theirs] = [ours, theirs].map(|value| value.max(max - 8.0));
                let difference = (ours - theirs).abs();
                assert!(
                    difference < 1e-4,
                    "frame {index} band {band}: {ours} {theirs}"
                );
            }
        }
    }

    #[test]
    fn eighty_bands_equal_the_reference() {
        compare(include_str!("../../tests/fixtures/mel/chirp-80.json"));
    }

    #[test]
    fn a_hundred_and_twenty_eight_bands_equal_the_reference() {
        compare(include_str!("../../tests/fixtures/mel/chirp-128.json"));
    }

    #[test]
    fn audio_shorter_than_the_margin_equals_the_reference() {
        compare(include_str!("../../tests/fixtures/mel/short-80.json"));
    }

    #[test]
    fn blocks_do_not_show_in_the_frames() {
        let samples = signal(5000);
        let whole = log_mel(&samples, 80, usize::MAX);
        for block in [1, 159, 160, 201, 400] {
            assert_eq!(log_mel(&samples, 80, block), whole, "blocks of {block}");
        }
    }

    #[test]
    fn counts_frames_as_faster_whisper_does() {
        for (samples, content) in [(0, 0), (1, 0), (159, 0), (160, 1), (16_000, 100)] {
            let (frames, found) = log_mel(&vec![0.0; samples], 80, 1000);
            assert_eq!(found, content, "{samples} samples");
            assert_eq!(frames.len() as u64, (content + 1) * 80, "{samples} samples");
            assert!(frames.iter().all(|&value| value == -10.0), "silence");
        }
    }

    #[test]
    fn the_logarithm_is_the_librarys() {
        let mut worst = 0_f64;
        for exponent in -100..100 {
            for step in 0..100 {
                let x = 10_f64.powf((f64::from(exponent) + f64::from(step) / 100.0) / 10.0) as f32;
                worst = worst.max((f64::from(log10(x)) - f64::from(x).log10()).abs());
            }
        }
        assert!(worst < 1e-6, "{worst}");
        assert_eq!(log10(1.0), 0.0);
        // Silence must be exactly the floor.
        assert_eq!(log10(FLOOR), -10.0);
    }

    #[test]
    fn every_band_hears_something() {
        for n_mels in [80, 128] {
            let filters = MelFilters::new(n_mels);
            let mut energies = vec![0.0; n_mels];
            filters.apply(&[1.0; BINS], &mut energies);
            assert!(energies.iter().all(|&energy| energy > 0.0));
        }
    }

    #[test]
    fn normalises_to_two_units_below_the_maximum() {
        assert_eq!(normalise(1.5, 1.5), 1.375);
        assert_eq!(normalise(-10.0, 1.5), -0.625);
    }
}
