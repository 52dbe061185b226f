//! From the media file to windows of speech, ahead of the model and on a thread of its own.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::packing::{Packed, Packer, SpeechWindow};
use crate::transcribe::decode::{DecodeError, PcmStream};
use crate::transcribe::features::FeatureError;
use crate::transcribe::kpis::{TimedStage, Timings};
use crate::transcribe::mel::SAMPLE_RATE;
use crate::transcribe::source::OpenMedia;
use crate::transcribe::speech::SpeechStream;
use crate::transcribe::vad::{SpeechDetector, SpeechSpan, SpeechSpans, VadOptions};

/// Samples behind the newest that are held: the longest speech with its margins, and what it takes to
/// be sure of its end, twice over.
const HELD: usize = 64 * SAMPLE_RATE as usize;

/// What the whole file turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Audio {
    /// Length of the decoded audio in seconds.
    pub(super) seconds: f64,
    /// How much of it was taken for speech, in seconds, margins included.
    pub(super) speech_seconds: f64,
    /// Windows of speech, those included that were done already.
    pub(super) windows: usize,
    /// What is wrong with it.
    pub(super) damage: Option<String>,
    pub(super) timings: Timings,
}

/// What to make windows of.
pub(super) struct FrontEnd<'a> {
    pub(super) open: &'a OpenMedia<'a>,
    pub(super) vad: &'a VadOptions,
    pub(super) n_mels: usize,
    /// Windows at the beginning that are done already: they are found, and not given.
    pub(super) done: usize,
    pub(super) cancel: &'a CancellationToken,
}

impl FrontEnd<'_> {
    /// Reads the file to its end and sends its windows; ends early, as if cancelled, where nobody takes
    /// them any more.
    pub(super) fn run(self, windows: &SyncSender<SpeechWindow>) -> Result<Audio, FeatureError> {
        let mut way = Way {
            speech: SpeechStream::new(PcmStream::open((self.open)().map_err(DecodeError::Read)?)?),
            sound: Sound::default(),
            detector: SpeechDetector::new(),
            spans: SpeechSpans::new(self.vad),
            packer: Packer::default(),
            front: &self,
            given: 0,
            speech_samples: 0,
            timings: Timings::default(),
            windows,
        };
        let mut probabilities = Vec::new();
        while way.decode(&mut probabilities)? {
            way.judge(&mut probabilities)?;
        }
        way.finish()
    }
}

/// One way through a file.
struct Way<'a> {
    speech: SpeechStream,
    sound: Sound,
    detector: SpeechDetector,
    spans: SpeechSpans,
    packer: Packer,
    front: &'a FrontEnd<'a>,
    given: usize,
    speech_samples: u64,
    timings: Timings,
    windows: &'a SyncSender<SpeechWindow>,
}

impl Way<'_> {
    /// Decodes a block and judges it; `false` at the end.
    fn decode(&mut self, probabilities: &mut Vec<f32>) -> Result<bool, FeatureError> {
        if self.front.cancel.is_cancelled() {
            return Err(FeatureError::Cancelled);
        }
        let started = Instant::now();
        let block = self.speech.next_block()?;
        let decoded = started.elapsed();
        let Some(samples) = block else {
            return Ok(false);
        };
        self.sound.push(samples);
        self.detector.push(samples, probabilities);
        self.timings.add(TimedStage::Decode, decoded);
        self.timings
            .add(TimedStage::Vad, started.elapsed().saturating_sub(decoded));
        Ok(true)
    }

    /// Packs the speech that ended with these frames.
    fn judge(&mut self, probabilities: &mut Vec<f32>) -> Result<(), FeatureError> {
        for probability in probabilities.drain(..) {
            self.sound.push_probability(probability);
            if let Some(span) = self.spans.push(probability) {
                self.pack(span)?;
            }
        }
        Ok(())
    }

    fn pack(&mut self, span: SpeechSpan) -> Result<(), FeatureError> {
        self.speech_samples += span.end - span.start;
        let sound = &self.sound;
        match self
            .packer
            .push(span, sound.of(span), |sample| sound.speech_at(sample))
        {
            Some(packed) => self.give(packed),
            None => Ok(()),
        }
    }

    fn give(&mut self, packed: Packed) -> Result<(), FeatureError> {
        self.given += 1;
        if self.given <= self.front.done {
            return Ok(());
        }
        let started = Instant::now();
        let window = packed.features(self.front.n_mels);
        self.timings.add(TimedStage::Mel, started.elapsed());
        self.windows
            .send(window)
            .map_err(|_| FeatureError::Cancelled)
    }

    fn finish(mut self) -> Result<Audio, FeatureError> {
        let mut probabilities = Vec::new();
        std::mem::take(&mut self.detector).finish(&mut probabilities);
        self.judge(&mut probabilities)?;
        let samples = self.speech.samples();
        let spans = std::mem::replace(&mut self.spans, SpeechSpans::new(self.front.vad));
        for span in spans.finish(samples) {
            self.pack(span)?;
        }
        if let Some(packed) = self.packer.take() {
            self.give(packed)?;
        }
        Ok(Audio {
            seconds: samples as f64 / f64::from(SAMPLE_RATE),
            speech_seconds: self.speech_samples as f64 / f64::from(SAMPLE_RATE),
            windows: self.given,
            damage: self.speech.damage(),
            timings: self.timings,
        })
    }
}

/// The newest samples, and how probable speech is in them.
#[derive(Debug, Default)]
struct Sound {
    samples: Vec<f32>,
    /// Index of the first one held.
    first: u64,
    /// By frames of the detector.
    probabilities: VecDeque<f32>,
    /// Index of the first one held.
    first_probability: u64,
}

impl Sound {
    fn push(&mut self, samples: &[f32]) {
        // Seldom, so that what is moved is little per sample.
        if self.samples.len() + samples.len() > 2 * HELD {
            let surplus = self.samples.len().saturating_sub(HELD);
            self.samples.drain(..surplus);
            self.first += surplus as u64;
        }
        self.samples.extend_from_slice(samples);
    }

    fn push_probability(&mut self, probability: f32) {
        self.probabilities.push_back(probability);
        if self.probabilities.len() > HELD / SpeechDetector::FRAME {
            self.probabilities.pop_front();
            self.first_probability += 1;
        }
    }

    /// How probable speech is at a sample that is held; 0 where that is unknown.
    fn speech_at(&self, sample: u64) -> f32 {
        let frame = sample / SpeechDetector::FRAME as u64;
        let held = frame.checked_sub(self.first_probability);
        let held = held.and_then(|at| self.probabilities.get(usize::try_from(at).ok()?));
        held.copied().unwrap_or(0.0)
    }

    /// The samples of `span`, which ended no longer ago than it can last.
    fn of(&self, span: SpeechSpan) -> &[f32] {
        let index = |sample: u64| {
            let held = sample.saturating_sub(self.first);
            usize::try_from(held).map_or(self.samples.len(), |at| at.min(self.samples.len()))
        };
        &self.samples[index(span.start)..index(span.end)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_minute_is_held() {
        let mut sound = Sound::default();
        let mut at = 0_u64;
        for _ in 0..400 {
            let block: Vec<f32> = (at..at + 16_000).map(|n| n as f32).collect();
            at += 16_000;
            sound.push(&block);
            assert!(sound.samples.len() <= 2 * HELD);
            let start = at.saturating_sub(HELD as u64 / 2);
            let held = sound.of(SpeechSpan { start, end: at });
            assert_eq!(held.len() as u64, at - start);
            assert_eq!(held[0], start as f32);
        }
    }
}
