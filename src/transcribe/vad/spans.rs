//! From probabilities to spans.

use std::collections::VecDeque;
use std::ops::Range;

use super::{SpeechDetector, SpeechSpan, VadOptions};
use crate::transcribe::mel::SAMPLE_RATE;

const FRAME: u64 = SpeechDetector::FRAME as u64;
/// Silence inside too long speech where it may be split.
const MIN_SPLIT_MS: u32 = 98;

/// Spans of speech from the probabilities of a [`SpeechDetector`]'s frames, as a stream.
///
/// Spans come in order and do not overlap; no sample between two neighbours that are nearer than
/// their margins is lost. A span is given as soon as what follows cannot change it any more, which is
/// two margins and the shortest speech behind its end at the latest. Memory is that of the longest
/// speech, at a number per frame.
#[derive(Debug)]
pub struct SpeechSpans {
    limits: Limits,
    /// Frames taken.
    frames: u64,
    run: Option<Run>,
    /// Speech that has ended; its margin depends on what comes next.
    ended: Option<Ended>,
    ready: VecDeque<SpeechSpan>,
}

/// The options in frames and samples.
#[derive(Debug)]
struct Limits {
    onset: f32,
    offset: f32,
    /// Frames.
    min_speech: usize,
    /// Frames, not zero.
    min_silence: usize,
    /// Frames.
    max_speech: usize,
    /// Samples.
    pad: u64,
}

/// Speech under way.
#[derive(Debug)]
struct Run {
    /// Its first frame.
    first: u64,
    /// From the first frame to now.
    probabilities: Vec<f32>,
    /// Frames up to the last that was probable enough.
    voiced: usize,
    /// Where its span begins, in samples; unknown while it may be too short to count.
    start: Option<u64>,
}

/// Speech that has ended, in samples.
#[derive(Debug)]
struct Ended {
    /// With the margin.
    start: u64,
    /// Without it.
    end: u64,
}

