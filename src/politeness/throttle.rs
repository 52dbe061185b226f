//! A worker's turn at a host: asks for a slot, waits for it, keeps it alive, gives it back.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::window::time_until;
use super::{HostKey, HostLimits, HostWindows, Signal, Slot, SlotDecision, WindowError};
use crate::domain::{Failure, FailureClass, OwnerId};
use crate::runtime::clock::Clock;

/// How long a worker keeps and waits for slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Life of a slot without renewal: how long a killed worker's slots stay taken.
    pub slot_ttl: Duration,
    /// Longest wait for one slot. After that the worker is of more use at another host.
    pub max_wait: Duration,
    /// Longest wait in place for a host that asked to be left alone; for a longer one the queue is
    /// the better place.
    pub max_held_off: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            slot_ttl: Duration::from_secs(60),
            max_wait: Duration::from_secs(60),
            max_held_off: Duration::from_secs(20),
        }
    }
}

/// One worker's way to the host windows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Throttle {
    windows: Arc<dyn HostWindows>,
    limits: Arc<HostLimits>,
    owner: OwnerId,
    clock: Arc<dyn Clock>,
    waits: Waits,
}

impl Throttle {
    /// Slots are taken in the name of `owner`; `limits` tell which hosts count as one.
    pub fn new(
        windows: Arc<dyn HostWindows>,
        limits: Arc<HostLimits>,
        owner: OwnerId,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            windows,
            limits,
            owner,
            clock,
            waits: Waits::default(),
        }
    }

    /// With other times.
    #[must_use]
    pub fn with_waits(mut self, waits: Waits) -> Self {
        self.waits = waits;
        self
    }

    /// Waits for the right to ask `url`'s host for one transfer.
    ///
    /// Fails, without any request made, with
    /// * [`FailureClass::RateLimited`] and the time to come back after, where the wait would be too
    ///   long: the episode is deferred and the worker goes on with others;
    /// * [`FailureClass::RateLimited`] where `cancel` ended the wait, so that no attempt counts;
    /// * [`FailureClass::Storage`] where the windows cannot be asked: nobody goes unmetered;
    /// * [`FailureClass::BadUrl`] where the URL has no host.
    ///
    /// If the returned future is dropped while it asks, a slot may stay taken for its time to live.
    pub async fn enter(&self, url: &Url, cancel: &CancellationToken) -> Result<Pass, Failure> {
        let host = self.host(url)?;
        let deadline = Instant::now() + self.waits.max_wait;
        loop {
            let asked_at = Instant::now();
            let decision = self
                .windows
                .acquire(&host, &self.owner, self.waits.slot_ttl)
                .await
                .map_err(|error| unavailable(&host, &error))?;
            let wait = match decision {
                SlotDecision::Granted(slot) => return Ok(self.pass(slot, asked_at)),
                SlotDecision::Full(wait) if asked_at >= deadline || wait > self.waits.max_wait => {
                    return Err(crowded(&host, wait.max(self.waits.max_wait)));
                }
                // The last wait ends at the deadline, with one more question.
                SlotDecision::Full(wait) => spread(wait).min(deadline - asked_at),
                SlotDecision::HeldOff(until) => self.held_off(&host, until, deadline)?,
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(stopped(&host)),
                () = sleep(wait) => {}
            }
        }
    }

    fn host(&self, url: &Url) -> Result<HostKey, Failure> {
        HostKey::of_url(url, &self.limits)
            .ok_or_else(|| Failure::new(FailureClass::BadUrl, "the URL names no host"))
    }

    /// How long to wait for the end of a host's rest, or the failure that defers the episode.
    fn held_off(
        &self,
        host: &HostKey,
        until: chrono::DateTime<chrono::Utc>,
        deadline: Instant,
    ) -> Result<Duration, Failure> {
        let rest = time_until(self.clock.now(), until);
        if rest > self.waits.max_held_off || Instant::now() + rest > deadline {
            let message = format!("{host} is left alone for another {} s", rest.as_secs());
            let failure = Failure::new(FailureClass::RateLimited, message);
            return Err(failure.with_retry_after(Some(rest)));
        }
        // Never zero: a clock that lags behind the store's must not turn the wait into a spin.
        Ok(rest.max(Duration::from_millis(10)))
    }

    fn pass(&self, slot: Slot, granted_at: Instant) -> Pass {
        let lost = CancellationToken::new();
        let heartbeat = keep_alive(
            Arc::clone(&self.windows),
            slot.clone(),
            self.waits.slot_ttl,
            granted_at,
            lost.clone(),
        );
        Pass {
            windows: Arc::clone(&self.windows),
            slot: Some(slot),
            ttl: self.waits.slot_ttl,
            lost,
            heartbeat: AbortOnDropHandle::new(tokio::spawn(heartbeat)),
        }
    }
}

