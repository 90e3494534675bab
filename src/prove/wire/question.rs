//! What is asked of the guest, and what can come of it.
use std::fmt;
use std::net::IpAddr;

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Who asks: any address at all, of the same family as `dest`.
    pub source: IpAddr,
    /// Whom.
    pub dest: IpAddr,
    /// What.
    pub what: What,
}

/// What a [`Probe`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A TCP connection to this port.
    Tcp(u16),
    /// A reaction to a datagram to this port.
    Udp(u16),
    /// An ICMP or ICMPv6 echo.
    Echo,
}

/// What came of a [`Probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The connection was accepted.
    Open,
    /// The connection was reset.
    Reset,
    /// An ICMP error came back.
    Unreachable {
        /// The ICMP type: 3 in IPv4, 1 in IPv6.
        kind: u8,
        /// The ICMP code: 3 in IPv4 and 4 in IPv6 mean the port.
        code: u8,
    },
    /// The echo, or a datagram, came back.
    Reply,
    /// The guest was alive, and has let it fall.
    Silent,
    /// It cannot be said.
    Unknown(Why),
}

/// Why an answer is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Source and destination are not of one family.
    MixedFamilies,
    /// No guest was heard yet, or no address of it is known.
    NoGuest,
    /// The guest no longer answered its neighbours, so silence proves nothing.
    BarrierLost,
    /// The guest answered in ARP, but not in IPv6 neighbour discovery: IPv6 is off, or its firewall drops it.
    NeighbourSilent,
    /// The guest refuses with ICMP errors and had used up what its kernel lets it send.
    RateLimited,
    /// Something came back that is no answer to a connection request.
    OddAnswer,
    /// The caller gave up.
    GivenUp,
    /// QEMU closed the wire.
    WireClosed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::MixedFamilies => "source and destination are of different families",
            Why::NoGuest => "no guest was heard",
            Why::BarrierLost => "barrier lost: the guest did not answer its neighbours",
            Why::NeighbourSilent => "barrier lost: the guest does not answer IPv6 neighbour discovery",
            Why::RateLimited => "rate-limited: the guest had used up its ICMP errors",
            Why::OddAnswer => "odd answer: not one to a connection request",
            Why::GivenUp => "given up",
            Why::WireClosed => "wire closed",
        })
    }
}
