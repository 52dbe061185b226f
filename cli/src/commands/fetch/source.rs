//! Where the episodes of a fetch come from: the feeds of a catalog, or a manifest.

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use podrun::control::ControlError;
use podrun::domain::FetchJob;
use podrun::feeds::{Catalog, FeedCopies};
use podrun::manifest::{Identities, Manifest, ManifestFile, ManifestRow, store_manifest};
use podrun::runtime::telemetry::{Event, Observer};

use crate::args::FetchArguments;
use crate::commands::manifest;
use crate::commands::run::Counting;
use crate::exit::Problem;
use crate::settings::Settings;
use crate::signals::Shutdown;
use crate::wire::{self, Stores};

/// Where the episodes come from; checked before anything is opened.
pub(super) enum Source {
    Catalog(Catalog),
    File(ManifestFile),
}

/// The episodes that may be fetched, and how they were found.
pub(super) struct Crawl {
    pub(super) rows: Rows,
    /// Of a manifest that was read.
    pub(super) file: Option<String>,
    pub(super) feeds: usize,
    pub(super) failed_feeds: Vec<String>,
}

/// Rows of a manifest: those of a crawl are at hand, those of a file are read as they are needed.
pub(super) enum Rows {
    Crawled(Manifest),
    File(ManifestFile),
}

impl Rows {
    pub(super) fn into_jobs(self) -> impl Stream<Item = Result<FetchJob, ControlError>> + Send {
        let rows = match self {
            Self::Crawled(manifest) => {
                let rows = manifest.into_rows().into_iter().map(Ok);
                futures::stream::iter(rows).boxed()
            }
            Self::File(file) => file.into_rows().boxed(),
        };
        rows.map_ok(|row: ManifestRow| FetchJob {
            episode: row.episode,
        })
        .map_err(ControlError::from)
    }
}

impl Source {
    pub(super) async fn read(
        settings: &Settings,
        options: &FetchArguments,
    ) -> anyhow::Result<Self> {
        match &options.manifest {
            Some(named) => Ok(Self::File(manifest::open(settings, named).await?)),
            None => Ok(Self::Catalog(read_catalog(settings)?)),
        }
    }

    pub(super) async fn episodes(
        self,
        settings: &Settings,
        stores: &Stores,
        options: &FetchArguments,
        observer: &Arc<Counting>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Crawl> {
        match self {
            Self::File(file) => Ok(Crawl {
                file: Some(file.name().to_owned()),
                rows: Rows::File(file),
                feeds: 0,
                failed_feeds: Vec::new(),
            }),
            Self::Catalog(catalog) => {
                crawl(&catalog, settings, stores, options, observer, shutdown).await
            }
        }
    }
}

/// The catalog of the settings.
pub(crate) fn read_catalog(settings: &Settings) -> Result<Catalog, Problem> {
    Catalog::read(&settings.feeds).map_err(|error| {
        Problem::preflight(error)
            .hint("tier files are tier1_feeds.yaml and so on; name their folder with --feeds DIR")
    })
}

async fn crawl(
    catalog: &Catalog,
    settings: &Settings,
    stores: &Stores,
    options: &FetchArguments,
    observer: &Arc<Counting>,
    shutdown: &Shutdown,
) -> anyhow::Result<Crawl> {
    let copies = match options.dry_run {
        true => FeedCopies::read_only(Arc::clone(&stores.manifests)),
        false => FeedCopies::new(Arc::clone(&stores.manifests)),
    };
    let crawler = wire::crawler(
        settings,
        stores,
        observer.clone(),
        options.refresh,
        shutdown,
    )?;
    let identities = Identities::new(Arc::clone(&stores.manifests), !options.dry_run);
    let mut crawled = Vec::new();
    // In catalog order: of two feeds of one show the first is kept.
    for feed in crawler.with_copies(copies).crawl(catalog).await {
        let was_read = feed.outcome.is_ok();
        let settled = identities.settle(feed).await;
        if let (true, Err(problem)) = (was_read, &settled.outcome) {
            observer.event(&Event::FeedFailed {
                feed: settled.entry.slug.clone(),
                reason: problem.to_string(),
            });
        }
        crawled.push(settled);
    }
    let failed = crawled.iter().filter(|feed| feed.outcome.is_err());
    let failed_feeds = failed.map(|feed| feed.entry.slug.to_string()).collect();
    Ok(Crawl {
        feeds: crawled.len(),
        failed_feeds,
        file: None,
        rows: Rows::Crawled(Manifest::from_crawl(crawled)),
    })
}

impl Crawl {
    /// Writes the manifest of a crawl into the manifests store; one that was read stays where it is.
    pub(super) async fn keep(&self, stores: &Stores) -> anyhow::Result<Option<String>> {
        let Rows::Crawled(manifest) = &self.rows else {
            return Ok(self.file.clone());
        };
        if manifest.rows().is_empty() {
            return Ok(None);
        }
        let today = stores.clock.now().date_naive();
        let stored = store_manifest(&*stores.manifests, today, manifest).await?;
        Ok(Some(stored.location))
    }
}
