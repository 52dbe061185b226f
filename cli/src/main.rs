//! `podrun`: podcasts to text, from the command line.

mod args;
mod commands;
mod demo_server;
mod exit;
mod output;
mod settings;
mod signals;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = args::Arguments::of_process();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&error.into(), arguments.global.json),
    };
    let ended = runtime.block_on(commands::run(&arguments));
    // A download or a model call that ignores its cancellation must not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match ended {
        Ok(code) => code.into(),
        Err(error) => exit::report(&error, arguments.global.json),
    }
}
