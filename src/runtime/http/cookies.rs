//! Cookies of one chain of redirects.
//!
//! Some hosts send a client to itself with a cookie and refuse it without. What they set is sent
//! back within the chain, by the rules of RFC 6265 for host, domain, path and `Secure`, and is
//! forgotten at its end: no host can tell two requests of this program for each other's.

use cookie_store::{Cookie, CookieDomain, CookieStore};
use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

/// Most cookies taken from one answer.
const MAX_AN_ANSWER: usize = 20;
/// Longest `Set-Cookie` that is looked at; RFC 6265 asks for 4096.
const MAX_LENGTH: usize = 4096;
/// Longest `Cookie` that is sent: servers refuse longer headers.
const MAX_SENT: usize = 8192;

/// The cookies of one chain.
#[derive(Debug, Default)]
pub(super) struct Jar {
    store: CookieStore,
}

impl Jar {
    /// Takes what the answer of `url` sets.
    pub(super) fn take(&mut self, url: &Url, headers: &HeaderMap) {
        for value in headers.get_all(SET_COOKIE).iter().take(MAX_AN_ANSWER) {
            let text = value.to_str().ok().filter(|text| text.len() <= MAX_LENGTH);
            let cookie = text.and_then(|text| Cookie::parse(text.to_owned(), url).ok());
            if let Some(cookie) = cookie.filter(|cookie| !is_for_everybody(cookie)) {
                // Refused by the store: not for this host, and so for nobody.
                let _ = self.store.insert(cookie.into_owned(), url);
            }
        }
    }

    /// The `Cookie` header for a request to `url`, in one order for one set of cookies.
    pub(super) fn header(&self, url: &Url) -> Option<HeaderValue> {
        let mut pairs: Vec<_> = self
            .store
            .get_request_values(url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.sort_unstable();
        let text = pairs.join("; ");
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        (1..=MAX_SENT).contains(&text.len()).then_some(value)
    }
}

/// Whether it is set for a public suffix, such as `co.uk`, and would go to strangers.
fn is_for_everybody(cookie: &Cookie<'_>) -> bool {
    match &cookie.domain {
        CookieDomain::Suffix(domain) => psl::domain_str(domain).is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(from: &str, set: &[&str], to: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in set {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        let mut jar = Jar::default();
        jar.take(&Url::parse(from).unwrap(), &headers);
        let header = jar.header(&Url::parse(to).unwrap())?;
        Some(header.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_go_back_to_whom_they_belong() {
        let from = "https://a.example.com/x/y";
        let there = |set: &str, to: &str| sent(from, &[set], to).is_some();
        assert_eq!(
            sent(from, &["b=2; Path=/", "a=1"], "https://a.example.com/x/z").as_deref(),
            Some("a=1; b=2")
        );
        assert!(!there("a=1", "https://b.example.com/x/y"), "another host");
        assert!(there(
            "a=1; Domain=example.com",
            "https://b.example.com/x/y"
        ));
        assert!(!there("a=1; Domain=other.com", "https://other.com/x/y"));
        assert!(!there("a=1; Domain=com", "https://other.com/x/y"));
        assert!(!there("a=1; Secure", "http://a.example.com/x/y"));
        assert!(!there("a=1; Path=/q", "https://a.example.com/x/y"));
        assert!(!there("a=1; Max-Age=0", "https://a.example.com/x/y"));
    }

    #[test]
    fn a_flood_of_cookies_is_bounded() {
        let many: Vec<_> = (0..100)
            .map(|n| format!("c{n}={}", "v".repeat(300)))
            .collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let url = "https://a.example.com/";
        let header = sent(url, &many, url).unwrap();
        assert_eq!(header.matches('=').count(), MAX_AN_ANSWER);
        let long = format!("c={}", "v".repeat(5000));
        assert_eq!(sent(url, &[&long], url), None);
    }
}
