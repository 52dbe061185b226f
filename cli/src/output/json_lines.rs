//! Progress for programs: one JSON object a line on stderr.

use std::io::Write;

use podrun::runtime::telemetry::{Event, Observer};

#[derive(Debug)]
pub(super) struct JsonLines;

impl Observer for JsonLines {
    fn event(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            // A reader that went away wants no more progress.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
}
