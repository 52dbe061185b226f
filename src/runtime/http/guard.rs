//! What may be asked at all: feeds are strangers, and they name the addresses that this program
//! connects to.
//!
//! Every hop passes three gates. The URL is judged before the request: scheme, port, local names,
//! and literal addresses, about which no resolver is asked. The answer of the name service is judged
//! as a whole by the resolver, and what it lets through is what the client connects to, so that no
//! second look-up can change it in between. And the address that was connected to is looked at once
//! more, so that a pooled connection or a change inside the client cannot open what the first two
//! closed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::address::is_public;
use super::config::HttpConfig;

/// Something that may not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not `http` or `https`.
    #[error("only http and https can be fetched")]
    Scheme,
    /// No host to ask.
    #[error("has no host")]
    NoHost,
    /// A port that no web server has.
    #[error("port {0} is not asked; add it to http.ports if a feed of yours is served there")]
    Port(u16),
    /// A name that only means something on a local network.
    #[error(
        "{0} is a local name; list its address in http.allowed_addresses if this host is your own"
    )]
    LocalName(String),
    /// An address that is not public.
    #[error(
        "{0} is no public address; list it in http.allowed_addresses (or set \
         http.allow_private_addresses) if this host is your own"
    )]
    Address(IpAddr),
}

/// The operator's rules about what may be asked. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Guard {
    is_open: bool,
    ports: Arc<[u16]>,
    allowed: Arc<[Network]>,
}

impl Guard {
    /// The rules that `config` states.
    pub fn new(config: &HttpConfig) -> Self {
        Self {
            is_open: config.allow_private_addresses,
            ports: config.ports.clone().into(),
            allowed: config.allowed_addresses.clone().into(),
        }
    }

    /// First gate: the URL on its own.
    pub fn judge_url(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme);
        }
        let host = url.host().ok_or(Refused::NoHost)?;
        if self.is_open {
            return Ok(());
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.ports.contains(&port) {
            return Err(Refused::Port(port));
        }
        match host {
            Host::Ipv4(address) => self.judge_address(address.into()),
            Host::Ipv6(address) => self.judge_address(address.into()),
            Host::Domain("") => Err(Refused::NoHost),
            Host::Domain(name) => self.judge_name(name),
        }
    }

    /// Second gate: all addresses of a name. One that may not be asked refuses the whole name, for
    /// which of them is connected to is not ours to choose.
    pub fn judge_answer(&self, addresses: &[IpAddr]) -> Result<(), Refused> {
        addresses
            .iter()
            .try_for_each(|address| self.judge_address(*address))
    }

    /// Third gate, and part of the others: one address.
    pub fn judge_address(&self, address: IpAddr) -> Result<(), Refused> {
        let is_listed = || self.allowed.iter().any(|network| network.contains(address));
        if self.is_open || is_public(address) || is_listed() {
            Ok(())
        } else {
            Err(Refused::Address(address))
        }
    }

    /// Names that no public name service answers (RFC 6761, 6762, 8375, and `internal`). Where the
    /// operator listed addresses, the answer for the name decides instead.
    fn judge_name(&self, name: &str) -> Result<(), Refused> {
        const LOCAL: [&str; 5] = ["localhost", "internal", "local", "localdomain", "home.arpa"];
        let bare = name.trim_end_matches('.').to_ascii_lowercase();
        let is_local = LOCAL.iter().any(|zone| {
            bare.strip_suffix(zone)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        if is_local && self.allowed.is_empty() {
            return Err(Refused::LocalName(bare));
        }
        Ok(())
    }
}

/// An address, or a block of them as `10.1.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        // A mapped address is the IPv4 address that it carries.
        self.0.contains(&address.to_canonical())
    }
}

/// Why a text is no [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no block of addresses such as 10.1.0.0/16")]
pub struct InvalidNetwork(String);

