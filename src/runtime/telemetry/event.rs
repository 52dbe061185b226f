//! Progress as data. The library emits, the command line draws bars, lines or JSON from it.

use std::fmt::Debug;

use serde::Serialize;

use crate::domain::{EpisodeId, FailureClass, FeedSlug, RunId, StageName};

/// Who watches. Called from any thread; must not block.
pub trait Observer: Debug + Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &Event);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ignore;

impl Observer for Ignore {
    fn event(&self, _: &Event) {}
}

/// One thing that happened. The JSON form is one line an event, tagged by `event`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Feeds are about to be crawled.
    CrawlStarted {
        /// How many.
        feeds: usize,
    },
    /// A feed was read.
    FeedCrawled {
        /// Which.
        feed: FeedSlug,
        /// Usable episodes in it.
        episodes: usize,
        /// What was odd about it and survived.
        warnings: Vec<String>,
    },
    /// A feed could not be read; the others go on.
    FeedFailed {
        /// Which.
        feed: FeedSlug,
        /// Why, and what to do.
        reason: String,
    },
    /// Workers are about to drain a queue.
    StageStarted {
        /// Which.
        stage: StageName,
        /// Episodes to work on.
        episodes: u64,
    },
    /// An episode is being worked on.
    EpisodeStarted {
        /// In which stage.
        stage: StageName,
        /// Which.
        episode: EpisodeId,
        /// How it calls itself.
        title: String,
    },
    /// It got further.
    EpisodeProgress {
        /// In which stage.
        stage: StageName,
        /// Which.
        episode: EpisodeId,
        /// So far: bytes fetched, or milliseconds of audio transcribed.
        done: u64,
        /// In all, where known.
        total: Option<u64>,
    },
    /// It is finished.
    EpisodeDone {
        /// In which stage.
        stage: StageName,
        /// Which.
        episode: EpisodeId,
        /// Bytes fetched, or milliseconds of audio transcribed; 0 where it was done before.
        amount: u64,
        /// Seconds it took.
        elapsed_s: f64,
    },
    /// It will be tried again.
    EpisodeRetry {
        /// In which stage.
        stage: StageName,
        /// Which.
        episode: EpisodeId,
        /// Why.
        class: FailureClass,
        /// In words.
        reason: String,
        /// Seconds until then.
        delay_s: f64,
    },
    /// It is given up.
    EpisodeFailed {
        /// In which stage.
        stage: StageName,
        /// Which.
        episode: EpisodeId,
        /// Why.
        class: FailureClass,
        /// In words.
        reason: String,
    },
    /// The worker stopped before it was finished; the next run continues.
    EpisodeReleased {
        /// In which stage.
        stage: StageName,
        /// Which.
        episode: EpisodeId,
    },
    /// A run was given to a fleet; by its name it can be looked at and cancelled.
    RunSubmitted {
        /// Its name.
        run: RunId,
        /// How many workers it has.
        workers: u32,
    },
    /// A fleet got further.
    FleetProgress {
        /// Which stage it works on.
        stage: StageName,
        /// Workers at it.
        workers: u32,
        /// Episodes finished since it was submitted.
        done: u64,
        /// Episodes given up since then.
        failed: u64,
        /// Episodes that are still queued.
        left: u64,
    },
    /// A model file is being downloaded.
    ModelDownload {
        /// Which file.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The model is ready.
    ModelLoaded {
        /// Its name or folder.
        model: String,
        /// Seconds it took.
        elapsed_s: f64,
    },
    /// The queue is drained, or the workers were stopped.
    StageEnded {
        /// Which.
        stage: StageName,
    },
}
