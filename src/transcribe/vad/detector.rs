//! How probable speech is, frame by frame.

use earshot::Detector;

/// Speech or not, frame by frame, as a stream in constant memory.
///
/// The same samples give the same probabilities, whatever the lengths of the blocks they come in. A
/// frame's probability depends on it and what came before, not on what follows.
pub struct SpeechDetector {
    network: Box<Detector>,
    /// Samples of a frame that is not complete yet.
    rest: Vec<f32>,
}

impl SpeechDetector {
    /// Samples in a frame, at 16 kHz: 16 ms.
    pub const FRAME: usize = 256;

    /// A detector at the beginning of a recording.
    pub fn new() -> Self {
        Self {
            network: Detector::default_boxed(),
            rest: Vec::with_capacity(Self::FRAME),
        }
    }

    /// Takes samples at 16 kHz, mono, nominally -1 to 1, and appends a probability from 0 to 1 for
    /// each frame they complete.
    pub fn push(&mut self, samples: &[f32], probabilities: &mut Vec<f32>) {
        let missing = (Self::FRAME - self.rest.len()).min(samples.len());
        let (head, samples) = samples.split_at(missing);
        self.rest.extend_from_slice(head);
        if self.rest.len() < Self::FRAME {
            return;
        }
        let mut first = std::mem::take(&mut self.rest);
        probabilities.push(self.judge(&first));
        let frames = samples.chunks_exact(Self::FRAME);
        first.clear();
        first.extend_from_slice(frames.remainder());
        self.rest = first;
        probabilities.extend(frames.map(|frame| self.judge(frame)));
    }

    /// Ends the recording: appends a probability for what is left, as if silence followed.
    pub fn finish(mut self, probabilities: &mut Vec<f32>) {
        if !self.rest.is_empty() {
            let silence = [0.0; Self::FRAME];
            let missing = Self::FRAME - self.rest.len();
            self.push(&silence[..missing], probabilities);
        }
    }

    fn judge(&mut self, frame: &[f32]) -> f32 {
        let mut sound = [0.0; Self::FRAME];
        for (sound, &sample) in sound.iter_mut().zip(frame) {
            // A value that is no number would stay in the network's memory for good.
            *sound = if sample.is_nan() {
                0.0
            } else {
                sample.clamp(-1.0, 1.0)
            };
        }
        self.network.predict_f32(&sound).clamp(0.0, 1.0)
    }
}

impl Default for SpeechDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for SpeechDetector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpeechDetector")
            .field("rest", &self.rest.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<f32> {
        let mut state = 1_u32;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn probabilities(samples: &[f32], block: usize) -> Vec<f32> {
        let mut detector = SpeechDetector::new();
        let mut probabilities = Vec::new();
        for block in samples.chunks(block) {
            detector.push(block, &mut probabilities);
        }
        detector.finish(&mut probabilities);
        probabilities
    }

    #[test]
    fn blocks_do_not_show() {
        let samples = noise(5000);
        let whole = probabilities(&samples, usize::MAX);
        assert_eq!(whole.len(), 20);
        for block in [1, 255, 256, 257, 1000] {
            assert_eq!(probabilities(&samples, block), whole, "blocks of {block}");
        }
    }

    #[test]
    fn one_probability_a_frame_and_one_for_the_rest() {
        for (samples, frames) in [(0, 0), (1, 1), (256, 1), (257, 2), (512, 2)] {
            let found = probabilities(&vec![0.1; samples], 100);
            assert_eq!(found.len(), frames, "{samples} samples");
        }
    }

    #[test]
    fn wild_samples_leave_the_detector_sound() {
        let mut samples = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30];
        samples.resize(16_000, 0.0);
        let found = probabilities(&samples, 4000);
        assert!(found.iter().all(|p| (0.0..=1.0).contains(p)), "{found:?}");
        assert!(found[found.len() - 10..].iter().all(|&p| p < 0.5));
    }
}
