//! How a run over files went.

use std::time::Duration;

use serde::Serialize;

use crate::output::text;

/// The result of a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) model: String,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) interrupted: bool,
    pub(super) elapsed_s: f64,
    pub(super) files: Vec<FileResult>,
}

/// What became of one file.
#[derive(Debug, Default, Serialize)]
pub(super) struct FileResult {
    pub(super) file: String,
    /// What was written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) outputs: Vec<String>,
    /// The transcript itself, where it goes nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    pub(super) language: Option<String>,
    pub(super) audio_s: Option<f64>,
    pub(super) elapsed_s: f64,
    /// What is wrong with the file; what could be decoded was transcribed.
    pub(super) damage: Option<String>,
    pub(super) error: Option<String>,
}

impl Summary {
    pub(super) fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, result: FileResult) {
        self.failed += u64::from(result.error.is_some());
        self.done += u64::from(result.error.is_none());
        self.files.push(result);
    }

    /// For people: how it went, and what was written.
    pub(super) fn text(&self) -> String {
        let seconds: f64 = self.files.iter().filter_map(|file| file.audio_s).sum();
        let audio = text::clock(Duration::from_secs_f64(seconds.max(0.0)));
        let elapsed = text::clock(Duration::from_secs_f64(self.elapsed_s));
        let files = text::count(self.done, "file");
        let mut line = format!("transcribed {files} ({audio} of audio) in {elapsed}");
        if self.failed > 0 {
            line += &format!(", {} failed", self.failed);
        }
        line.push('\n');
        for path in self.files.iter().flat_map(|file| &file.outputs) {
            line += &format!("  {}\n", text::printable(path));
        }
        line
    }
}
