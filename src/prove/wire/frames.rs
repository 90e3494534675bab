//! What the frames of the guest say.
//!
//! Read by hand and by `get`, so that no byte of a guest can make it panic; smoltcp's parsers would also read the
//! parts we do not need.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// The largest frame the socket may carry: QEMU's own buffer is 4 KiB and 64 KiB.
pub(super) const LARGEST: usize = 4096 + 65536;

/// The router's link-local address, the source of everything we say in NDP.
pub(super) const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The hardware address of everyone we play. The guest answers a neighbour request to the very address it came
/// from, so a number in it tells an answer to this question from a late one to the last.
pub(super) fn our_mac(epoch: u16) -> Mac {
    let [high, low] = epoch.to_be_bytes();
    [0x02, b'h', b't', b'k', high, low]
}

/// Names one probe or one flow, seen from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: Kind,
    pub(super) ours: IpAddr,
    /// Not looked at for an echo: the answer to a multicast comes from elsewhere.
    pub(super) theirs: IpAddr,
    pub(super) our_port: u16,
    pub(super) their_port: u16,
}

/// What a [`Key`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Tcp,
    Udp,
    Echo,
}

impl Key {
    /// The key of an echo: its number stands where the port would.
    pub(super) fn echo(ours: IpAddr, number: u16) -> Key {
        let theirs = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Key { kind: Kind::Echo, ours, theirs, our_port: number, their_port: 0 }
    }
}

/// One frame of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard<'a> {
    pub(super) from_mac: Mac,
    pub(super) to_mac: Mac,
    /// The IP source, if it is an IP packet.
    pub(super) from: Option<IpAddr>,
    pub(super) said: Said<'a>,
}

/// What it says, as far as we care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Arp { request: bool, sender: Ipv4Addr, target: Ipv4Addr },
    RouterSolicit,
    Solicit { target: Ipv6Addr },
    Advert { target: Ipv6Addr },
    Dhcp(&'a [u8]),
    Tcp { key: Key, flags: Flags, seq: u32, ack: u32 },
    Udp { key: Key, payload: &'a [u8] },
    EchoReply { key: Key },
    Error { to: IpAddr, kind: u8, code: u8, about: Option<Key> },
    Else,
}

/// The flags of a TCP segment that decide anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) rst: bool,
}

/// What the thread of the LAN tells a sweep.
#[derive(Debug, Clone, Copy)]
pub(super) enum Note {
    Arp { epoch: u16, from: Ipv4Addr },
    Advert { epoch: u16 },
    Tcp { key: Key, flags: Flags, ack: u32 },
    Reply { key: Key },
    Error { to: IpAddr, kind: u8, code: u8, about: Option<Key> },
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn ipv4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    array::<4>(bytes, at).map(Ipv4Addr::from)
}

fn ipv6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    array::<16>(bytes, at).map(Ipv6Addr::from)
}

/// Reads a frame of the guest; `None` for what is not even Ethernet.
pub(super) fn parse(frame: &[u8]) -> Option<Heard<'_>> {
    let mut heard = Heard { to_mac: array(frame, 0)?, from_mac: array(frame, 6)?, from: None, said: Said::Else };
    let payload = frame.get(14..)?;
    match u16_at(frame, 12)? {
        0x0806 => heard.said = arp(payload).unwrap_or(Said::Else),
        0x0800 | 0x86dd => {
            if let Some(packet) = packet(payload, false) {
                heard.from = Some(packet.from);
                heard.said = said(&packet).unwrap_or(Said::Else);
            }
        }
        _ => {}
    }
    Some(heard)
}

fn arp(bytes: &[u8]) -> Option<Said<'_>> {
    if bytes.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let request = match u16_at(bytes, 6)? {
        1 => true,
        2 => false,
        _ => return None,
    };
    Some(Said::Arp { request, sender: ipv4_at(bytes, 14)?, target: ipv4_at(bytes, 24)? })
}

