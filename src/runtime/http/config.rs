//! How requests are made: the table `[http]` of `podrun.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guard::Network;

/// Settings of the one client that all requests go through.
///
/// Times are seconds in the file (`connect_timeout_s = 10`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// How this program names itself, on every request to every host: hosts judge a client by its
    /// name, and one that changes it is taken for a robot that hides.
    pub user_agent: UserAgent,
    /// Time for name resolution, connection and handshake together.
    #[serde(rename = "connect_timeout_s", with = "seconds")]
    pub connect_timeout: Duration,
    /// Time from the connection to the end of the answer's headers. Hosts that stitch
    /// advertisements in take seconds to begin.
    #[serde(rename = "first_byte_timeout_s", with = "seconds")]
    pub first_byte_timeout: Duration,
    /// When a body is too slow to go on with.
    pub stall: StallRule,
    /// Most redirects of one request. Measuring services stack up to seven in the wild.
    pub max_redirects: usize,
    /// Whether a redirect may lead from `https` to `http`.
    pub allow_https_downgrade: bool,
    /// Ports that may be asked. A feed decides which ports are asked, and what listens elsewhere is
    /// rarely a web server.
    pub ports: Vec<u16>,
    /// Addresses that are not public and may be asked all the same, one by one or as blocks
    /// (`10.1.0.0/16`): hosts of one's own.
    pub allowed_addresses: Vec<Network>,
    /// Whether every address and port may be asked, loopback, private and link-local ones included.
    /// A feed decides which addresses are asked, and cloud machines answer their credentials on such
    /// an address: for networks that hold nothing else.
    pub allow_private_addresses: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            user_agent: UserAgent::default(),
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            stall: StallRule::default(),
            max_redirects: 12,
            allow_https_downgrade: false,
            ports: vec![80, 443],
            allowed_addresses: Vec::new(),
            allow_private_addresses: false,
        }
    }
}

/// A body is given up when no byte comes for `silence`, or when fewer than `min_bytes_per_s` come on
/// average over a `window`. Only time spent waiting for the host counts, so a slow store is never
/// taken for a slow host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StallRule {
    /// Longest wait for one byte.
    #[serde(rename = "silence_s", with = "seconds")]
    pub silence: Duration,
    /// What the average is taken over.
    #[serde(rename = "window_s", with = "seconds")]
    pub window: Duration,
    /// Least bytes a second. An hour of speech at 64 kbit/s is 28 MB: at 16 KiB/s half an hour.
    pub min_bytes_per_s: u64,
}

impl Default for StallRule {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(30),
            window: Duration::from_secs(60),
            min_bytes_per_s: 16 * 1024,
        }
    }
}

/// A `User-Agent` that can be sent: 1 to 256 visible ASCII characters and spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserAgent(String);

/// Why a text is no [`UserAgent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user agent is 1 to 256 visible ASCII characters and spaces, and starts with a name")]
pub struct InvalidUserAgent;

impl UserAgent {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 256;

    /// Checks `text` and takes it as it is.
    pub fn try_new(text: impl Into<String>) -> Result<Self, InvalidUserAgent> {
        let text = text.into();
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && !text.starts_with(' ');
        let is_visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if fits && is_visible {
            Ok(Self(text))
        } else {
            Err(InvalidUserAgent)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for UserAgent {
    fn default() -> Self {
        Self("PodInsight-MVP/1.0 (+https://github.com/podinsight/podrun)".to_owned())
    }
}

impl TryFrom<String> for UserAgent {
    type Error = InvalidUserAgent;
    fn try_from(text: String) -> Result<Self, InvalidUserAgent> {
        Self::try_new(text)
    }
}

impl From<UserAgent> for String {
    fn from(user_agent: UserAgent) -> Self {
        user_agent.0
    }
}

/// Durations as seconds, with fractions; more than none, at most 30 days.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Longer times are mistakes of unit, and too long for the clock's arithmetic in the end.
    const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() && duration <= LONGEST => Ok(duration),
            _ => Err(D::Error::custom(format!(
                "{seconds} is no number of seconds above 0 and up to 2592000 (30 days)"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default() {
        let config: HttpConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, HttpConfig::default());
        assert_eq!(config.connect_timeout, Duration::from_secs(10));
        assert!(!config.allow_https_downgrade && !config.allow_private_addresses);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = serde_json::to_string(&HttpConfig::default()).unwrap();
        let config: HttpConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(config, HttpConfig::default());
    }

    #[test]
    fn mistakes_are_refused() {
        for table in [
            r#"{"timeout": 3}"#,
            r#"{"connect_timeout_s": 0}"#,
            r#"{"connect_timeout_s": -1}"#,
            r#"{"connect_timeout_s": 1e18}"#,
            r#"{"stall": {"window_s": 2592001}}"#,
            r#"{"stall": {"window": 3}}"#,
            r#"{"allowed_addresses": ["10.0.0.0/99"]}"#,
            r#"{"ports": [65536]}"#,
            r#"{"user_agent": ""}"#,
            r#"{"user_agent": "a\r\nHost: b"}"#,
        ] {
            assert!(
                serde_json::from_str::<HttpConfig>(table).is_err(),
                "{table} was accepted"
            );
        }
        assert!(UserAgent::try_new("x".repeat(257)).is_err());
        assert!(UserAgent::try_new("päd/1").is_err());
    }
}
