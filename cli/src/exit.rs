//! How the process ends: documented codes, and one line that says what, where and what to do.

use std::io::Write;
use std::process::ExitCode;

/// Exit codes; scripts depend on them. The table in `podrun --help` is the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Everything asked for is done.
    Done,
    /// Unexpected failure.
    Unexpected,
    /// Wrong usage that only shows when flags are looked at together.
    Usage,
    /// Done, but some items failed.
    Partial,
    /// Cannot start.
    Preflight,
    /// Some work rests until later.
    Waiting,
    /// A signal ended the run early: its number plus 128.
    Signalled(u8),
}

impl Code {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Preflight => 4,
            Self::Waiting => 75,
            Self::Signalled(code) => code,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code.number())
    }
}

/// A failure that a user can cause or cure, with its exit code and what to do about it.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// Something that has to be put right before the command can start.
    pub(crate) fn preflight(message: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Preflight,
            message: message.to_string(),
            hint: None,
        }
    }

    /// Ctrl-C came before anything was begun.
    pub(crate) fn interrupted(message: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Signalled(130),
            ..Self::preflight(message)
        }
    }

    /// A service that is out; another try may succeed.
    pub(crate) fn outage(message: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Waiting,
            ..Self::preflight(message)
        }
    }

    /// A command line that says two things at once.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Usage,
            ..Self::preflight(message)
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Prints the error on stderr and says how to exit.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let problem = error.downcast_ref::<Problem>();
    let code = problem.map_or(Code::Unexpected, |problem| problem.code);
    let hint = problem.and_then(|problem| problem.hint.as_deref());
    let message = one_line(error);
    let mut stderr = std::io::stderr().lock();
    // Nothing can be told to a closed stderr; the exit code still says it.
    let _ = if json {
        let line = serde_json::json!({
            "error": message, "hint": hint, "exit_code": code.number(),
        });
        writeln!(stderr, "{line}")
    } else {
        let hint = hint
            .map(|hint| format!("\n  hint: {hint}"))
            .unwrap_or_default();
        writeln!(stderr, "podrun: {message}{hint}")
    };
    code.into()
}

/// The error and its causes, each said once: messages often repeat their source.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    line.replace('\n', " ")
}
