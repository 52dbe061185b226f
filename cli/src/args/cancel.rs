use clap::Args;
use podrun::domain::RunId;

/// Stop a run of the AWS target: its workers hand their work back and end
///
/// What is queued stays queued, and what was done stays done; fetching or transcribing again goes on
/// from there. A run on this machine is stopped with Ctrl-C instead.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  podrun --target aws cancel fetch-20261121-231500-1f9c2a")]
pub(crate) struct CancelArguments {
    /// The run, as `podrun fetch` and `podrun transcribe` told it
    #[arg(value_name = "RUN")]
    pub(crate) run: RunId,
}
