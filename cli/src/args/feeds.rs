use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Check the feeds of the catalog, or import feeds into it
#[derive(Debug, Args)]
pub(crate) struct FeedsArguments {
    #[command(subcommand)]
    pub(crate) command: FeedsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FeedsCommand {
    Check(CheckArguments),
    Import(ImportArguments),
}

/// Ask every feed, and say what is in it and what is wrong with it
///
/// Every feed is asked, also where its server said for how long there is nothing new; unchanged feeds
/// cost a few bytes. Exits with 0 only if every feed could be read now and has an episode, else with 3.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  podrun feeds check                    a table: format, episodes, newest, media hosts, problems
  podrun feeds check --feeds my-feeds   tier files from another folder
  podrun feeds check --json             one JSON object a feed and line")]
pub(crate) struct CheckArguments {
    /// Folder with the tier files tier*_feeds.yaml [default: feeds]
    #[arg(long, value_name = "DIR")]
    pub(crate) feeds: Option<PathBuf>,
}

/// Add the feeds of an OPML file to the catalog
///
/// Podcast programs export their subscriptions as OPML. Feeds that the catalog has already are skipped;
/// the others get a slug made from their title and go behind what the tier file holds, which otherwise
/// stays as it is. Exits with 0 if every feed of the file is in the catalog now, with 3 if some have an
/// address that cannot be fetched.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  podrun feeds import subscriptions.opml --dry-run     show what would be added
  podrun feeds import subscriptions.opml --tier 3      add it to feeds/tier3_feeds.yaml")]
pub(crate) struct ImportArguments {
    /// The OPML file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Add to the tier file of this number [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) tier: Option<NonZeroU32>,

    /// Add to this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "tier")]
    pub(crate) output: Option<PathBuf>,

    /// Folder with the tier files tier*_feeds.yaml [default: feeds]
    #[arg(long, value_name = "DIR")]
    pub(crate) feeds: Option<PathBuf>,

    /// Show what would be added; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
