//! The throttle as the HTTP client's gate: each hop takes its own host's turn.

use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::throttle::{Pass, Throttle};
use super::{Pace, Signal};
use crate::domain::Failure;
use crate::runtime::http::{HopGate, HopPass, HopVerdict};

/// Shorter bodies say more about the connection than about the server's speed.
const ENOUGH_TO_MEASURE: u64 = 256 << 10;

#[async_trait]
impl HopGate for Throttle {
    async fn enter(
        &self,
        url: &Url,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn HopPass>, Failure> {
        Ok(Box::new(Turn {
            pass: Throttle::enter(self, url, cancel).await?,
            episode: fingerprint(url),
            started: Instant::now(),
            answered: None,
            bytes: 0,
            waited: Duration::ZERO,
        }))
    }
}

#[derive(Debug)]
struct Turn {
    pass: Pass,
    episode: u64,
    started: Instant,
    /// When the headers were in.
    answered: Option<Instant>,
    bytes: u64,
    /// For the body; the rest of the time went to our own store.
    waited: Duration,
}

impl Turn {
    fn pace(&self) -> Pace {
        let Some(answered) = self.answered else {
            return Pace::default();
        };
        let seconds = self.waited.as_secs_f64();
        // What a slow store leaves waiting in the connection comes in no time, and tells nothing.
        let was_awaited = seconds > 0.0 && self.waited * 2 >= answered.elapsed();
        let is_measured = self.bytes >= ENOUGH_TO_MEASURE && was_awaited;
        Pace {
            first_byte: Some(answered - self.started),
            // Saturates.
            bytes_per_s: is_measured.then(|| (self.bytes as f64 / seconds) as u64),
        }
    }
}

#[async_trait]
impl HopPass for Turn {
    fn lost(&self) -> CancellationToken {
        self.pass.lost()
    }

    async fn answered(&mut self, status: u16) {
        self.answered = Some(Instant::now());
        if (200..300).contains(&status) {
            self.pass.body_begins().await;
        }
    }

    fn received(&mut self, bytes: usize, waited: Duration) {
        self.bytes += bytes as u64;
        self.waited += waited;
    }

    async fn finish(self: Box<Self>, verdict: HopVerdict) {
        let signal = signal(verdict, self.episode, self.pace());
        self.pass.finish(signal).await;
    }
}

/// Tells the episodes of a host apart without keeping their URLs, which may be signed. The query is
/// left out: it differs from try to try.
fn fingerprint(url: &Url) -> u64 {
    let digest = Sha256::new_with_prefix(url.host_str().unwrap_or_default())
        .chain_update([0])
        .chain_update(url.path())
        .finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn signal(verdict: HopVerdict, episode: u64, pace: Pace) -> Signal {
    match verdict {
        HopVerdict::Answered { status } => match status {
            200..=299 | 304 => Signal::Served(pace),
            300..=399 => Signal::Redirected,
            // An answer about the episode, not about the host.
            _ => Signal::Neutral,
        },
        HopVerdict::Throttled {
            status,
            retry_after,
        } => Signal::Throttled {
            status,
            retry_after,
        },
        HopVerdict::Blocked { retry_after, .. } => Signal::Blocked {
            episode,
            retry_after,
        },
        HopVerdict::Strained {
            status: Some(200..=299),
        } => Signal::BrokenOff,
        // Mostly the program behind one URL, which fails at each of its tries, and no overload.
        HopVerdict::Strained { status: Some(500) } | HopVerdict::Unknown { .. } => Signal::Neutral,
        HopVerdict::Strained { .. } => Signal::Strained,
    }
}

#[cfg(test)]
mod tests;
