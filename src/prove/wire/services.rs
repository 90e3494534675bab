//! What a LAN answers: ARP, DHCP, neighbour and router solicitations; and what it learns by listening.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::build;
use super::frames::{self, Heard, Mac, Said, our_mac};
use super::{Guest, MOST_ROUTES, Network};

/// More addresses than this the guest can have, and we forget the oldest.
const ADDRESSES: usize = 16;
const LEASE: u32 = 3600;
/// The half of an IPv6 address that the guest chooses.
const IDENTIFIER: u128 = u64::MAX as u128;

/// The servers of the LAN.
pub(super) struct Services {
    network: Network,
    /// Every IPv6 address the guest has claimed, the latest last: these are never ours.
    claimed: Vec<Ipv6Addr>,
}

impl Services {
    pub(super) fn new(network: Network) -> Services {
        Services { network, claimed: Vec::new() }
    }

    /// Takes from a frame what it tells of the guest.
    pub(super) fn learn(&mut self, heard: &Heard<'_>, guest: &mut Guest) {
        guest.frames += 1;
        if heard.from_mac[0] & 1 == 0 {
            guest.mac = Some(heard.from_mac);
        }
        match (heard.from, heard.said) {
            // A probe of ARP has no sender, and says only what it would like to be.
            (None, Said::Arp { sender, .. }) => self.learn4(sender, guest),
            (Some(IpAddr::V4(from)), _) => self.learn4(from, guest),
            (Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), Said::Solicit { target })
            | (Some(IpAddr::V6(_)), Said::Advert { target }) => self.learn6(target, true, guest),
            (Some(IpAddr::V6(from)), _) => self.learn6(from, false, guest),
            (None, _) => {}
        }
    }

    fn learn4(&self, address: Ipv4Addr, guest: &mut Guest) {
        if self.network.on_link4(address) && address != self.network.router4 {
            guest.ipv4 = Some(address);
        }
    }

    // A machine of two cards may answer by one with the link-local address of the other (seen on Linux, while a card comes up): what it
    // has claimed counts, and what it has merely said something as counts until then.
    fn learn6(&mut self, address: Ipv6Addr, claims: bool, guest: &mut Guest) {
        if address.is_multicast() || address.is_unspecified() || address == frames::ROUTER6 {
            return;
        }
        if address.is_unicast_link_local() {
            if claims || guest.ipv6_link_local.is_none() {
                guest.ipv6_link_local = Some(address);
            }
        } else if self.network.on_link6(address) {
            guest.ipv6_global = Some(address);
        } else {
            return;
        }
        self.claimed.retain(|&other| other != address);
        self.claimed.push(address);
        if ADDRESSES < self.claimed.len() {
            self.claimed.remove(0);
        }
    }

    /// The frames that answer a frame.
    pub(super) fn answer(&mut self, heard: &Heard<'_>, guest: &mut Guest) -> Option<Vec<u8>> {
        let macs = (our_mac(0), heard.from_mac);
        match heard.said {
            // No sender: somebody checks that an address is free. Sender and target alike: somebody announces.
            // To answer either would be to claim the address the guest is about to take.
            Said::Arp { request: true, sender, target } => {
                let free = sender.is_unspecified() || sender == target;
                let theirs = target == self.network.guest4 || Some(target) == guest.ipv4;
                (!free && !theirs).then(|| build::arp_frame(false, macs.0, macs.1, target, sender))
            }
            Said::RouterSolicit => Some(self.advert()),
            Said::Solicit { target } => match heard.from {
                Some(IpAddr::V6(from)) if !from.is_unspecified() && !self.claimed.contains(&target) => {
                    Some(build::advert(macs, target, from))
                }
                _ => None,
            },
            Said::Dhcp(payload) => self.dhcp(payload, heard.from_mac, guest),
            _ => None,
        }
    }

    fn advert(&self) -> Vec<u8> {
        let Network { prefix6, default_route, ref routes, .. } = self.network;
        let routes: Vec<Ipv6Addr> =
            routes.iter().filter_map(|a| if let IpAddr::V6(a) = a { Some(*a) } else { None }).collect();
        build::router_advert(prefix6, default_route, &routes)
    }

    /// What is said unasked, once in a while.
    pub(super) fn chatter(&self, guest: &Guest) -> Vec<Vec<u8>> {
        let mut frames = vec![self.advert()];
        frames.extend(self.ask(guest));
        frames
    }

    /// Asks for the addresses the guest ought to have as long as nobody was seen to have them. Some DHCP clients
    /// never announce theirs, and a guest whose RAM was restored claimed its own before we were there. In IPv6 the
    /// guess is that both addresses end alike.
    pub(super) fn ask(&self, guest: &Guest) -> Vec<Vec<u8>> {
        let Network { router4, guest4, prefix6, .. } = self.network;
        let mut frames = Vec::new();
        if guest.ipv4.is_none() {
            frames.push(build::arp_frame(true, our_mac(0), [0; 6], router4, guest4));
        }
        if let Guest { mac: Some(mac), ipv6_link_local: Some(local), ipv6_global: None, .. } = *guest {
            let target = Ipv6Addr::from(u128::from(prefix6) & !IDENTIFIER | u128::from(local) & IDENTIFIER);
            frames.push(build::solicit((our_mac(0), mac), frames::ROUTER6, target));
        }
        frames
    }

    fn dhcp(&self, payload: &[u8], from_mac: Mac, guest: &mut Guest) -> Option<Vec<u8>> {
        let request = Request::parse(payload)?;
        let Network { guest4, router4, .. } = self.network;
        let wanted = request.wanted.unwrap_or(request.client);
        let kind = match request.kind {
            1 => {
                guest.ipv4 = None;
                2
            }
            3 if request.server.is_some_and(|server| server != router4) => return None,
            3 if wanted == guest4 => 5,
            3 => 6,
            7 => {
                guest.ipv4 = None;
                return None;
            }
            8 => 5,
            _ => return None,
        };
        let bytes = request.reply(kind, &self.network);
        let to = if kind == 6 || (request.broadcast && request.client.is_unspecified()) {
            Ipv4Addr::BROADCAST
        } else if request.client.is_unspecified() {
            guest4
        } else {
            request.client
        };
        let mac = if to.is_broadcast() { [0xff; 6] } else { from_mac };
        let (from, to) = (SocketAddr::from((router4, 67)), SocketAddr::from((to, 68)));
        Some(build::udp((our_mac(0), mac), from, to, &bytes))
    }
}

