//! One file a command: resolved settings in, library calls, a printed result and an exit code out.

mod demo;
mod feeds;
mod fetch;
mod fleet;
mod manifest;
mod run;
mod status;
mod transcribe;
mod transcribe_files;
mod worker;

use crate::args::{Arguments, Command};
use crate::exit::Code;
use crate::output::logging;
use crate::settings::Settings;
use crate::signals::Shutdown;

/// Runs the command that was asked for.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Code> {
    let global = &arguments.global;
    logging::start(global, std::env::var("PODRUN_LOG").ok());
    let settings = Settings::resolve(global)?;
    let shutdown = Shutdown::listen()?;
    match &arguments.command {
        Command::Fetch(options) => fetch::run(global, settings, options, &shutdown).await,
        Command::Transcribe(options) => transcribe::run(global, settings, options, &shutdown).await,
        Command::Status(options) => status::run(global, &settings, options).await,
        Command::Cancel(options) => fleet::cancel(global, &settings, options).await,
        Command::Feeds(options) => feeds::run(global, settings, options, &shutdown).await,
        Command::Demo(_) => demo::run(global, settings, &shutdown).await,
        Command::Worker(options) => worker::run(global, settings, options, &shutdown).await,
    }
}
