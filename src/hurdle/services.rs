//! What runs and what listens: nothing that speaks in clear text, no socket that the spec does not name, and a person's own units in a
//! sandbox.

mod proofs;
mod sandbox;

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::listener::Listener;
use crate::plan::name::{AbsolutePath, ServiceName, UnitName, UserName};
use crate::plan::net::Protocol;
use crate::plan::proof::Proof;
use crate::plan::{Plan, STATE, Stage, Syntax};
use crate::report::{Fault, FromText, Lint, Report, Severity, Span, shown};
use crate::template::exec_word;
use crate::yaml::{Described, Kind, Node, Read, Spanned, Whole, whole};
use crate::{choice, section, template};
use sandbox::{Directive, SANDBOX};
use serde::Serialize;

section! {
    /// What runs on the machine and what listens: nothing that speaks in clear text, no socket that the spec does not name, and your own
    /// units in a sandbox.
    pub struct Services as "services" {
        /// What must not be there: it is purged, and neither a package nor a unit of it comes back. `telnet`, `ftp`, `tftp`, `rsh`,
        /// `finger`, `talk`, `nis`, `inetd`, `portmap` (with NFS).
        refuse: Vec<Spanned<Legacy>> = Legacy::all(), or "all of them";
        /// More units that nothing may start.
        mask: Vec<Spanned<UnitName>> = Vec::new(), or "none";
        /// What may listen beside sshd, your own units and the image's own daemons: `8080/tcp`, `127.0.0.1:514/udp`, `/run/shop.sock`,
        /// `@shop`, `1234/vsock`. A `*` in the name of a socket stands for anything.
        listens: Vec<Spanned<Listener>> = Vec::new(), or "nothing";
        /// Your own.
        units: Vec<Spanned<OwnUnit>> = Vec::new(), or "none";
    }
}

section! {
    /// A unit of your own. It starts when everything else has succeeded, and again at every boot.
    pub struct OwnUnit as "a unit" {
        /// Its name, without `.service`.
        name: Spanned<ServiceName>;
        /// What it runs: a program's path, and its arguments, each as one item.
        run: Spanned<CommandLine>;
        /// The account that it runs as.
        user: Option<Spanned<UserName>> = None, or "one of its own, that is there while it runs (DynamicUser=)";
        /// What it listens on, as in `listens`. Without any, and without `connects`, it has no network.
        listens: Vec<Spanned<Listener>> = Vec::new(), or "nothing";
        /// Whether it also connects to others.
        connects: bool = false, or "false";
        /// Folders beside its own, /var/lib/NAME and /run/NAME, that it writes to.
        writes: Vec<Spanned<AbsolutePath>> = Vec::new(), or "none";
        /// Directives of the sandbox that it cannot live with: `MemoryDenyWriteExecute` for what compiles while it runs.
        loosen: Vec<Spanned<Directive>> = Vec::new(), or "none";
        /// How exposed `systemd-analyze security` may find it, in tenths from 0 to 100.
        exposure: Spanned<Exposure> = Spanned::default_of(Exposure(20)), or "20, which is 2.0";
    }
}

choice! {
    /// A service that nobody should run any more.
    pub enum Legacy as "a service to refuse" {
        /// Logins in clear text (RFC 854).
        Telnet => "telnet",
        /// Files and passwords in clear text (RFC 959).
        Ftp => "ftp",
        /// Files for whoever asks (RFC 1350).
        Tftp => "tftp",
        /// rsh, rlogin and rexec, which believe what a neighbour says (RFC 1282).
        Rsh => "rsh",
        /// Who is here (RFC 1288).
        Finger => "finger",
        /// Words in clear text.
        Talk => "talk",
        /// Hashes of passwords for the whole network.
        Nis => "nis",
        /// What starts the others.
        Inetd => "inetd",
        /// RPC's map of ports (RFC 1833), and NFS behind it.
        Portmap => "portmap",
    }
}

