//! Servers that the guest finds at addresses of our choosing.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};

use super::machine::Machine;
use super::*;

/// Echoes to everyone who comes, until the other side has said all.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let local = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(size) = stream.read(&mut buffer) {
                    if size == 0 || stream.write_all(&buffer[..size]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    local
}

/// Connects so many times at once, sends megabytes and has them back.
const CLIENT: &str = r#"
import hashlib, socket, sys, threading
host, port, times, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
good = []
def once(number):
    peer = socket.create_connection((host, port), timeout=60)
    data = hashlib.sha256(b'%d' % number).digest() * (size // 32)
    threading.Thread(target=lambda: (peer.sendall(data), peer.shutdown(socket.SHUT_WR)), daemon=True).start()
    back = b''.join(iter(lambda: peer.recv(65536), b''))
    good.append(back == data)
threads = [threading.Thread(target=once, args=(n,)) for n in range(times)]
[t.start() for t in threads]
[t.join() for t in threads]
assert good == [True] * times, good
print('ready', flush=True)
"#;

#[test]
fn the_guest_is_led_to_a_server_wherever_it_is() {
    let (mut machine, lan, _) = Machine::up(&[]);
    let local = echo();
    let places = ["169.254.169.254:80", "203.0.113.80:443", "198.18.0.88:443", "[2001:db8:ffff::80]:443"];
    let servers = places.map(|at| lan.serve(at.parse().expect("an address"), local).expect("a server"));
    for at in places {
        let at: SocketAddr = at.parse().expect("an address");
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        machine.spawn(CLIENT, &[&host, &port, "8", "1048576"]);
        // What it has begun is seen all the same.
        assert!(lan.capture().iter().any(|seen| seen.flow == Flow::Tcp && seen.dest == at), "{at}");
    }
    // More in a row than there is room for at once.
    for _ in 0..3 {
        machine.spawn(CLIENT, &["203.0.113.80", "443", "40", "3200"]);
    }
    machine.spawn(CLIENT, &["169.254.169.254", "80", "1", "20971520"]);
    // Another port is nobody's, and neither is a server that is gone.
    drop(servers);
    let nobody = "import socket, sys\ntry:\n  socket.create_connection(('203.0.113.80', int(sys.argv[1])), timeout=1)\n\
        except OSError:\n  print('ready', flush=True)\n";
    machine.spawn(nobody, &["443"]);
    machine.spawn(nobody, &["444"]);
    assert!(lan.serve("203.0.113.80:0".parse().expect("an address"), local).is_err());
}

/// Asks the router for a name, and prints what it says, in hexadecimal.
const ASK: &str = r#"
import socket, struct, sys
name, kind, want = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ask.settimeout(1)
question = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + struct.pack('>BHH', 0, kind, 1)
# With the record of EDNS that resolvers add.
ask.sendto(struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 1) + question + bytes.fromhex('00002904d0000000000000'), ('198.18.0.1', 53))
try:
    data = ask.recv(999)
    head = struct.unpack('>HHHHHH', data[:12])
    assert head == (7, head[1], 1, head[3], 0, 0) and data[12:12 + len(question)] == question, data
    said = data[12 + len(question):][12:].hex() if head[3] else {0x8180: 'none', 0x8183: 'no such name'}[head[1]]
except TimeoutError:
    said = 'silent'
assert said == want, said
print('ready', flush=True)
"#;

#[test]
fn the_name_server_answers_for_the_names_it_was_given() {
    let (mut machine, lan, _) = Machine::up(&[]);
    machine.spawn(ASK, &["lists.example.org", "1", "silent"]);
    let names: [(&str, IpAddr); 2] = [
        ("lists.example.org", IpAddr::from([203, 0, 113, 80])),
        ("six.example.org", FAR6.parse().expect("an address")),
    ];
    lan.names(names.map(|(name, at)| (name.to_owned(), at)).into_iter().collect::<BTreeMap<_, _>>());
    machine.spawn(ASK, &["lists.example.org", "1", "cb007150"]);
    machine.spawn(ASK, &["Lists.Example.org", "1", "cb007150"]);
    machine.spawn(ASK, &["lists.example.org", "28", "none"]);
    machine.spawn(ASK, &["six.example.org", "28", "20010db8ffff00000000000000000005"]);
    machine.spawn(ASK, &["other.example.org", "1", "no such name"]);
    assert!(lan.capture().iter().any(|seen| seen.flow == Flow::Dns("other.example.org".to_owned())));
}
