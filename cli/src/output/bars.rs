//! Progress on a terminal: one bar for the stage, one line for each episode under way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use podrun::domain::{EpisodeId, StageName};
use podrun::runtime::telemetry::{Event, Observer};

use super::{plain, text};

#[derive(Debug, Default)]
pub(super) struct Bars {
    all: MultiProgress,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The bar of the crawl or of the stage.
    main: Option<ProgressBar>,
    episodes: HashMap<EpisodeId, ProgressBar>,
    model: Option<ProgressBar>,
    amount: u64,
}

const MAIN: &str = "{prefix:>10} [{bar:30}] {pos}/{len}  {msg}  {elapsed}";
const BYTES: &str = "{prefix:>10}  {decimal_bytes:>9} of {decimal_total_bytes:<9} {decimal_bytes_per_sec:>10}  {msg}";
const AUDIO: &str = "{prefix:>10}  {percent:>3} %  {msg}";
const LISTENING: &str = "{prefix:>10}         {msg}";
const UNKNOWN: &str = "{prefix:>10}  {decimal_bytes:>9}  {msg}";

/// The templates are constants; one that indicatif refuses shows as its default.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Bars {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_main(&self, prefix: String, length: u64) {
        let bar = self
            .all
            .add(ProgressBar::new(length).with_style(style(MAIN)));
        bar.set_prefix(prefix);
        bar.enable_steady_tick(Duration::from_millis(500));
        let mut state = self.state();
        state.amount = 0;
        if let Some(old) = state.main.replace(bar) {
            old.finish_and_clear();
        }
    }

    fn start_episode(&self, stage: StageName, episode: &EpisodeId, title: &str) {
        let template = match stage {
            StageName::Fetch => UNKNOWN,
            StageName::Transcribe => LISTENING,
        };
        let bar = self
            .all
            .add(ProgressBar::no_length().with_style(style(template)));
        bar.set_prefix(stage.to_string());
        let name = if title.is_empty() {
            text::short(&episode.to_string(), 60)
        } else {
            format!("{}: {}", episode.feed_slug, text::short(title, 50))
        };
        bar.set_message(name);
        self.state().episodes.insert(episode.clone(), bar);
    }

    fn move_episode(&self, stage: StageName, episode: &EpisodeId, done: u64, total: Option<u64>) {
        let state = self.state();
        let Some(bar) = state.episodes.get(episode) else {
            return;
        };
        if let Some(total) = total
            && bar.length().is_none()
        {
            bar.set_length(total);
            bar.set_style(style(match stage {
                StageName::Fetch => BYTES,
                StageName::Transcribe => AUDIO,
            }));
        }
        bar.set_position(done);
    }

    fn end_episode(&self, stage: StageName, episode: &EpisodeId, amount: u64, counts: bool) {
        let mut state = self.state();
        if let Some(bar) = state.episodes.remove(episode) {
            bar.finish_and_clear();
        }
        state.amount += amount;
        let sum = match stage {
            StageName::Fetch => text::bytes(state.amount),
            StageName::Transcribe => format!(
                "{} of audio",
                text::clock(Duration::from_millis(state.amount))
            ),
        };
        if let Some(main) = &state.main {
            main.set_message(sum);
            main.inc(u64::from(counts));
        }
    }

    fn model(&self, file: &str, done: u64, total: u64) {
        let mut state = self.state();
        let bar = state.model.get_or_insert_with(|| {
            self.all
                .add(ProgressBar::new(total).with_style(style(BYTES)))
        });
        bar.set_prefix("model");
        bar.set_message(text::short(file, 60));
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Words that stay on the screen above the bars.
    fn say(&self, event: &Event) {
        if let Some(sentence) = plain::sentence(event) {
            // Printing fails only on a terminal that is gone.
            let _ = self.all.println(sentence);
        }
    }
}

impl Observer for Bars {
    fn event(&self, event: &Event) {
        match event {
            Event::CrawlStarted { feeds } => self.start_main("crawl".to_owned(), *feeds as u64),
            Event::FeedCrawled { warnings, .. } => {
                if !warnings.is_empty() {
                    self.say(event);
                }
                self.tick_main();
            }
            Event::FeedFailed { .. } => {
                self.say(event);
                self.tick_main();
            }
            Event::StageStarted { stage, episodes } => {
                self.start_main(stage.to_string(), *episodes)
            }
            Event::EpisodeStarted {
                stage,
                episode,
                title,
            } => self.start_episode(*stage, episode, title),
            Event::EpisodeProgress {
                stage,
                episode,
                done,
                total,
            } => {
                self.move_episode(*stage, episode, *done, *total);
            }
            Event::EpisodeDone {
                stage,
                episode,
                amount,
                ..
            } => {
                self.end_episode(*stage, episode, *amount, true);
            }
            Event::EpisodeFailed { stage, episode, .. } => {
                self.end_episode(*stage, episode, 0, true);
                self.say(event);
            }
            Event::EpisodeRetry { stage, episode, .. }
            | Event::EpisodeReleased { stage, episode } => {
                self.end_episode(*stage, episode, 0, false);
                self.say(event);
            }
            Event::ModelDownload { file, done, total } => self.model(file, *done, *total),
            Event::ModelLoaded { .. } => {
                if let Some(bar) = self.state().model.take() {
                    bar.finish_and_clear();
                }
                self.say(event);
            }
            Event::RunSubmitted { .. } => self.say(event),
            Event::FleetProgress { done, failed, .. } => {
                if let Some(main) = &self.state().main {
                    main.set_position(done + failed);
                }
            }
            Event::StageEnded { .. } => {
                if let Some(main) = self.state().main.take() {
                    main.finish_and_clear();
                }
            }
            _ => {}
        }
    }
}

impl Bars {
    fn tick_main(&self) {
        if let Some(main) = &self.state().main {
            main.inc(1);
        }
    }
}
