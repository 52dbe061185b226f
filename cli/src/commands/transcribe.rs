//! `podrun transcribe`

use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt, TryStreamExt};
use podrun::control::{ControlError, Drain, Enqueue, Planned};
use podrun::domain::{EpisodeId, StageName, TranscribeJob};
use podrun::manifest::{ManifestFile, ManifestRow};
use podrun::raw::{EpisodeMeta, RawError};
use podrun::runtime::telemetry::{Event, Observer};
use podrun::runtime::worker::{Scope, Worker};
use podrun::transcribe::stage::TranscribeStage;
use serde::Serialize;

use super::fetch::reopen;
use super::fleet::{self, Submission};
use super::run::{Counting, Outcome, Selection, StageSummary};
use super::{manifest, transcribe_files};
use crate::args::{GlobalArguments, TranscribeArguments};
use crate::exit::Code;
use crate::output::{self, text};
use crate::settings::{Settings, Target, TranscribeSettings};
use crate::signals::Shutdown;
use crate::wire::{self, Stores, speech};

/// The result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct TranscribeSummary {
    #[serde(flatten)]
    pub(crate) run: Outcome,
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
    let named = options.manifest.as_ref().or(options.manifest_s3.as_ref());
    let listed = match named {
        Some(named) => Some(manifest::open(settings, named).await?),
        None => None,
    };
    // A fleet's model is where its workers are.
    let model = match settings.target {
        Target::Local => Some(speech::check(&settings.transcribe)?),
        Target::Aws => None,
    };
    let stores = if options.dry_run {
        Stores::open_existing(settings).await?
    } else {
        Stores::open(settings).await?
    };
    let mut todo = Todo::default();
    let name = listed.as_ref().map(|file| file.name().to_owned());
    // What was queued until then is taken up by the next run.
    let planned = tokio::select! {
        planned = plan(&stores, options, listed, &mut todo) => Some(planned?),
        () = shutdown.token.cancelled() => None,
    };
    let is_interrupted = planned.is_none();
    let planned = planned.unwrap_or_default();
    let mut summary = TranscribeSummary {
        run: Outcome::Here(StageSummary::idle(StageName::Transcribe, started)),
        model: settings.transcribe.model.clone(),
        dry_run: options.dry_run,
        selection: Selection::of(&planned),
        would_transcribe: todo.would_transcribe,
    };
    if let (Outcome::Here(run), true) = (&mut summary.run, is_interrupted) {
        run.interrupted = true;
    }
    let episodes = fleet::work(&stores, StageName::Transcribe, planned.planned).await?;
    if options.dry_run || is_interrupted || episodes == 0 {
        return Ok(summary);
    }
    if let Some(fleet) = &stores.fleet {
        let submission = Submission {
            stage: StageName::Transcribe,
            episodes,
            manifest: name,
            wait: options.wait,
        };
        let ended = fleet::run(settings, &stores, fleet, observer, shutdown, submission);
        summary.run = Outcome::Fleet(ended.await?);
    } else if let Some(model) = model {
        let work = Work {
            model,
            scope: Some(Arc::new(Scope::new(todo.scope))),
            episodes,
            started,
        };
        let ended = drain(settings, &stores, observer, shutdown, work);
        summary.run = Outcome::Here(ended.await?);
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
        // While the model works on one episode, the next is read, decoded and searched for speech.
        config: stores.worker_config(settings, 2),
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
    listed: Option<ManifestFile>,
    todo: &mut Todo,
) -> anyhow::Result<Planned> {
    let enqueue = Enqueue {
        checkpoints: &*stores.checkpoints,
        queue: (!options.dry_run).then_some(&*stores.transcribe_queue),
        products: &stores.stage,
        limit: options.limit,
        reopen: reopen(options.retry_failed),
        drain: stores.drain(),
        clock: Arc::clone(&stores.clock),
    };
    let take = |job: TranscribeJob| match (options.dry_run, enqueue.drain) {
        (true, _) => todo.would_transcribe.push(job.episode.to_string()),
        (false, Drain::ThisRun) => todo.scope.push(job.episode),
        (false, Drain::AnyRun) => {}
    };
    let jobs = match listed {
        Some(file) => listed_jobs(file).boxed(),
        None => fetched(stores).boxed(),
    };
    Ok(enqueue.run(jobs, take).await?)
}

/// What a run on this machine keeps of what it plans; one of a fleet may plan any number.
#[derive(Default)]
struct Todo {
    scope: Vec<EpisodeId>,
    would_transcribe: Vec<String>,
}

fn listed_jobs(
    file: ManifestFile,
) -> impl Stream<Item = Result<TranscribeJob, ControlError>> + Send {
    let job = |row: ManifestRow| TranscribeJob {
        episode: row.episode.id,
    };
    file.into_rows().map_ok(job).map_err(ControlError::from)
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
            (false, 0) if !self.run.is_idle() => lines += &self.run.text("podrun transcribe"),
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
