//! Which requests count against one host's window.

use std::fmt;

use url::{Host, Url};

use super::limits::HostLimits;

/// The name that a host's requests are counted under: a configured group, else the registrable
/// domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostKey(pub(crate) String);

impl HostKey {
    /// The key of `host`, which is spelt as [`Url::host`] spells it (IDNA applied, no port).
    ///
    /// In this order: the group with the longest suffix of whole labels; the registrable domain by
    /// the public suffix list with its private section, so that each tenant of a shared CDN is a
    /// host of its own; the host itself, where it is an address or a suffix.
    pub fn of(host: &Host<&str>, limits: &HostLimits) -> Self {
        let name = plain(host);
        if let Some(group) = limits.group_of(&name) {
            return Self(group.to_owned());
        }
        match host {
            Host::Domain(_) => Self(psl::domain_str(&name).unwrap_or(&name).to_owned()),
            Host::Ipv4(_) | Host::Ipv6(_) => Self(name),
        }
    }

    /// The key of the host in `url`; `None` where it has none.
    pub fn of_url(url: &Url, limits: &HostLimits) -> Option<Self> {
        url.host().map(|host| Self::of(&host, limits))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The one spelling of a host: lower case, no trailing dot, IPv4 out of its IPv6 clothes.
pub(super) fn plain<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => {
            let name = name.as_ref();
            name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
        }
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_canonical().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str) -> String {
        let url = Url::parse(url).unwrap();
        HostKey::of_url(&url, &HostLimits::default()).unwrap().0
    }

    #[test]
    fn groups_match_whole_labels() {
        assert_eq!(key("https://traffic.megaphone.fm/x.mp3"), "megaphone.fm");
        assert_eq!(key("https://megaphone.fm"), "megaphone.fm");
        assert_eq!(key("https://notmegaphone.fm"), "notmegaphone.fm");
        assert_eq!(key("https://megaphone.fm.example.com"), "example.com");
    }

    #[test]
    fn a_company_with_several_domains_is_one_host() {
        for host in [
            "injector.simplecastaudio.com",
            "cdn.simplecastcdn.com",
            "simplecast.com",
        ] {
            assert_eq!(key(&format!("https://{host}/x")), "simplecast.com");
        }
        assert_eq!(key("https://traffic.omny.fm/d/x.mp3"), "omny.fm");
        assert_eq!(key("https://www.omnystudio.com/d/x.mp3"), "omny.fm");
    }

    #[test]
    fn other_hosts_go_by_their_registrable_domain() {
        assert_eq!(key("http://a.b.example.co.uk:8080/x"), "example.co.uk");
        assert_eq!(key("http://EXAMPLE.com./"), "example.com");
        // A private suffix: each tenant counts for itself.
        assert_eq!(key("https://d1.cloudfront.net"), "d1.cloudfront.net");
        assert_ne!(
            key("https://d1.cloudfront.net"),
            key("https://d2.cloudfront.net")
        );
        assert_eq!(key("https://cdn.b\u{fc}cher.de"), "xn--bcher-kva.de");
        assert_eq!(key("https://a.b.公司.cn"), "b.xn--55qx5d.cn");
        assert_eq!(key("http://localhost:1"), "localhost");
    }

    #[test]
    fn an_address_is_its_own_key_without_the_port() {
        assert_eq!(key("http://127.0.0.1:8080/x"), "127.0.0.1");
        assert_eq!(key("http://[::ffff:127.0.0.1]:9/x"), "127.0.0.1");
        assert_eq!(key("http://[2001:DB8::1]/x"), "2001:db8::1");
    }

    #[test]
    fn a_url_without_host_has_no_key() {
        let url = Url::parse("data:text/plain,x").unwrap();
        assert_eq!(HostKey::of_url(&url, &HostLimits::default()), None);
    }
}
