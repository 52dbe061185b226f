//! Feeds over the one HTTP client.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::compressed::unpack;
use super::fetcher::{FeedBody, FeedFetcher, FetchedFeed, Validators};
use super::freshness::fresh_for;
use super::parse::MAX_FEED_BYTES;
use crate::domain::{Failure, FailureClass};
use crate::runtime::http::header::{
    ACCEPT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED,
};
use crate::runtime::http::{Answer, Get, Hop, HopGate, HttpClient, SafeUrl, follow, read_to_vec};

/// Some servers choose by it between a feed and the page about the feed.
const ACCEPT: &str = "application/rss+xml, application/atom+xml, application/feed+json, \
    application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5";

/// Gets feeds with an [`HttpClient`], every hop through a gate. Bodies come compressed where the
/// server can: text shrinks to a tenth.
#[derive(Debug)]
pub struct HttpFeedFetcher {
    client: HttpClient,
    gate: Arc<dyn HopGate>,
    cancel: CancellationToken,
}

impl HttpFeedFetcher {
    /// A fetcher that stops soon after `cancel` fires.
    pub fn new(client: HttpClient, gate: Arc<dyn HopGate>, cancel: CancellationToken) -> Self {
        Self {
            client,
            gate,
            cancel,
        }
    }
}

#[async_trait]
impl FeedFetcher for HttpFeedFetcher {
    async fn fetch(&self, url: &Url, known: &Validators) -> Result<FetchedFeed, Failure> {
        let mut request = Get::try_new(url.as_str(), ACCEPT)?;
        let headers = &mut request.headers;
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        send(headers, IF_NONE_MATCH, known.etag.as_deref());
        send(headers, IF_MODIFIED_SINCE, known.last_modified.as_deref());
        let answer = follow(&self.client, request, self.gate.as_ref(), &self.cancel).await?;
        let mut fetched = FetchedFeed {
            body: None,
            final_url: answer.final_url.clone(),
            is_moved: is_moved(&answer.hops),
            validators: Validators {
                etag: received(&answer.headers, ETAG),
                last_modified: received(&answer.headers, LAST_MODIFIED),
            },
            fresh_for: fresh_for(&answer.headers),
        };
        fetched.body = body(answer).await?;
        Ok(fetched)
    }
}

/// A value that HTTP cannot carry came out of a damaged store: better asked without it.
fn send(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}

fn received(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    let fits = (1..=Validators::MAX_LEN).contains(&value.len());
    fits.then(|| value.to_owned())
}

fn is_moved(hops: &[Hop]) -> bool {
    let redirects = &hops[..hops.len().saturating_sub(1)];
    let for_good = |hop: &Hop| matches!(hop.status, 301 | 308);
    !redirects.is_empty() && redirects.iter().all(for_good)
}

async fn body(mut answer: Answer) -> Result<Option<FeedBody>, Failure> {
    if answer.status == 304 {
        // Whatever a server sends after a 304 is no body of it; the connection goes with it.
        let _ = answer.body.next().await;
        answer.body.close().await;
        return Ok(None);
    }
    let shown = SafeUrl::new(&answer.final_url);
    let content_type = answer.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.map(str::to_owned);
    let received = read_to_vec(answer, MAX_FEED_BYTES).await?;
    let unpacked = tokio::task::spawn_blocking(move || unpack(received)).await;
    let unpacked = unpacked
        .unwrap_or_else(|_| {
            let problem = "the compressed feed broke its reader";
            Err(Failure::new(FailureClass::NotAFeed, problem))
        })
        .map_err(|failure| Failure::new(failure.class, format!("{shown}: {failure}")))?;
    Ok(Some(FeedBody {
        bytes: unpacked.bytes,
        content_type,
        damage: unpacked.warning,
    }))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::runtime::http::{HttpConfig, OpenGate};

    /// Serves two connections: `/old` moves to `/new`, which is a feed; all else is gone.
    async fn serve() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..length]);
                let answer = match request.split(' ').nth(1).unwrap() {
                    "/old" => "301 Moved\r\nLocation: /new\r\nContent-Length: 0",
                    "/new" => "200 OK\r\nContent-Type: text/xml\r\nContent-Length: 6",
                    _ => "410 Gone\r\nContent-Length: 0",
                };
                let body = if request.starts_with("GET /new") {
                    "<rss/>"
                } else {
                    ""
                };
                let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    fn fetcher() -> HttpFeedFetcher {
        let config = HttpConfig {
            allow_private_addresses: true,
            ..HttpConfig::default()
        };
        let client = HttpClient::try_new(config).unwrap();
        HttpFeedFetcher::new(client, Arc::new(OpenGate), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_feed_that_moved_is_found_and_its_new_place_told() {
        let address = serve().await;
        let url = Url::parse(&format!("http://{address}/old")).unwrap();
        let fetched = fetcher().fetch(&url, &Validators::default()).await.unwrap();
        let body = fetched.body.unwrap();
        assert_eq!(&body.bytes[..], b"<rss/>");
        assert_eq!(body.content_type.as_deref(), Some("text/xml"));
        assert_eq!(fetched.final_url.path(), "/new");
        assert!(fetched.is_moved);
    }

    #[test]
    fn only_redirects_for_good_are_a_move() {
        let moved = |statuses: &[u16]| {
            let hops = statuses.iter().map(|status| Hop {
                url: String::new(),
                status: *status,
            });
            is_moved(&hops.collect::<Vec<_>>())
        };
        assert!(moved(&[301, 308, 200]) && moved(&[301, 304]));
        assert!(!moved(&[200]) && !moved(&[301, 302, 200]) && !moved(&[307, 200]));
    }

    #[tokio::test]
    async fn a_failure_keeps_its_class() {
        let address = serve().await;
        let fetch = async |url: &str| {
            let url = Url::parse(url).unwrap();
            let fetched = fetcher().fetch(&url, &Validators::default()).await;
            fetched.unwrap_err().class
        };
        let url = format!("http://{address}/x");
        assert_eq!(fetch(&url).await, FailureClass::Gone);
        assert_eq!(fetch("ftp://e.com/x").await, FailureClass::BadUrl);
    }
}
