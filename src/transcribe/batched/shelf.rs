//! What is finished of an audio, kept while the rest is worked on.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::text::WindowText;
use crate::domain::Failure;
use crate::transcribe::engine::LanguageScore;

/// Windows that one run finished, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinishedPart {
    /// Windows before the first of these.
    first: usize,
    /// The episode's language, where it was heard.
    language: Option<(String, f32)>,
    windows: Vec<WindowText>,
}

impl FinishedPart {
    pub(super) fn new(
        first: usize,
        language: Option<&LanguageScore>,
        windows: &[WindowText],
    ) -> Self {
        Self {
            first,
            language: language.map(|score| (score.language.clone(), score.probability)),
            windows: windows.to_vec(),
        }
    }

    /// Which windows of the audio these are: tells its parts apart.
    pub fn windows(&self) -> Range<usize> {
        self.first..self.first.saturating_add(self.windows.len())
    }
}

/// Where parts of one transcription are kept, by one model with one set of options.
pub trait Shelf: Send {
    /// What earlier runs kept, in any order; nothing where that cannot be had.
    fn load(&mut self) -> Vec<FinishedPart>;

    /// Keeps one more part.
    fn save(&mut self, part: &FinishedPart) -> Result<(), Failure>;
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoShelf;

impl Shelf for NoShelf {
    fn load(&mut self) -> Vec<FinishedPart> {
        Vec::new()
    }

    fn save(&mut self, _: &FinishedPart) -> Result<(), Failure> {
        Ok(())
    }
}

/// The windows that parts hold without a gap from the first on, whole batches of `batch_size`, and the
/// episode's language. Stores are not believed: at the first window that cannot be, it ends.
pub(super) fn joined(
    mut parts: Vec<FinishedPart>,
    batch_size: usize,
    is_known: &dyn Fn(&str) -> bool,
) -> (Vec<WindowText>, Option<LanguageScore>) {
    parts.sort_by_key(|part| (part.first, part.windows.len()));
    let mut windows: Vec<WindowText> = Vec::new();
    let mut language = None;
    for part in parts {
        let reached = windows.len();
        // Two runs may have kept the same windows, which are the same then.
        let Some(known) = reached.checked_sub(part.first) else {
            break;
        };
        windows.extend(part.windows.into_iter().skip(known));
        language = language.or(part.language);
    }
    let unsound = windows.iter().position(|window| !window.is_sound(is_known));
    windows.truncate(unsound.unwrap_or(windows.len()));
    // A batch's size is part of what it is decoded to.
    windows.truncate(windows.len() / batch_size * batch_size);
    let language =
        language.filter(|(language, _): &(String, f32)| !windows.is_empty() && is_known(language));
    let language = language.map(|(language, probability)| LanguageScore {
        language,
        probability,
    });
    (windows, language)
}

#[cfg(test)]
mod tests {
    use super::super::text::PlacedWord;
    use super::*;

    fn window(seek: u64) -> WindowText {
        WindowText {
            seek,
            seconds: 30.0,
            end: 30.0,
            words: Vec::new(),
            language: None,
            language_probability: 1.0,
            temperature: 0.0,
            avg_logprob: -0.123_456_7,
            compression_ratio: 1.1,
            no_speech_prob: 0.0,
            tries: 1,
            is_doubtful: false,
            is_silent: false,
        }
    }

    fn part(seeks: std::ops::Range<u64>) -> FinishedPart {
        let windows: Vec<WindowText> = seeks.clone().map(window).collect();
        FinishedPart::new(seeks.start as usize, None, &windows)
    }

    fn seeks(parts: Vec<FinishedPart>, batch_size: usize) -> Vec<u64> {
        let (windows, _) = joined(parts, batch_size, &|_| true);
        windows.into_iter().map(|window| window.seek).collect()
    }

    #[test]
    fn parts_join_without_gaps_and_doubles() {
        assert_eq!(
            seeks(vec![part(4..6), part(0..4), part(2..5)], 2),
            [0, 1, 2, 3, 4, 5]
        );
        assert_eq!(seeks(vec![part(0..2), part(4..6)], 2), [0, 1]);
        assert_eq!(seeks(vec![part(2..4)], 2), [] as [u64; 0]);
        assert_eq!(
            seeks(vec![part(0..5)], 2),
            [0, 1, 2, 3],
            "whole batches only"
        );
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let word = |start, end| PlacedWord {
            text: " a".to_owned(),
            tokens: vec![1],
            start,
            end,
            probability: 0.9,
        };
        let with = |words: Vec<PlacedWord>| WindowText {
            words,
            language: Some("en".to_owned()),
            ..window(1)
        };
        let known = |language: &str| language == "en";
        assert!(with(vec![word(0.0, 1.0), word(1.0, 30.0)]).is_sound(&known));
        for words in [
            vec![word(-1.0, 1.0)],
            vec![word(2.0, 1.0)],
            vec![word(1.0, 2.0), word(1.5, 3.0)],
            vec![word(0.0, 31.0)],
            vec![word(f64::NAN, 1.0)],
        ] {
            assert!(!with(words).is_sound(&known));
        }
        assert!(!with(Vec::new()).is_sound(&|_| false));
        let mut parts = vec![part(0..4)];
        parts[0].windows[2] = with(vec![word(5.0, 1.0)]);
        let (windows, _) = joined(parts, 1, &known);
        assert_eq!(windows.len(), 2);
    }

    #[test]
    fn a_part_reads_back_to_the_bit() {
        let score = LanguageScore {
            language: "es".to_owned(),
            probability: 0.876_543_2,
        };
        let mut kept = FinishedPart::new(0, Some(&score), &[window(7)]);
        for n in 0..1000_u32 {
            kept.windows[0].avg_logprob = -(n as f32) / 777.0;
            let text = serde_json::to_string(&kept).unwrap();
            assert_eq!(serde_json::from_str::<FinishedPart>(&text).unwrap(), kept);
        }
        let (_, language) = joined(vec![kept], 1, &|language| language == "es");
        assert_eq!(language, Some(score));
    }
}
