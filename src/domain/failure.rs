//! Failures by what they mean for the episode, the host and the run.
//!
//! This is the one place that says whether a failure is worth another try. Code that detects a
//! failure picks its [`FailureClass`]; everything else asks the class.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What went wrong, as a stable name that reports and queries group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// 404: the publisher's link is dead.
    NotFound,
    /// 410, 451: taken down.
    Gone,
    /// 401, 402, 403, 407: the publisher does not let us.
    Refused,
    /// 403 with the marks of a bot wall or a rate limiter: the host turns this client away, not this
    /// episode.
    Blocked,
    /// Any other 4xx.
    ClientError,
    /// 429, or 503 with `Retry-After`.
    RateLimited,
    /// 5xx, and 418, which fronts answer where they mean "not now".
    ServerError,
    /// No connection: refused, reset, unreachable.
    Connect,
    /// The name service does not answer, or fails.
    Dns,
    /// The name service answers that there is no such name.
    NoSuchHost,
    /// The certificate or the handshake is bad.
    Tls,
    /// Nothing, or too little, came for too long.
    Timeout,
    /// The body ended early.
    Truncated,
    /// The answer breaks HTTP.
    Protocol,
    /// Too many redirects, a loop, or a redirect that may not be followed.
    Redirect,
    /// Not an `http` or `https` URL, or one that may not be asked.
    BadUrl,
    /// The body is empty.
    Empty,
    /// The body is a page, a playlist, a text: no audio.
    NotAudio,
    /// The body is an HLS playlist, which names pieces of audio elsewhere.
    UnsupportedHls,
    /// The body is a live stream, which has no end.
    LiveStream,
    /// The body is no feed, or one without a single episode.
    NotAFeed,
    /// Over the size or time cap.
    TooLarge,
    /// The audio cannot be decoded.
    Undecodable,
    /// The speech engine failed.
    Engine,
    /// An object that should be in a store is not, or is damaged.
    Storage,
    /// A queue message that cannot be read.
    BadMessage,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Another try later may succeed; counts as an attempt.
    Transient,
    /// Another try gives the same answer.
    Permanent,
    /// The host wants fewer requests: wait, for every episode of that host; no attempt is counted.
    HostWide,
}

impl FailureClass {
    /// Whether to try again.
    pub fn disposition(self) -> Disposition {
        match self {
            Self::RateLimited => Disposition::HostWide,
            // Servers, networks and disks recover. An empty or cut body is mostly a cache that was
            // filling. A name that does not resolve may be the resolver's fault. An engine fails
            // on memory pressure, a store on a full disk. A bot wall opens again, and a zone that
            // lost a name is mostly mended: both are worth the queue's few tries.
            Self::ServerError
            | Self::Connect
            | Self::Dns
            | Self::NoSuchHost
            | Self::Blocked
            | Self::Timeout
            | Self::Truncated
            | Self::Protocol
            | Self::Empty
            | Self::Engine
            | Self::Storage => Disposition::Transient,
            // The publisher's answer, or the file itself, has to change first. A wrong certificate
            // stays wrong for days; asking again within minutes is only load.
            Self::NotFound
            | Self::Gone
            | Self::Refused
            | Self::ClientError
            | Self::Tls
            | Self::Redirect
            | Self::BadUrl
            | Self::NotAudio
            | Self::UnsupportedHls
            | Self::LiveStream
            | Self::NotAFeed
            | Self::TooLarge
            | Self::Undecodable
            | Self::BadMessage => Disposition::Permanent,
        }
    }

    /// Whether the answer is worth asking for again within seconds. A bot wall and a missing name stay
    /// for longer than that, and asking on only makes the wall higher.
    pub fn may_pass_at_once(self) -> bool {
        self.disposition() == Disposition::Transient
            && !matches!(self, Self::Blocked | Self::NoSuchHost)
    }

    /// Whether an episode that ended so says something about its publisher and nothing about us: no
    /// operator can mend a dead link, so success rates leave it out. What another setting would let
    /// through (a larger cap, a port, an address, one redirect more) an operator can mend.
    pub fn is_publisher_side(self) -> bool {
        match self.disposition() {
            Disposition::Permanent => !matches!(
                self,
                Self::BadMessage | Self::BadUrl | Self::Redirect | Self::TooLarge
            ),
            Disposition::Transient => matches!(self, Self::Blocked | Self::NoSuchHost),
            Disposition::HostWide => false,
        }
    }

    /// The class of an HTTP status that is no success and no redirect.
    pub fn from_status(status: u16) -> Self {
        match status {
            401 | 402 | 403 | 407 => Self::Refused,
            404 => Self::NotFound,
            408 | 425 => Self::Timeout,
            410 | 451 => Self::Gone,
            418 => Self::ServerError,
            429 => Self::RateLimited,
            400..=499 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::Protocol,
        }
    }

    /// The stable name, as in reports and in stored records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Blocked => "blocked",
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::NoSuchHost => "no_such_host",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Truncated => "truncated",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::BadUrl => "bad_url",
            Self::Empty => "empty",
            Self::NotAudio => "not_audio",
            Self::UnsupportedHls => "unsupported_hls",
            Self::LiveStream => "live_stream",
            Self::NotAFeed => "not_a_feed",
            Self::TooLarge => "too_large",
            Self::Undecodable => "undecodable",
            Self::Engine => "engine",
            Self::Storage => "storage",
            Self::BadMessage => "bad_message",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One failure: its class, what happened in words, and when the server asks to come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind.
    pub class: FailureClass,
    /// What happened to what, as a lower-case fragment without secrets.
    pub message: String,
    /// `Retry-After`, where the server gave one.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a `Retry-After`.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Adds what the server asked for.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_name_and_shown_name_are_one() {
        let by_status =
            [400, 401, 404, 408, 410, 429, 500, 599, 700].map(FailureClass::from_status);
        let others = [
            FailureClass::Blocked,
            FailureClass::NoSuchHost,
            FailureClass::LiveStream,
            FailureClass::UnsupportedHls,
        ];
        for class in by_status.into_iter().chain(others) {
            let stored = serde_json::to_value(class).unwrap();
            assert_eq!(stored, class.as_str());
        }
    }

    #[test]
    fn a_dead_link_is_final_and_an_overloaded_host_is_not() {
        let disposition = |status| FailureClass::from_status(status).disposition();
        assert_eq!(disposition(404), Disposition::Permanent);
        assert_eq!(disposition(503), Disposition::Transient);
        assert_eq!(disposition(429), Disposition::HostWide);
    }
}
