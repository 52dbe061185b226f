//! How many transfers each host is asked for at once, and how soon after each other.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Host;

use super::key::{HostKey, plain};
use super::window::Rules;

/// The limits of every host. Read from configuration, strictly:
///
/// ```json
/// {
///   "default_limit": 6,
///   "start_spacing_ms": 250,
///   "groups": { "simplecast.com": { "limit": 4, "also": ["simplecastcdn.com"] } }
/// }
/// ```
///
/// What is left out is as in [`HostLimits::default`]; a group of the same name takes the place of
/// the default one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct HostLimits {
    default_limit: u32,
    start_spacing: Duration,
    groups: BTreeMap<String, HostGroup>,
    /// Which group a host name is in; each group's own name is in here too.
    group_by_name: BTreeMap<String, String>,
}

/// Domains that belong to one company and count as one host. Everything below them is included.
/// The limit is a promise: however well the host copes, there are never more transfers at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostGroup {
    /// Transfers at once.
    pub limit: u32,
    /// Further domains beside the one that names the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

impl HostGroup {
    fn new(limit: u32, also: &[&str]) -> Self {
        Self {
            limit,
            also: also.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// [`HostLimits`] as they are written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    default_limit: u32,
    start_spacing_ms: u64,
    groups: BTreeMap<String, HostGroup>,
}

/// Why limits cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostLimits {
    /// Nothing could ever be fetched.
    #[error("the limit of {host} is 0: give at least 1, or leave its feeds out of the catalogue")]
    NoSlots {
        /// The group, or `default_limit`.
        host: String,
    },
    /// Not a name that a URL can have.
    #[error("{name:?} is no host name: give it as in a URL, without scheme, port and path")]
    NotAHost {
        /// As it was given.
        name: String,
    },
    /// One host, two limits.
    #[error("{name} is in the groups {first} and {second}: keep it in one of them")]
    InTwoGroups {
        /// The host.
        name: String,
        /// One group.
        first: String,
        /// The other.
        second: String,
    },
}

impl HostLimits {
    /// Transfers at once from a host that nobody named, at most: as many as a browser opens, so that
    /// no host sees more of us than of one reader. The hosts' own limits are unpublished and mostly
    /// lower, which is why a window begins with two and only grows while the host keeps pace.
    pub const DEFAULT_LIMIT: u32 = 6;

    /// Time between two starts at one host: four a second, also when many workers start together.
    pub const DEFAULT_START_SPACING: Duration = Duration::from_millis(250);

    /// Checks and takes the given limits; `groups` are laid over the default ones.
    pub fn try_new(
        default_limit: u32,
        start_spacing: Duration,
        groups: BTreeMap<String, HostGroup>,
    ) -> Result<Self, InvalidHostLimits> {
        let mut limits = Self {
            default_limit,
            start_spacing,
            groups: BTreeMap::new(),
            group_by_name: BTreeMap::new(),
        };
        require_slots("default_limit", default_limit)?;
        let mut merged = default_groups();
        for (name, group) in groups {
            merged.insert(host_name(&name)?, group);
        }
        for (name, group) in merged {
            limits.add(name, group)?;
        }
        Ok(limits)
    }

    fn add(&mut self, name: String, mut group: HostGroup) -> Result<(), InvalidHostLimits> {
        require_slots(&name, group.limit)?;
        for other in &mut group.also {
            *other = host_name(other)?;
        }
        for member in std::iter::once(&name).chain(&group.also) {
            let before = self.group_by_name.insert(member.clone(), name.clone());
            if let Some(first) = before.filter(|first| *first != name) {
                return Err(InvalidHostLimits::InTwoGroups {
                    name: member.clone(),
                    first,
                    second: name,
                });
            }
        }
        self.groups.insert(name, group);
        Ok(())
    }

    /// The group that a host's longest suffix of whole labels is in.
    pub(super) fn group_of(&self, name: &str) -> Option<&str> {
        let group = |name: &str| self.group_by_name.get(name).map(String::as_str);
        if name.parse::<std::net::IpAddr>().is_ok() {
            return group(name);
        }
        let tails = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
        std::iter::once(name).chain(tails).find_map(group)
    }

    /// Transfers at once from `host` at most, at least 1.
    pub fn limit(&self, host: &HostKey) -> u32 {
        let group = self.groups.get(host.as_str());
        group.map_or(self.default_limit, |group| group.limit)
    }

    /// What the window of `host` keeps to.
    pub(super) fn rules(&self, host: &HostKey) -> Rules {
        Rules {
            limit: self.limit(host),
            spacing: self.start_spacing,
        }
    }

