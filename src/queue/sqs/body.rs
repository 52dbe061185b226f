//! Texts as SQS takes them: only what XML 1.0 may hold.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// The message attribute that says how a body is written, where it is not written as it is.
pub(super) const ENCODING: &str = "encoding";
const BASE64: &str = "base64";
/// Longest reason that is kept with a dead message, in bytes.
const MAX_REASON: usize = 1024;

/// A body as it is sent, and the [`ENCODING`] to say so with.
pub(super) fn encode(body: &str) -> (Cow<'_, str>, Option<&'static str>) {
    if body.chars().all(is_allowed) {
        return (Cow::Borrowed(body), None);
    }
    (Cow::Owned(BASE64_STANDARD.encode(body)), Some(BASE64))
}

/// The body that was sent. One that cannot be decoded is passed on as it is: whoever reads it reports
/// it as the unreadable message that it is.
pub(super) fn decode(body: String, encoding: Option<&str>) -> String {
    if encoding != Some(BASE64) {
        return body;
    }
    let decoded = BASE64_STANDARD.decode(&body).ok();
    decoded
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or(body)
}

/// A text for people as a message attribute, which may not be empty.
pub(super) fn printable(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_REASON);
    let allowed = |c| {
        if is_allowed(c) {
            c
        } else {
            char::REPLACEMENT_CHARACTER
        }
    };
    match &text[..end] {
        "" => "(no reason given)".to_owned(),
        text => text.chars().map(allowed).collect(),
    }
}

/// The characters of the API's `SendMessage`.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_survives() {
        for (body, is_plain) in [
            ("{\"title\":\"\u{1f399} ü\"}", true),
            ("{\"title\":\"\u{ffff}\"}", false),
            ("\u{0}\u{fffe}", false),
        ] {
            let (sent, encoding) = encode(body);
            assert_eq!(encoding.is_none(), is_plain, "{body:?}");
            assert!(sent.chars().all(is_allowed));
            assert_eq!(decode(sent.into_owned(), encoding), body);
        }
        assert_eq!(decode("%".to_owned(), Some(BASE64)), "%");
        assert_eq!(decode("YQ==".to_owned(), Some("gzip")), "YQ==");
    }

    #[test]
    fn a_reason_is_short_allowed_and_never_empty() {
        assert_eq!(printable(""), "(no reason given)");
        assert_eq!(printable("a\u{0}b"), "a\u{fffd}b");
        let long = printable(&"ü".repeat(5000));
        assert_eq!(long.len(), MAX_REASON);
    }
}
