//! What every benchmark asks of a system beside its services: modules, temporary files, cores, the umask, cron.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::name::{ModuleName, UserName};
use crate::plan::proof::{Check, Proof, When};
use crate::plan::{Plan, Stage};
use crate::report::{Fault, FromText, Lint, Report, Severity, Span, shown};
use crate::yaml::Spanned;
use crate::{choice, section, template};
use serde::Serialize;

section! {
    /// What every benchmark asks of a system: modules that nobody needs, temporary files that are only files, no cores, a umask, and cron for
    /// root alone.
    pub struct System as "system" {
        /// Modules of the kernel that nothing loads.
        deny_modules: Vec<Spanned<ModuleName>> = denied(), or "cramfs, freevxfs, hfs, hfsplus, jffs2, dccp, rds, sctp, tipc";
        /// What may be in /tmp: `noexec` is files, in memory; `exec` is programs as well; `keep` is what the image says. /dev/shm is
        /// for data alone in any case.
        tmp: Spanned<Tmp> = Spanned::default_of(Tmp::Noexec), or "noexec";
        /// Whether a program that fails leaves its memory on the disk.
        core_dumps: bool = false, or "false";
        /// What nobody may do with the new files of those who log in, in octal, in quotes; their homes are shut to others. `keep` is what
        /// the image says.
        umask: Spanned<Umask> = Spanned::default_of(Umask(Some(0o027))), or "\"027\"";
        /// The oldest TLS that programs of the machine speak by OpenSSL's own settings: `"1.2"`, `"1.3"`; `keep` is what the image says.
        tls: Spanned<Tls> = Spanned::default_of(Tls::Twelve), or "\"1.2\"";
        /// Who may use cron and at, beside root.
        cron: Vec<Spanned<UserName>> = Vec::new(), or "nobody";
    }
}

choice! {
    /// What may be in /tmp.
    pub enum Tmp as "a choice for /tmp" {
        /// Files.
        Noexec => "noexec",
        /// Programs.
        Exec => "exec",
        /// As the image has it.
        Keep => "keep",
    }
}

choice! {
    /// The oldest TLS that is spoken.
    pub enum Tls as "a version of TLS, in quotes" {
        /// TLS 1.2.
        Twelve => "1.2",
        /// TLS 1.3.
        Thirteen => "1.3",
        /// As the image has it.
        Keep => "keep",
    }
}

/// Permission bits that new files lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umask(Option<u32>);

impl FromText for Umask {
    const WHAT: &'static str = "a umask in octal, in quotes, or keep";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if text == "keep" {
            return Ok(Umask(None));
        }
        let octal = text.len() == 3 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(text, 8) {
            // One that shuts out the owner leaves files that nobody can use.
            Ok(bits) if octal && bits & 0o700 == 0 => Ok(Umask(Some(bits))),
            _ => Err(Fault::new(format!("`{}` is no umask", shown(text))).help("write \"027\", in quotes")),
        }
    }
}

// Not vfat, iso9660, udf, squashfs, overlay or usb-storage, which CIS lists as well: seeds, EFI, snaps and containers need them.
fn denied() -> Vec<Spanned<ModuleName>> {
    let names = ["cramfs", "freevxfs", "hfs", "hfsplus", "jffs2", "dccp", "rds", "sctp", "tipc"];
    names.iter().filter_map(|name| ModuleName::from_text(name).ok()).map(Spanned::default_of).collect()
}

