//! Names of things: validated once, trusted afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a text is no valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {problem}")]
pub struct InvalidId {
    pub(super) what: &'static str,
    pub(super) text: String,
    pub(super) problem: &'static str,
}

/// The operator's short name of a feed; the first folder of every object path.
///
/// Lower-case letters, digits, `-`, `_` and `.`, 1 to 64 characters, starting with a letter or digit:
/// safe as a folder name and as an S3 key segment on every platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeedSlug(String);

impl FeedSlug {
    /// Longest slug in bytes.
    pub const MAX_LEN: usize = 64;

    /// Checks `text` and takes it as it is.
    pub fn try_new(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let problem = match text.as_bytes() {
            [] => Some("is empty"),
            bytes if bytes.len() > Self::MAX_LEN => Some("is longer than 64 characters"),
            [first, ..] if !first.is_ascii_lowercase() && !first.is_ascii_digit() => {
                Some("must start with a lower-case letter or a digit")
            }
            bytes if !bytes.iter().all(|b| is_slug_byte(*b)) => {
                Some("may hold only lower-case letters, digits, '-', '_' and '.'")
            }
            [.., b'.'] => Some("must not end with a dot"),
            _ => None,
        };
        match problem {
            None => Ok(Self(text)),
            Some(problem) => Err(InvalidId {
                what: "feed slug",
                text,
                problem,
            }),
        }
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_slug_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
}

/// The publisher's own identifier of an episode, white space around it removed, otherwise as received.
///
/// Any text is a guid; [`GuidSegment`](super::key::GuidSegment) makes a path segment of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guid(String);

impl Guid {
    /// Longest guid in bytes; a feed that exceeds it is misusing the element.
    pub const MAX_LEN: usize = 8 * 1024;

    /// Trims `text`; empty and absurdly long texts are refused.
    pub fn try_new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
        let text = text.as_ref().trim();
        let problem = if text.is_empty() {
            "is empty"
        } else if text.len() > Self::MAX_LEN {
            "is longer than 8 KiB"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(InvalidId {
            what: "guid",
            text: text.chars().take(80).collect(),
            problem,
        })
    }

    /// The guid of another episode that claims this one: with a mark of its file behind, `~` and eight
    /// hexadecimal digits. The same in every run, and different for different files.
    #[must_use]
    pub fn revised(&self, file: &str) -> Self {
        let digest = Sha256::digest(file.as_bytes());
        let mark: String = digest[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let room = Self::MAX_LEN - 1 - mark.len();
        let start = &self.0[..self.0.floor_char_boundary(room)];
        Self(format!("{start}~{mark}"))
    }

    /// The guid without the mark that [`revised`](Self::revised) puts behind it for this file.
    #[must_use]
    pub fn unrevised(&self, file: &str) -> Self {
        let plain = self
            .0
            .rsplit_once('~')
            .map(|(start, _)| Self(start.to_owned()));
        plain
            .filter(|plain| plain.revised(file) == *self)
            .unwrap_or_else(|| self.clone())
    }

    /// The guid as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One episode of one feed: the identity that every stage, store and message agrees on.
///
/// The same guid in two feeds is two episodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeId {
    /// The feed it was found in.
    pub feed_slug: FeedSlug,
    /// The publisher's identifier.
    pub guid: Guid,
}

impl fmt::Display for EpisodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.feed_slug, self.guid)
    }
}

/// Who holds a lease: one per worker process, unique for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerId(String);

impl OwnerId {
    /// `label` (host name, job id) for people, a random part for uniqueness.
    pub fn generate(label: &str) -> Self {
        let label: String = label
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(40)
            .collect();
        Self(format!("{label}.{}", uuid::Uuid::new_v4().simple()))
    }

    /// Takes back an identifier that [`generate`](Self::generate) made.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The owner as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of an object's bytes, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentDigest(String);

impl ContentDigest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hasher(Sha256::new_with_prefix(bytes))
    }

    /// Finishes a running hash.
    pub fn from_hasher(hasher: Sha256) -> Self {
        use fmt::Write;
        let mut hex = String::with_capacity(64);
        for byte in hasher.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// Checks a digest that was written down before.
    pub fn try_new(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(is_hex) {
            return Ok(Self(text));
        }
        Err(InvalidId {
            what: "SHA-256 digest",
            text,
            problem: "is not 64 lower-case hexadecimal digits",
        })
    }

    /// The hexadecimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The conversions that every checked text type shares.
macro_rules! checked_text {
    ($($name:ident),+) => {$(
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::try_new(text)
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_new(text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    )+};
}
checked_text!(FeedSlug, Guid, ContentDigest);

impl fmt::Display for OwnerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_that_could_leave_their_folder_are_refused() {
        for bad in [
            "", ".", "..", "../x", "a/b", "A", "-a", "a b", "a.", "ümlaut",
        ] {
            assert!(FeedSlug::try_new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(FeedSlug::try_new("a".repeat(65)).is_err());
        for good in ["20vc", "a", "lex-fridman", "a_b.c"] {
            assert_eq!(FeedSlug::try_new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn guids_are_trimmed_and_otherwise_kept() {
        assert_eq!(Guid::try_new(" A/b?c \n").unwrap().as_str(), "A/b?c");
        assert!(Guid::try_new("  ").is_err());
        assert!(Guid::try_new("x".repeat(Guid::MAX_LEN + 1)).is_err());
    }

    #[test]
    fn a_digest_is_the_sha256_in_hex() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(ContentDigest::of(b"").as_str(), empty);
        assert!(ContentDigest::try_new(empty).is_ok());
        assert!(ContentDigest::try_new(empty.to_uppercase()).is_err());
    }

    #[test]
    fn serde_checks_what_it_reads() {
        assert!(serde_json::from_str::<FeedSlug>("\"../x\"").is_err());
    }
}
