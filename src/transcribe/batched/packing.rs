//! Speech packed into windows of 30 s.

use std::sync::Arc;

use super::quiet::quiet_frames;
use super::timeline::Timeline;
use crate::transcribe::engine::MelWindow;
use crate::transcribe::mel::{self, LogMel, SAMPLE_RATE};
use crate::transcribe::vad::SpeechSpan;

/// Samples of a whole window.
pub(super) const WINDOW: usize = 30 * SAMPLE_RATE as usize;

/// Samples of a mel frame's step.
const FRAME: usize = SAMPLE_RATE as usize / 100;

/// Speech of at most 30 s, without the longer silences between.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SpeechWindow {
    pub(super) mel: Arc<MelWindow>,
    /// Probability of speech, one for each frame of 10 ms; 0 where the window is as quiet as it gets.
    pub(super) speech: Arc<[f32]>,
    pub(super) timeline: Timeline,
}

/// Speech that is gathered for a window.
#[derive(Debug, Default)]
pub(super) struct Packed {
    samples: Vec<f32>,
    speech: Vec<f32>,
    pub(super) timeline: Timeline,
}

/// Fills windows with spans of speech, in order, and cuts none of them.
#[derive(Debug, Default)]
pub(super) struct Packer {
    open: Packed,
}

impl Packer {
    /// Adds a span and its samples, 30 s at most; gives the window that it did not fit into. `speech`
    /// tells how probable speech is at a sample of the audio.
    pub(super) fn push(
        &mut self,
        span: SpeechSpan,
        samples: &[f32],
        speech: impl Fn(u64) -> f32,
    ) -> Option<Packed> {
        let is_full = self.open.samples.len() + samples.len() > WINDOW;
        let full = is_full.then(|| self.take()).flatten();
        let before = self.open.samples.len();
        self.open.samples.extend_from_slice(samples);
        self.open.timeline.push(span);
        loop {
            let middle = self.open.speech.len() * FRAME + FRAME / 2;
            if middle >= self.open.samples.len() {
                break;
            }
            let sample = span.start + middle.saturating_sub(before) as u64;
            self.open.speech.push(speech(sample));
        }
        full
    }

    /// The window under way.
    pub(super) fn take(&mut self) -> Option<Packed> {
        let packed = std::mem::take(&mut self.open);
        (!packed.timeline.is_empty()).then_some(packed)
    }
}

impl Packed {
    /// Log-mel features, normalised by the window's own maximum: the file's is not known before its
    /// end (faster-whisper's batched mode does the same).
    pub(super) fn features(self, n_mels: usize) -> SpeechWindow {
        let mut log_mel = LogMel::new(n_mels);
        let mut values = Vec::with_capacity(n_mels * (MelWindow::FRAMES + 1));
        log_mel.push(&self.samples, &mut values);
        let content = log_mel.finish(&mut values) as usize;
        let frames = content.min(MelWindow::FRAMES);
        let heard = &values[..frames * n_mels];
        let loudest = heard.iter().copied().fold(f32::MIN, f32::max);
        let mut features = vec![0.0; n_mels * MelWindow::FRAMES];
        for (column, frame) in heard.chunks_exact(n_mels).enumerate() {
            for (band, &value) in frame.iter().enumerate() {
                features[band * MelWindow::FRAMES + column] = mel::normalise(value, loudest);
            }
        }
        let mel = MelWindow {
            features,
            n_mels,
            frames,
        };
        let mut speech = self.speech;
        for (probability, is_quiet) in speech.iter_mut().zip(quiet_frames(&mel)) {
            if is_quiet {
                *probability = 0.0;
            }
        }
        SpeechWindow {
            mel: Arc::new(mel),
            speech: speech.into(),
            timeline: self.timeline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start_s: u64, seconds: u64) -> (SpeechSpan, Vec<f32>) {
        let rate = u64::from(SAMPLE_RATE);
        let span = SpeechSpan {
            start: start_s * rate,
            end: (start_s + seconds) * rate,
        };
        (span, vec![0.1; (seconds * rate) as usize])
    }

    #[test]
    fn spans_fill_windows_and_are_never_cut() {
        let mut packer = Packer::default();
        let mut lengths = Vec::new();
        for (start, seconds) in [(0, 10), (20, 20), (50, 1), (60, 30), (100, 5)] {
            let (span, samples) = span(start, seconds);
            lengths.extend(
                packer
                    .push(span, &samples, |_| 0.9)
                    .map(|w| w.timeline.seconds()),
            );
        }
        lengths.extend(packer.take().map(|w| w.timeline.seconds()));
        assert_eq!(lengths, [30.0, 1.0, 30.0, 5.0]);
        assert!(packer.take().is_none());
    }

    #[test]
    fn a_window_says_how_much_of_it_is_audio() {
        let mut packer = Packer::default();
        let (span, samples) = span(3, 2);
        packer.push(span, &samples, |sample| sample as f32);
        let window = packer.take().unwrap().features(80);
        assert_eq!(window.mel.frames, 200);
        assert_eq!(window.speech.len(), 200);
        assert_eq!(window.speech[..2], [48_080.0, 48_240.0]);
        assert_eq!(window.mel.features.len(), 80 * MelWindow::FRAMES);
        let column = |frame: usize| window.mel.features[frame];
        assert!(column(100) != 0.0 && column(200) == 0.0);
    }
}
