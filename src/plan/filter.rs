//! What a packet filter is to do, apart from how its rules are written.

use super::blocklist::Blocklist;
use super::net::{Cidr, Ports, Protocol};
use super::proof::Boot;
use crate::report::{Fault, FromText, Span, shown};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// What a firewall does with what no rule lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// Says nothing.
    Drop,
    /// Says no.
    Reject,
}

/// Packets that a firewall lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Their protocol.
    pub protocol: Protocol,
    /// Their ports on the machine.
    pub ports: Vec<Ports>,
    /// Where they may come from; empty is anywhere, in both families.
    pub from: Vec<Cidr>,
    /// The interface that they must arrive on.
    pub interface: Option<String>,
    /// How many connections each source may begin; none is any number.
    pub rate: Option<Rate>,
    /// Whether they are let in from the gate on: only those of ssh are.
    pub from_the_gate: bool,
    /// Where that was asked for.
    pub span: Option<Span>,
}

impl Open {
    /// Both ends of each range.
    pub fn ends(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().flat_map(|p| std::iter::once(p.first).chain((p.first < p.last).then_some(p.last)))
    }

    /// Whether it lets in anything from there.
    #[must_use]
    pub fn lets_in_from(&self, source: IpAddr, interface: Option<&str>) -> bool {
        (self.from.is_empty() || self.from.iter().any(|net| net.contains(source)))
            && (self.interface.is_none() || self.interface.as_deref() == interface)
    }
}

/// How many connections may be begun in a time. [`BURST`] may be begun at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: Unit,
}

/// So many connections may be begun at once where they are counted, before the rate alone holds.
pub const BURST: u16 = 20;

// The kernel counts in ten thousandths of a second (xt_limit.h, XT_LIMIT_SCALE).
const MOST: u32 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    const ALL: [Unit; 4] = [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day];

    // As people write it, as iptables says it back, and how long it is.
    fn known(self) -> (&'static str, &'static str, u32) {
        match self {
            Unit::Second => ("second", "sec", 1),
            Unit::Minute => ("minute", "min", 60),
            Unit::Hour => ("hour", "hour", 3600),
            Unit::Day => ("day", "day", 86_400),
        }
    }
}

impl Rate {
    /// As iptables says it: `30/min`.
    #[must_use]
    pub fn rule(self) -> String {
        format!("{}/{}", self.count, self.unit.known().1)
    }

    /// As people and nftables say it: `30/minute`.
    #[must_use]
    pub fn words(self) -> String {
        format!("{}/{}", self.count, self.unit.known().0)
    }

    /// After how long one more may be begun.
    #[must_use]
    pub fn every(self) -> Duration {
        Duration::from_secs(self.unit.known().2.into()) / self.count
    }

    /// For how long a source is remembered that begins nothing any more: until all of [`BURST`] may be begun at once again. What is
    /// forgotten earlier would be let in as if it were new.
    #[must_use]
    pub fn remembered(self) -> Duration {
        (self.every() * u32::from(BURST)).max(Duration::from_secs(10))
    }
}

impl FromText for Rate {
    const WHAT: &'static str = "a rate";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("`{}` is not a rate", shown(text)))
                .help("write a number from 1 to 10000 and second, minute, hour or day: 10/second")
        };
        let (count, unit) = text.split_once('/').ok_or_else(fault)?;
        let sound = |n: &u32| (1..=MOST).contains(n) && n.to_string() == count;
        let count = count.parse().ok().filter(sound).ok_or_else(fault)?;
        let unit = Unit::ALL.into_iter().find(|u| u.known().0 == unit).ok_or_else(fault)?;
        Ok(Rate { count, unit })
    }
}

/// What a firewall is to do, apart from how its rules are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// What becomes of the rest.
    pub unmatched: Unmatched,
    /// What is let in.
    pub opens: Vec<Open>,
    /// What is let out; none is anything.
    pub exits: Option<Vec<Exit>>,
    /// Who may ask the metadata service.
    pub metadata: Metadata,
    /// Who is kept out of every port, and never answered.
    pub listed: Option<Arc<Blocklist>>,
    /// Whether the machine has IPv6 at all.
    pub ipv6: bool,
    /// The boots in which the network may be up before the gate stands.
    pub late: Vec<Boot>,
}

