//! The packet filter: both families from one section, loaded before the network, shut when anything goes wrong.

use super::{Hurdle, Part, Trouble, proof};
use crate::facts::{Facts, Unknown};
use crate::plan::name::Interface;
use crate::plan::net::{Cidr, FAR, NEIGHBOUR4, NEIGHBOUR6, Ports, Protocol};
use crate::plan::proof::{Check, Knock, Proof, Reaction};
use crate::plan::{Filter, LIB, Open, Plan, STATE, Stage, Unmatched};
use crate::report::{Fault, FromText, Lint, Report, Severity, Span, did_you_mean, shown};
use crate::template::Template;
use crate::yaml::{Described, Spanned};
use crate::{choice, section, template};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;

section! {
    /// The packet filter, IPv4 and IPv6 from one section. What is not allowed stays out; what the machine begins may come back.
    pub struct Firewall as "firewall" {
        /// What becomes of packets that nothing allows: `drop` says nothing, `reject` says no.
        policy: Spanned<Policy> = Spanned::default_of(Policy::Drop), or "drop";
        /// What IPv6 gets: `same` is the same rules.
        ipv6: Spanned<Ipv6> = Spanned::default_of(Ipv6::Same), or "same";
        /// What may come in. Only ssh may from the first moment; the rest when the first boot has succeeded.
        allow: Vec<Spanned<Allow>> = Vec::new(), or "nothing";
        /// What may go out: `open` is anything.
        outbound: Spanned<Outbound> = Spanned::default_of(Outbound::Open), or "open";
    }
}

section! {
    /// Packets that may come in. It needs one of `service`, `services` and `ports`.
    pub struct Allow as "an entry of allow" {
        /// A service by name: ssh is wherever sshd listens; others are at their usual ports.
        service: Option<Spanned<Service>> = None, or "none";
        /// Several services.
        services: Vec<Spanned<Service>> = Vec::new(), or "none";
        /// Ports and ranges: 8080, "8000-8099".
        ports: Vec<Spanned<Ports>> = Vec::new(), or "none";
        /// The protocol of `ports`: `tcp` or `udp`.
        protocol: Spanned<Transport> = Spanned::default_of(Transport::Tcp), or "tcp";
        /// Networks that it may come from.
        from: Vec<Spanned<Cidr>> = Vec::new(), or "anywhere, in both families";
        /// The interface that it must arrive on.
        interface: Option<Spanned<Interface>> = None, or "any";
        /// When it may: `provisioning` is after the first boot has succeeded. ssh is let in from the first moment.
        after: Option<Spanned<After>> = None, or "provisioning, but for ssh";
    }
}

choice! {
    /// What becomes of packets that nothing allows.
    pub enum Policy as "a policy" {
        /// Nothing is said.
        Drop => "drop",
        /// A refusal is sent.
        Reject => "reject",
    }
}
choice! {
    /// What IPv6 gets.
    pub enum Ipv6 as "a choice for IPv6" {
        /// The same rules.
        Same => "same",
    }
}
choice! {
    /// What may go out.
    pub enum Outbound as "a choice for outbound" {
        /// Anything.
        Open => "open",
    }
}
choice! {
    /// A protocol of ports.
    pub enum Transport as "a protocol" {
        /// TCP.
        Tcp => "tcp",
        /// UDP.
        Udp => "udp",
    }
}
choice! {
    /// What must have happened before.
    pub enum After as "a moment" {
        /// The first boot has succeeded.
        Provisioning => "provisioning",
    }
}

/// A service by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    name: &'static str,
    ports: &'static [(Protocol, u16)],
}

use Protocol::{Tcp, Udp};

// IANA's numbers; rules carry numbers, since a name needs /etc/services on the machine (R15).
const SERVICES: &[Service] = &[
    Service { name: "ssh", ports: &[(Tcp, 22)] },
    Service { name: "http", ports: &[(Tcp, 80)] },
    Service { name: "https", ports: &[(Tcp, 443)] },
    Service { name: "http3", ports: &[(Udp, 443)] },
    Service { name: "dns", ports: &[(Tcp, 53), (Udp, 53)] },
    Service { name: "ntp", ports: &[(Udp, 123)] },
    Service { name: "smtp", ports: &[(Tcp, 25)] },
    Service { name: "submission", ports: &[(Tcp, 587)] },
    Service { name: "submissions", ports: &[(Tcp, 465)] },
    Service { name: "imaps", ports: &[(Tcp, 993)] },
    Service { name: "ldaps", ports: &[(Tcp, 636)] },
    Service { name: "postgresql", ports: &[(Tcp, 5432)] },
    Service { name: "mysql", ports: &[(Tcp, 3306)] },
    Service { name: "wireguard", ports: &[(Udp, 51820)] },
    Service { name: "syslog-tls", ports: &[(Tcp, 6514)] },
    Service { name: "node-exporter", ports: &[(Tcp, 9100)] },
];

