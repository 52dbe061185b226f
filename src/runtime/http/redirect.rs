//! Where a redirect leads, and whether it may be followed. Pure: no request is made here.

use std::collections::HashMap;

use reqwest::header::{HeaderMap, HeaderValue, LOCATION};
use url::Url;

use super::client::HttpClient;
use super::config::HttpConfig;
use super::cookies::Jar;
use super::guard::Guard;
use super::safe_url::{SafeUrl, escape};
use crate::domain::{Failure, FailureClass};

/// Whether `status` sends the client elsewhere. 300, 305 and 306 do not: they have no one target.
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Judges a URL on its own; what is wrong with it is a failure of `class`.
pub fn judge(url: &Url, guard: &Guard, class: FailureClass) -> Result<(), Failure> {
    let refuse = |refused| Failure::new(class, format!("{}: {refused}", SafeUrl::new(url)));
    guard.judge_url(url).map_err(refuse)
}

/// How often one URL may be asked within a chain: a second time if its cookies changed meanwhile.
const VISITS: usize = 2;

/// The redirects of one request so far, and the cookies that they set.
#[derive(Debug)]
pub struct Chain<'a> {
    config: &'a HttpConfig,
    guard: &'a Guard,
    jar: Jar,
    redirects: usize,
    /// With which cookies each URL was asked.
    seen: HashMap<Url, Vec<Option<HeaderValue>>>,
}

impl<'a> Chain<'a> {
    /// Begins with the first URL.
    pub fn new(first: &Url, client: &'a HttpClient) -> Self {
        Self {
            config: client.config(),
            guard: client.guard(),
            jar: Jar::default(),
            redirects: 0,
            seen: HashMap::from([(first.clone(), vec![None])]),
        }
    }

    /// The `Cookie` header for a request to `url`: what earlier hops set for it.
    pub fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        self.jar.header(url)
    }

    /// The next URL after `from` answered a redirect with `headers`. Everything that is wrong with it
    /// is [`FailureClass::Redirect`].
    pub fn next(&mut self, from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
        let shown = SafeUrl::new(from);
        let refuse =
            |problem: String| Failure::new(FailureClass::Redirect, format!("{shown}: {problem}"));
        let target = target(from, headers).map_err(&refuse)?;
        let shown_target = SafeUrl::new(&target);
        judge(&target, self.guard, FailureClass::Redirect)?;
        if brings_user_info(from, &target) {
            return Err(refuse(format!(
                "the redirect to {shown_target} carries a password"
            )));
        }
        let is_downgrade = from.scheme() == "https" && target.scheme() == "http";
        if is_downgrade && !self.config.allow_https_downgrade {
            return Err(refuse(format!(
                "the redirect to {shown_target} leaves https; set http.allow_https_downgrade to follow it"
            )));
        }
        self.jar.take(from, headers);
        if !self.is_new(&target) {
            return Err(refuse(format!("redirect loop at {shown_target}")));
        }
        self.redirects += 1;
        if self.redirects > self.config.max_redirects {
            return Err(refuse(format!(
                "more than {} redirects",
                self.config.max_redirects
            )));
        }
        Ok(target)
    }

    /// Whether asking `target` now may give another answer than before.
    fn is_new(&mut self, target: &Url) -> bool {
        let cookies = self.jar.header(target);
        let visits = self.seen.entry(target.clone()).or_default();
        let is_new = visits.len() < VISITS && !visits.contains(&cookies);
        visits.push(cookies);
        is_new
    }
}

/// The absolute target of `Location`, without its fragment. Raw UTF-8 is taken as browsers do.
fn target(from: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = headers
        .get(LOCATION)
        .map(|value| value.as_bytes().trim_ascii());
    let location = match location {
        None | Some([]) => return Err("a redirect without a target".to_owned()),
        Some(bytes) => std::str::from_utf8(bytes)
            .map_err(|_| "a redirect whose target is no text".to_owned())?,
    };
    let mut target = from.join(location).map_err(|error| {
        let shown = SafeUrl::from_text(location);
        format!(
            "a redirect to {shown}, which is no URL: {}",
            escape(&error.to_string())
        )
    })?;
    target.set_fragment(None);
    Ok(target)
}

