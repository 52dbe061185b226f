use clap::Args;

/// Run the whole pipeline on bundled speech, without a network
///
/// Serves a sample feed with three short episodes on loopback, fetches them politely, transcribes
/// them with the small bundled model, and prints the transcripts and where every file lies. The data
/// directory is podrun-demo, unless --data-dir says otherwise; it is yours to look at and to delete.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  podrun demo
  podrun demo --data-dir /tmp/demo
  podrun status --data-dir podrun-demo     afterwards: what the pipeline knows")]
pub(crate) struct DemoArguments {}
