//! Tells music and hum from speech by what holds its pitch.
//!
//! A note's partials stay where they are for a tenth of a second and longer; a voice's glide all the time,
//! and its sounds follow each other faster. So the spectral peaks of one stretch of 64 ms are compared
//! with those of the next: the cosine of the two, weighted by energy over two seconds. Speech comes to
//! 0.65 at most, even a synthesiser's; chords, arpeggios and hum to 0.78 and more. Speech over music
//! is speech as long as it is the louder of the two.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::ops::Range;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Samples compared with the next so many: 64 ms at 16 kHz.
pub(super) const STEP: usize = 1024;
/// Steps the mean is taken over, to either side: 2 s.
pub(super) const REACH: usize = 31;
/// What is steadier is not speech.
const LIMIT: f32 = 0.72;
/// Bins from 200 Hz to 4 kHz.
const BAND: Range<usize> = 13..256;
/// Bins to either side that a peak must rise above, in the mean.
const AROUND: usize = 4;

/// Compares stretches of sound.
pub(super) struct Steadiness {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    windowed: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// Of the band and what is around it.
    amplitudes: Vec<f32>,
    previous: Peaks,
    current: Peaks,
    /// Of the last steps, `2 * REACH - 1` at most.
    likenesses: VecDeque<Likeness>,
    /// Steps whose verdict is open: the last of `likenesses`.
    open: usize,
}

/// What rises out of a spectrum.
#[derive(Default)]
struct Peaks {
    heights: Vec<f32>,
    energy: f32,
}

/// Of a step's peaks to those before.
#[derive(Clone, Copy)]
struct Likeness {
    common: f32,
    total: f32,
}

impl Steadiness {
    pub(super) fn new() -> Self {
        let transform = RealFftPlanner::<f32>::new().plan_fft_forward(STEP);
        let hann = |n: usize| 0.5 - 0.5 * (TAU * n as f64 / STEP as f64).cos();
        let silence = || Peaks {
            heights: vec![0.0; BAND.len()],
            energy: 0.0,
        };
        Self {
            window: (0..STEP).map(|n| hann(n) as f32).collect(),
            windowed: transform.make_input_vec(),
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            transform,
            amplitudes: vec![0.0; BAND.len() + 2 * AROUND],
            previous: silence(),
            current: silence(),
            likenesses: VecDeque::with_capacity(2 * REACH),
            open: 0,
        }
    }

    /// Takes the next step and tells of the one `REACH - 1` steps back whether it is steady sound.
    pub(super) fn push(&mut self, step: &[f32; STEP]) -> Option<bool> {
        self.transform(step);
        self.current.rise_from(&self.amplitudes);
        let likeness = self.current.likeness(&self.previous);
        std::mem::swap(&mut self.previous, &mut self.current);
        if self.likenesses.len() == 2 * REACH - 1 {
            self.likenesses.pop_front();
        }
        self.likenesses.push_back(likeness);
        self.open += 1;
        (self.open == REACH).then(|| self.close())
    }

    /// Tells of the remaining steps, one after the other.
    pub(super) fn finish(&mut self) -> Option<bool> {
        (self.open > 0).then(|| self.close())
    }

    /// Decides about the first open step: steady if it was so before and will be so after. That
    /// keeps what is spoken right before or behind music. Near the recording's ends the one side
    /// reaches over to the other, and a recording that is shorter than that is not judged.
    fn close(&mut self) -> bool {
        let known = self.likenesses.len();
        let at = known - self.open;
        self.open -= 1;
        let Some(last) = known.checked_sub(REACH) else {
            return false;
        };
        let [past, future] = [(at + 1).saturating_sub(REACH), at.min(last)];
        [past, future]
            .into_iter()
            .all(|from| self.mean(from..from + REACH) > LIMIT)
    }

    fn mean(&self, steps: Range<usize>) -> f32 {
        let (common, total) = self
            .likenesses
            .range(steps)
            .fold((0.0, 0.0), |(common, total), step| {
                (common + step.common, total + step.total)
            });
        // No tones at all are not steady.
        common / f32::max(total, f32::MIN_POSITIVE)
    }

