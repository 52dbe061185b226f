//! Logs: on stderr, warnings and worse unless asked for more.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::GlobalArguments;

/// Starts logging. `filter` is PODRUN_LOG, which wins over `-v`.
pub(crate) fn start(global: &GlobalArguments, filter: Option<String>) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,podrun=info,podrun_cli=info",
        (false, _) => "info,podrun=debug,podrun_cli=debug",
    };
    let filter = filter.unwrap_or_else(|| level.to_owned());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if global.json {
        builder.json().init();
    } else {
        builder.compact().with_target(false).init();
    }
}
