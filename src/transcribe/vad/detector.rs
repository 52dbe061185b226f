//! How probable speech is, frame by frame.

use std::collections::VecDeque;

use earshot::Detector;

use super::level::Leveller;
use super::steadiness::{REACH, STEP, Steadiness};

const FRAMES_PER_STEP: usize = STEP / SpeechDetector::FRAME;

/// Speech or not, frame by frame, as a stream in constant memory.
///
/// A small network judges the sound, brought to one level first; what it takes for speech and what
/// holds its pitch for seconds, as music and hum do, is none. For that, probabilities come
/// [`LOOK_AHEAD`](Self::LOOK_AHEAD) frames late, in order and one for each frame.
///
/// The same samples give the same probabilities, whatever the lengths of the blocks they come in.
pub struct SpeechDetector {
    network: Box<Detector>,
    leveller: Leveller,
    steadiness: Steadiness,
    /// Samples of a step that is not complete yet.
    rest: Vec<f32>,
    /// Of frames whose steadiness is open.
    waiting: VecDeque<f32>,
}

impl SpeechDetector {
    /// Samples in a frame, at 16 kHz: 16 ms.
    pub const FRAME: usize = 256;

    /// Frames behind a frame that are needed for its probability, at most: 2 s.
    pub const LOOK_AHEAD: usize = REACH * FRAMES_PER_STEP;

    /// A detector at the beginning of a recording.
    pub fn new() -> Self {
        Self {
            network: Detector::default_boxed(),
            leveller: Leveller::new(),
            steadiness: Steadiness::new(),
            rest: Vec::with_capacity(STEP),
            waiting: VecDeque::with_capacity(Self::LOOK_AHEAD + FRAMES_PER_STEP),
        }
    }

    /// Takes samples at 16 kHz, mono, nominally -1 to 1, and appends the probabilities from 0 to 1
    /// that they make certain.
    pub fn push(&mut self, mut samples: &[f32], probabilities: &mut Vec<f32>) {
        while !samples.is_empty() {
            let missing = (STEP - self.rest.len()).min(samples.len());
            let (head, tail) = samples.split_at(missing);
            self.rest.extend(head.iter().map(|&sample| sound(sample)));
            samples = tail;
            if let Ok(step) = <&[f32; STEP]>::try_from(self.rest.as_slice()) {
                let is_steady = self.steadiness.push(step);
                self.judge_frames();
                if let Some(is_steady) = is_steady {
                    self.give_step(is_steady, probabilities);
                }
            }
        }
    }

    /// Ends the recording: appends the remaining probabilities. What is left of a frame counts as
    /// one, as if silence followed.
    pub fn finish(mut self, probabilities: &mut Vec<f32>) {
        self.rest
            .resize(self.rest.len().next_multiple_of(Self::FRAME), 0.0);
        self.judge_frames();
        let mut is_steady = false;
        while let Some(verdict) = self.steadiness.finish() {
            is_steady = verdict;
            self.give_step(is_steady, probabilities);
        }
        // A last step that is not complete belongs to the one before.
        self.give_step(is_steady, probabilities);
    }

    /// Judges the whole frames that lie in `rest`.
    fn judge_frames(&mut self) {
        let (frames, _) = self.rest.as_chunks::<{ Self::FRAME }>();
        for frame in frames {
            let mut frame = *frame;
            self.leveller.apply(&mut frame);
            let probability = self.network.predict_f32(&frame);
            self.waiting.push_back(probability.clamp(0.0, 1.0));
        }
        self.rest.clear();
    }

    fn give_step(&mut self, is_steady: bool, probabilities: &mut Vec<f32>) {
        let frames = self.waiting.len().min(FRAMES_PER_STEP);
        let judged = self.waiting.drain(..frames);
        probabilities.extend(judged.map(|p| if is_steady { 0.0 } else { p }));
    }
}

/// A value that is no number would stay in the network's memory for good.
fn sound(sample: f32) -> f32 {
    if sample.is_nan() {
        0.0
    } else {
        sample.clamp(-1.0, 1.0)
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
            .field("waiting", &self.waiting.len())
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
    fn probabilities_come_no_later_than_promised() {
        let mut detector = SpeechDetector::new();
        let mut probabilities = Vec::new();
        for (frame, samples) in noise(200 * SpeechDetector::FRAME)
            .chunks(SpeechDetector::FRAME)
            .enumerate()
        {
            detector.push(samples, &mut probabilities);
            let due = (frame + 1).saturating_sub(SpeechDetector::LOOK_AHEAD);
            assert!(
                probabilities.len() >= due,
                "{} behind frame {frame}",
                probabilities.len()
            );
        }
        assert!(!probabilities.is_empty());
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
