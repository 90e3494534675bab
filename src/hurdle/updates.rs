//! Updates: all of them while only ssh is let in, and then every day, by what the distribution has for that.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::name::{PackageName, TimeOfDay};
use crate::plan::proof::{Check, Proof};
use crate::plan::{LIB, NOTHING, Plan, STATE, Stage, Syntax};
use crate::report::{Lint, Report, Severity, Span};
use crate::yaml::Spanned;
use crate::{choice, section, template};
use serde::Serialize;

section! {
    /// Updates: all of them at the first boot, while only ssh is let in, and then every day.
    pub struct Updates as "updates" {
        /// What the first boot brings: `all`, `security`, `none`. It needs the network, and a first boot that cannot reach the archive
        /// does not succeed.
        first_boot: Spanned<Amount> = Spanned::default_of(Amount::All), or "all";
        /// What every day brings after that: `all`, `security`, `none`.
        then: Spanned<Amount> = Spanned::default_of(Amount::Security), or "security";
        /// What does that: `image` is what the distribution has for it (unattended-upgrades, dnf-automatic), `timer` a timer of systemd,
        /// `cron` a script in /etc/cron.daily.
        by: Spanned<By> = Spanned::default_of(By::Image), or "image";
        /// When, by the machine's clock, and up to half an hour later.
        at: Option<Spanned<TimeOfDay>> = None, or "04:30; by cron, when that does its daily work";
        /// When the machine may reboot where an update asks for that.
        reboot: Option<Spanned<TimeOfDay>> = None, or "never by itself";
        /// Packages that wait for a person once the first boot is over.
        hold: Vec<Spanned<PackageName>> = Vec::new(), or "none";
    }
}

choice! {
    /// What is updated.
    pub enum Amount as "an amount of updates" {
        /// Everything.
        All => "all",
        /// What mends a known hole.
        Security => "security",
        /// Nothing.
        None => "none",
    }
}

choice! {
    /// What updates every day.
    pub enum By as "a choice of what updates" {
        /// What the distribution has.
        Image => "image",
        /// A timer of systemd.
        Timer => "timer",
        /// cron(8).
        Cron => "cron",
    }
}

const NEVER: Lint = Lint {
    code: "updates/never",
    severity: Severity::Warning,
    finds: "`then: none`",
    why: "holes that are known are not mended until somebody thinks of this machine",
    instead: "`then: security`, and `hold` for what must not change under you",
    refs: &["R25", "CIS 1.2.2.1", "ANSSI-BP-028 R61"],
};
const NO_TIMER: Lint = Lint {
    code: "updates/needs-systemd",
    severity: Severity::Error,
    finds: "`by: timer` for an image that systemd does not start",
    why: "nothing would ever run it",
    instead: "`by: cron`",
    refs: &["R26", "systemd.timer(5)"],
};
const NO_TIME: Lint = Lint {
    code: "updates/cron-has-its-time",
    severity: Severity::Error,
    finds: "`at` where cron updates",
    why: "/etc/crontab says when cron does its daily work, for all of it",
    instead: "leave `at` out, or write `by: timer`",
    refs: &["R26", "crontab(5)"],
};
/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[NEVER, NO_TIMER, NO_TIME];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[
    Instruction {
        said: "With only ssh open, apply all the updates",
        became: "`updates.first_boot: all`: before any port but ssh is let in, and the first boot waits for it.",
        refs: &["R23", "R24"],
    },
    Instruction {
        said: "Put a script that updates into cron.daily",
        became: "`updates.then`, by what the distribution has for that; `by: cron` where you want the script.",
        refs: &["R25", "R26"],
    },
    Instruction {
        said: "Updates sometimes break things",
        became: "`updates.hold` names what waits for a person; files that you have changed stay as they are.",
        refs: &["R27"],
    },
];

const CRON: &str = "/etc/cron.daily/hardtack-updates";
const TIMER: &str = "hardtack-updates.timer";
const APT: &str = "99hardtack-updates";

// unattended-upgrades reads a regular expression.
fn literal(name: &PackageName) -> String {
    name.as_str().replace('+', "[+]").replace('.', "[.]")
}

