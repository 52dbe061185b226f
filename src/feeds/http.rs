//! Feeds over the one HTTP client.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::crawl::{FeedFetcher, FetchedFeed};
use super::parse::MAX_FEED_BYTES;
use crate::domain::Failure;
use crate::runtime::http::header::CONTENT_TYPE;
use crate::runtime::http::{Get, HopGate, HttpClient, follow, read_to_vec};

/// Some servers choose by it between a feed and the page about the feed.
const ACCEPT: &str = "application/rss+xml, application/atom+xml, application/feed+json, \
    application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5";

/// Gets feeds with an [`HttpClient`], every hop through a gate.
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
    async fn fetch(&self, url: &str) -> Result<FetchedFeed, Failure> {
        let request = Get::try_new(url, ACCEPT)?;
        let answer = follow(&self.client, request, self.gate.as_ref(), &self.cancel).await?;
        let final_url = answer.final_url.to_string();
        let content_type = answer.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.map(str::to_owned);
        let bytes = read_to_vec(answer, MAX_FEED_BYTES).await?;
        Ok(FetchedFeed {
            bytes: bytes.into(),
            final_url,
            content_type,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::domain::FailureClass;
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
        let fetched = fetcher()
            .fetch(&format!("http://{address}/old"))
            .await
            .unwrap();
        assert_eq!(&fetched.bytes[..], b"<rss/>");
        assert_eq!(fetched.final_url, format!("http://{address}/new"));
        assert_eq!(fetched.content_type.as_deref(), Some("text/xml"));
    }

    #[tokio::test]
    async fn a_failure_keeps_its_class() {
        let address = serve().await;
        let failure = fetcher()
            .fetch(&format!("http://{address}/x"))
            .await
            .unwrap_err();
        assert_eq!(failure.class, FailureClass::Gone);
        let failure = fetcher().fetch("nonsense").await.unwrap_err();
        assert_eq!(failure.class, FailureClass::BadUrl);
    }
}