impl SpeechSpans {
    /// At the beginning of a recording.
    pub fn new(options: &VadOptions) -> Self {
        Self {
            limits: Limits::new(options),
            frames: 0,
            run: None,
            ended: None,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next frame's probability and gives the next span, if one is certain.
    pub fn push(&mut self, probability: f32) -> Option<SpeechSpan> {
        let frame = self.frames;
        self.frames += 1;
        match self.run.take() {
            Some(run) => self.run = self.proceed(run, probability),
            None if probability >= self.limits.onset => {
                self.run = Some(self.admit(Run::begin(frame, probability)));
            }
            None => {}
        }
        self.give_up_waiting();
        self.ready.pop_front()
    }

    /// Ends the recording of `total_samples` and gives the remaining spans.
    pub fn finish(mut self, total_samples: u64) -> Vec<SpeechSpan> {
        if let Some(run) = self.run.take() {
            self.end(&run);
        }
        if let Some(ended) = self.ended.take() {
            self.give(&ended, ended.end + self.limits.pad);
        }
        let within = self.ready.into_iter().map(|span| SpeechSpan {
            start: span.start,
            end: span.end.min(total_samples),
        });
        within.filter(|span| span.start < span.end).collect()
    }

    /// Adds a frame to the speech under way; `None` where that ends it.
    fn proceed(&mut self, mut run: Run, probability: f32) -> Option<Run> {
        run.push(probability, self.limits.offset);
        if run.silence() >= self.limits.min_silence {
            self.end(&run);
            return None;
        }
        let mut run = self.admit(run);
        if run.voiced > self.limits.max_speech {
            let gap = run.place_to_split(&self.limits);
            self.ended = run.ended_after(gap.start);
            let rest = run.rest_from(gap.end);
            // What was split off is speech, however short.
            run = self.place(rest);
        }
        Some(run)
    }

    /// Places a run that is long enough to count.
    fn admit(&mut self, run: Run) -> Run {
        if run.start.is_none() && run.voiced >= self.limits.min_speech {
            self.place(run)
        } else {
            run
        }
    }

    /// Decides where the run's span begins and where the one before ends: both have their margin, or
    /// meet in the middle.
    fn place(&mut self, mut run: Run) -> Run {
        let (first, pad) = (run.first * FRAME, self.limits.pad);
        let mut start = first.saturating_sub(pad);
        if let Some(ended) = self.ended.take() {
            let gap = first - ended.end;
            if gap < 2 * pad {
                start = ended.end + gap / 2;
                self.give(&ended, start);
            } else {
                self.give(&ended, ended.end + pad);
            }
        }
        run.start = Some(start);
        run
    }

    fn end(&mut self, run: &Run) {
        if let Some(ended) = run.ended_after(run.voiced) {
            self.ended = Some(ended);
        }
    }

    /// Gives the span that ended once the next, if any, is too far to take from its margin.
    fn give_up_waiting(&mut self) {
        let pad = self.limits.pad;
        let next = self.run.as_ref().map_or(self.frames, |run| run.first);
        let is_far = |ended: &mut Ended| ended.end + 2 * pad <= next * FRAME;
        if let Some(ended) = self.ended.take_if(is_far) {
            self.give(&ended, ended.end + pad);
        }
    }

    fn give(&mut self, ended: &Ended, end: u64) {
        let start = ended.start;
        if start < end {
            self.ready.push_back(SpeechSpan { start, end });
        }
    }
}

impl Limits {
    fn new(options: &VadOptions) -> Self {
        let wanted = Some(options.max_speech_s).filter(|seconds| !seconds.is_nan());
        let max_speech_s = wanted.unwrap_or_default().clamp(1.0, 3600.0);
        let max_speech = (samples((max_speech_s * 1000.0) as u32) / FRAME) as usize;
        Self {
            onset: options.onset,
            offset: options.offset.min(options.onset),
            min_speech: whole_frames(options.min_speech_ms).min(max_speech),
            min_silence: whole_frames(options.min_silence_ms).max(1),
            max_speech,
            pad: samples(options.pad_ms),
        }
    }
}

impl Run {
    fn begin(first: u64, probability: f32) -> Self {
        Self {
            first,
            probabilities: vec![probability],
            voiced: 1,
            start: None,
        }
    }

    fn push(&mut self, probability: f32, offset: f32) {
        self.probabilities.push(probability);
        if probability >= offset {
            self.voiced = self.probabilities.len();
        }
    }

    /// Frames of silence up to now.
    fn silence(&self) -> usize {
        self.probabilities.len() - self.voiced
    }

    /// The speech of the first `frames`, if the run counts at all.
    fn ended_after(&self, frames: usize) -> Option<Ended> {
        self.start.map(|start| Ended {
            start,
            end: (self.first + frames as u64) * FRAME,
        })
    }

    fn rest_from(&self, frame: usize) -> Self {
        Self {
            first: self.first + frame as u64,
            probabilities: self.probabilities[frame..].to_vec(),
            voiced: self.voiced - frame,
            start: None,
        }
    }

    /// The frames between the two parts of a run that is too long: the longest silence in its later
    /// half, the last one of several; else the last silence; else nothing, before the least
    /// probable frame of its last quarter.
    fn place_to_split(&self, limits: &Limits) -> Range<usize> {
        let spoken = &self.probabilities[..self.voiced];
        let silences = silences(spoken, limits.offset);
        let half = limits.max_speech / 2;
        let late = silences.iter().filter(|gap| gap.start >= half);
        let longest = late.max_by_key(|gap| gap.len());
        if let Some(gap) = longest.or(silences.last()) {
            return gap.clone();
        }
        let quarter = limits.max_speech * 3 / 4;
        let frames = (quarter..).zip(&spoken[quarter..=limits.max_speech]);
        let faintest = frames.min_by(|(_, a), (_, b)| a.total_cmp(b));
        let place = faintest.map_or(limits.max_speech, |(frame, _)| frame);
        place..place
    }
}

/// The silences that are long enough to split at.
fn silences(probabilities: &[f32], offset: f32) -> Vec<Range<usize>> {
    let mut end = 0;
    let runs = probabilities.chunk_by(|a, b| (*a < offset) == (*b < offset));
    let runs = runs.map(|run| {
        end += run.len();
        (run[0], end - run.len()..end)
    });
    let is_long = |gap: &Range<usize>| gap.len() >= whole_frames(MIN_SPLIT_MS);
    runs.filter(|(first, gap)| *first < offset && is_long(gap))
        .map(|(_, gap)| gap)
        .collect()
}

fn samples(milliseconds: u32) -> u64 {
    u64::from(milliseconds) * u64::from(SAMPLE_RATE) / 1000
}

/// Frames that last at least so long.
fn whole_frames(milliseconds: u32) -> usize {
    samples(milliseconds).div_ceil(FRAME) as usize
}
