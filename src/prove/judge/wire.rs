//! Proofs seen from the wire: packets from any address to ports where something surely listens.

use crate::plan::net::Protocol;
use crate::plan::proof::{Knock, Reaction};
use crate::prove::verdict::Judgement;
use crate::prove::wire::{Answer, Guest, Probe, What};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A script that makes something listen on every port that is knocked on, so that only a firewall can keep it shut.
/// Where something listens already, that answers.
#[must_use]
pub fn listen(knocks: &[&Knock]) -> String {
    let ports: BTreeSet<String> = knocks.iter().map(|k| format!("{}:{}", k.protocol.as_str(), k.port)).collect();
    format!(
        "d=/run/hardtack-prove; mkdir -p -m 700 $d; rm -f $d/listening $d/heard\n\
         cat >$d/listen.py <<'PYTHON'\n{LISTENER}PYTHON\n\
         systemctl stop hardtack-prove-listen.service 2>/dev/null\n\
         systemd-run --quiet --collect --unit=hardtack-prove-listen python3 $d/listen.py {}\n\
         for n in $(seq 600); do [ -e $d/listening ] && break; sleep 0.2; done\ncat $d/listening\n",
        ports.into_iter().collect::<Vec<_>>().join(" ")
    )
}

/// Ends what [`listen`] began.
pub const HUSH: &str =
    "systemctl stop hardtack-prove-listen.service; rm -rf /run/hardtack-prove/listen* /run/hardtack-prove/heard\n";

// A socket for each family on every address; where one of the machine's own holds a port on another address only (a
// resolver on 127.0.0.53, say), on each address of its cards. Says which ports it has and which were taken.
const LISTENER: &str = r#"
import selectors, socket, sys, os
sel, said = selectors.DefaultSelector(), []
cards = [a for a in (l.split() for l in os.popen("ip -o addr show up")) if a[1] != "lo" and a[2] in ("inet", "inet6")]

def listen(proto, family, address):
    s = socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if proto == "tcp":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(address)
    if proto == "tcp":
        s.listen(64)
    sel.register(s, selectors.EVENT_READ, proto)

for word in sys.argv[1:]:
    proto, port = word.split(":")
    for family, name, any_ in ((socket.AF_INET6, "inet6", "::"), (socket.AF_INET, "inet", "0.0.0.0")):
        try:
            listen(proto, family, (any_, int(port)))
            said.append(word + " listening")
        except OSError as e:
            said.append(word + " " + str(e))
            for card in cards:
                try:
                    host = card[3].split("/")[0] + ("%" + card[1] if card[3].startswith("fe80") else "")
                    if card[2] == name:
                        listen(proto, family, socket.getaddrinfo(host, int(port), family)[0][4])
                        said.append(word + " listening at " + host)
                except OSError as e:
                    said.append(word + " " + str(e))
with open("/run/hardtack-prove/listening.new", "w") as f:
    f.write("\n".join(said) + "\n")
os.rename("/run/hardtack-prove/listening.new", "/run/hardtack-prove/listening")
while True:
    for key, _ in sel.select():
        try:
            if key.data == "tcp":
                key.fileobj.accept()[0].close()
            else:
                data, peer = key.fileobj.recvfrom(2048)
                with open("/run/hardtack-prove/heard", "a") as f:
                    f.write(peer[0].split("%")[0] + " " + str(key.fileobj.getsockname()[1]) + "\n")
                key.fileobj.sendto(data or b"x", peer)
        except OSError:
            pass
"#;

/// The packet for a knock; none where the machine has no address of its family.
fn probe(knock: &Knock, guest: &Guest) -> Option<Probe> {
    let dest = match knock.source {
        IpAddr::V4(_) => IpAddr::V4(guest.ipv4?),
        IpAddr::V6(a) if a.is_unicast_link_local() => IpAddr::V6(guest.ipv6_link_local?),
        IpAddr::V6(_) => IpAddr::V6(guest.ipv6_global?),
    };
    let what = match knock.protocol {
        Protocol::Tcp => What::Tcp(knock.port),
        Protocol::Udp => What::Udp(knock.port),
    };
    Some(Probe { source: knock.source, dest, what })
}

/// What the listener has heard by UDP: a program answers in its own time, so silence alone does not show a closed port.
pub const HEARD: &str = "sleep 1; cat /run/hardtack-prove/heard 2>/dev/null; true";

