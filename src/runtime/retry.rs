//! One retry policy a verb, each with its reason, as pure arithmetic.

use std::time::Duration;

use rand::Rng;

/// Capped exponential back-off with full jitter on top of a floor.
///
/// The n-th delay is uniform in `[step / 2, step]` with `step = min(base * 2^(n-1), cap)`
/// ("equal jitter" in Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015):
/// workers that failed together come back apart, and never at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first one included.
    pub max_attempts: u32,
    /// Step before the second try.
    pub base: Duration,
    /// Longest step.
    pub cap: Duration,
}

impl RetryPolicy {
    /// Within one processing of an episode: a dropped connection is worth a quick second try while
    /// the slot is held; whatever lasts longer goes back to the queue.
    pub const TRANSFER: Self = Self {
        max_attempts: 3,
        base: Duration::from_millis(500),
        cap: Duration::from_secs(5),
    };

    /// Between processings of an episode, through the queue: a server restart takes a minute.
    pub const EPISODE: Self = Self {
        max_attempts: 3,
        base: Duration::from_secs(10),
        cap: Duration::from_secs(300),
    };

    /// The delay after `failures` failures, or `None` when there is no further try.
    /// `random` is uniform in `[0, 1)`.
    pub fn delay(&self, failures: u32, random: f64) -> Option<Duration> {
        if failures >= self.max_attempts {
            return None;
        }
        let doublings = failures.saturating_sub(1).min(30);
        let step = self.base.saturating_mul(1 << doublings).min(self.cap);
        Some(step.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0))
    }

    /// [`delay`](Self::delay) with the thread's random source.
    pub fn jittered(&self, failures: u32) -> Option<Duration> {
        self.delay(failures, rand::rng().random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 6,
        base: Duration::from_secs(1),
        cap: Duration::from_secs(5),
    };

    #[test]
    fn steps_double_up_to_the_cap_and_end() {
        let longest = |failures| POLICY.delay(failures, 1.0).map(|d| d.as_secs());
        let steps: Vec<_> = (1..=6).map(longest).collect();
        assert_eq!(steps, [Some(1), Some(2), Some(4), Some(5), Some(5), None]);
    }

    #[test]
    fn jitter_never_shortens_below_half() {
        assert_eq!(POLICY.delay(1, 0.0), Some(Duration::from_millis(500)));
    }
}
