use clap::{Args, Subcommand};

use super::speech::{FormatName, SpeechArguments};

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
    Transcribe(Box<TranscribeWorkerArguments>),
}

/// What `podrun transcribe` takes too, but for the choice of episodes.
#[derive(Debug, Args)]
pub(crate) struct TranscribeWorkerArguments {
    /// Formats beside those that episodes always have: txt, srt, tsv, podcast-json
    #[arg(long, short = 'f', value_name = "FORMAT", value_delimiter = ',',
        value_parser = clap::value_parser!(FormatName))]
    pub(crate) output_format: Vec<FormatName>,

    #[command(flatten)]
    pub(crate) speech: SpeechArguments,
}
