//! What the machine itself is made to hear.
use std::collections::BTreeSet;
use std::path::Path;

use hardtack::plan::net::Protocol;
use hardtack::prove::judge::Card;
use hardtack::prove::judge::wire::{Heard, LISTENER, Listening};

use super::machine::Machine;
use super::*;

/// Holds a port by UDP, and says nothing there.
const MUTE: &str = "import socket, sys, time\n\
                    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
                    s.bind(('::', int(sys.argv[1])))\n\
                    print('ready', flush=True)\n\
                    time.sleep(999)";

/// Reads a file as soon as it has what is looked for; with its last words at the end of the patience.
fn read(path: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<u8> {
    let late = deadline(20);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if wanted(&text) || late() {
            return text.into_bytes();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_the_firewall_lets_through_is_heard_whoever_answers() {
    let (mut machine, lan, guest) = Machine::up(&["22"]);
    machine.spawn(MUTE, &["5353"]);
    let folder = machine.folder.path().to_owned();
    let program = format!(
        "import os, sys\nprint('ready', flush=True)\nos.mkfifo(sys.argv[1] + '/ask')\nos.mkfifo(sys.argv[1] + '/tell')\n\
         os.dup2(os.open(sys.argv[1] + '/said', os.O_WRONLY | os.O_CREAT), 1)\n{LISTENER}"
    );
    machine.spawn(&program, &[folder.to_str().expect("UTF-8"), "tcp:22", "tcp:80", "udp:53", "udp:5353", "tcp", "udp"]);
    let listening = Listening::read(&read(&folder.join("said"), &|t| t.ends_with('\n')));
    let (v4, v6) = (guest.ipv4.expect("seen").into(), guest.ipv6_global.expect("seen").into());
    let local = guest.ipv6_link_local.expect("seen").into();
    for dest in [v4, v6, local] {
        for (protocol, port) in [(Protocol::Tcp, 22), (Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Udp, 5353)] {
            assert_eq!(listening.at(protocol, port, dest), Ok(()), "{dest} {port}");
        }
        assert_eq!((listening.hears(Protocol::Tcp, dest), listening.hears(Protocol::Udp, dest)), (Ok(()), Ok(())));
    }
    for tables in ["iptables", "ip6tables"] {
        for udp in ["53", "5353", "123"] {
            machine.run(&format!("{tables} -A INPUT -p udp --dport {udp} -j ACCEPT"));
        }
        machine.run(&format!("{tables} -A INPUT -p tcp --dport 81 -j ACCEPT"));
        machine.run(&format!("{tables} -A INPUT -p tcp -j REJECT --reject-with tcp-reset"));
        machine.run(&format!("{tables} -A INPUT -p udp -j DROP"));
    }
    let udp: Vec<What> = [5353, 161].map(What::Udp).into();
    for (source, dest) in [(NEAR4, v4), (FAR4, v4), (FAR6, v6), ("fe80::99", local)] {
        check(&lan, source, dest, &tcp(&[81, 82]), &[RESET, RESET]);
        check(&lan, source, dest, &udp, &[SILENT, SILENT]);
        let refused = if dest.is_ipv4() { PORT4 } else { PORT6 };
        check(&lan, source, dest, &[What::Udp(123)], &[refused]);
    }
    let card = |name: &str| Card { wanted: None, name: name.to_owned(), guest };
    // All that was sent has been answered, or something after it: so all has been heard that will be.
    std::fs::write(folder.join("ask"), "\n").expect("asked");
    let heard = Heard::read(&std::fs::read(folder.join("tell")).expect("told"));
    for source in [NEAR4, FAR4, FAR6, "fe80::99"] {
        let ports = |protocol| heard.ports(protocol, source.parse().expect("an address"), &card("eth0"));
        let (tcp, udp) = (ports(Protocol::Tcp), ports(Protocol::Udp));
        assert_eq!((tcp, udp), (BTreeSet::from([81]), BTreeSet::from([123, 5353])), "{source}: {heard:?}");
    }
    let other = heard.ports(Protocol::Tcp, "fe80::99".parse().expect("an address"), &card("eth1"));
    assert_eq!(other, BTreeSet::new());
}
