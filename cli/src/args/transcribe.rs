use std::path::PathBuf;

use clap::Args;

use super::speech::{FormatName, SpeechArguments};

/// Transcribe fetched episodes, or files, with Whisper
///
/// With files: transcribes them, in turn, to stdout or into --output-dir; nothing else is written.
/// Without: looks through the raw store for episodes without a transcript (or takes those of a
/// manifest) and writes transcript.json, transcript.vtt, segments.json and kpis.json for each into
/// the stage store.
#[derive(Debug, Clone, Default, Args)]
#[command(
    after_help = "`podrun transcribe --help` has every option, the models and examples.",
    after_long_help = "\
Models:
  tiny, base, small, medium, large-v3, large-v3-turbo, distil-large-v3 and their .en forms are
  downloaded once from the Hugging Face hub (HF_ENDPOINT, HF_HOME and HF_TOKEN are honoured). An
  OWNER/NAME repository of CTranslate2 weights, or a folder that holds them, works too.

Spelling:
  Options of openai/whisper and whisper-ctranslate2 keep their names; --beam_size is --beam-size,
  a switch may have True or False behind it, and None switches a threshold off.

Examples:
  podrun transcribe talk.mp3                 the text on stdout
  podrun transcribe talk.mp3 -f srt > talk.srt
  podrun transcribe *.m4a -o texts -f all    texts/NAME.txt, .vtt, .srt, .tsv, .json each
  curl URL | podrun transcribe -             from stdin
  podrun transcribe                          every episode that has no transcript, model base
  podrun transcribe --limit 10 --model small
  podrun transcribe --model ./my-model       a CTranslate2 folder, without a network
  podrun transcribe --language es            do not detect the language
  podrun transcribe --reuse-transcripts      spare what publishers have transcribed
  podrun transcribe --manifest retry.csv     exactly these episodes"
)]
pub(crate) struct TranscribeArguments {
    /// Audio or video files; `-` is stdin
    #[arg(value_name = "FILE", help_heading = "Files",
        conflicts_with_all = ["limit", "manifest", "manifest_s3", "reuse_transcripts", "dry_run", "retry_failed", "wait"])]
    pub(crate) files: Vec<PathBuf>,

    /// Write into this folder instead of to stdout; files of the same name are replaced
    #[arg(
        long,
        short = 'o',
        value_name = "DIR",
        help_heading = "Files",
        requires = "files"
    )]
    pub(crate) output_dir: Option<PathBuf>,

    /// txt, vtt, srt, tsv, json, segments, podcast-json; all is the first five. Of files: txt to stdout
    /// and all into a folder by default. Of episodes: these beside the formats that they always have
    #[arg(long, short = 'f', value_name = "FORMAT", help_heading = "Files", value_delimiter = ',',
        value_parser = clap::value_parser!(FormatName))]
    pub(crate) output_format: Vec<FormatName>,

    /// Work on at most N episodes that have no transcript yet
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Episodes")]
    pub(crate) limit: Option<u64>,

    /// Only the episodes of this CSV file
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with = "manifest_s3",
        help_heading = "Episodes"
    )]
    pub(crate) manifest: Option<String>,

    /// Only the episodes of this CSV file on S3
    #[arg(long, value_name = "URI", help_heading = "Episodes")]
    pub(crate) manifest_s3: Option<String>,

    /// Follow the run until it ends (AWS target); Ctrl-C stops the following, not the run
    #[arg(long, help_heading = "Episodes")]
    pub(crate) wait: bool,

    /// Take the publisher's own transcript where the feed offers a whole one with times
    #[arg(long, help_heading = "Episodes")]
    pub(crate) reuse_transcripts: bool,

    /// Show exactly what a run would do; change nothing
    #[arg(long, help_heading = "Episodes")]
    pub(crate) dry_run: bool,

    /// Try again what failed for good in an earlier run
    #[arg(long, help_heading = "Episodes")]
    pub(crate) retry_failed: bool,

    #[command(flatten)]
    pub(crate) speech: SpeechArguments,
}

/// A positive number, with an error that says what 0 would mean.
pub(super) fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1; leave the option out for no limit".to_owned()),
        Ok(limit) => Ok(limit),
        Err(_) => Err("is no whole number".to_owned()),
    }
}
