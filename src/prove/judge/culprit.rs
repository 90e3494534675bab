//! Who is to blame for a port that answers and should not: the machine is asked what listens there, and what lets it in.

use crate::plan::net::{Cidr, Protocol};
use crate::report::{FromText, shown_up_to};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The unit of the root channel, and of what it has started.
const CHANNEL_UNIT: &str = "hardtack-shell.service";
/// How much of a rule or a command line is shown.
const SHOWN: usize = 160;
/// One of the ports that the prober asks from: a rule for another source port is not to blame.
const OUR_PORT: u16 = 30_000;

/// Asks for all sockets with their processes and units, and for all rules.
pub const SCRIPT: &str = r#"export LC_ALL=C
ss -H -l -n -p -t -u 2>/dev/null | while read -r proto _ _ _ at _ who; do
    at=${at##*:}
    pids=$(printf '%s' "$who" | grep -o 'pid=[0-9]*' | cut -d= -f2)
    [ -n "$pids" ] || echo "socket $proto $at - - kernel"
    for pid in $pids; do
        unit=$(sed -n 's,.*/,,p' /proc/$pid/cgroup 2>/dev/null | head -n 1)
        echo "socket $proto $at $pid ${unit:--} $(tr '\0' ' ' </proc/$pid/cmdline 2>/dev/null | cut -c1-80)"
    done
done
for tool in iptables ip6tables; do
    for table in nat filter; do
        $tool -w 10 -t $table -S 2>/dev/null | sed "s/^/rule $tool $table /"
    done
done
true
"#;

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Socket {
    protocol: String,
    port: u16,
    pid: String,
    unit: String,
    command: String,
}

/// A rule of iptables or ip6tables, as `-S` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    tool: String,
    table: String,
    text: String,
}

/// What the machine says of its sockets and rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    sockets: Vec<Socket>,
    rules: Vec<Rule>,
}

/// A packet that came in.
#[derive(Debug, Clone, Copy)]
struct Packet<'a> {
    protocol: Protocol,
    port: u16,
    source: IpAddr,
    /// The card that it came by, if that is known.
    interface: Option<&'a str>,
}

impl Evidence {
    /// Reads what [`SCRIPT`] printed. Lines that it did not write are passed over.
    #[must_use]
    pub fn read(printed: &[u8]) -> Self {
        let text = String::from_utf8_lossy(printed);
        let mut evidence = Evidence::default();
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(6, ' ').collect();
            match words[..] {
                ["socket", protocol, port, pid, unit, command] => {
                    let Ok(port) = port.parse() else { continue };
                    // Our own, which stands in for whoever may come to listen there.
                    if unit == CHANNEL_UNIT {
                        continue;
                    }
                    let (protocol, pid, unit) = (protocol.to_owned(), pid.to_owned(), unit.to_owned());
                    evidence.sockets.push(Socket { protocol, port, pid, unit, command: command.trim().to_owned() });
                }
                ["rule", tool, table, ..] => {
                    let text = line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
                    evidence.rules.push(Rule { tool: tool.to_owned(), table: table.to_owned(), text });
                }
                _ => {}
            }
        }
        evidence
    }

    /// What listens at a port, and what lets a packet of that source in, in words. The interface is that of the card, if it is
    /// known.
    #[must_use]
    pub fn who(&self, protocol: Protocol, port: u16, source: IpAddr, interface: Option<&str>) -> String {
        let packet = Packet { protocol, port, source, interface };
        // What is sent elsewhere never comes to INPUT, so NAT is asked first.
        let sent = self.walk("nat", "PREROUTING", &["DNAT", "REDIRECT"], packet, &mut BTreeSet::new());
        let dest = sent.and_then(|r| option(&r.text, &["--to-destination", "--to-ports"]));
        let mut said = match dest {
            Some((_, dest)) => vec![format!("sent on to {}", shown_up_to(SHOWN, dest))],
            None => self.listeners(protocol, port),
        };
        match sent.or_else(|| self.let_in(packet)) {
            Some(Rule { tool, table, text }) => {
                let table = if table == "filter" { String::new() } else { format!("-t {table} ") };
                said.push(format!("let in by `{tool} {table}{}`", shown_up_to(SHOWN, text)));
            }
            None => said.push(format!("no rule of {} lets it in", packet.tool())),
        }
        said.join(", ")
    }

    fn listeners(&self, protocol: Protocol, port: u16) -> Vec<String> {
        let mut said = Vec::new();
        for s in self.sockets.iter().filter(|s| s.protocol == protocol.as_str() && s.port == port) {
            let owner = match (s.pid.as_str(), s.unit.as_str()) {
                ("-", _) => "the kernel listens".to_owned(),
                (pid, unit) => format!("`{}` (process {pid}, {unit}) listens", shown_up_to(SHOWN, &s.command)),
            };
            if !said.contains(&owner) {
                said.push(owner);
            }
        }
        if said.is_empty() {
            said.push("nothing listens".to_owned());
        }
        said
    }

    // The first rule that fits, then the policy.
    fn let_in(&self, packet: Packet) -> Option<&Rule> {
        self.walk("filter", "INPUT", &["ACCEPT"], packet, &mut BTreeSet::new())
            .or_else(|| self.rules_of("filter", packet).find(|r| r.text == "-P INPUT ACCEPT"))
    }

    fn rules_of(&self, table: &str, packet: Packet) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |r| r.tool == packet.tool() && r.table == table)
    }

    // The first rule of a chain, or of those that it leads to, that fits and has one of these targets. A chain in which none was
    // found is not asked again: what was printed may have loops, and ways without number.
    fn walk<'e>(
        &'e self,
        table: &str,
        chain: &'e str,
        targets: &[&str],
        packet: Packet,
        known: &mut BTreeSet<&'e str>,
    ) -> Option<&'e Rule> {
        if !known.insert(chain) {
            return None;
        }
        let here = format!("-A {chain} ");
        for rule in self.rules_of(table, packet).filter(|r| r.text.starts_with(&here) && fits(&r.text, packet)) {
            let Some((_, target)) = option(&rule.text, &["-j", "-g"]) else { continue };
            if targets.contains(&target) {
                return Some(rule);
            }
            if let Some(found) = self.walk(table, target, targets, packet, known) {
                return Some(found);
            }
        }
        None
    }
}

