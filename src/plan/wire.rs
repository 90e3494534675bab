//! What must be seen on the wire for a filter to have come true. Worked out from what the filter is to do, never from the rules
//! that were written for it: so that a rule that was written wrongly is seen.
//!
//! A machine has a card for each interface that a rule names, and one that no rule names, which has the default route.

use super::filter::{BURST, Rate};
use super::net::{Cidr, FAR, NEIGHBOUR6, Ports, Protocol, link4, neighbour4};
use super::proof::{Boot, Burst, Check, Echo, Knock, Moment, Proof, Reaction, Since, Sweep, Window};
use super::{Filter, Open, Unmatched, outbound};
use Protocol::{Tcp, Udp};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// TCP ports that a boot is watched at whether a rule names them or not: what images start by themselves, and what is scanned for.
const WATCHED: [u16; 24] = [
    21, 22, 23, 25, 53, 80, 110, 111, 143, 443, 445, 631, 2049, 2375, 3306, 3389, 4444, 5355, 5432, 5900, 6379, 8080,
    9100, 27017,
];

/// A card of the machine, and who can reach it: its neighbours from the same network, and some from far away.
struct Card<'a> {
    name: Option<&'a str>,
    near: [IpAddr; 2],
    far: [IpAddr; 2],
    at: u8,
}

impl Card<'_> {
    // Which address of a network knocks here: each card has another, for the same reason as with `far`.
    fn number(&self) -> u8 {
        200_u8.wrapping_add(self.at)
    }
}

impl Filter {
    /// The interfaces that rules name, in the order of the machine's cards after the first, which no rule names.
    #[must_use]
    pub fn interfaces(&self) -> Vec<&str> {
        let names: BTreeSet<&str> = self.opens.iter().filter_map(|o| o.interface.as_deref()).collect();
        names.into_iter().collect()
    }

    fn shut(&self) -> Reaction {
        match self.unmatched {
            Unmatched::Drop => Reaction::Silent,
            Unmatched::Reject => Reaction::Refused,
        }
    }

    // The kernel sends the reset of REJECT to a link-local address by the first card that has come up (nf_send_reset6 looks
    // up the way without the card that the packet came by; seen with Linux 6.1 and 6.18), so on another card it is lost.
    fn shut_to(&self, protocol: Protocol, source: IpAddr) -> Reaction {
        if self.lists(source) {
            return Reaction::Silent;
        }
        let link_local = matches!(source, IpAddr::V6(a) if a.is_unicast_link_local());
        match self.shut() {
            Reaction::Refused if protocol == Tcp && link_local && !self.interfaces().is_empty() => Reaction::Shut,
            shut => shut,
        }
    }

    fn cards(&self) -> Vec<Card<'_>> {
        let names = std::iter::once(None).chain(self.interfaces().into_iter().map(Some));
        (0..)
            .zip(names)
            .map(|(at, name)| Card {
                name,
                near: [IpAddr::V4(neighbour4(at)), IpAddr::V6(NEIGHBOUR6)],
                far: far(at),
                at,
            })
            .collect()
    }

    /// One of each family whom a list keeps out.
    fn kept_out(&self) -> impl Iterator<Item = IpAddr> {
        self.listed.iter().flat_map(|list| [true, false].into_iter().filter_map(|ipv4| list.sample(ipv4)))
    }

    /// What each source may begin only so many of.
    fn counted(&self) -> impl Iterator<Item = (&Open, Rate)> {
        self.opens.iter().filter(|o| o.protocol == Tcp).filter_map(|o| Some((o, o.rate?)))
    }

    /// The ports that are let in by those rules.
    fn ports(&self, protocol: Protocol, by: impl Fn(&&Open) -> bool) -> Vec<Ports> {
        let rules = self.opens.iter().filter(|o| o.protocol == protocol).filter(by);
        let ports: BTreeSet<Ports> = rules.flat_map(|o| o.ports.iter().copied()).collect();
        ports.into_iter().collect()
    }
}

// Who is far lies behind one card only, or the machine would not know where to answer to: from the fourth card on, others of
// the same networks.
fn far(card: u8) -> [IpAddr; 2] {
    let host = if card < 3 { 0 } else { card };
    let at = usize::from(card % 3);
    [FAR[at], FAR[at + 3]].map(|address| match address {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) + u32::from(host)).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a) + u128::from(host)).into()),
    })
}

fn on(interface: Option<&str>) -> String {
    interface.map(|i| format!(" on {i}")).unwrap_or_default()
}

fn named(what: &str, source: IpAddr, interface: Option<&str>) -> String {
    format!("{what}-{source}{}", interface.map(|i| format!("-{i}")).unwrap_or_default())
}

