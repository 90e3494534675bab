//! A guest of namespaces.
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hardtack::prove::wire::{Guest, Lan, Network};

/// What QEMU would do: a network card on one side, frames with their lengths on the other. Opening a TAP device
/// takes an ioctl, and so unsafe code, which the crate forbids.
const CARD: &str = r#"
import fcntl, os, socket, struct, sys, threading
tap = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'eth0', 0x1002))
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print('ready', flush=True)
wire, _ = server.accept()
def transmit():
    while True:
        try:
            frame = os.read(tap, 65536)
        except OSError:
            threading.Event().wait(0.05)
            continue
        frame = frame.ljust(60, b'\0')
        wire.sendall(struct.pack('>I', len(frame)) + frame)
threading.Thread(target=transmit, daemon=True).start()
stream = wire.makefile('rb')
while True:
    head = stream.read(4)
    if len(head) < 4:
        os._exit(0)
    try:
        os.write(tap, stream.read(struct.unpack('>I', head)[0]))
    except OSError:
        pass
"#;

/// Accepts on every port given, and echoes.
const ECHO: &str = r#"
import selectors, socket, sys, threading
def serve(peer):
    try:
        while data := peer.recv(65536):
            peer.sendall(data)
        peer.close()
    except OSError:
        pass
chosen = selectors.DefaultSelector()
for port in sys.argv[1:]:
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(('::', int(port)))
    server.listen(64)
    chosen.register(server, selectors.EVENT_READ)
print('ready', flush=True)
while True:
    for key, _ in chosen.select():
        peer, _ = key.fileobj.accept()
        threading.Thread(target=serve, args=(peer,), daemon=True).start()
"#;

/// One guest.
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Machine {
    pub(super) fn new() -> Machine {
        let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
        let found = |tool: &&str| folders.iter().any(|folder| folder.join(tool).exists());
        let tools = ["ip", "iptables", "ip6tables", "python3", "dhclient", "sysctl"];
        let missing: Vec<&str> = tools.into_iter().filter(|tool| !found(tool)).collect();
        assert!(missing.is_empty(), "these tests need {}", missing.join(", "));
        assert!(PathBuf::from("/dev/net/tun").exists(), "these tests need /dev/net/tun");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("htw{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(&["ip", "netns", "add", &name]);
        let mut machine = Machine { name, folder: tempfile::tempdir().expect("a folder"), children: Vec::new() };
        let socket = machine.socket();
        machine.spawn(CARD, &[socket.to_str().expect("a path in UTF-8")]);
        machine
    }

    /// A guest with its addresses, and something that listens.
    pub(super) fn up(listen: &[&str]) -> (Machine, Lan, Guest) {
        let mut machine = Machine::new();
        machine.run("sysctl -qw net.ipv6.conf.eth0.accept_dad=0");
        let lan = machine.lan();
        machine.run("ip link set lo up");
        machine.run("ip addr add 198.18.0.10/24 dev eth0");
        machine.run("ip link set eth0 up");
        machine.run("ip route add default via 198.18.0.1");
        let ready = |guest: &Guest| guest.ipv4.is_some() && guest.ipv6_global.is_some();
        assert!(lan.wait(&deadline(20), &ready), "no addresses were seen: {:?}", lan.guest());
        if !listen.is_empty() {
            machine.spawn(ECHO, listen);
        }
        let guest = lan.guest();
        (machine, lan, guest)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("wire")
    }

    pub(super) fn lan(&self) -> Lan {
        Lan::connect(&self.socket(), Network::default()).expect("the card listens")
    }

    /// Runs a command in the guest.
    pub(super) fn run(&self, line: &str) {
        let argv: Vec<&str> = ["ip", "netns", "exec", &self.name].into_iter().chain(line.split(' ')).collect();
        run(&argv);
    }

    /// Starts Python in the guest and waits until it says that it is ready.
    pub(super) fn spawn(&mut self, script: &str, arguments: &[&str]) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name, "python3", "-c", script])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let stdout = child.stdout.take().expect("a pipe");
        self.children.push(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[track_caller]
pub(super) fn run(argv: &[&str]) {
    let output = Command::new(argv[0]).args(&argv[1..]).output().expect("it starts");
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(super) fn deadline(seconds: u64) -> impl Fn() -> bool {
    let end = Instant::now() + Duration::from_secs(seconds);
    move || end < Instant::now()
}

/// Says how fast it was.
#[expect(clippy::print_stdout, reason = "figures are for whoever asks the tests with --nocapture")]
pub(super) fn figure(of: &str, started: Instant) {
    println!("{of}: {:.2} s", started.elapsed().as_secs_f64());
}
