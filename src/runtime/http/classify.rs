//! The one classifier: from what the network did to what it means.

use std::error::Error;
use std::io;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

use super::gate::HopVerdict;
use super::guard::Refused;
use super::resolve::LookupError;
use super::retry_after;
use super::safe_url::{SafeUrl, escape};
use crate::domain::{Failure, FailureClass};

/// How far a request had come when it failed: the same reset is "no connection" before the headers
/// and "half a body" after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Until the answer's headers are in.
    Request,
    /// While its body is read.
    Body,
}

/// The failure behind a client error. The message names the innermost cause, which is the one that
/// says something, and never the error's own URL, which is not redacted.
pub fn error(error: &reqwest::Error, phase: Phase, url: &SafeUrl) -> Failure {
    let class = class_of(error, phase);
    let what = match phase {
        Phase::Request => "no answer",
        Phase::Body => "the body broke off",
    };
    Failure::new(class, format!("{url}: {what}: {}", innermost(error)))
}

fn class_of(error: &reqwest::Error, phase: Phase) -> FailureClass {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(class) = class_of_cause(found, phase) {
            return class;
        }
        cause = found.source();
    }
    if error.is_dns() {
        FailureClass::Dns
    } else if error.is_timeout() {
        FailureClass::Timeout
    } else if error.is_connect() {
        FailureClass::Connect
    } else if error.is_builder() {
        // The client could not make a request of it: no host, or a character that HTTP cannot carry.
        FailureClass::BadUrl
    } else {
        FailureClass::Protocol
    }
}

fn class_of_cause(cause: &(dyn Error + 'static), phase: Phase) -> Option<FailureClass> {
    if let Some(error) = cause.downcast_ref::<LookupError>() {
        return Some(match error {
            LookupError::NoSuchName => FailureClass::NoSuchHost,
            LookupError::Failed(_) => FailureClass::Dns,
        });
    }
    if cause.is::<Refused>() {
        // The name leads somewhere that may not be asked; it does so tomorrow.
        return Some(FailureClass::BadUrl);
    }
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(class_of_tls(error, phase));
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return class_of_hyper(error, phase);
    }
    let error = cause.downcast_ref::<io::Error>()?;
    // An io::Error skips what it wraps in its own source chain.
    match error
        .get_ref()
        .and_then(|inner| class_of_cause(inner, phase))
    {
        Some(class) => Some(class),
        None => class_of_io(error.kind(), phase),
    }
}

fn class_of_tls(error: &rustls::Error, phase: Phase) -> FailureClass {
    use rustls::AlertDescription::{CloseNotify, InternalError, UserCanceled};
    match error {
        // The handshake is long over: the record layer got bytes it cannot read.
        _ if phase == Phase::Body => FailureClass::Protocol,
        // The host's front gave up on us, not on our certificate store: it is overloaded.
        rustls::Error::AlertReceived(CloseNotify | InternalError | UserCanceled) => {
            FailureClass::Connect
        }
        // Expired, self-signed, for another name, or no TLS at all on that port.
        _ => FailureClass::Tls,
    }
}

fn class_of_hyper(error: &hyper::Error, phase: Phase) -> Option<FailureClass> {
    if error.is_parse() {
        // Headers that break HTTP, or more than the client's 400 KiB of them.
        return Some(FailureClass::Protocol);
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        // The connection closed in mid-answer.
        return Some(cut(phase));
    }
    // Its cause says more.
    None
}

fn class_of_io(kind: io::ErrorKind, phase: Phase) -> Option<FailureClass> {
    use io::ErrorKind as Kind;
    match kind {
        Kind::TimedOut => Some(FailureClass::Timeout),
        // Resets and early ends cut whatever was under way. "Early end" includes a missing last
        // chunk and fewer bytes than Content-Length says.
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::UnexpectedEof => Some(cut(phase)),
        Kind::ConnectionRefused
        | Kind::NotConnected
        | Kind::AddrNotAvailable
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown => Some(FailureClass::Connect),
        // A chunk size that is no number.
        Kind::InvalidData | Kind::InvalidInput if phase == Phase::Body => {
            Some(FailureClass::Protocol)
        }
        _ => None,
    }
}

