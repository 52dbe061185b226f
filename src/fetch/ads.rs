//! Which hosts insert advertisements, so that each answer is another file.
//!
//! A range of such a file may belong to another rendition than the bytes before it, so a transfer
//! from such a host is never continued, and what was stored says that the next copy may differ.

use serde::{Deserialize, Serialize};

use crate::domain::AdSign;

/// Domains of hosts that are known to insert advertisements, or offer it to all their shows. A name
/// matches with everything below it.
const KNOWN: [&str; 30] = [
    "acast.com",
    "adswizz.com",
    "adsrv.org",
    "anchor.fm",
    "art19.com",
    "audioboom.com",
    "audiomeans.fr",
    "ausha.co",
    "buzzsprout.com",
    "captivate.fm",
    "fireside.fm",
    "iheart.com",
    "libsyn.com",
    "megaphone.fm",
    "omny.fm",
    "omnycontent.com",
    "omnystudio.com",
    "pinecast.com",
    "podbean.com",
    "podigee.io",
    "podspace.com",
    "redcircle.com",
    "rss.com",
    "simplecast.com",
    "simplecastaudio.com",
    "soundstack.com",
    "spreaker.com",
    "streamguys1.com",
    "transistor.fm",
    "tritondigital.com",
];

/// Above this difference between feed and answer the feed's length is not a rounding.
const LENGTH_TOLERANCE: f64 = 0.05;

/// What the operator knows about hosts; a name matches with everything below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdHosts {
    /// Hosts that insert advertisements, beside those that are known.
    pub dynamic: Vec<String>,
    /// Hosts that do not, whatever is known or seen.
    pub fixed: Vec<String>,
}

/// What an answer shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerFacts {
    /// Whether it has an `ETag` that is not weak.
    pub has_strong_etag: bool,
    /// Whether caches may not keep it.
    pub is_uncacheable: bool,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes that the feed claims.
    pub claimed: Option<u64>,
}

impl AdHosts {
    /// Whether `host` is known for inserting advertisements; the operator's word on a host comes
    /// before what is known here.
    pub fn is_listed(&self, host: &str) -> bool {
        let own = |list: &[String]| list.iter().any(|domain| is_below(host, domain));
        !own(&self.fixed)
            && (own(&self.dynamic) || KNOWN.iter().any(|domain| is_below(host, domain)))
    }

    /// The signs that what came over these hosts has advertisements inserted. One that could as well
    /// be carelessness counts only beside another one.
    pub fn signs<'a>(
        &self,
        hosts: impl IntoIterator<Item = &'a str>,
        facts: AnswerFacts,
    ) -> Vec<AdSign> {
        let hosts: Vec<_> = hosts.into_iter().collect();
        let mut signs = Vec::new();
        if hosts.iter().any(|host| self.is_listed(host)) {
            signs.push(AdSign::ListedHost);
        }
        let is_fixed = |host: &&str| self.fixed.iter().any(|domain| is_below(host, domain));
        if hosts.last().is_some_and(is_fixed) || !facts.length_differs() {
            return signs;
        }
        let weak = [
            (!facts.has_strong_etag, AdSign::NoValidator),
            (facts.is_uncacheable, AdSign::Uncacheable),
        ];
        let seen: Vec<_> = weak
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, sign)| *sign)
            .collect();
        if !seen.is_empty() || !signs.is_empty() {
            signs.push(AdSign::LengthDiffers);
            signs.extend(seen);
        }
        signs
    }
}

impl AnswerFacts {
    fn length_differs(self) -> bool {
        // Feeds write 0 and 1 where they do not know.
        self.claimed
            .filter(|claimed| *claimed > 1024)
            .is_some_and(|claimed| {
                (self.bytes as f64 - claimed as f64).abs() > claimed as f64 * LENGTH_TOLERANCE
            })
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.trim_end_matches('.'), domain.trim_end_matches('.'));
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    host.is_char_boundary(at)
        && host[at..].eq_ignore_ascii_case(domain)
        && (at == 0 || host[..at].ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: AnswerFacts = AnswerFacts {
        has_strong_etag: true,
        is_uncacheable: false,
        bytes: 1_000_000,
        claimed: Some(1_010_000),
    };

    #[test]
    fn hosts_are_listed_with_everything_below_them() {
        let hosts = AdHosts {
            dynamic: vec!["stitch.example".to_owned()],
            fixed: vec!["static.megaphone.fm".to_owned()],
        };
        for host in ["megaphone.fm", "traffic.Megaphone.fm", "a.stitch.example."] {
            assert!(hosts.is_listed(host), "{host}");
        }
        for host in ["notmegaphone.fm", "static.megaphone.fm", "fm", "a.example"] {
            assert!(!hosts.is_listed(host), "{host}");
        }
    }

    #[test]
    fn a_length_of_its_own_is_a_sign_only_beside_another() {
        let hosts = AdHosts::default();
        let signs = |facts| hosts.signs(["a.example"], facts);
        assert_eq!(signs(SAME), []);
        let longer = AnswerFacts {
            bytes: 1_200_000,
            ..SAME
        };
        assert_eq!(signs(longer), [], "a feed whose length is wrong");
        let stitched = AnswerFacts {
            has_strong_etag: false,
            is_uncacheable: true,
            ..longer
        };
        assert_eq!(
            signs(stitched),
            [
                AdSign::LengthDiffers,
                AdSign::NoValidator,
                AdSign::Uncacheable
            ]
        );
        let unknown = AnswerFacts {
            claimed: Some(1),
            ..stitched
        };
        assert_eq!(signs(unknown), []);
        assert_eq!(
            hosts.signs(["pdst.fm", "traffic.megaphone.fm"], SAME),
            [AdSign::ListedHost]
        );
    }
}