impl FromStr for Network {
    type Err = InvalidNetwork;
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let block = text.parse::<IpNet>();
        block
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| InvalidNetwork(text.to_owned()))
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;
    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(config: &HttpConfig, url: &str) -> Result<(), Refused> {
        Guard::new(config).judge_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn case_114_every_spelling_of_a_private_address_is_refused() {
        for host in [
            "169.254.170.2",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "0",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "[::1]",
            "[::ffff:169.254.170.2]",
            "[64:ff9b::a9fe:aa02]",
        ] {
            let refused = judged(&HttpConfig::default(), &format!("http://{host}/"));
            assert!(
                matches!(refused, Err(Refused::Address(_))),
                "{host}: {refused:?}"
            );
        }
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "metadata.google.internal",
            "internal",
            "printer.local",
        ] {
            let refused = judged(&HttpConfig::default(), &format!("https://{host}/"));
            assert!(
                matches!(refused, Err(Refused::LocalName(_))),
                "{host}: {refused:?}"
            );
        }
        for host in ["1.1.1.1", "a.example", "mylocalhost", "notinternal.example"] {
            assert_eq!(
                judged(&HttpConfig::default(), &format!("http://{host}/")),
                Ok(())
            );
        }
    }

    #[test]
    fn case_119_ports_of_other_services_are_refused() {
        let default = HttpConfig::default();
        for port in [0, 22, 25, 6379, 8080] {
            let refused = judged(&default, &format!("http://a.example:{port}/"));
            assert_eq!(refused, Err(Refused::Port(port)));
        }
        for url in [
            "http://a.example:443/",
            "https://a.example:80/",
            "http://a.example/",
        ] {
            assert_eq!(judged(&default, url), Ok(()), "{url}");
        }
        let config = HttpConfig {
            ports: vec![80, 443, 8080],
            ..default
        };
        assert_eq!(judged(&config, "http://a.example:8080/"), Ok(()));
    }

    #[test]
    fn other_schemes_are_refused_whatever_is_allowed() {
        let open = HttpConfig {
            allow_private_addresses: true,
            ..HttpConfig::default()
        };
        for url in [
            "file:///etc/passwd",
            "gopher://a/",
            "s3://bucket/key",
            "data:,x",
        ] {
            assert_eq!(judged(&open, url), Err(Refused::Scheme), "{url}");
        }
        assert_eq!(judged(&open, "http://127.0.0.1:22/"), Ok(()));
    }

    #[test]
    fn what_the_operator_lists_is_allowed_and_nothing_beside_it() {
        let config = HttpConfig {
            allowed_addresses: vec!["10.1.0.0/16".parse().unwrap(), "fd00::5".parse().unwrap()],
            ..HttpConfig::default()
        };
        for url in [
            "http://10.1.2.3/",
            "http://[::ffff:10.1.2.3]/",
            "http://[fd00::5]/",
            "http://feeds.internal/",
        ] {
            assert_eq!(judged(&config, url), Ok(()), "{url}");
        }
        for url in [
            "http://10.2.0.1/",
            "http://[fd00::6]/",
            "http://169.254.169.254/",
        ] {
            assert!(judged(&config, url).is_err(), "{url}");
        }
    }

    #[test]
    fn one_private_address_refuses_the_whole_answer() {
        let guard = Guard::new(&HttpConfig::default());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let public = [address("1.1.1.1"), address("2606:4700::1111")];
        assert_eq!(guard.judge_answer(&public), Ok(()));
        let mixed = [address("1.1.1.1"), address("10.0.0.1")];
        assert_eq!(
            guard.judge_answer(&mixed),
            Err(Refused::Address(address("10.0.0.1")))
        );
    }

    #[test]
    fn networks_are_written_as_they_are_read() {
        for text in ["10.1.0.0/16", "fd00::5/128"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert!("10.1.0.0/33".parse::<Network>().is_err());
        assert!("home".parse::<Network>().is_err());
    }
}
