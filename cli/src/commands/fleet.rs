//! Runs of the AWS target: submitted, followed, cancelled.

use std::sync::Arc;
use std::time::Duration;

use podrun::control::{Ends, Follow, Followed, RunRecord};
use podrun::domain::{RunId, StageName};
use podrun::runtime::batch::{JobError, JobId, JobSpec, workers_for};
use podrun::runtime::telemetry::{Event, Observer};
use serde::Serialize;

use super::run::Counting;
use crate::args::{CancelArguments, GlobalArguments, flags_of_worker};
use crate::exit::{Code, Problem};
use crate::output::{self, text};
use crate::settings::Settings;
use crate::signals::Shutdown;
use crate::wire::{Fleet, Stores};

/// How often a run is looked at, and one of many episodes: a look reads the whole index of checkpoints.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_AT_MANY: Duration = Duration::from_secs(60);
const MANY: u64 = 5_000;

/// What to submit.
pub(super) struct Submission {
    pub(super) stage: StageName,
    /// Episodes that were queued for it.
    pub(super) episodes: u64,
    pub(super) manifest: Option<String>,
    /// Whether to follow it.
    pub(super) wait: bool,
}

/// What was submitted, and with `--wait` how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FleetSummary {
    stage: StageName,
    run: RunId,
    job: String,
    workers: u32,
    /// Where its record lies.
    record: String,
    #[serde(flatten)]
    followed: Option<Followed>,
    /// Whether the following was stopped.
    left_running: bool,
}

/// What a run's workers find: the episodes that were planned, or else, on the AWS target, messages that
/// workers of earlier runs left when they were killed after their last write. Those cost nothing but a
/// wrong picture of the queue, and one worker settles them.
pub(super) async fn work(stores: &Stores, stage: StageName, planned: u64) -> anyhow::Result<u64> {
    match stores.fleet {
        Some(_) if planned == 0 => Ok(stores.queue(stage).depth().await?.ready),
        _ => Ok(planned),
    }
}

/// Submits a run, and follows it where that is asked for.
pub(super) async fn run(
    settings: &Settings,
    stores: &Stores,
    fleet: &Fleet,
    observer: Arc<Counting>,
    shutdown: &Shutdown,
    submission: Submission,
) -> anyhow::Result<FleetSummary> {
    let stage = submission.stage;
    let follow = Follow {
        jobs: &*fleet.jobs,
        checkpoints: &*stores.checkpoints,
        observer: &*observer,
        stage,
        every: match submission.episodes > MANY {
            true => LOOK_AT_MANY,
            false => LOOK,
        },
    };
    // Counted beforehand only where it is needed: it reads the whole index.
    let before = match submission.wait {
        true => follow.ends().await?,
        false => Ends::default(),
    };
    if shutdown.token.is_cancelled() {
        return Err(
            Problem::interrupted("stopped before anything was submitted")
                .hint("the episodes are queued; the same command goes on with them")
                .into(),
        );
    }
    let episodes = submission.episodes;
    let wait = submission.wait;
    let mut summary = submit(settings, stores, fleet, submission).await?;
    if wait {
        observer.event(&Event::RunSubmitted {
            run: summary.run.clone(),
            workers: summary.workers,
        });
        observer.event(&Event::StageStarted { stage, episodes });
        let job = JobId(summary.job.clone());
        summary.followed = follow.to_end(&job, before, &shutdown.token).await?;
        summary.left_running = summary.followed.is_none();
        observer.event(&Event::StageEnded { stage });
    }
    Ok(summary)
}

async fn submit(
    settings: &Settings,
    stores: &Stores,
    fleet: &Fleet,
    submission: Submission,
) -> anyhow::Result<FleetSummary> {
    let (stage, now) = (submission.stage, stores.clock.now());
    let fleet_settings = settings.aws.fleet(stage);
    let workers = workers_for(
        submission.episodes,
        fleet_settings.episodes_per_worker,
        fleet_settings.max_workers,
    );
    let record = RunRecord {
        schema_version: RunRecord::SCHEMA_VERSION,
        run: RunId::new(stage, now),
        stage,
        submitted_at: now,
        planned: submission.episodes,
        workers,
        manifest: submission.manifest,
        settings: settings.to_record()?,
    };
    let location = record.keep(&*stores.manifests).await?;
    let mut arguments: Vec<String> = ["--target", "aws", "worker", stage.as_str()]
        .map(str::to_owned)
        .into();
    arguments.extend(["--run".to_owned(), location.clone()]);
    let flags = flags_of_worker(stage, std::env::args_os());
    arguments.extend(flags.map_err(Problem::usage)?);
    let spec = JobSpec {
        arguments,
        environment: fleet.environment(&record.run, workers),
        ..JobSpec::new(record.run.as_str(), stage, workers)
    };
    let job = fleet.jobs.submit(spec).await.map_err(|error| {
        let run = &record.run;
        let hint = match error {
            JobError::Unsure { .. } => format!(
                "`podrun status {run}` says in a minute whether it runs; if it does not, run the same command again"
            ),
            _ => "the episodes are queued and nothing is lost: put it right and run the same command again"
                .to_owned(),
        };
        Problem::preflight(error).hint(hint)
    })?;
    Ok(FleetSummary {
        stage,
        run: record.run,
        job: job.0,
        workers,
        record: location,
        followed: None,
        left_running: false,
    })
}

