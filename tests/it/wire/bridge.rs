//! Connections from anywhere.
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use hardtack::prove::wire::BridgeEnd;

use super::machine::{Machine, figure};
use super::*;

/// Sends a megabyte and reads it back.
fn exchange(local: SocketAddr) {
    let mut stream = TcpStream::connect(local).expect("the bridge listens");
    let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().expect("a clone");
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent).expect("written");
            writer.shutdown(Shutdown::Write).expect("shut down");
        });
        stream.read_to_end(&mut received).expect("read");
    });
    assert!(received == sent, "{} bytes came back", received.len());
}

#[test]
fn bridges_carry_both_ways_from_any_source() {
    let (machine, lan, guest) = Machine::up(&["22"]);
    for tables in ["iptables", "ip6tables"] {
        machine.run(&format!("{tables} -P INPUT DROP"));
        machine.run(&format!("{tables} -A INPUT -p tcp --dport 22 -j ACCEPT"));
        machine.run(&format!("{tables} -A INPUT -p tcp --dport 9091 -j REJECT --reject-with tcp-reset"));
        machine.run(&format!("{tables} -A INPUT -p tcp --dport 9090 -j REJECT"));
    }
    machine.run("ip6tables -A INPUT -p icmpv6 --icmpv6-type neighbour-solicitation -j ACCEPT");
    machine.run("ip6tables -A INPUT -p icmpv6 --icmpv6-type neighbour-advertisement -j ACCEPT");
    let v4 = |port| SocketAddr::from((guest.ipv4.expect("seen"), port));
    let v6 = |port| SocketAddr::from((guest.ipv6_global.expect("seen"), port));
    let local = SocketAddr::from((guest.ipv6_link_local.expect("seen"), 22));
    let ways = [
        (FAR4, v4(22)),
        (NEAR4, v4(22)),
        (ROUTER4, v4(22)),
        (FAR6, v6(22)),
        (NEAR6, v6(22)),
        ("fe80::42", local),
        ("203.0.113.7", v4(22)),
        ("8.8.8.8", v4(22)),
        ("198.51.100.9", v4(22)),
    ];
    let bridges = ways.map(|(source, dest)| lan.bridge(source.parse().expect("an address"), dest).expect("a bridge"));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for bridge in &bridges {
            scope.spawn(|| exchange(bridge.local));
        }
    });
    figure("a megabyte both ways through nine bridges", started);
    assert_eq!(bridges.each_ref().map(|bridge| bridge.outcome()), [Some(BridgeEnd::Open); 9]);
    // One round trip after the other, as ssh has them.
    let mut stream = TcpStream::connect(bridges[0].local).expect("the bridge listens");
    stream.set_nodelay(true).expect("set");
    let started = Instant::now();
    for _ in 0..100 {
        stream.write_all(b"ping").expect("written");
        let mut back = [0; 4];
        stream.read_exact(&mut back).expect("read");
        assert_eq!(&back, b"ping");
    }
    figure("a hundred round trips", started);
    for (source, dest) in [(FAR4, v4(9091)), (FAR4, v4(9090)), (FAR6, v6(9091)), (NEAR6, v6(9090))] {
        let bridge = lan.bridge(source.parse().expect("an address"), dest).expect("a bridge");
        let mut refused = TcpStream::connect(bridge.local).expect("the bridge listens");
        let end = refused.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "{source} to {dest}");
        assert_eq!(bridge.outcome(), Some(BridgeEnd::Refused));
    }
    let bridge = lan.bridge(FAR4.parse().expect("an address"), v4(80)).expect("a bridge");
    assert_eq!(bridge.outcome(), None);
    let mut silent = TcpStream::connect(bridge.local).expect("the bridge listens");
    assert!(silent.read(&mut [0]).is_err());
    assert_eq!(bridge.outcome(), Some(BridgeEnd::Silent));
    // Dropped, a bridge takes its visitors along.
    drop(bridges);
    assert!(stream.read(&mut [0]).is_err());
    assert!(lan.bridge(FAR6.parse().expect("an address"), v4(22)).is_err());
}
