//! Crawls the catalog and writes the manifest that `podrun fetch` would work through.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Parser;
use podrun::feeds::{Catalog, CrawlOptions, Crawler, HttpFeedFetcher};
use podrun::manifest::{Manifest, write_file, write_manifest};
use podrun::runtime::clock::SystemClock;
use podrun::runtime::http::{HttpClient, HttpConfig, OpenGate};
use podrun::runtime::telemetry::{Event, Observer};

/// Crawl the feeds of a catalog and write their episodes as a manifest.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder with the tier*_feeds.yaml files
    #[arg(long, value_name = "DIR", default_value = "feeds")]
    feeds: PathBuf,
    /// Where to write the CSV; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "manifest.csv")]
    output: PathBuf,
    /// Write at most this many episodes
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Tells on standard error how the crawl goes.
#[derive(Debug)]
struct Report;

impl Observer for Report {
    fn event(&self, event: &Event) {
        let text = match event {
            Event::CrawlStarted { feeds } => format!("crawling {feeds} feeds\n"),
            Event::FeedCrawled {
                feed,
                episodes,
                warnings,
            } => {
                let warnings = warnings
                    .iter()
                    .map(|warning| format!("  {feed}: {warning}\n"));
                format!(
                    "{feed}: {episodes} episodes\n{}",
                    warnings.collect::<String>()
                )
            }
            Event::FeedFailed { feed, reason } => format!("{feed}: failed: {reason}\n"),
            _ => return,
        };
        // Who closed standard error does not want to know.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let catalog = Catalog::read(&arguments.feeds)?;
    let client = HttpClient::try_new(HttpConfig::default())?;
    // Feeds only, one request each: the crawler's own limit of two at a time a host is enough.
    let fetcher = HttpFeedFetcher::new(client, Arc::new(OpenGate), Default::default());
    let crawler = Crawler::new(
        Arc::new(fetcher),
        Arc::new(Report),
        Arc::new(SystemClock),
        CrawlOptions::default(),
    );
    let feeds = crawler.crawl(&catalog).await;
    if feeds.iter().all(|feed| feed.outcome.is_err()) {
        bail!("no feed could be read; nothing was written");
    }
    let manifest = Manifest::from_crawl(feeds).limited(arguments.limit);
    write(&arguments.output, &manifest)
}

fn write(output: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    if output == Path::new("-") {
        return write_manifest(manifest.rows(), std::io::stdout().lock())
            .context("cannot write to standard output");
    }
    Ok(write_file(output, manifest)?)
}
