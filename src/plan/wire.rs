//! What must be seen on the wire for a filter to have come true. Worked out from what the filter is to do, never from the rules
//! that were written for it: so that a rule that was written wrongly is seen.
//!
//! A machine has a card for each interface that a rule names, and one that no rule names, which has the default route.

use super::net::{FAR, NEIGHBOUR6, Ports, Protocol, neighbour4};
use super::proof::{Boot, Check, Echo, Knock, Moment, Proof, Reaction, Since, Sweep, Window};
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
    /// Which address of a network knocks here: each card has another, for the same reason as with `far`.
    number: u8,
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
                number: 200_u8.wrapping_add(at),
            })
            .collect()
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
                    knock(open.protocol, port, net.sample(card.number), card.name);
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
        sources.extend(nets.map(|net| net.sample(card.number)));
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
        sources.extend(nets.min_by_key(|(late, ipv6, _)| (*late, *ipv6)).map(|(.., net)| net.sample(card.number)));
        for source in sources {
            for port in &ports {
                let lets_in =
                    |o: &&Open| o.ports.iter().any(|p| p.contains(*port)) && o.lets_in_from(source, card.name);
                let since = match tcp().filter(lets_in).map(|o| o.from_the_gate).max() {
                    Some(true) => Since::Gate,
                    Some(false) => Since::Open,
                    None => Since::Never,
                };
                let (interface, shut) = (card.name.map(ToOwned::to_owned), filter.shut_to(Tcp, source));
                knocks.push(Moment { source, interface, port: *port, since, shut });
            }
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
        Open { protocol: Tcp, ports: vec![Ports::one(port)], from, interface, from_the_gate, span: None }
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
