//! `podrun transcribe`

use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt, TryStreamExt};
use podrun::control::{ControlError, Enqueue, Planned};
use podrun::domain::{StageName, TranscribeJob};
use podrun::raw::{EpisodeMeta, RawError};
use podrun::runtime::telemetry::{Event, Observer};
use podrun::runtime::worker::{Scope, Worker, WorkerConfig};
use podrun::transcribe::stage::TranscribeStage;
use serde::Serialize;

use super::fetch::{read_manifest_rows, reopen};
use super::run::{Counting, Selection, StageSummary};
use super::transcribe_files;
use crate::args::{GlobalArguments, TranscribeArguments};
use crate::exit::{Code, Problem};
use crate::output::{self, text};
use crate::settings::{Settings, TranscribeSettings};
use crate::signals::Shutdown;
use crate::wire::{self, Stores, speech};

/// The result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct TranscribeSummary {
    #[serde(flatten)]
    pub(crate) run: StageSummary,
    model: String,
    /// Whether nothing was changed.
    dry_run: bool,
    #[serde(flatten)]
    selection: Selection,
    /// With `--dry-run`: the episodes that would be transcribed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_transcribe: Vec<String>,
}

pub(crate) async fn run(
    global: &GlobalArguments,
    mut settings: Settings,
    options: &TranscribeArguments,
    shutdown: &Shutdown,
) -> anyhow::Result<Code> {
    settings.transcribe.apply(&options.speech)?;
    if !options.files.is_empty() {
        return transcribe_files::run(global, &settings.transcribe, options, shutdown).await;
    }
    settings.transcribe.add_formats(&options.output_format);
    settings.transcribe.reuse_transcripts |= options.reuse_transcripts;
    let observer = Counting::new(output::observer(global));
    let summary = transcribe(&settings, options, observer, shutdown).await?;
    output::print_result(global, &summary, || summary.text())?;
    Ok(summary.run.code(shutdown))
}

/// The whole of `podrun transcribe`, for the demo too.
pub(crate) async fn transcribe(
    settings: &Settings,
    options: &TranscribeArguments,
    observer: Arc<Counting>,
    shutdown: &Shutdown,
) -> anyhow::Result<TranscribeSummary> {
    let started = Instant::now();
    if let Some(uri) = &options.manifest_s3 {
        return Err(Problem::preflight(format!(
            "{uri}: this build has no AWS target, so it cannot read manifests on S3"
        ))
        .hint("copy the manifest here and name it with --manifest")
        .into());
    }
    let model = speech::check(&settings.transcribe)?;
    let stores = if options.dry_run {
        Stores::open_existing(settings).await?
    } else {
        Stores::open(settings).await?
    };
    let planned = plan(&stores, options).await?;
    let mut summary = TranscribeSummary {
        run: StageSummary::idle(StageName::Transcribe, started),
        model: settings.transcribe.model.clone(),
        dry_run: options.dry_run,
        selection: Selection::of(&planned),
        would_transcribe: Vec::new(),
    };
    if options.dry_run {
        let names = planned.todo.iter().map(|job| job.episode.to_string());
        summary.would_transcribe = names.collect();
    } else if !planned.todo.is_empty() {
        let scope = Scope::new(planned.todo.into_iter().map(|job| job.episode));
        let work = Work {
            model,
            scope: Some(Arc::new(scope)),
            episodes: summary.selection.planned,
            started,
        };
        summary.run = drain(settings, &stores, observer, shutdown, work).await?;
    }
    Ok(summary)
}

/// What to drain, and with which model.
pub(crate) struct Work {
    pub(crate) model: speech::Model,
    /// `None` takes everything that is queued.
    pub(crate) scope: Option<Arc<Scope>>,
    pub(crate) episodes: u64,
    pub(crate) started: Instant,
}