#[derive(Serialize)]
struct Holes<'a> {
    all: bool,
    periodic: u8,
    security: Vec<&'a str>,
    hold: Vec<String>,
    reboots: &'static str,
    reboot: Option<&'a str>,
    at: &'a str,
    lib: &'static str,
    state: &'static str,
}

impl Updates {
    fn at(&self) -> &str {
        self.at.as_ref().map_or("04:30", |at| at.as_str())
    }

    // SysV init has no timers, and the image's own work is cron's there.
    fn by_cron(&self, facts: &Facts) -> bool {
        *self.by == By::Cron || !facts.systemd()
    }

    fn daily(&self) -> bool {
        *self.then != Amount::None
    }
}

impl Hurdle for Updates {
    fn lint(&self, _: Span, report: &mut Report) {
        if !self.daily() {
            report.push(NEVER.at(self.then.span, NEVER.why));
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        let apt = facts.path("apt-conf-d").ok();
        let mut holes = Holes {
            all: *self.then == Amount::All,
            periodic: u8::from(self.daily() && *self.by == By::Image),
            security: facts.security().iter().map(String::as_str).collect(),
            hold: self.hold.iter().map(|name| if apt.is_some() { literal(name) } else { name.to_string() }).collect(),
            reboots: if self.reboot.is_some() { "true" } else { "false" },
            reboot: self.reboot.as_ref().map(|r| r.as_str()),
            at: self.at(),
            lib: LIB,
            state: STATE,
        };
        let apply = Stage::Apply;
        if self.daily() || *self.first_boot == Amount::Security {
            plan.packages.insert(facts.package("updates")?.to_owned());
        }
        if let Some(folder) = apt {
            let path = format!("{folder}/{APT}");
            plan.draw("updates", apply, &path, 0o644, template!("updates/apt.conf"), &holes)?;
            plan.controls(&path, Syntax::Apt, NOTHING);
        } else {
            let path = facts.path("dnf-automatic")?.to_owned();
            plan.draw("updates", apply, &path, 0o644, template!("updates/dnf-automatic.conf"), &holes)?;
        }
        if self.daily() {
            self.every_day(facts, plan, &holes)?;
        }
        if *self.first_boot != Amount::None {
            holes.all = *self.first_boot == Amount::All;
            plan.command("updates", apply, template!("updates/first-boot.sh"), &holes)?;
        }
        Ok(())
    }

    fn settle(&self, facts: &Facts, _: &mut Plan, report: &mut Report) {
        if *self.by == By::Timer && !facts.systemd() {
            report.push(NO_TIMER.at(self.by.span, format!("systemd does not start {}", facts.name)));
        } else if let Some(at) = self.at.as_ref().filter(|_| self.by_cron(facts)) {
            report.push(NO_TIME.at(at.span, "cron does its daily work at its own time"));
        }
    }

    fn proofs(&self, facts: &Facts, _: &Plan) -> Result<Vec<Proof>, Unknown> {
        let mut all = Vec::new();
        let mut script = |what: &str, refs: &[&str], statement: &str, script: String| {
            all.push(Proof::new("updates", what, refs, statement, Check::Script { script }));
        };
        if *self.first_boot != Amount::None {
            script(
                "nothing-is-left",
                &["R24", "CIS 1.2.2.1"],
                "no update that the first boot should have brought is left",
                format!("only='{}'\n{LEFT}", if *self.first_boot == Amount::All { "" } else { "security" }),
            );
        }
        if facts.path("apt-conf-d").is_ok() {
            let on = u8::from(self.daily() && *self.by == By::Image);
            let expected = [
                format!("APT::Periodic::Update-Package-Lists \"{on}\";"),
                format!("APT::Periodic::Unattended-Upgrade \"{on}\";"),
                format!("Unattended-Upgrade::Automatic-Reboot \"{}\";", self.reboot.is_some()),
                format!("Unattended-Upgrade::Automatic-Reboot-WithUsers \"{}\";", self.reboot.is_some()),
            ];
            let reboot =
                self.reboot.as_ref().map(|r| format!("Unattended-Upgrade::Automatic-Reboot-Time \"{}\";", r.value));
            let lines: String = expected.iter().chain(&reboot).map(|line| format!("{line}\n")).collect();
            script(
                "as-the-spec-says",
                &["R25", "R27", "CIS 1.2.2.1", "apt.conf(5)"],
                "apt updates by itself, or not, and reboots or not, as the spec says",
                format!("lines='{lines}'\n{SETTINGS}"),
            );
            let kept = "for option in --force-confdef --force-confold; do\n  \
                apt-config dump Dpkg::Options | grep -qF \"\\\"$option\\\"\" || { echo \"dpkg is not told $option\"; exit 1; }\ndone\n\
                echo 'what was changed stays'\n";
            script(
                "own-files-stay",
                &["R27", "R53", "dpkg(1)"],
                "an update changes no file that somebody has changed",
                kept.to_owned(),
            );
            if self.daily() {
                let all_of_it = *self.then == Amount::All;
                let wanted = if all_of_it { "origin=*".to_owned() } else { facts.security().join("\n") };
                let held: Vec<String> = self.hold.iter().map(|name| format!("^{}$", literal(name))).collect();
                script(
                    "these-and-no-others",
                    &["R25", "R27"],
                    "what updates by itself takes what the spec says, and leaves what waits for a person",
                    format!("wanted='{wanted}'\nheld='{}'\n{TAKEN}", held.join("\n")),
                );
            }
        }
        if self.daily() {
            self.every_days_proofs(facts, &mut all)?;
        }
        Ok(all)
    }
}

impl Updates {
    fn every_day(&self, facts: &Facts, plan: &mut Plan, holes: &Holes<'_>) -> Result<(), Trouble> {
        let apply = Stage::Apply;
        if *self.by != By::Image {
            plan.draw("updates", apply, &format!("{LIB}/updates"), 0o755, template!("updates/updates.sh"), holes)?;
        }
        let image_by_cron = *self.by == By::Image && !facts.systemd();
        if self.by_cron(facts) {
            plan.packages.insert(facts.package("cron")?.to_owned());
            if !image_by_cron {
                plan.draw("updates", apply, CRON, 0o755, template!("updates/cron.daily.sh"), holes)?;
            }
            return Ok(());
        }
        let units = facts.path("systemd-units")?;
        if *self.by == By::Image {
            let path = format!("{units}/{}.d/50-hardtack.conf", facts.unit("updates")?);
            plan.draw("updates", apply, &path, 0o644, template!("updates/when.conf"), holes)?;
            plan.controls(
                &path,
                Syntax::Unit,
                format!("systemctl daemon-reload; systemctl restart {}", facts.unit("updates")?),
            );
            plan.units
                .extend(["updates", "package-lists"].iter().filter_map(|key| facts.unit(key).ok().map(str::to_owned)));
        } else {
            let (timer, service) =
                (template!("updates/hardtack-updates.timer"), template!("updates/hardtack-updates.service"));
            let path = format!("{units}/{TIMER}");
            plan.draw("updates", apply, &path, 0o644, timer, holes)?;
            plan.controls(&path, Syntax::Unit, format!("systemctl daemon-reload; systemctl restart {TIMER}"));
            plan.draw("updates", apply, &format!("{units}/hardtack-updates.service"), 0o644, service, holes)?;
            plan.units.insert(TIMER.to_owned());
        }
        plan.reload = true;
        plan.starts.insert(self.timer(facts)?.to_owned());
        Ok(())
    }

