//! Pauses that noise hides from speech detection.
//!
//! In steady noise the detector stays sure of speech from one sentence to the next. But a pause is as
//! quiet as its window gets, whatever the noise, and speech is louder; so loudness shows it.

use crate::transcribe::engine::MelWindow;

/// Frames to either side that a frame's loudness is the mean of: noise varies from one to the next.
const AROUND: usize = 2;

/// Share of a window's frames that are as quiet as it gets, and that are not among its loudest.
const FLOOR: f64 = 0.05;
const LEVEL: f64 = 0.9;

/// What is nearer to the floor than this share of the way to the level is quiet.
const NEAR_FLOOR: f32 = 0.1;

/// Between floor and level, in units of the features: 4 dB. With less there is but one loudness.
const LEAST_RANGE: f32 = 0.1;

/// Tells for each frame of a window whether it is about as quiet as the window gets.
pub(super) fn quiet_frames(window: &MelWindow) -> Vec<bool> {
    let loudness = smoothed(&loudness(window));
    let mut sorted = loudness.clone();
    sorted.sort_by(f32::total_cmp);
    let quantile = |share: f64| {
        let last = sorted.len().saturating_sub(1) as f64;
        sorted.get((share * last) as usize).copied().unwrap_or(0.0)
    };
    let (floor, level) = (quantile(FLOOR), quantile(LEVEL));
    let limit = match level - floor >= LEAST_RANGE {
        true => floor + NEAR_FLOOR * (level - floor),
        false => f32::MIN,
    };
    loudness.into_iter().map(|frame| frame < limit).collect()
}

/// The mean of each frame's bands.
fn loudness(window: &MelWindow) -> Vec<f32> {
    let mut sums = vec![0.0; window.frames];
    for band in window.features.chunks_exact(MelWindow::FRAMES) {
        for (sum, value) in sums.iter_mut().zip(band) {
            *sum += value;
        }
    }
    let bands = window.n_mels.max(1) as f32;
    sums.into_iter().map(|sum| sum / bands).collect()
}

/// Each value's mean with those around it.
fn smoothed(values: &[f32]) -> Vec<f32> {
    let mean = |at: usize| {
        let around = &values[at.saturating_sub(AROUND)..values.len().min(at + AROUND + 1)];
        around.iter().sum::<f32>() / around.len() as f32
    };
    (0..values.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window whose frames have these values in both bands.
    fn window(values: &[f32]) -> MelWindow {
        let mut features = vec![0.0; 2 * MelWindow::FRAMES];
        for band in features.chunks_exact_mut(MelWindow::FRAMES) {
            band[..values.len()].copy_from_slice(values);
        }
        MelWindow {
            features,
            n_mels: 2,
            frames: values.len(),
        }
    }

    #[test]
    fn a_pause_in_noise_is_quiet() {
        // Noise at 0.2, give or take; speech at 0.8, with a stop of two frames in it.
        let values: Vec<f32> = (0..300)
            .map(|frame| match frame {
                100..130 => 0.2 + 0.02 * (frame % 3) as f32,
                200..202 => 0.2,
                _ => 0.7 + 0.1 * (frame % 2) as f32,
            })
            .collect();
        let quiet = quiet_frames(&window(&values));
        let found: Vec<usize> = (0..300).filter(|&frame| quiet[frame]).collect();
        assert_eq!(found, (102..128).collect::<Vec<_>>());
    }

    #[test]
    fn one_loudness_has_no_pause() {
        let values: Vec<f32> = (0..100)
            .map(|frame| 0.5 + 0.01 * (frame % 7) as f32)
            .collect();
        assert!(!quiet_frames(&window(&values)).contains(&true));
        assert!(quiet_frames(&window(&[])).is_empty());
        assert_eq!(quiet_frames(&window(&[0.5])), [false]);
    }
}