/// What a DHCP client asks for.
struct Request<'a> {
    /// The fixed part, which the answer mostly repeats.
    head: &'a [u8],
    kind: u8,
    client: Ipv4Addr,
    broadcast: bool,
    wanted: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    identifier: Option<&'a [u8]>,
}

impl Request<'_> {
    fn parse(payload: &[u8]) -> Option<Request<'_>> {
        let head = payload.get(..240)?;
        if head[..3] != [1, 1, 6] || head[236..] != [99, 130, 83, 99] {
            return None;
        }
        let client = Ipv4Addr::new(head[12], head[13], head[14], head[15]);
        let broadcast = head[10] & 0x80 != 0;
        let mut request = Request { head, kind: 0, client, broadcast, wanted: None, server: None, identifier: None };
        let address = |data: &[u8]| <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
        let mut rest = &payload[240..];
        while let Some((&code, after)) = rest.split_first() {
            match code {
                0 => rest = after,
                255 => break,
                _ => {
                    let (&size, after) = after.split_first()?;
                    let (data, after) = after.split_at_checked(usize::from(size))?;
                    match code {
                        50 => request.wanted = address(data),
                        53 => request.kind = *data.first()?,
                        54 => request.server = address(data),
                        61 => request.identifier = Some(data),
                        _ => {}
                    }
                    rest = after;
                }
            }
        }
        Some(request)
    }

    fn reply(&self, kind: u8, network: &Network) -> Vec<u8> {
        let mut bytes = self.head.to_vec();
        bytes[0] = 2;
        // Hops and seconds are the client's to say; server and boot file names would be ours, and are none.
        bytes[3] = 0;
        bytes[8..10].fill(0);
        bytes[16..24].fill(0);
        bytes[44..236].fill(0);
        let mut option = |code: u8, data: &[u8]| {
            bytes.push(code);
            bytes.push(data.len() as u8);
            bytes.extend_from_slice(data);
        };
        let router = network.router4.octets();
        option(53, &[kind]);
        option(54, &router);
        if let Some(identifier) = self.identifier {
            option(61, identifier);
        }
        if kind != 6 {
            option(1, &network.mask4().octets());
            if network.default_route {
                option(3, &router);
            }
            let routes: Vec<u8> = network
                .routes
                .iter()
                .filter_map(|a| if let IpAddr::V4(a) = a { Some(a.octets()) } else { None })
                .take(MOST_ROUTES)
                .flat_map(|to| std::iter::once(32).chain(to).chain(router))
                .collect();
            if !routes.is_empty() {
                option(121, &routes);
            }
            option(6, &router);
            if self.kind != 8 {
                option(51, &LEASE.to_be_bytes());
                option(58, &(LEASE / 2).to_be_bytes());
                option(59, &(LEASE / 8 * 7).to_be_bytes());
            }
        }
        bytes.push(255);
        match (kind, self.kind) {
            (6, _) => bytes[12..16].fill(0),
            (_, 8) => {}
            _ => bytes[16..20].copy_from_slice(&network.guest4.octets()),
        }
        bytes.resize(bytes.len().max(300), 0);
        bytes
    }
}
