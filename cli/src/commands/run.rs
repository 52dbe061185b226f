//! What fetch, transcribe and the workers have in common: drain a queue, count, sum up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use podrun::control::Planned;
use podrun::domain::StageName;
use podrun::runtime::telemetry::{Event, Observer};
use podrun::runtime::worker::WorkerEnd;
use serde::Serialize;

use super::fleet::FleetSummary;
use crate::exit::Code;
use crate::output::text;
use crate::signals::Shutdown;

/// What happened to the episodes of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Tally {
    /// Finished in this run.
    pub(crate) done: u64,
    /// Found finished.
    pub(crate) already_done: u64,
    /// Given up in this run.
    pub(crate) failed: u64,
    /// Tries that ended in a later try.
    pub(crate) retries: u64,
    /// Handed back because the run was stopped.
    pub(crate) released: u64,
    /// Bytes fetched, or milliseconds of audio transcribed.
    pub(crate) amount: u64,
    /// The failures of this run, the first [`Tally::LISTED`] of them.
    pub(crate) failures: Vec<FailedEpisode>,
}

/// One episode that was given up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FailedEpisode {
    pub(crate) episode: String,
    pub(crate) class: String,
    pub(crate) reason: String,
}

impl Tally {
    const LISTED: usize = 20;

    fn count(&mut self, event: &Event) {
        match event {
            Event::EpisodeDone { amount: 0, .. } => self.already_done += 1,
            Event::EpisodeDone { amount, .. } => {
                self.done += 1;
                self.amount += amount;
            }
            Event::EpisodeFailed {
                episode,
                class,
                reason,
                ..
            } => {
                self.failed += 1;
                if self.failures.len() < Self::LISTED {
                    self.failures.push(FailedEpisode {
                        episode: episode.to_string(),
                        class: class.to_string(),
                        reason: reason.clone(),
                    });
                }
            }
            Event::EpisodeRetry { .. } => self.retries += 1,
            Event::EpisodeReleased { .. } => self.released += 1,
            _ => {}
        }
    }

    /// The failures for people, one a line; empty without failures.
    pub(crate) fn failure_lines(&self) -> String {
        let mut lines = String::new();
        for failure in &self.failures {
            lines += &format!(
                "  {}: {}\n",
                text::printable(&failure.episode),
                text::printable(&failure.reason)
            );
        }
        let unlisted = self.failed.saturating_sub(self.failures.len() as u64);
        if unlisted > 0 {
            lines += &format!("  and {unlisted} more; `podrun status` lists them\n");
        }
        lines
    }
}

/// Counts what it sees and hands it on.
#[derive(Debug)]
pub(crate) struct Counting {
    tally: Mutex<Tally>,
    next: Arc<dyn Observer>,
}

impl Counting {
    pub(crate) fn new(next: Arc<dyn Observer>) -> Arc<Self> {
        Arc::new(Self {
            tally: Mutex::default(),
            next,
        })
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Observer for Counting {
    fn event(&self, event: &Event) {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count(event);
        self.next.event(event);
    }
}

/// Which candidates a run took on, and which it left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Selection {
    /// Episodes that this run works on.
    pub(crate) planned: u64,
    /// Episodes whose product exists already.
    pub(crate) present: u64,
    /// Episodes that failed for good in an earlier run; `--retry-failed` tries them again.
    pub(crate) given_up: u64,
    /// Whether the limit left episodes for a later run.
    pub(crate) more: bool,
}

impl Selection {
    pub(crate) fn of(planned: &Planned) -> Self {
        Self {
            planned: planned.planned,
            present: planned.present,
            given_up: planned.given_up,
            more: planned.limited,
        }
    }

