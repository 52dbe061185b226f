//! Whether a host serves, or only sends elsewhere.

use serde::{Deserialize, Serialize};

/// Answers that are remembered.
const REMEMBERED: u32 = 20;

/// The last answers of a host: 20 redirects in a row make it a tracker.
///
/// Unanimous, and over all names that count as one host: where a company's redirector and its media
/// servers share a domain, every request needs a slot, as before anything is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    redirects_in_a_row: u32,
}

impl Role {
    /// Requests to a tracker that may be under way at once: four seconds' worth. They end within a
    /// round trip, so more of them means that something is wrong over there.
    pub(super) const MOST_HOPS: u32 = 20;

    /// Remembers an answer.
    pub(super) fn saw(&mut self, is_redirect: bool) {
        self.redirects_in_a_row = match is_redirect {
            true => self.redirects_in_a_row.saturating_add(1).min(REMEMBERED),
            false => 0,
        };
    }

    /// All remembered answers were redirects, so a request needs no slot.
    pub(super) fn is_tracker(&self) -> bool {
        self.redirects_in_a_row >= REMEMBERED
    }
}