    /// Least time between two starts at one host.
    pub fn start_spacing(&self) -> Duration {
        self.start_spacing
    }
}

/// The run-book's limits.
impl Default for HostLimits {
    fn default() -> Self {
        let settings = Settings::default();
        Self::try_from(settings).expect("the built-in groups are distinct hosts with limits over 0")
    }
}

fn default_groups() -> BTreeMap<String, HostGroup> {
    let simplecast = ["simplecastaudio.com", "simplecastcdn.com"];
    [
        ("megaphone.fm", HostGroup::new(5, &[])),
        ("libsyn.com", HostGroup::new(3, &[])),
        ("simplecast.com", HostGroup::new(4, &simplecast)),
        // One company with two domains; no limit of its own is known.
        (
            "omny.fm",
            HostGroup::new(HostLimits::DEFAULT_LIMIT, &["omnystudio.com"]),
        ),
    ]
    .map(|(name, group)| (name.to_owned(), group))
    .into()
}

fn require_slots(host: &str, limit: u32) -> Result<(), InvalidHostLimits> {
    if limit > 0 {
        return Ok(());
    }
    let host = host.to_owned();
    Err(InvalidHostLimits::NoSlots { host })
}

fn host_name(name: &str) -> Result<String, InvalidHostLimits> {
    match Host::parse(name) {
        Ok(host) if !plain(&host).is_empty() => Ok(plain(&host)),
        _ => Err(InvalidHostLimits::NotAHost {
            name: name.to_owned(),
        }),
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_limit: HostLimits::DEFAULT_LIMIT,
            // 250 fits.
            start_spacing_ms: HostLimits::DEFAULT_START_SPACING.as_millis() as u64,
            groups: BTreeMap::new(),
        }
    }
}

impl TryFrom<Settings> for HostLimits {
    type Error = InvalidHostLimits;
    fn try_from(settings: Settings) -> Result<Self, InvalidHostLimits> {
        let spacing = Duration::from_millis(settings.start_spacing_ms);
        Self::try_new(settings.default_limit, spacing, settings.groups)
    }
}

impl From<HostLimits> for Settings {
    fn from(limits: HostLimits) -> Self {
        let spacing = limits.start_spacing.as_millis();
        Self {
            default_limit: limits.default_limit,
            start_spacing_ms: u64::try_from(spacing).unwrap_or(u64::MAX),
            groups: limits.groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<HostLimits, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn limit(limits: &HostLimits, host: &str) -> u32 {
        limits.limit(&HostKey::of(&Host::Domain(host), limits))
    }

    #[test]
    fn the_defaults_are_the_run_books() {
        let limits = read("{}").unwrap();
        assert_eq!(limits, HostLimits::default());
        let hosts = [
            "traffic.megaphone.fm",
            "traffic.libsyn.com",
            "cdn.simplecastcdn.com",
            "x.org",
        ];
        assert_eq!(hosts.map(|host| limit(&limits, host)), [5, 3, 4, 6]);
        assert_eq!(limits.start_spacing(), Duration::from_millis(250));
    }

    #[test]
    fn groups_are_laid_over_the_defaults_and_the_longest_suffix_wins() {
        let limits = read(
            r#"{"groups": {
                "Megaphone.FM.": {"limit": 1},
                "example.com": {"limit": 9, "also": ["b\u00fccher.de"]},
                "slow.example.com": {"limit": 7},
                "127.0.0.1": {"limit": 8}
            }}"#,
        )
        .unwrap();
        let hosts = [
            "dcs.megaphone.fm",
            "libsyn.com",
            "a.example.com",
            "a.slow.example.com",
            "www.xn--bcher-kva.de",
        ];
        assert_eq!(hosts.map(|host| limit(&limits, host)), [1, 3, 9, 7, 9]);
        let key = HostKey::of(&Host::Ipv4([127, 0, 0, 1].into()), &limits);
        assert_eq!(limits.limit(&key), 8);
    }

    #[test]
    fn limits_survive_being_written_down() {
        let limits = read(r#"{"start_spacing_ms": 10, "groups": {"a.b": {"limit": 1}}}"#).unwrap();
        let json = serde_json::to_string(&limits).unwrap();
        assert_eq!(read(&json).unwrap(), limits);
    }

    #[test]
    fn mistakes_are_told() {
        for (json, part) in [
            (r#"{"default_limits": 1}"#, "default_limits"),
            (r#"{"default_limit": 0}"#, "default_limit is 0"),
            (r#"{"groups": {"a.b": {"limit": 0}}}"#, "a.b is 0"),
            (r#"{"groups": {"a.b": {"limit": 1, "alias": []}}}"#, "alias"),
            (
                r#"{"groups": {"http://a.b/": {"limit": 1}}}"#,
                "no host name",
            ),
            (
                r#"{"groups": {"simplecastcdn.com": {"limit": 1}}}"#,
                "simplecastcdn.com is in the groups",
            ),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json} -> {error}");
        }
    }
}
