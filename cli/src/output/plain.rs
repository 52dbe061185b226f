//! Progress off a terminal: one line for each thing that ended.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use podrun::domain::StageName;
use podrun::runtime::telemetry::{Event, Observer};

use super::text;

/// Counts what ended, to say "3/50".
#[derive(Debug, Default)]
pub(super) struct Plain(Mutex<HashMap<StageName, (u64, u64)>>);

impl Observer for Plain {
    fn event(&self, event: &Event) {
        if let Some(line) = self.line(event) {
            // A reader that went away wants no more progress.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
}

impl Plain {
    fn line(&self, event: &Event) -> Option<String> {
        if let Event::StageStarted { stage, episodes } = event {
            self.counters().insert(*stage, (0, *episodes));
        }
        let ended = match event {
            Event::EpisodeDone { stage, .. } | Event::EpisodeFailed { stage, .. } => {
                let mut counters = self.counters();
                let (ended, of) = counters.entry(*stage).or_default();
                *ended += 1;
                // Files have no stage that says beforehand how many there are.
                match *of {
                    0 => String::new(),
                    of => format!(" ({ended}/{of})"),
                }
            }
            _ => String::new(),
        };
        Some(format!("{}{ended}", sentence(event)?))
    }

    fn counters(&self) -> std::sync::MutexGuard<'_, HashMap<StageName, (u64, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event in words; `None` for those that only move a bar.
pub(super) fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::CrawlStarted { feeds } => format!("crawling {}", text::count(*feeds as u64, "feed")),
        Event::FeedCrawled {
            feed,
            episodes,
            warnings,
        } => {
            let odd: Vec<_> = warnings.iter().map(|w| text::printable(w)).collect();
            let odd = if odd.is_empty() {
                String::new()
            } else {
                format!(" (note: {})", odd.join("; "))
            };
            format!(
                "feed {feed}: {}{odd}",
                text::count(*episodes as u64, "episode")
            )
        }
        Event::FeedFailed { feed, reason } => {
            format!("feed {feed} failed: {}", text::printable(reason))
        }
        Event::StageStarted { stage, episodes } => {
            format!("{stage}: {} to do", text::count(*episodes, "episode"))
        }
        Event::EpisodeDone {
            stage,
            episode,
            amount,
            elapsed_s,
        } => format!(
            "{stage}: {} {}",
            text::printable(&episode.to_string()),
            done(*stage, *amount, *elapsed_s)
        ),
        Event::EpisodeRetry {
            stage,
            episode,
            reason,
            delay_s,
            ..
        } => format!(
            "{stage}: {} again in {delay_s:.0} s: {}",
            text::printable(&episode.to_string()),
            text::printable(reason)
        ),
        Event::EpisodeFailed {
            stage,
            episode,
            reason,
            ..
        } => format!(
            "{stage}: {} failed: {}",
            text::printable(&episode.to_string()),
            text::printable(reason)
        ),
        Event::EpisodeReleased { stage, episode } => {
            format!(
                "{stage}: {} handed back",
                text::printable(&episode.to_string())
            )
        }
        Event::RunSubmitted { run, workers } => format!(
            "submitted {run}, {}; Ctrl-C stops the following, `podrun cancel {run}` the run",
            text::count(u64::from(*workers), "worker")
        ),
        Event::FleetProgress {
            stage,
            workers,
            done,
            failed,
            left,
        } => format!(
            "{stage}: {} at it, {done} done, {failed} failed, {left} left",
            text::count(u64::from(*workers), "worker")
        ),
        Event::ModelLoaded { model, elapsed_s } => {
            format!(
                "model {} loaded in {elapsed_s:.1} s",
                text::printable(model)
            )
        }
        _ => return None,
    })
}

fn done(stage: StageName, amount: u64, elapsed_s: f64) -> String {
    match (stage, amount) {
        (_, 0) => "was there already".to_owned(),
        (StageName::Fetch, amount) => {
            format!("fetched, {} in {elapsed_s:.1} s", text::bytes(amount))
        }
        (StageName::Transcribe, amount) => {
            let speed = amount as f64 / 1000.0 / elapsed_s.max(0.001);
            let length = text::clock(Duration::from_millis(amount));
            format!(
                "transcribed, {length} of audio in {elapsed_s:.1} s ({speed:.0} times real time)"
            )
        }
    }
}
