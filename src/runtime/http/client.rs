//! The client itself: one name, no memory, a connection a request.

use std::fmt;
use std::sync::Arc;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

use super::config::HttpConfig;
use super::guard::Guard;
use super::resolve::{GuardedResolver, Lookup, SystemLookup};

/// Sends single requests; [`follow`](super::follow::follow) makes chains of them. Cloning is cheap.
#[derive(Clone)]
pub struct HttpClient {
    inner: reqwest::Client,
    guard: Guard,
    config: Arc<HttpConfig>,
}

/// The client cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS (are the root certificates installed and readable?): {0}")]
pub struct HttpClientError(#[source] reqwest::Error);

impl HttpClient {
    /// Builds a client that asks the system for addresses and trusts the system's certificates.
    pub fn try_new(config: HttpConfig) -> Result<Self, HttpClientError> {
        Self::try_with(config, Arc::new(SystemLookup), &[])
    }

    /// Builds a client that asks `lookup` for addresses and trusts the certificates in `roots` (PEM,
    /// any number in each) beside the system's.
    ///
    /// * HTTP/1.1 only: what a host limits is connections, and one HTTP/2 connection is slower than
    ///   one HTTP/1.1 connection for bulk, by the size of its flow-control windows.
    /// * A connection ends with its answer, so that none is open for which nobody holds a turn.
    /// * No decoding: media must arrive byte for byte, and a decoder hides `Content-Length`.
    /// * No redirects, cookies, `Referer`, retries or proxy of the environment: each of them would
    ///   send requests, or facts about us, that nobody judged.
    pub fn try_with(
        config: HttpConfig,
        lookup: Arc<dyn Lookup>,
        roots: &[&[u8]],
    ) -> Result<Self, HttpClientError> {
        let guard = Guard::new(&config);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut builder = reqwest::Client::builder()
            .user_agent(config.user_agent.as_str())
            .default_headers(headers)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            // None is kept: a host that counts connections counts idle ones too, and the next turn at
            // it is mostly another process's. A handshake is nothing beside an episode.
            .pool_max_idle_per_host(0)
            .dns_resolver(GuardedResolver {
                guard: guard.clone(),
                lookup,
            });
        for pem in roots {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(HttpClientError)?;
            builder = builder.tls_certs_merge(roots);
        }
        Ok(Self {
            inner: builder.build().map_err(HttpClientError)?,
            guard,
            config: Arc::new(config),
        })
    }

    /// How it was set up.
    pub fn config(&self) -> &HttpConfig {
        &self.config
    }

    /// What it may ask.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(super) fn inner(&self) -> &reqwest::Client {
        &self.inner
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpClient")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
