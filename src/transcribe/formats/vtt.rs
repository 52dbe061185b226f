//! WebVTT (W3C) for players and podcast apps.
//!
//! Stricter than the writers of other transcribers: hours always stand, markup characters are
//! escaped, a cue never holds an empty line, never ends before it starts and never starts before
//! the one in front of it.

use std::fmt::Write;

use super::clean::cleaned;
use super::cues::cues;
use super::lines::CueLayout;
use super::plain::timestamp;
use crate::domain::Transcript;

pub(super) fn render(transcript: &Transcript, layout: &CueLayout) -> String {
    let mut file = String::from("WEBVTT\n");
    for cue in cues(&cleaned(transcript), layout) {
        let (start, end) = (timestamp(cue.start_ms, '.'), timestamp(cue.end_ms, '.'));
        // Writing to a String cannot fail.
        let _ = write!(file, "\n{start} --> {end}\n{}\n", cue.text(escaped));
    }
    file
}

/// `>` is escaped too: it keeps `-->` out, which would begin a new cue.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plain::one_line;
    use super::super::test_support::{any_transcript, spoken, transcript};
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Cue {
        start_ms: u64,
        end_ms: u64,
        text: String,
    }

    /// The standard's syntax and nothing more; panics at the first offence.
    fn parse_strictly(file: &str) -> Vec<Cue> {
        let body = file.strip_prefix("WEBVTT\n").expect("signature");
        if body.is_empty() {
            return Vec::new();
        }
        let body = body
            .strip_prefix('\n')
            .expect("blank line behind the signature");
        let body = body
            .strip_suffix('\n')
            .expect("line end behind the last cue");
        body.split("\n\n").map(parse_cue).collect()
    }

    fn parse_cue(block: &str) -> Cue {
        let (timing, text) = block.split_once('\n').expect("timing line and text");
        let (start, end) = timing.split_once(" --> ").expect("arrow");
        let forbidden: &[char] = &['\r', '\0', '<', '>'];
        assert!(!text.contains(forbidden), "{text:?}");
        assert!(text.split('\n').all(|line| !line.is_empty()), "{text:?}");
        Cue {
            start_ms: parse_timestamp(start),
            end_ms: parse_timestamp(end),
            text: unescape(text),
        }
    }

    fn parse_timestamp(text: &str) -> u64 {
        let (clock, ms) = text.split_once('.').expect("dot");
        let [h, min, s] = clock.split(':').collect::<Vec<_>>().try_into().unwrap();
        assert!(
            h.len() >= 2 && min.len() == 2 && s.len() == 2 && ms.len() == 3,
            "{text}"
        );
        let [h, min, s, ms] = [h, min, s, ms].map(|digits| digits.parse::<u64>().unwrap());
        assert!(min < 60 && s < 60, "{text}");
        ((h * 60 + min) * 60 + s) * 1000 + ms
    }

    fn unescape(text: &str) -> String {
        let plain = text.replace("&lt;", "<").replace("&gt;", ">");
        assert!(
            !plain.replace("&amp;", "").contains('&'),
            "bare ampersand in {text:?}"
        );
        plain.replace("&amp;", "&")
    }

    #[test]
    fn a_cue_has_hours_and_one_line() {
        let said = transcript(&[
            (0.0, 1.38, " Good\r\n\r\nmorning."),
            (3661.5, 3662.0, " A --> B & <i>C"),
        ]);
        let file = render(&said, &CueLayout::default());
        let expected = "WEBVTT\n\n00:00:00.000 --> 00:00:01.380\nGood morning.\n\n\
                        01:01:01.500 --> 01:01:02.000\nA --&gt; B &amp; &lt;i&gt;C\n";
        assert_eq!(file, expected);
        assert_eq!(parse_strictly(&file)[1].text, "A --> B & <i>C");
    }

    #[test]
    fn blank_segments_have_no_cue_and_empty_times_get_one_millisecond() {
        let said = transcript(&[(1.0, 2.0, " \n "), (5.0, 5.0, "a"), (4.0, 4.5, "b")]);
        let file = render(&said, &CueLayout::default());
        let times: Vec<_> = parse_strictly(&file)
            .iter()
            .map(|cue| (cue.start_ms, cue.end_ms))
            .collect();
        assert_eq!(times, [(5000, 5001), (5001, 5002)]);
    }

    #[test]
    fn the_word_being_said_is_underlined_and_escaped() {
        let mut said = transcript(&[(0.0, 60.0, " R&D now")]);
        said.segments[0].words = spoken(" R&D now");
        let layout = CueLayout {
            highlight_words: true,
            ..CueLayout::default()
        };
        let file = render(&said, &layout);
        assert!(file.contains("\n<u>R&amp;D</u> now\n"), "{file}");
    }

    proptest! {
        #[test]
        fn any_transcript_is_valid_and_keeps_its_words(transcript in any_transcript()) {
            let cues = parse_strictly(&render(&transcript, &CueLayout::default()));
            let spoken: Vec<_> = transcript
                .segments
                .iter()
                .map(|segment| one_line(&segment.text))
                .filter(|text| !text.is_empty())
                .collect();
            let heard: Vec<_> = cues.iter().map(|cue| cue.text.replace('\n', " ")).collect();
            prop_assert_eq!(heard.join(" "), spoken.join(" "));
            prop_assert!(cues.iter().all(|cue| cue.start_ms < cue.end_ms));
            prop_assert!(cues.windows(2).all(|pair| pair[0].end_ms <= pair[1].start_ms));
        }
    }
}