fn proof(what: String, refs: &[&str], statement: String, check: Check) -> Proof {
    Proof::new("firewall", &what, refs, statement, check)
}

/// All that is seen on the wire of a machine that has booted.
#[must_use]
pub fn proofs(filter: &Filter) -> Vec<Proof> {
    let mut all = knocks(filter);
    all.extend(sweeps(filter));
    all.extend(bursts(filter));
    all.extend(echoes(filter));
    all.extend(outbound::proofs(filter));
    // Where there is no IPv6, its silence would tell nothing of rules.
    all.retain(|proof| filter.ipv6 || !proof.check.is_of_ipv6());
    all
}

// Ports that rules name, at both ends of a range, from those that may and those that may not: something listens there,
// so only the firewall keeps them shut.
fn knocks(filter: &Filter) -> Vec<Proof> {
    let mut proofs: Vec<Proof> = Vec::new();
    let mut known = BTreeSet::new();
    let mut knock = |protocol: Protocol, port: u16, source: IpAddr, interface: Option<&str>| {
        if !known.insert((protocol, port, source, interface.map(ToOwned::to_owned))) {
            return;
        }
        let open = filter.lets_in(protocol, port, source, interface);
        let wanted = if open { Reaction::Open } else { filter.shut_to(protocol, source) };
        let (what, refs): (_, &[&str]) =
            if open { ("lets in", &["R11", "R15", "R16"]) } else { ("keeps out", &["R6", "R16", "R19"]) };
        let statement = format!("the firewall {what} {source} at {port}/{}{}", protocol.as_str(), on(interface));
        let id = named(&format!("wire-{}-{port}", protocol.as_str()), source, interface);
        let check = Check::Wire(Knock { source, interface: interface.map(ToOwned::to_owned), protocol, port, wanted });
        proofs.push(proof(id, refs, statement, check));
    };
    let cards = filter.cards();
    for open in &filter.opens {
        // A rule for one card is tried on that one, and on the one that no rule names, where it must not count.
        for card in cards.iter().filter(|c| c.name.is_none() || c.name == open.interface.as_deref()) {
            for port in open.ends() {
                for net in open.from.iter().filter(|_| card.name == open.interface.as_deref()) {
                    knock(open.protocol, port, net.sample(card.number()), card.name);
                }
                for source in &card.far {
                    knock(open.protocol, port, *source, card.name);
                }
                for source in filter.kept_out().filter(|_| card.name.is_none()) {
                    knock(open.protocol, port, source, card.name);
                }
                // Where a rule names its sources, one that no rule names must stay out.
                for ipv4 in [true, false] {
                    let others = |a: &IpAddr| cards.iter().any(|c| c.name != card.name && c.far.contains(a));
                    let far = FAR.iter().filter(|a| a.is_ipv4() == ipv4 && card.name.is_none() && !others(a));
                    if let Some(out) = far.copied().find(|a| !filter.lets_in(open.protocol, port, *a, card.name)) {
                        knock(open.protocol, port, out, card.name);
                    }
                }
            }
        }
    }
    // A port that no rule names, on each card, from near and far.
    for protocol in [Tcp, Udp] {
        let unlisted = (4444..=u16::MAX).chain(1..4444).find(|port| {
            !filter.opens.iter().any(|o| o.protocol == protocol && o.ports.iter().any(|p| p.contains(*port)))
        });
        let Some(port) = unlisted else { continue };
        for card in &cards {
            for source in card.far.into_iter().chain(card.near) {
                knock(protocol, port, source, card.name);
            }
        }
    }
    proofs
}

// Every port, from each kind of source: near, far, and each network that a rule names.
fn sweeps(filter: &Filter) -> Vec<Proof> {
    let mut proofs = Vec::new();
    for card in filter.cards() {
        let mut sources: Vec<IpAddr> = card.near.into_iter().chain(card.far).collect();
        let nets = filter.opens.iter().filter(|o| card.name == o.interface.as_deref()).flat_map(|o| &o.from);
        sources.extend(nets.map(|net| net.sample(card.number())));
        sources.extend(filter.kept_out().filter(|_| card.name.is_none()));
        let mut known = BTreeSet::new();
        sources.retain(|s| known.insert(*s));
        for source in sources {
            for protocol in [Tcp, Udp] {
                let open = filter.ports(protocol, |o| !filter.lists(source) && o.lets_in_from(source, card.name));
                let declared = if protocol == Udp { filter.ports(protocol, |_| true) } else { Vec::new() };
                let (word, refs): (_, &[&str]) = match protocol {
                    Tcp => ("of all 65,535 TCP ports", &["R6", "R11", "R16", "R19"]),
                    Udp => ("of the declared and the commonly abused UDP ports", &["R6", "R16", "R19"]),
                };
                let statement = format!("{word}, {source} reaches those of the spec and no other{}", on(card.name));
                let check = Check::Sweep(Sweep {
                    source,
                    interface: card.name.map(ToOwned::to_owned),
                    protocol,
                    open,
                    declared,
                    shut: filter.shut_to(protocol, source),
                    witness: filter
                        .lists(source)
                        .then(|| card.far[usize::from(source.is_ipv6())])
                        .filter(|who| !filter.lists(*who)),
                });
                let id = named(&format!("sweep-{}", protocol.as_str()), source, card.name);
                proofs.push(proof(id, refs, statement, check));
            }
        }
    }
    proofs
}