impl FromText for Service {
    const WHAT: &'static str = "a service";
    fn from_text(text: &str) -> Result<Self, Fault> {
        SERVICES.iter().find(|s| s.name == text).copied().ok_or_else(|| {
            let help = match did_you_mean(text, SERVICES.iter().map(|s| s.name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "known: {}; for others use `ports:`",
                    SERVICES.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")
                ),
            };
            Fault::new(format!("`{}` is not a service that has a name here", shown(text))).help(help)
        })
    }
}

const OPENS_NOTHING: Lint = Lint {
    code: "firewall/opens-nothing",
    severity: Severity::Error,
    finds: "an entry of `allow` without `service`, `services` or `ports`",
    why: "iptables takes such a rule, and it lets in everything or nothing",
    instead: "say what it lets in: `service: https`",
    refs: &["R16"],
};
const CLEAR_TEXT: Lint = Lint {
    code: "firewall/clear-text-login",
    severity: Severity::Warning,
    finds: "a port of a service that sends passwords in the clear (ftp, telnet, rlogin, rsh, vnc)",
    why: "anyone on the way reads the password",
    instead: "use ssh or sftp for it, and take the port out",
    refs: &["R43"],
};
const SSH_LATE: Lint = Lint {
    code: "firewall/ssh-after-provisioning",
    severity: Severity::Error,
    finds: "`after: provisioning` for ssh",
    why: "a first boot that fails half-way could never be looked at or mended",
    instead: "leave `after:` out for ssh; it is let in from the first moment",
    refs: &["R23", "R37"],
};
const EVERYTHING: Lint = Lint {
    code: "firewall/everything-open",
    severity: Severity::Warning,
    finds: "a range of more than 10000 ports that is open to anywhere",
    why: "whatever a package or a person starts later is reachable at once, and nobody is asked",
    instead: "name the ports that are served, or say `from:`",
    refs: &["R29"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[OPENS_NOTHING, CLEAR_TEXT, SSH_LATE, EVERYTHING];
/// The sections inside.
pub const PARTS: &[Part] = &[Part { place: "firewall.allow[]", doc: Allow::DOC, fields: Allow::FIELDS }];

// ftp, telnet, rlogin, rsh, rexec and vnc; tftp, which asks for no password at all.
const CLEAR: [(Transport, u16); 8] = [
    (Transport::Tcp, 20),
    (Transport::Tcp, 21),
    (Transport::Tcp, 23),
    (Transport::Udp, 69),
    (Transport::Tcp, 512),
    (Transport::Tcp, 513),
    (Transport::Tcp, 514),
    (Transport::Tcp, 5900),
];
const UNIT: &str = "hardtack-firewall.service";
const RULES: &str = "/etc/hardtack/firewall";

impl Allow {
    fn named(&self) -> impl Iterator<Item = &Service> {
        self.service.iter().chain(&self.services).map(|s| &s.value)
    }

    // What it opens: one entry a protocol, ssh apart from the rest since it is let in earlier.
    fn opens(&self, plan: &Plan) -> Vec<Open> {
        let span = self
            .service
            .as_ref()
            .or(self.services.first())
            .and_then(|s| s.span)
            .or(self.ports.first().and_then(|p| p.span));
        let open = |protocol, mut ports: Vec<Ports>, from_the_gate| {
            ports.sort();
            ports.dedup();
            Open {
                protocol,
                ports,
                from: self.from.iter().map(|c| c.value).collect(),
                interface: self.interface.as_ref().map(|i| i.to_string()),
                from_the_gate,
                span,
            }
        };
        let mut opens = Vec::new();
        let ssh = plan.services.get("ssh").copied().unwrap_or(Ports::one(22));
        let names_ssh = self.named().any(|s| s.name == "ssh");
        let lists_ssh = self.ports.iter().any(|p| *self.protocol == Transport::Tcp && p.contains(ssh.first));
        if names_ssh || lists_ssh {
            opens.push(open(Tcp, vec![ssh], true));
        }
        for protocol in [Tcp, Udp] {
            let services = self
                .named()
                .filter(|s| s.name != "ssh")
                .flat_map(|s| s.ports)
                .filter(|(p, _)| *p == protocol)
                .map(|(_, port)| Ports::one(*port));
            let listed = matches!((protocol, *self.protocol), (Tcp, Transport::Tcp) | (Udp, Transport::Udp));
            let ports: Vec<_> = services
                .chain(self.ports.iter().filter(|_| listed).map(|p| p.value))
                .filter(|p| !(protocol == Tcp && *p == ssh))
                .collect();
            if !ports.is_empty() {
                opens.push(open(protocol, ports, false));
            }
        }
        opens
    }
}

/// One rule, as the templates write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Rule {
    protocol: &'static str,
    source: String,
    interface: String,
    ports: String,
}

// One rule for each source and each fifteen places of ports: multiport takes no more, and a range takes two (R15).
fn rules(opens: &[&Open], ipv4: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    for open in opens {
        let mut chunks: Vec<Vec<Ports>> = vec![Vec::new()];
        for ports in &open.ports {
            let last = chunks.len() - 1;
            if chunks[last].iter().map(|p| p.places()).sum::<usize>() + ports.places() > 15 {
                chunks.push(vec![*ports]);
            } else {
                chunks[last].push(*ports);
            }
        }
        let sources: Vec<_> = if open.from.is_empty() {
            vec![String::new()]
        } else {
            open.from.iter().filter(|net| net.is_ipv4() == ipv4).map(ToString::to_string).collect()
        };
        for source in sources {
            for chunk in &chunks {
                rules.push(Rule {
                    protocol: open.protocol.as_str(),
                    source: source.clone(),
                    interface: open.interface.clone().unwrap_or_default(),
                    ports: chunk.iter().map(|p| p.rule()).collect::<Vec<_>>().join(","),
                });
            }
        }
    }
    rules
}

impl Hurdle for Firewall {
    fn lint(&self, _: Span, report: &mut Report) {
        for allow in &self.allow {
            if allow.service.is_none() && allow.services.is_empty() && allow.ports.is_empty() {
                report.push(OPENS_NOTHING.at(allow.span, "this entry does not say what it lets in"));
            }
            if let Some(after) = &allow.after
                && allow.named().any(|s| s.name == "ssh")
            {
                report.push(SSH_LATE.at(after.span, "ssh would stay shut until the first boot has succeeded"));
            }
            for ports in &allow.ports {
                if let Some((_, clear)) = CLEAR.iter().find(|(t, p)| *t == *allow.protocol && ports.contains(*p)) {
                    report.push(
                        CLEAR_TEXT
                            .at(ports.span, format!("port {clear} is a service that sends passwords in the clear")),
                    );
                }
                if allow.from.is_empty() && ports.last - ports.first > 10_000 {
                    report.push(EVERYTHING.at(
                        ports.span,
                        format!("{} ports are open to anywhere", u32::from(ports.last - ports.first) + 1),
                    ));
                }
            }
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        #[derive(Serialize)]
        struct Holes {
            rules: Vec<Rule>,
            reject: bool,
        }
        let opens: Vec<Open> = self.allow.iter().flat_map(|allow| allow.opens(plan)).collect();
        let reject = *self.policy == Policy::Reject;
        let all: Vec<&Open> = opens.iter().collect();
        let gate: Vec<&Open> = opens.iter().filter(|o| o.from_the_gate).collect();
        let (v4, v6) = (template!("firewall/v4.rules"), template!("firewall/v6.rules"));
        let mut draw = |stage, name: &str, template: Template, rules: Vec<Rule>| {
            plan.draw("firewall", stage, &format!("{RULES}/{name}"), 0o600, template, &Holes { rules, reject })
        };
        draw(Stage::Gate, "gate.v4", v4, rules(&gate, true))?;
        draw(Stage::Gate, "gate.v6", v6, rules(&gate, false))?;
        draw(Stage::Apply, "rules.v4", v4, rules(&all, true))?;
        draw(Stage::Apply, "rules.v6", v6, rules(&all, false))?;
        #[derive(Serialize)]
        struct NftHoles {
            v4: Vec<Rule>,
            v6: Vec<Rule>,
        }
        let nft = NftHoles { v4: rules(&gate, true), v6: rules(&gate, false) };
        plan.draw("firewall", Stage::Gate, &format!("{RULES}/gate.nft"), 0o600, template!("firewall/gate.nft"), &nft)?;
        let paths =
            std::collections::BTreeMap::from([("rules", RULES), ("state", STATE), ("lib", LIB), ("unit", UNIT)]);
        plan.draw(
            "firewall",
            Stage::Gate,
            &format!("{LIB}/firewall"),
            0o755,
            template!("firewall/firewall.sh"),
            &paths,
        )?;
        let unit = format!("{}/{UNIT}", facts.path("systemd-units")?);
        plan.draw("firewall", Stage::Gate, &unit, 0o644, template!("firewall/hardtack-firewall.service"), &paths)?;
        plan.command("firewall", Stage::Gate, template!("firewall/gate.sh"), &paths)?;
        plan.command("firewall", Stage::Open, template!("firewall/open.sh"), &paths)?;
        plan.units.insert(UNIT.to_owned());
        plan.packages.insert(facts.package("iptables")?.to_owned());
        plan.filter = Some(Filter { unmatched: if reject { Unmatched::Reject } else { Unmatched::Drop }, opens });
        Ok(())
    }

    fn proofs(&self, _: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
        let mut proofs = Vec::new();
        let check = Check::Unit { unit: UNIT.to_owned(), active: "active".into(), enabled: Some("enabled".into()) };
        proofs.push(proof(
            "firewall",
            "unit",
            &["R12", "systemd.special(7)"],
            "the rules are loaded by their own unit, now and at every boot",
            check,
        ));
        for (family, refs) in [
            ("v4", &["R6", "R7", "R8", "R9", "R10", "CIS 4.4.2.2"] as &[&str]),
            ("v6", &["R3", "R6", "R7", "R8", "R9", "R10", "CIS 4.4.3.2", "RFC 4890"]),
        ] {
            let Some(file) = plan.files.get(&format!("{RULES}/rules.{family}")) else { continue };
            let statement = format!("exactly the rules of the spec are loaded for IP{family}, and the rest is dropped");
            proofs.push(proof(
                "firewall",
                &format!("rules-{family}"),
                refs,
                statement,
                Check::Script { script: same_rules(family, &file.text) },
            ));
        }
        if let Some(filter) = &plan.filter {
            proofs.extend(knocks(filter));
        }
        Ok(proofs)
    }
}

// The kernel is asked for its rules, and by name for each one that it writes in other words than ours; for the policies,
// and for how many rules there are, so that one too many is seen as well.
fn same_rules(family: &str, text: &str) -> String {
    let tool = if family == "v4" { "iptables" } else { "ip6tables" };
    let mut script = format!(
        "bad=0\nnl='\n'\nall=\"$nl$({tool} -w 10 -S)$nl\"\nwrong() {{ echo \"$1\"; bad=1; }}\n\
         has() {{ case \"$all\" in *\"$nl$1$nl\"*) ;; *) return 1 ;; esac; }}\n"
    );
    let mut count = 0;
    for line in text.lines() {
        if let Some(rule) = line.strip_prefix("-A ") {
            count += 1;
            script.push_str(&format!(
                "has '{line}' || {tool} -w 10 -C {rule} 2>/dev/null || wrong 'not loaded: {rule}'\n"
            ));
        } else if let Some((chain, policy)) = line.strip_prefix(':').and_then(|l| l.split_once(' ')) {
            let policy = policy.split(' ').next().unwrap_or_default();
            script.push_str(&format!("has '-P {chain} {policy}' || wrong 'the policy of {chain} is not {policy}'\n"));
        }
    }
    script.push_str(&format!(
        "n=$(echo \"$all\" | grep -c '^-A')\n[ \"$n\" = {count} ] || wrong \"$n rules are loaded, not {count}\"\n\
         [ $bad = 0 ] && echo 'all loaded, and no others'\nexit $bad\n"
    ));
    script
}

// What must come back is worked out from the filter, not from the rules that were written.
fn knocks(filter: &Filter) -> Vec<Proof> {
    let shut = match filter.unmatched {
        Unmatched::Drop => Reaction::Silent,
        Unmatched::Reject => Reaction::Refused,
    };
    let mut proofs: Vec<Proof> = Vec::new();
    let mut known = BTreeSet::new();
    let mut knock = |protocol: Protocol, port: u16, source: IpAddr, interface: Option<&str>| {
        if !known.insert((protocol, port, source, interface.map(ToOwned::to_owned))) {
            return;
        }
        let open = filter.lets_in(protocol, port, source, interface);
        let wanted = if open { Reaction::Open } else { shut };
        let (what, refs): (_, &[&str]) =
            if open { ("lets in", &["R11", "R15", "R16"]) } else { ("keeps out", &["R6", "R16", "R19"]) };
        let on = interface.map(|i| format!(" on {i}")).unwrap_or_default();
        let statement = format!("the firewall {what} {source} at {port}/{}{on}", protocol.as_str());
        let id = format!(
            "wire-{}-{port}-{source}{}",
            protocol.as_str(),
            interface.map(|i| format!("-{i}")).unwrap_or_default()
        );
        let check = Check::Wire(Knock { source, interface: interface.map(ToOwned::to_owned), protocol, port, wanted });
        proofs.push(proof("firewall", &id, refs, statement, check));
    };
    for open in &filter.opens {
        let interface = open.interface.as_deref();
        for ports in &open.ports {
            let mut ends = vec![ports.first, ports.last];
            ends.dedup();
            for port in ends {
                for net in &open.from {
                    knock(open.protocol, port, net.sample(200), interface);
                }
                // The far ends of both families, whatever the rule says of them.
                for source in
                    FAR.iter().filter(|a| a.is_ipv4()).take(1).chain(FAR.iter().filter(|a| a.is_ipv6()).take(1))
                {
                    knock(open.protocol, port, *source, interface);
                }
                // Where a rule names its sources, one that no rule names must stay out.
                for ipv4 in [true, false] {
                    if let Some(out) =
                        FAR.iter().find(|a| a.is_ipv4() == ipv4 && !filter.lets_in(open.protocol, port, **a, interface))
                    {
                        knock(open.protocol, port, *out, interface);
                    }
                }
            }
        }
    }
    // A port that no rule names, from near and far: something listens there, and only the firewall keeps it shut.
    for protocol in [Tcp, Udp] {
        let unlisted = (4444..=u16::MAX).chain(1..4444).find(|port| {
            !filter.opens.iter().any(|o| o.protocol == protocol && o.ports.iter().any(|p| p.contains(*port)))
        });
        let Some(port) = unlisted else { continue };
        for source in [FAR[0], FAR[3], IpAddr::V4(NEIGHBOUR4), IpAddr::V6(NEIGHBOUR6)] {
            knock(protocol, port, source, None);
        }
    }
    proofs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(ports: Vec<Ports>, from: &[&str]) -> Open {
        let from = from.iter().map(|c| Cidr::from_text(c).unwrap()).collect();
        Open { protocol: Tcp, ports, from, interface: None, from_the_gate: false, span: None }
    }

    #[test]
    fn multiport_is_split_at_fifteen_places() {
        let ports: Vec<_> = (0..10).map(|n| Ports { first: 1000 + n * 10, last: 1005 + n * 10 }).collect();
        let made = rules(&[&open(ports, &[])], true);
        assert_eq!(made.len(), 2);
        assert_eq!(made[0].ports.split(',').count(), 7);
        let single: Vec<_> = (1..=16).map(Ports::one).collect();
        assert_eq!(
            rules(&[&open(single, &[])], false).iter().map(|r| r.ports.split(',').count()).collect::<Vec<_>>(),
            [15, 1]
        );
    }

    #[test]
    fn a_rule_stands_in_the_family_of_its_source() {
        let made = open(vec![Ports::one(80)], &["10.0.0.0/8", "2001:db8::/32"]);
        assert_eq!(rules(&[&made], true).iter().map(|r| r.source.as_str()).collect::<Vec<_>>(), ["10.0.0.0/8"]);
        assert_eq!(rules(&[&made], false).iter().map(|r| r.source.as_str()).collect::<Vec<_>>(), ["2001:db8::/32"]);
    }

    #[test]
    fn what_is_declared_and_what_is_not_are_both_knocked_on() {
        let filter = Filter { unmatched: Unmatched::Drop, opens: vec![open(vec![Ports::one(80)], &["10.0.0.0/8"])] };
        let made = knocks(&filter);
        let wanted = |id: &str| {
            made.iter().find(|p| p.id == id).map(|p| match &p.check {
                Check::Wire(k) => k.wanted,
                _ => unreachable!("a knock"),
            })
        };
        assert_eq!(wanted("firewall/wire-tcp-80-10.0.0.205"), Some(Reaction::Open));
        assert_eq!(wanted("firewall/wire-tcp-80-203.0.113.7"), Some(Reaction::Silent));
        assert_eq!(wanted("firewall/wire-tcp-80-2001:db8:feed::7"), Some(Reaction::Silent));
        assert_eq!(wanted("firewall/wire-tcp-4444-198.18.0.77"), Some(Reaction::Silent));
        assert_eq!(wanted("firewall/wire-udp-4444-fe80::77"), Some(Reaction::Silent));
    }
}