/// Transcribes what is queued.
pub(crate) async fn drain(
    settings: &Settings,
    stores: &Stores,
    observer: Arc<Counting>,
    shutdown: &Shutdown,
    work: Work,
) -> anyhow::Result<StageSummary> {
    let stage = StageName::Transcribe;
    let watching: Arc<dyn Observer> = observer.clone();
    let speech = load(&settings.transcribe, work.model, &watching).await?;
    observer.event(&Event::StageStarted {
        stage,
        episodes: work.episodes,
    });
    let worker = Worker {
        stage: Arc::new(TranscribeStage {
            raw: stores.raw.clone(),
            stage: stores.stage.clone(),
            transcriber: speech.transcriber(settings.transcribe.options()),
            output: settings.transcribe.output(),
            reuse_transcripts: settings.transcribe.reuse_transcripts,
            observer: observer.clone(),
            metrics: Arc::clone(&stores.metrics),
            clock: Arc::clone(&stores.clock),
        }),
        queue: Arc::clone(&stores.transcribe_queue),
        checkpoints: Arc::clone(&stores.checkpoints),
        observer: observer.clone(),
        clock: Arc::clone(&stores.clock),
        owner: stores.owner.clone(),
        config: WorkerConfig {
            // While the model works on one episode, the next is read, decoded and searched for speech.
            slots: 2,
            ..WorkerConfig::default()
        },
        scope: work.scope,
    };
    let end = wire::run_worker(worker, stage, &shutdown.token).await?;
    observer.event(&Event::StageEnded { stage });
    Ok(StageSummary::new(
        stage,
        observer.tally(),
        &end,
        work.started,
    ))
}

pub(crate) async fn load(
    settings: &TranscribeSettings,
    model: speech::Model,
    observer: &Arc<dyn Observer>,
) -> anyhow::Result<speech::Speech> {
    let started = Instant::now();
    let (settings, observer) = (settings.clone(), Arc::clone(observer));
    let name = settings.model.clone();
    let watching = Arc::clone(&observer);
    let loading = tokio::task::spawn_blocking(move || speech::load(&model, &settings, &*watching));
    let speech = loading.await??;
    observer.event(&Event::ModelLoaded {
        model: name,
        elapsed_s: started.elapsed().as_secs_f64(),
    });
    Ok(speech)
}

async fn plan(
    stores: &Stores,
    options: &TranscribeArguments,
) -> anyhow::Result<Planned<TranscribeJob>> {
    let enqueue = Enqueue {
        checkpoints: &*stores.checkpoints,
        queue: (!options.dry_run).then_some(&*stores.transcribe_queue),
        products: &stores.stage,
        limit: options.limit,
        reopen: reopen(options.retry_failed),
        clock: Arc::clone(&stores.clock),
    };
    let planned = match &options.manifest {
        Some(path) => {
            let rows = read_manifest_rows(path)?.into_rows().into_iter();
            let jobs = rows.map(|row| {
                let episode = row.episode.id;
                Ok::<_, ControlError>(TranscribeJob { episode })
            });
            enqueue.run(futures::stream::iter(jobs).boxed()).await?
        }
        None => enqueue.run(fetched(stores).boxed()).await?,
    };
    Ok(planned)
}

/// Every episode whose audio is in the raw store, page by page; one whose metadata cannot be read is
/// passed over with a warning.
fn fetched(stores: &Stores) -> impl Stream<Item = Result<TranscribeJob, ControlError>> + Send + '_ {
    const PAGE: usize = 500;
    let pages = futures::stream::try_unfold(Some(None::<String>), move |after| async move {
        let Some(after) = after else { return Ok(None) };
        let page = stores.raw.scan(after.as_deref(), PAGE).await?;
        Ok::<_, ControlError>(Some((page.items, page.next.map(Some))))
    });
    pages
        .map_ok(|items| futures::stream::iter(items.into_iter().filter_map(job)))
        .try_flatten()
}

fn job(item: Result<EpisodeMeta, RawError>) -> Option<Result<TranscribeJob, ControlError>> {
    match item {
        Ok(meta) => Some(Ok(TranscribeJob {
            episode: meta.episode(),
        })),
        Err(error) if error.is_fatal() => Some(Err(error.into())),
        Err(unreadable) => {
            tracing::warn!(%unreadable, "passing over an episode");
            None
        }
    }
}

impl TranscribeSummary {
    fn text(&self) -> String {
        let mut lines = String::new();
        for episode in &self.would_transcribe {
            lines += &format!("would transcribe {}\n", text::printable(episode));
        }
        match (self.dry_run, self.selection.planned) {
            (true, 0) => lines += "dry run: nothing to transcribe\n",
            (true, planned) => {
                let episodes = text::count(planned, "episode");
                lines += &format!("dry run: would transcribe {episodes}; nothing was changed\n");
            }
            (false, 0) if self.selection.present == 0 && self.selection.given_up == 0 => {
                lines +=
                    "nothing to transcribe: no episode is fetched yet; `podrun fetch` does that\n";
            }
            (false, 0) => lines += "nothing to transcribe\n",
            (false, _) => lines += &self.run.text("podrun transcribe"),
        }
        lines += &self.selection.text("transcribed already");
        lines
    }
}