impl Legacy {
    const ALL: [(Legacy, &'static str); 9] = [
        (Legacy::Telnet, "telnet"),
        (Legacy::Ftp, "ftp"),
        (Legacy::Tftp, "tftp"),
        (Legacy::Rsh, "rsh"),
        (Legacy::Finger, "finger"),
        (Legacy::Talk, "talk"),
        (Legacy::Nis, "nis"),
        (Legacy::Inetd, "inetd"),
        (Legacy::Portmap, "portmap"),
    ];

    fn all() -> Vec<Spanned<Legacy>> {
        Self::ALL.iter().map(|(legacy, _)| Spanned::default_of(*legacy)).collect()
    }

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(legacy, _)| *legacy == self).map_or("", |(_, word)| word)
    }

    /// The ports that it is known by (IANA).
    fn ports(self) -> &'static [u16] {
        match self {
            Legacy::Telnet => &[23],
            Legacy::Ftp => &[20, 21],
            Legacy::Tftp => &[69],
            Legacy::Rsh => &[512, 513, 514],
            Legacy::Finger => &[79],
            Legacy::Talk => &[517, 518],
            Legacy::Portmap => &[111, 2049],
            Legacy::Nis | Legacy::Inetd => &[],
        }
    }
}

/// One argument of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(String);

impl FromText for Word {
    const WHAT: &'static str = "an argument";
    const NUMBERS: bool = true;
    fn from_text(text: &str) -> Result<Self, Fault> {
        if !text.is_empty() && text.len() < 4096 && !text.chars().any(crate::report::is_unseen) {
            return Ok(Word(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not an argument", shown(text)))
            .help("write one line that can be seen, not empty"))
    }
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    program: AbsolutePath,
    arguments: Vec<Word>,
}

impl CommandLine {
    fn drawn(&self) -> String {
        self.arguments.iter().fold(self.program.to_string(), |line, word| format!("{line} {}", exec_word(&word.0)))
    }
}

impl Read for CommandLine {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            let found = node.kind.described();
            let help = "write `run: [/usr/bin/python3, -m, http.server]`";
            report.error(
                "spec/wrong-type",
                node.span,
                format!("expected a program and its arguments, found {found}"),
                help,
            );
            return None;
        };
        let Some((program, arguments)) = items.split_first() else {
            report.error("spec/bad-value", node.span, "this runs nothing", "begin with a program's path");
            return None;
        };
        let program = AbsolutePath::read(program, report);
        let arguments: Vec<Option<Word>> = arguments.iter().map(|item| Word::read(item, report)).collect();
        Some(CommandLine { program: program?, arguments: arguments.into_iter().collect::<Option<_>>()? })
    }
}

/// What `systemd-analyze security` finds, in tenths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure(u8);

impl TryFrom<i128> for Exposure {
    type Error = ();
    fn try_from(v: i128) -> Result<Self, ()> {
        u8::try_from(v).ok().filter(|n| *n <= 100).map(Exposure).ok_or(())
    }
}

impl Whole for Exposure {
    const WHAT: &'static str = "an exposure in tenths (0 to 100)";
}

impl Read for Exposure {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        whole(node, report)
    }
}

