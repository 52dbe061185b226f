//! What a download tells while it runs.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{EpisodeId, StageName};
use crate::runtime::telemetry::{Event, Observer};

/// Least time between two reports of one episode: faster than eyes is only load.
const INTERVAL: Duration = Duration::from_millis(100);

/// Reports one episode's bytes, at most ten times a second, and counts them all.
#[derive(Debug)]
pub struct Progress<'a> {
    observer: &'a dyn Observer,
    episode: &'a EpisodeId,
    total: Option<u64>,
    done: u64,
    earlier: u64,
    reported: Option<Instant>,
}

impl<'a> Progress<'a> {
    /// Nothing received yet.
    pub fn new(observer: &'a dyn Observer, episode: &'a EpisodeId) -> Self {
        Self {
            observer,
            episode,
            total: None,
            done: 0,
            earlier: 0,
            reported: None,
        }
    }

    /// All bytes that came, those of failed tries included.
    pub fn transferred(&self) -> u64 {
        self.earlier + self.done
    }

    /// A try begins; `total` is the length the host promises.
    pub(super) fn begin(&mut self, total: Option<u64>) {
        self.earlier += self.done;
        self.done = 0;
        self.total = total;
    }

    /// So many bytes of this try are here.
    pub(super) fn received(&mut self, done: u64) {
        self.done = done;
        if self.reported.is_none_or(|at| at.elapsed() >= INTERVAL) {
            self.report();
        }
    }

    /// The try is over, one way or the other.
    pub(super) fn end(&mut self) {
        if self.done > 0 {
            self.report();
        }
    }

    fn report(&mut self) {
        self.reported = Some(Instant::now());
        self.observer.event(&Event::EpisodeProgress {
            stage: StageName::Fetch,
            episode: self.episode.clone(),
            done: self.done,
            total: self.total,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::domain::{FeedSlug, Guid};

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<(u64, Option<u64>)>>);

    impl Observer for Kept {
        fn event(&self, event: &Event) {
            if let Event::EpisodeProgress { done, total, .. } = event {
                self.0.lock().unwrap().push((*done, *total));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reports_are_rare_and_the_last_one_is_whole() {
        let kept = Kept::default();
        let episode = EpisodeId {
            feed_slug: FeedSlug::try_new("a").unwrap(),
            guid: Guid::try_new("g").unwrap(),
        };
        let mut progress = Progress::new(&kept, &episode);
        progress.begin(Some(1000));
        for done in 1..=1000 {
            progress.received(done);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        progress.end();
        progress.begin(None);
        progress.received(5);
        assert_eq!(progress.transferred(), 1005);
        let kept = kept.0.into_inner().unwrap();
        assert_eq!(kept.len(), 11, "{kept:?}");
        assert_eq!(kept[10], (1000, Some(1000)));
    }
}
