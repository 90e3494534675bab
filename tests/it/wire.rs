//! The prober against a real kernel: a network namespace is the guest, and a TAP device its network card.
mod bridge;
mod ear;
mod guest;
mod machine;
mod serve;
mod sweep;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use hardtack::prove::wire::{Answer, Flow, Lan, Probe, What, Why};
use machine::{Machine, deadline};

const NEAR4: &str = "198.18.0.77";
const FAR4: &str = "192.0.2.5";
const ROUTER4: &str = "198.18.0.1";
const NEAR6: &str = "2001:db8:77::77";
const FAR6: &str = "2001:db8:ffff::5";

fn tcp(ports: &[u16]) -> Vec<What> {
    ports.iter().copied().map(What::Tcp).collect()
}

#[track_caller]
fn check(lan: &Lan, source: &str, dest: impl Into<IpAddr>, what: &[What], expected: &[Answer]) {
    let (source, dest) = (source.parse().expect("an address"), dest.into());
    let probes: Vec<Probe> = what.iter().map(|&what| Probe { source, dest, what }).collect();
    assert_eq!(lan.probe(&probes, &deadline(60)), expected, "from {source}: {what:?}");
}

const OPEN: Answer = Answer::Open;
const RESET: Answer = Answer::Reset;
const SILENT: Answer = Answer::Silent;
const PORT4: Answer = Answer::Unreachable { kind: 3, code: 3 };
const PORT6: Answer = Answer::Unreachable { kind: 1, code: 4 };

