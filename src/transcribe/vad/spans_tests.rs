use proptest::prelude::*;

use super::{SpeechDetector, SpeechSpan, SpeechSpans, VadOptions};

const FRAME: u64 = SpeechDetector::FRAME as u64;

/// No margins, and every burst counts.
fn bare() -> VadOptions {
    VadOptions {
        min_speech_ms: 0,
        pad_ms: 0,
        ..VadOptions::default()
    }
}

/// `(frames, probability)` one behind the other.
fn frames(runs: &[(usize, f32)]) -> Vec<f32> {
    let run = |&(count, probability)| std::iter::repeat_n(probability, count);
    runs.iter().flat_map(run).collect()
}

fn spans_within(options: &VadOptions, probabilities: &[f32], samples: u64) -> Vec<SpeechSpan> {
    let mut spans = SpeechSpans::new(options);
    let mut found: Vec<SpeechSpan> = probabilities
        .iter()
        .filter_map(|&probability| spans.push(probability))
        .collect();
    found.extend(spans.finish(samples));
    found
}

fn spans(options: &VadOptions, probabilities: &[f32]) -> Vec<SpeechSpan> {
    spans_within(options, probabilities, probabilities.len() as u64 * FRAME)
}

/// The spans in frames.
fn in_frames(options: &VadOptions, runs: &[(usize, f32)]) -> Vec<(u64, u64)> {
    let spans = spans(options, &frames(runs));
    let frames = |span: SpeechSpan| (span.start / FRAME, span.end / FRAME);
    spans.into_iter().map(frames).collect()
}

#[test]
fn speech_begins_at_the_onset_and_lasts_to_the_offset() {
    let found = in_frames(&bare(), &[(20, 0.4), (5, 0.6), (20, 0.4), (30, 0.3)]);
    assert_eq!(found, [(20, 45)]);
}

#[test]
fn only_lasting_silence_ends_speech() {
    // 160 ms are 10 frames.
    let found = in_frames(
        &bare(),
        &[(5, 0.9), (9, 0.0), (5, 0.9), (10, 0.0), (5, 0.9)],
    );
    assert_eq!(found, [(0, 19), (29, 34)]);
}

#[test]
fn bursts_are_dropped() {
    let options = VadOptions {
        min_speech_ms: 80,
        ..bare()
    };
    let found = in_frames(&options, &[(4, 0.9), (50, 0.0), (5, 0.9), (50, 0.0)]);
    assert_eq!(found, [(54, 59)]);
}

#[test]
fn margins_stay_in_the_file_and_meet_in_the_middle() {
    let options = VadOptions::default();
    // The margin is 25 frames.
    let runs = [
        (10, 0.0),
        (20, 0.9),
        (40, 0.0),
        (20, 0.9),
        (60, 0.0),
        (20, 0.9),
        (3, 0.0),
    ];
    let found = in_frames(&options, &runs);
    assert_eq!(found, [(0, 50), (50, 115), (125, 173)]);
}

#[test]
fn a_dropped_burst_leaves_the_margins_of_its_neighbours() {
    let options = VadOptions {
        min_speech_ms: 100,
        ..VadOptions::default()
    };
    let runs = [
        (20, 0.9),
        (20, 0.0),
        (2, 0.9),
        (38, 0.0),
        (20, 0.9),
        (60, 0.0),
    ];
    assert_eq!(in_frames(&options, &runs), [(0, 45), (55, 125)]);
}

#[test]
fn a_span_is_given_as_soon_as_it_is_certain() {
    let mut spans = SpeechSpans::new(&VadOptions::default());
    let given = frames(&[(100, 0.9), (200, 0.0)])
        .iter()
        .position(|&probability| spans.push(probability).is_some());
    assert_eq!(given, Some(149), "two margins of 25 frames behind the end");
}

#[test]
fn long_speech_is_split_at_its_longest_late_silence() {
    // 62 frames are a second.
    let options = VadOptions {
        max_speech_s: 2.0,
        ..bare()
    };
    let runs = [
        (30, 0.9),
        (9, 0.1),
        (35, 0.9),
        (8, 0.1),
        (20, 0.9),
        (7, 0.1),
        (60, 0.9),
    ];
    assert_eq!(in_frames(&options, &runs), [(0, 74), (82, 169)]);
}

