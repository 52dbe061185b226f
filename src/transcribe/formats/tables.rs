//! The formats of one line a segment: tab-separated values and plain text.

use std::fmt::Write;

use super::clean::cleaned;
use super::plain::{milliseconds, one_line};
use crate::domain::Transcript;

/// `start`, `end` (both in whole milliseconds) and `text`, as openai/whisper writes them.
pub(super) fn tsv(transcript: &Transcript) -> String {
    let mut file = String::from("start\tend\ttext\n");
    for segment in &cleaned(transcript).segments {
        let (start, end) = (milliseconds(segment.start), milliseconds(segment.end));
        // Writing to a String cannot fail.
        let _ = writeln!(file, "{start}\t{end}\t{}", one_line(&segment.text));
    }
    file
}

/// The text alone, a segment a line.
pub(super) fn txt(transcript: &Transcript) -> String {
    let lines = transcript.segments.iter().map(|s| one_line(&s.text));
    lines
        .filter(|line| !line.is_empty())
        .map(|line| line + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_support::{any_transcript, transcript};
    use super::*;

    #[test]
    fn a_segment_is_a_line() {
        let said = transcript(&[(0.0, 1.38, " A\tb\r\nc"), (1.5, 2.0, " \n ")]);
        assert_eq!(
            tsv(&said),
            "start\tend\ttext\n0\t1380\tA b c\n1500\t2000\t\n"
        );
        assert_eq!(txt(&said), "A b c\n");
    }

    proptest! {
        #[test]
        fn any_transcript_has_three_columns_a_segment(transcript in any_transcript()) {
            let file = tsv(&transcript);
            let rows: Vec<&str> = file.split_terminator('\n').collect();
            prop_assert_eq!(rows.len(), transcript.segments.len() + 1);
            prop_assert!(rows.iter().all(|row| row.split('\t').count() == 3));
            prop_assert!(rows.iter().all(|row| !row.contains('\r')));
        }
    }
}
