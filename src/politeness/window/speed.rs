//! Whether a host answers slower than it used to.

use serde::{Deserialize, Serialize};

use super::super::Pace;

/// How much slower than usual stops growth.
const TOO_MUCH: f64 = 4.0;
/// Weight of the newest sample in the average of now.
const QUICK: f64 = 0.25;
/// How much a worse answer raises what is usual; better ones count at once. A host that has become
/// slow for good is accepted as such after some hundred answers.
const DRIFT: f64 = 1.0 + 1.0 / 256.0;

/// Time to the first byte, and time per byte: seconds, and seconds a MiB. Adverts are stitched in on
/// request at some hosts, so a busy one shows in the first before it shows anywhere else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Speed {
    first_byte: Average,
    body: Average,
}

impl Speed {
    /// Counts an answer.
    pub(super) fn saw(&mut self, pace: Pace) {
        if let Some(wait) = pace.first_byte {
            self.first_byte.saw(wait.as_secs_f64());
        }
        if let Some(rate) = pace.bytes_per_s {
            self.body.saw((1 << 20) as f64 / rate.max(1) as f64);
        }
    }

    /// Four times slower than usual.
    pub(super) fn is_slow(&self) -> bool {
        self.first_byte.is_high() || self.body.is_high()
    }
}

/// A quick average beside a slow one that leans to the good side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Average {
    now: Option<f64>,
    usual: Option<f64>,
}

impl Average {
    fn saw(&mut self, sample: f64) {
        let now = self.now.unwrap_or(sample);
        let now = now + QUICK * (sample - now);
        let usual = self.usual.unwrap_or(now);
        self.now = Some(now);
        self.usual = Some(now.min(usual * DRIFT));
    }

    fn is_high(&self) -> bool {
        matches!((self.now, self.usual), (Some(now), Some(usual)) if now > TOO_MUCH * usual)
    }
}
