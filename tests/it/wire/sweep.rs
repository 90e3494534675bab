//! Many probes at once.
use std::net::IpAddr;
use std::time::Instant;

use hardtack::prove::wire::{Answer, Probe, What, Why};

use super::machine::{Machine, deadline, figure};
use super::*;

#[test]
fn a_limit_of_icmp_errors_is_no_silence() {
    let (machine, lan, guest) = Machine::up(&["22"]);
    let dest = guest.ipv4.expect("seen");
    machine.run("iptables -P INPUT DROP");
    machine.run("iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
    machine.run("iptables -A INPUT -p tcp --dport 100:109 -j REJECT");
    // Ten refused among four hundred: more than the kernel says at once.
    let ports: Vec<u16> = (1..=400).collect();
    let expected: Vec<Answer> = ports
        .iter()
        .map(|port| match port {
            22 => OPEN,
            100..=109 => PORT4,
            _ => SILENT,
        })
        .collect();
    let started = Instant::now();
    check(&lan, FAR4, dest, &tcp(&ports), &expected);
    figure("400 ports, ten of them refused by ICMP", started);
    // All refused: that many cannot be asked slowly.
    machine.run("iptables -A INPUT -p tcp -j REJECT");
    let source = "192.0.2.6".parse().expect("an address");
    let probes: Vec<Probe> =
        ports.iter().map(|&port| Probe { source, dest: dest.into(), what: What::Tcp(port) }).collect();
    let answers = lan.probe(&probes, &deadline(60));
    let count = |wanted: Answer| answers.iter().filter(|&&answer| answer == wanted).count();
    assert_eq!((count(OPEN), count(SILENT)), (1, 0));
    assert_eq!(count(PORT4) + count(Answer::Unknown(Why::RateLimited)), 399);
    assert!(5 < count(PORT4), "{}", count(PORT4));
}

#[test]
fn all_ports_are_swept() {
    let (machine, lan, guest) = Machine::up(&["22", "8080"]);
    for tables in ["iptables", "ip6tables"] {
        machine.run(&format!("{tables} -P INPUT DROP"));
        machine.run(&format!("{tables} -A INPUT -p tcp --dport 22 -j ACCEPT"));
        machine.run(&format!(
            "{tables} -A INPUT -p tcp --dport 8080 -s {} -j ACCEPT",
            if tables == "iptables" { FAR4 } else { FAR6 }
        ));
        machine.run(&format!("{tables} -A INPUT -p tcp --dport 9090 -j REJECT"));
        machine.run(&format!("{tables} -A INPUT -p tcp --dport 9091 -j REJECT --reject-with tcp-reset"));
    }
    machine.run("ip6tables -A INPUT -p icmpv6 --icmpv6-type neighbour-solicitation -j ACCEPT");
    machine.run("ip6tables -A INPUT -p icmpv6 --icmpv6-type neighbour-advertisement -j ACCEPT");
    let (v4, v6): (IpAddr, IpAddr) = (guest.ipv4.expect("seen").into(), guest.ipv6_global.expect("seen").into());
    for (source, dest, port, open) in [
        (FAR4, v4, PORT4, &[22, 8080][..]),
        (NEAR4, v4, PORT4, &[22]),
        (FAR6, v6, PORT6, &[22, 8080]),
        (NEAR6, v6, PORT6, &[22]),
    ] {
        let from = source.parse().expect("an address");
        let probes: Vec<Probe> = (1..=65535).map(|port| Probe { source: from, dest, what: What::Tcp(port) }).collect();
        let started = Instant::now();
        let answers = lan.probe(&probes, &deadline(120));
        figure(&format!("65,535 ports from {source}"), started);
        let loud: Vec<(usize, Answer)> = answers
            .into_iter()
            .enumerate()
            .filter(|(_, answer)| *answer != SILENT)
            .map(|(at, answer)| (at + 1, answer))
            .collect();
        let mut expected: Vec<(usize, Answer)> = open.iter().map(|&port| (port, OPEN)).collect();
        expected.extend([(9090, port), (9091, RESET)]);
        assert_eq!(loud, expected, "from {source}");
    }
}
