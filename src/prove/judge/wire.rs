//! Proofs seen from the wire: packets from any address to ports where something surely listens.

use super::{Card, place};
use crate::plan::net::Protocol;
use crate::plan::proof::{Knock, Reaction};
use crate::prove::verdict::{Judgement, Verdict};
use crate::prove::wire::{Answer, Probe, What};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A script that makes something listen on every port that is knocked on, so that only a firewall can keep it shut, and that
/// hears what is let through by these protocols. Where something listens already, that answers.
#[must_use]
pub fn listen(knocks: &[&Knock], ears: &BTreeSet<Protocol>) -> String {
    let ports: BTreeSet<String> = knocks.iter().map(|k| format!("{}:{}", k.protocol.as_str(), k.port)).collect();
    let words: Vec<String> = ports.into_iter().chain(ears.iter().map(|p| p.as_str().to_owned())).collect();
    // Each program that is started costs an emulated machine a tenth of a second, and so does one that is waited for by looking.
    format!(
        "d={FOLDER}; mkdir -p -m 700 $d; [ ! -e $d/pid ] || {{ {HUSH}}}\n\
         cat >$d/listen.py <<'PYTHON'\n{LISTENER}PYTHON\n\
         mkfifo $d/said $d/ask $d/tell || exit\n\
         python3 -IS $d/listen.py $d {} </dev/null >$d/said 2>&1 &\n\
         echo $! >$d/pid; cat $d/said\n",
        words.join(" ")
    )
}

const FOLDER: &str = "/run/hardtack-prove";

/// Ends what [`listen`] began, and waits for its ports to be free.
pub const HUSH: &str = "d=/run/hardtack-prove; read -r p <$d/pid && kill $p; n=0; while kill -0 $p && [ $n -lt 99999 ]; do \
    n=$((n + 1)); done 2>/dev/null; rm -f $d/listen.py $d/pid $d/said $d/ask $d/tell; ";

