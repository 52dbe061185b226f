//! Whether a broken transfer may be continued, and whether an answer continues it. Pure.
//!
//! A file that changed between two requests must not be glued together. What makes sure of that is a
//! strong `ETag` (RFC 9110, section 8.8.1) sent as `If-Range`, and the answer's own word about which
//! bytes it holds. Hosts that insert advertisements are never asked: their `ETag` may be that of the
//! episode, and their bytes those of the minute.

use url::Url;

use super::ads::AdHosts;
use crate::runtime::http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE,
};
use crate::runtime::http::{Answer, Get, Hop, SafeUrl};

/// The strong `ETag` by which the transfer of `answer` may be continued, where it may.
pub(super) fn validator(answer: &Answer, hosts: &AdHosts) -> Option<HeaderValue> {
    let refuses_ranges = answer
        .headers
        .get(ACCEPT_RANGES)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"none"));
    let may = answer.status == 200
        && answer.coding.is_none()
        && !refuses_ranges
        && is_steady(&answer.hops, &answer.final_url, hosts);
    strong_etag(&answer.headers).filter(|_| may).cloned()
}

/// Whether a chain of requests leads to the same file each time: over no host that stitches, and to no
/// signed URL. That one ends with its signature: the whole chain is asked again, from the start.
pub(super) fn is_steady(hops: &[Hop], last: &Url, hosts: &AdHosts) -> bool {
    let is_stitched = hosts_of(hops).any(|host| hosts.is_listed(&host));
    !is_stitched && !SafeUrl::is_signed(last)
}

/// The `ETag`, where it promises equal bytes.
pub(super) fn strong_etag(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(ETAG).filter(|etag| {
        let text = etag.as_bytes();
        text.len() > 2 && text.starts_with(b"\"") && text.ends_with(b"\"")
    })
}

/// The hosts that a chain of requests went over.
pub(super) fn hosts_of(hops: &[Hop]) -> impl Iterator<Item = String> + '_ {
    hops.iter().filter_map(|hop| {
        let url = Url::parse(&hop.url).ok()?;
        url.host_str().map(str::to_owned)
    })
}

/// The request for what comes after `offset`.
pub(super) fn request(whole: &Get, offset: u64, etag: &HeaderValue) -> Get {
    let mut request = whole.clone();
    let range = format!("bytes={offset}-");
    if let Ok(range) = HeaderValue::from_str(&range) {
        request.headers.insert(RANGE, range);
        request.headers.insert(IF_RANGE, etag.clone());
    }
    request
}

/// What an answer to a request for a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuation {
    /// The bytes that are missing, all of them, of a file this long.
    Follows {
        /// Length of the whole file.
        whole: u64,
    },
    /// The word that none are missing.
    Complete,
    /// Something else: begin anew.
    Other,
}

/// The facts of an answer that decide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    /// Length of its body, where it is told.
    pub(super) length: Option<u64>,
    pub(super) is_coded: bool,
}

/// Judges an answer after `offset` bytes of a file of `total` bytes, where that was told.
pub(super) fn judge(
    offered: Offered<'_>,
    etag: &HeaderValue,
    offset: u64,
    total: Option<u64>,
) -> Continuation {
    let is_same = strong_etag(offered.headers) == Some(etag);
    let range = offered.headers.get(CONTENT_RANGE).and_then(|value| {
        let text = value.to_str().ok()?.trim();
        ContentRange::parse(text)
    });
    let is_multipart = offered.headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        value.starts_with(b"multipart/")
    });
    if !is_same || is_multipart || offered.is_coded {
        return Continuation::Other;
    }
    match (offered.status, range) {
        (206, Some(ContentRange::Part { first, last, whole })) => {
            let is_rest = first == offset && last.checked_add(1) == Some(whole);
            let is_known = total.is_none_or(|total| total == whole);
            let fits = offered
                .length
                .is_none_or(|length| offset.checked_add(length) == Some(whole));
            match is_rest && is_known && fits {
                true => Continuation::Follows { whole },
                false => Continuation::Other,
            }
        }
        (416, Some(ContentRange::None { whole })) if whole == offset => match total {
            None => Continuation::Complete,
            Some(total) if total == whole => Continuation::Complete,
            Some(_) => Continuation::Other,
        },
        _ => Continuation::Other,
    }
}

