use std::path::PathBuf;

use clap::Args;

/// Crawl the feeds, then download their episodes politely
///
/// Reads tier1_feeds.yaml, tier2_feeds.yaml and so on, crawls the feeds, writes a manifest (one
/// line an episode), queues what is not there yet and downloads it. Episodes that are in the raw
/// store already are never fetched again, so running the command again continues. Feeds are asked
/// only for what is new since the last run, whose copies stand in for servers that fail.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  podrun fetch --limit 50 --dry-run        list what would be fetched
  podrun fetch --limit 50                  fetch 50 episodes, then 50 more the next time
  podrun fetch                             fetch everything
  podrun fetch --feeds my-feeds            tier files from another folder
  podrun fetch --manifest podrun-data/manifests/20260309.csv
                                           no crawl: exactly these episodes
  podrun --target aws fetch --limit 1000   queue 1000 episodes and submit a job that fetches them")]
pub(crate) struct FetchArguments {
    /// Folder with the tier files tier*_feeds.yaml [default: feeds]
    #[arg(long, value_name = "DIR")]
    pub(crate) feeds: Option<PathBuf>,

    /// Work on at most N episodes that are not there yet
    #[arg(long, value_name = "N", value_parser = super::transcribe::at_least_one)]
    pub(crate) limit: Option<u64>,

    /// Show exactly what a run would do; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Ask also the feeds whose servers said for how long there is nothing new
    #[arg(long, conflicts_with = "manifest")]
    pub(crate) refresh: bool,

    /// Take the episodes from this CSV file, or `s3://` object, instead of crawling
    #[arg(long, value_name = "PATH", conflicts_with = "feeds")]
    pub(crate) manifest: Option<String>,

    /// Try again what failed for good in an earlier run (dead links, refused, no audio)
    #[arg(long)]
    pub(crate) retry_failed: bool,

    /// Downloads at the same time [default: 4]; a host's own limit still holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) concurrency: Option<u16>,

    /// Follow the run until it ends (AWS target); Ctrl-C stops the following, not the run
    #[arg(long)]
    pub(crate) wait: bool,
}
