//! Port: who may send a request to which host now.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::domain::Failure;

/// What a gate guarantees: no request is sent before [`enter`](Self::enter) returned, and whoever it
/// let in holds a pass until the host has no more work with that request.
#[async_trait]
pub trait HopGate: Debug + Send + Sync + 'static {
    /// Waits until the host of `url` may be asked. It fails where that takes too long, where the
    /// gate's store fails (closed, never open), and soon after `cancel` fires.
    async fn enter(
        &self,
        url: &Url,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn HopPass>, Failure>;
}

/// The right to one request. Dropping it without [`finish`](Self::finish) gives it back without a
/// word about the host.
#[async_trait]
pub trait HopPass: Debug + Send {
    /// Fires when the right ended early, so that the transfer has to stop.
    fn lost(&self) -> CancellationToken;

    /// Tells that the answer's headers are in; called at most once, before the body is read.
    async fn answered(&mut self, _status: u16) {}

    /// Tells that bytes of the body came after the host was `waited` for.
    fn received(&mut self, _bytes: usize, _waited: Duration) {}

    /// Gives it back and tells how the host did.
    async fn finish(self: Box<Self>, verdict: HopVerdict);
}

/// How a hop went, from the point of view of the host's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopVerdict {
    /// The host answered, with whatever status, and sent all of its answer.
    Answered {
        /// The answer's status.
        status: u16,
    },
    /// The host wants fewer requests: 429, or 503.
    Throttled {
        /// The answer's status.
        status: u16,
        /// What it asks for, where it does.
        retry_after: Option<Duration>,
    },
    /// The host refuses us and not the file: a shield's 403, which some also use as a rate limit.
    Blocked {
        /// The answer's status.
        status: u16,
        /// When it wants us back, where it says so.
        retry_after: Option<Duration>,
    },
    /// No or half an answer, or a server error: a sign of overload if it comes in numbers.
    Strained {
        /// The answer's status, where there was one.
        status: Option<u16>,
    },
    /// We ended it, or it never reached the host.
    Unknown {
        /// The answer's status, where there was one.
        status: Option<u16>,
    },
}

impl HopVerdict {
    /// The answer's status, where there was one.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Answered { status }
            | Self::Throttled { status, .. }
            | Self::Blocked { status, .. } => Some(status),
            Self::Strained { status } | Self::Unknown { status } => status,
        }
    }
}

/// A gate that lets everybody in at once; for tests, and for hosts of one's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

#[async_trait]
impl HopGate for OpenGate {
    async fn enter(&self, _: &Url, _: &CancellationToken) -> Result<Box<dyn HopPass>, Failure> {
        Ok(Box::new(OpenPass))
    }
}

#[derive(Debug)]
struct OpenPass;

#[async_trait]
impl HopPass for OpenPass {
    fn lost(&self) -> CancellationToken {
        CancellationToken::new()
    }

    async fn finish(self: Box<Self>, _: HopVerdict) {}
}