/// Who was heard by UDP, at which port.
pub type Heard = BTreeSet<(IpAddr, u16)>;

/// Sends packets, and gives what came back and who was heard by UDP after that.
pub type Send<'a> = &'a mut dyn FnMut(&[Probe]) -> (Vec<Answer>, Heard);

/// Reads what [`HEARD`] printed: who was heard, at which port.
#[must_use]
pub fn heard(printed: &[u8]) -> Heard {
    let text = String::from_utf8_lossy(printed);
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .filter_map(|(a, p)| Some((a.parse().ok()?, p.parse().ok()?)))
        .collect()
}

/// Knocks, and judges what comes back. `interface` is what the machine calls its network card, `send` sends packets and
/// says who was heard by UDP after that.
pub fn judge(knocks: &[&Knock], guest: &Guest, interface: &str, send: Send<'_>) -> Vec<Judgement> {
    let packets: Vec<Option<Probe>> = knocks.iter().map(|k| probe(k, guest)).collect();
    let began = std::time::Instant::now();
    let (answers, heard) = send(&packets.iter().flatten().cloned().collect::<Vec<_>>());
    let mut answers = answers.into_iter();
    let each = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
        / u64::try_from(knocks.len().max(1)).unwrap_or(1);
    knocks
        .iter()
        .zip(packets)
        .map(|(knock, packet)| {
            let Some(packet) = packet else {
                return Judgement::unknown(format!("the machine has no address that {} could knock on", knock.source));
            };
            let Some(answer) = answers.next() else { return Judgement::unknown("no answer was kept") };
            let late = answer == Answer::Silent
                && knock.protocol == Protocol::Udp
                && heard.contains(&(knock.source, knock.port));
            let answer = if late { Answer::Reply } else { answer };
            if let Some(wanted) = knock.interface.as_deref().filter(|i| *i != interface) {
                return Judgement::unknown(format!("the machine's network card is {interface}, and none is {wanted}"));
            }
            Judgement { took_ms: each, ..look(knock.wanted, &answer, packet.dest) }
        })
        .collect()
}

fn look(wanted: Reaction, answer: &Answer, dest: IpAddr) -> Judgement {
    let (seen, words) = match answer {
        Answer::Open | Answer::Reply => (Reaction::Open, "it answers".to_owned()),
        Answer::Reset => (Reaction::Refused, "refused by a reset".to_owned()),
        Answer::Unreachable { kind, code } => (Reaction::Refused, format!("refused by ICMP {kind}/{code}")),
        Answer::Silent => (Reaction::Silent, "silent".to_owned()),
        Answer::Unknown(why) => return Judgement::unknown(format!("{why} at {dest}")),
    };
    Judgement::seen(seen == wanted, format!("{words} at {dest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::verdict::Verdict::{Fails, Holds, Unknown};
    use crate::prove::wire::Why;

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
        assert_eq!(see(Reaction::Silent, Answer::Unknown(Why::BarrierLost)), Unknown);
    }

    #[test]
    fn another_card_than_the_rules_is_no_proof() {
        let knock = Knock {
            source: IpAddr::from([10, 0, 0, 5]),
            interface: Some("eth1".into()),
            protocol: Protocol::Tcp,
            port: 80,
            wanted: Reaction::Silent,
        };
        let guest = Guest { ipv4: Some([198, 18, 0, 10].into()), ..Guest::default() };
        let seen =
            judge(&[&knock], &guest, "eth0", &mut |probes| (vec![Answer::Silent; probes.len()], BTreeSet::new()));
        assert_eq!(seen[0].verdict, Unknown);
        let seen = judge(&[&knock], &Guest::default(), "eth1", &mut |_| Default::default());
        assert_eq!(seen[0].verdict, Unknown);
    }

    #[test]
    fn a_late_answer_by_udp_is_not_silence() {
        let source = IpAddr::from([10, 0, 0, 5]);
        let knock = Knock { source, interface: None, protocol: Protocol::Udp, port: 53, wanted: Reaction::Silent };
        let guest = Guest { ipv4: Some([198, 18, 0, 10].into()), ..Guest::default() };
        let see = |printed: &[u8]| {
            judge(&[&knock], &guest, "eth0", &mut |_| (vec![Answer::Silent], heard(printed)))[0].verdict
        };
        assert_eq!(see(b"10.0.0.5 53\n"), Fails);
        assert_eq!(see(b"10.0.0.6 53\nrubbish\n"), Holds);
    }
}