impl Packet<'_> {
    fn tool(&self) -> &'static str {
        if self.source.is_ipv4() { "iptables" } else { "ip6tables" }
    }
}

// What a rule says to the first of these options that it has, and whether it says that of all others (`! -s 10.0.0.0/8`).
fn option<'a>(rule: &'a str, names: &[&str]) -> Option<(bool, &'a str)> {
    let words: Vec<&str> = rule.split(' ').collect();
    let at = words.iter().position(|w| names.contains(w))?;
    let others = at > 0 && words[at - 1] == "!";
    Some((others, words.get(at + 1)?))
}

// Whether the rule asks nothing of this, or what it asks is so.
fn asks(rule: &str, names: &[&str], is: impl Fn(&str) -> bool) -> bool {
    option(rule, names).is_none_or(|(others, value)| is(value) != others)
}

// Whether a port is among 80, 80:90, or a list of these.
fn among(list: &str, port: u16) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(f), Ok(l)) if (f..=l).contains(&port))
    })
}

// A network as iptables prints it; what no packet from outside can come from (127.0.0.0/8) is none.
fn within(net: &str, address: IpAddr) -> bool {
    Cidr::from_text(net).is_ok_and(|net| net.contains(address))
}

// Whether a packet of nobody's connection could match: what the rule asks beyond these (a rate, a set) is left to the reader.
fn fits(rule: &str, packet: Packet) -> bool {
    let new = asks(rule, &["--ctstate", "--state"], |states| states.split(',').any(|s| s == "NEW"));
    // A + at the end stands for any more (iptables(8)).
    let is = |name: &str, of: &str| name.strip_suffix('+').map_or(of == name, |begin| of.starts_with(begin));
    let here = match packet.interface {
        Some(card) => asks(rule, &["-i"], |name| is(name, card)),
        None => asks(rule, &["-i"], |name| name != "lo"),
    };
    new && here
        // Which addresses are the machine's is not known here; those of many (224.0.0.251) are nobody's.
        && asks(rule, &["-d"], |net| Cidr::from_text(net).is_ok())
        && asks(rule, &["-s"], |net| within(net, packet.source))
        && asks(rule, &["-p"], |protocol| protocol == packet.protocol.as_str())
        && asks(rule, &["--dport", "--dports"], |ports| among(ports, packet.port))
        && asks(rule, &["--sport", "--sports"], |ports| among(ports, OUR_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "socket tcp 22 812 ssh.service sshd: /usr/sbin/sshd -D\n\
        socket tcp 8080 901 stray.service python3 -m http.server 8080\n\
        socket tcp 8080 950 hardtack-shell.service python3 /run/hardtack-prove/listen.py\n\
        socket udp 2049 - - kernel\n\
        rubbish\nsocket tcp x\n\
        rule iptables nat -P PREROUTING ACCEPT\n\
        rule iptables nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        rule iptables nat -A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128\n\
        rule iptables nat -A OUTPUT -p tcp -m tcp --dport 22 -j REDIRECT --to-ports 3129\n\
        rule iptables nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80\n\
        rule iptables filter -P INPUT DROP\n\
        rule iptables filter -A INPUT -i lo -j ACCEPT\n\
        rule iptables filter -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        rule iptables filter -A INPUT -p udp -m udp --sport 67 --dport 68 -j ACCEPT\n\
        rule iptables filter -A INPUT -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT\n\
        rule iptables filter -A INPUT -p tcp -m conntrack --ctstate NEW -m multiport --dports 22,8000:8010 -j ACCEPT\n\
        rule iptables filter -A INPUT -s 10.20.0.0/16 -p tcp -m multiport --dports 5432,8080 -j ACCEPT\n\
        rule iptables filter -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT\n\
        rule iptables filter -A INPUT ! -s 10.20.0.0/16 -p tcp -m tcp --dport 5432 -j ACCEPT\n\
        rule iptables filter -A INPUT -j ufw-user-input\n\
        rule iptables filter -A INPUT -i eth1 -j ACCEPT\n\
        rule iptables filter -A ufw-user-input -j ufw-user-input\n\
        rule iptables filter -A ufw-user-input -p tcp -m tcp --dport 25 -j ACCEPT\n\
        rule iptables filter -A nobody-comes-here -p tcp -m tcp --dport 26 -j ACCEPT\n\
        rule ip6tables filter -P INPUT DROP\n\
        rule ip6tables filter -A INPUT -s fe80::/10 -p tcp -m tcp --dport 8080 -j ACCEPT\n\
        rule ip6tables filter -A INPUT -i wlan+ -p tcp -m tcp --dport 8080 -j ACCEPT\n";

    fn who(port: u16, source: &str, interface: &str) -> String {
        let protocol = if [68, 2049, 5353].contains(&port) { Protocol::Udp } else { Protocol::Tcp };
        let said = Evidence::read(PRINTED.as_bytes()).who(protocol, port, source.parse().unwrap(), Some(interface));
        said.rsplit_once(", ").map(|(_, rule)| rule.to_owned()).unwrap()
    }

    #[test]
    fn the_listener_and_the_rule_are_named() {
        let evidence = Evidence::read(PRINTED.as_bytes());
        let far = IpAddr::from([203, 0, 113, 7]);
        assert_eq!(
            evidence.who(Protocol::Tcp, 8080, far, None),
            "`python3 -m http.server 8080` (process 901, stray.service) listens, \
             let in by `iptables -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT`"
        );
        assert!(evidence.who(Protocol::Udp, 2049, far, Some("eth0")).starts_with("the kernel listens"));
        let open = Evidence::read(b"rule ip6tables filter -P INPUT DROP\nrule iptables filter -P INPUT ACCEPT\n");
        assert_eq!(open.who(Protocol::Tcp, 1, far, None), "nothing listens, let in by `iptables -P INPUT ACCEPT`");
        let far = "2001:db8::1".parse().unwrap();
        assert_eq!(open.who(Protocol::Tcp, 1, far, None), "nothing listens, no rule of ip6tables lets it in");
    }

    #[test]
    fn the_rule_is_of_the_packets_source_card_and_family() {
        let far = "203.0.113.7";
        assert!(who(8005, far, "eth0").contains("--dports 22,8000:8010"));
        assert!(who(5432, "10.20.3.4", "eth0").contains(" -s 10.20.0.0/16 "));
        assert!(who(5432, far, "eth0").contains(" ! -s 10.20.0.0/16 "));
        assert!(who(8080, "10.20.3.4", "eth0").contains(" -s 10.20.0.0/16 "));
        assert!(who(4444, far, "eth1").ends_with("`iptables -A INPUT -i eth1 -j ACCEPT`"));
        for (port, source, card) in [(4444, far, "eth0"), (68, far, "eth0"), (5353, far, "eth0"), (26, far, "eth0")] {
            assert_eq!(who(port, source, card), "no rule of iptables lets it in", "{port}");
        }
        assert!(who(8080, "fe80::77", "eth0").contains("`ip6tables -A INPUT -s fe80::/10 "));
        assert!(who(8080, "2001:db8::1", "wlan0").contains("`ip6tables -A INPUT -i wlan+ "));
        assert_eq!(who(8080, "2001:db8::1", "eth0"), "no rule of ip6tables lets it in");
    }

    #[test]
    fn chains_that_lead_to_each_other_end() {
        let all: String = (0..40)
            .map(|n| format!("rule iptables filter -A {} -j {}\n", ["INPUT", "a"][n % 2], ["a", "INPUT"][n % 2]))
            .collect();
        let far = IpAddr::from([203, 0, 113, 7]);
        assert!(
            Evidence::read(all.as_bytes()).who(Protocol::Tcp, 1, far, None).ends_with("no rule of iptables lets it in")
        );
    }

    #[test]
    fn what_is_sent_on_or_let_in_by_another_chain_is_found() {
        let evidence = Evidence::read(PRINTED.as_bytes());
        let sent = |port| evidence.who(Protocol::Tcp, port, IpAddr::from([203, 0, 113, 7]), Some("eth0"));
        assert_eq!(
            sent(8088),
            "sent on to 172.17.0.2:80, let in by `iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 \
             -j DNAT --to-destination 172.17.0.2:80`"
        );
        assert!(sent(80).starts_with("sent on to 3128, let in by `iptables -t nat -A PREROUTING "), "{}", sent(80));
        assert!(sent(22).contains("iptables -A INPUT "), "{}", sent(22));
        assert!(sent(25).ends_with("let in by `iptables -A ufw-user-input -p tcp -m tcp --dport 25 -j ACCEPT`"));
    }
}
