//! Who watches: what happens is written down where nobody takes it back, and the machine looks at itself every day.

mod proofs;

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::listener::Listener;
use crate::plan::name::HostName;
use crate::plan::proof::Proof;
use crate::plan::url::Url;
use crate::plan::{LIB, Plan, STATE, Stage, Syntax, verify};
use crate::report::{Fault, FromText, Lint, Report, Severity, Span, shown};
use crate::yaml::Spanned;
use crate::{section, template};
use serde::Serialize;

section! {
    /// Who watches: what happens is written down where nobody takes it back, and the machine looks at itself every day.
    pub struct Watch as "watch" {
        /// Whether the kernel writes down who becomes whom, who changes what lets in, and what people may not (auditd). Until the next boot
        /// nobody changes that.
        audit: Spanned<bool> = Spanned::default_of(true), or "true";
        /// Whether files that nobody should change are compared with what they were when the first boot had succeeded (AIDE), every day.
        integrity: Spanned<bool> = Spanned::default_of(true), or "true";
        /// Whether all that is seen from inside is asked for again, every day and after updates: `hardtack-verify`. What does not hold fails
        /// a unit, and is said to whoever logs in.
        verify: Spanned<bool> = Spanned::default_of(true), or "true";
        /// Whether who guesses at sshd is shut out for an hour (fail2ban). Where only keys let in there is nothing to guess.
        bans: Spanned<bool> = Spanned::default_of(false), or "false";
        /// For how many days the journal is kept.
        journal_days: Spanned<Days> = Spanned::default_of(Days(365)), or "365";
        /// How many MiB of it, at most.
        journal_mib: Spanned<Mib> = Spanned::default_of(Mib(1024)), or "1024";
        /// Where the journal is sent on to, by TLS (systemd-journal-remote); what an intruder deletes here is still there.
        forward: Option<Spanned<Url>> = None, or "nowhere";
        /// Where the time comes from.
        time_servers: Vec<Spanned<HostName>> = Vec::new(), or "where the image, or DHCP, says";
    }
}

/// Days that a journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u32);
/// Mebibytes of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mib(u32);

fn between(text: &str, what: &str, least: u32, most: u32) -> Result<u32, Fault> {
    match text.parse() {
        Ok(n) if (least..=most).contains(&n) && text == n.to_string() => Ok(n),
        _ => Err(Fault::new(format!("`{}` is not {what}", shown(text)))
            .help(format!("write a number from {least} to {most}"))),
    }
}

impl FromText for Days {
    const WHAT: &'static str = "a number of days";
    const NUMBERS: bool = true;
    fn from_text(text: &str) -> Result<Self, Fault> {
        between(text, Self::WHAT, 1, 3650).map(Days)
    }
}

impl FromText for Mib {
    const WHAT: &'static str = "a number of MiB";
    const NUMBERS: bool = true;
    fn from_text(text: &str) -> Result<Self, Fault> {
        between(text, Self::WHAT, 8, 1 << 20).map(Mib)
    }
}

const NEEDS_SYSTEMD: Lint = Lint {
    code: "watch/needs-systemd",
    severity: Severity::Error,
    finds: "`watch` for an image that systemd does not start",
    why: "its timers, its journal and what is said of a unit that fails are systemd's",
    instead: "leave it out, or take an image with systemd",
    refs: &["R53", "systemd.timer(5)"],
};
const NOTHING_TO_GUESS: Lint = Lint {
    code: "watch/nothing-to-guess",
    severity: Severity::Warning,
    finds: "`bans` where sshd takes keys alone",
    why: "nobody guesses a key; a ban then only shuts out your own people, when their agent offers too many",
    instead: "leave it out; `firewall.allow[].rate` holds back who only makes noise",
    refs: &["R52", "jail.conf(5)"],
};
const FLYING_BLIND: Lint = Lint {
    code: "watch/no-verify",
    severity: Severity::Warning,
    finds: "`verify: false`",
    why: "an update, a mistake or an intruder undoes what the first boot did, and nobody hears of it",
    instead: "leave it out",
    refs: &["R53"],
};
const NOT_PACKAGED: Lint = Lint {
    code: "watch/not-packaged",
    severity: Severity::Error,
    finds: "a key of `watch` for which the image's distribution has no package of its own",
    why: "it would come from elsewhere, and nobody would update it",
    instead: "leave the key out for this image",
    refs: &["R52"],
};
/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[NEEDS_SYSTEMD, NOTHING_TO_GUESS, FLYING_BLIND, NOT_PACKAGED];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[
    Instruction {
        said: "A mistake, an update or an intruder can undo it",
        became: "`watch.verify`: the machine asks itself every day, and after updates, what `hardtack prove` asked; a unit fails when \
                 something does not hold.",
        refs: &["R53"],
    },
    Instruction {
        said: "There is more to install, use and tune",
        became: "`watch`: the audit log, a comparison of files, bans, the journal on another machine, the right time. Each ends where it brings \
                 less than it costs; the lints say where.",
        refs: &["R52"],
    },
];

