//! The frames we send: smoltcp writes them, checksums and all.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Duration;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4Packet,
    Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, IpRepr, NdiscNeighborFlags, NdiscPrefixInfoFlags,
    NdiscPrefixInformation, NdiscRepr, NdiscRouterFlags, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
    UdpRepr,
};

use super::frames::{Mac, ROUTER6, our_mac};

/// An Ethernet frame around `size` bytes, padded as a wire would.
fn ethernet(from: Mac, to: Mac, ethertype: EthernetProtocol, size: usize, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = vec![0; (14 + size).max(60)];
    let repr = EthernetRepr { src_addr: EthernetAddress(from), dst_addr: EthernetAddress(to), ethertype };
    repr.emit(&mut EthernetFrame::new_unchecked(&mut bytes[..]));
    fill(&mut bytes[14..14 + size]);
    bytes
}

fn ip(
    (from, to): (Mac, Mac),
    (source, dest): (IpAddr, IpAddr),
    (protocol, hops): (IpProtocol, u8),
    size: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let repr = IpRepr::new(source.into(), dest.into(), protocol, size, hops);
    let ethertype = if source.is_ipv4() { EthernetProtocol::Ipv4 } else { EthernetProtocol::Ipv6 };
    ethernet(from, to, ethertype, repr.buffer_len(), |bytes| {
        repr.emit(&mut bytes[..], &ChecksumCapabilities::default());
        fill(&mut bytes[repr.header_len()..]);
    })
}

/// An ARP request or answer of ours.
pub(super) fn arp_frame(request: bool, from: Mac, to: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let (operation, wire_to) = if request { (ArpOperation::Request, [0xff; 6]) } else { (ArpOperation::Reply, to) };
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(from),
        source_protocol_addr: sender,
        target_hardware_addr: EthernetAddress(if request { [0; 6] } else { to }),
        target_protocol_addr: target,
    };
    ethernet(from, wire_to, EthernetProtocol::Arp, repr.buffer_len(), |bytes| {
        repr.emit(&mut ArpPacket::new_unchecked(bytes));
    })
}

fn ndp(macs: (Mac, Mac), source: Ipv6Addr, dest: Ipv6Addr, repr: NdiscRepr<'_>) -> Vec<u8> {
    let repr = Icmpv6Repr::Ndisc(repr);
    ip(macs, (source.into(), dest.into()), (IpProtocol::Icmpv6, 255), repr.buffer_len(), |bytes| {
        repr.emit(&source, &dest, &mut Icmpv6Packet::new_unchecked(bytes), &ChecksumCapabilities::default());
    })
}

/// Asks the guest for its own address, and so tells it who `source` is. Unicast, as the kernel's own probes of a
/// neighbour it knows are: no multicast filter can be in the way.
pub(super) fn solicit(macs: (Mac, Mac), source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let lladdr = Some(EthernetAddress(macs.0).into());
    ndp(macs, source, target, NdiscRepr::NeighborSolicit { target_addr: target, lladdr })
}

/// Says that `target` is ours. The router keeps saying that it is a router: without the flag Linux drops the
/// default route.
pub(super) fn advert(macs: (Mac, Mac), target: Ipv6Addr, dest: Ipv6Addr) -> Vec<u8> {
    let mut flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    flags.set(NdiscNeighborFlags::ROUTER, target == ROUTER6);
    let lladdr = Some(EthernetAddress(macs.0).into());
    ndp(macs, target, dest, NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr })
}

