use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, Args, CommandFactory, Subcommand};
use podrun::domain::StageName;

use super::speech::{FormatName, SpeechArguments};
use super::{Arguments, spelling};

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
    /// Go by the settings of this run's record, `s3://BUCKET/runs/RUN.json` (AWS target)
    #[arg(long, global = true, value_name = "URI")]
    pub(crate) run: Option<String>,

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

/// The flags of a command line that the workers of `stage` take too, spelt for theirs: what a run is
/// told, its workers go by.
///
/// # Errors
/// A line that cannot be understood, which one that was understood before never is, and a value that
/// is no text.
pub(crate) fn flags_of_worker(
    stage: StageName,
    words: impl IntoIterator<Item = OsString>,
) -> Result<Vec<String>, String> {
    let words = spelling::joined(words);
    let matches = Arguments::command().try_get_matches_from(words);
    let matches = matches.map_err(|error| error.to_string())?;
    let worker = Arguments::command();
    let worker = worker.find_subcommand("worker");
    let worker = worker.and_then(|worker| worker.find_subcommand(stage.as_str()));
    let (Some(worker), Some((_, given))) = (worker, matches.subcommand()) else {
        return Err(format!("there is no worker of the stage {stage}"));
    };
    let mut flags = Vec::new();
    for id in given.ids() {
        let known = worker.get_arguments().find(|known| known.get_id() == id);
        let long = known.and_then(Arg::get_long);
        let is_typed = given.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        if let (Some(long), true) = (long, is_typed) {
            for value in given.get_raw(id.as_str()).into_iter().flatten() {
                let value = value.to_str();
                let value = value.ok_or_else(|| format!("the value of --{long} is no text"))?;
                flags.push(format!("--{long}={value}"));
            }
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(stage: StageName, line: &str) -> Vec<String> {
        flags_of_worker(stage, line.split(' ').map(OsString::from)).unwrap()
    }

    #[test]
    fn workers_are_told_what_the_run_is_told_and_what_concerns_them() {
        let line = "podrun --target aws fetch --limit 5 --concurrency 8 --wait";
        assert_eq!(flags(StageName::Fetch, line), ["--concurrency=8"]);
        let line = "podrun --target aws transcribe --limit 5 --model small --beam_size 1 \
                    --word_timestamps True -f srt,txt --batched=False";
        let told = flags(StageName::Transcribe, line);
        let words = ["podrun", "worker", "transcribe"].map(str::to_owned);
        let words = words.into_iter().chain(told.clone()).map(OsString::from);
        assert!(Arguments::of_words(words).is_ok(), "{told:?}");
        for flag in ["--model=small", "--beam-size=1", "--output-format=srt"] {
            assert!(told.iter().any(|told| told == flag), "{flag} in {told:?}");
        }
        assert!(!told.iter().any(|told| told.contains("limit")), "{told:?}");
    }
}
