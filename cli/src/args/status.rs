use clap::Args;
use podrun::domain::RunId;

/// Show what is queued, leased, done and failed, and why
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  podrun status                 a table by stage and feed, and the failures
  podrun status --json          the same for programs; the field schema_version names its shape
  podrun status --failures 1000 list more failures")]
pub(crate) struct StatusArguments {
    /// A run of the AWS target, for how its job stands
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<RunId>,

    /// List at most N failures
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) failures: u16,
}
