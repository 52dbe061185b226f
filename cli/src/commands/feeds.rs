//! `podrun feeds`

mod check;
mod import;

use crate::args::{FeedsArguments, FeedsCommand, GlobalArguments};
use crate::exit::Code;
use crate::settings::Settings;
use crate::signals::Shutdown;

pub(crate) async fn run(
    global: &GlobalArguments,
    settings: Settings,
    options: &FeedsArguments,
    shutdown: &Shutdown,
) -> anyhow::Result<Code> {
    match &options.command {
        FeedsCommand::Check(options) => check::run(global, settings, options, shutdown).await,
        FeedsCommand::Import(options) => import::run(global, settings, options),
    }
}
