//! `podrun status`

use podrun::control::StatusReport;
use podrun::control::status::{Counts, FailureStatus};

use crate::args::{GlobalArguments, StatusArguments};
use crate::exit::Code;
use crate::output::{self, text};
use crate::settings::Settings;
use crate::wire;

pub(crate) async fn run(
    global: &GlobalArguments,
    settings: &Settings,
    options: &StatusArguments,
) -> anyhow::Result<Code> {
    let stores = wire::Stores::open_existing(settings).await?;
    let report = stores.status(usize::from(options.failures)).await?;
    output::print_result(global, &report, || table(&report))?;
    Ok(Code::Done)
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