/// Up to a quarter more, so that those who wait together do not ask together.
fn spread(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + rand::rng().random::<f64>() / 4.0)
}

fn unavailable(host: &HostKey, error: &WindowError) -> Failure {
    let message = format!("cannot ask for a turn at {host}: {error}");
    Failure::new(FailureClass::Storage, message)
}

fn crowded(host: &HostKey, come_back: Duration) -> Failure {
    let message = format!("all slots of {host} were taken for too long");
    Failure::new(FailureClass::RateLimited, message).with_retry_after(Some(come_back))
}

fn stopped(host: &HostKey) -> Failure {
    let message = format!("stopped while waiting for a turn at {host}");
    Failure::new(FailureClass::RateLimited, message)
}

/// Renews `slot` until it is lost, which `lost` then says.
///
/// It is renewed when a third of its life has passed, and after a failed try again every twelfth, so
/// that a store may be away for half a slot's life. The end is counted from before the call that
/// last succeeded, so that the transfer stops here no later than the slot ends there.
async fn keep_alive(
    windows: Arc<dyn HostWindows>,
    slot: Slot,
    ttl: Duration,
    granted_at: Instant,
    lost: CancellationToken,
) {
    let _lost_at_the_end = lost.drop_guard();
    let mut end = granted_at + ttl;
    let mut pause = ttl / 3;
    loop {
        sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        let asked_at = Instant::now();
        if asked_at >= end {
            tracing::warn!(host = %slot.host, "a slot could not be renewed in time");
            return;
        }
        // A store that hangs is one that fails.
        let renewed = timeout((ttl / 3).min(end - asked_at), windows.renew(&slot, ttl)).await;
        pause = ttl / 12;
        match renewed {
            Ok(Ok(())) => {
                end = asked_at + ttl;
                pause = ttl / 3;
            }
            Ok(Err(error @ WindowError::SlotLost { .. })) => {
                tracing::warn!(host = %slot.host, %error, "a transfer has to stop");
                return;
            }
            Ok(Err(error)) => tracing::warn!(host = %slot.host, %error, "a slot was not renewed"),
            Err(_) => tracing::warn!(host = %slot.host, "renewing a slot takes too long"),
        }
    }
}

/// The right to one transfer. Renewed in the background until it is finished or dropped; dropping
/// it gives the slot back too, without a signal.
#[derive(Debug)]
pub struct Pass {
    windows: Arc<dyn HostWindows>,
    /// `None` once it was given back.
    slot: Option<Slot>,
    ttl: Duration,
    lost: CancellationToken,
    heartbeat: AbortOnDropHandle<()>,
}

impl Pass {
    /// Cancelled when the slot is lost: the transfer has to stop, somebody else has the turn.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Tells that a body comes. Where only a redirect was expected, the request counts as a transfer
    /// from now on.
    pub(super) async fn body_begins(&mut self) {
        let Some(slot) = self.slot.as_mut().filter(|slot| slot.is_hop) else {
            return;
        };
        match self.windows.renew(slot, self.ttl).await {
            Ok(()) => slot.is_hop = false,
            Err(WindowError::SlotLost { .. }) => self.lost.cancel(),
            // The next renewal tells it again.
            Err(error) => tracing::warn!(host = %slot.host, %error, "a slot was not renewed"),
        }
    }

    /// Gives the slot back and tells how the transfer went.
    ///
    /// A store that fails here costs others the rest of the slot's life and nothing else, so it is
    /// logged and no error.
    pub async fn finish(mut self, signal: Signal) {
        if let Some(slot) = self.slot.take() {
            self.heartbeat.abort();
            // On a task of its own, so that a caller who stops waiting does not keep the slot.
            let released = tokio::spawn(release(Arc::clone(&self.windows), slot, signal));
            if let Err(error) = released.await {
                tracing::warn!(%error, "giving a slot back did not end");
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else {
            return;
        };
        // Without a runtime the program is ending, and the slot ends with its time to live.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(release(Arc::clone(&self.windows), slot, Signal::Neutral));
        }
    }
}

async fn release(windows: Arc<dyn HostWindows>, slot: Slot, signal: Signal) {
    let host = slot.host.clone();
    if let Err(error) = windows.release(slot, signal).await {
        tracing::warn!(%host, %error, "a slot was not given back and stays taken until it expires");
    }
}

#[cfg(test)]
mod tests;