/// Whether `target` names a user that `from` on the same host did not: a relative target inherits
/// the operator's own user info, anything else would make the client log in somewhere.
fn brings_user_info(from: &Url, target: &Url) -> bool {
    let user_info = |url: &Url| (url.username().to_owned(), url.password().map(str::to_owned));
    let has_any = !target.username().is_empty() || target.password().is_some();
    let is_inherited = from.origin() == target.origin() && user_info(from) == user_info(target);
    has_any && !is_inherited
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn step(from: &str, location: &[u8]) -> Result<String, String> {
        step_with(from, location, &HttpConfig::default())
    }

    fn step_with(from: &str, location: &[u8], config: &HttpConfig) -> Result<String, String> {
        let from = Url::parse(from).unwrap();
        let client = HttpClient::try_new(config.clone()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_bytes(location).unwrap());
        match Chain::new(&from, &client).next(&from, &headers) {
            Ok(url) => Ok(url.to_string()),
            Err(failure) => {
                assert_eq!(failure.class, FailureClass::Redirect);
                Err(failure.message)
            }
        }
    }

    #[test]
    fn case_090_targets_are_resolved_as_browsers_do() {
        let from = "https://a.example/x/y?q";
        for (location, target) in [
            (&b"https://b.example/z"[..], "https://b.example/z"),
            (b"z", "https://a.example/x/z"),
            (b"/z#part", "https://a.example/z"),
            (b"//b.example/z", "https://b.example/z"),
            (b" /a b ", "https://a.example/a%20b"),
            // A host that lost its slash is another host; the name service decides.
            (b"https://a.examplepath/z", "https://a.examplepath/z"),
            ("/ü".as_bytes(), "https://a.example/%C3%BC"),
        ] {
            assert_eq!(step(from, location).unwrap(), target);
        }
        let inherited = step("https://me:pw@a.example/x", b"/z").unwrap();
        assert_eq!(inherited, "https://me:pw@a.example/z");
    }

    #[test]
    fn case_090_what_may_not_be_followed_is_named_without_secrets() {
        let from = "https://a.example/x?token=t";
        for (location, problem) in [
            (&b""[..], "without a target"),
            (b"\xff\xfe", "is no text"),
            (b"https://", "is no URL"),
            (b"file:///etc/passwd", "only http and https"),
            (b"gopher://a.example/", "only http and https"),
            (b"s3://bucket/key", "only http and https"),
            (b"https://a.example:22/", "port 22"),
            (b"https://localhost./", "local name"),
            (b"http://a.example/z", "leaves https"),
            (b"https://me:pw@b.example/", "carries a password"),
            (b"https://169.254.169.254/", "no public address"),
            (b"/x?token=t", "redirect loop"),
        ] {
            let message = step(from, location).unwrap_err();
            assert!(message.contains(problem), "{message}");
            assert!(
                !message.contains("=t") && !message.contains("pw"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_downgrade_is_followed_where_it_is_allowed() {
        let config = HttpConfig {
            allow_https_downgrade: true,
            ..HttpConfig::default()
        };
        assert!(step_with("https://a.example/", b"http://b.example/", &config).is_ok());
    }

    #[test]
    fn the_thirteenth_redirect_is_refused() {
        let client = HttpClient::try_new(HttpConfig::default()).unwrap();
        let mut url = Url::parse("https://a.example/0").unwrap();
        let mut chain = Chain::new(&url, &client);
        let mut followed = 0;
        let failure = loop {
            let mut headers = HeaderMap::new();
            let location = HeaderValue::from_str(&format!("/{}", followed + 1)).unwrap();
            headers.insert(LOCATION, location);
            match chain.next(&url, &headers) {
                Ok(next) => url = next,
                Err(failure) => break failure,
            }
            followed += 1;
        };
        assert_eq!(followed, 12);
        assert!(failure.message.contains("more than 12 redirects"));
    }
}
