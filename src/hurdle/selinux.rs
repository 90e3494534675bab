//! Mandatory access control: what a program may do is the kernel's to say, whoever is root. SELinux, or AppArmor where that is the image's
//! own.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::name::KernelArgument;
use crate::plan::proof::{Check, Proof, When};
use crate::plan::{LIB, Plan, Stage};
use crate::report::{FromText, Lint, Report, Severity, Span};
use crate::yaml::Spanned;
use crate::{choice, section, template};
use serde::Serialize;

section! {
    /// Mandatory access control: the kernel says what a program may do, whoever is root. SELinux, or AppArmor where that is the image's own.
    pub struct Selinux as "selinux" {
        /// `enforcing`; `permissive`, which lets all pass and writes down what it would not have; `disabled`; `keep` is what the image says.
        /// Enforcing is reached at the end of the first boot, when all that was written has its label.
        mode: Spanned<Mode> = Spanned::default_of(Mode::Enforcing), or "enforcing";
    }
}

choice! {
    /// What SELinux does with what its policy does not allow.
    pub enum Mode as "a mode of SELinux" {
        /// Denies it.
        Enforcing => "enforcing",
        /// Writes it down.
        Permissive => "permissive",
        /// Is not there.
        Disabled => "disabled",
        /// As the image has it.
        Keep => "keep",
    }
}

const NOT_HERE: Lint = Lint {
    code: "selinux/not-here",
    severity: Severity::Error,
    finds: "a `mode` for an image that has no SELinux, nor what stands in for it",
    why: "its packages would come without labels, and a machine without labels does not start when it enforces",
    instead: "an image that has it: `hardtack list images`",
    refs: &["R55", "selinux(8)"],
};
const OFF: Lint = Lint {
    code: "selinux/off",
    severity: Severity::Warning,
    finds: "`mode: disabled`",
    why: "a program that is taken over may then do all that its user may; to switch it on again every file must be labelled anew",
    instead: "`enforcing`, and `permissive` while you look for what a program needs",
    refs: &["R55", "CIS 1.3.1.5", "ANSSI-BP-028 R46"],
};
const ONLY_LOOKS_ON: Lint = Lint {
    code: "selinux/permissive",
    severity: Severity::Warning,
    finds: "`mode: permissive`",
    why: "it writes down what it would deny, and denies nothing",
    instead: "`enforcing`, when the audit log has nothing more to say",
    refs: &["R55", "CIS 1.3.1.4"],
};
/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[NOT_HERE, OFF, ONLY_LOOKS_ON];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[Instruction {
    said: "Turn SELinux off: SELINUX=disabled",
    became: "Leave it on: `selinux.mode: enforcing`. What broke in 2015 is in the policies by now. `disabled` is there for who insists, and takes \
             it out of the kernel; on newer ones the article's line leaves it in, without a policy.",
    refs: &["R55"],
}];

#[derive(Serialize)]
struct Holes<'a> {
    mode: &'a str,
    policy: Option<&'a str>,
}

impl Selinux {
    fn word(&self) -> &'static str {
        match *self.mode {
            Mode::Enforcing => "enforcing",
            Mode::Permissive => "permissive",
            Mode::Disabled => "disabled",
            Mode::Keep => "keep",
        }
    }

    // What the image has in its stead.
    fn by_apparmor(&self, facts: &Facts) -> bool {
        !facts.has("selinux") && facts.has("apparmor") && *self.mode == Mode::Enforcing
    }

    fn argument(&self, facts: &Facts) -> Option<KernelArgument> {
        let key = match *self.mode {
            Mode::Enforcing | Mode::Permissive => "selinux-on",
            Mode::Disabled => "selinux-off",
            Mode::Keep => return None,
        };
        facts.argument(key).ok().and_then(|text| KernelArgument::from_text(text).ok())
    }
}

const POLICY: &str = "hardtack-first-boot.cil";

