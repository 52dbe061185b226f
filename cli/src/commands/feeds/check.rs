//! `podrun feeds check`

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use podrun::domain::Episode;
use podrun::feeds::media_url::serving_host;
use podrun::feeds::{CrawledFeed, FeedCopies, ParsedFeed};
use podrun::runtime::telemetry::{Event, Observer};
use serde::Serialize;

use crate::args::{CheckArguments, GlobalArguments};
use crate::commands::fetch::read_catalog;
use crate::exit::Code;
use crate::output::{self, text};
use crate::settings::Settings;
use crate::signals::Shutdown;
use crate::wire::{self, Stores};

/// What a feed is like. A line of `--json`.
#[derive(Debug, Serialize)]
struct FeedReport {
    slug: String,
    tier: u32,
    /// Whether it could be read now and has an episode.
    usable: bool,
    /// `RSS`, `RDF`, `Atom` or `JSON Feed`.
    format: Option<String>,
    title: Option<String>,
    episodes: usize,
    pages: usize,
    newest: Option<DateTime<Utc>>,
    /// Hosts that serve the media, the one with the most episodes first.
    hosts: Vec<String>,
    /// When its server failed: the day of the copy that the other fields describe.
    copy_of: Option<DateTime<Utc>>,
    /// Why it is not usable, and what to do.
    problem: Option<String>,
    warnings: Vec<String>,
}

pub(super) async fn run(
    global: &GlobalArguments,
    mut settings: Settings,
    options: &CheckArguments,
    shutdown: &Shutdown,
) -> anyhow::Result<Code> {
    if let Some(feeds) = &options.feeds {
        settings.feeds.clone_from(feeds);
    }
    let catalog = read_catalog(&settings)?;
    let stores = Stores::open_existing(&settings).await?;
    let observer = Arc::new(Quieter(output::observer(global)));
    let crawler = wire::crawler(&settings, &stores, observer, true, shutdown)?;
    let crawler = crawler.with_copies(FeedCopies::new(Arc::clone(&stores.manifests)));
    let crawled = tokio::select! {
        crawled = crawler.crawl(&catalog) => crawled,
        () = shutdown.token.cancelled() => {
            return Ok(shutdown.code().map_or(Code::Unexpected, Code::Signalled));
        }
    };
    // The progress goes before the result comes.
    drop(crawler);
    let reports: Vec<_> = crawled.iter().map(FeedReport::new).collect();
    output::print_lines(global, &reports, || table(&reports))?;
    match reports.iter().all(|report| report.usable) {
        true => Ok(Code::Done),
        false => Ok(Code::Partial),
    }
}

/// Leaves out what the result says again: on a terminal the bar is progress enough.
#[derive(Debug)]
struct Quieter(Arc<dyn Observer>);

impl Observer for Quieter {
    fn event(&self, event: &Event) {
        match event {
            Event::FeedCrawled { feed, episodes, .. } => self.0.event(&Event::FeedCrawled {
                feed: feed.clone(),
                episodes: *episodes,
                warnings: Vec::new(),
            }),
            event => self.0.event(event),
        }
    }
}

impl FeedReport {
    fn new(crawled: &CrawledFeed) -> Self {
        let parsed = crawled.outcome.as_ref().ok();
        let episodes = parsed.map_or(&[][..], |parsed| &parsed.episodes);
        let problem = problem(crawled);
        Self {
            slug: crawled.entry.slug.to_string(),
            tier: crawled.entry.tier,
            usable: problem.is_none(),
            format: parsed.map(|parsed| parsed.format.to_string()),
            title: parsed.map(|parsed| parsed.title.clone()),
            episodes: episodes.len(),
            pages: crawled.pages,
            newest: episodes
                .iter()
                .filter_map(|episode| episode.published)
                .max(),
            hosts: hosts(episodes),
            copy_of: crawled.outage.as_ref().map(|outage| outage.copy_of),
            problem,
            warnings: parsed.map_or_else(Vec::new, |parsed| parsed.warnings.clone()),
        }
    }
}

fn problem(crawled: &CrawledFeed) -> Option<String> {
    match (&crawled.outcome, &crawled.outage) {
        (Err(problem), _) => Some(problem.to_string()),
        (Ok(_), Some(outage)) => Some(outage.failure.to_string()),
        (Ok(ParsedFeed { episodes, .. }), None) if episodes.is_empty() => {
            Some("the feed has no episode".to_owned())
        }
        _ => None,
    }
}

fn hosts(episodes: &[Episode]) -> Vec<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for host in episodes
        .iter()
        .filter_map(|e| serving_host(&e.enclosure.url))
    {
        *counts.entry(host).or_default() += 1;
    }
    let mut hosts: Vec<_> = counts.into_iter().collect();
    hosts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    hosts.into_iter().map(|(host, _)| host).collect()
}

/// The reports for people: a line a feed, and below what is wrong with which.
fn table(reports: &[FeedReport]) -> String {
    let width = reports.iter().map(|report| report.slug.len()).max();
    let width = width.unwrap_or(0).clamp(4, 40);
    let mut lines = row(
        width,
        ["feed", "", "format", "episodes", "newest", "media from"],
    );
    for report in reports {
        let newest = report
            .newest
            .map(|date| date.format("%Y-%m-%d").to_string());
        let state = match (report.usable, report.copy_of) {
            (true, _) => "ok",
            (false, None) => "FAIL",
            (false, Some(_)) => "COPY",
        };
        lines += &row(
            width,
            [
                &text::short(&report.slug, width),
                state,
                report.format.as_deref().unwrap_or("-"),
                &report.episodes.to_string(),
                newest.as_deref().unwrap_or("-"),
                &host_list(&report.hosts),
            ],
        );
    }
    for report in reports {
        for problem in report.problem.iter().chain(&report.warnings) {
            lines += &format!("{}: {}\n", report.slug, text::printable(problem));
        }
    }
    let usable = reports.iter().filter(|report| report.usable).count();
    lines
        + &format!(
            "{usable} of {} usable\n",
            text::count(reports.len() as u64, "feed")
        )
}

fn row(width: usize, cells: [&str; 6]) -> String {
    let [feed, state, format, episodes, newest, hosts] = cells;
    let line =
        format!("{feed:<width$}  {state:<4}  {format:<9}  {episodes:>8}  {newest:<10}  {hosts}");
    format!("{}\n", line.trim_end())
}

fn host_list(hosts: &[String]) -> String {
    const SHOWN: usize = 2;
    let shown: Vec<_> = hosts
        .iter()
        .take(SHOWN)
        .map(|host| text::short(host, 40))
        .collect();
    match hosts.len() {
        0 => "-".to_owned(),
        count if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}