/// `Content-Range` (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentRange {
    /// `bytes 5-9/10`
    Part { first: u64, last: u64, whole: u64 },
    /// `bytes */10`
    None { whole: u64 },
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| -> Option<u64> {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| text.parse().ok()).flatten()
        };
        let (range, whole) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
        let whole = number(whole)?;
        if range == "*" {
            return Some(Self::None { whole });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        Some(Self::Part { first, last, whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, list: &[(&'static str, &str)], length: Option<u64>) -> Continuation {
        let pair = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_str(value).unwrap();
            (name.parse().unwrap(), value)
        };
        let headers: HeaderMap = list.iter().map(pair).collect();
        let offered = Offered {
            status,
            headers: &headers,
            length,
            is_coded: false,
        };
        judge(offered, &HeaderValue::from_static("\"v1\""), 100, Some(300))
    }

    #[test]
    fn case_095_only_the_missing_rest_follows() {
        let same = ("etag", "\"v1\"");
        let ranged = |range| judged(206, &[same, ("content-range", range)], Some(200));
        let rest = Continuation::Follows { whole: 300 };
        assert_eq!(ranged("bytes 100-299/300"), rest);
        let untold = [same, ("content-range", "bytes 100-299/300")];
        assert_eq!(judged(206, &untold, None), rest);
        for other in [
            "bytes 99-299/300",
            "bytes 101-299/300",
            "bytes 100-298/300",
            "bytes 100-299/301",
            "bytes 100-300/301",
            "bytes 100-299/*",
            "bytes +100-299/300",
            "bytes 100-18446744073709551615/300",
            "items 100-299/300",
            "100-299/300",
            "",
        ] {
            assert_eq!(ranged(other), Continuation::Other, "{other}");
        }
        assert_eq!(judged(206, &[same], Some(200)), Continuation::Other);
        let range = ("content-range", "bytes 100-299/300");
        assert_eq!(judged(206, &[same, range], Some(199)), Continuation::Other);
    }

    #[test]
    fn case_098_another_or_no_strong_etag_is_another_file() {
        let range = ("content-range", "bytes 100-299/300");
        for etag in ["\"v2\"", "W/\"v1\"", "v1", "\"\""] {
            let answer = judged(206, &[("etag", etag), range], Some(200));
            assert_eq!(answer, Continuation::Other, "{etag}");
        }
        assert_eq!(judged(206, &[range], Some(200)), Continuation::Other);
    }

    #[test]
    fn case_099_parts_in_an_envelope_are_not_taken_apart() {
        let list = [
            ("etag", "\"v1\""),
            ("content-range", "bytes 100-299/300"),
            ("content-type", "multipart/byteranges; boundary=x"),
        ];
        assert_eq!(judged(206, &list, Some(200)), Continuation::Other);
    }

    #[test]
    fn case_097_a_416_is_complete_only_at_the_full_length() {
        let etag = HeaderValue::from_static("\"v1\"");
        let judged = |range: &'static str, total| {
            let headers: HeaderMap = [
                (ETAG, etag.clone()),
                (CONTENT_RANGE, HeaderValue::from_static(range)),
            ]
            .into_iter()
            .collect();
            let offered = Offered {
                status: 416,
                headers: &headers,
                length: None,
                is_coded: false,
            };
            judge(offered, &etag, 300, total)
        };
        assert_eq!(judged("bytes */300", None), Continuation::Complete);
        assert_eq!(judged("bytes */300", Some(300)), Continuation::Complete);
        assert_eq!(judged("bytes */300", Some(400)), Continuation::Other);
        assert_eq!(judged("bytes */299", None), Continuation::Other);
        assert_eq!(judged("bytes */*", None), Continuation::Other);
    }

    #[test]
    fn case_096_a_whole_answer_to_a_range_begins_anew() {
        assert_eq!(
            judged(200, &[("etag", "\"v1\"")], Some(300)),
            Continuation::Other
        );
    }
}
