//! Numbers fit for a file: finite, and with no more decimals than they mean.

use crate::domain::{Segment, Transcript, Word};

/// Decimals of every number. Whisper's times step by 0.01 s; a score's fourth decimal changes with
/// the arithmetic (int8, float16) and says nothing.
const SCALE: f64 = 1000.0;

/// Later than any audio ends: 30 years. Beyond it a time is a defect.
const LAST_SECOND: f64 = 1e9;

/// `avg_logprob` of a segment whose score is unknown: worse than any threshold, so that no filter
/// takes it for a sure one.
const WORST_LOGPROB: f32 = -100.0;

/// `transcript` with rounded, finite numbers; texts and tokens are untouched.
pub(super) fn cleaned(transcript: &Transcript) -> Transcript {
    let mut previous_end = 0.0;
    let segments = transcript.segments.iter().map(|segment| {
        let segment = cleaned_segment(segment, previous_end);
        previous_end = segment.end;
        segment
    });
    Transcript {
        text: transcript.text.clone(),
        segments: segments.collect(),
        language: transcript.language.clone(),
        language_probability: figure_or(transcript.language_probability, 0.0),
        duration: time_or(transcript.duration, 0.0),
    }
}

fn cleaned_segment(segment: &Segment, previous_end: f64) -> Segment {
    let start = time_or(segment.start, previous_end);
    let end = time_or(segment.end, start);
    Segment {
        start,
        end,
        temperature: figure_or(segment.temperature, 1.0),
        avg_logprob: figure_or(segment.avg_logprob, WORST_LOGPROB),
        compression_ratio: figure_or(segment.compression_ratio, 0.0),
        no_speech_prob: figure_or(segment.no_speech_prob, 1.0),
        words: segment
            .words
            .iter()
            .map(|word| cleaned_word(word, start, end))
            .collect(),
        ..segment.clone()
    }
}

fn cleaned_word(word: &Word, start: f64, end: f64) -> Word {
    Word {
        word: word.word.clone(),
        start: time_or(word.start, start),
        end: time_or(word.end, end),
        probability: figure_or(word.probability, 0.0),
    }
}

/// `seconds` to the millisecond, or `otherwise` where it is no time.
fn time_or(seconds: f64, otherwise: f64) -> f64 {
    if (0.0..=LAST_SECOND).contains(&seconds) {
        rounded(seconds)
    } else {
        otherwise
    }
}

/// `figure` to three decimals, or `otherwise` where it is not finite.
fn figure_or(figure: f32, otherwise: f32) -> f32 {
    if figure.is_finite() {
        rounded(f64::from(figure)) as f32
    } else {
        otherwise
    }
}

/// To three decimals. Adding 0 turns -0 into 0, which JSON would spell `-0.0`.
pub(in crate::transcribe) fn rounded(value: f64) -> f64 {
    (value * SCALE).round() / SCALE + 0.0
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{segment, transcript};
    use super::*;

    #[test]
    fn scores_that_are_no_numbers_become_the_worst_ones() {
        let mut broken = segment(1.0, 2.0, " a");
        broken.avg_logprob = f32::NEG_INFINITY;
        broken.no_speech_prob = f32::NAN;
        broken.temperature = f32::INFINITY;
        let clean = cleaned_segment(&broken, 0.0);
        assert_eq!(clean.avg_logprob, WORST_LOGPROB);
        assert_eq!((clean.no_speech_prob, clean.temperature), (1.0, 1.0));
    }

    #[test]
    fn times_that_are_no_times_follow_their_neighbours() {
        let broken = transcript(&[
            (0.0, 2.5, " a"),
            (f64::NAN, f64::INFINITY, " b"),
            (-3.0, 4.0, " c"),
        ]);
        let times: Vec<_> = cleaned(&broken)
            .segments
            .iter()
            .map(|segment| (segment.start, segment.end))
            .collect();
        assert_eq!(times, [(0.0, 2.5), (2.5, 2.5), (2.5, 4.0)]);
    }

    #[test]
    fn nothing_is_rounded_to_a_negative_zero() {
        assert_eq!(rounded(-0.0001).to_string(), "0");
        assert_eq!(figure_or(-0.312_49, 0.0), -0.312);
    }
}
