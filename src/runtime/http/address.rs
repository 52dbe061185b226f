//! Which network addresses may be asked.
//!
//! Feeds and redirects are written by strangers, and they name the addresses that this program
//! connects to. Two places guard that: a literal address in a URL is judged before the request
//! (resolvers are not asked about those), and names are resolved by [`PublicResolver`], whose answer
//! is what the client then connects to, so that no second look-up can change it in between.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// A name or URL that leads to an address which may not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is no public address; set http.allow_private_addresses if this host is your own"
)]
pub struct AddressRefused {
    /// The address.
    pub address: IpAddr,
}

/// Judges the literal address in `url`, where it has one.
pub fn judge_literal(url: &Url) -> Result<(), AddressRefused> {
    match url.host() {
        Some(Host::Ipv4(address)) => judge(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => judge(IpAddr::V6(address)),
        Some(Host::Domain(_)) | None => Ok(()),
    }
}

fn judge(address: IpAddr) -> Result<(), AddressRefused> {
    if is_public(address) {
        Ok(())
    } else {
        Err(AddressRefused { address })
    }
}

/// Whether `address` is routed on the public internet (IANA special-purpose registries).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local() // credentials of cloud machines and containers
        || address.is_documentation()
        || a == 0
        || a >= 224 // multicast, reserved, broadcast
        || (a == 100 && (64..128).contains(&b)) // shared by carriers
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19)); // benchmarks
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Addresses that carry an IPv4 address are as public as that one: mapped, NAT64, 6to4.
    let [.., high, low] = segments;
    let carried = match segments {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some((high, low)),
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = carried {
        return is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    }
    // Only 2000::/3 is assigned to the public; inside it, documentation and Teredo are not.
    let is_global = segments[0] & 0xe000 == 0x2000;
    let is_special = matches!(segments, [0x2001, 0xdb8 | 0, ..] | [0x3fff, ..]);
    is_global && !is_special
}

/// The system's resolver, refusing names that lead to addresses which are not public.
///
/// One private address among public ones refuses the whole name: the order of the answer is not ours.
#[derive(Clone, Copy, Default)]
pub struct PublicResolver;

impl fmt::Debug for PublicResolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PublicResolver")
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The client puts the real port in place of 0.
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                judge(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(url: &str) -> bool {
        judge_literal(&Url::parse(url).unwrap()).is_err()
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "[::ffff:169.254.170.2]",
            "[64:ff9b::a9fe:aa02]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[2001::1]",
        ] {
            assert!(
                is_refused(&format!("http://{host}/")),
                "{host} was accepted"
            );
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in [
            "93.184.216.34",
            "1.1.1.1",
            "[2606:4700::1111]",
            "[64:ff9b::101:101]",
            "[::ffff:1.1.1.1]",
            "a.example",
        ] {
            assert!(
                !is_refused(&format!("http://{host}/")),
                "{host} was refused"
            );
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused() {
        let resolved = PublicResolver.resolve("localhost".parse().unwrap()).await;
        let Err(error) = resolved else {
            panic!("localhost was accepted");
        };
        assert!(error.downcast_ref::<AddressRefused>().is_some());
    }
}
