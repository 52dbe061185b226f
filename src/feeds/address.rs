//! The address of a feed as people and programs write it down.

use url::Url;

/// Longest address in bytes; servers refuse longer request lines.
pub(super) const MAX_ADDRESS: usize = 8 * 1024;

/// Why a text is no address of a feed. The messages quote nothing but the scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// Longer than any server reads.
    #[error("is longer than {MAX_ADDRESS} bytes; write the feed's own address")]
    TooLong,
    /// The text is no URL.
    #[error("cannot be read ({0}); write it in full, beginning with https://")]
    Unreadable(String),
    /// The URL is none of the web.
    #[error("begins with {0}:; only http: and https: can be fetched")]
    Scheme(String),
    /// The URL holds a user name or password.
    #[error("holds a user name or password, which would end in logs; remove it")]
    Credentials,
}

/// Reads an address of `http` or `https`, without credentials and fragment.
///
/// `feed:`, `itpc:` and `pcast:` open a podcast program and say nothing about the transport: what they
/// wrap is taken, or `https` where they stand in for the scheme.
pub fn feed_address(text: &str) -> Result<Url, AddressProblem> {
    let text = text.trim();
    if text.len() > MAX_ADDRESS {
        return Err(AddressProblem::TooLong);
    }
    let text = without_program_scheme(text);
    let mut url =
        Url::parse(&text).map_err(|error| AddressProblem::Unreadable(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme().chars().take(32).collect();
        return Err(AddressProblem::Scheme(scheme));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressProblem::Credentials);
    }
    url.set_fragment(None);
    Ok(url)
}

fn without_program_scheme(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once(':') else {
        return text.to_owned();
    };
    let is_program = ["feed", "itpc", "pcast"]
        .iter()
        .any(|program| scheme.eq_ignore_ascii_case(program));
    if !is_program {
        return text.to_owned();
    }
    // `feed:https://host/`, `feed://https://host/`, `feed://host/`, `feed:host/`
    let rest = rest.trim_start_matches('/');
    let wraps_url = rest.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    match wraps_url {
        true => rest.to_owned(),
        false => format!("https://{rest}"),
    }
}

/// Equal for addresses that mean the same feed: the transport and a last slash do not matter.
pub fn feed_identity(url: &Url) -> String {
    let text = url.as_str().split('#').next().unwrap_or_default();
    let identity = text.split_once("://").map_or(text, |(_, rest)| rest);
    identity.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, AddressProblem> {
        feed_address(text).map(String::from)
    }

    #[test]
    fn case_037_addresses_for_podcast_programs_become_https() {
        for (written, address) in [
            ("feed:https://e.com/f", "https://e.com/f"),
            ("feed:http://e.com/f", "http://e.com/f"),
            ("feed://e.com/f", "https://e.com/f"),
            ("feed:e.com/f", "https://e.com/f"),
            ("feed://https://e.com/f", "https://e.com/f"),
            ("ITPC://e.com/f", "https://e.com/f"),
            (
                "pcast://e.com/f?u=http://x.y/",
                "https://e.com/f?u=http://x.y/",
            ),
            (" https://e.com/f#top ", "https://e.com/f"),
        ] {
            assert_eq!(read(written).as_deref(), Ok(address), "{written}");
        }
    }

    #[test]
    fn case_037_other_schemes_are_refused_by_name() {
        for (written, scheme) in [
            ("data:text/xml,<rss/>", "data"),
            ("file:///etc/passwd", "file"),
            ("ftp://e.com/f", "ftp"),
            ("feed:file:///etc/passwd", "file"),
            ("feed:ftp://e.com/f", "ftp"),
            ("javascript:alert(1)", "javascript"),
        ] {
            let problem = read(written).unwrap_err();
            assert_eq!(problem, AddressProblem::Scheme(scheme.into()), "{written}");
        }
        let problem = read("https://me:pw@e.com/").unwrap_err();
        assert_eq!(problem, AddressProblem::Credentials);
        assert!(matches!(
            read("e.com/f"),
            Err(AddressProblem::Unreadable(_))
        ));
        let long = format!("https://e.com/{}", "x".repeat(MAX_ADDRESS));
        assert_eq!(read(&long), Err(AddressProblem::TooLong));
    }

    #[test]
    fn the_transport_is_no_part_of_the_identity() {
        let identity = |text| feed_identity(&Url::parse(text).unwrap());
        assert_eq!(identity("http://E.com/f/#x"), identity("https://e.com/f"));
        assert_ne!(identity("https://e.com/f"), identity("https://e.com/F"));
    }
}