/// The program of [`listen`]: its arguments are a folder, ports (`tcp:80`) and protocols (`udp`).
///
/// For a port, a socket for each family on every address; where one of the machine's own holds the port on another address
/// only (a resolver on 127.0.0.53, say), on each address of its cards. Prints which it has, and which were taken.
///
/// For a protocol, raw sockets: they get all that has come through the firewall's INPUT, whether the port is free or somebody
/// keeps silent there (raw(7); net/ipv4/ip_input.c, ip_local_deliver_finish). What the machine sends on to others (DNAT) does
/// not come there. To each line in the pipe `ask` it answers in the pipe `tell` with all that has come so far: who, to which port.
// `_socket` is what `socket` wraps: to load the wrapper, or what starts programs, costs an emulated machine half a second.
pub const LISTENER: &str = r#"
import _socket as socket, errno, os, select, sys
folder = sys.argv[1]
poll, sockets, said, known = select.poll(), {}, [], set()
families = ((socket.AF_INET6, "inet6", "::"), (socket.AF_INET, "inet", "0.0.0.0"))
read, write = os.pipe()
os.posix_spawnp("ip", ["ip", "-o", "addr", "show", "up"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
os.close(write)
cards = [a for a in map(str.split, os.fdopen(read)) if a[1] != "lo" and a[2] in ("inet", "inet6")]

def keep(s, kind):
    s.setblocking(False)
    sockets[s.fileno()] = (s, kind)
    poll.register(s.fileno(), select.POLLIN)

def listen(word, family, host, scope=""):
    proto, port = word.split(":")
    try:
        s = socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND: the address may be tentative still.
        if proto == "tcp":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(socket.getaddrinfo(host + scope, int(port), family)[0][4])
        if proto == "tcp":
            s.listen(64)
        keep(s, proto)
        said.append(word + " " + host + " listening")
    except OSError as e:
        said.append(word + " " + host + " " + ("taken" if e.errno == errno.EADDRINUSE else str(e)))
    return said[-1].endswith(" listening")

def ear(proto, family, host):
    try:
        s = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP if proto == "tcp" else socket.IPPROTO_UDP)
        s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
        keep(s, "ear " + proto)
        said.append(proto + " " + host + " listening")
    except OSError as e:
        said.append(proto + " " + host + " " + str(e))

def hear(s, proto):
    data, peer = s.recvfrom(128)
    if s.family == socket.AF_INET:
        data = data[(data[0] & 15) * 4:]
    # Of TCP, what begins a connection.
    if len(data) < 8 or proto == "tcp" and (len(data) < 14 or data[13] & 0x12 != 2):
        return
    who = peer[0].split("%")[0]
    if len(peer) > 3 and peer[3]:
        who += "%" + socket.if_indextoname(peer[3])
    # Of a machine without a firewall, not all 65,535 from everyone.
    if len(known) < 9999:
        known.add(proto + " " + who + " " + str(int.from_bytes(data[2:4], "big")) + "\n")

def answer():
    os.read(ask, 64)
    for s, kind in list(sockets.values()):
        try:
            while kind.startswith("ear "):
                hear(s, kind[4:])
        except OSError:
            pass
    with open(folder + "/tell", "w") as f:
        f.writelines(sorted(known))

for word in sys.argv[2:]:
    for family, name, any_ in families:
        if ":" not in word:
            ear(word, family, any_)
        elif not listen(word, family, any_):
            for card in (c for c in cards if c[2] == name):
                host = card[3].split("/")[0]
                listen(word, family, host, "%" + card[1] if host.startswith("fe80") else "")
# Open for both, so that it never ends.
ask = os.open(folder + "/ask", os.O_RDWR)
poll.register(ask, select.POLLIN)
print("\n".join(said), flush=True)
nothing = os.open("/dev/null", os.O_RDWR)
os.dup2(nothing, 1)
os.dup2(nothing, 2)
while True:
    for ready, _ in poll.poll():
        if ready == ask:
            answer()
            continue
        s, kind = sockets[ready]
        try:
            if kind == "tcp":
                os.close(s._accept()[0])
            elif kind == "udp":
                data, peer = s.recvfrom(2048)
                s.sendto(data or b"x", peer)
            else:
                hear(s, kind[4:])
        except OSError:
            pass
"#;

/// What [`listen`] printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening(String);

impl Listening {
    /// Reads it.
    #[must_use]
    pub fn read(printed: &[u8]) -> Self {
        Listening(String::from_utf8_lossy(printed).into_owned())
    }

    /// Whether somebody listens at a port of the machine.
    ///
    /// # Errors
    /// Nobody is known to, and why.
    pub fn at(&self, protocol: Protocol, port: u16, dest: IpAddr) -> Result<(), String> {
        let word = format!("{}:{port}", protocol.as_str());
        match (self.said(&word, any(dest)), self.said(&word, dest)) {
            (Some("listening"), _) | (_, Some("listening" | "taken")) => Ok(()),
            (any, one) => Err(self.trouble(one.or(any), &format!("listen at {port}/{}", protocol.as_str()))),
        }
    }

    /// Whether what is let through by a protocol is heard.
    ///
    /// # Errors
    /// It is not, and why.
    pub fn hears(&self, protocol: Protocol, dest: IpAddr) -> Result<(), String> {
        match self.said(protocol.as_str(), any(dest)) {
            Some("listening") => Ok(()),
            other => Err(self.trouble(other, &format!("hear {}", protocol.as_str()))),
        }
    }

    fn said(&self, word: &str, host: IpAddr) -> Option<&str> {
        let begin = format!("{word} {host} ");
        self.0.lines().find_map(|l| l.strip_prefix(&begin))
    }

    fn trouble(&self, said: Option<&str>, what: &str) -> String {
        let said = said.or_else(|| self.0.lines().last()).unwrap_or("nothing was said");
        format!("the machine could not be made to {what}: {}", crate::report::shown(said))
    }
}

fn any(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Prints who was let through, to which port: a program keeps silent or answers in its own time, so no answer does not show
/// a closed port. Nothing where nobody listens.
pub const HEARD: &str = "d=/run/hardtack-prove; read -r p <$d/pid && kill -0 $p && echo >$d/ask && cat $d/tell\ntrue\n";

/// Who was let through, to which port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard(BTreeSet<(String, String, u16)>);

impl Heard {
    /// Reads what [`HEARD`] printed.
    #[must_use]
    pub fn read(printed: &[u8]) -> Self {
        let text = String::from_utf8_lossy(printed);
        let line = |l: &str| match l.split(' ').collect::<Vec<_>>()[..] {
            [protocol, who, port] => Some((protocol.to_owned(), who.to_owned(), port.parse().ok()?)),
            _ => None,
        };
        Heard(text.lines().filter_map(line).collect())
    }

    /// The ports that a source has come to by a card: one of a link-local address may be behind any of them.
    #[must_use]
    pub fn ports(&self, protocol: Protocol, source: IpAddr, card: &Card) -> BTreeSet<u16> {
        let who = match source {
            IpAddr::V6(a) if a.is_unicast_link_local() => format!("{a}%{}", card.name),
            _ => source.to_string(),
        };
        let same = |(p, w, _): &&(String, String, u16)| p == protocol.as_str() && *w == who;
        self.0.iter().filter(same).map(|(_, _, port)| *port).collect()
    }
}

/// Sends packets through a card, and gives what came back and who was let through by UDP after that.
pub type Send<'a> = &'a mut dyn FnMut(usize, &[Probe]) -> (Vec<Answer>, Heard);

/// Knocks, and judges what comes back.
pub fn judge(knocks: &[&Knock], cards: &[Card], listening: &Listening, send: Send<'_>) -> Vec<Judgement> {
    let mut judged: Vec<Judgement> = vec![Judgement::unknown("no answer was kept"); knocks.len()];
    let mut packets: Vec<Vec<(usize, Probe)>> = vec![Vec::new(); cards.len()];
    for (at, knock) in knocks.iter().enumerate() {
        let what = match knock.protocol {
            Protocol::Tcp => What::Tcp(knock.port),
            Protocol::Udp => What::Udp(knock.port),
        };
        match place(cards, knock.interface.as_deref(), knock.source) {
            Ok((card, dest)) => packets[card].push((at, Probe { source: knock.source, dest, what })),
            Err(why) => judged[at] = Judgement::unknown(why),
        }
    }
    for (card, packets) in packets.iter().enumerate().filter(|(_, p)| !p.is_empty()) {
        let began = std::time::Instant::now();
        let (answers, heard) = send(card, &packets.iter().map(|(_, p)| *p).collect::<Vec<_>>());
        let each =
            u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) / u64::try_from(packets.len()).unwrap_or(1);
        for ((at, packet), answer) in packets.iter().zip(answers) {
            let knock = knocks[*at];
            let heard = knock.protocol == Protocol::Udp
                && heard.ports(knock.protocol, knock.source, &cards[card]).contains(&knock.port);
            let seen = if heard && !is_open(&answer) {
                Judgement::seen(knock.wanted == Reaction::Open, format!("it is let through at {}", packet.dest))
            } else {
                look(knock.wanted, &answer, packet.dest)
            };
            // Where nobody would answer, no answer says nothing. One that should be silent and is not is wrong all the same.
            let sure = heard || is_open(&answer) || (seen.verdict == Verdict::Fails && knock.wanted != Reaction::Open);
            let listens = match knock.protocol {
                _ if sure => Ok(()),
                Protocol::Tcp => listening.at(knock.protocol, knock.port, packet.dest),
                Protocol::Udp => listening.hears(knock.protocol, packet.dest),
            };
            judged[*at] = Judgement { took_ms: each, ..listens.map_or_else(Judgement::unknown, |()| seen) };
        }
    }
    judged
}

fn is_open(answer: &Answer) -> bool {
    matches!(answer, Answer::Open | Answer::Reply)
}

fn look(wanted: Reaction, answer: &Answer, dest: IpAddr) -> Judgement {
    let (seen, words) = match answer {
        Answer::Open | Answer::Reply => (Reaction::Open, "it answers".to_owned()),
        Answer::Reset => (Reaction::Refused, "refused by a reset".to_owned()),
        Answer::Unreachable { kind, code } => (Reaction::Refused, format!("refused by ICMP {kind}/{code}")),
        Answer::Silent => (Reaction::Silent, "silent".to_owned()),
        Answer::Unknown(why) => return Judgement::unknown(format!("{why} at {dest}")),
    };
    Judgement::seen(wanted.is_met_by(seen), format!("{words} at {dest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::verdict::Verdict::{Fails, Holds, Unknown};
    use crate::prove::wire::{Guest, Why};

    #[test]
    fn silence_is_not_a_refusal_and_a_lost_barrier_is_neither() {
        let dest = IpAddr::from([198, 18, 0, 10]);
        let see = |wanted, answer| look(wanted, &answer, dest).verdict;
        assert_eq!(see(Reaction::Open, Answer::Open), Holds);
        assert_eq!(see(Reaction::Open, Answer::Silent), Fails);
        assert_eq!(see(Reaction::Silent, Answer::Silent), Holds);
        assert_eq!(see(Reaction::Silent, Answer::Reset), Fails);
        assert_eq!(see(Reaction::Refused, Answer::Reset), Holds);
        assert_eq!(see(Reaction::Refused, Answer::Silent), Fails);
        assert_eq!(see(Reaction::Shut, Answer::Silent), Holds);
        assert_eq!(see(Reaction::Shut, Answer::Reset), Holds);
        assert_eq!(see(Reaction::Shut, Answer::Open), Fails);
        assert_eq!(see(Reaction::Silent, Answer::Unknown(Why::BarrierLost)), Unknown);
    }

    fn cards() -> [Card; 1] {
        let ipv6_link_local = Some("fe80::10".parse().unwrap());
        let guest = Guest { ipv4: Some([198, 18, 0, 10].into()), ipv6_link_local, ..Guest::default() };
        [Card { wanted: Some("eth1".into()), name: "eth1".into(), guest }]
    }

    #[test]
    fn another_card_than_the_rules_is_no_proof() {
        let knock = knock("10.0.0.5", Protocol::Tcp, 80, Reaction::Silent);
        let all = listening("tcp:80 0.0.0.0 listening\n");
        let see = |cards: &[Card]| {
            judge(&[&knock], cards, &all, &mut |_, p| (vec![Answer::Silent; p.len()], Heard::default()))[0].verdict
        };
        assert_eq!(see(&cards()), Holds);
        let mut other = cards();
        other[0].name = "ens3".into();
        assert_eq!(see(&other), Unknown);
        let mut without = cards();
        without[0].guest = Guest::default();
        assert_eq!(see(&without), Unknown);
        assert_eq!(see(&[]), Unknown);
    }

    fn listening(printed: &str) -> Listening {
        Listening::read(printed.as_bytes())
    }

    fn knock(source: &str, protocol: Protocol, port: u16, wanted: Reaction) -> Knock {
        Knock { source: source.parse().unwrap(), interface: Some("eth1".into()), protocol, port, wanted }
    }

    #[test]
    fn a_port_where_nobody_listens_keeps_nobody_out() {
        let see = |wanted, answer, printed: &str| {
            let knock = knock("10.0.0.5", Protocol::Tcp, 80, wanted);
            judge(&[&knock], &cards(), &listening(printed), &mut |_, _| (vec![answer], Heard::default()))[0].clone()
        };
        let verdict = |wanted, answer, printed| see(wanted, answer, printed).verdict;
        for listens in [
            "tcp:80 0.0.0.0 listening\n",
            "tcp:80 0.0.0.0 taken\ntcp:80 198.18.0.10 taken\n",
            "tcp:80 198.18.0.10 listening",
        ] {
            assert_eq!(verdict(Reaction::Refused, Answer::Reset, listens), Holds);
        }
        for nobody in [
            "",
            "tcp:80 0.0.0.0 taken\ntcp:80 127.0.0.2 taken\n",
            "tcp:80 :: listening\ntcp:80 0.0.0.0 [Errno 13] Permission denied\n",
            "tcp:8 0.0.0.0 listening\ntcp:800 0.0.0.0 listening\n",
        ] {
            assert_eq!(verdict(Reaction::Refused, Answer::Reset, nobody), Unknown, "{nobody}");
            assert_eq!(verdict(Reaction::Open, Answer::Reset, nobody), Unknown, "{nobody}");
            assert_eq!(verdict(Reaction::Silent, Answer::Reset, nobody), Fails, "{nobody}");
            assert_eq!(verdict(Reaction::Open, Answer::Open, nobody), Holds, "{nobody}");
        }
        assert_eq!(
            see(Reaction::Refused, Answer::Reset, "Failed to find executable python3: No such file\n").seen,
            "the machine could not be made to listen at 80/tcp: Failed to find executable python3: No such file"
        );
    }

    #[test]
    fn what_is_let_through_by_udp_is_not_silence() {
        let see = |source, wanted, answer, ear: &str, printed: &str| {
            let knock = knock(source, Protocol::Udp, 53, wanted);
            let heard = Heard::read(printed.as_bytes());
            judge(&[&knock], &cards(), &listening(ear), &mut |_, _| (vec![answer], heard.clone()))[0].verdict
        };
        let ear = "udp 0.0.0.0 listening\nudp :: listening\n";
        let near = |wanted, answer, printed| see("10.0.0.5", wanted, answer, ear, printed);
        let port = Answer::Unreachable { kind: 3, code: 3 };
        assert_eq!(near(Reaction::Silent, Answer::Silent, "udp 10.0.0.5 53\n"), Fails);
        assert_eq!(near(Reaction::Refused, port, "udp 10.0.0.5 53\n"), Fails);
        assert_eq!(near(Reaction::Open, Answer::Silent, "udp 10.0.0.5 53\n"), Holds);
        assert_eq!(near(Reaction::Open, Answer::Silent, ""), Fails);
        assert_eq!(near(Reaction::Refused, port, "udp 10.0.0.6 53\nudp 10.0.0.5 5\ntcp 10.0.0.5 53\nrubbish\n"), Holds);
        assert_eq!(see("10.0.0.5", Reaction::Silent, Answer::Silent, "udp :: listening\n", ""), Unknown);
        // The same neighbour by another card.
        assert_eq!(see("fe80::77", Reaction::Silent, Answer::Silent, ear, "udp fe80::77%eth0 53\n"), Holds);
        assert_eq!(see("fe80::77", Reaction::Silent, Answer::Silent, ear, "udp fe80::77%eth1 53\n"), Fails);
    }
}
