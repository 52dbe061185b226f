//! SubRip, as ffmpeg and video editors read it. It has no escapes: what looks like a time line in
//! the text is broken, everything else stands as it was said.

use std::fmt::Write;

use super::clean::cleaned;
use super::cues::cues;
use super::lines::CueLayout;
use super::plain::timestamp;
use crate::domain::Transcript;

pub(super) fn render(transcript: &Transcript, layout: &CueLayout) -> String {
    let mut file = String::new();
    for (number, cue) in (1..).zip(cues(&cleaned(transcript), layout)) {
        let (start, end) = (timestamp(cue.start_ms, ','), timestamp(cue.end_ms, ','));
        let text = cue.text(|text| text.replace("-->", "->"));
        // Writing to a String cannot fail.
        let _ = write!(file, "{number}\n{start} --> {end}\n{text}\n\n");
    }
    file
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_support::{any_transcript, transcript};
    use super::*;

    #[test]
    fn cues_are_numbered_and_have_commas() {
        let file = render(
            &transcript(&[
                (0.0, 1.5, " A --> B"),
                (359_999.0, 360_001.25, " late & <i>C"),
            ]),
            &CueLayout::default(),
        );
        let expected = "1\n00:00:00,000 --> 00:00:01,500\nA -> B\n\n\
                        2\n99:59:59,000 --> 100:00:01,250\nlate & <i>C\n\n";
        assert_eq!(file, expected);
    }

    proptest! {
        #[test]
        fn any_transcript_has_whole_blocks(transcript in any_transcript()) {
            let file = render(&transcript, &CueLayout::default());
            for (number, block) in (1_usize..).zip(file.split_terminator("\n\n")) {
                let lines: Vec<&str> = block.split('\n').collect();
                prop_assert_eq!(lines[0].parse::<usize>().unwrap(), number);
                prop_assert_eq!(lines[1].matches(" --> ").count(), 1);
                prop_assert!(lines.len() > 2 && lines[2..].iter().all(|line| !line.is_empty()));
                prop_assert!(!block.contains(['\r', '\0']));
                prop_assert!(!lines[2..].iter().any(|line| line.contains("-->")));
            }
        }
    }
}