const NEEDED: Lint = Lint {
    code: "system/denies-what-it-needs",
    severity: Severity::Error,
    finds: "`deny_modules` names what a seed, the boot or a hurdle needs",
    why: "the machine finds no user-data, does not come up, or has no packet filter",
    instead: "take it out",
    refs: &["R56", "modprobe.d(5)"],
};
const OPEN_UMASK: Lint = Lint {
    code: "system/open-umask",
    severity: Severity::Warning,
    finds: "a `umask` by which others may write new files",
    why: "whoever is on the machine changes what others run",
    instead: "\"027\"",
    refs: &["CIS 5.4.3.3", "ANSSI-BP-028 R36"],
};
const STRANGER: Lint = Lint {
    code: "system/no-such-account",
    severity: Severity::Warning,
    finds: "`cron` names nobody of `accounts.people`",
    why: "whoever later gets that name may have root's clock run their programs",
    instead: "add them to `accounts.people`, or take the name out",
    refs: &["CIS 2.4.1.8", "crontab(1)"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[NEEDED, OPEN_UMASK, STRANGER];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[Instruction {
    said: "Turn off and block what is not needed",
    became: "`system`: modules that nobody needs cannot be loaded; `services` does the same for programs.",
    refs: &["R56"],
}];

const LIFELINES: [&str; 22] = [
    "vfat",
    "fat",
    "iso9660",
    "isofs",
    "ext4",
    "xfs",
    "btrfs",
    "virtio",
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "virtio_scsi",
    "virtio_console",
    "nvme",
    "ahci",
    "nf_tables",
    "nf_conntrack",
    "ip_tables",
    "ip6_tables",
    "ip_set",
    "xt_set",
    "veth",
];
const MODULES: &str = "/etc/modprobe.d/hardtack.conf";
const LIMITS: &str = "/etc/security/limits.d/50-hardtack.conf";
const MANAGER: &str = "/etc/systemd/system.conf.d/50-hardtack.conf";

#[derive(Serialize)]
struct Holes<'a> {
    modules: Vec<&'a str>,
    tmp: bool,
    noexec: bool,
    umask: Option<String>,
    openssl: Option<&'a str>,
    tls: &'static str,
    cron: Vec<&'a str>,
}

impl System {
    fn mask(&self) -> Option<String> {
        self.umask.0.map(|bits| format!("{bits:03o}"))
    }

    // A mount of systemd's; SysV init has fstab, and /tmp stays as it is there.
    fn mounts_tmp(&self, facts: &Facts) -> bool {
        *self.tmp != Tmp::Keep && facts.systemd()
    }
}

impl Hurdle for System {
    fn lint(&self, _: Span, report: &mut Report) {
        for module in self.deny_modules.iter().filter(|m| LIFELINES.contains(&m.as_str())) {
            report.push(NEEDED.at(module.span, format!("`{}` is needed", module.value)));
        }
        if let Some(bits) = self.umask.0.filter(|bits| bits & 0o002 == 0) {
            report.push(OPEN_UMASK.at(self.umask.span, format!("others may write what is made with {bits:03o}")));
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        let profiles = facts.path("pam-profiles").ok();
        let holes = Holes {
            modules: self.deny_modules.iter().map(|m| m.as_str()).collect(),
            tmp: self.mounts_tmp(facts),
            noexec: *self.tmp == Tmp::Noexec,
            umask: self.mask(),
            openssl: facts.path("openssl").ok().filter(|_| *self.tls != Tls::Keep),
            tls: if *self.tls == Tls::Thirteen { "TLSv1.3" } else { "TLSv1.2" },
            cron: self.cron.iter().map(|user| user.as_str()).collect(),
        };
        let apply = Stage::Apply;
        if !holes.modules.is_empty() {
            plan.draw("system", apply, MODULES, 0o644, template!("system/modules.conf"), &holes)?;
        }
        if !self.core_dumps {
            plan.draw("system", apply, LIMITS, 0o644, template!("system/limits.conf"), &holes)?;
            if facts.systemd() {
                plan.draw("system", apply, MANAGER, 0o644, template!("system/manager.conf"), &holes)?;
            }
        }
        if holes.tmp {
            let path = format!("{}/tmp.mount", facts.path("systemd-units")?);
            plan.draw("system", apply, &path, 0o644, template!("system/tmp.mount.service"), &holes)?;
            plan.units.insert("tmp.mount".to_owned());
            if let Ok(folder) = facts.path("apt-conf-d") {
                let path = format!("{folder}/60hardtack-tmp");
                plan.draw("system", apply, &path, 0o644, template!("system/apt.conf"), &holes)?;
            }
        }
        if let (Some(folder), Some(umask)) = (profiles, &holes.umask) {
            let path = format!("{folder}/hardtack-umask");
            plan.draw("system", apply, &path, 0o644, template!("system/umask.rules"), &holes)?;
            plan.pam("hardtack-umask", &format!("pam_umask[.]so.*umask={umask}"));
        }
        plan.command("system", apply, template!("system/apply.sh"), &holes)?;
        Ok(())
    }

    fn settle(&self, _: &Facts, plan: &mut Plan, report: &mut Report) {
        for user in self.cron.iter().filter(|user| !plan.accounts.contains_key(user) && user.as_str() != "root") {
            report.push(STRANGER.at(user.span, format!("there is no account `{}`", user.value)));
        }
    }

    fn proofs(&self, facts: &Facts, _: &Plan) -> Result<Vec<Proof>, Unknown> {
        let mut all = Vec::new();
        let mut add = |what: &str, refs: &[&str], statement: String, script: String| {
            all.push(Proof::new("system", what, refs, statement, Check::Script { script }));
        };
        for module in &self.deny_modules {
            let script = format!(
                "seen=$(modprobe -n -v {module} 2>&1 | tail -n 1)\necho \"$seen\"\n[ \"$seen\" = 'install /bin/false' ] || [ \"$seen\" = 'install /bin/false ' ] || exit 1\n\
                 modprobe {module} 2>/dev/null && exit 1\n! grep -q '^{} ' /proc/modules\n",
                module.as_str().replace('-', "_"),
                module = module.as_str(),
            );
            let refs = &["R56", "CIS 1.1.1", "CIS 3.2", "dev-sec os-10"];
            add(&format!("no-{}", module.as_str()), refs, format!("nothing can load {}", module.as_str()), script);
        }
        let mounted = |place: &str, options: &[&str]| {
            let options = options.join(" ");
            format!(
                "seen=$(findmnt -n -o OPTIONS {place}) || {{ echo '{place} is no mount of its own'; exit 1; }}\necho \"$seen\"\n\
                 for option in {options}; do echo \",$seen,\" | grep -q \",$option,\" || exit 1; done\n"
            )
        };
        let refs = &["CIS 1.1.2", "ANSSI-BP-028 R28"];
        let shm = mounted("/dev/shm", &["nosuid", "nodev", "noexec"]);
        add("shm-for-data", refs, "nothing in /dev/shm runs, or is a device".to_owned(), shm);
        if self.mounts_tmp(facts) {
            let mut options = vec!["nosuid", "nodev"];
            let mut runs = String::new();
            if *self.tmp == Tmp::Noexec {
                options.push("noexec");
                runs = "printf '#!/bin/sh\\n' >/tmp/hardtack-probe && chmod 755 /tmp/hardtack-probe\n\
                    /tmp/hardtack-probe 2>/dev/null && { rm -f /tmp/hardtack-probe; exit 1; }\nrm -f /tmp/hardtack-probe\n"
                    .to_owned();
            }
            let statement = match *self.tmp {
                Tmp::Noexec => "what is in /tmp neither runs nor is a device",
                _ => "what is in /tmp gives nobody another's rights, and is no device",
            };
            add("tmp-for-files", refs, statement.to_owned(), format!("{}{runs}true\n", mounted("/tmp", &options)));
        }
        if !self.core_dumps {
            let script = "seen=$(su -s /bin/sh nobody -c 'ulimit -Hc')\necho \"$seen\"\n[ \"$seen\" = 0 ]\n".to_owned();
            add(
                "no-cores",
                &["CIS 1.5.3", "dev-sec os-12", "limits.conf(5)"],
                "no program of those who log in leaves a core".to_owned(),
                script,
            );
        }
        if let Some(mask) = self.mask() {
            let script = format!(
                "name=hardtack-probe\nuserdel -f -r $name 2>/dev/null\nuseradd -m -s /bin/sh $name || exit 75\n\
                 seen=$(su - $name -c 'umask; : >new; stat -c %a new .' | tr '\\n' ' ')\nuserdel -f -r $name 2>/dev/null\necho \"$seen\"\n\
                 [ \"$seen\" = '0{mask} {:o} 750 ' ]\n",
                0o666 & !self.umask.0.unwrap_or(0),
            );
            let refs = &["CIS 5.4.3.3", "ANSSI-BP-028 R36", "dev-sec os-05", "pam_umask(8)"];
            add(
                "umask",
                refs,
                format!("who logs in makes files with the umask {mask}, in a home that is shut to others"),
                script,
            );
        }
        let script = format!(
            "bad=$(find /etc/crontab /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly /etc/cron.yearly /etc/cron.d -maxdepth 0 \\( -perm /077 -o ! -user root \\) 2>/dev/null)\n\
             [ -z \"$bad\" ] || {{ echo $bad; exit 1; }}\n\
             [ \"$(sort /etc/cron.allow)\" = \"$(printf '%s\\n' root {} | sort)\" ] || {{ echo $(cat /etc/cron.allow); exit 1; }}\n\
             command -v crontab >/dev/null || {{ echo 'there is no cron'; exit 0; }}\n\
             said=$(setpriv --reuid=nobody --regid=nogroup --clear-groups crontab -l 2>&1)\necho \"$said\"\necho \"$said\" | grep -q 'not allowed'\n",
            self.cron.iter().map(|u| u.as_str()).collect::<Vec<_>>().join(" ")
        );
        add(
            "cron",
            &["CIS 2.4.1", "CIS 2.4.2", "dev-sec os-14", "crontab(1)"],
            "cron is root's, and theirs whom the spec names".to_owned(),
            script,
        );
        add(
            "no-loose-files",
            &["CIS 7.1.11", "CIS 7.1.12", "ANSSI-BP-028 R53", "dev-sec os-06"],
            "no file or folder is everybody's to change, and none belongs to nobody".to_owned(),
            LOOSE.to_owned(),
        );
        if *self.tls != Tls::Keep {
            let old = if *self.tls == Tls::Thirteen { "-tls1_2" } else { "-tls1_1" };
            let refs = &["R46", "R48", "ANSSI-BP-028 R69", "config(5ssl)"];
            add(
                "no-old-tls",
                refs,
                "what serves by OpenSSL's own settings does not speak older TLS".to_owned(),
                format!("old={old}\n{TLS}"),
            );
        }
        if !self.core_dumps && facts.systemd() {
            let script =
                "seen=$(systemctl show -p DefaultLimitCORE --value)\necho \"$seen\"\n[ \"$seen\" = 0 ]\n".to_owned();
            let check = Check::Script { script };
            let statement = "no program that systemd starts leaves a core";
            let proof = Proof::new(
                "system",
                "no-cores-of-services",
                &["CIS 1.5.3", "systemd-system.conf(5)"],
                statement,
                check,
            );
            // systemd reads its own settings when it starts.
            all.push(Proof { when: When::AfterReboot, ..proof });
        }
        if self.mounts_tmp(facts) {
            let check =
                Check::Unit { unit: "tmp.mount".into(), active: "active".into(), enabled: Some("enabled".into()) };
            let statement = "/tmp is mounted at every boot, whatever else wants it";
            all.push(Proof::new("system", "tmp-at-every-boot", refs, statement, check));
        }
        Ok(all)
    }
}

// A folder for everybody, as /tmp is, lets nobody take another's file away. Whose unit is its own account (DynamicUser=) has no name when
// it is not running.
const LOOSE: &str = "seen=$(find / -xdev \\( -type f -perm -0002 -o -type d -perm -0002 ! -perm -1000 -o \\( -nouser -o -nogroup \\) ! -path '/var/*/private/*' \\) 2>/dev/null | head -n 1)\n\
    echo \"${seen:-none}\"\n[ -z \"$seen\" ]\n";

// A server of OpenSSL's own on the machine, and a client that would speak anything.
const TLS: &str = "command -v openssl >/dev/null || { echo 'there is no openssl'; exit 75; }\nt=$(mktemp -d)\ntrap 'kill $server 2>/dev/null; rm -rf $t' EXIT\n\
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=probe -keyout $t/key -out $t/cert >/dev/null 2>&1 || exit 75\n\
    openssl s_server -accept 127.0.0.1:44330 -key $t/key -cert $t/cert -quiet >/dev/null 2>&1 </dev/null & server=$!\n\
    speaks() { echo | OPENSSL_CONF=/dev/null openssl s_client -connect 127.0.0.1:44330 \"$1\" -cipher ALL:@SECLEVEL=0 2>/dev/null | grep -q '^New, [^(]'; }\n\
    n=0; until speaks -tls1_3; do n=$((n + 1)); [ $n -lt 20 ] || { echo 'it speaks no TLS at all'; exit 75; }; sleep 0.5; done\n\
    if speaks $old; then echo \"it speaks $old\"; exit 1; fi\necho \"$old is refused\"\n";
