//! What `meta.json` says of the copy that was stored.

use chrono::{DateTime, Utc};

use super::ads::{AdHosts, AnswerFacts};
use super::digest::Content;
use super::download::Download;
use super::resume::{hosts_of, strong_etag};
use crate::domain::{Episode, Rendition, Suspicion};
use crate::runtime::http::header::{CACHE_CONTROL, HeaderMap};

/// Describes a download of `episode`.
pub(super) fn describe(
    episode: &Episode,
    download: &Download,
    hosts: &AdHosts,
    fetched_at: DateTime<Utc>,
) -> Rendition {
    let content = &download.content;
    let over: Vec<_> = hosts_of(&download.hops).collect();
    let facts = AnswerFacts {
        has_strong_etag: strong_etag(&download.headers).is_some(),
        is_uncacheable: is_uncacheable(&download.headers),
        bytes: content.bytes,
        claimed: episode.enclosure.length,
    };
    let lost = download.is_open_ended && is_far_below(content.bytes, episode.enclosure.length);
    let dai_signs = hosts.signs(over.iter().map(String::as_str), facts);
    Rendition {
        dai: !dai_signs.is_empty(),
        dai_signs,
        fetched_at,
        sha256: content.sha256.clone(),
        crc64nvme: content.crc64nvme.clone(),
        bytes: content.bytes,
        container: download.container,
        duration_est_s: content.duration_s,
        content_encoding: download.coding.map(str::to_owned),
        resumes: download.resumes,
        suspicious: suspicions(content, episode.duration_s, lost),
    }
}

fn is_uncacheable(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter();
    values.filter_map(|value| value.to_str().ok()).any(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("no-store") || value.contains("private")
    })
}

/// A claim below this is a trailer's, or a mistake of unit.
const LEAST_CLAIM_S: f64 = 120.0;
/// Feeds are wrong by inserted advertisements and by roundings, not by this factor.
const SHORT: f64 = 0.25;
/// Above this share of repeated bytes nothing sounds.
const SILENT: f64 = 0.9;
/// Below this share of frames the file is something else with some audio in front.
const HOLLOW: f64 = 0.5;

/// Below this share of the claimed bytes a body without a length may have been cut.
const LEAST_SHARE: f64 = 0.9;

/// Whether far fewer bytes came than the feed claims.
fn is_far_below(bytes: u64, claimed: Option<u64>) -> bool {
    claimed.is_some_and(|claimed| (bytes as f64) < claimed as f64 * LEAST_SHARE)
}

/// Why the bytes may not be the episode that the feed claims to be `claimed_s` seconds long, and of
/// which some may be `lost`.
fn suspicions(content: &Content, claimed_s: Option<u32>, lost: bool) -> Vec<Suspicion> {
    let claimed = claimed_s
        .map(f64::from)
        .filter(|claim| *claim >= LEAST_CLAIM_S);
    let is_short = match (content.duration_s, claimed) {
        (Some(duration), Some(claimed)) => duration < claimed * SHORT,
        _ => false,
    };
    let all = [
        (is_short, Suspicion::Short),
        (content.repetition > SILENT, Suspicion::Silent),
        (
            content.audio_share.is_some_and(|share| share < HOLLOW),
            Suspicion::Hollow,
        ),
        (lost, Suspicion::Cut),
    ];
    all.into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, why)| why)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ContentDigest;

    fn content(duration_s: Option<f64>) -> Content {
        Content {
            sha256: ContentDigest::of(b""),
            crc64nvme: String::new(),
            bytes: 1_000_000,
            duration_s,
            audio_share: Some(0.99),
            repetition: 0.01,
        }
    }

    #[test]
    fn a_clip_of_seconds_is_no_hour() {
        let clip = |claimed| suspicions(&content(Some(30.0)), claimed, false);
        assert_eq!(clip(Some(3600)), [Suspicion::Short]);
        assert_eq!(clip(Some(60)), []);
        assert_eq!(clip(None), []);
        assert_eq!(suspicions(&content(Some(1800.0)), Some(3600), false), []);
        assert_eq!(suspicions(&content(None), Some(3600), false), []);
    }

    #[test]
    fn a_body_without_a_length_is_held_against_the_feeds() {
        assert!(is_far_below(800, Some(1000)));
        assert!(!is_far_below(950, Some(1000)) && !is_far_below(800, None));
        assert_eq!(suspicions(&content(None), None, true), [Suspicion::Cut]);
    }

    #[test]
    fn silence_and_hollow_files_are_named() {
        let silent = Content {
            repetition: 0.99,
            audio_share: Some(0.1),
            ..content(None)
        };
        assert_eq!(
            suspicions(&silent, None, false),
            [Suspicion::Silent, Suspicion::Hollow]
        );
    }
}