struct Packet<'a> {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    payload: &'a [u8],
}

/// Reads the IP header. A packet quoted in an ICMP error is cut short, and that is fine there.
fn packet(bytes: &[u8], quoted: bool) -> Option<Packet<'_>> {
    let (from, to, protocol, start, end) = match bytes.first()? >> 4 {
        4 => {
            let start = usize::from(bytes[0] & 15) * 4;
            // Only the first fragment has ports.
            if start < 20 || u16_at(bytes, 6)? & 0x1fff != 0 {
                return None;
            }
            let end = usize::from(u16_at(bytes, 2)?);
            (ipv4_at(bytes, 12)?.into(), ipv4_at(bytes, 16)?.into(), *bytes.get(9)?, start, end)
        }
        6 => {
            let end = 40 + usize::from(u16_at(bytes, 4)?);
            (ipv6_at(bytes, 8)?.into(), ipv6_at(bytes, 24)?.into(), *bytes.get(6)?, 40, end)
        }
        _ => return None,
    };
    let end = if quoted { end.min(bytes.len()) } else { end };
    Some(Packet { from, to, protocol, payload: bytes.get(start..end)? })
}

fn said<'a>(packet: &Packet<'a>) -> Option<Said<'a>> {
    let bytes = packet.payload;
    let key = |kind| {
        let (their_port, our_port) = (u16_at(bytes, 0)?, u16_at(bytes, 2)?);
        Some(Key { kind, ours: packet.to, theirs: packet.from, our_port, their_port })
    };
    Some(match (packet.protocol, packet.from) {
        (6, _) => {
            let flags = *bytes.get(13)?;
            let flags = Flags { syn: flags & 2 != 0, ack: flags & 16 != 0, rst: flags & 4 != 0 };
            Said::Tcp { key: key(Kind::Tcp)?, flags, seq: u32_at(bytes, 4)?, ack: u32_at(bytes, 8)? }
        }
        (17, from) => {
            let key = key(Kind::Udp)?;
            let payload = bytes.get(8..)?;
            match (from.is_ipv4(), key.their_port, key.our_port) {
                (true, 68, 67) => Said::Dhcp(payload),
                _ => Said::Udp { key, payload },
            }
        }
        (1, IpAddr::V4(_)) => match *bytes.first()? {
            0 => Said::EchoReply { key: Key::echo(packet.to, u16_at(bytes, 4)?) },
            kind @ (3 | 11 | 12) => error(packet.to, kind, bytes)?,
            _ => Said::Else,
        },
        (58, IpAddr::V6(_)) => match *bytes.first()? {
            129 => Said::EchoReply { key: Key::echo(packet.to, u16_at(bytes, 4)?) },
            kind @ 1..=4 => error(packet.to, kind, bytes)?,
            133 => Said::RouterSolicit,
            135 => Said::Solicit { target: ipv6_at(bytes, 8)? },
            136 => Said::Advert { target: ipv6_at(bytes, 8)? },
            _ => Said::Else,
        },
        _ => Said::Else,
    })
}

fn error(to: IpAddr, kind: u8, bytes: &[u8]) -> Option<Said<'_>> {
    let code = *bytes.get(1)?;
    Some(Said::Error { to, kind, code, about: bytes.get(8..).and_then(quoted) })
}

/// The probe an ICMP error quotes: there we are the sender.
fn quoted(bytes: &[u8]) -> Option<Key> {
    let packet = packet(bytes, true)?;
    let kind = match packet.protocol {
        6 => Kind::Tcp,
        17 => Kind::Udp,
        1 | 58 => return Some(Key::echo(packet.from, u16_at(packet.payload, 4)?)),
        _ => return None,
    };
    let (our_port, their_port) = (u16_at(packet.payload, 0)?, u16_at(packet.payload, 2)?);
    Some(Key { kind, ours: packet.from, theirs: packet.to, our_port, their_port })
}
