//! Kernel parameters: a baseline with a reason for each key, and a person's own.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::Plan;
use crate::plan::name::{SysctlKey, SysctlValue};
use crate::plan::proof::{Check, Proof};
use crate::report::{FromText, Lint, Report, Severity, Span};
use crate::yaml::{Kind, Node, Read, Spanned};
use crate::{choice, section};
use std::collections::BTreeMap;

section! {
    /// Kernel parameters, set before the network comes up and read back from the running kernel.
    pub struct Sysctl as "sysctl" {
        /// `sound`: what CIS, ANSSI BP-028, dev-sec and KSPP ask for and no ordinary server misses.
        /// `article`: forwarding off, as the article has it. `none`: only `set`.
        baseline: Spanned<Baseline> = Spanned::default_of(Baseline::Sound), or "sound";
        /// What the machine is for, where a baseline would break that: `server`, `router`, `docker-host`, `kubernetes-node`.
        purpose: Spanned<Purpose> = Spanned::default_of(Purpose::Server), or "server";
        /// Parameters of your own, in dotted form; they win over the baseline. `*` stands for every interface.
        set: Settings = Settings::default(), or "none";
    }
}

choice! {
    /// A set of kernel parameters.
    pub enum Baseline as "a baseline" {
        /// What the benchmarks ask for.
        Sound => "sound",
        /// What the article sets.
        Article => "article",
        /// Nothing.
        None => "none",
    }
}

choice! {
    /// What a machine is for.
    pub enum Purpose as "a purpose" {
        /// It serves, and passes nothing on.
        Server => "server",
        /// It passes packets on between networks.
        Router => "router",
        /// Docker passes packets on to its containers.
        DockerHost => "docker-host",
        /// So do kubelet and its network, in both families.
        KubernetesNode => "kubernetes-node",
    }
}

/// Parameters as a person wrote them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings(Vec<(Spanned<SysctlKey>, SysctlValue)>);

impl Read for Settings {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Map(pairs) = &node.kind else {
            report.error(
                "spec/wrong-type",
                node.span,
                format!("expected kernel parameters, found {}", node.kind.described()),
                "write `net.ipv4.ip_forward: 0`",
            );
            return None;
        };
        let mut settings: Vec<(Spanned<SysctlKey>, SysctlValue)> = Vec::new();
        let mut good = true;
        for (key, value) in pairs {
            let text = match &value.kind {
                Kind::Int(v) => v.to_string(),
                Kind::Text(v) => v.clone(),
                other => {
                    report.error(
                        "spec/wrong-type",
                        value.span,
                        format!("expected a value of a kernel parameter, found {}", other.described()),
                        "write a number, or text in quotes",
                    );
                    good = false;
                    continue;
                }
            };
            let mut refuse = |span, fault: crate::report::Fault| {
                report.error("spec/bad-value", span, fault.message, fault.help.unwrap_or_default());
                good = false;
            };
            match (SysctlKey::from_text(&key.name), SysctlValue::from_text(&text)) {
                (Ok(name), Ok(text)) if !settings.iter().any(|(k, _)| k.value == name) => {
                    settings.push((Spanned { value: name, span: Some(key.span) }, text))
                }
                (Ok(name), Ok(_)) => refuse(
                    key.span,
                    crate::report::Fault::new(format!("`{name}` stands here twice")).help("remove one of them"),
                ),
                (name, text) => {
                    if let Err(fault) = name {
                        refuse(key.span, fault);
                    }
                    if let Err(fault) = text {
                        refuse(value.span, fault);
                    }
                }
            }
        }
        good.then_some(Settings(settings))
    }
}

