//! What is finished of an audio, kept while the rest is worked on.

use serde::{Deserialize, Serialize};

use super::decode::WindowText;
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

    /// Windows before the first of these: tells the parts of one audio apart.
    pub fn first(&self) -> usize {
        self.first
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
/// episode's language.
pub(super) fn joined(
    mut parts: Vec<FinishedPart>,
    batch_size: usize,
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
    // A batch's size is part of what it is decoded to.
    windows.truncate(windows.len() / batch_size * batch_size);
    let language = language.filter(|_| !windows.is_empty());
    let language = language.map(|(language, probability)| LanguageScore {
        language,
        probability,
    });
    (windows, language)
}

#[cfg(test)]
mod tests {
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
        let (windows, _) = joined(parts, batch_size);
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
        let (_, language) = joined(vec![kept], 1);
        assert_eq!(language, Some(score));
    }
}
