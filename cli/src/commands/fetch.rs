//! `podrun fetch`

mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use podrun::checkpoint::Reopen;
use podrun::control::{Drain, Enqueue, Planned};
use podrun::domain::{EpisodeId, FetchJob, StageName};
use podrun::feeds::media_url::serving_host;
use podrun::fetch::{FetchConfig, FetchStage};
use podrun::runtime::http::SafeUrl;
use podrun::runtime::telemetry::{Event, Observer};
use podrun::runtime::worker::{Scope, Worker};
use serde::Serialize;

use super::fleet::{self, Submission};
use super::run::{Counting, Outcome, Selection, StageSummary};
use crate::args::{FetchArguments, GlobalArguments};
use crate::exit::Code;
use crate::output::{self, text};
use crate::settings::Settings;
use crate::signals::Shutdown;
use crate::wire::{self, Stores};
use source::{Rows, Source};

pub(super) use source::read_catalog;

/// The result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct FetchSummary {
    #[serde(flatten)]
    pub(crate) run: Outcome,
    /// Whether nothing was changed.
    dry_run: bool,
    #[serde(flatten)]
    selection: Selection,
    /// The manifest that was written or read.
    manifest: Option<String>,
    feeds: usize,
    failed_feeds: Vec<String>,
    /// With `--dry-run`: the episodes that would be fetched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_fetch: Vec<WouldFetch>,
}

/// One line of a dry run.
#[derive(Debug, Serialize)]
struct WouldFetch {
    episode: String,
    title: String,
    url: String,
    /// The host that probably serves the file, behind the measuring services in front of it.
    host: String,
    bytes: Option<u64>,
}

pub(crate) async fn run(
    global: &GlobalArguments,
    mut settings: Settings,
    options: &FetchArguments,
    shutdown: &Shutdown,
) -> anyhow::Result<Code> {
    if let Some(feeds) = &options.feeds {
        settings.feeds.clone_from(feeds);
    }
    if let Some(concurrency) = options.concurrency {
        settings.fetch.concurrency = concurrency;
    }
    let observer = Counting::new(output::observer(global));
    let summary = fetch(&settings, options, observer, shutdown).await?;
    output::print_result(global, &summary, || summary.text(options))?;
    Ok(summary.code(shutdown))
}

/// The whole of `podrun fetch`, for the demo too.
pub(crate) async fn fetch(
    settings: &Settings,
    options: &FetchArguments,
    observer: Arc<Counting>,
    shutdown: &Shutdown,
) -> anyhow::Result<FetchSummary> {
    let started = Instant::now();
    let source = Source::read(settings, options).await?;
    let stores = if options.dry_run {
        Stores::open_existing(settings).await?
    } else {
        Stores::open(settings).await?
    };
    let crawl = tokio::select! {
        episodes = source.episodes(settings, &stores, options, &observer, shutdown) => Some(episodes?),
        () = shutdown.token.cancelled() => None,
    };
    let Some(crawl) = crawl else {
        return Ok(FetchSummary::interrupted(options, started));
    };
    let manifest = match options.dry_run {
        true => crawl.file.clone(),
        false => crawl.keep(&stores).await?,
    };
    let mut todo = Todo::default();
    // What was queued until then is taken up by the next run.
    let planned = tokio::select! {
        planned = plan(&stores, options, crawl.rows, &mut todo) => Some(planned?),
        () = shutdown.token.cancelled() => None,
    };
    let Some(planned) = planned else {
        return Ok(FetchSummary::interrupted(options, started));
    };
    let mut summary = FetchSummary {
        run: Outcome::Here(StageSummary::idle(StageName::Fetch, started)),
        dry_run: options.dry_run,
        selection: Selection::of(&planned),
        manifest,
        feeds: crawl.feeds,
        failed_feeds: crawl.failed_feeds,
        would_fetch: todo.would_fetch,
    };
    let episodes = fleet::work(&stores, StageName::Fetch, planned.planned).await?;
    if options.dry_run || episodes == 0 {
        return Ok(summary);
    }
    summary.run = if let Some(fleet) = &stores.fleet {
        let submission = Submission {
            stage: StageName::Fetch,
            episodes,
            manifest: summary.manifest.clone(),
            wait: options.wait,
        };
        let ended = fleet::run(settings, &stores, fleet, observer, shutdown, submission);
        Outcome::Fleet(ended.await?)
    } else {
        let scope = Some(Arc::new(Scope::new(todo.scope)));
        let ended = drain(
            settings, &stores, observer, shutdown, scope, episodes, started,
        );
        Outcome::Here(ended.await?)
    };
    Ok(summary)
}