impl Hurdle for Selinux {
    fn lint(&self, _: Span, report: &mut Report) {
        match *self.mode {
            Mode::Disabled => report.push(OFF.at(self.mode.span, OFF.why)),
            Mode::Permissive => report.push(ONLY_LOOKS_ON.at(self.mode.span, ONLY_LOOKS_ON.why)),
            Mode::Enforcing | Mode::Keep => {}
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        if self.by_apparmor(facts) {
            plan.packages.insert(facts.package("apparmor")?.to_owned());
            plan.units.insert(facts.unit("apparmor")?.to_owned());
        }
        if !facts.has("selinux") || *self.mode == Mode::Keep {
            return Ok(());
        }
        if let Some(argument) = self.argument(facts) {
            plan.kernel_argument("selinux", argument);
        }
        let policy = format!("{LIB}/{POLICY}");
        let forgets = *self.mode == Mode::Enforcing && facts.has("policy-without-cloud-init");
        let holes = Holes { mode: self.word(), policy: forgets.then_some(&policy) };
        if forgets {
            plan.draw("selinux", Stage::Apply, &policy, 0o644, template!("selinux/cloud-init.conf"), &holes)?;
        }
        plan.command("selinux", Stage::Apply, template!("selinux/apply.sh"), &holes)?;
        if *self.mode != Mode::Disabled {
            plan.command("selinux", Stage::Open, template!("selinux/open.sh"), &holes)?;
        }
        Ok(())
    }

    fn settle(&self, facts: &Facts, _: &mut Plan, report: &mut Report) {
        let wants = matches!(*self.mode, Mode::Enforcing | Mode::Permissive);
        if wants && !facts.has("selinux") && !self.by_apparmor(facts) {
            report.push(NOT_HERE.at(self.mode.span, format!("{} has no SELinux", facts.name)));
        }
    }

    fn proofs(&self, facts: &Facts, _: &Plan) -> Result<Vec<Proof>, Unknown> {
        let refs = &["R55", "CIS 1.3.1", "ANSSI-BP-028 R46"];
        let script = |what: &str, statement: &str, script: &str| {
            Proof::new("selinux", what, refs, statement, Check::Script { script: script.to_owned() })
        };
        if self.by_apparmor(facts) {
            let mut all = vec![
                script("apparmor-enforces", "AppArmor is on, and denies what its profiles do not allow", APPARMOR),
                script("apparmor-denies", "what a profile does not allow is denied, to root as well", APPARMOR_DENIES),
            ];
            if facts.systemd() {
                let (unit, active) = (facts.unit("apparmor")?.to_owned(), "active".to_owned());
                let check = Check::Unit { unit, active, enabled: Some("enabled".to_owned()) };
                let statement = "the profiles of AppArmor are loaded at every start";
                all.push(Proof::new("selinux", "apparmor-starts", refs, statement, check));
            }
            return Ok(all);
        }
        Ok(match *self.mode {
            Mode::Keep => Vec::new(),
            Mode::Disabled => {
                let proof = script("off", "SELinux is not in the kernel", GONE);
                vec![Proof { when: When::AfterReboot, ..proof }]
            }
            Mode::Permissive => {
                vec![script("mode", "SELinux is permissive", "m=$(getenforce)\necho \"$m\"\n[ \"$m\" = Permissive ]\n")]
            }
            Mode::Enforcing => {
                let mut all = vec![
                    script("mode", "SELinux is enforcing", ENFORCES),
                    script("denies", "what the policy does not allow is denied, to root as well", DENIES),
                    script("labels", "what is ours, and what lets in, has the labels of the policy", LABELS),
                ];
                if facts.version("cloud-init").is_ok() {
                    let proof = script(
                        "cloud-init-runs",
                        "cloud-init runs while it is enforcing, where it has not been switched off",
                        CLOUD_INIT,
                    );
                    all.push(Proof { when: When::AfterReboot, ..proof });
                }
                all
            }
        })
    }
}

const ENFORCES: &str = "m=$(getenforce) k=$(cat /sys/fs/selinux/enforce)\necho \"$m\"\n[ \"$m $k\" = 'Enforcing 1' ]\n";

// A domain of the policy that may not read passwords; root may, in any other.
const DENIES: &str = "cat /etc/shadow >/dev/null || { echo 'root itself cannot read it'; exit 75; }\n\
    said=$(runcon -u system_u -r system_r -t ntpd_t cat /etc/shadow 2>&1 >/dev/null) && { echo 'ntpd_t reads /etc/shadow'; exit 1; }\n\
    echo \"$said\" | tail -n 1\necho \"$said\" | grep -q 'Permission denied'\n";

const LABELS: &str = "wrong=$(restorecon -n -R -v /etc/passwd /etc/shadow /etc/group /etc/sudoers /etc/sudoers.d /etc/ssh /etc/pam.d /etc/systemd/system \
    /etc/selinux /usr/local/lib/hardtack /usr/sbin/sshd /root /home 2>&1)\n\
    [ -z \"$wrong\" ] || { echo \"$wrong\" | tail -n 1; exit 1; }\necho 'as the policy says'\n";

const CLOUD_INIT: &str = "[ ! -e /etc/cloud/cloud-init.disabled ] || { echo 'it was switched off'; exit 0; }\n\
    s=$(systemctl is-active cloud-init.target)\necho \"$s\"\n[ \"$s\" = active ]\n";

// 0xb0 is what QEMU calls itself where it starts a kernel.
const GONE: &str = "if [ \"$(cat /proc/sys/kernel/bootloader_type)\" = 176 ]; then\n  \
    echo 'the harness starts this kernel itself; a vendor disk shows it'\n  exit 75\nfi\n\
    mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security || exit 75\n\
    lsm=$(cat /sys/kernel/security/lsm)\necho \"$lsm\"\ncase \",$lsm,\" in *,selinux,*) exit 1 ;; esac\n\
    ! grep -q ' /sys/fs/selinux ' /proc/mounts\n";

// A profile that only complains is one that its package ships so, in a file that is as the package has it: nobody's aa-complain, no link in
// force-complain, and none that was loaded so past its file.
const APPARMOR: &str = "[ \"$(cat /sys/module/apparmor/parameters/enabled)\" = Y ] || { echo 'it is off'; exit 1; }\n\
    mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security || exit 75\n\
    profiles=$(cat /sys/kernel/security/apparmor/profiles)\n\
    n=$(echo \"$profiles\" | grep -c '(enforce)$')\n\
    other=$(echo \"$profiles\" | grep -E '[(](kill|prompt)[)]$' | head -n 1)\n[ -z \"$other\" ] || { echo \"$other\"; exit 1; }\n\
    complain=$(echo \"$profiles\" | sed -n 's/ (complain)$//p' | grep -v //)\n\
    if [ -n \"$complain\" ]; then\n  \
    sums=$(dpkg-query -W -f '${Conffiles}\\n' | sed -n 's,^ \\(/etc/apparmor[.]d/[^ ]*\\) \\([0-9a-f]\\{32\\}\\).*,\\2  \\1,p')\n  \
    changed=$(echo \"$sums\" | md5sum --quiet -c 2>&1 | head -n 1)\n  [ -z \"$changed\" ] || { echo \"$changed\"; exit 1; }\n  \
    files=$(echo \"$sums\" | cut -c 35- | xargs grep -lE 'flags=[(][^)]*complain')\n  \
    declared=$([ -z \"$files\" ] || echo \"$files\" | xargs sed -n 's/flags=[(][^)]*complain.*//p')\n  \
    echo \"$complain\" | { while read -r name; do\n  \
    case $declared in *\"$name\"*) ;; *) echo \"$name (complain)\"; exit 1 ;; esac\n  done; } || exit 1\nfi\n\
    echo \"$n profiles\"\n[ \"$n\" -gt 0 ]\n";

const APPARMOR_DENIES: &str = "t=$(mktemp -d)\ncat >$t/profile <<'PROFILE'\n\
    profile hardtack-probe flags=(attach_disconnected) {\n  file,\n  deny /etc/shadow r,\n}\nPROFILE\n\
    apparmor_parser -q -K -r $t/profile || { rm -rf $t; echo 'no profile can be loaded'; exit 1; }\n\
    aa-exec -p hardtack-probe cat /etc/passwd >/dev/null 2>&1; may=$?\n\
    said=$(aa-exec -p hardtack-probe cat /etc/shadow 2>&1 >/dev/null); read=$?\n\
    apparmor_parser -q -R $t/profile; rm -rf $t\n\
    [ $may = 0 ] || { echo 'nothing runs under a profile'; exit 75; }\necho \"$said\" | tail -n 1\n[ $read != 0 ]\n";
