//! `podrun status`

use podrun::control::status::{Counts, FailureStatus};
use podrun::control::{RunRecord, StatusReport};
use podrun::domain::RunId;
use podrun::runtime::batch::JobStatus;
use serde::Serialize;

use super::fleet;
use crate::args::{GlobalArguments, StatusArguments};
use crate::exit::Code;
use crate::output::{self, text};
use crate::settings::Settings;
use crate::wire::Stores;

pub(crate) async fn run(
    global: &GlobalArguments,
    settings: &Settings,
    options: &StatusArguments,
) -> anyhow::Result<Code> {
    let stores = Stores::open_existing(settings).await?;
    let run = match &options.run {
        Some(run) => Some(RunStatus::of(&stores, run).await?),
        None => None,
    };
    let report = stores.status(usize::from(options.failures)).await?;
    let whole = Whole { run, report };
    output::print_result(global, &whole, || whole.text())?;
    Ok(Code::Done)
}

/// What the command prints: the report alone, or with a run.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunStatus>,
    #[serde(flatten)]
    report: StatusReport,
}

impl Whole {
    fn text(&self) -> String {
        let run = self.run.as_ref().map(RunStatus::text).unwrap_or_default();
        run + &table(&self.report)
    }
}

/// How a run of a fleet stands.
#[derive(Debug, Serialize)]
struct RunStatus {
    #[serde(flatten)]
    record: RunRecord,
    /// How its workers stand; nothing where it has no job.
    job: Option<JobReport>,
}

/// Workers of a job by state.
#[derive(Debug, Serialize)]
struct JobReport {
    pending: u32,
    running: u32,
    succeeded: u32,
    failed: u32,
    restarts: u32,
    reasons: Vec<String>,
}

impl From<JobStatus> for JobReport {
    fn from(status: JobStatus) -> Self {
        Self {
            pending: status.pending,
            running: status.running,
            succeeded: status.succeeded,
            failed: status.failed,
            restarts: status.restarts,
            reasons: status.reasons,
        }
    }
}

impl RunStatus {
    async fn of(stores: &Stores, run: &RunId) -> anyhow::Result<Self> {
        let (fleet, record) = fleet::record(stores, run).await?;
        let job = fleet.jobs.find(record.stage, run.as_str()).await?;
        let status = match &job {
            Some(job) => Some(fleet.jobs.describe(job).await?),
            None => None,
        };
        let job = status.map(JobReport::from);
        Ok(Self { record, job })
    }

    fn text(&self) -> String {
        let record = &self.record;
        let mut lines = format!(
            "{}: {} planned at {}\n",
            record.run,
            text::count(record.planned, "episode"),
            record.submitted_at.format("%Y-%m-%d %H:%M:%S UTC"),
        );
        let Some(job) = &self.job else {
            return lines + "  no job: its submission failed, or AWS Batch has forgotten it\n";
        };
        lines += &format!(
            "  workers: {} waiting, {} at it, {} ended, {} failed; {} started anew\n",
            job.pending, job.running, job.succeeded, job.failed, job.restarts
        );
        for reason in &job.reasons {
            lines += &format!("  {}\n", text::printable(reason));
        }
        lines
    }
}

/// The report for people.
fn table(report: &StatusReport) -> String {
    let mut lines = String::new();
    for stage in &report.stages {
        let queue = stage.queue;
        lines += &format!(
            "{}: {} done, {} failed, {} to do ({} under way, {} resting)\n",
            stage.stage,
            stage.episodes.done,
            stage.episodes.failed,
            stage.episodes.pending + stage.episodes.leased + stage.episodes.waiting,
            stage.episodes.leased,
            stage.episodes.waiting,
        );
        lines += &format!(
            "  queue: {} ready, {} delayed, {} leased, {} set aside\n",
            queue.ready, queue.delayed, queue.leased, queue.dead
        );
        if !stage.feeds.is_empty() {
            lines += &format!(
                "  {:<32} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
                "feed", "pending", "leased", "waiting", "done", "failed"
            );
        }
        for (feed, counts) in &stage.feeds {
            lines += &row(&text::short(feed.as_str(), 32), counts);
        }
    }
    if !report.failures.is_empty() {
        lines += "failures:\n";
        for failure in &report.failures {
            lines += &failure_line(failure);
        }
    }
    if report.more_failures {
        lines += "  and more; --failures N lists them\n";
    }
    if !report.metrics.is_empty() {
        lines += "metrics (mean of all values, and how many):\n";
    }
    for metric in &report.metrics {
        let mean = metric.sum / metric.count.max(1) as f64;
        lines += &format!(
            "  {:<20} {}={:<28} {mean:>12.4} {} ({})\n",
            metric.name,
            metric.dimension,
            text::short(&metric.value, 28),
            metric.unit,
            metric.count
        );
    }
    lines
}

fn row(name: &str, counts: &Counts) -> String {
    format!(
        "  {name:<32} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
        counts.pending, counts.leased, counts.waiting, counts.done, counts.failed
    )
}

fn failure_line(failure: &FailureStatus) -> String {
    let until = failure.until.map_or(String::new(), |until| {
        format!(", again at {}", until.format("%H:%M:%S UTC"))
    });
    format!(
        "  {} {} {} ({}{until}): {}\n",
        failure.stage,
        text::printable(&failure.episode.to_string()),
        failure.state.as_str(),
        failure.class,
        text::printable(&failure.reason)
    )
}
