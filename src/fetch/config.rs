//! How much one episode may cost: the table `[fetch]` of `podrun.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ads::AdHosts;
use crate::runtime::http::config::seconds;

/// Caps of one download. They end what would never end: a live stream behind an episode's URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchConfig {
    /// Most bytes of one episode. The longest shows are video files of two to three gigabytes.
    pub max_bytes: u64,
    /// Most time for one body, from the answer to its last byte.
    #[serde(rename = "max_duration_s", with = "seconds")]
    pub max_duration: Duration,
    /// How often one broken transfer is continued where it broke.
    pub max_resumes: u32,
    /// What is known about hosts that insert advertisements.
    pub ads: AdHosts,
    /// Whether a measuring service whose name is gone is left out where the address shows what is
    /// behind it. Off: publishers are paid by what those services count.
    pub unwrap_dead_prefixes: bool,
    /// Most bytes of a publisher's transcript.
    pub max_transcript_bytes: usize,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            max_duration: Duration::from_secs(2 * 3600),
            max_resumes: 3,
            ads: AdHosts::default(),
            unwrap_dead_prefixes: false,
            max_transcript_bytes: 16 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default_and_a_mistake_is_refused() {
        let config: FetchConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, FetchConfig::default());
        assert!(serde_json::from_str::<FetchConfig>(r#"{"max_byte": 1}"#).is_err());
        assert!(serde_json::from_str::<FetchConfig>(r#"{"max_duration_s": 0}"#).is_err());
    }
}
