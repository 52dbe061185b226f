//! Where a redirect leads, and whether it may be followed. Pure: no request is made here.

use std::collections::HashSet;

use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::address::judge_literal;
use super::config::HttpConfig;
use super::safe_url::{SafeUrl, escape};
use crate::domain::{Failure, FailureClass};

/// Whether `status` sends the client elsewhere. 300, 305 and 306 do not: they have no one target.
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Judges a URL on its own: `http` or `https`, a host, and no address that may not be asked.
pub fn judge(url: &Url, config: &HttpConfig, class: FailureClass) -> Result<(), Failure> {
    let shown = SafeUrl::new(url);
    if !matches!(url.scheme(), "http" | "https") {
        let problem = format!("{shown}: only http and https can be fetched");
        return Err(Failure::new(class, problem));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Failure::new(class, format!("{shown}: has no host")));
    }
    if config.allow_private_addresses {
        return Ok(());
    }
    judge_literal(url).map_err(|refused| Failure::new(class, format!("{shown}: {refused}")))
}

/// The redirects of one request so far.
#[derive(Debug)]
pub struct Chain {
    seen: HashSet<Url>,
}

impl Chain {
    /// Begins with the first URL.
    pub fn new(first: &Url) -> Self {
        Self {
            seen: HashSet::from([first.clone()]),
        }
    }

    /// The next URL after `from` answered a redirect with `headers`. Everything that is wrong with it
    /// is [`FailureClass::Redirect`].
    pub fn next(
        &mut self,
        from: &Url,
        headers: &HeaderMap,
        config: &HttpConfig,
    ) -> Result<Url, Failure> {
        let shown = SafeUrl::new(from);
        let refuse =
            |problem: String| Failure::new(FailureClass::Redirect, format!("{shown}: {problem}"));
        let target = target(from, headers).map_err(&refuse)?;
        let shown_target = SafeUrl::new(&target);
        judge(&target, config, FailureClass::Redirect)?;
        if brings_user_info(from, &target) {
            return Err(refuse(format!(
                "the redirect to {shown_target} carries a password"
            )));
        }
        let is_downgrade = from.scheme() == "https" && target.scheme() == "http";
        if is_downgrade && !config.allow_https_downgrade {
            return Err(refuse(format!(
                "the redirect to {shown_target} leaves https; set http.allow_https_downgrade to follow it"
            )));
        }
        // No cookies are kept, so the same URL gives the same answer.
        if !self.seen.insert(target.clone()) {
            return Err(refuse(format!("redirect loop at {shown_target}")));
        }
        if self.seen.len() > config.max_redirects + 1 {
            return Err(refuse(format!(
                "more than {} redirects",
                config.max_redirects
            )));
        }
        Ok(target)
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
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_bytes(location).unwrap());
        match Chain::new(&from).next(&from, &headers, config) {
            Ok(url) => Ok(url.to_string()),
            Err(failure) => {
                assert_eq!(failure.class, FailureClass::Redirect);
                Err(failure.message)
            }
        }
    }

    #[test]
    fn targets_are_resolved_as_browsers_do() {
        let from = "https://a.example/x/y?q";
        for (location, target) in [
            (&b"https://b.example/z"[..], "https://b.example/z"),
            (b"z", "https://a.example/x/z"),
            (b"/z#part", "https://a.example/z"),
            (b"//b.example/z", "https://b.example/z"),
            (b" /a b ", "https://a.example/a%20b"),
            ("/ü".as_bytes(), "https://a.example/%C3%BC"),
        ] {
            assert_eq!(step(from, location).unwrap(), target);
        }
        let inherited = step("https://me:pw@a.example/x", b"/z").unwrap();
        assert_eq!(inherited, "https://me:pw@a.example/z");
    }

    #[test]
    fn what_may_not_be_followed_is_named_without_secrets() {
        let from = "https://a.example/x?token=t";
        for (location, problem) in [
            (&b""[..], "without a target"),
            (b"\xff\xfe", "is no text"),
            (b"https://", "is no URL"),
            (b"file:///etc/passwd", "only http and https"),
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
        let config = HttpConfig::default();
        let mut url = Url::parse("https://a.example/0").unwrap();
        let mut chain = Chain::new(&url);
        let mut followed = 0;
        let failure = loop {
            let mut headers = HeaderMap::new();
            let location = HeaderValue::from_str(&format!("/{}", followed + 1)).unwrap();
            headers.insert(LOCATION, location);
            match chain.next(&url, &headers, &config) {
                Ok(next) => url = next,
                Err(failure) => break failure,
            }
            followed += 1;
        };
        assert_eq!(followed, 12);
        assert!(failure.message.contains("more than 12 redirects"));
    }
}
