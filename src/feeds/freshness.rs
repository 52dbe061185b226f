//! How long an answer may be used without asking again (RFC 9111, section 4.2).

use std::time::Duration;

use crate::runtime::http::header::{AGE, CACHE_CONTROL, HeaderMap};

/// Longest time that is believed. Servers that mark every answer as good for a year would hide a
/// year of episodes.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `max-age` less `Age`; zero where the server wants to be asked every time, or does not say.
///
/// `s-maxage` is for shared caches and says nothing to us. `no-store` is read as "ask every time": the
/// copy kept for outages is what the run read, as its manifest is, and no answer to anybody else.
pub(super) fn fresh_for(headers: &HeaderMap) -> Duration {
    let mut longest = None;
    let values = headers.get_all(CACHE_CONTROL).iter();
    let directives = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" => return Duration::ZERO,
            // Of two that contradict each other the shorter counts.
            "max-age" => {
                let seconds = seconds(value).unwrap_or(Duration::ZERO);
                longest = Some(longest.map_or(seconds, |other: Duration| other.min(seconds)));
            }
            _ => {}
        }
    }
    let age = headers
        .get(AGE)
        .and_then(|value| seconds(value.to_str().ok()?));
    let left = longest
        .unwrap_or_default()
        .saturating_sub(age.unwrap_or_default());
    left.min(LONGEST)
}

fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim().trim_matches('"');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a u64 holds mean "very long".
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::http::header::HeaderValue;

    fn fresh(control: &[&'static str], age: Option<&'static str>) -> u64 {
        let mut headers = HeaderMap::new();
        for value in control {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
        }
        if let Some(age) = age {
            headers.insert(AGE, HeaderValue::from_static(age));
        }
        fresh_for(&headers).as_secs()
    }

    #[test]
    fn max_age_counts_less_the_time_already_spent_in_caches() {
        assert_eq!(fresh(&["public, Max-Age=300"], None), 300);
        assert_eq!(fresh(&["max-age=\"300\""], Some("100")), 200);
        assert_eq!(fresh(&["max-age=300"], Some("900")), 0);
        assert_eq!(fresh(&["max-age=60", "max-age=300"], None), 60);
    }

    #[test]
    fn what_is_no_promise_is_asked_every_time() {
        for control in [
            "",
            "no-cache, max-age=300",
            "max-age=300, no-store",
            "max-age=-1",
        ] {
            assert_eq!(fresh(&[control], None), 0, "{control}");
        }
        assert_eq!(fresh(&["s-maxage=300"], None), 0);
    }

    #[test]
    fn nobody_is_believed_for_more_than_a_day() {
        assert_eq!(fresh(&["max-age=31536000"], None), 86_400);
        assert_eq!(fresh(&["max-age=99999999999999999999999"], None), 86_400);
    }
}
