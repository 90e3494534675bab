use super::*;
use crate::plan::Metadata;
use crate::plan::net::Cidr;
use crate::report::FromText;

fn filter(opens: Vec<Open>) -> Filter {
    Filter {
        unmatched: Unmatched::Drop,
        opens,
        exits: None,
        metadata: Metadata::Open,
        listed: None,
        ipv6: true,
        late: Vec::new(),
    }
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
    let made = windows(&filter(opens), false);
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
fn whom_a_list_names_reaches_nothing_and_hears_nothing() {
    let mut lists = crate::plan::blocklist::Builder::new(&[]);
    lists.source("list", b"9.9.8.0/21\n2a00:9::/32\n198.51.100.7\n".as_slice()).unwrap();
    let mut filter = filter(vec![open(22, &[], None, true), open(443, &[], Some("eth1"), false)]);
    filter.unmatched = Unmatched::Reject;
    filter.listed = Some(std::sync::Arc::new(lists.finish().blocklist.unwrap()));
    let made = proofs(&filter);
    for source in ["9.9.8.5", "2a00:9::5"] {
        let Check::Wire(knock) = check(&made, &format!("firewall/wire-tcp-22-{source}")) else { unreachable!() };
        assert_eq!((knock.wanted, &knock.interface), (Reaction::Silent, &None));
        let Check::Sweep(sweep) = check(&made, &format!("firewall/sweep-tcp-{source}")) else { unreachable!() };
        assert_eq!((sweep.open.len(), sweep.shut), (0, Reaction::Silent));
        // By the same way, and not listed itself.
        assert_eq!(sweep.witness.map(|w| (w.is_ipv4(), filter.lists(w))), Some((source.contains('.'), false)));
        let Check::Echo(echo) = check(&made, &format!("firewall/echo-{source}")) else { unreachable!() };
        assert!(!echo.answered);
    }
    // Who stands for anybody may be listed as well.
    let Check::Echo(echo) = check(&made, "firewall/echo-198.51.100.7-eth1") else { unreachable!() };
    assert!(!echo.answered);
    let windows = windows(&filter, false);
    let since = |id: &str, port: u16| {
        let Check::Window(window) = check(&windows, id) else { unreachable!("a window") };
        let of = |m: &&Moment| m.source.to_string() == "9.9.8.5" && m.port == port;
        window.knocks.iter().find(of).map(|m| (m.since, m.shut))
    };
    let never = Some((Since::Never, Reaction::Silent));
    // The gate asks no list.
    assert_eq!((since("firewall/window-first-boot", 22), since("firewall/window-first-boot", 443)), (None, never));
    assert_eq!((since("firewall/window-second-boot", 22), since("firewall/window-second-boot", 443)), (never, never));
}

fn counted(from: &[&str], interface: Option<&str>) -> Open {
    Open { rate: Some(Rate::from_text("30/minute").unwrap()), ..open(22, from, interface, true) }
}

#[test]
fn a_burst_comes_from_sources_that_nobody_else_has() {
    let opens =
        vec![counted(&["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.16/28"], None), open(80, &[], Some("eth1"), false)];
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
    let made = windows(&filter(opens), false);
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
    let made = windows(&filter(opens), false);
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
