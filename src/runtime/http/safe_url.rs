//! URLs as they may be shown: in messages, events, logs and reports.

use std::fmt;

use url::Url;

/// A URL without its secrets.
///
/// Private feeds carry their password as user info, and content networks sign their redirects: who
/// has such a URL has the audio. Shown are scheme, host, path and the harmless part of the query;
/// user info and fragment are dropped, the values of parameters that sign or identify become
/// `REDACTED`, control characters are escaped, and what is left is cut at 300 characters. The
/// secrets are gone when the value is built, so that `Debug` shows no more than `Display` does.
#[derive(Clone, PartialEq, Eq)]
pub struct SafeUrl(String);

/// Longest text shown, in characters.
const MAX_SHOWN: usize = 300;

/// Shown in place of a secret.
const REDACTED: &str = "REDACTED";

/// Parameter names that carry secrets, in lower case and without `-` and `_`.
const SECRET_NAMES: [&str; 17] = [
    "auth",
    "code",
    "expires",
    "exp",
    "hash",
    "hmac",
    "jwt",
    "key",
    "keypairid",
    "md5",
    "pass",
    "policy",
    "pw",
    "pwd",
    "session",
    "sid",
    "sig",
];

/// Parts of parameter names that carry secrets, in the same form.
const SECRET_PARTS: [&str; 10] = [
    "token",
    "secret",
    "passw",
    "signature",
    "credential",
    "apikey",
    "accesskey",
    "xamz",
    "xgoog",
    "hdn",
];

/// A parameter without a name is shown up to this length; a longer one may be a key.
const MAX_NAMELESS: usize = 16;

impl SafeUrl {
    /// The showable part of `url`.
    pub fn new(url: &Url) -> Self {
        if url.cannot_be_a_base() {
            // `user:password@host` parses as a URL too, with `user` as its scheme.
            return Self::from_opaque(url.as_str());
        }
        let mut shown = url.clone();
        // Fails only for URLs that cannot have user info.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_fragment(None);
        shown.set_query(None);
        let mut text = shown.to_string();
        if let Some(query) = url.query() {
            text.push('?');
            text.push_str(&redact_query(query));
        }
        Self(escape(&text))
    }

    /// The showable part of a text that should be a URL; of one that is none, what comes before its
    /// query, without anything that could be user info.
    pub fn from_text(text: &str) -> Self {
        if let Ok(url) = Url::parse(text) {
            return Self::new(&url);
        }
        Self::from_opaque(text)
    }

    fn from_opaque(text: &str) -> Self {
        let is_plain = |scheme: &&str| !scheme.contains(['@', '?', '#']);
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        // First of all: a password may have any of the other signs in it.
        let (scheme, rest) = match text.rsplit_once('@') {
            Some((_, tail)) => (scheme.filter(is_plain), tail),
            None => (None, text),
        };
        let head = rest.split(['?', '#']).next().unwrap_or_default();
        Self(match scheme {
            Some(scheme) => escape(&format!("{scheme}://{head}")),
            None => escape(head),
        })
    }

    /// Whether `url` carries a signature, a token or another secret in its query: what it names can be
    /// had for a while only.
    pub fn is_signed(url: &Url) -> bool {
        url.query()
            .is_some_and(|query| redact_query(query) != query)
    }

    /// The text as shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn redact_query(query: &str) -> String {
    // Some programs still part parameters by semicolons.
    let parts = query.split_inclusive(['&', ';']).map(|part| {
        let end = part.trim_end_matches(['&', ';']).len();
        let (parameter, separator) = part.split_at(end);
        redact_parameter(parameter) + separator
    });
    parts.collect()
}

fn redact_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
        None if parameter.len() > MAX_NAMELESS => REDACTED.to_owned(),
        _ => parameter.to_owned(),
    }
}

/// Whether a query's `name=value` is one whose value is never shown.
pub(crate) fn is_secret_parameter(parameter: &str) -> bool {
    let name = parameter.split_once('=').map(|(name, _)| name);
    name.is_some_and(is_secret)
}

fn is_secret(name: &str) -> bool {
    let name: String = percent_encoding::percent_decode_str(name)
        .decode_utf8_lossy()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// `text` on one line without control and direction characters, cut at [`MAX_SHOWN`].
pub(crate) fn escape(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == MAX_SHOWN {
            shown.push('…');
            break;
        }
        // Right-to-left marks and overrides can make a terminal show another host than the real one.
        let is_direction = matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || is_direction {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

impl From<&Url> for SafeUrl {
    fn from(url: &Url) -> Self {
        Self::new(url)
    }
}

impl fmt::Display for SafeUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for SafeUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        SafeUrl::from_text(text).to_string()
    }

    #[test]
    fn user_info_and_fragment_are_dropped() {
        assert_eq!(
            shown("https://me:pw@a.example/f.xml#x"),
            "https://a.example/f.xml"
        );
        assert_eq!(shown("https://me@a.example/"), "https://a.example/");
    }

    #[test]
    fn signatures_are_hidden_and_the_rest_stays() {
        let url = "https://a.example/e.mp3?updated=17&X-Amz-Signature=s&Policy=p&Key-Pair-Id=k\
                   &Expires=9&auth_token=t&%74oken=u&sig=v&api-key=w&h=1";
        assert_eq!(
            shown(url),
            "https://a.example/e.mp3?updated=17&X-Amz-Signature=REDACTED&Policy=REDACTED\
             &Key-Pair-Id=REDACTED&Expires=REDACTED&auth_token=REDACTED&%74oken=REDACTED\
             &sig=REDACTED&api-key=REDACTED&h=1"
        );
        assert_eq!(
            shown("https://a.example/e.mp3?md5=m;pw=p;h=1&code=c;"),
            "https://a.example/e.mp3?md5=REDACTED;pw=REDACTED;h=1&code=REDACTED;"
        );
        let bare = shown("https://a.example/?0123456789abcdef0123");
        assert_eq!(bare, "https://a.example/?REDACTED");
    }

    #[test]
    fn signed_urls_are_known_by_their_secrets() {
        let is_signed = |text| SafeUrl::is_signed(&Url::parse(text).unwrap());
        assert!(is_signed("https://a.example/e.mp3?Expires=9&Signature=s"));
        assert!(is_signed("https://a.example/e.mp3?X-Amz-Credential=c"));
        assert!(!is_signed("https://a.example/e.mp3?updated=17"));
        assert!(!is_signed("https://a.example/e.mp3"));
    }

    #[test]
    fn debug_shows_no_more_than_display() {
        let url = SafeUrl::from_text("https://me:pw@a.example/?token=t");
        assert_eq!(format!("{url:?}"), url.to_string());
    }

    #[test]
    fn texts_that_are_no_url_keep_their_secrets_too() {
        assert_eq!(
            shown("ht tp://me:pw@a.example/x?token=t"),
            "ht tp://a.example/x"
        );
        assert_eq!(shown("me:p w@a.example"), "a.example");
        assert_eq!(
            shown("ht tp://me:p?w#1@a.example/x?token=t"),
            "ht tp://a.example/x"
        );
        assert_eq!(shown("me:p?w@ht tp://a.example"), "ht%20tp://a.example");
    }

    #[test]
    fn nothing_shown_moves_the_cursor_or_turns_the_text() {
        assert_eq!(
            shown("no\u{1b}[2Jurl\r\n\u{202e}gpj"),
            "no\\u{1b}[2Jurl\\r\\n\\u{202e}gpj"
        );
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_SHOWN + 1);
    }
}