    fn timer<'f>(&self, facts: &'f Facts) -> Result<&'f str, Unknown> {
        if *self.by == By::Image { facts.unit("updates") } else { Ok(TIMER) }
    }

    fn every_days_proofs(&self, facts: &Facts, all: &mut Vec<Proof>) -> Result<(), Unknown> {
        if self.by_cron(facts) {
            let script = match *self.by {
                By::Image => "/etc/cron.daily/apt-compat",
                _ => CRON,
            };
            let name = script.rsplit('/').next().unwrap_or_default();
            let check = Check::Script { script: format!("name={name}\nscript={script}\n{BY_CRON}") };
            all.push(Proof::new("updates", "every-day", &["R26", "cron(8)"], "cron updates every day", check));
            return Ok(());
        }
        let timer = self.timer(facts)?;
        let check = Check::Unit { unit: timer.to_owned(), active: "active".into(), enabled: Some("enabled".into()) };
        all.push(Proof::new(
            "updates",
            "every-day",
            &["R25", "R26", "systemd.timer(5)"],
            "a timer updates every day",
            check,
        ));
        // Without new lists nothing is known of what there is to update.
        if *self.by == By::Image
            && let Ok(unit) = facts.unit("package-lists")
        {
            let unit = unit.to_owned();
            let check = Check::Unit { unit, active: "active".into(), enabled: Some("enabled".into()) };
            let statement = "a timer fetches every day what there is to update";
            all.push(Proof::new("updates", "lists-every-day", &["R25", "R26", "systemd.timer(5)"], statement, check));
        }
        let script = format!(
            "seen=$(systemctl show -p TimersCalendar --value {timer} | grep -o 'OnCalendar=[^;]*' | sed 's/ *$//')\n\
             echo \"$seen\"\n[ \"$seen\" = 'OnCalendar=*-*-* {}:00' ]\n",
            self.at()
        );
        let statement = format!("it is due at {} every day, and at no other time", self.at());
        all.push(Proof::new(
            "updates",
            "at-its-time",
            &["R25", "systemd.timer(5)"],
            statement,
            Check::Script { script },
        ));
        Ok(())
    }
}