const LOOSENED: Lint = Lint {
    code: "sysctl/baseline-loosened",
    severity: Severity::Warning,
    finds: "`set` gives a key of the baseline another value",
    why: "the baseline's value stands between an intruder and something",
    instead: "leave the key out, unless the machine's purpose needs it (a router, a container host)",
    refs: &["R2", "R44"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[LOOSENED];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[];

type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

// key, value, what holds then, where the advice is from. Interfaces are there before any file is read, and for
// redirects the kernel takes the looser of `all` and the interface: so every interface is named (`*`), not `default`.
const ARTICLE: &[Row] = &[
    (
        "net.ipv4.ip_forward",
        "0",
        "IPv4 packets are not passed on",
        &["R2", "CIS 3.3.1", "ANSSI-BP-028 R12", "dev-sec sysctl-01"],
    ),
    ("net.ipv6.conf.*.forwarding", "0", "IPv6 packets are not passed on", &["R2", "CIS 3.3.1", "dev-sec sysctl-19"]),
];
const SOUND: &[Row] = &[
    (
        "net.ipv4.conf.*.send_redirects",
        "0",
        "nobody is told of other routes",
        &["CIS 3.3.2", "ANSSI-BP-028 R12", "dev-sec sysctl-16"],
    ),
    (
        "net.ipv4.conf.*.accept_redirects",
        "0",
        "no neighbour can change the IPv4 routes",
        &["R44", "CIS 3.3.5", "ANSSI-BP-028 R12", "dev-sec sysctl-14"],
    ),
    (
        "net.ipv6.conf.*.accept_redirects",
        "0",
        "no neighbour can change the IPv6 routes",
        &["R44", "CIS 3.3.5", "dev-sec sysctl-20"],
    ),
    (
        "net.ipv4.conf.*.secure_redirects",
        "0",
        "not even a router can change the IPv4 routes",
        &["R44", "CIS 3.3.6", "ANSSI-BP-028 R12", "dev-sec sysctl-15"],
    ),
    (
        "net.ipv4.conf.*.accept_source_route",
        "0",
        "no IPv4 packet chooses its own way",
        &["CIS 3.3.8", "ANSSI-BP-028 R12", "dev-sec sysctl-13"],
    ),
    (
        "net.ipv6.conf.*.accept_source_route",
        "0",
        "no IPv6 packet chooses its own way",
        &["CIS 3.3.8", "dev-sec sysctl-13"],
    ),
    (
        "net.ipv4.conf.*.rp_filter",
        "1",
        "packets with a source that is not routed back are dropped",
        &["R44", "CIS 3.3.7", "ANSSI-BP-028 R12", "dev-sec sysctl-02"],
    ),
    (
        "net.ipv4.conf.*.arp_ignore",
        "1",
        "ARP is answered only for the interface's own addresses",
        &["R44", "dev-sec sysctl-08"],
    ),
    (
        "net.ipv4.conf.*.arp_announce",
        "2",
        "ARP tells only the interface's own addresses",
        &["R44", "dev-sec sysctl-09"],
    ),
    (
        "net.ipv4.conf.*.log_martians",
        "1",
        "packets with impossible addresses are logged",
        &["CIS 3.3.9", "dev-sec sysctl-17"],
    ),
    ("net.ipv4.icmp_echo_ignore_broadcasts", "1", "the machine amplifies no ping", &["CIS 3.3.4", "dev-sec sysctl-04"]),
    (
        "net.ipv4.icmp_ignore_bogus_error_responses",
        "1",
        "bogus ICMP errors do not fill the log",
        &["CIS 3.3.3", "ANSSI-BP-028 R12", "dev-sec sysctl-03"],
    ),
    (
        "net.ipv4.tcp_syncookies",
        "1",
        "a flood of SYNs does not shut people out",
        &["CIS 3.3.10", "ANSSI-BP-028 R12", "dev-sec sysctl-11"],
    ),
    (
        "net.ipv4.tcp_rfc1337",
        "1",
        "old connections cannot be killed in TIME-WAIT",
        &["ANSSI-BP-028 R12", "dev-sec sysctl-10", "RFC 1337"],
    ),
    (
        "kernel.randomize_va_space",
        "2",
        "addresses in processes are random",
        &["CIS 1.5.1", "ANSSI-BP-028 R9", "dev-sec sysctl-32"],
    ),
    ("kernel.kptr_restrict", "2", "kernel addresses are hidden", &["ANSSI-BP-028 R9", "KSPP"]),
    ("kernel.dmesg_restrict", "1", "only root reads the kernel's log", &["ANSSI-BP-028 R9", "KSPP"]),
    (
        "kernel.sysrq",
        "0",
        "no key on the console kills or reads the machine",
        &["ANSSI-BP-028 R9", "dev-sec sysctl-30"],
    ),
    (
        "kernel.yama.ptrace_scope",
        "1",
        "a process cannot read one that it did not start",
        &["CIS 1.5.2", "ANSSI-BP-028 R11"],
    ),
    ("kernel.unprivileged_bpf_disabled", "1", "only root loads BPF programs", &["ANSSI-BP-028 R9", "KSPP"]),
    (
        "net.core.bpf_jit_harden",
        "2",
        "BPF code cannot carry instructions in its constants",
        &["ANSSI-BP-028 R12", "KSPP"],
    ),
    ("kernel.kexec_load_disabled", "1", "nobody swaps the running kernel", &["KSPP"]),
    ("dev.tty.ldisc_autoload", "0", "only root loads line disciplines", &["KSPP"]),
    (
        "fs.protected_hardlinks",
        "1",
        "nobody links to what they cannot write",
        &["ANSSI-BP-028 R14", "dev-sec sysctl-34", "KSPP"],
    ),
    (
        "fs.protected_symlinks",
        "1",
        "links in shared folders are followed only for their owner",
        &["ANSSI-BP-028 R14", "dev-sec sysctl-34", "KSPP"],
    ),
    (
        "fs.protected_fifos",
        "2",
        "nobody waits with a FIFO in a shared folder",
        &["ANSSI-BP-028 R14", "dev-sec sysctl-34", "KSPP"],
    ),
    (
        "fs.protected_regular",
        "2",
        "nobody waits with a file in a shared folder",
        &["ANSSI-BP-028 R14", "dev-sec sysctl-34", "KSPP"],
    ),
    (
        "fs.suid_dumpable",
        "0",
        "programs with more rights than their user leave no memory on disk",
        &["CIS 1.5.3", "ANSSI-BP-028 R14", "dev-sec sysctl-31a", "KSPP"],
    ),
    ("vm.mmap_min_addr", "65536", "a null pointer of the kernel points nowhere", &["KSPP"]),
];

const PASSES_ON: Row = (
    "net.ipv4.ip_forward",
    "1",
    "IPv4 packets are passed on, as the machine's purpose needs",
    &["R2", "ip-sysctl.rst"],
);
const PASSES_ON_IPV6: Row = (
    "net.ipv6.conf.*.forwarding",
    "1",
    "IPv6 packets are passed on, as the machine's purpose needs",
    &["R2", "ip-sysctl.rst"],
);
// What comes in by one link and is answered by another one is a router's work; what comes from nowhere is still dropped.
const LOOSE: Row = (
    "net.ipv4.conf.*.rp_filter",
    "2",
    "packets with a source that leads nowhere are dropped",
    &["R44", "RFC 3704", "ip-sysctl.rst"],
);
// kubelet does not start on other values with --protect-kernel-defaults (its pkg/kubelet/cm).
const KUBELET: &[Row] = &[
    PASSES_ON,
    PASSES_ON_IPV6,
    LOOSE,
    ("vm.overcommit_memory", "1", "memory is promised as kubelet wants it", &["kubelet(1)"]),
    ("kernel.panic", "10", "a kernel that has failed starts again after ten seconds", &["kubelet(1)"]),
    ("kernel.panic_on_oops", "1", "a kernel with a fault does not go on", &["kubelet(1)", "KSPP"]),
];

impl Purpose {
    /// Instead of the baseline's, or beside them.
    fn rows(self) -> &'static [Row] {
        match self {
            Purpose::Server => &[],
            Purpose::Router => &[PASSES_ON, PASSES_ON_IPV6, LOOSE],
            Purpose::DockerHost => &[PASSES_ON],
            Purpose::KubernetesNode => KUBELET,
        }
    }
}

impl Sysctl {
    fn rows(&self) -> Vec<Row> {
        let baseline = match *self.baseline {
            Baseline::Sound => [ARTICLE, SOUND].concat(),
            Baseline::Article => ARTICLE.to_vec(),
            Baseline::None => Vec::new(),
        };
        let purpose = self.purpose.rows();
        let others = baseline.into_iter().filter(|row| !purpose.iter().any(|other| other.0 == row.0));
        others.chain(purpose.iter().copied()).collect()
    }

    // What the file says in the end; a person's own value wins.
    fn settings(&self) -> BTreeMap<SysctlKey, (SysctlValue, Option<Row>)> {
        let mut all = BTreeMap::new();
        for row in self.rows() {
            if let (Ok(key), Ok(value)) = (SysctlKey::from_text(row.0), SysctlValue::from_text(row.1)) {
                all.insert(key, (value, Some(row)));
            }
        }
        for (key, value) in &self.set.0 {
            let row = all.get(&key.value).and_then(|(v, row)| row.filter(|_| v == value));
            all.insert(key.value.clone(), (value.clone(), row));
        }
        all
    }
}

impl Hurdle for Sysctl {
    fn lint(&self, _: Span, report: &mut Report) {
        for (key, value) in &self.set.0 {
            if let Some(row) = self.rows().into_iter().find(|row| row.0 == key.as_str() && row.1 != value.as_str()) {
                report
                    .push(LOOSENED.at(key.span, format!("the baseline sets {} = {}, so that {}", row.0, row.1, row.2)));
            }
        }
    }

    fn plan(&self, _: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        for (key, (value, _)) in self.settings() {
            plan.sysctl("sysctl", key, value);
        }
        Ok(())
    }

    fn proofs(&self, facts: &Facts, _: &Plan) -> Result<Vec<Proof>, Unknown> {
        let mut proofs = Vec::new();
        for (key, (value, row)) in self.settings() {
            let (statement, refs) = match row {
                Some((.., statement, refs)) => (statement.to_owned(), refs),
                None => (format!("{key} is {value}"), &["sysctl.d(5)"] as &[&str]),
            };
            let check = Check::Sysctl { path: key.path(), value: value.to_string() };
            // An interface may itself be called `every`, and two proofs never have one name.
            let id = key.as_str().replace("every", "every-").replace('*', "every");
            proofs.push(Proof::new("sysctl", &id, refs, statement, check));
        }
        if !proofs.is_empty() {
            let unit = facts.unit("sysctl")?.to_owned();
            let (statement, check) = match facts.systemd() {
                true => (
                    "kernel parameters are set at boot, and none was refused",
                    Check::Unit { unit, active: "active".into(), enabled: None },
                ),
                // A script leaves no word behind. What the boot has set is asked for above.
                false => (
                    "a script sets kernel parameters at boot",
                    Check::Script { script: format!("ls /etc/rcS.d/S??{unit} 2>&1\n") },
                ),
            };
            proofs.push(Proof::new("sysctl", "set-at-boot", &["R20"], statement, check));
        }
        Ok(proofs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_baseline_is_well_formed_and_stands_once() {
        let all: Vec<_> = ARTICLE.iter().chain(SOUND).collect();
        let of = |purpose| Sysctl {
            baseline: Spanned::default_of(Baseline::Sound),
            purpose: Spanned::default_of(purpose),
            set: Settings::default(),
        };
        assert_eq!(of(Purpose::Server).settings().len(), all.len());
        assert!(all.iter().all(|row| !row.2.is_empty() && !row.3.is_empty()));
        // A purpose takes nothing away.
        for purpose in [Purpose::Router, Purpose::DockerHost, Purpose::KubernetesNode] {
            let settings = of(purpose).settings();
            assert!(all.iter().all(|row| settings.keys().any(|key| key.as_str() == row.0)));
            assert_eq!(settings[&SysctlKey::from_text("net.ipv4.ip_forward").unwrap()].0.as_str(), "1");
        }
    }
}