fn cut(phase: Phase) -> FailureClass {
    match phase {
        Phase::Request => FailureClass::Connect,
        Phase::Body => FailureClass::Truncated,
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut text = None;
    let mut cause = error.source();
    while let Some(found) = cause {
        text = Some(found);
        cause = found.source();
    }
    match text {
        Some(found) => escape(&found.to_string()),
        None => "the request cannot be made".to_owned(),
    }
}

/// The failure behind a status that is no success.
pub fn status(status: u16, headers: &HeaderMap, now: DateTime<Utc>, url: &SafeUrl) -> Failure {
    let retry_after = retry_after::parse(headers, now);
    let class = match (status, retry_after) {
        // A server that says when to come back is not broken but busy.
        (503, Some(_)) => FailureClass::RateLimited,
        _ => FailureClass::from_status(status),
    };
    Failure::new(class, format!("{url}: the server answered {status}"))
        .with_retry_after(retry_after)
}

/// What a status says about the host's load.
pub fn verdict(status: u16, headers: &HeaderMap, now: DateTime<Utc>) -> HopVerdict {
    match status {
        429 | 503 => HopVerdict::Throttled {
            status,
            retry_after: retry_after::parse(headers, now),
        },
        // The statuses of overloaded fronts; 501 and 505 say something about the request.
        418 | 500 | 502 | 504 | 520..=530 | 599 => HopVerdict::Strained {
            status: Some(status),
        },
        _ => HopVerdict::Answered { status },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderValue, RETRY_AFTER};
    use std::time::Duration;

    fn answered(code: u16, retry_after: Option<&'static str>) -> Failure {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        }
        let url = SafeUrl::from_text("https://a.example/x?token=t");
        status(code, &headers, DateTime::UNIX_EPOCH, &url)
    }

    #[test]
    fn a_busy_server_is_rate_limited_only_where_it_says_until_when() {
        assert_eq!(answered(503, None).class, FailureClass::ServerError);
        assert_eq!(answered(503, Some("soon")).class, FailureClass::ServerError);
        let busy = answered(503, Some("9"));
        assert_eq!(busy.class, FailureClass::RateLimited);
        assert_eq!(busy.retry_after, Some(Duration::from_secs(9)));
        assert_eq!(answered(429, None).class, FailureClass::RateLimited);
        assert_eq!(
            answered(404, None).message,
            "https://a.example/x?token=REDACTED: the server answered 404"
        );
    }

    #[test]
    fn a_reset_means_what_it_interrupted() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(
            class_of_cause(&reset, Phase::Request),
            Some(FailureClass::Connect)
        );
        assert_eq!(
            class_of_cause(&reset, Phase::Body),
            Some(FailureClass::Truncated)
        );
    }

    #[test]
    fn what_an_io_error_wraps_is_found() {
        let bad_certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let wrapped = io::Error::other(bad_certificate);
        assert_eq!(
            class_of_cause(&wrapped, Phase::Request),
            Some(FailureClass::Tls)
        );
        let busy = rustls::Error::AlertReceived(rustls::AlertDescription::InternalError);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, busy);
        assert_eq!(
            class_of_cause(&wrapped, Phase::Request),
            Some(FailureClass::Connect)
        );
    }

    #[test]
    fn verdicts_tell_load_from_refusal() {
        let verdict = |status| verdict(status, &HeaderMap::new(), DateTime::UNIX_EPOCH);
        assert_eq!(verdict(404), HopVerdict::Answered { status: 404 });
        assert_eq!(verdict(302), HopVerdict::Answered { status: 302 });
        assert_eq!(verdict(502), HopVerdict::Strained { status: Some(502) });
        // One file that may not be had; a wall's 403 is found by its looks.
        assert_eq!(verdict(403), HopVerdict::Answered { status: 403 });
        assert_eq!(
            verdict(429),
            HopVerdict::Throttled {
                status: 429,
                retry_after: None
            }
        );
    }
}
