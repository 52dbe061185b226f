//! Flags as typed, without effects. What they mean together is decided in [`crate::settings`].

mod cancel;
mod demo;
mod feeds;
mod fetch;
mod speech;
mod spelling;
mod status;
mod transcribe;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::settings::Target;

pub(crate) use cancel::CancelArguments;
pub(crate) use demo::DemoArguments;
pub(crate) use feeds::{CheckArguments, FeedsArguments, FeedsCommand, ImportArguments};
pub(crate) use fetch::FetchArguments;
pub(crate) use speech::{
    DecodingArguments, FormatName, GuardArguments, ModelArguments, OrNone, SpeechArguments,
    TaskName, WordArguments,
};
pub(crate) use status::StatusArguments;
pub(crate) use transcribe::TranscribeArguments;
pub(crate) use worker::{WorkerArguments, WorkerStage, flags_of_worker};

/// Podcast back catalogues as text you can query.
///
/// podrun reads lists of podcast feeds, downloads the episodes politely (never more connections to
/// a host than it is allowed), and transcribes them with Whisper on CTranslate2. Everything lands
/// in one data directory; every command can be interrupted and run again, and goes on where it was.
#[derive(Debug, Parser)]
#[command(
    name = "podrun",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Try `podrun demo` first: it needs no network and no configuration.",
    after_long_help = EXAMPLES
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// What was typed; ends the process with clap's message where it cannot be understood.
    pub(crate) fn of_process() -> Self {
        Self::of_words(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Takes the words of a command line apart, the program's name first.
    pub(crate) fn of_words(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(spelling::joined(words))
    }
}

const EXAMPLES: &str = "\
Examples:
  podrun demo                          the whole pipeline on bundled speech, without a network
  podrun fetch --limit 50 --dry-run    what a run would fetch, changing nothing
  podrun fetch --limit 50              crawl feeds/tier*_feeds.yaml and fetch 50 episodes
  podrun transcribe --limit 50         transcribe what was fetched, with the model `base`
  podrun transcribe talk.mp3           transcribe a file, to stdout
  podrun status                        what is queued, done and failed, and why
  podrun --target aws fetch --limit 1000 --wait
                                       the same by a fleet of an AWS account
  podrun feeds check                   whether every feed of the catalog can be read

Exit codes:
  0    everything asked for is done
  1    unexpected failure
  2    wrong usage
  3    done, but some episodes or feeds failed; `podrun status` and `podrun feeds check` say
       which and why
  4    cannot start: configuration, data directory, feeds or model; the message says what to do
  75   some work rests until later (a host asked to wait, a service was out, or a worker on AWS was
       told to end); run the same command again then
  130  interrupted (Ctrl-C); 143 terminated. Run the same command again to go on

Files:
  podrun.toml                          settings, all optional (see the README)
  podrun-data/                         everything podrun stores; --data-dir moves it";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct GlobalArguments {
    /// Where everything is stored [default: podrun-data]
    #[arg(
        long,
        global = true,
        env = "PODRUN_DATA_DIR",
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(crate) data_dir: Option<PathBuf>,

    /// Settings file [default: podrun.toml, where it exists]
    #[arg(
        long,
        global = true,
        env = "PODRUN_CONFIG",
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) config: Option<PathBuf>,

    /// Where to work: this machine, or an AWS account [default: local]
    #[arg(
        long,
        global = true,
        env = "PODRUN_TARGET",
        value_name = "TARGET",
        help_heading = "Global options"
    )]
    pub(crate) target: Option<Target>,

    /// AWS region [default: as for the AWS CLI]
    #[arg(long, global = true, value_name = "NAME", help_heading = "AWS options")]
    pub(crate) region: Option<String>,

    /// AWS profile [default: as for the AWS CLI]
    #[arg(long, global = true, value_name = "NAME", help_heading = "AWS options")]
    pub(crate) profile: Option<String>,

    /// One endpoint for every AWS service, such as a stand-in's
    #[arg(long, global = true, value_name = "URL", help_heading = "AWS options")]
    pub(crate) endpoint_url: Option<String>,

    /// No progress; results and errors only
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,

    /// Results as JSON on stdout, progress as JSON lines on stderr
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,

    /// More log lines on stderr; twice for still more (PODRUN_LOG sets a tracing filter)
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Fetch(FetchArguments),
    Transcribe(Box<TranscribeArguments>),
    Status(StatusArguments),
    Cancel(CancelArguments),
    Feeds(FeedsArguments),
    Demo(DemoArguments),
    Worker(WorkerArguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_finds_no_fault() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_run_book_parse() {
        for line in [
            "podrun fetch --limit 50 --dry-run",
            "podrun fetch --limit 1000",
            "podrun fetch --refresh",
            "podrun transcribe --limit 1000",
            "podrun transcribe --limit 500 --manifest-s3 s3://pod-insights-manifests/retry.csv",
            "podrun worker fetch",
            "podrun --target aws fetch --limit 1000 --wait",
            "podrun fetch --manifest s3://pod-insights-manifests/20261121.csv --region eu-west-1",
            "podrun --target aws worker fetch --run s3://pod-insights-manifests/runs/a.json --concurrency 8",
            "podrun --target aws worker transcribe --run s3://b/runs/a.json --model small",
            "podrun --target aws status fetch-20261121-231500-1f9c2a",
            "podrun --target aws cancel fetch-20261121-231500-1f9c2a",
            "podrun worker transcribe --model small --beam_size 1",
            "podrun transcribe a.mp3 b.mp3 --output_dir out -f srt,vtt --output_format txt --data_dir d",
            "podrun transcribe - --word_timestamps True",
            "podrun status --json",
            "podrun feeds check --feeds my-feeds",
            "podrun feeds import a.opml --tier 2 --dry-run",
        ] {
            let parsed = Arguments::of_words(line.split(' ').map(Into::into));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn an_import_goes_to_one_place() {
        let line = "podrun feeds import a.opml --tier 2 --output b.yaml";
        assert!(Arguments::try_parse_from(line.split(' ')).is_err());
        assert!(Arguments::try_parse_from("podrun feeds import a --tier 0".split(' ')).is_err());
    }

    #[test]
    fn files_and_episodes_do_not_mix_and_unknown_options_are_refused() {
        for line in [
            "podrun transcribe a.mp3 --limit 3",
            "podrun transcribe --output-dir out",
            "podrun transcribe a.mp3 --beem-size 3",
            "podrun transcribe a.mp3 -f doc",
            "podrun transcribe a.mp3 --language Klingon",
            "podrun transcribe a.mp3 --device gpu",
            "podrun transcribe a.mp3 --batched=maybe",
            "podrun transcribe a.mp3 --suppress_tokens 1,2",
            "podrun transcribe a.mp3 --patience NaN",
        ] {
            let parsed = Arguments::of_words(line.split(' ').map(Into::into));
            assert!(parsed.is_err(), "{line}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_wrong_usage() {
        let parsed = Arguments::try_parse_from(["podrun", "fetch", "--limit", "0"]);
        assert!(parsed.unwrap_err().to_string().contains("at least 1"));
    }
}