/// So many sources are kept for the bursts on the first card, so that they can be tried again and again before any is used twice.
const CROWD: u8 = 32;
/// And so many behind the router of another card, where each needs a route of its own.
const FEW: u8 = 4;
/// A rate above this hardly holds anybody back, and a burst that shows it would be one that no machine keeps up with.
const SHOWN: u128 = 50;

impl Card<'_> {
    // Sources of a network that are counted each by itself and that nothing else comes from, since whoever knocks, sweeps or logs in
    // has one of its first 256 addresses; of IPv6 a source is a /64. None where the network is too small for that.
    fn crowd(&self, from: Option<Cidr>, ipv4: bool) -> Vec<IpAddr> {
        // Neighbours need no route.
        let link = from.is_none() && ipv4 && self.name.is_some();
        let net = from.unwrap_or(match ipv4 {
            true if link => Cidr::new(link4(self.at).into()),
            true => Cidr::ANYBODY4,
            false => Cidr::ANYBODY6,
        });
        let most = if self.name.is_none() || link { CROWD } else { FEW };
        // Each card has its own.
        let number = |n: u8| 0x100 * (u32::from(self.at) + 1) + u32::from(n);
        let source = |n: u8| match net.network() {
            _ if link => net.sample(100 + n),
            IpAddr::V4(a) => IpAddr::V4(u32::from(a).wrapping_add(number(n)).into()),
            IpAddr::V6(a) => IpAddr::V6(u128::from(a).wrapping_add((u128::from(number(n)) << 64) + 7).into()),
        };
        (0..most).map(source).filter(|source| net.contains(*source)).collect()
    }
}

// Each source may begin so many and no more, and none is held back by another one.
fn bursts(filter: &Filter) -> Vec<Proof> {
    let mut proofs: Vec<Proof> = Vec::new();
    for (open, rate) in filter.counted() {
        let every_ms = rate.every().as_millis();
        if every_ms * SHOWN < 1000 {
            continue;
        }
        for card in filter.cards().iter().filter(|c| open.interface.is_none() || c.name == open.interface.as_deref()) {
            for sources in crowds(open, card) {
                let (Some(port), Some(first)) = (open.ports.first().map(|p| p.first), sources.first()) else {
                    continue;
                };
                // Twice what is let in at once, and what two seconds add to that.
                let begun = 2 * BURST + u16::try_from(2000 / every_ms.max(1)).unwrap_or(u16::MAX);
                let statement = format!(
                    "of {begun} connections that a source like {first} begins at once to {port}/tcp{}, {BURST} are let in and \
                     then {}; no other source is held back by that",
                    on(card.name),
                    rate.words()
                );
                let id = named(&format!("burst-tcp-{port}"), *first, card.name);
                let check = Check::Burst(Burst {
                    interface: card.name.map(ToOwned::to_owned),
                    port,
                    begun,
                    at_once: BURST,
                    every_ms: u64::try_from(every_ms).unwrap_or(u64::MAX),
                    sources,
                });
                if proofs.iter().all(|p| p.id != format!("firewall/{id}")) {
                    proofs.push(proof(id, &["R11", "iptables-extensions(8)"], statement, check));
                }
            }
        }
    }
    proofs
}

// For each network of a rule; the last of each is left to whoever watches the boot.
fn crowds(open: &Open, card: &Card<'_>) -> Vec<Vec<IpAddr>> {
    let all = if open.from.is_empty() {
        vec![card.crowd(None, true), card.crowd(None, false)]
    } else {
        open.from.iter().map(|net| card.crowd(Some(*net), net.is_ipv4())).collect()
    };
    all.into_iter().map(|mut crowd| (crowd.pop(), crowd).1).filter(|crowd| crowd.len() > 1).collect()
}