/// The router advertisement: our prefix, on-link and autonomous.
///
/// `default_route` says whether we lead everywhere, else only to `routes`, by an option of RFC 4191 that smoltcp does not write.
pub(super) fn router_advert(prefix: Ipv6Addr, default_route: bool, routes: &[Ipv6Addr]) -> Vec<u8> {
    let macs = (our_mac(0), [0x33, 0x33, 0, 0, 0, 1]);
    let repr = NdiscRepr::RouterAdvert {
        hop_limit: 64,
        flags: NdiscRouterFlags::empty(),
        router_lifetime: Duration::from_secs(if default_route { 1800 } else { 0 }),
        reachable_time: Duration::ZERO,
        retrans_time: Duration::ZERO,
        lladdr: Some(EthernetAddress(our_mac(0)).into()),
        mtu: None,
        prefix_info: Some(NdiscPrefixInformation {
            prefix_len: 64,
            flags: NdiscPrefixInfoFlags::ON_LINK | NdiscPrefixInfoFlags::ADDRCONF,
            valid_lifetime: Duration::from_secs(86400),
            preferred_lifetime: Duration::from_secs(14400),
            prefix,
        }),
    };
    let mut options = Vec::new();
    for route in routes {
        // Type, length in eights, length of the prefix, preference; then the lifetime and the prefix.
        options.extend([24, 3, 128, 0]);
        options.extend(1800_u32.to_be_bytes());
        options.extend(route.octets());
    }
    let dest = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let repr = Icmpv6Repr::Ndisc(repr);
    let size = repr.buffer_len();
    ip(macs, (ROUTER6.into(), dest.into()), (IpProtocol::Icmpv6, 255), size + options.len(), |bytes| {
        let (head, tail) = bytes.split_at_mut(size);
        tail.copy_from_slice(&options);
        repr.emit(&ROUTER6, &dest, &mut Icmpv6Packet::new_unchecked(head), &ChecksumCapabilities::default());
        Icmpv6Packet::new_unchecked(bytes).fill_checksum(&ROUTER6, &dest);
    })
}

/// A SYN, or the RST that ends what a SYN began.
pub(super) fn tcp(macs: (Mac, Mac), from: SocketAddr, to: SocketAddr, control: TcpControl, seq: u32) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: from.port(),
        dst_port: to.port(),
        control,
        seq_number: TcpSeqNumber(seq as i32),
        ack_number: None,
        window_len: if control == TcpControl::Syn { 64240 } else { 0 },
        window_scale: None,
        max_seg_size: (control == TcpControl::Syn).then_some(if from.is_ipv4() { 1460 } else { 1440 }),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    ip(macs, (from.ip(), to.ip()), (IpProtocol::Tcp, 64), repr.buffer_len(), |bytes| {
        let (from, to) = (from.ip().into(), to.ip().into());
        repr.emit(&mut TcpPacket::new_unchecked(bytes), &from, &to, &ChecksumCapabilities::default());
    })
}

/// A datagram.
pub(super) fn udp(macs: (Mac, Mac), from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let repr = UdpRepr { src_port: from.port(), dst_port: to.port() };
    ip(macs, (from.ip(), to.ip()), (IpProtocol::Udp, 64), repr.header_len() + payload.len(), |bytes| {
        let (from, to) = (from.ip().into(), to.ip().into());
        let mut packet = UdpPacket::new_unchecked(bytes);
        let fill = |bytes: &mut [u8]| bytes.copy_from_slice(payload);
        repr.emit(&mut packet, &from, &to, payload.len(), fill, &ChecksumCapabilities::default());
    })
}

/// An echo request; `None` if the two addresses are not of one family.
pub(super) fn echo(macs: (Mac, Mac), from: IpAddr, to: IpAddr, ident: u16) -> Option<Vec<u8>> {
    let (seq_no, data, caps) = (1, &b"hardtack"[..], ChecksumCapabilities::default());
    match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let repr = Icmpv4Repr::EchoRequest { ident, seq_no, data };
            Some(ip(macs, (from, to), (IpProtocol::Icmp, 64), repr.buffer_len(), |bytes| {
                repr.emit(&mut Icmpv4Packet::new_unchecked(bytes), &caps);
            }))
        }
        (IpAddr::V6(source), IpAddr::V6(dest)) => {
            let repr = Icmpv6Repr::EchoRequest { ident, seq_no, data };
            Some(ip(macs, (from, to), (IpProtocol::Icmpv6, 64), repr.buffer_len(), |bytes| {
                repr.emit(&source, &dest, &mut Icmpv6Packet::new_unchecked(bytes), &caps);
            }))
        }
        _ => None,
    }
}

/// The hardware address of a destination: the guest, or all of its network.
pub(super) fn mac(dest: IpAddr, guest: Mac) -> Mac {
    match dest {
        IpAddr::V4(dest) if dest.is_broadcast() => [0xff; 6],
        IpAddr::V4(dest) if dest.is_multicast() => {
            let [_, b, c, d] = dest.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(dest) if dest.is_multicast() => {
            let [.., a, b, c, d] = dest.octets();
            [0x33, 0x33, a, b, c, d]
        }
        _ => guest,
    }
}