#[test]
fn long_speech_is_split_at_an_early_silence_rather_than_in_a_word() {
    let options = VadOptions {
        max_speech_s: 2.0,
        ..bare()
    };
    let runs = [(30, 0.9), (8, 0.1), (110, 0.9)];
    assert_eq!(in_frames(&options, &runs), [(0, 30), (38, 148)]);
}

#[test]
fn speech_without_any_silence_is_cut_where_it_is_faintest() {
    let options = VadOptions {
        max_speech_s: 2.0,
        ..VadOptions::default()
    };
    let runs = [(50, 0.9), (1, 0.36), (60, 0.9), (1, 0.6), (60, 0.9)];
    assert_eq!(in_frames(&options, &runs), [(0, 111), (111, 172)]);
}

#[test]
fn what_is_split_off_counts_however_short_it_is() {
    let options = VadOptions {
        max_speech_s: 1.0,
        min_speech_ms: 500,
        ..bare()
    };
    let runs = [(55, 0.9), (7, 0.1), (5, 0.9), (60, 0.0)];
    assert_eq!(in_frames(&options, &runs), [(0, 55), (62, 67)]);
}

#[test]
fn a_span_ends_with_the_file() {
    let found = spans_within(&VadOptions::default(), &[0.9; 10], 9 * FRAME + 1);
    let all = SpeechSpan {
        start: 0,
        end: 9 * FRAME + 1,
    };
    assert_eq!(found, [all]);
    assert!(spans_within(&VadOptions::default(), &[], 0).is_empty());
}

/// Speech, silence and what lies between, in runs as they occur.
fn recordings() -> impl Strategy<Value = Vec<f32>> {
    let level = prop_oneof![Just(0.9_f32), Just(0.4), Just(0.1), 0.0..1.0_f32];
    let runs = prop::collection::vec((1..120_usize, level), 0..40);
    runs.prop_map(|runs| frames(&runs))
}

fn options() -> impl Strategy<Value = VadOptions> {
    let times = (0..300_u32, 0..600_u32, 0..500_u32, 0.5..8.0_f32);
    times.prop_map(|(speech, silence, pad, max)| VadOptions {
        min_speech_ms: speech,
        min_silence_ms: silence,
        pad_ms: pad,
        max_speech_s: max,
        ..VadOptions::default()
    })
}

proptest! {
    #[test]
    fn spans_are_ordered_bounded_and_never_too_long(
        options in options(),
        probabilities in recordings(),
        cut in 0..FRAME,
    ) {
        let samples = (probabilities.len() as u64 * FRAME).saturating_sub(cut);
        let longest = (f64::from(options.max_speech_s.max(1.0)) * 16_000.0).ceil() as u64
            + 2 * u64::from(options.pad_ms) * 16;
        let mut end = 0;
        for span in spans_within(&options, &probabilities, samples) {
            prop_assert!(end <= span.start && span.start < span.end, "{span:?} behind {end}");
            prop_assert!(span.end <= samples && span.end - span.start <= longest, "{span:?}");
            end = span.end;
        }
    }

    #[test]
    fn all_speech_is_covered(options in options(), probabilities in recordings()) {
        let options = VadOptions { min_speech_ms: 0, ..options };
        let spans = spans(&options, &probabilities);
        for (frame, &probability) in probabilities.iter().enumerate() {
            let first = frame as u64 * FRAME;
            let is_inside = |span: &SpeechSpan| span.start <= first && first + FRAME <= span.end;
            // A cut between frames of a margin may halve a silent frame, never a voiced one.
            prop_assert!(
                probability < options.onset || spans.iter().any(is_inside),
                "frame {frame} of {spans:?}"
            );
        }
    }

    #[test]
    fn nothing_is_lost_between_near_neighbours(probabilities in recordings()) {
        let options = VadOptions::default();
        let pad = u64::from(options.pad_ms) * 16;
        for pair in spans(&options, &probabilities).windows(2) {
            let gap = pair[1].start - pair[0].end;
            let ends_with_margin = |span: &SpeechSpan| (span.end - pad).is_multiple_of(FRAME);
            prop_assert!(gap == 0 || ends_with_margin(&pair[0]), "{pair:?}");
        }
    }
}
