//! Who loads the rules at each boot: a unit of systemd, a script of SysV init, or rc.local.

use super::{NAME, UNIT};
use crate::facts::{Facts, Unknown};
use crate::hurdle::Trouble;
use crate::plan::proof::{Boot, Check, Proof, When};
use crate::plan::{LIB, Plan, Stage, Syntax};
use crate::report::{Lint, Report, Severity};
use crate::yaml::Spanned;
use crate::{choice, template};
use serde::Serialize;

choice! {
    /// Who loads the rules at each boot.
    pub enum Start as "a way to start the firewall" {
        /// A unit of systemd, before the network.
        Unit => "unit",
        /// A script of SysV init: before the network, or after it where systemd runs it.
        InitScript => "init-script",
        /// /etc/rc.local, after all else.
        RcLocal => "rc-local",
    }
}

pub(super) const NOT_RUN: Lint = Lint {
    code: "firewall/start-never-run",
    severity: Severity::Error,
    finds: "`start` with a way that the image's init does not go",
    why: "the rules would not be loaded at any boot after the first",
    instead: "say `start: unit` where systemd starts the machine, and `start: init-script` where SysV init does",
    refs: &["R12", "R13", "systemd-sysv-generator(8)"],
};
pub(super) const LATE: Lint = Lint {
    code: "firewall/start-late",
    severity: Severity::Warning,
    finds: "`start` with a way that comes after the network",
    why: "at each boot but the first, whatever listens is open until the rules are loaded; `prove --timeline` measures how long",
    instead: "leave `start` out",
    refs: &["R12", "R13", "R22"],
};
pub(super) const GATE_LATE: Lint = Lint {
    code: "firewall/gate-late",
    severity: Severity::Warning,
    finds: "a firewall that cloud-init brings to an image without systemd",
    why: "cloud-init is a script there that comes after the network: until it runs in the first boot, the machine is as the image has it",
    instead: "let the first boot be where nobody else is, install it (`bare-metal`), or take an image with systemd; `prove --timeline` measures how long",
    refs: &["R22", "R23"],
};

/// systemd runs neither scripts of SysV init nor rc.local from this version on (its NEWS).
const WITHOUT_SYSV: u32 = 260;

impl Start {
    /// What is meant where a spec does not say.
    pub(super) fn of(wanted: Option<&Spanned<Start>>, facts: &Facts) -> Self {
        let usual = if facts.systemd() { Start::Unit } else { Start::InitScript };
        wanted.map_or(usual, |start| start.value)
    }

    fn place(self, facts: &Facts) -> Result<&str, Unknown> {
        match self {
            Start::Unit => facts.path("systemd-units"),
            Start::InitScript => facts.path("init-d"),
            Start::RcLocal => facts.path("rc-local"),
        }
    }

    /// Whether the image's init goes this way.
    pub(super) fn is_run(self, facts: &Facts) -> bool {
        match self {
            Start::Unit => facts.systemd(),
            _ => {
                self.place(facts).is_ok()
                    && facts.version("systemd").map_or(true, |version| version < vec![WITHOUT_SYSV])
            }
        }
    }

    /// The boots in which the network may be up before the gate stands.
    pub(super) fn late(self, facts: &Facts) -> Vec<Boot> {
        // Where scripts start a machine, cloud-init's come after those that bring the network up.
        let first = (!facts.systemd()).then_some(Boot::First);
        let second = self.comes_late(facts).then_some(Boot::Second);
        first.into_iter().chain(second).collect()
    }

    fn comes_late(self, facts: &Facts) -> bool {
        self == Start::RcLocal || (self == Start::InitScript && facts.systemd())
    }
}

