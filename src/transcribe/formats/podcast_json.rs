//! The podcast namespace's JSON: what `<podcast:transcript type="application/json">` points at.

use serde::Serialize;

use super::clean::cleaned;
use super::plain::one_line;
use crate::domain::Transcript;

#[derive(Serialize)]
struct File {
    version: &'static str,
    segments: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    start_time: f64,
    end_time: f64,
    body: String,
}

pub(super) fn render(transcript: &Transcript) -> String {
    let transcript = cleaned(transcript);
    let rows = transcript.segments.iter().map(|segment| Row {
        start_time: segment.start,
        end_time: segment.end.max(segment.start),
        body: one_line(&segment.text),
    });
    let file = File {
        version: "1.0.0",
        segments: rows.filter(|row| !row.body.is_empty()).collect(),
    };
    let mut line = serde_json::to_string(&file)
        .expect("rows hold texts and numbers, all of which JSON can express");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::super::test_support::transcript;
    use super::*;

    #[test]
    fn the_shape_is_the_namespace_s() {
        let expected = concat!(
            r#"{"version":"1.0.0","segments":["#,
            r#"{"startTime":0.5,"endTime":1.38,"body":"Two lines."}]}"#,
            "\n"
        );
        let said = transcript(&[(0.5, 1.38, " Two\nlines. "), (2.0, 3.0, " ")]);
        assert_eq!(render(&said), expected);
    }
}