    /// What was left alone, for people; `present` says what those are that need nothing.
    pub(crate) fn text(&self, present: &str) -> String {
        let mut lines = String::new();
        if self.present > 0 {
            lines += &format!("{} {present}\n", text::count(self.present, "episode"));
        }
        if self.given_up > 0 {
            lines += &format!(
                "{} failed for good in an earlier run; --retry-failed tries again\n",
                text::count(self.given_up, "episode")
            );
        }
        if self.more {
            lines += "there are more; run it again for the next ones\n";
        }
        lines
    }
}

/// What became of a run: it was worked off here, or given to a fleet.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Here(StageSummary),
    Fleet(FleetSummary),
}

impl Outcome {
    /// Whether nothing was done because nothing was to do.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Here(summary) => !summary.interrupted && summary.tally == Tally::default(),
            Self::Fleet(_) => false,
        }
    }

    pub(crate) fn code(&self, shutdown: &Shutdown) -> Code {
        match self {
            Self::Here(summary) => summary.code(shutdown),
            Self::Fleet(summary) => summary.code(shutdown),
        }
    }

    pub(crate) fn text(&self, command: &str) -> String {
        match self {
            Self::Here(summary) => summary.text(command),
            Self::Fleet(summary) => summary.text(),
        }
    }
}

/// How a stage's run went, for the summary and the exit code.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StageSummary {
    pub(crate) stage: StageName,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// Whether episodes rest until later.
    pub(crate) waiting: bool,
    /// When the first of them comes back, where known.
    pub(crate) waiting_until: Option<chrono::DateTime<chrono::Utc>>,
    /// Whether a signal ended the run.
    pub(crate) interrupted: bool,
    pub(crate) elapsed_s: f64,
}

impl StageSummary {
    pub(crate) fn new(stage: StageName, tally: Tally, end: &WorkerEnd, started: Instant) -> Self {
        let waiting_until = match end {
            WorkerEnd::Waiting { until } => *until,
            _ => None,
        };
        Self {
            stage,
            tally,
            waiting: matches!(end, WorkerEnd::Waiting { .. }),
            waiting_until,
            interrupted: matches!(end, WorkerEnd::Stopped),
            elapsed_s: started.elapsed().as_secs_f64(),
        }
    }

    /// Nothing was to do.
    pub(crate) fn idle(stage: StageName, started: Instant) -> Self {
        Self::new(stage, Tally::default(), &WorkerEnd::Drained, started)
    }

    /// The exit code; a signal explains everything else.
    pub(crate) fn code(&self, shutdown: &Shutdown) -> Code {
        match (self.interrupted, shutdown.code()) {
            (true, Some(code)) => Code::Signalled(code),
            _ if self.waiting => Code::Waiting,
            _ if self.tally.failed > 0 => Code::Partial,
            _ => Code::Done,
        }
    }

    /// Two lines for people: what was done, and what to do next.
    pub(crate) fn text(&self, command: &str) -> String {
        let tally = &self.tally;
        let (verb, amount) = match self.stage {
            StageName::Fetch => ("fetched", text::bytes(tally.amount)),
            StageName::Transcribe => {
                let length = text::clock(Duration::from_millis(tally.amount));
                ("transcribed", format!("{length} of audio"))
            }
        };
        let elapsed = text::clock(Duration::from_secs_f64(self.elapsed_s));
        let mut line = format!(
            "{verb} {} ({amount}) in {elapsed}",
            text::count(tally.done, "episode")
        );
        for (number, what) in [
            (tally.already_done, "were there already"),
            (tally.failed, "failed"),
            (tally.released, "handed back"),
        ] {
            if number > 0 {
                line += &format!(", {number} {what}");
            }
        }
        line.push('\n');
        line += &tally.failure_lines();
        if self.interrupted {
            line += &format!("interrupted; run `{command}` again to go on\n");
        } else if self.waiting {
            let until = self.waiting_until.map_or(String::new(), |until| {
                format!(" until {}", until.format("%Y-%m-%d %H:%M:%S UTC"))
            });
            line += &format!("some episodes rest{until}; run `{command}` again then\n");
        }
        line
    }
}