/// `podrun cancel RUN`
pub(crate) async fn cancel(
    global: &GlobalArguments,
    settings: &Settings,
    options: &CancelArguments,
) -> anyhow::Result<Code> {
    let stores = Stores::open_existing(settings).await?;
    let (fleet, record) = record(&stores, &options.run).await?;
    let Some(job) = fleet.jobs.find(record.stage, record.run.as_str()).await? else {
        return Err(never_started(&record).into());
    };
    let had_ended = fleet.jobs.describe(&job).await?.has_ended();
    fleet.jobs.cancel(&job).await?;
    let queued = stores.queue(record.stage).depth().await?.outstanding();
    let cancelled = Cancelled {
        run: record.run,
        job: job.0,
        had_ended,
        queued,
    };
    output::print_result(global, &cancelled, || cancelled.text(record.stage))?;
    Ok(Code::Done)
}

/// The record of a run, and who runs it.
pub(super) async fn record<'a>(
    stores: &'a Stores,
    run: &RunId,
) -> anyhow::Result<(&'a Fleet, RunRecord)> {
    let Some(fleet) = &stores.fleet else {
        return Err(Problem::usage("runs have names on the AWS target only")
            .hint("say --target aws, or stop a run on this machine with Ctrl-C")
            .into());
    };
    let record = RunRecord::read(&*stores.manifests, run).await;
    let record = record.map_err(|error| {
        Problem::preflight(error).hint("`podrun fetch` and `podrun transcribe` tell a run's name")
    })?;
    Ok((fleet, record))
}

/// A run whose submission failed after its record was written.
pub(super) fn never_started(record: &RunRecord) -> Problem {
    Problem::preflight(format!("the run {} has no job", record.run)).hint(format!(
        "its submission failed or AWS Batch has forgotten it; `podrun {}` submits another",
        record.stage
    ))
}

#[derive(Debug, Serialize)]
struct Cancelled {
    run: RunId,
    job: String,
    /// Whether there was nothing to stop any more.
    had_ended: bool,
    /// Messages that stay in the queue.
    queued: u64,
}

impl Cancelled {
    fn text(&self, stage: StageName) -> String {
        let what = match self.had_ended {
            true => "had ended already",
            false => "is cancelled: its workers hand their work back within seconds",
        };
        let episodes = text::count(self.queued, "episode");
        format!(
            "{} {what}\n{episodes} stay queued; `podrun {stage}` goes on with them\n",
            self.run
        )
    }
}

impl FleetSummary {
    /// Failed episodes make a run partial; what is still queued rests.
    pub(crate) fn code(&self, shutdown: &Shutdown) -> Code {
        match (&self.followed, shutdown.code()) {
            (None, Some(code)) if self.left_running => Code::Signalled(code),
            (None, _) => Code::Done,
            (Some(followed), _) if followed.left > 0 => match followed.failed_workers {
                0 => Code::Waiting,
                _ => Code::Unexpected,
            },
            (Some(followed), _) if followed.ends.failed > 0 => Code::Partial,
            (Some(_), _) => Code::Done,
        }
    }

    pub(crate) fn text(&self) -> String {
        let workers = text::count(u64::from(self.workers), "worker");
        let mut lines = format!("run {}: {workers}, job {}\n", self.run, self.job);
        let hints = format!(
            "`podrun status {run}` shows how it stands, `podrun cancel {run}` stops it\n",
            run = self.run
        );
        let Some(followed) = &self.followed else {
            if self.left_running {
                lines += "no longer followed; the run goes on\n";
            }
            return lines + &hints;
        };
        let done = text::count(followed.ends.done, "episode");
        lines += &format!("{done} done, {} failed\n", followed.ends.failed);
        if followed.failed_workers > 0 {
            let workers = text::count(u64::from(followed.failed_workers), "worker");
            lines += &format!("{workers} failed\n");
        }
        for reason in &followed.reasons {
            lines += &format!("  {}\n", text::printable(reason));
        }
        if followed.left > 0 {
            lines += &format!(
                "{} stay queued; `podrun {}` goes on with them\n",
                text::count(followed.left, "episode"),
                self.stage
            );
        }
        lines
    }
}
