//! `Retry-After` (RFC 9110, section 10.2.3): when the host wants us back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Longest wait that is believed. Longer values are seen where a server writes the *time* of the end
/// as a number (`1767225600`): believing it would close the host for decades.
pub const LONGEST_BELIEVED: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long the answer with these headers asks to wait; `now` stands in for a missing `Date`.
///
/// Both forms are read: whole seconds, and an HTTP date, counted from the answer's own `Date` so that
/// a wrong clock on either side does not matter. What is read is never shortened. Anything else
/// (signs, fractions, words, dates that are over, more than [`LONGEST_BELIEVED`]) is `None`, and the
/// caller's own back-off decides. Of several headers the longest wait counts.
pub fn parse(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let sent = headers
        .get(DATE)
        .and_then(|value| date(value.to_str().ok()?))
        .unwrap_or(now);
    let waits = headers.get_all(RETRY_AFTER).iter();
    waits
        .filter_map(|value| one(value.to_str().ok()?.trim(), sent))
        .filter(|wait| *wait <= LONGEST_BELIEVED)
        .max()
}

fn one(text: &str, sent: DateTime<Utc>) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let wait = date(text)?.signed_duration_since(sent).to_std().ok()?;
    (!wait.is_zero()).then_some(wait)
}

/// Any of the three forms of an HTTP date (section 5.6.7).
fn date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text).ok().map(DateTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use reqwest::header::HeaderValue;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn wait(value: &str, sent: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        if let Some(sent) = sent {
            headers.insert(DATE, HeaderValue::from_str(sent).unwrap());
        }
        parse(&headers, date(NOW).unwrap()).map(|wait| wait.as_secs())
    }

    #[test]
    fn case_080_seconds_are_taken_in_full() {
        assert_eq!(wait("0", None), Some(0));
        assert_eq!(wait(" 120 ", None), Some(120));
        assert_eq!(wait("86400", None), Some(86_400));
        assert_eq!(wait("604800", None), Some(604_800));
    }

    #[test]
    fn case_080_dates_count_from_the_answers_own_date() {
        let later = "Sun, 06 Nov 1994 08:51:37 GMT";
        assert_eq!(wait(later, None), Some(120));
        assert_eq!(wait(later, Some("Sun, 06 Nov 1994 08:51:07 GMT")), Some(30));
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:47 GMT", None), Some(10));
        assert_eq!(wait("Sun Nov  6 08:49:47 1994", None), Some(10));
        assert_eq!(wait(later, Some("yesterday")), Some(120));
    }

    #[test]
    fn case_080_what_is_no_wait_is_none() {
        for value in [
            "",
            "-1",
            "+5",
            "1.5",
            "abc",
            "5 s",
            "1767225600",
            "604801",
            NOW,
            "99999999999999999999999",
            "Sun, 06 Nov 1994 08:00:00 GMT",
            "Tue, 06 Dec 1994 08:49:37 GMT",
        ] {
            assert_eq!(wait(value, None), None, "{value:?}");
        }
    }

    #[test]
    fn of_several_the_longest_counts() {
        let mut headers = HeaderMap::new();
        for value in ["5", "70", "soon"] {
            headers.append(RETRY_AFTER, HeaderValue::from_static(value));
        }
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        assert_eq!(parse(&headers, now), Some(Duration::from_secs(70)));
    }
}
