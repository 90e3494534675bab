//! Ports and addresses.

use crate::report::{Fault, FromText, shown};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks that the prober plays, one a card: set aside for measuring (RFC 2544), so that a spec hardly names them.
#[must_use]
pub const fn link4(card: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, card, 0), 24)
}
/// The machine's address on the network of a card.
#[must_use]
pub const fn machine4(card: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, card, 10)
}
/// A neighbour of the machine on the network of a card.
#[must_use]
pub const fn neighbour4(card: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, card, 77)
}
/// The same neighbour on any of them, link-local.
pub const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
/// Addresses far away from which a machine may hear anything (RFC 5737, RFC 3849).
pub const FAR: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xfeed, 0, 0, 0, 0, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xbeef, 0, 0, 0, 0, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xcafe, 0, 0, 0, 0, 7)),
];

/// Transport protocols that a rule can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl Protocol {
    /// Its name, as iptables writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// Ports from first to last, both in 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest, which may be the lowest.
    pub last: u16,
}

impl Ports {
    /// One port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Ports { first: port, last: port }
    }

    /// Whether a port is among them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// As iptables writes them: `80` or `8000:8099`.
    #[must_use]
    pub fn rule(self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}:{}", self.first, self.last) }
    }

    /// How many of the 15 places of one multiport match they take: a range takes two (iptables-extensions(8)).
    #[must_use]
    pub fn places(self) -> usize {
        if self.first == self.last { 1 } else { 2 }
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromText for Ports {
    const WHAT: &'static str = "a port or a range of ports";
    const NUMBERS: bool = true;
    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("`{}` is not a port or a range of ports", shown(text)))
                .help("write 8080, or \"8000-8099\"; from 1 to 65535")
        };
        // A zero in front is octal to some readers and nothing to others: `0644` would be 644 here.
        let port = |t: &str| {
            (!t.starts_with('0') && !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()))
                .then(|| t.parse::<u16>().ok().filter(|p| *p > 0))
                .flatten()
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ports = Ports { first: port(first).ok_or_else(fault)?, last: port(last).ok_or_else(fault)? };
        if ports.first > ports.last {
            return Err(fault().help("the first port of a range is the lower one"));
        }
        Ok(ports)
    }
}

/// The addresses of a network, without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cidr(IpNet);

impl Cidr {
    /// All of IPv4.
    pub const EVERYWHERE4: Cidr = Cidr(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)));

    /// Sources that stand for anybody and that no proof else comes from (RFC 2544).
    pub const ANYBODY4: Cidr = Cidr(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(198, 19, 0, 0), 16)));
    /// The same of IPv6 (RFC 3849).
    pub const ANYBODY6: Cidr =
        Cidr(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0xb000, 0, 0, 0, 0, 0), 36)));

    /// A network that is known to be well formed.
    #[must_use]
    pub fn new(net: IpNet) -> Self {
        Cidr(net.trunc())
    }

    /// Whether it is of IPv4.
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Its first address.
    #[must_use]
    pub fn network(self) -> IpAddr {
        self.0.network()
    }

    /// Its length in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.0.prefix_len()
    }

    /// An address of it that a machine could have, another one for each number until there are no more.
    #[must_use]
    pub fn sample(self, number: u8) -> IpAddr {
        // From the whole of a family, one that is set aside for documents (RFC 5737, RFC 3849).
        let net = match self.0 {
            IpNet::V4(net) if net.prefix_len() == 0 => IpNet::V4(DOCUMENTS4),
            IpNet::V6(net) if net.prefix_len() == 0 => IpNet::V6(DOCUMENTS6),
            net => net,
        };
        let spare = u32::from(net.max_prefix_len() - net.prefix_len());
        // Neither the network's own address, nor its router's likely one, nor broadcast.
        let step = if spare >= 4 { 5 + u32::from(number) % ((1 << spare.min(8)) - 8) } else { u32::from(spare >= 2) };
        match net.network() {
            IpAddr::V4(a) => {
                let a = Ipv4Addr::from(u32::from(a).wrapping_add(step));
                let card = a.octets()[2];
                // Not the machine itself, where a network is one of those that the prober plays.
                IpAddr::V4(if a == machine4(card) { neighbour4(card) } else { a })
            }
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from(u128::from(a).wrapping_add(u128::from(step)))),
        }
    }
}

const DOCUMENTS4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24);
const DOCUMENTS6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0xfeed, 0, 0, 0, 0, 0), 48);

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FromText for Cidr {
    const WHAT: &'static str = "a network (CIDR)";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("`{}` is not a network", shown(text)))
                .help("write a CIDR: 10.0.0.0/8, 2001:db8::/32, or one address")
        };
        let net = match text.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| fault())?),
        };
        if net.trunc() != net {
            return Err(Fault::new(format!("`{}` has bits set beyond its prefix", shown(text)))
                .help(format!("write `{}`", net.trunc())));
        }
        let network = net.network();
        let mapped = matches!(network, IpAddr::V6(a) if a.to_ipv4_mapped().is_some());
        if mapped
            || network.is_multicast()
            || network.is_loopback()
            || (network.is_unspecified() && net.prefix_len() > 8)
        {
            return Err(Fault::new(format!("no packet from outside can come from `{}`", shown(text)))
                .help("write the network that the packets come from"));
        }
        Ok(Cidr(net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_networks_are_exact() {
        assert_eq!(Ports::from_text("8000-8099").unwrap(), Ports { first: 8000, last: 8099 });
        for bad in ["0", "65536", "", "-", "1-", "-1", "9-8", "+1", "1 ", "ssh", "1-2-3", "0644", "1-010", "٣"] {
            assert!(Ports::from_text(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Cidr::from_text("10.0.0.0/8").unwrap().sample(0).to_string(), "10.0.0.5");
        assert_eq!(Cidr::from_text("192.0.2.9").unwrap().sample(3).to_string(), "192.0.2.9");
        assert_eq!(Cidr::from_text("2001:db8::/32").unwrap().sample(0).to_string(), "2001:db8::5");
        assert_eq!(Cidr::from_text("192.0.2.8/30").unwrap().sample(9).to_string(), "192.0.2.9");
        for text in [
            "10.0.0.0/8",
            "192.0.2.0/24",
            "192.0.2.16/28",
            "192.0.2.8/30",
            "192.0.2.8/31",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/126",
        ] {
            let net = Cidr::from_text(text).unwrap();
            assert!((0..=255).all(|n| net.contains(net.sample(n))), "{text}");
        }
        assert_eq!(Cidr::from_text("10.1.2.3/8").unwrap_err().help.as_deref(), Some("write `10.0.0.0/8`"));
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "localhost",
            "127.0.0.0/8",
            "::1",
            "224.0.0.0/4",
            "::ffff:1.2.3.4",
            "10.0.0.0/8 ",
            "fe80::1%eth0",
            "1.2.3.4/8\n",
        ] {
            assert!(Cidr::from_text(bad).is_err(), "{bad:?}");
        }
    }
}
