//! `transcript.json`: the shape openai/whisper writes, so that its readers read it.
//!
//! One line, since Athena's JSON readers take a line for a row. The order of the keys is the order
//! of the fields of [`Transcript`] and [`Segment`](crate::domain::Segment).

use super::clean::cleaned;
use crate::domain::Transcript;

pub(super) fn render(transcript: &Transcript) -> String {
    let mut line = serde_json::to_string(&cleaned(transcript))
        .expect("a transcript holds texts, lists and numbers, all of which JSON can express");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_support::{any_transcript, transcript};
    use super::*;

    #[test]
    fn the_shape_is_openai_s_and_the_order_is_fixed() {
        let mut one = transcript(&[(0.0, 1.380_4, " Say \"hi\".")]);
        one.segments[0].tokens = vec![50364, 10, 50433];
        let expected = concat!(
            r#"{"text":" Say \"hi\".","segments":[{"id":0,"seek":0,"start":0.0,"end":1.38,"#,
            r#""text":" Say \"hi\".","tokens":[50364,10,50433],"temperature":0.0,"#,
            r#""avg_logprob":-0.312,"compression_ratio":1.25,"no_speech_prob":0.01}],"#,
            r#""language":"en","language_probability":0.99,"duration":60.0}"#,
            "\n"
        );
        assert_eq!(render(&one), expected);
    }

    proptest! {
        #[test]
        fn it_reads_back_as_what_was_written(transcript in any_transcript()) {
            let line = render(&transcript);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let read: Transcript = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&read, &cleaned(&transcript));
            for (read, written) in read.segments.iter().zip(&transcript.segments) {
                prop_assert_eq!(&read.text, &written.text);
                let is_time = (0.0..=1e9).contains(&written.start);
                prop_assert!(!is_time || (read.start - written.start).abs() <= 0.000_501);
            }
        }
    }
}