const NO_UNITS: Lint = Lint {
    code: "services/needs-systemd",
    severity: Severity::Error,
    finds: "`units` or `mask` for an image that systemd does not start",
    why: "nothing would start them, or keep them from starting",
    instead: "leave them out, or take an image with systemd",
    refs: &["systemd.unit(5)"],
};
const OWN_DOOR: Lint = Lint {
    code: "services/masks-a-door",
    severity: Severity::Error,
    finds: "`mask` names a unit that the machine cannot do without: sshd, the network, D-Bus, the first boot or a hurdle's own",
    why: "the machine boots, and nobody can log in to it, or nothing of the spec is applied",
    instead: "take it out of `mask`",
    refs: &["R37", "R56"],
};
const NAME_TAKEN: Lint = Lint {
    code: "services/name-taken",
    severity: Severity::Error,
    finds: "a unit of the spec has the name of another one of it, or of a unit that the machine needs",
    why: "a file in /etc hides the image's own unit of that name (systemd.unit(5)), sshd for one",
    instead: "give it a name of its own",
    refs: &["systemd.unit(5)"],
};
const NO_ACCOUNT: Lint = Lint {
    code: "services/no-such-account",
    severity: Severity::Error,
    finds: "`user` of a unit names nobody of `accounts.people`",
    why: "the unit cannot start without its account",
    instead: "leave `user` out, and it has an account of its own while it runs; or add the person",
    refs: &["systemd.exec(5)"],
};
const SHUT: Lint = Lint {
    code: "services/kept-shut",
    severity: Severity::Warning,
    finds: "a unit listens on a port of the network that the `firewall` keeps shut",
    why: "it runs, and nobody reaches it",
    instead: "open the port in `firewall.allow`, or let the unit listen on 127.0.0.1",
    refs: &["R15", "R29"],
};
const OPEN_LEGACY: Lint = Lint {
    code: "services/clear-text-port",
    severity: Severity::Warning,
    finds: "the `firewall` opens the port of a service that `refuse` keeps away",
    why: "nothing good listens there: what answers some day is not what the spec wanted",
    instead: "take the port out of `firewall.allow`",
    refs: &["R43"],
};
const EXPOSED: Lint = Lint {
    code: "services/exposed",
    severity: Severity::Warning,
    finds: "an `exposure` of more than 50 tenths",
    why: "systemd itself calls that medium: whoever takes the program over has most of the machine",
    instead: "name in `loosen` only what the program cannot live with, and keep the rest",
    refs: &["R29", "systemd-analyze(1)"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[NO_UNITS, OWN_DOOR, NAME_TAKEN, NO_ACCOUNT, SHUT, OPEN_LEGACY, EXPOSED];
/// The sections inside.
pub const PARTS: &[Part] = &[Part { place: "services.units[]", doc: OwnUnit::DOC, fields: OwnUnit::FIELDS }];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[
    Instruction {
        said: "Never use FTP, Telnet, rsh or anything that logs in by clear text",
        became: "`services.refuse`: they are purged, apt is forbidden to bring them back, and their units are masked.",
        refs: &["R43", "R56"],
    },
    Instruction {
        said: "Minimize the attack surface; turn off what is not needed",
        became: "`services`: each socket that something waits on - TCP, UDP, unix, vsock - is named by the spec or the proof fails.",
        refs: &["R29", "R56"],
    },
];

const PREFERENCES: &str = "hardtack-refused.pref";
const RESOLVED: &str = "/etc/systemd/resolved.conf.d/50-hardtack.conf";

/// Without these there is no machine, or none of the spec. sshd and the network have names of their own on each image.
const NEEDED: [&str; 13] = [
    "cloud-init-local.service",
    "cloud-init.service",
    "cloud-init-network.service",
    "cloud-config.service",
    "cloud-final.service",
    "dbus.service",
    "dbus.socket",
    "systemd-journald.service",
    "systemd-logind.service",
    "systemd-udevd.service",
    "multi-user.target",
    "network.target",
    "network-pre.target",
];

#[derive(Serialize)]
struct Unit<'a> {
    name: &'a str,
    state: &'static str,
    run: String,
    user: Option<&'a str>,
    writes: Vec<&'a str>,
    sandbox: Vec<String>,
}

impl OwnUnit {
    fn unit(&self) -> String {
        format!("{}.service", *self.name)
    }

    fn networked(&self) -> bool {
        self.connects || self.listens.iter().any(|l| matches!(l.value, Listener::Port { .. } | Listener::Vsock(_)))
    }

    // Ports that only root, or this capability, may have (ip(7)).
    fn low_port(&self) -> bool {
        self.listens.iter().any(|l| matches!(l.value, Listener::Port { port: ..1024, .. }))
    }

    /// Directive and value, in the order of the file.
    fn sandbox(&self) -> Vec<(&'static str, String)> {
        let loose = |name: &str| self.loosen.iter().any(|l| l.0 == name);
        let rows = SANDBOX.iter().filter(|(name, _)| !loose(name));
        // In a name space of its own the capability would count for nothing outside.
        let rows = rows.filter(|(name, _)| !(*name == "PrivateUsers" && self.low_port()));
        let mut all: Vec<(&'static str, String)> = rows.map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut families = vec!["AF_UNIX"];
        if self.networked() {
            families.extend(["AF_INET", "AF_INET6"]);
        } else {
            all.push(("PrivateNetwork", "yes".to_owned()));
        }
        if self.listens.iter().any(|l| matches!(l.value, Listener::Vsock(_))) {
            families.push("AF_VSOCK");
        }
        all.push(("RestrictAddressFamilies", families.join(" ")));
        let capability = if self.low_port() { "CAP_NET_BIND_SERVICE" } else { "" };
        all.push(("CapabilityBoundingSet", capability.to_owned()));
        all.push(("AmbientCapabilities", capability.to_owned()));
        all
    }
}

impl Services {
    fn packages<'f>(&self, facts: &'f Facts) -> Result<Vec<&'f str>, Unknown> {
        let mut all = Vec::new();
        for legacy in &self.refuse {
            all.extend(facts.refused(legacy.as_str())?.packages.iter().map(String::as_str));
        }
        Ok(all)
    }

    fn masked(&self, facts: &Facts) -> Result<Vec<String>, Unknown> {
        let mut all: Vec<String> = self.mask.iter().map(|unit| unit.to_string()).collect();
        if facts.systemd() {
            for legacy in &self.refuse {
                all.extend(facts.refused(legacy.as_str())?.units.iter().cloned());
            }
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn listeners(&self) -> impl Iterator<Item = &Spanned<Listener>> {
        self.listens.iter().chain(self.units.iter().flat_map(|unit| &unit.listens))
    }
}

impl Hurdle for Services {
    fn lint(&self, _: Span, report: &mut Report) {
        for (at, unit) in self.units.iter().enumerate() {
            if self.units[..at].iter().any(|other| *other.name == *unit.name) {
                report.push(NAME_TAKEN.at(unit.name.span, format!("there are two units `{}`", *unit.name)));
            }
            if unit.exposure.0 > 50 {
                let words =
                    format!("`{}` may be exposed by {}.{}", *unit.name, unit.exposure.0 / 10, unit.exposure.0 % 10);
                report.push(EXPOSED.at(unit.exposure.span, words));
            }
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        #[derive(Serialize)]
        struct Holes<'a> {
            packages: Vec<&'a str>,
            units: Vec<String>,
            unit: &'a str,
        }
        let apply = Stage::Apply;
        let masked = self.masked(facts)?;
        let resolver = if facts.systemd() { facts.unit("resolver").ok() } else { None };
        let holes = Holes { packages: self.packages(facts)?, units: masked, unit: resolver.unwrap_or_default() };
        if !holes.packages.is_empty() {
            plan.refused = holes.packages.iter().map(|p| (*p).to_owned()).collect();
            plan.command("services", apply, template!("services/refuse.sh"), &holes)?;
            if let Ok(folder) = facts.path("apt-preferences-d") {
                let path = format!("{folder}/{PREFERENCES}");
                plan.draw("services", apply, &path, 0o644, template!("services/refused.conf"), &holes)?;
            }
        }
        if facts.systemd() && !holes.units.is_empty() {
            plan.masked = holes.units.iter().cloned().collect();
            plan.command("services", apply, template!("services/mask.sh"), &holes)?;
        }
        if resolver.is_some() {
            plan.draw("services", apply, RESOLVED, 0o644, template!("services/resolved.conf"), &holes)?;
            plan.controls(RESOLVED, Syntax::Unit, format!("systemctl restart {}", holes.unit));
            plan.command("services", apply, template!("services/resolved.sh"), &holes)?;
        }
        plan.listens.extend(self.listeners().map(|l| l.value.clone()));
        for text in facts.listens() {
            // A test reads the facts of every image.
            plan.listens.extend(Listener::from_text(text).ok());
        }
        for unit in self.units.iter().filter(|_| facts.systemd()) {
            let path = format!("{}/{}", facts.path("systemd-units")?, unit.unit());
            let context = Unit {
                name: unit.name.as_str(),
                state: STATE,
                run: unit.run.drawn(),
                user: unit.user.as_ref().map(|u| u.as_str()),
                writes: unit.writes.iter().map(|p| p.as_str()).collect(),
                sandbox: unit.sandbox().into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
            };
            plan.draw("services", apply, &path, 0o644, template!("services/own.service"), &context)?;
            plan.controls(&path, Syntax::Unit, format!("systemctl daemon-reload; systemctl restart {}", unit.unit()));
            plan.units.insert(unit.unit());
            plan.starts.insert(unit.unit());
        }
        Ok(())
    }

    fn settle(&self, facts: &Facts, plan: &mut Plan, report: &mut Report) {
        // Where nothing is said of sshd it is as the image has it.
        let ssh = plan.logins.as_ref().map_or(22, |logins| logins.port);
        plan.listens.insert(Listener::port(Protocol::Tcp, ssh));
        let first = self.units.first().map(|u| u.name.span).or(self.mask.first().map(|u| u.span));
        if let Some(span) = first.filter(|_| !facts.systemd()) {
            report.push(NO_UNITS.at(span, format!("{} is not started by systemd", facts.title())));
        }
        let doors: Vec<&str> =
            ["sshd", "sshd-socket", "network"].iter().filter_map(|key| facts.unit(key).ok()).collect();
        let needed = |unit: &str| doors.contains(&unit) || NEEDED.contains(&unit) || unit.starts_with("hardtack-");
        for unit in self.mask.iter().filter(|u| needed(u.as_str())) {
            report.push(OWN_DOOR.at(unit.span, format!("the machine cannot do without {}", unit.value)));
        }
        for unit in &self.units {
            if needed(&unit.unit()) {
                report.push(NAME_TAKEN.at(unit.name.span, format!("the machine needs its own {}", unit.unit())));
            }
            if let Some(user) = unit.user.as_ref().filter(|user| !plan.accounts.contains_key(user)) {
                report.push(NO_ACCOUNT.at(user.span, format!("there is no account `{}`", user.value)));
            }
        }
        let Some(filter) = &plan.filter else { return };
        let opens = |protocol: Protocol, port: u16| {
            filter.opens.iter().any(|o| o.protocol == protocol && o.ports.iter().any(|p| p.contains(port)))
        };
        for listener in self.units.iter().flat_map(|unit| &unit.listens) {
            if let Some((protocol, port)) = listener.open().filter(|(protocol, port)| !opens(*protocol, *port)) {
                let words = format!("the firewall keeps {port}/{} shut", protocol.as_str());
                report.push(SHUT.at(listener.span, words));
            }
        }
        for legacy in &self.refuse {
            let opened = |port: &&u16| opens(Protocol::Tcp, **port) || opens(Protocol::Udp, **port);
            for port in legacy.ports().iter().filter(opened) {
                let words = format!("`{}` is refused, and the firewall opens {port} for it", legacy.as_str());
                report.push(OPEN_LEGACY.at(legacy.span.or(plan.here), words));
            }
        }
    }

    fn proofs(&self, facts: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
        proofs::proofs(self, facts, plan)
    }
}
