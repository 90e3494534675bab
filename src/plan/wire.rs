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
        let mut known = BTreeSet::new();
        sources.retain(|s| known.insert(*s));
        for source in sources {
            for protocol in [Tcp, Udp] {
                let open = filter.ports(protocol, |o| o.lets_in_from(source, card.name));
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
        for source in card.near.into_iter().chain(card.far) {
            let check = Check::Echo(Echo { source, interface: card.name.map(ToOwned::to_owned), answered: true });
            let statement = format!("an echo request from {source} is answered{}", on(card.name));
            proofs.push(proof(named("echo", source, card.name), &["R9", "RFC 4890"], statement, check));
        }
    }
    proofs
}

/// What may answer while the machine boots, for the first boot and for the one after. Asked for by `prove --timeline`.
#[must_use]
pub fn windows(filter: &Filter) -> Vec<Proof> {
    let tcp = || filter.opens.iter().filter(|o| o.protocol == Tcp);
    let mut ports: BTreeSet<u16> = WATCHED.into();
    ports.extend(tcp().flat_map(Open::ends));
    let declared: BTreeSet<Ports> = tcp().flat_map(|o| o.ports.iter().copied()).collect();
    let mut knocks = Vec::new();
    for card in filter.cards() {
        let mut sources: Vec<IpAddr> = card.far.iter().copied().chain(card.near).collect();
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
                knocks.push(Moment { source, interface, port: *port, since, shut });
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
            let statement = format!("from power-on to the end of the {words}, no TCP port answers before its stage");
            let check =
                Check::Window(Window { boot, knocks: knocks.clone(), declared: declared.iter().copied().collect() });
            proof(format!("window-{id}-boot"), &["R12", "R22", "R23"], statement, check)
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Metadata;
    use crate::plan::net::Cidr;
    use crate::report::FromText;

    fn filter(opens: Vec<Open>) -> Filter {
        Filter { unmatched: Unmatched::Drop, opens, exits: None, metadata: Metadata::Open }
    }

    fn open(port: u16, from: &[&str], interface: Option<&str>, from_the_gate: bool) -> Open {
        let from = from.iter().map(|c| Cidr::from_text(c).unwrap()).collect();
        let interface = interface.map(str::to_owned);
        Open { protocol: Tcp, ports: vec![Ports::one(port)], from, interface, rate: None, from_the_gate, span: None }
    }

    fn check<'a>(proofs: &'a [Proof], id: &str) -> &'a Check {
        &proofs
            .iter()
            .find(|p| p.id == id)
            .unwrap_or_else(|| panic!("no {id} in {:?}", proofs.iter().map(|p| &p.id).collect::<Vec<_>>()))
            .check
    }

    #[test]
    fn what_is_declared_and_what_is_not_are_both_knocked_on() {
        let filter = filter(vec![open(80, &["10.0.0.0/8"], None, false)]);
        let made = proofs(&filter);
        let wanted = |id: &str| match check(&made, id) {
            Check::Wire(k) => k.wanted,
            _ => unreachable!("a knock"),
        };
        assert_eq!(wanted("firewall/wire-tcp-80-10.0.0.205"), Reaction::Open);
        assert_eq!(wanted("firewall/wire-tcp-80-203.0.113.7"), Reaction::Silent);
        assert_eq!(wanted("firewall/wire-tcp-80-2001:db8:feed::7"), Reaction::Silent);
        assert_eq!(wanted("firewall/wire-tcp-4444-198.18.0.77"), Reaction::Silent);
        assert_eq!(wanted("firewall/wire-udp-4444-fe80::77"), Reaction::Silent);
    }

    #[test]
    fn a_rule_for_one_interface_counts_on_that_one_only() {
        let opens = vec![open(80, &[], Some("eth1"), false), open(22, &[], None, true)];
        let filter = filter(opens);
        assert_eq!(filter.interfaces(), ["eth1"]);
        let made = proofs(&filter);
        let open = |id: &str| match check(&made, id) {
            Check::Sweep(s) => s.open.iter().map(|p| p.first).collect::<Vec<_>>(),
            _ => unreachable!("a sweep"),
        };
        assert_eq!(open("firewall/sweep-tcp-198.18.1.77-eth1"), [22, 80]);
        assert_eq!(open("firewall/sweep-tcp-198.18.0.77"), [22]);
        assert_eq!(open("firewall/sweep-tcp-203.0.113.7"), [22]);
        assert_eq!(open("firewall/sweep-udp-203.0.113.7"), [0_u16; 0]);
        let knocks = |id: &str| match check(&made, id) {
            Check::Wire(k) => (k.interface.as_deref(), k.wanted),
            _ => unreachable!("a knock"),
        };
        assert_eq!(knocks("firewall/wire-tcp-80-198.51.100.7-eth1"), (Some("eth1"), Reaction::Open));
        assert_eq!(knocks("firewall/wire-tcp-80-203.0.113.7"), (None, Reaction::Silent));
    }

    #[test]
    fn nobody_knocks_on_two_cards() {
        let net = ["10.0.0.0/8", "2001:db8:9::/48"];
        let names = ["a", "b", "c", "d"];
        let mut opens: Vec<Open> = names.iter().map(|name| open(80, &net, Some(name), false)).collect();
        opens.push(open(443, &net, None, false));
        let mut seen: std::collections::BTreeMap<IpAddr, BTreeSet<Option<String>>> = Default::default();
        for proof in proofs(&filter(opens)) {
            let source = match &proof.check {
                Check::Wire(knock) => knock.source,
                Check::Sweep(sweep) => sweep.source,
                Check::Echo(echo) => echo.source,
                _ => continue,
            };
            seen.entry(source).or_default().insert(proof.check.interface().map(str::to_owned));
        }
        seen.remove(&IpAddr::V6(NEIGHBOUR6));
        assert!(seen.len() > 12 && seen.values().all(|cards| cards.len() == 1), "{seen:?}");
    }

    #[test]
    fn each_card_is_asked_from_near_and_from_far() {
        let names = ["a", "b", "c", "d"];
        let made = proofs(&filter(names.iter().map(|name| open(80, &[], Some(name), false)).collect()));
        for (name, far) in [("a", 1), ("b", 2)]
            .map(|(n, at)| (n, FAR[at]))
            .into_iter()
            .chain([("c", IpAddr::from([203, 0, 113, 10])), ("d", IpAddr::from([198, 51, 100, 11]))])
        {
            for what in ["echo", "sweep-tcp", "sweep-udp", "wire-tcp-4444", "wire-udp-4444", "wire-tcp-80"] {
                assert_eq!(check(&made, &format!("firewall/{what}-{far}-{name}")).interface(), Some(name));
            }
            check(&made, &format!("firewall/wire-udp-4444-fe80::77-{name}"));
        }
    }

    #[test]
    fn udp_ports_of_one_network_are_asked_from_all() {
        let opens = vec![Open { protocol: Udp, ..open(1194, &["10.0.0.0/8"], None, false) }];
        let made = proofs(&filter(opens));
        let asked = |id: &str| match check(&made, id) {
            Check::Sweep(s) => (s.ports().contains(&1194), s.lets_in(1194)),
            _ => unreachable!("a sweep"),
        };
        assert_eq!(asked("firewall/sweep-udp-10.0.0.205"), (true, true));
        assert_eq!(asked("firewall/sweep-udp-198.18.0.77"), (true, false));
        assert_eq!(asked("firewall/sweep-udp-2001:db8:feed::7"), (true, false));
    }

    #[test]
    fn a_port_may_answer_from_its_stage_on() {
        let opens = vec![open(22, &[], None, true), open(80, &[], None, false), open(81, &["10.0.0.0/8"], None, false)];
        let made = windows(&filter(opens));
        assert_eq!(made.len(), 2);
        let Check::Window(window) = check(&made, "firewall/window-first-boot") else { unreachable!("a window") };
        let since = |port| {
            let all: BTreeSet<Since> = window.knocks.iter().filter(|m| m.port == port).map(|m| m.since).collect();
            all.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(
            (since(22), since(80), since(81)),
            (vec![Since::Gate], vec![Since::Open], vec![Since::Open, Since::Never])
        );
        assert_eq!(since(4444), [Since::Never]);
        let sources: BTreeSet<String> = window.knocks.iter().map(|m| m.source.to_string()).collect();
        let wanted = ["10.0.0.205", "198.18.0.77", "2001:db8:feed::7", "203.0.113.7", "fe80::77"];
        assert_eq!(sources.into_iter().collect::<Vec<_>>(), wanted);
    }

    fn counted(from: &[&str], interface: Option<&str>) -> Open {
        Open { rate: Some(Rate::from_text("30/minute").unwrap()), ..open(22, from, interface, true) }
    }

    #[test]
    fn a_burst_comes_from_sources_that_nobody_else_has() {
        let opens = vec![
            counted(&["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.16/28"], None),
            open(80, &[], Some("eth1"), false),
        ];
        let made = proofs(&filter(opens));
        let bursts: Vec<&Burst> =
            made.iter().filter_map(|p| if let Check::Burst(b) = &p.check { Some(b) } else { None }).collect();
        // Two networks on two cards; the third is too small to keep anybody apart.
        let of = |b: &Burst| (b.sources[0].to_string(), b.sources.len(), b.interface.clone());
        assert_eq!(
            bursts.iter().map(|b| of(b)).collect::<Vec<_>>(),
            [
                ("10.0.1.0".to_owned(), 31, None),
                ("2001:db8:1:100::7".to_owned(), 31, None),
                ("10.0.2.0".to_owned(), 3, Some("eth1".to_owned())),
                ("2001:db8:1:200::7".to_owned(), 3, Some("eth1".to_owned())),
            ]
        );
        assert!(bursts.iter().all(|b| (b.port, b.begun, b.at_once, b.every_ms) == (22, 41, 20, 2000)));
        let others: BTreeSet<IpAddr> = made
            .iter()
            .filter_map(|p| match &p.check {
                Check::Wire(k) => Some(k.source),
                Check::Sweep(s) => Some(s.source),
                Check::Echo(e) => Some(e.source),
                _ => None,
            })
            .collect();
        assert!(bursts.iter().all(|b| b.sources.iter().all(|s| !others.contains(s))));
        // Anybody, and what no machine keeps up with.
        let made = proofs(&filter(vec![counted(&[], None)]));
        check(&made, "firewall/burst-tcp-22-198.19.1.0");
        check(&made, "firewall/burst-tcp-22-2001:db8:b000:100::7");
        let swift = Open { rate: Some(Rate::from_text("51/second").unwrap()), ..counted(&[], None) };
        assert!(!proofs(&filter(vec![swift])).iter().any(|p| matches!(p.check, Check::Burst(_))));
    }

    #[test]
    fn a_port_that_counts_is_watched_by_one_who_does_nothing_else() {
        let opens = vec![counted(&["10.0.0.0/8"], None), open(80, &[], None, false)];
        let made = windows(&filter(opens));
        let Check::Window(window) = check(&made, "firewall/window-first-boot") else { unreachable!("a window") };
        let lets_in = |port| {
            let of = |m: &&Moment| m.port == port && m.since != Since::Never;
            window.knocks.iter().filter(of).map(|m| (m.source.to_string(), m.since)).collect::<Vec<_>>()
        };
        assert_eq!(lets_in(22), [("10.0.1.31".to_owned(), Since::Gate)]);
        assert_eq!(lets_in(80).len(), 5);
        assert!(window.declared.contains(&Ports::one(22)));
    }

    #[test]
    fn every_card_is_watched_and_on_each_one_may_be_let_in() {
        let opens = vec![
            open(22, &["10.0.0.0/8"], Some("eth1"), true),
            open(443, &["10.0.0.0/8"], None, false),
            open(80, &[], Some("eth1"), false),
        ];
        let made = windows(&filter(opens));
        let Check::Window(window) = check(&made, "firewall/window-second-boot") else { unreachable!("a window") };
        let may = |interface: Option<&str>| {
            let of = |m: &&Moment| m.interface.as_deref() == interface && m.since != Since::Never;
            let all = window.knocks.iter().filter(of).map(|m| (m.port, m.since, m.source.to_string()));
            all.collect::<BTreeSet<_>>().into_iter().map(|(p, s, from)| format!("{p} {s:?} {from}")).collect::<Vec<_>>()
        };
        assert_eq!(may(None), ["443 Open 10.0.0.205"]);
        let all = ["80 Open 10.0.0.206", "80 Open 198.18.1.77", "80 Open 198.51.100.7", "80 Open 2001:db8:beef::7"];
        let all = [&["22 Gate 10.0.0.206"][..], &all, &["80 Open fe80::77", "443 Open 10.0.0.206"]].concat();
        assert_eq!(may(Some("eth1")), all);
    }
}