const INTEGRITY: &str = "/usr/local/sbin/hardtack-integrity";

#[derive(Serialize)]
struct Holes<'a> {
    lib: &'static str,
    state: &'static str,
    config: String,
    program: &'static str,
    integrity: bool,
    size: String,
    keep: String,
    url: &'a str,
    trust: &'a str,
    servers: Vec<&'a str>,
    tries: u32,
    port: u16,
}

impl Watch {
    fn days(&self) -> String {
        format!("{}day", self.journal_days.0)
    }

    fn mib(&self) -> String {
        format!("{}M", self.journal_mib.0)
    }
}

impl Hurdle for Watch {
    fn lint(&self, _: Span, report: &mut Report) {
        if !*self.verify {
            report.push(FLYING_BLIND.at(self.verify.span, FLYING_BLIND.why));
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        if !facts.systemd() {
            return Ok(());
        }
        let units = facts.path("systemd-units")?;
        let mut holes = Holes {
            lib: LIB,
            state: STATE,
            config: format!("{LIB}/aide.conf"),
            program: INTEGRITY,
            integrity: *self.integrity,
            size: self.mib(),
            keep: self.days(),
            url: self.forward.as_ref().map_or("", |url| url.as_str()),
            trust: "",
            servers: self.time_servers.iter().map(|server| server.as_str()).collect(),
            tries: 5,
            port: plan.logins.as_ref().map_or(22, |l| l.port),
        };
        let apply = Stage::Apply;
        if *self.audit {
            plan.packages.insert(facts.package("audit")?.to_owned());
            let rules = "/etc/audit/rules.d";
            plan.draw(
                "watch",
                apply,
                &format!("{rules}/50-hardtack.rules"),
                0o640,
                template!("watch/audit.conf"),
                &holes,
            )?;
            let last = format!("{rules}/99-hardtack.rules");
            plan.draw("watch", apply, &last, 0o640, template!("watch/audit-locked.conf"), &holes)?;
            // When all that it would write down has been done.
            plan.command("watch", Stage::Open, template!("watch/audit.sh"), &holes)?;
        }
        if *self.integrity {
            plan.packages.insert(facts.package("integrity")?.to_owned());
            plan.draw("watch", apply, &holes.config, 0o600, template!("watch/aide.conf"), &holes)?;
            plan.draw("watch", apply, INTEGRITY, 0o700, template!("watch/integrity.sh"), &holes)?;
            self.timer(units, plan, &mut holes, "hardtack-integrity", INTEGRITY)?;
            let again = "hardtack-integrity-again.service";
            let drawn = template!("watch/hardtack-integrity-again.service");
            plan.draw("watch", apply, &format!("{units}/{again}"), 0o644, drawn, &holes)?;
            plan.units.insert(again.to_owned());
        }
        if *self.verify {
            plan.verify = true;
            self.timer(units, plan, &mut holes, "hardtack-verify", verify::PLACE)?;
            if let Ok(timer) = facts.unit("updates") {
                let service = timer.replace(".timer", ".service");
                let path = format!("{units}/{service}.d/60-hardtack-verify.conf");
                plan.draw("watch", apply, &path, 0o644, template!("watch/after-updates.service"), &holes)?;
                plan.controls(&path, Syntax::Unit, "systemctl daemon-reload");
            }
        }
        if *self.bans
            && let Ok(package) = facts.package("bans")
        {
            plan.packages.insert(package.to_owned());
            plan.packages.insert(facts.package("bans-journal")?.to_owned());
            plan.packages.insert(facts.package("nftables")?.to_owned());
            let path = "/etc/fail2ban/jail.d/hardtack.local";
            plan.draw("watch", apply, path, 0o644, template!("watch/bans.conf"), &holes)?;
            plan.command("watch", Stage::Open, template!("watch/bans.sh"), &holes)?;
            plan.listens.extend(Listener::from_text("/run/fail2ban/*"));
        }
        let path = "/etc/systemd/journald.conf.d/50-hardtack.conf";
        plan.draw("watch", apply, path, 0o644, template!("watch/journal.conf"), &holes)?;
        plan.controls(path, Syntax::Unit, "systemctl restart systemd-journald.service");
        plan.command("watch", apply, template!("watch/journal.sh"), &holes)?;
        if self.forward.is_some()
            && let Ok(package) = facts.package("journal-remote")
        {
            plan.packages.insert(package.to_owned());
            holes.trust = facts.path("certificates")?;
            let path = "/etc/systemd/journal-upload.conf.d/50-hardtack.conf";
            plan.draw("watch", apply, path, 0o644, template!("watch/upload.conf"), &holes)?;
            plan.command("watch", Stage::Open, template!("watch/upload.sh"), &holes)?;
        }
        if !self.time_servers.is_empty()
            && let Ok(folder) = facts.path("timesyncd-conf-d")
        {
            let path = format!("{folder}/50-hardtack.conf");
            plan.draw("watch", apply, &path, 0o644, template!("watch/time.conf"), &holes)?;
            plan.controls(&path, Syntax::Unit, "systemctl restart systemd-timesyncd.service");
            plan.command("watch", apply, template!("watch/time.sh"), &holes)?;
        }
        if let Ok(unit) = facts.unit("time") {
            plan.units.insert(unit.to_owned());
        }
        plan.reload = true;
        if *self.integrity {
            plan.command("watch", Stage::Open, template!("watch/open.sh"), &holes)?;
            plan.starts.insert("hardtack-integrity-again.service".to_owned());
        }
        Ok(())
    }

    fn settle(&self, facts: &Facts, plan: &mut Plan, report: &mut Report) {
        if !facts.systemd() {
            report.push(NEEDS_SYSTEMD.at(plan.here, format!("systemd does not start {}", facts.name)));
            return;
        }
        if *self.bans && plan.logins.as_ref().is_some_and(|l| !l.passwords) {
            report.push(NOTHING_TO_GUESS.at(self.bans.span, NOTHING_TO_GUESS.why));
        }
        let mut lacks = |span, what: &str| {
            report.push(NOT_PACKAGED.at(span, format!("{} has nothing of its own for `{what}`", facts.name)));
        };
        if *self.bans && facts.package("bans").is_err() {
            lacks(self.bans.span, "bans");
        }
        if let Some(url) = self.forward.as_ref().filter(|_| facts.package("journal-remote").is_err()) {
            lacks(url.span, "forward");
        }
        if let Some(server) = self.time_servers.first().filter(|_| facts.path("timesyncd-conf-d").is_err()) {
            lacks(server.span, "time_servers");
        }
    }

    fn proofs(&self, facts: &Facts, _: &Plan) -> Result<Vec<Proof>, Unknown> {
        if facts.systemd() { proofs::proofs(self, facts) } else { Ok(Vec::new()) }
    }
}

impl Watch {
    fn timer(
        &self,
        units: &str,
        plan: &mut Plan,
        holes: &mut Holes<'_>,
        name: &'static str,
        program: &'static str,
    ) -> Result<(), Trouble> {
        let (service, timer) = match name {
            "hardtack-verify" => (template!("watch/hardtack-verify.service"), template!("watch/hardtack-verify.timer")),
            _ => (template!("watch/hardtack-integrity.service"), template!("watch/hardtack-integrity.timer")),
        };
        holes.program = program;
        plan.draw("watch", Stage::Apply, &format!("{units}/{name}.service"), 0o644, service, holes)?;
        let path = format!("{units}/{name}.timer");
        plan.draw("watch", Stage::Apply, &path, 0o644, timer, holes)?;
        plan.controls(&path, Syntax::Unit, format!("systemctl daemon-reload; systemctl restart {name}.timer"));
        plan.units.insert(format!("{name}.timer"));
        plan.starts.insert(format!("{name}.timer"));
        holes.program = INTEGRITY;
        Ok(())
    }
}
