//! The packet filter: both families from one section, loaded before the network, shut when anything goes wrong.

mod article;
mod ipv6;
mod outbound;
mod rules;
mod start;

use super::{Hurdle, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::blocklist::{SET4, SET6};
use crate::plan::filter::Rate;
use crate::plan::name::Interface;
use crate::plan::net::{Cidr, Ports, Protocol};
use crate::plan::proof::{Check, Proof};
use crate::plan::{self, Filter, LIB, NOTHING, Open, Plan, STATE, Stage, Syntax, Unmatched, wire};
use crate::report::{Fault, FromText, Lint, Report, Severity, Span, did_you_mean, shown};
use crate::yaml::{Described, Spanned};
use crate::{choice, section, template};
pub use article::FROM_THE_ARTICLE;
use outbound::AllowOut;
use rules::{Limit, Rule, chunks, of_family, rules};
use serde::Serialize;
use start::Start;
use std::collections::BTreeSet;

section! {
    /// The packet filter, IPv4 and IPv6 from one section. What is not allowed stays out; what the machine begins may come back.
    pub struct Firewall as "firewall" {
        /// What becomes of packets that nothing allows: `drop` says nothing, `reject` says no.
        policy: Spanned<Policy> = Spanned::default_of(Policy::Drop), or "drop";
        /// What IPv6 gets: `same` is the same rules; `off` is no IPv6 at all but the machine's own ::1, which systemd-networkd and
        /// NetworkManager cannot undo.
        ipv6: Spanned<Ipv6> = Spanned::default_of(Ipv6::Same), or "same";
        /// What may come in. Only ssh may from the first moment; the rest when the first boot has succeeded.
        allow: Vec<Spanned<Allow>> = Vec::new(), or "nothing";
        /// What may go out when the first boot has succeeded: `open` is anything, `deny` is what `allow_out` names, what
        /// answers somebody, and DHCP.
        outbound: Spanned<Outbound> = Spanned::default_of(Outbound::Open), or "open";
        /// What may go out with `outbound: deny`.
        allow_out: Vec<Spanned<AllowOut>> = Vec::new(), or "nothing";
        /// Who may ask the cloud's metadata service at 169.254.169.254, which gives user-data and keys to whoever asks:
        /// `open` is whoever may go out, `root` is root only, also with `outbound: deny`.
        metadata: Spanned<Metadata> = Spanned::default_of(Metadata::Open), or "open";
        /// Who loads the rules at each boot: `unit`, a unit of systemd; `init-script`, a script of SysV init; or `rc-local`, which
        /// comes after all else. Only the first, and a script where SysV init starts the machine, come before the network.
        start: Option<Spanned<Start>> = None, or "unit, or init-script where there is no systemd";
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
        /// How many connections of TCP each source may begin: `30/minute`. Twenty more may be begun at once. In IPv6 a source is a /64,
        /// for whoever has one address of it has all.
        rate: Option<Spanned<Rate>> = None, or "any number";
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
        /// None at all.
        Off => "off",
    }
}
choice! {
    /// What may go out.
    pub enum Outbound as "a choice for outbound" {
        /// Anything.
        Open => "open",
        /// What `allow_out` names.
        Deny => "deny",
    }
}
choice! {
    /// Who may ask the metadata service.
    pub enum Metadata as "a choice for the metadata service" {
        /// Whoever may go out.
        Open => "open",
        /// root.
        Root => "root",
        /// Nobody.
        Nobody => "nobody",
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

impl Transport {
    fn protocol(self) -> Protocol {
        match self {
            Transport::Tcp => Tcp,
            Transport::Udp => Udp,
        }
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
const UDP_RATE: Lint = Lint {
    code: "firewall/rate-of-udp",
    severity: Severity::Error,
    finds: "`rate` in an entry of `allow` that lets in UDP",
    why: "a datagram's source is easily forged: who forges yours uses up what you may send",
    instead: "let UDP in by an entry of its own, without `rate`",
    refs: &["RFC 2827"],
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
pub const LINTS: &[Lint] = &[
    OPENS_NOTHING,
    CLEAR_TEXT,
    SSH_LATE,
    UDP_RATE,
    EVERYTHING,
    outbound::GOES_NOWHERE,
    outbound::NOT_SHUT,
    outbound::CUT_OFF,
    ipv6::OFF_AND_NAMED,
    start::NOT_RUN,
    start::LATE,
    start::GATE_LATE,
];
/// The sections inside.
pub const PARTS: &[Part] = &[
    Part { place: "firewall.allow[]", doc: Allow::DOC, fields: Allow::FIELDS },
    Part { place: "firewall.allow_out[]", doc: AllowOut::DOC, fields: AllowOut::FIELDS },
];

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
const NAME: &str = "hardtack-firewall";
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
                rate: self.rate.as_ref().map(|r| r.value),
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
            let listed = self.protocol.value.protocol() == protocol;
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

impl Hurdle for Firewall {
    fn lint(&self, _: Span, report: &mut Report) {
        outbound::lint(self.outbound.span, *self.outbound == Outbound::Open, &self.allow_out, report);
        if *self.ipv6 == Ipv6::Off {
            let nets = self.allow.iter().flat_map(|a| &a.from).chain(self.allow_out.iter().flat_map(|a| &a.to));
            ipv6::lint(nets, report);
        }
        for allow in &self.allow {
            if allow.service.is_none() && allow.services.is_empty() && allow.ports.is_empty() {
                report.push(OPENS_NOTHING.at(allow.span, "this entry does not say what it lets in"));
            }
            if let Some(after) = &allow.after
                && allow.named().any(|s| s.name == "ssh")
            {
                report.push(SSH_LATE.at(after.span, "ssh would stay shut until the first boot has succeeded"));
            }
            let udp = allow.named().any(|s| s.ports.iter().any(|(p, _)| *p == Udp))
                || (*allow.protocol == Transport::Udp && !allow.ports.is_empty());
            if let Some(rate) = allow.rate.as_ref().filter(|_| udp) {
                report.push(UDP_RATE.at(rate.span, "a rate for each source holds nobody back who forges it"));
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
            /// What is let out; none is anything.
            exits: Option<Vec<outbound::Rule>>,
            metadata: &'static str,
            address: String,
            /// The set of whom no rule lets in.
            blocks: Option<&'static str>,
        }
        let opens: Vec<Open> = self.allow.iter().flat_map(|allow| allow.opens(plan)).collect();
        let reject = *self.policy == Policy::Reject;
        let all: Vec<&Open> = opens.iter().collect();
        let gate: Vec<&Open> = opens.iter().filter(|o| o.from_the_gate).collect();
        let off = *self.ipv6 == Ipv6::Off;
        let (v4, v6) = (template!("firewall/v4.rules"), template!("firewall/v6.rules"));
        let v6 = if off { template!("firewall/v6-off.rules") } else { v6 };
        let exits = (*self.outbound == Outbound::Deny).then(|| outbound::exits(&self.allow_out));
        let (metadata, who) = match *self.metadata {
            Metadata::Open => ("open", plan::Metadata::Open),
            Metadata::Root => ("root", plan::Metadata::Root),
            Metadata::Nobody => ("nobody", plan::Metadata::Nobody),
        };
        for (ipv4, family, template) in [(true, "v4", v4), (false, "v6", v6)] {
            let set = plan.blocks.then_some(if ipv4 { SET4 } else { SET6 });
            let mut draw = |stage, name: &str, opens: &[&Open], exits, blocks| {
                let address = outbound::metadata(ipv4);
                let holes = Holes { rules: rules(opens, ipv4), reject, exits, metadata, address, blocks };
                plan.draw("firewall", stage, &format!("{RULES}/{name}.{family}"), 0o600, template, &holes)
            };
            // At the gate the way out is open: packages may have to be fetched, and cloud-init asks its metadata service.
            // Nor does it ask a set: what keeps one from being made would keep the gate from standing.
            draw(Stage::Gate, "gate", &gate, None, None)?;
            draw(Stage::Apply, "rules", &all, exits.as_deref().map(|exits| outbound::rules(exits, ipv4)), set)?;
        }
        // What a source has begun so far is forgotten with the last rule that counts it.
        let rated = opens.iter().any(|o| o.rate.is_some());
        for (tool, family) in [("iptables", "v4"), ("ip6tables", "v6")] {
            let path = format!("{RULES}/rules.{family}");
            let anew = if rated { format!("{tool} -w 10 -F INPUT; ") } else { String::new() };
            plan.controls(&path, Syntax::Rules, format!("{anew}{tool}-restore -w 10 <{path}"));
            plan.controls(&format!("{RULES}/gate.{family}"), Syntax::Rules, NOTHING);
        }
        #[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
        struct Set {
            name: String,
            r#type: &'static str,
            seconds: u64,
        }
        let limits = gate.iter().filter_map(|open| Limit::of(open));
        let sets = limits.flat_map(|Limit { name, seconds, .. }| {
            [("v4", "ipv4_addr"), ("v6", "ipv6_addr")].map(|(family, r#type)| Set {
                name: format!("{name}-{family}"),
                r#type,
                seconds,
            })
        });
        #[derive(Serialize)]
        struct NftHoles {
            /// Whom each limit counts. Two rules may count together.
            sets: BTreeSet<Set>,
            v4: Vec<Rule>,
            v6: Vec<Rule>,
            off: bool,
            metadata: &'static str,
            addresses: [String; 2],
        }
        let nft = NftHoles {
            sets: sets.collect(),
            v4: rules(&gate, true),
            v6: if off { Vec::new() } else { rules(&gate, false) },
            off,
            metadata,
            addresses: [true, false].map(outbound::metadata),
        };
        plan.draw("firewall", Stage::Gate, &format!("{RULES}/gate.nft"), 0o600, template!("firewall/gate.nft"), &nft)?;
        let sets = if plan.blocks { SET4 } else { "" };
        let start = Start::of(self.start.as_ref(), facts);
        let paths = std::collections::BTreeMap::from([
            ("rules", RULES),
            ("state", STATE),
            ("lib", LIB),
            ("unit", if start == Start::Unit { UNIT } else { "" }),
            ("systemd", if facts.systemd() { "systemd" } else { "" }),
            ("sets", sets),
            ("off", if off { "off" } else { "" }),
        ]);
        plan.draw(
            "firewall",
            Stage::Gate,
            &format!("{LIB}/firewall"),
            0o755,
            template!("firewall/firewall.sh"),
            &paths,
        )?;
        plan.command("firewall", Stage::Gate, template!("firewall/gate.sh"), &paths)?;
        plan.command("firewall", Stage::Open, template!("firewall/open.sh"), &paths)?;
        plan.command("firewall", Stage::Health, template!("firewall/health.sh"), &paths)?;
        plan.guards();
        if off {
            ipv6::plan(facts, plan)?;
        }
        // One that is not gone is refused when all have planned.
        if start.is_run(facts) {
            start::plan(start, facts, plan)?;
        }
        plan.packages.insert(facts.package("iptables")?.to_owned());
        let unmatched = if reject { Unmatched::Reject } else { Unmatched::Drop };
        plan.filter =
            Some(Filter { unmatched, opens, exits, metadata: who, listed: None, ipv6: !off, late: start.late(facts) });
        Ok(())
    }

    fn settle(&self, facts: &Facts, plan: &mut Plan, report: &mut Report) {
        start::lint(self.start.as_ref(), facts, plan, report);
    }

    fn proofs(&self, facts: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
        let start = Start::of(self.start.as_ref(), facts);
        let mut proofs = if start.is_run(facts) { start::proofs(start, facts)? } else { Vec::new() };
        for (family, refs) in [
            ("v4", &["R1", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "CIS 4.4.2.2"] as &[&str]),
            ("v6", &["R3", "R6", "R7", "R8", "R9", "R10", "CIS 4.4.3.2", "RFC 4890"]),
        ] {
            let Some(file) = plan.files.get(&format!("{RULES}/rules.{family}")) else { continue };
            let statement = format!("exactly the rules of the spec are loaded for IP{family}, and the rest is dropped");
            proofs.push(Proof::new(
                "firewall",
                &format!("rules-{family}"),
                refs,
                statement,
                Check::Script { script: same_rules(family, &file.text) },
            ));
            let path = format!("{RULES}/gate.{family}");
            let Some(gate) = plan.files.get(&path) else { continue };
            let statement = format!(
                "what stands until the first boot has succeeded, and whenever the rules cannot be loaded, lets in only ssh \
                 (IP{family})"
            );
            proofs.push(Proof::new(
                "firewall",
                &format!("gate-{family}"),
                &["R22", "R23"],
                statement,
                Check::Script { script: elsewhere(family, &path, &same_rules(family, &gate.text)) },
            ));
        }
        if let Some(filter) = &plan.filter {
            proofs.extend(wire::proofs(filter));
            if !filter.ipv6 {
                proofs.extend(ipv6::proofs(facts, filter)?);
            }
        }
        Ok(proofs)
    }
}

// The machine's kernel is given the gate in a network of its own, where it shuts out nobody.
fn elsewhere(family: &str, path: &str, ask: &str) -> String {
    let tool = if family == "v4" { "iptables" } else { "ip6tables" };
    format!(
        "unshare -n sh <<'ELSEWHERE' 2>&1\n{tool}-restore -w 10 <{path} || {{ echo 'it cannot be loaded'; exit 1; }}\n{ask}ELSEWHERE\n"
    )
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
            // One of our own has none.
            script.push_str(&match policy {
                "-" => format!("has '-N {chain}' || wrong 'there is no chain {chain}'\n"),
                _ => format!("has '-P {chain} {policy}' || wrong 'the policy of {chain} is not {policy}'\n"),
            });
        }
    }
    script.push_str(&format!(
        "set -f\nIFS=$nl\nn=0\nfor l in $all; do case $l in -A*) n=$((n + 1)) ;; esac; done\n[ $n = {count} ] || wrong \"$n rules are loaded, not {count}\"\n\
         [ $bad = 0 ] && echo 'all loaded, and no others'\nexit $bad\n"
    ));
    script
}
