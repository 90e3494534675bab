//! What the guest does by itself.
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use hardtack::prove::wire::{Flow, Network};

use super::machine::{Machine, deadline, run};
use super::*;

/// Stands in for dhclient-script, which would write the machine's own resolv.conf.
const LEASED: &str = r#"#!/bin/sh
env >> "$0.$reason"
case "$reason" in
BOUND) ip addr add "$new_ip_address/$new_subnet_mask" dev eth0; ip route add default via "$new_routers" ;;
RELEASE) ip addr flush dev eth0 scope global ;;
esac
"#;

#[test]
fn what_the_guest_begins_is_seen() {
    let (machine, lan, _) = Machine::up(&[]);
    let script = "import socket\n\
                  s = socket.socket(type=socket.SOCK_DGRAM)\n\
                  s.sendto(bytes([0,1,1,0,0,1,0,0,0,0,0,0,3])+b'foo'+bytes([2])+b'eu'+bytes([0,0,1,0,1]),('192.0.2.53',53))\n\
                  s.sendto(b'x',('192.0.2.123',123))\n\
                  t = socket.socket(); t.setblocking(False); t.connect_ex(('192.0.2.80',80))";
    let status = Command::new("ip").args(["netns", "exec", &machine.name, "python3", "-c", script]).status();
    assert!(status.expect("ip runs").success());
    let expected = [
        (Flow::Dns("foo.eu".to_owned()), "192.0.2.53:53"),
        (Flow::Udp, "192.0.2.123:123"),
        (Flow::Tcp, "192.0.2.80:80"),
    ]
    .map(|(flow, dest)| (flow, dest.parse::<SocketAddr>().expect("an address")));
    let begun = || {
        let all = lan.capture().into_iter().map(|seen| (seen.flow, seen.dest));
        all.filter(|(_, dest)| dest.ip().to_string().starts_with("192.0.2.")).collect::<Vec<_>>()
    };
    lan.wait(&deadline(10), &|_| begun().len() == 3);
    assert_eq!(begun(), expected);
}

#[test]
fn dhclient_takes_the_lease() {
    let machine = Machine::new();
    let lan = machine.lan();
    machine.run("ip link set lo up");
    machine.run("ip link set eth0 up");
    machine.run("iptables -P INPUT DROP");
    let script = machine.folder.path().join("leased");
    std::fs::write(&script, LEASED).expect("written");
    let path = |name: &str| machine.folder.path().join(name).display().to_string();
    run(&["chmod", "755", &path("leased")]);
    let (script, pid, leases) = (path("leased"), path("pid"), path("leases"));
    let client = |argument: &str| {
        machine.run(&format!("dhclient {argument} -sf {script} -pf {pid} -lf {leases} eth0"));
    };
    client("-1");
    assert!(lan.wait(&deadline(20), &|guest| guest.ipv4.is_some()), "{:?}", lan.guest());
    assert_eq!(lan.guest().ipv4, Some(Ipv4Addr::new(198, 18, 0, 10)));
    let bound = std::fs::read_to_string(path("leased.BOUND")).expect("it was bound");
    let expected = [
        "new_ip_address=198.18.0.10",
        "new_subnet_mask=255.255.255.0",
        "new_routers=198.18.0.1",
        "new_domain_name_servers=198.18.0.1",
        "new_dhcp_lease_time=3600",
        "new_dhcp_server_identifier=198.18.0.1",
    ];
    for line in expected {
        assert!(bound.lines().any(|found| found == line), "no {line} in\n{bound}");
    }
    let dest = Ipv4Addr::new(198, 18, 0, 10);
    machine.run("iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
    check(&lan, FAR4, dest, &tcp(&[22, 23]), &[RESET, SILENT]);
    // The address again after a restart, without a discovery, and then given back.
    client("-x");
    client("-1");
    assert!(std::fs::exists(path("leased.REBOOT")).expect("looked for"), "the old lease was not confirmed");
    client("-r");
    assert!(lan.wait(&deadline(20), &|guest| guest.ipv4.is_none()), "{:?}", lan.guest());
    let global: Ipv6Addr = lan.guest().ipv6_global.expect("seen");
    assert_eq!(global.segments()[..4], Network::default().prefix6.segments()[..4]);
}
