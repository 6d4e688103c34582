//! What a plugin is allowed. Nothing, unless a config says so.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The capabilities of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// None: the plugin may not even import `http`.
    pub http: Option<HttpGrant>,
}

/// The hosts that a plugin may send HTTP requests to, as a comma separated list:
///
/// | entry | grants |
/// |---|---|
/// | `api.example.com:443` | that host and port, at public addresses |
/// | `*.example.com:443` | every host below that domain, at public addresses |
/// | `10.1.2.3:80`, `[::1]:80` | exactly that address, whatever range it is in |
/// | `localhost:80` | that name, at loopback addresses |
/// | `db.internal:80/private` | that host, at private and loopback addresses too |
///
/// A name never grants link-local addresses, where clouds keep their metadata services. The port must be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: HostPattern,
    port: u16,
    private: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Address(IpAddr),
    Name(String),
    Below(String),
}

/// A grant that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is not a grant: {why}")]
pub struct GrantError {
    pub entry: String,
    pub why: &'static str,
}

/// Which addresses a granted host may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Public,
    Loopback,
    Private,
    Exactly(IpAddr),
}

impl HttpGrant {
    /// See [`HttpGrant`].
    pub fn parse(list: &str) -> Result<Self, GrantError> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(HttpGrant { entries: entries.map(str::parse).collect::<Result<_, _>>()? })
    }

    /// Decides by the URL's own words, before any name is resolved. None: refused.
    pub(crate) fn reach(&self, host: &url::Host<&str>, port: u16) -> Option<Reach> {
        let mut entries = self.entries.iter().filter(|entry| entry.port == port);
        match host {
            url::Host::Domain(name) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let entry = entries.find(|entry| entry.host.matches(&name))?;
                Some(match entry {
                    Entry { private: true, .. } => Reach::Private,
                    _ if name == "localhost" => Reach::Loopback,
                    _ => Reach::Public,
                })
            }
            url::Host::Ipv4(address) => Self::exactly(entries, (*address).into()),
            url::Host::Ipv6(address) => Self::exactly(entries, (*address).into()),
        }
    }

    fn exactly<'a>(mut entries: impl Iterator<Item = &'a Entry>, address: IpAddr) -> Option<Reach> {
        entries.find(|entry| entry.host == HostPattern::Address(address))?;
        Some(Reach::Exactly(address))
    }
}

