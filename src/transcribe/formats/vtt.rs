//! WebVTT (W3C) for players and podcast apps.
//!
//! Stricter than the writers of other transcribers: hours always stand, markup characters are
//! escaped, a cue never holds a line break, never ends before it starts and never starts before
//! the one in front of it.

use std::fmt::Write;

use super::clean::cleaned;
use crate::domain::Transcript;

/// Shortest cue in milliseconds: the standard wants the end behind the start.
const SHORTEST_MS: u64 = 1;

pub(super) fn render(transcript: &Transcript) -> String {
    let mut file = String::from("WEBVTT\n");
    let mut previous_end_ms = 0;
    for segment in &cleaned(transcript).segments {
        let text = cue_text(&segment.text);
        if text.is_empty() {
            continue;
        }
        let start_ms = milliseconds(segment.start).max(previous_end_ms);
        let end_ms = milliseconds(segment.end).max(start_ms + SHORTEST_MS);
        // Writing to a String cannot fail.
        let _ = write!(
            file,
            "\n{} --> {}\n{text}\n",
            timestamp(start_ms),
            timestamp(end_ms)
        );
        previous_end_ms = end_ms;
    }
    file
}

/// `seconds` is finite, not negative and below 2^53 ms after cleaning.
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

fn timestamp(total_ms: u64) -> String {
    let (total_s, ms) = (total_ms / 1000, total_ms % 1000);
    let (total_min, s) = (total_s / 60, total_s % 60);
    let (h, min) = (total_min / 60, total_min % 60);
    format!("{h:02}:{min:02}:{s:02}.{ms:03}")
}

/// One line of cue text. `>` is escaped too: it keeps `-->` out, which would begin a new cue.
fn cue_text(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(breaks_or_spaces).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            match character {
                '&' => line.push_str("&amp;"),
                '<' => line.push_str("&lt;"),
                '>' => line.push_str("&gt;"),
                other => line.push(other),
            }
        }
    }
    line
}

/// Line ends of any reader (U+2028 and the C0 and C1 controls count for some), and spaces. The
/// no-break space stays: French and typographers mean it.
fn breaks_or_spaces(character: char) -> bool {
    const NO_BREAK_SPACE: char = '\u{a0}';
    character.is_control() || (character.is_whitespace() && character != NO_BREAK_SPACE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_support::{any_transcript, transcript};
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
        let forbidden: &[char] = &['\n', '\r', '\0', '<', '>'];
        assert!(!text.is_empty() && !text.contains(forbidden), "{text:?}");
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

    fn plain_words(text: &str) -> String {
        let words: Vec<_> = text
            .split(breaks_or_spaces)
            .filter(|word| !word.is_empty())
            .collect();
        words.join(" ")
    }

    #[test]
    fn a_cue_has_hours_and_one_line() {
        let file = render(&transcript(&[
            (0.0, 1.38, " Good\r\n\r\nmorning."),
            (3661.5, 3662.0, " A --> B & <i>C"),
        ]));
        let expected = "WEBVTT\n\n00:00:00.000 --> 00:00:01.380\nGood morning.\n\n\
                        01:01:01.500 --> 01:01:02.000\nA --&gt; B &amp; &lt;i&gt;C\n";
        assert_eq!(file, expected);
        assert_eq!(parse_strictly(&file)[1].text, "A --> B & <i>C");
    }

    #[test]
    fn blank_segments_have_no_cue_and_empty_times_get_one_millisecond() {
        let file = render(&transcript(&[
            (1.0, 2.0, " \n "),
            (5.0, 5.0, "a"),
            (4.0, 4.5, "b"),
        ]));
        let times: Vec<_> = parse_strictly(&file)
            .iter()
            .map(|cue| (cue.start_ms, cue.end_ms))
            .collect();
        assert_eq!(times, [(5000, 5001), (5001, 5002)]);
    }

    proptest! {
        #[test]
        fn any_transcript_is_valid_and_keeps_its_words(transcript in any_transcript()) {
            let cues = parse_strictly(&render(&transcript));
            let spoken: Vec<_> = transcript
                .segments
                .iter()
                .map(|segment| plain_words(&segment.text))
                .filter(|text| !text.is_empty())
                .collect();
            let heard: Vec<_> = cues.iter().map(|cue| cue.text.clone()).collect();
            prop_assert_eq!(heard, spoken);
            prop_assert!(cues.iter().all(|cue| cue.start_ms < cue.end_ms));
            prop_assert!(cues.windows(2).all(|pair| pair[0].end_ms <= pair[1].start_ms));
        }
    }
}
