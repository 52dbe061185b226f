//! One request with its redirects.

use std::fmt;
use std::time::Duration;

use chrono::Utc;
use reqwest::Response;
use reqwest::header::{
    ACCEPT, CONTENT_ENCODING, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::body::{BodyStream, interrupted, slot_lost};
use super::classify::{self, Phase};
use super::client::HttpClient;
use super::gate::{HopGate, HopPass, HopVerdict};
use super::redirect::{Chain, is_redirect, judge};
use super::retry_after;
use super::safe_url::SafeUrl;
use crate::domain::{Failure, FailureClass};

/// What to ask for.
#[derive(Clone)]
pub struct Get {
    /// Where. Its user info is sent as basic credentials to its own origin and nowhere else.
    pub url: Url,
    /// `Accept`; some servers answer 406 without one.
    pub accept: &'static str,
    /// More headers, sent on every hop, whoever it belongs to: validators, never credentials.
    pub headers: HeaderMap,
}

impl Get {
    /// A request for the absolute URL `text`; [`FailureClass::BadUrl`] where it is none.
    pub fn try_new(text: &str, accept: &'static str) -> Result<Self, Failure> {
        let url = Url::parse(text.trim()).map_err(|error| {
            let problem = format!("{}: is no URL: {error}", SafeUrl::from_text(text));
            Failure::new(FailureClass::BadUrl, problem)
        })?;
        Ok(Self {
            url,
            accept,
            headers: HeaderMap::new(),
        })
    }

    fn is_conditional(&self) -> bool {
        self.headers.contains_key(IF_NONE_MATCH) || self.headers.contains_key(IF_MODIFIED_SINCE)
    }
}

impl fmt::Debug for Get {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Get")
            .field("url", &SafeUrl::new(&self.url))
            .field("accept", &self.accept)
            .field("headers", &self.headers)
            .finish()
    }
}

/// One request of a chain and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Where it went, redacted.
    pub url: String,
    /// What it answered.
    pub status: u16,
}

/// The answer at the end of the chain: a success, or 304 to a conditional request.
pub struct Answer {
    /// The last hop's status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its URL, which may be signed: show it through [`SafeUrl`].
    pub final_url: Url,
    /// All hops, the last one included.
    pub hops: Vec<Hop>,
    /// Its body.
    pub body: BodyStream,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Answer")
            .field("status", &self.status)
            .field("hops", &self.hops)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The longest `Retry-After` of a redirect that is waited for on the spot.
const LONGEST_REDIRECT_WAIT: Duration = Duration::from_secs(20);

/// Sends `request` and follows where it is sent, each hop through `gate` on its own account.
///
/// A host that redirects gets its pass back as soon as it has answered; the pass of the host that
/// sends the body stays with [`Answer::body`]. Every status but success (and 304, where it was asked
/// for) is a failure, as is a redirect that may not be followed. When `cancel` fires the request ends
/// soon with a failure; ask the token to tell it from the host's.
pub async fn follow(
    client: &HttpClient,
    request: Get,
    gate: &dyn HopGate,
    cancel: &CancellationToken,
) -> Result<Answer, Failure> {
    let config = client.config();
    let mut url = request.url.clone();
    url.set_fragment(None);
    judge(&url, config, FailureClass::BadUrl)?;
    let mut chain = Chain::new(&url);
    let mut hops = Vec::new();
    loop {
        let pass = gate.enter(&url, cancel).await?;
        let (response, mut pass) = send(client, &request, &url, pass, cancel).await?;
        let status = response.status().as_u16();
        pass.answered(status).await;
        let shown = SafeUrl::new(&url);
        hops.push(Hop {
            url: shown.to_string(),
            status,
        });
        if !is_redirect(status) {
            return conclude(client, &request, response, pass, hops, cancel).await;
        }
        let headers = response.headers().clone();
        drop(response);
        pass.finish(HopVerdict::Answered { status }).await;
        wait_as_asked(&headers, &shown, cancel).await?;
        url = chain.next(&url, &headers, config)?;
    }
}

/// Sends one hop. On a failure the pass is given back with the blame.
async fn send(
    client: &HttpClient,
    request: &Get,
    url: &Url,
    pass: Box<dyn HopPass>,
    cancel: &CancellationToken,
) -> Result<(Response, Box<dyn HopPass>), Failure> {
    let config = client.config();
    let shown = SafeUrl::new(url);
    let lost = pass.lost();
    let sending = client
        .inner()
        .get(url.clone())
        .headers(request.headers.clone())
        .header(ACCEPT, HeaderValue::from_static(request.accept))
        .send();
    let limit = config.connect_timeout + config.first_byte_timeout;
    let sent = tokio::select! {
        biased;
        () = cancel.cancelled() => Err((interrupted(&shown), HopVerdict::Unknown { status: None })),
        () = lost.cancelled() => Err((slot_lost(&shown), HopVerdict::Unknown { status: None })),
        sent = timeout(limit, sending) => match sent {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(blame(classify::error(&error, Phase::Request, &shown))),
            Err(_) => {
                let problem = format!("{shown}: no answer within {limit:?}");
                Err(blame(Failure::new(FailureClass::Timeout, problem)))
            }
        },
    };
    match sent {
        Ok(response) => Ok((response, pass)),
        Err((failure, verdict)) => {
            pass.finish(verdict).await;
            Err(failure)
        }
    }
}

/// What a request without an answer says about the host.
fn blame(failure: Failure) -> (Failure, HopVerdict) {
    let verdict = match failure.class {
        FailureClass::Connect | FailureClass::Timeout => HopVerdict::Strained { status: None },
        // A wrong name, certificate or answer is not a matter of load.
        _ => HopVerdict::Unknown { status: None },
    };
    (failure, verdict)
}

/// A redirect may ask to wait before it is followed (RFC 9110, section 10.2.3).
async fn wait_as_asked(
    headers: &HeaderMap,
    shown: &SafeUrl,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let Some(wait) = retry_after::parse(headers, Utc::now()) else {
        return Ok(());
    };
    if wait > LONGEST_REDIRECT_WAIT {
        let problem = format!("{shown}: the redirect asks to wait {} s", wait.as_secs());
        let failure = Failure::new(FailureClass::RateLimited, problem);
        return Err(failure.with_retry_after(Some(wait)));
    }
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(interrupted(shown)),
        () = tokio::time::sleep(wait) => Ok(()),
    }
}

