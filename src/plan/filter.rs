//! What a packet filter is to do, apart from how its rules are written.

use super::net::{Cidr, Ports, Protocol};
use crate::report::Span;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
}

impl Filter {
    /// Whether what this account begins may leave the machine.
    #[must_use]
    pub fn lets_out(&self, protocol: Protocol, port: u16, dest: IpAddr, by: Sender<'_>) -> bool {
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

    /// Whether a packet may come in.
    #[must_use]
    pub fn lets_in(&self, protocol: Protocol, port: u16, source: IpAddr, interface: Option<&str>) -> bool {
        self.opens.iter().any(|o| {
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
    /// How many connections may be begun, as iptables says it; none is any number.
    pub rate: Option<String>,
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
