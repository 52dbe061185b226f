//! What people and programs see: results on stdout, progress and logs on stderr.

mod bars;
mod json_lines;
pub(crate) mod logging;
mod plain;
pub(crate) mod text;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use podrun::runtime::telemetry::{Ignore, Observer};
use serde::Serialize;

use crate::args::GlobalArguments;

/// Picks the progress display: bars on a terminal, lines off it, JSON lines or nothing on request.
pub(crate) fn observer(global: &GlobalArguments) -> Arc<dyn Observer> {
    if global.quiet {
        Arc::new(Ignore)
    } else if global.json {
        Arc::new(json_lines::JsonLines)
    } else if std::io::stderr().is_terminal() {
        Arc::new(bars::Bars::default())
    } else {
        Arc::new(plain::Plain::default())
    }
}

/// Prints results: `text` for people, or `value` as one JSON line.
pub(crate) fn print_result(
    global: &GlobalArguments,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    print_lines(global, std::slice::from_ref(value), text)
}

/// Prints results: `text` for people, or one JSON line a value.
pub(crate) fn print_lines(
    global: &GlobalArguments,
    values: &[impl Serialize],
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let mut out = String::new();
    if global.json {
        for value in values {
            out += &serde_json::to_string(value)?;
            out.push('\n');
        }
    } else {
        out = text();
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    print_raw(&out)
}

/// Says what went wrong, on stderr; for those who asked for no progress.
pub(crate) fn complain(problem: &str) {
    // Nothing can be told to a closed stderr; the exit code still says it.
    let _ = writeln!(
        std::io::stderr().lock(),
        "podrun: {}",
        text::printable(problem)
    );
}

/// Prints a text as it is.
pub(crate) fn print_raw(out: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(out.as_bytes()) {
        // `podrun status | head` is no failure of podrun's.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