/// Makes an answer of the last hop, or says why it is none.
async fn conclude(
    client: &HttpClient,
    request: &Get,
    response: Response,
    pass: Box<dyn HopPass>,
    hops: Vec<Hop>,
    cancel: &CancellationToken,
) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let now = Utc::now();
    if let Err(failure) = check(request, status, &headers, &SafeUrl::new(response.url())) {
        drop(response);
        pass.finish(classify::verdict(status, &headers, now)).await;
        return Err(failure);
    }
    let final_url = response.url().clone();
    let rule = client.config().stall.clone();
    Ok(Answer {
        status,
        headers,
        final_url,
        hops,
        body: BodyStream::new(response, pass, rule, cancel.clone()),
    })
}

fn check(request: &Get, status: u16, headers: &HeaderMap, url: &SafeUrl) -> Result<(), Failure> {
    let refuse = |problem: String| {
        Err(Failure::new(
            FailureClass::Protocol,
            format!("{url}: {problem}"),
        ))
    };
    match status {
        206 => return refuse("a part of the file, though all of it was asked for".to_owned()),
        200..=299 => {}
        304 if request.is_conditional() => {}
        _ => return Err(classify::status(status, headers, Utc::now(), url)),
    }
    // Servers write nonsense here (`utf-8`, `none`); only a real coding changes the bytes.
    let coding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let coding = coding.unwrap_or_default().to_ascii_lowercase();
    match coding.as_slice() {
        b"gzip" | b"x-gzip" | b"deflate" | b"br" | b"zstd" | b"compress" => {
            refuse("the body is compressed, though that was not asked for".to_owned())
        }
        _ => Ok(()),
    }
}

/// Reads a whole body of at most `cap` bytes; a larger one is [`FailureClass::TooLarge`].
pub async fn read_to_vec(mut answer: Answer, cap: usize) -> Result<Vec<u8>, Failure> {
    let too_large = |answer: &Answer| {
        let shown = SafeUrl::new(&answer.final_url);
        Failure::new(
            FailureClass::TooLarge,
            format!("{shown}: larger than {cap} bytes"),
        )
    };
    if answer
        .body
        .expected()
        .is_some_and(|length| length > cap as u64)
    {
        answer.body.close().await;
        return Err(too_large(&answer));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.body.next().await? {
        if bytes.len() + chunk.len() > cap {
            answer.body.close().await;
            return Err(too_large(&answer));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(status: u16, coding: &'static str, conditional: bool) -> Option<FailureClass> {
        let mut request = Get::try_new("https://a.example/", "*/*").unwrap();
        if conditional {
            request
                .headers
                .insert(IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        let url = SafeUrl::new(&request.url);
        check(&request, status, &headers, &url)
            .err()
            .map(|failure| failure.class)
    }

    #[test]
    fn only_what_was_asked_for_is_a_success() {
        assert_eq!(checked(200, "identity", false), None);
        assert_eq!(checked(200, "utf-8", false), None);
        assert_eq!(checked(200, "GZIP", false), Some(FailureClass::Protocol));
        assert_eq!(checked(206, "", false), Some(FailureClass::Protocol));
        assert_eq!(checked(304, "", false), Some(FailureClass::Protocol));
        assert_eq!(checked(304, "", true), None);
        assert_eq!(checked(410, "", false), Some(FailureClass::Gone));
    }

    #[test]
    fn a_request_does_not_show_its_password() {
        let request = Get::try_new(" https://me:pw@a.example/?key=k ", "*/*").unwrap();
        let shown = format!("{request:?}");
        assert!(!shown.contains("pw") && !shown.contains("=k"), "{shown}");
        let failure = Get::try_new("p w@a.example", "*/*")
            .map(|_| ())
            .unwrap_err();
        assert_eq!(failure.class, FailureClass::BadUrl);
    }
}