/// What is said of a way that is not gone, or late.
pub(super) fn lint(wanted: Option<&Spanned<Start>>, facts: &Facts, plan: &Plan, report: &mut Report) {
    let start = Start::of(wanted, facts);
    let span = wanted.and_then(|w| w.span).or(plan.here);
    if !start.is_run(facts) {
        let init = if facts.systemd() { "systemd" } else { "SysV init" };
        let what = match start {
            Start::Unit => "no units",
            Start::InitScript => "no scripts of /etc/init.d",
            Start::RcLocal => "no rc.local",
        };
        report.push(NOT_RUN.at(span, format!("{init} starts {}, and it runs {what} there", facts.name)));
    } else if start.comes_late(facts) {
        report.push(LATE.at(span, "the rules are loaded after the network is up"));
    }
    // What is installed has a script of its own, before the network's.
    if !facts.systemd() && plan.by_cloud_init {
        report.push(GATE_LATE.at(plan.here, "at the first boot, the gate stands only when the network is up"));
    }
}

/// Asks for it.
pub(super) fn plan(start: Start, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
    #[derive(Serialize)]
    struct Holes {
        lib: &'static str,
        systemd: bool,
        place: String,
        network: String,
    }
    let place = start.place(facts)?.to_owned();
    let holes = Holes { lib: LIB, systemd: facts.systemd(), place, network: facts.unit("network")?.to_owned() };
    match start {
        Start::Unit => {
            let (path, unit) = (format!("{}/{UNIT}", holes.place), template!("firewall/hardtack-firewall.service"));
            plan.draw("firewall", Stage::Gate, &path, 0o644, unit, &holes)?;
            plan.controls(&path, Syntax::Unit, "systemctl daemon-reload");
            plan.units.insert(UNIT.to_owned());
        }
        Start::InitScript => {
            let (path, script) = (format!("{}/{NAME}", holes.place), template!("firewall/init-script.sh"));
            plan.draw("firewall", Stage::Gate, &path, 0o755, script, &holes)?;
            if !holes.systemd {
                let (path, header) = ("/etc/insserv/overrides/nftables", template!("firewall/nftables.sh"));
                plan.draw("firewall", Stage::Gate, path, 0o644, header, &holes)?;
            }
            plan.scripts.insert(NAME.to_owned());
        }
        Start::RcLocal => {
            plan.command("firewall", Stage::Gate, template!("firewall/keep-rc-local.sh"), &holes)?;
            plan.draw("firewall", Stage::Apply, &holes.place, 0o755, template!("firewall/rc-local.sh"), &holes)?;
        }
    }
    Ok(())
}

/// What must be seen for the rules to be loaded at every boot.
///
/// # Errors
/// The image does not say where they lie.
pub(super) fn proofs(start: Start, facts: &Facts) -> Result<Vec<Proof>, Unknown> {
    let proof =
        |what: &str, refs: &[&str], statement: &str, check| Proof::new("firewall", what, refs, statement, check);
    let place = start.place(facts)?;
    let script = |text: &str| {
        let text = text.replace("PLACE", place).replace("NAME", NAME).replace("UNIT", UNIT).replace("LIB", LIB);
        Check::Script { script: text }
    };
    Ok(match start {
        Start::Unit => {
            let unit = Check::Unit { unit: UNIT.into(), active: "active".into(), enabled: Some("enabled".into()) };
            let statement = "the rules are loaded by their own unit, now and at every boot";
            let waits = "whatever brings up a network waits until the rules are loaded";
            vec![
                proof("unit", &["R12", "R13", "R21", "systemd.special(7)"], statement, unit),
                proof("unit-order", &["R12", "R22", "systemd.special(7)"], waits, script(UNIT_ORDER)),
            ]
        }
        Start::InitScript => {
            let refs = &["R12", "update-rc.d(8)"];
            let runlevel = if facts.systemd() { "2" } else { "S" };
            let statement = "the rules are loaded by a script of their own at every boot";
            let linked = LINKED.replace("RUNLEVEL", runlevel);
            let mut proofs = vec![proof("init-script", refs, statement, script(&linked))];
            if !facts.systemd() {
                let order = SCRIPT_ORDER.replace("NETWORK", facts.unit("network")?);
                let waits = "the script that brings up the network comes after the one that loads the rules";
                proofs.push(proof("init-script-order", &["R12", "R22", "insserv(8)"], waits, script(&order)));
            }
            proofs
        }
        Start::RcLocal => {
            let statement = "rc.local has loaded the rules, late";
            let ran = proof("rc-local", &["R13", "systemd-rc-local-generator(8)"], statement, script(RC_LOCAL));
            vec![Proof { when: When::AfterReboot, ..ran }]
        }
    })
}