/// Fetches what is queued: the episodes in `scope`, or everything.
pub(crate) async fn drain(
    settings: &Settings,
    stores: &Stores,
    observer: Arc<Counting>,
    shutdown: &Shutdown,
    scope: Option<Arc<Scope>>,
    episodes: u64,
    started: Instant,
) -> anyhow::Result<StageSummary> {
    let stage = StageName::Fetch;
    observer.event(&Event::StageStarted { stage, episodes });
    let worker = Worker {
        stage: Arc::new(FetchStage {
            raw: stores.raw.clone(),
            client: wire::http_client(settings)?,
            gate: stores.gate(settings),
            limits: Arc::new(settings.politeness.clone()),
            observer: observer.clone(),
            config: FetchConfig {
                max_bytes: settings.fetch.max_episode_mib << 20,
                max_resumes: settings.fetch.max_resumes,
                unwrap_dead_prefixes: settings.fetch.unwrap_dead_prefixes,
                ads: settings.fetch.ads.clone(),
                ..FetchConfig::default()
            },
            metrics: Arc::clone(&stores.metrics),
            clock: Arc::clone(&stores.clock),
        }),
        queue: Arc::clone(&stores.fetch_queue),
        checkpoints: Arc::clone(&stores.checkpoints),
        observer: observer.clone(),
        clock: Arc::clone(&stores.clock),
        owner: stores.owner.clone(),
        config: stores.worker_config(settings, usize::from(settings.fetch.concurrency)),
        scope,
    };
    let end = wire::run_worker(worker, stage, &shutdown.token).await?;
    observer.event(&Event::StageEnded { stage });
    Ok(StageSummary::new(stage, observer.tally(), &end, started))
}

/// What a run on this machine keeps of what it plans; one of a fleet may plan any number.
#[derive(Default)]
struct Todo {
    scope: Vec<EpisodeId>,
    would_fetch: Vec<WouldFetch>,
}

async fn plan(
    stores: &Stores,
    options: &FetchArguments,
    rows: Rows,
    todo: &mut Todo,
) -> anyhow::Result<Planned> {
    let enqueue = Enqueue {
        checkpoints: &*stores.checkpoints,
        queue: (!options.dry_run).then_some(&*stores.fetch_queue),
        products: &stores.raw,
        limit: options.limit,
        reopen: reopen(options.retry_failed),
        drain: stores.drain(),
        clock: Arc::clone(&stores.clock),
    };
    let take = |job: FetchJob| match (options.dry_run, enqueue.drain) {
        (true, _) => todo.would_fetch.push(would_fetch(&job)),
        (false, Drain::ThisRun) => todo.scope.push(job.episode.id),
        (false, Drain::AnyRun) => {}
    };
    Ok(enqueue.run(rows.into_jobs(), take).await?)
}

pub(super) fn reopen(retry_failed: bool) -> Reopen {
    match retry_failed {
        true => Reopen::AllFailed,
        false => Reopen::Exhausted,
    }
}

fn would_fetch(job: &FetchJob) -> WouldFetch {
    let episode = &job.episode;
    WouldFetch {
        episode: episode.id.to_string(),
        title: episode.title.clone(),
        url: SafeUrl::from_text(&episode.enclosure.url).to_string(),
        host: serving_host(&episode.enclosure.url).unwrap_or_default(),
        bytes: episode.enclosure.length.filter(|length| *length > 0),
    }
}

impl FetchSummary {
    fn interrupted(options: &FetchArguments, started: Instant) -> Self {
        let mut run = StageSummary::idle(StageName::Fetch, started);
        run.interrupted = true;
        Self {
            run: Outcome::Here(run),
            dry_run: options.dry_run,
            selection: Selection::default(),
            manifest: None,
            feeds: 0,
            failed_feeds: Vec::new(),
            would_fetch: Vec::new(),
        }
    }

    /// Failed feeds make a run partial, as failed episodes do.
    pub(crate) fn code(&self, shutdown: &Shutdown) -> Code {
        match self.run.code(shutdown) {
            Code::Done if !self.failed_feeds.is_empty() => Code::Partial,
            code => code,
        }
    }

    fn text(&self, options: &FetchArguments) -> String {
        let mut lines = String::new();
        if self.feeds > 0 {
            lines += &format!("crawled {}", text::count(self.feeds as u64, "feed"));
            if !self.failed_feeds.is_empty() {
                lines += &format!(", {} failed: ", self.failed_feeds.len());
                lines += &self.failed_feeds.join(", ");
            }
            lines.push('\n');
        }
        if self.dry_run {
            lines += &self.dry_run_text(options);
        } else {
            if let Some(manifest) = &self.manifest {
                lines += &format!("manifest: {manifest}\n");
            }
            if self.selection.planned == 0 && self.run.is_idle() {
                lines += "nothing to fetch\n";
            } else {
                lines += &self.run.text("podrun fetch");
            }
        }
        lines += &self.selection.text("in the raw store already");
        lines
    }

    fn dry_run_text(&self, options: &FetchArguments) -> String {
        let mut lines = String::new();
        let mut hosts = BTreeMap::<&str, (u64, u64)>::new();
        for would in &self.would_fetch {
            let size = would.bytes.map_or_else(|| "?".to_owned(), text::bytes);
            lines += &format!(
                "would fetch {} ({size}) {}\n",
                text::printable(&would.episode),
                text::short(&would.title, 60)
            );
            let (episodes, bytes) = hosts.entry(&would.host).or_default();
            *episodes += 1;
            *bytes += would.bytes.unwrap_or(0);
        }
        for (host, (episodes, bytes)) in hosts {
            let (episodes, bytes) = (text::count(episodes, "episode"), text::bytes(bytes));
            lines += &format!(
                "host {}: {episodes}, {bytes} claimed\n",
                text::printable(host)
            );
        }
        if self.would_fetch.is_empty() {
            lines += "dry run: nothing to fetch\n";
        } else {
            let episodes = text::count(self.selection.planned, "episode");
            let limit = options
                .limit
                .map_or(String::new(), |n| format!(" (limit {n})"));
            lines += &format!("dry run: would fetch {episodes}{limit}; nothing was changed\n");
        }
        lines
    }
}