#[test]
fn ipv4_answers_are_told_apart() {
    let (machine, lan, guest) = Machine::up(&["22", "80", "8080"]);
    let dest = guest.ipv4.expect("seen");
    assert_eq!(dest, Ipv4Addr::new(198, 18, 0, 10));
    // Without a firewall, to begin with: everyone sees the same.
    for source in [NEAR4, FAR4, ROUTER4] {
        check(&lan, source, dest, &tcp(&[22, 80, 443]), &[OPEN, OPEN, RESET]);
    }
    machine.run("iptables -P INPUT DROP");
    machine.run("iptables -A INPUT -s 203.0.113.0/24 -j DROP");
    machine.run("iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    machine.run("iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
    machine.run("iptables -A INPUT -p tcp --dport 8080 -s 198.51.100.0/24 -j ACCEPT");
    machine.run("iptables -A INPUT -p tcp --dport 9090 -j REJECT");
    machine.run("iptables -A INPUT -p tcp --dport 9091 -j REJECT --reject-with tcp-reset");
    machine.run("iptables -A INPUT -p tcp --dport 9092 -j REJECT --reject-with icmp-admin-prohibited");
    let prohibited = Answer::Unreachable { kind: 3, code: 13 };
    let what = tcp(&[22, 9090, 9091, 9092, 80, 8080, 443]);
    for source in [NEAR4, FAR4] {
        check(&lan, source, dest, &what, &[OPEN, PORT4, RESET, prohibited, SILENT, SILENT, SILENT]);
    }
    check(&lan, "198.51.100.11", dest, &what, &[OPEN, PORT4, RESET, prohibited, SILENT, OPEN, SILENT]);
    check(&lan, "203.0.113.7", dest, &what, &[SILENT; 7]);
    // A neighbour never heard of, and only refused: its reset must not be late. The guest may not even ask who that
    // is; it was told.
    machine.run("sysctl -qw net.ipv4.neigh.eth0.mcast_solicit=0");
    check(&lan, "198.18.0.200", dest, &tcp(&[9091]), &[RESET]);
    check(&lan, FAR6, dest, &tcp(&[22]), &[Answer::Unknown(Why::MixedFamilies)]);
    assert_eq!(lan.capture().iter().filter(|seen| seen.flow == Flow::Tcp).count(), 0);
}

#[test]
fn ipv6_answers_are_told_apart() {
    let (machine, lan, guest) = Machine::up(&["22", "80"]);
    let (global, local) = (guest.ipv6_global.expect("seen"), guest.ipv6_link_local.expect("seen"));
    for source in [NEAR6, FAR6, "fe80::99"] {
        check(&lan, source, local, &tcp(&[22, 80, 443]), &[OPEN, OPEN, RESET]);
        check(&lan, source, global, &tcp(&[22, 80, 443]), &[OPEN, OPEN, RESET]);
    }
    machine.run("ip6tables -P INPUT DROP");
    machine.run("ip6tables -A INPUT -p icmpv6 --icmpv6-type neighbour-solicitation -j ACCEPT");
    machine.run("ip6tables -A INPUT -p icmpv6 --icmpv6-type neighbour-advertisement -j ACCEPT");
    machine.run("ip6tables -A INPUT -p icmpv6 --icmpv6-type echo-request -s 2001:db8:ffff::/48 -j ACCEPT");
    machine.run("ip6tables -A INPUT -p tcp --dport 22 -j ACCEPT");
    machine.run("ip6tables -A INPUT -p tcp --dport 9090 -j REJECT");
    machine.run("ip6tables -A INPUT -p tcp --dport 9091 -j REJECT --reject-with tcp-reset");
    machine.run("ip6tables -A INPUT -p udp --dport 9090 -j REJECT");
    for source in [NEAR6, FAR6] {
        check(&lan, source, global, &tcp(&[22, 9090, 9091, 80]), &[OPEN, PORT6, RESET, SILENT]);
        check(&lan, source, global, &[What::Udp(9090), What::Udp(53)], &[PORT6, SILENT]);
    }
    check(&lan, NEAR6, global, &[What::Echo], &[SILENT]);
    check(&lan, FAR6, global, &[What::Echo], &[Answer::Reply]);
    machine.run("sysctl -qw net.ipv6.neigh.eth0.mcast_solicit=0");
    check(&lan, "2001:db8:77::200", global, &tcp(&[9091]), &[RESET]);
    // Without neighbour discovery there is no barrier, and nothing is claimed.
    machine.run("ip6tables -D INPUT -p icmpv6 --icmpv6-type neighbour-solicitation -j ACCEPT");
    check(&lan, FAR6, global, &tcp(&[80]), &[Answer::Unknown(Why::NeighbourSilent)]);
    machine.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
    check(&lan, FAR6, global, &tcp(&[22, 80]), &[Answer::Unknown(Why::NeighbourSilent); 2]);
    check(&lan, FAR4, guest.ipv4.expect("seen"), &tcp(&[22]), &[OPEN]);
}

#[test]
fn datagrams_and_echoes_are_answered() {
    let (mut machine, lan, guest) = Machine::up(&[]);
    let dest = guest.ipv4.expect("seen");
    let script = "import socket\ns = socket.socket(type=socket.SOCK_DGRAM)\ns.bind(('', 5353))\nprint('ready', \
                  flush=True)\nwhile True:\n  s.sendto(*s.recvfrom(99))";
    machine.spawn(script, &[]);
    for source in [NEAR4, FAR4] {
        check(&lan, source, dest, &[What::Echo, What::Udp(999)], &[Answer::Reply, PORT4]);
    }
    // An answer from a program, which may be later than the barrier: asked until it was not.
    let probe = [Probe { source: FAR4.parse().expect("an address"), dest: dest.into(), what: What::Udp(5353) }];
    let late = deadline(10);
    while lan.probe(&probe, &late) != [Answer::Reply] {
        assert!(!late(), "no datagram came back");
    }
    let begun = |seen: &&hardtack::prove::wire::Seen| seen.dest.ip() == FAR4.parse::<IpAddr>().expect("an address");
    assert_eq!(lan.capture().iter().find(begun), None, "an answer was taken for a flow of the guest's own");
    machine.run("iptables -A INPUT -s 192.0.2.0/24 -j DROP");
    check(&lan, FAR4, dest, &[What::Echo, What::Udp(999), What::Udp(5353)], &[SILENT; 3]);
    check(&lan, NEAR4, dest, &[What::Echo], &[Answer::Reply]);
}

#[test]
fn a_lost_barrier_is_no_silence() {
    let (machine, lan, guest) = Machine::up(&["22"]);
    let dest = guest.ipv4.expect("seen");
    check(&lan, FAR4, dest, &tcp(&[22]), &[OPEN]);
    machine.run("ip link set eth0 down");
    let started = Instant::now();
    let probes = [Probe { source: FAR4.parse().expect("an address"), dest: dest.into(), what: What::Tcp(22) }; 3];
    assert_eq!(lan.probe(&probes, &deadline(2)), [Answer::Unknown(Why::GivenUp); 3]);
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(lan.probe(&probes, &deadline(60)), [Answer::Unknown(Why::BarrierLost); 3]);
    machine.run("ip link set eth0 up");
    machine.run("ip route add default via 198.18.0.1");
    check(&lan, FAR4, dest, &tcp(&[22, 23]), &[OPEN, RESET]);
    drop(machine);
    assert_eq!(lan.probe(&probes, &deadline(60)), [Answer::Unknown(Why::WireClosed); 3]);
}