// Who watches a port while the machine boots that counts its visitors: nobody else may, or the others would be kept out later.
fn watcher(open: &Open, card: &Card<'_>) -> IpAddr {
    let net = open.from.iter().min_by_key(|net| (!net.is_ipv4(), **net));
    let crowd = card.crowd(net.copied(), net.is_none_or(|net| net.is_ipv4()));
    crowd.last().copied().unwrap_or_else(|| net.map_or(card.far[0], |net| net.sample(90)))
}

fn echoes(filter: &Filter) -> Vec<Proof> {
    let mut proofs = Vec::new();
    for card in filter.cards() {
        let listed = filter.kept_out().filter(|_| card.name.is_none());
        for source in card.near.into_iter().chain(card.far).chain(listed) {
            let answered = !filter.lists(source);
            let check = Check::Echo(Echo { source, interface: card.name.map(ToOwned::to_owned), answered });
            let word = if answered { "answered" } else { "not answered" };
            let statement = format!("an echo request from {source} is {word}{}", on(card.name));
            proofs.push(proof(named("echo", source, card.name), &["R9", "RFC 4890"], statement, check));
        }
    }
    proofs
}

/// What may answer while the machine boots, for the first boot and for the one after. Where user-data comes to it `by_network`, the
/// first of them begins with the gate. Asked for by `prove --timeline`.
#[must_use]
pub fn windows(filter: &Filter, by_network: bool) -> Vec<Proof> {
    let tcp = || filter.opens.iter().filter(|o| o.protocol == Tcp);
    let mut ports: BTreeSet<u16> = WATCHED.into();
    ports.extend(tcp().flat_map(Open::ends));
    let declared: BTreeSet<Ports> = tcp().flat_map(|o| o.ports.iter().copied()).collect();
    let (mut knocks, mut later) = (Vec::new(), Vec::new());
    for card in filter.cards() {
        let listed = filter.kept_out().filter(|_| card.name.is_none());
        let mut sources: Vec<IpAddr> = card.far.iter().copied().chain(card.near).chain(listed).collect();
        // One must be let in, and best at the gate: for a card that nobody hears is no card that is shut.
        let named = tcp().filter(|o| o.interface.as_deref() == card.name);
        let nets = named.flat_map(|o| o.from.iter().map(|net| (!o.from_the_gate, !net.is_ipv4(), *net)));
        sources.extend(nets.min_by_key(|(late, ipv6, _)| (*late, *ipv6)).map(|(.., net)| net.sample(card.number())));
        for source in sources {
            for port in &ports {
                let lets_in =
                    |o: &&Open| o.ports.iter().any(|p| p.contains(*port)) && o.lets_in_from(source, card.name);
                if tcp().filter(lets_in).any(|o| o.rate.is_some()) {
                    continue;
                }
                let since = match tcp().filter(lets_in).map(|o| o.from_the_gate).max() {
                    Some(true) => Since::Gate,
                    Some(false) => Since::Open,
                    None => Since::Never,
                };
                let (interface, shut) = (card.name.map(ToOwned::to_owned), filter.shut_to(Tcp, source));
                let moment = |since| Moment { source, interface, port: *port, since, shut };
                match since {
                    // The gate asks no list: until the first boot has succeeded, nothing is said of whom one keeps out.
                    Since::Gate if filter.lists(source) => later.push(moment(Since::Never)),
                    _ if filter.lists(source) => knocks.push(moment(Since::Never)),
                    _ => knocks.push(moment(since)),
                }
            }
        }
        let here = |o: &Open| o.interface.is_none() || o.interface.as_deref() == card.name;
        for (open, _) in filter.counted().filter(|(open, _)| here(open)) {
            let (source, interface) = (watcher(open, &card), card.name.map(ToOwned::to_owned));
            let since = if open.from_the_gate { Since::Gate } else { Since::Open };
            let moment =
                |port| Moment { source, interface: interface.clone(), port, since, shut: filter.shut_to(Tcp, source) };
            knocks.extend(open.ends().map(moment));
        }
    }
    [(Boot::First, "first boot", "first"), (Boot::Second, "boot after it", "second")]
        .map(|(boot, words, id)| {
            let from_gate = (by_network && boot == Boot::First) || filter.late.contains(&boot);
            let from = if from_gate { "from when the gate stands" } else { "from power-on" };
            let statement = format!("{from} to the end of the {words}, no TCP port answers before its stage");
            let mut knocks = knocks.clone();
            knocks.extend(later.iter().filter(|_| boot == Boot::Second).cloned());
            knocks.retain(|m| filter.ipv6 || m.source.is_ipv4());
            let check = Check::Window(Window { boot, knocks, from_gate, declared: declared.iter().copied().collect() });
            proof(format!("window-{id}-boot"), &["R12", "R22", "R23"], statement, check)
        })
        .into()
}

#[cfg(test)]
mod tests;