    fn transform(&mut self, step: &[f32; STEP]) {
        for ((windowed, sample), window) in self.windowed.iter_mut().zip(step).zip(&self.window) {
            *windowed = sample * window;
        }
        self.transform
            .process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch)
            .expect("the transform made these buffers");
        let bins = &self.spectrum[BAND.start - AROUND..BAND.end + AROUND];
        for (amplitude, bin) in self.amplitudes.iter_mut().zip(bins) {
            *amplitude = bin.norm_sqr().sqrt();
        }
    }
}

impl Peaks {
    /// What of each amplitude is above the mean around it.
    fn rise_from(&mut self, amplitudes: &[f32]) {
        const WIDTH: usize = 2 * AROUND + 1;
        let arounds = amplitudes.windows(WIDTH);
        for (height, around) in self.heights.iter_mut().zip(arounds) {
            let mean = around.iter().sum::<f32>() / WIDTH as f32;
            *height = (around[AROUND] - mean).max(0.0);
        }
        self.energy = self.heights.iter().map(|height| height * height).sum();
    }

    fn likeness(&self, other: &Self) -> Likeness {
        let pairs = self.heights.iter().zip(&other.heights);
        Likeness {
            common: pairs.map(|(a, b)| a * b).sum(),
            total: (self.energy * other.energy).sqrt(),
        }
    }
}

impl std::fmt::Debug for Steadiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steadiness")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tone that jumps by a semitone so many times a second, in steps.
    fn tone(steps: usize, jumps_a_second: f64) -> Vec<[f32; STEP]> {
        let mut phase = 0.0;
        let mut samples = (0..).map(|n| {
            let jumps = (f64::from(n) / 16_000.0 * jumps_a_second) as i32;
            phase += 440.0 * 2_f64.powf(f64::from(jumps % 12) / 12.0) / 16_000.0;
            (TAU * phase).sin() as f32
        });
        (0..steps)
            .map(|_| std::array::from_fn(|_| samples.next().unwrap_or(0.0)))
            .collect()
    }

    fn verdicts(steps: &[[f32; STEP]]) -> Vec<bool> {
        let mut steadiness = Steadiness::new();
        let mut verdicts: Vec<bool> = steps
            .iter()
            .filter_map(|step| steadiness.push(step))
            .collect();
        verdicts.extend(std::iter::from_fn(|| steadiness.finish()));
        verdicts
    }

    #[test]
    fn notes_are_steady_and_what_changes_faster_is_not() {
        assert_eq!(verdicts(&tone(100, 2.0)), [true; 100]);
        assert_eq!(verdicts(&tone(100, 16.0)), [false; 100]);
    }

    #[test]
    fn the_whole_band_is_heard() {
        // Bins of 15.6 Hz; the first and the last of the band.
        for bin in [BAND.start, BAND.end - 1] {
            let steps: Vec<[f32; STEP]> = (0..40)
                .map(|_| {
                    std::array::from_fn(|n| (TAU * (bin * n) as f64 / STEP as f64).sin() as f32)
                })
                .collect();
            assert_eq!(verdicts(&steps), [true; 40], "bin {bin}");
        }
    }

    #[test]
    fn silence_is_not_steady() {
        assert_eq!(verdicts(&[[0.0; STEP]; 80]), [false; 80]);
    }

    #[test]
    fn a_sound_shorter_than_the_reach_is_not_judged() {
        for steps in [0, 1, REACH - 1] {
            assert_eq!(verdicts(&tone(steps, 1.0)), vec![false; steps]);
        }
    }

    #[test]
    fn what_comes_right_before_and_behind_a_change_is_kept() {
        let steps = [tone(60, 16.0), tone(100, 1.0), tone(60, 16.0)].concat();
        let verdicts = verdicts(&steps);
        let steady = verdicts.iter().filter(|&&is_steady| is_steady).count();
        assert!((50..=100).contains(&steady), "{steady}");
        assert!(!verdicts[..60].contains(&true) && !verdicts[160..].contains(&true));
    }
}