// apt names the archive that it would take each from. Without lists nobody knows, and then it is not said that nothing is left.
const LEFT: &str = "if command -v apt-get >/dev/null; then\n  ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || { echo 'there are no package lists'; exit 75; }\n  \
    left=$(LC_ALL=C apt-get -s upgrade --with-new-pkgs | grep '^Inst ' | grep -i \"$only\" | cut -d' ' -f2)\nelse\n  \
    left=$(dnf -q check-update ${only:+--security} | awk 'NF == 3 { print $1 }')\nfi\n\
    [ -z \"$left\" ] || { echo $left; exit 1; }\necho 'nothing is left'\n";

const SETTINGS: &str = "seen=$(apt-config dump)\nprintf '%s' \"$lines\" | while read -r line; do\n  \
    echo \"$seen\" | grep -qxF \"$line\" || { echo \"$seen\" | grep -F \"${line%% *} \" || echo \"nothing says ${line%% *}\"; exit 1; }\ndone || exit 1\n\
    echo 'as the spec says'\n";

// What it takes it says itself, with its patterns filled in; the codename is the machine's.
const TAKEN: &str = "codename=$(. /etc/os-release; echo \"$VERSION_CODENAME\")\n\
    wanted=$(echo \"$wanted\" | sed \"s/[$]{distro_codename}/$codename/\" | sort)\n\
    seen=$(apt-config dump Unattended-Upgrade::Origins-Pattern | sed -n 's/^Unattended-Upgrade::Origins-Pattern:: \"\\(.*\\)\";$/\\1/p' | sed \"s/[$]{distro_codename}/$codename/\" | sort)\n\
    [ \"$seen\" = \"$wanted\" ] || { echo takes $seen; exit 1; }\n\
    [ -z \"$(apt-config dump Unattended-Upgrade::Allowed-Origins | grep '::Allowed-Origins:: ')\" ] || { echo 'and takes others'; exit 1; }\n\
    left=$(apt-config dump Unattended-Upgrade::Package-Blacklist | sed -n 's/^Unattended-Upgrade::Package-Blacklist:: \"\\(.*\\)\";$/\\1/p')\n\
    [ \"$left\" = \"$held\" ] || { echo leaves $left; exit 1; }\n\
    said=$(unattended-upgrade --dry-run -v 2>&1 | grep -i 'allowed origins are') || { echo 'it does not start'; exit 1; }\n\
    echo \"$said\" | tail -n 1\n";

const BY_CRON: &str = "run-parts --test /etc/cron.daily | grep -qx \"$script\" || { echo \"run-parts leaves $name out\"; exit 1; }\n\
    grep -q '^[^#].*run-parts.*/etc/cron.daily' /etc/crontab || { echo 'nothing runs /etc/cron.daily'; exit 1; }\n\
    pgrep -x 'cron|crond' >/dev/null || { echo 'cron does not run'; exit 1; }\n\
    echo \"cron runs $name every day\"\n";
