use std::path::PathBuf;

use clap::Args;

/// Transcribe fetched episodes with Whisper
///
/// Looks through the raw store for episodes without a transcript (or takes those of a manifest) and
/// writes transcript.json, transcript.vtt, segments.json and kpis.json for each into the stage store.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Models:
  tiny, base, small, medium, large-v3, large-v3-turbo, distil-large-v3 and their .en forms are
  downloaded once from the Hugging Face hub (HF_ENDPOINT, HF_HOME and HF_TOKEN are honoured). An
  OWNER/NAME repository of CTranslate2 weights, or a folder that holds them, works too.

Examples:
  podrun transcribe                          everything that has no transcript, model base
  podrun transcribe --limit 10 --model small
  podrun transcribe --model ./my-model       a CTranslate2 folder, without a network
  podrun transcribe --language es            do not detect the language
  podrun transcribe --reuse-transcripts      spare what publishers have transcribed
  podrun transcribe --manifest retry.csv     exactly these episodes")]
pub(crate) struct TranscribeArguments {
    /// Work on at most N episodes that have no transcript yet
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<u64>,

    /// Model by name, hub repository, or folder [default: base]
    #[arg(long, value_name = "NAME|DIR", env = "PODRUN_MODEL")]
    pub(crate) model: Option<String>,

    /// Only the episodes of this CSV file
    #[arg(long, value_name = "PATH", conflicts_with = "manifest_s3")]
    pub(crate) manifest: Option<PathBuf>,

    /// Only the episodes of this manifest on S3 (AWS target)
    #[arg(long, value_name = "URI")]
    pub(crate) manifest_s3: Option<String>,

    /// Spoken language, as a code like `en`; detected where not given
    #[arg(long, value_name = "CODE")]
    pub(crate) language: Option<String>,

    /// Hypotheses kept while decoding; 1 is greedy [default: 5]
    #[arg(long, alias = "beam_size", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=20))]
    pub(crate) beam_size: Option<u16>,

    /// Processor threads of the model [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,

    /// Take the publisher's own transcript where the feed offers a whole one with times
    #[arg(long)]
    pub(crate) reuse_transcripts: bool,

    /// Show exactly what a run would do; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Try again what failed for good in an earlier run
    #[arg(long)]
    pub(crate) retry_failed: bool,
}

/// A positive number, with an error that says what 0 would mean.
pub(super) fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1; leave the option out for no limit".to_owned()),
        Ok(limit) => Ok(limit),
        Err(_) => Err("is no whole number".to_owned()),
    }
}
