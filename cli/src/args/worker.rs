use clap::{Args, Subcommand};

/// Drain a queue: the loop that fetch and transcribe run in this process
///
/// Takes whatever is queued until nothing is left. Several workers may share one data directory;
/// the limits of the podcast hosts hold for all of them together.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  podrun worker fetch
  podrun worker transcribe --model small")]
pub(crate) struct WorkerArguments {
    #[command(subcommand)]
    pub(crate) stage: WorkerStage,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerStage {
    /// Download queued episodes
    Fetch {
        /// Downloads at the same time [default: 4]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
        concurrency: Option<u16>,
    },
    /// Transcribe queued episodes
    Transcribe {
        /// Model by name, hub repository, or folder [default: base]
        #[arg(long, value_name = "NAME|DIR", env = "PODRUN_MODEL")]
        model: Option<String>,
        /// Spoken language, as a code like `en`; detected where not given
        #[arg(long, value_name = "CODE")]
        language: Option<String>,
        /// Hypotheses kept while decoding; 1 is greedy [default: 5]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=20))]
        beam_size: Option<u16>,
        /// Processor threads of the model [default: all cores]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        threads: Option<u16>,
    },
}
