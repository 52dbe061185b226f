//! Whatever a server's headers say: a redirect ends in a judged URL or an error without secrets, and a
//! wait is never longer than it was asked for.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use podrun::runtime::http::header::{HeaderMap, HeaderName, HeaderValue};
use podrun::runtime::http::redirect::{Chain, judge};
use podrun::runtime::http::{HttpClient, HttpConfig, SafeUrl, retry_after};
use url::Url;

static CLIENT: OnceLock<HttpClient> = OnceLock::new();

/// `name: value` lines.
fn headers(bytes: &[u8]) -> HeaderMap {
    let lines = bytes.split(|byte| *byte == b'\n').take(32);
    let pairs = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii()).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value);
    }
    headers
}

fuzz_target!(|bytes: &[u8]| {
    let client = CLIENT.get_or_init(|| HttpClient::try_new(HttpConfig::default()).expect("a client"));
    let mut url = Url::parse("https://me:hunter2@feeds.example.com/a/b?c=d").expect("a URL");
    let mut chain = Chain::new(&url, client);
    let is_given = bytes.windows(7).any(|part| part == b"hunter2");
    for answer in bytes.split(|byte| *byte == 0).take(16) {
        let headers = headers(answer);
        let _ = retry_after::parse(&headers, chrono::DateTime::UNIX_EPOCH);
        match chain.next(&url, &headers) {
            Ok(next) => {
                assert!(judge(&next, client.guard(), podrun::domain::FailureClass::BadUrl).is_ok());
                assert!(matches!(next.scheme(), "http" | "https"));
                let _ = chain.cookies(&next);
                url = next;
            }
            // What a server writes itself is no secret of ours.
            Err(failure) => assert!(is_given || !failure.message.contains("hunter2"), "{failure}"),
        }
    }
    let shown = SafeUrl::from_text(&String::from_utf8_lossy(bytes)).to_string();
    assert!(!shown.contains(['\n', '\r']));
});