// A target that nobody wants is not there, and so nothing waits for it.
const UNIT_ORDER: &str = "nl='\n'\nu=\"$nl$(systemctl show -p DefaultDependencies -p Wants -p Before UNIT)$nl\"\nbad=0\n\
    for line in DefaultDependencies=no Wants=network-pre.target Before=network-pre.target; do\n\
    w=${u#*\"$nl${line%%=*}=\"}\nw=${w%%\"$nl\"*}\n\
    case \" $w \" in *\" ${line#*=} \"*) ;; *) echo \"not $line\"; bad=1 ;; esac\n\
    done\n[ $bad = 0 ] && echo 'before network-pre.target'\nexit $bad\n";

const LINKED: &str = "[ -x PLACE/NAME ] || { echo 'PLACE/NAME cannot be run'; exit 1; }\n\
    for link in /etc/rcRUNLEVEL.d/S??NAME; do\n\
    [ PLACE/NAME -ef \"$link\" ] && echo \"$link\" && exit 0\ndone\n\
    echo 'nothing in /etc/rcRUNLEVEL.d leads to it'\nexit 1\n";

// What starts them side by side reads who waits for whom from here (insserv(8)).
const SCRIPT_ORDER: &str = "waits=$(sed -n 's/^NETWORK://p' /etc/init.d/.depend.boot)\n\
    case \" $waits \" in *' NAME '*) echo \"NETWORK waits for:$waits\" ;;\n\
    *) echo \"NETWORK does not wait for it, but for:$waits\"; exit 1 ;; esac\n";

// Nothing else makes the mark at a boot that is not the first.
const RC_LOCAL: &str = "[ -x PLACE ] || { echo 'PLACE cannot be run'; exit 1; }\n\
    grep -q '^sh LIB/firewall start ' PLACE || { echo 'PLACE does not load the rules'; exit 1; }\n\
    [ -e /run/hardtack/gate ] || { echo 'no rules were loaded in this boot'; exit 1; }\n\
    up=$(cut -d ' ' -f 1 /proc/uptime)\n\
    echo \"loaded $(($(date +%s) - $(stat -c %Y /run/hardtack/gate))) s ago, in a boot of $up s\"\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> impl Iterator<Item = Facts> {
        Facts::names().into_iter().map(|name| Facts::load(name).unwrap())
    }

    #[test]
    fn no_way_is_gone_that_the_image_does_not_go() {
        let runs = |facts: &Facts| [Start::Unit, Start::InitScript, Start::RcLocal].map(|start| start.is_run(facts));
        for facts in images() {
            let [script, local] = ["init-d", "rc-local"].map(|path| facts.path(path).is_ok());
            assert_eq!(runs(&facts), [facts.systemd(), script, local], "{}", facts.name);
            assert_eq!(runs(&facts.clone().with_version("systemd", "259")), [true, script, local], "{}", facts.name);
            assert_eq!(runs(&facts.with_version("systemd", "260")), [true, false, false]);
        }
        assert!(images().any(|facts| !facts.systemd()) && images().any(|facts| facts.path("init-d").is_err()));
    }

    #[test]
    fn what_comes_after_the_network_is_known_to() {
        for facts in images() {
            let late = [Start::Unit, Start::InitScript, Start::RcLocal].map(|start| start.late(&facts));
            match facts.systemd() {
                true => assert_eq!(late, [vec![], vec![Boot::Second], vec![Boot::Second]]),
                false => assert_eq!(late[1..], [vec![Boot::First], vec![Boot::First, Boot::Second]]),
            }
        }
    }
}