impl Reach {
    /// Checked for each address that is dialled: a name may resolve to anything.
    pub(crate) fn covers(self, address: IpAddr) -> bool {
        let range = Range::of(address);
        match self {
            Reach::Exactly(granted) => granted == address,
            Reach::Public => range == Range::Public,
            Reach::Loopback => range == Range::Loopback,
            Reach::Private => matches!(range, Range::Public | Range::Loopback | Range::Private),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    Public,
    Loopback,
    /// RFC 1918, RFC 4193, and carrier-grade NAT.
    Private,
    /// Link-local, metadata, multicast, unspecified, reserved: nothing that a name grants.
    Special,
}

impl Range {
    fn of(address: IpAddr) -> Range {
        match address {
            IpAddr::V4(address) => Range::of_v4(address),
            IpAddr::V6(address) => match embedded_v4(address) {
                Some(address) => Range::of_v4(address),
                None => Range::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Range {
        match address.octets() {
            [127, ..] => Range::Loopback,
            // Alibaba's metadata service stands in the carrier-grade range.
            [100, 100, 100, 200] => Range::Special,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Range::Private,
            [0, ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] => {
                Range::Special
            }
            [203, 0, 113, _] | [224..=255, ..] => Range::Special,
            _ => Range::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Range {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Range::Loopback,
            // AWS's metadata service stands in the private range.
            [0xfd00, 0xec2, ..] => Range::Special,
            [0xfc00..=0xfdff, ..] => Range::Private,
            [0x2001, 0xdb8, ..] => Range::Special,
            // Global unicast is 2000::/3; link-local, multicast and the rest are not.
            [0x2000..=0x3fff, ..] => Range::Public,
            _ => Range::Special,
        }
    }
}

/// The IPv4 address that an IPv6 address really leads to: mapped, compatible, NAT64 and 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

impl HostPattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            HostPattern::Address(_) => false,
            HostPattern::Name(granted) => granted == name,
            HostPattern::Below(domain) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
        }
    }
}

impl FromStr for Entry {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| GrantError { entry: text.into(), why };
        let (authority, private) = match text.split_once('/') {
            None => (text, false),
            Some((authority, "private")) => (authority, true),
            Some(_) => return Err(error("only `/private` may follow the port")),
        };
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| error("it has no port"))?;
        let port = port.parse().map_err(|_| error("its port is not a number up to 65535"))?;
        let (below, host) = host.strip_prefix("*.").map_or((false, host), |domain| (true, domain));
        let host = match url::Host::parse(host) {
            Ok(url::Host::Domain(name)) if name.contains('*') => return Err(error("`*.` may only lead")),
            Ok(url::Host::Domain(name)) if below => HostPattern::Below(name),
            Ok(url::Host::Domain(name)) => HostPattern::Name(name),
            Ok(url::Host::Ipv4(address)) if !below => HostPattern::Address(address.into()),
            Ok(url::Host::Ipv6(address)) if !below => HostPattern::Address(address.into()),
            _ => return Err(error("its host is neither a name nor an address")),
        };
        Ok(Entry { host, port, private })
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Entry { host, port, private }) in self.entries.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match host {
                HostPattern::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{port}")?,
                HostPattern::Address(address) => write!(f, "{address}:{port}")?,
                HostPattern::Name(name) => write!(f, "{name}:{port}")?,
                HostPattern::Below(domain) => write!(f, "*.{domain}:{port}")?,
            }
            f.write_str(if *private { "/private" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(grant: &str, url: &str) -> Option<Reach> {
        let url = url::Url::parse(url).unwrap();
        HttpGrant::parse(grant).unwrap().reach(&url.host().unwrap(), url.port_or_known_default().unwrap())
    }

    #[test]
    fn hosts_and_ports_are_granted_as_they_are_written() {
        assert_eq!(reach("api.example.com:443", "https://API.example.com./x"), Some(Reach::Public));
        assert_eq!(reach("api.example.com:443", "http://api.example.com/x"), None);
        assert_eq!(reach("*.example.com:80", "http://a.b.example.com/"), Some(Reach::Public));
        assert_eq!(reach("*.example.com:80", "http://example.com/"), None);
        assert_eq!(reach("*.example.com:80", "http://evilexample.com/"), None);
        assert_eq!(
            reach("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            Some(Reach::Exactly(Ipv4Addr::LOCALHOST.into()))
        );
        assert_eq!(reach("127.0.0.1:8080", "http://127.0.0.1:8081/"), None);
        assert_eq!(reach("127.0.0.1:8080", "http://localhost:8080/"), None);
        assert_eq!(reach("localhost:80", "http://localhost/"), Some(Reach::Loopback));
        assert_eq!(reach("db.internal:80/private", "http://db.internal/"), Some(Reach::Private));
        assert_eq!(reach("", "http://example.com/"), None);
    }

    #[test]
    fn other_spellings_of_an_address_are_that_address() {
        for spelling in ["http://2130706433:8080/", "http://0x7f.1:8080/", "http://0177.0.0.1:8080/"] {
            assert_eq!(reach("127.0.0.1:8080", spelling), Some(Reach::Exactly(Ipv4Addr::LOCALHOST.into())));
            assert_eq!(reach("example.com:8080", spelling), None);
        }
    }

    #[test]
    fn a_name_does_not_lead_to_addresses_that_it_does_not_grant() {
        let refused =
            ["127.0.0.1", "10.0.0.1", "172.31.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::1"];
        let disguised = [
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fd00:ec2::254",
        ];
        for address in refused.iter().chain(&disguised) {
            assert!(!Reach::Public.covers(address.parse().unwrap()), "{address}");
        }
        for address in
            ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "fe80::1"]
        {
            assert!(!Reach::Private.covers(address.parse().unwrap()), "{address}");
        }
        for address in ["93.184.215.14", "2606:2800:21f::1"] {
            assert!(Reach::Public.covers(address.parse().unwrap()), "{address}");
        }
        assert!(Reach::Private.covers("10.0.0.1".parse().unwrap()));
        assert!(!Reach::Loopback.covers("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_grant_that_cannot_be_read_says_why() {
        for bad in [
            "example.com",
            "example.com:99999",
            "example.com:80/x",
            "*.127.0.0.1:80",
            "http://example.com:80",
            "*:80",
        ] {
            assert!(HttpGrant::parse(bad).is_err(), "{bad}");
        }
        let grant = "api.example.com:443,*.a.b:80,[::1]:80,db:80/private";
        assert_eq!(HttpGrant::parse(grant).unwrap().to_string(), grant);
    }
}