impl Filter {
    /// Whether what this account begins may leave the machine.
    #[must_use]
    pub fn lets_out(&self, protocol: Protocol, port: u16, dest: IpAddr, by: Sender<'_>) -> bool {
        if dest.is_ipv6() && !self.ipv6 {
            return false;
        }
        if METADATA.contains(&dest) {
            match self.metadata {
                Metadata::Open => {}
                // Even where the rest of the outside is shut: cloud-init asks it at every boot.
                Metadata::Root => return by.user == "root",
                Metadata::Nobody => return false,
            }
        }
        self.exits.as_ref().is_none_or(|exits| exits.iter().any(|e| e.lets_out(protocol, port, dest, by)))
    }

    /// Whether a list keeps it out.
    #[must_use]
    pub fn lists(&self, source: IpAddr) -> bool {
        self.listed.as_ref().is_some_and(|list| list.contains(source))
    }

    /// Whether a packet may come in.
    #[must_use]
    pub fn lets_in(&self, protocol: Protocol, port: u16, source: IpAddr, interface: Option<&str>) -> bool {
        !self.lists(source)
            && (self.ipv6 || source.is_ipv4())
            && self.opens.iter().any(|o| {
                o.protocol == protocol && o.ports.iter().any(|p| p.contains(port)) && o.lets_in_from(source, interface)
            })
    }
}

/// Where clouds answer a machine that asks who it is: the address that nearly all share, and EC2's of IPv6 (AWS, "Access
/// instance metadata").
pub const METADATA: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))];

/// Who may ask the metadata service, which gives the machine's secrets to whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// Whoever may go out.
    Open,
    /// root only.
    Root,
    /// Nobody.
    Nobody,
}

/// Who begins what goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sender<'a> {
    /// The account.
    pub user: &'a str,
    /// Its group, where that is not the account's own.
    pub group: Option<&'a str>,
}

/// Packets that a firewall lets out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Their protocol.
    pub protocol: Protocol,
    /// Their ports at the other end.
    pub ports: Vec<Ports>,
    /// Where they may go; empty is anywhere, in both families.
    pub to: Vec<Cidr>,
    /// The account that may send them; none is any.
    pub user: Option<String>,
    /// The group that may send them; none is any.
    pub group: Option<String>,
    /// How many connections may be begun; none is any number.
    pub rate: Option<Rate>,
}

impl Exit {
    fn lets_out(&self, protocol: Protocol, port: u16, dest: IpAddr, by: Sender<'_>) -> bool {
        self.protocol == protocol
            && self.ports.iter().any(|p| p.contains(port))
            && (self.to.is_empty() || self.to.iter().any(|net| net.contains(dest)))
            && self.user.as_deref().is_none_or(|user| user == by.user)
            && self.group.as_deref().is_none_or(|group| Some(group) == by.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_the_kernel_can_count() {
        let of =
            |text| Rate::from_text(text).map(|r| (r.rule(), r.words(), r.every(), r.remembered().as_secs())).unwrap();
        assert_eq!(of("10/second"), ("10/sec".into(), "10/second".into(), Duration::from_millis(100), 10));
        assert_eq!(of("30/minute"), ("30/min".into(), "30/minute".into(), Duration::from_secs(2), 40));
        assert_eq!(of("10000/day").2, Duration::from_millis(8640));
        // The kernel keeps this in 32 bits of milliseconds (xt_hashlimit.h).
        assert!(u32::try_from(Rate::from_text("1/day").unwrap().remembered().as_millis()).is_ok());
        for bad in
            ["10", "0/second", "10001/second", "-1/second", "10/sec", "1/second -j ACCEPT", "010/second", "", "/"]
        {
            assert!(Rate::from_text(bad).is_err(), "{bad}");
        }
    }
}
