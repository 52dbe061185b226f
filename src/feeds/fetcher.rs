//! Port: gets the bytes of a feed.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::Failure;
use crate::runtime::http::SafeUrl;

/// What a fetcher guarantees:
///
/// * It follows redirects, refuses what must not be asked, and sends one honest user agent.
/// * The body is decompressed and capped at [`MAX_FEED_BYTES`](super::parse::MAX_FEED_BYTES); a larger
///   one is [`FailureClass::TooLarge`](crate::domain::FailureClass::TooLarge). Every wait has a time
///   limit.
/// * Any status but success is a [`Failure`] with the class of the status and, where the server gave
///   one, its `Retry-After`. 304 is a success without a body, where `known` is not empty.
/// * One call is one try.
#[async_trait]
pub trait FeedFetcher: Debug + Send + Sync + 'static {
    /// Gets `url`, unless it still is what `known` came with.
    async fn fetch(&self, url: &Url, known: &Validators) -> Result<FetchedFeed, Failure>;
}

/// By what a server recognises a version of a page. Both are kept and sent as received: there are
/// servers that understand only one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Validators {
    /// `ETag`, quotes and weakness included.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Longest value that is kept, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// The answer of a feed's server.
#[derive(Clone)]
pub struct FetchedFeed {
    /// The body; `None` where the page has not changed.
    pub body: Option<FeedBody>,
    /// The address that answered, after redirects. It may be signed: show it through [`SafeUrl`].
    pub final_url: Url,
    /// Whether there were redirects, all of them for good (301 or 308).
    pub is_moved: bool,
    /// For the next time.
    pub validators: Validators,
    /// How long the server wants not to be asked again.
    pub fresh_for: Duration,
}

/// The bytes of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedBody {
    /// Decompressed, otherwise as received.
    pub bytes: Bytes,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// What was odd about the transfer: the bytes are not all that was sent.
    pub damage: Option<String>,
}

impl Debug for FetchedFeed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FetchedFeed")
            .field("bytes", &self.body.as_ref().map(|body| body.bytes.len()))
            .field("final_url", &SafeUrl::new(&self.final_url))
            .field("is_moved", &self.is_moved)
            .finish_non_exhaustive()
    }
}
