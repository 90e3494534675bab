//! People: who they are, what lets them in, what sudo lets them do. Root is nobody's account.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::credential::{PasswordHash, PublicKey, keys_of};
use crate::plan::name::{GroupName, InputFile, Principal, UserName};
use crate::plan::proof::{AccountState, Check, Credential, Proof, Sudo};
use crate::plan::way_in::is_taken;
use crate::plan::{Account, Plan, Stage, Syntax};
use crate::report::{Lint, Report, Severity, Span, shown};
use crate::yaml::{Described, Spanned};
use crate::{choice, section, template};
use std::collections::BTreeMap;

section! {
    /// The people of the machine, and what becomes of root.
    pub struct Accounts as "accounts" {
        /// `locked`: nobody can log in as root by password, at the console or by `su`; root is reached by sudo only.
        /// `keep`: whatever the image says.
        root: Spanned<RootPassword> = Spanned::default_of(RootPassword::Locked), or "locked";
        /// What a console gives when the machine cannot boot, or is asked for its emergency shell: `locked` is nothing while root is
        /// locked; `root-shell` is a shell of root's, unasked, to whoever sits there.
        emergency_console: Spanned<Emergency> = Spanned::default_of(Emergency::Locked), or "locked";
        /// The group whose members alone may become somebody else by `su`. root may always, and sudo is another way.
        su_group: Option<Spanned<GroupName>> = None, or "nobody's, where root is locked";
        /// The people.
        people: Vec<Spanned<Person>> = Vec::new(), or "nobody: the image's own people stay";
    }
}

section! {
    /// One person's account.
    pub struct Person as "a person" {
        /// The account's name.
        name: Spanned<UserName>;
        /// Lines of .pub files. ed25519, ECDSA, security keys, and RSA of 3072 bits or more.
        keys: Vec<Spanned<PublicKey>> = Vec::new(), or "none: the person cannot log in by key";
        /// More of them: files beside the spec, or `~/.ssh/*.pub`, that have one a line, where what begins with `#` is a comment; or
        /// `https://github.com/NAME.keys SHA256:…`, of which those are taken whose fingerprints stand beside it.
        keys_from: Vec<Spanned<InputFile>> = Vec::new(), or "none";
        /// What sudo lets the person do: `none`, `with-password`, `without-password`.
        sudo: Spanned<SudoWish> = Spanned::default_of(SudoWish::None), or "none";
        /// The hash of the person's password, as `hardtack passwd` prints it. Never the password.
        password_hash: Option<Spanned<PasswordHash>> = None, or "the password is locked";
        /// Groups beside the person's own. One that the image does not have is made.
        groups: Vec<Spanned<GroupName>> = Vec::new(), or "none";
        /// Names in certificates of `ssh.user_ca` that let in as this person.
        principals: Vec<Spanned<Principal>> = Vec::new(), or "the account's name";
    }
}

choice! {
    /// What becomes of root's password.
    pub enum RootPassword as "a choice for root" {
        /// Locked.
        Locked => "locked",
        /// As the image has it.
        Keep => "keep",
    }
}

choice! {
    /// What a console gives in an emergency.
    pub enum Emergency as "a choice for the emergency console" {
        /// Nothing without root's password.
        Locked => "locked",
        /// A shell.
        RootShell => "root-shell",
    }
}

choice! {
    /// What a person may do with sudo.
    pub enum SudoWish as "a choice for sudo" {
        /// Nothing.
        None => "none",
        /// Everything, with the person's password.
        WithPassword => "with-password",
        /// Everything, without a password.
        WithoutPassword => "without-password",
    }
}

const NO_PASSWORD: Lint = Lint {
    code: "accounts/sudo-without-hash",
    severity: Severity::Error,
    finds: "`sudo: with-password` for someone who has no `password_hash`",
    why: "sudo asks for a password that does not exist, so nobody becomes root",
    instead: "add `password_hash:`, as `hardtack passwd` prints it",
    refs: &["R40", "sudoers(5)"],
};
const NOPASSWD: Lint = Lint {
    code: "accounts/sudo-without-password",
    severity: Severity::Warning,
    finds: "`sudo: without-password`",
    why: "whoever gets the key has root at once: the password was the second hurdle",
    instead: "`sudo: with-password` and a `password_hash`",
    refs: &["R40", "R61", "CIS 5.2.4"],
};
const TWICE: Lint = Lint {
    code: "accounts/same-name",
    severity: Severity::Error,
    finds: "two people of one name",
    why: "an account has one name; what the second one says would be lost or mixed in",
    instead: "make one entry of the two",
    refs: &["CIS 7.2.7", "useradd(8)"],
};
const SYSTEM_NAME: Lint = Lint {
    code: "accounts/system-name",
    severity: Severity::Error,
    finds: "a person with the name of a system account",
    why: "the account exists on every machine and owns what daemons use",
    instead: "choose another name; root is not a person: see `root:`",
    refs: &["R30", "R31", "useradd(8)"],
};
const POWERFUL_GROUP: Lint = Lint {
    code: "accounts/group-is-root",
    severity: Severity::Warning,
    finds: "a group whose members are as good as root",
    why: "members of docker, disk, shadow and the like read or write everything unasked; those of sudo and wheel have sudo, whatever `sudo:` says",
    instead: "use `sudo:`, and leave the group out",
    refs: &["R29", "CIS 7.2.4"],
};
const SAME_KEY: Lint = Lint {
    code: "accounts/same-key",
    severity: Severity::Warning,
    finds: "one key for two people",
    why: "the log can no longer tell who came in, and taking the key from one leaves it with the other",
    instead: "give each person a key of their own",
    refs: &["R36", "ANSSI-BP-028 R33"],
};
const KEY_FILE: Lint = Lint {
    code: "accounts/key-file",
    severity: Severity::Error,
    finds: "a file of `keys_from` that has no key, or a line that is none",
    why: "sshd passes over a line that it cannot read without a word, and whoever counts on that key is locked out",
    instead: "name a file with one line of a .pub file for each key",
    refs: &["R34", "R36", "sshd(8)"],
};
const CONSOLE: Lint = Lint {
    code: "accounts/emergency-root-shell",
    severity: Severity::Warning,
    finds: "`emergency_console: root-shell`",
    why: "whoever sees the console of a machine that cannot boot is root: by a cloud's web console, or a cable",
    instead: "leave it out, and mend such a machine's disk from another one",
    refs: &["R31", "CIS 1.4.1", "sulogin(8)"],
};
const CONSOLE_SYSTEMD: Lint = Lint {
    code: "accounts/emergency-needs-systemd",
    severity: Severity::Error,
    finds: "`emergency_console: root-shell` for an image that systemd does not start",
    why: "it is systemd's emergency shell that is told not to ask",
    instead: "leave it out",
    refs: &["R31"],
};
const NO_CA: Lint = Lint {
    code: "accounts/principals-without-ca",
    severity: Severity::Warning,
    finds: "`principals` without `ssh.user_ca`",
    why: "no certificate lets anybody in, whatever it carries",
    instead: "name the authorities in `ssh.user_ca`, or take the principals out",
    refs: &["R36", "sshd_config(5)"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] =
    &[NO_PASSWORD, NOPASSWD, TWICE, SYSTEM_NAME, POWERFUL_GROUP, SAME_KEY, KEY_FILE, CONSOLE, CONSOLE_SYSTEMD, NO_CA];
/// The sections inside.
pub const PARTS: &[Part] = &[Part { place: "accounts.people[]", doc: Person::DOC, fields: Person::FIELDS }];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[];

// Names that the base systems of Debian and Red Hat take.
const SYSTEM: [&str; 34] = [
    "root",
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "gnats",
    "nobody",
    "adm",
    "shutdown",
    "halt",
    "operator",
    "ftp",
    "dbus",
    "sshd",
    "tcpdump",
    "messagebus",
    "polkitd",
    "systemd-network",
    "systemd-resolve",
    "systemd-timesync",
    "systemd-oom",
    "systemd-coredump",
    "_apt",
];
const AS_GOOD_AS_ROOT: [&str; 11] =
    ["docker", "disk", "shadow", "kmem", "lxd", "libvirt", "root", "kvm", "incus", "sudo", "wheel"];

impl Person {
    // With the keys of its files, each beside where it was asked for.
    fn all_keys(&self, plan: &Plan) -> Vec<Spanned<PublicKey>> {
        let mut all = self.keys.clone();
        for file in &self.keys_from {
            let bytes = plan.inputs.get(file.as_str());
            let keys = bytes.map(|bytes| keys_of(bytes).0).unwrap_or_default();
            all.extend(keys.into_iter().map(|value| Spanned { value, span: file.span }));
        }
        all
    }
}

// Where systemd asks for root's password, and gives a shell (systemd.special(7)).
const EMERGENCY: [&str; 2] = ["emergency.service", "rescue.service"];

impl Accounts {
    // Whose members may use su; root's own, where nobody's is asked for.
    fn su_group(&self) -> Option<&str> {
        let asked = self.su_group.as_ref().map(|g| g.as_str());
        asked.or((*self.root == RootPassword::Locked).then_some("root"))
    }
}

impl Hurdle for Accounts {
    fn inputs(&self) -> Vec<&Spanned<InputFile>> {
        self.people.iter().flat_map(|person| &person.keys_from).collect()
    }

    fn lint(&self, _: Span, report: &mut Report) {
        if *self.emergency_console == Emergency::RootShell {
            report
                .push(CONSOLE.at(self.emergency_console.span, "a machine that cannot boot gives root to its console"));
        }
        for (at, person) in self.people.iter().enumerate() {
            if self.people[..at].iter().any(|p| p.name.value == person.name.value) {
                report.push(TWICE.at(person.name.span, format!("`{}` is here twice", *person.name)));
            }
            if SYSTEM.contains(&person.name.as_str()) {
                report.push(SYSTEM_NAME.at(person.name.span, format!("`{}` is a system account", *person.name)));
            }
            match *person.sudo {
                SudoWish::WithPassword if person.password_hash.is_none() => {
                    report.push(NO_PASSWORD.at(
                        person.sudo.span,
                        format!("sudo asks `{}` for a password that does not exist", *person.name),
                    ));
                }
                SudoWish::WithoutPassword => {
                    report.push(
                        NOPASSWD.at(person.sudo.span, format!("`{}` becomes root without a password", *person.name)),
                    );
                }
                _ => {}
            }
            for group in person.groups.iter().filter(|g| AS_GOOD_AS_ROOT.contains(&g.as_str())) {
                report.push(POWERFUL_GROUP.at(group.span, format!("members of `{}` are as good as root", **group)));
            }
        }
    }

    fn settle(&self, facts: &Facts, plan: &mut Plan, report: &mut Report) {
        if *self.emergency_console == Emergency::RootShell && !facts.systemd() {
            let words = format!("systemd does not start {}", facts.name);
            report.push(CONSOLE_SYSTEMD.at(self.emergency_console.span, words));
        }
        for file in self.inputs() {
            let faults = plan.inputs.get(file.as_str()).map(|bytes| keys_of(bytes).1).unwrap_or_default();
            for fault in faults {
                report.push(KEY_FILE.at(file.span, format!("`{}`: {fault}", shown(file.as_str()))));
            }
        }
        if plan.logins.as_ref().is_some_and(|logins| !logins.certificates) {
            for principal in self.people.iter().flat_map(|person| &person.principals) {
                report.push(NO_CA.at(principal.span, "no certificate lets anybody in"));
            }
        }
        let mut bodies: Vec<(String, &UserName)> = Vec::new();
        for person in &self.people {
            for key in person.all_keys(plan) {
                match bodies.iter().find(|(body, _)| body == key.body()) {
                    Some((_, other)) if **other == person.name.value => {}
                    Some((_, other)) => report.push(SAME_KEY.at(key.span, format!("this key is also `{other}`'s"))),
                    None => bodies.push((key.body().to_owned(), &person.name.value)),
                }
            }
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        for person in &self.people {
            let sudo = match *person.sudo {
                SudoWish::None => Sudo::Nothing,
                SudoWish::WithPassword => Sudo::WithPassword,
                SudoWish::WithoutPassword => Sudo::WithoutPassword,
            };
            if sudo != Sudo::Nothing {
                plan.packages.insert(facts.package("sudo")?.to_owned());
            }
            plan.accounts.insert(
                person.name.value.clone(),
                Account {
                    keys: person.all_keys(plan).into_iter().map(|k| k.value).collect(),
                    password: person.password_hash.as_ref().map(|h| h.value.clone()),
                    sudo,
                    groups: person.groups.iter().map(|g| g.value.clone()).collect(),
                    principals: person.principals.iter().map(|p| p.value.clone()).collect(),
                    span: person.name.span,
                },
            );
        }
        if *self.root == RootPassword::Locked {
            plan.command("accounts", Stage::Apply, template!("accounts/lock-root.sh"), &())?;
        }
        if let Some(group) = self.su_group() {
            let group = BTreeMap::from([("group", group)]);
            plan.command("accounts", Stage::Apply, template!("accounts/su.sh"), &group)?;
        }
        if *self.emergency_console == Emergency::RootShell && facts.systemd() {
            let units = facts.path("systemd-units")?;
            for path in EMERGENCY.map(|unit| format!("{units}/{unit}.d/hardtack.conf")) {
                plan.draw("accounts", Stage::Apply, &path, 0o644, template!("accounts/emergency.conf"), &())?;
                plan.controls(&path, Syntax::Unit, "systemctl daemon-reload");
            }
        }
        Ok(())
    }

    fn proofs(&self, facts: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
        let mut proofs = Vec::new();
        if let Some(group) = self.su_group() {
            let statement = match group {
                "root" => "nobody but root becomes somebody else by su, whatever password they know".to_owned(),
                _ => format!("only members of {group} become somebody else by su, whatever password others know"),
            };
            let check = Check::Script { script: SU.replace("GROUP", group) };
            proofs.push(Proof::new(
                "accounts",
                "su-by-nobody-else",
                &["R31", "CIS 5.2.7", "pam_wheel(8)"],
                statement,
                check,
            ));
        }
        if facts.systemd() && (*self.root == RootPassword::Locked || *self.emergency_console == Emergency::RootShell) {
            let (word, statement) = match *self.emergency_console {
                Emergency::Locked => ("no", "the console of a machine that cannot boot gives no shell"),
                Emergency::RootShell => {
                    ("yes", "the console of a machine that cannot boot gives root's shell, as the spec decides")
                }
            };
            let check = Check::Script { script: CONSOLE_GIVES.replace("WANTED", word) };
            proofs.push(Proof::new("accounts", "emergency-console", &["R31", "sulogin(8)"], statement, check));
        }
        if *self.root == RootPassword::Locked {
            let state = AccountState { user: "root".into(), password: "L".into(), groups: Vec::new(), keys: None };
            proofs.push(Proof::new(
                "accounts",
                "root-locked",
                &["R31", "CIS 5.4.2.4", "ANSSI-BP-028 R33", "passwd(1)"],
                "root has no password that works",
                Check::Account(state),
            ));
        }
        proofs.push(Proof::new(
            "accounts",
            "nobody-else",
            &["R30", "R32", "CIS 5.4.2.1", "CIS 7.2.9", "shadow(5)"],
            "no other account is root's twin, has a password or a key, or is a person's",
            Check::Script { script: nobody_else(plan.accounts.keys().map(|n| n.as_str())) },
        ));
        proofs.push(Proof::new(
            "accounts",
            "only-hashes",
            &["R42", "R47", "CIS 5.4.1.4", "ANSSI-BP-028 R68", "shadow(5)"],
            "no password is stored, only hashes that are slow to guess, and nobody but root reads them",
            Check::Script { script: ONLY_HASHES.to_owned() },
        ));
        for (name, account) in &plan.accounts {
            let state = AccountState {
                user: name.to_string(),
                password: if account.password.is_some() { "P" } else { "L" }.into(),
                groups: account.groups.iter().map(ToString::to_string).collect(),
                keys: Some(account.keys.iter().map(|k| k.as_str().to_owned()).collect()),
            };
            let statement =
                format!("{name} is there with exactly the keys, the groups and the kind of password of the spec");
            proofs.push(Proof::new(
                "accounts",
                &format!("{name}-is-there"),
                &["R36", "R40", "sshd(8)"],
                statement,
                Check::Account(state),
            ));
            let statement = match account.sudo {
                Sudo::Nothing => format!("sudo does nothing for {name}"),
                Sudo::WithPassword => format!("sudo does all for {name}, and asks for the password first"),
                Sudo::WithoutPassword => format!("sudo does all for {name} without a password"),
            };
            let check = Check::Sudo { user: name.to_string(), may: account.sudo };
            proofs.push(Proof::new(
                "accounts",
                &format!("{name}-sudo"),
                if account.sudo == Sudo::WithPassword {
                    &["R40", "CIS 5.2.4", "sudoers(5)"]
                } else {
                    &["R40", "sudoers(5)"]
                },
                statement,
                check,
            ));
            if !plan.logins.as_ref().is_some_and(|l| !account.keys.is_empty() && is_taken(l, name, account)) {
                continue;
            }
            let Some(login) = plan.login(name.as_str(), Credential::ItsKey, true) else { continue };
            proofs.push(Proof::new(
                "accounts",
                &format!("{name}-logs-in"),
                &["R36", "R37"],
                format!("{name} logs in with a key"),
                Check::Login(login),
            ));
        }
        Ok(proofs)
    }
}

// An account for as long as it is asked. su says which of its modules said no to nobody but its own log, so it is asked with the right
// password: by one who may not, and by one who may.
const SU: &str = "export LC_ALL=C.UTF-8\nto=hardtack-probe by=hardtack-probe2\n\
    gone() { userdel -f -r $to 2>/dev/null; userdel -f -r $by 2>/dev/null; rm -f /run/faillock/$to /run/faillock/$by; }\n\
    gone; useradd -m -s /bin/sh $to && useradd -m -s /bin/sh $by || { gone; echo 'no accounts can be made'; exit 75; }\n\
    trap gone EXIT\nword=Rj4%vTq8-zLm2; echo \"$to:$word\" | chpasswd -c SHA512\n\
    goes() { echo $word | setpriv --reuid=$by --regid=$by --init-groups su $to -c 'echo is-in' 2>/dev/null | grep -q is-in; }\n\
    goes && { echo 'somebody who is in no group goes by su'; exit 1; }\n\
    usermod -aG GROUP $by; goes || { echo 'who is in GROUP does not go by su'; exit 1; }\necho 'only members of GROUP'\n";

// What the two units are started with (sulogin(8), --force; systemd's docs/ENVIRONMENT.md).
const CONSOLE_GIVES: &str = "n=0\nfor unit in emergency rescue; do\n\
    case $(systemctl show -p Environment $unit.service) in *SYSTEMD_SULOGIN_FORCE=1*) n=$((n + 1)) ;; esac\ndone\n\
    case $(passwd -S root) in 'root L'*) root=locked ;; *) root=open ;; esac\n\
    echo \"$n of 2 give a shell unasked, root is $root\"\n\
    case WANTED in yes) [ $n = 2 ] ;; *) [ $n = 0 ] && [ $root = locked ] ;; esac\n";

// crypt(5): yescrypt, gost-yescrypt, scrypt, bcrypt, and SHA-512 or SHA-256 with rounds. What is locked has no hash, or one behind a mark.
// What the first boot was told is root's alone as well.
const ONLY_HASHES: &str = "bad=$(awk -F: '$2 !~ /^[!*]+$/ && $2 !~ /^!*[$](y|gy|7|2[abxy]|6|5)[$]/ { print $1 }' /etc/shadow)\n\
    [ -z \"$bad\" ] || { echo \"what is stored for $(echo \"$bad\" | head -n 1) is no slow hash\"; exit 1; }\n\
    [ -z \"$(awk -F: '$2 != \"x\"' /etc/passwd)\" ] || { echo 'a password stands in /etc/passwd'; exit 1; }\n\
    for f in /etc/shadow /etc/gshadow /var/lib/cloud/instance/user-data.txt; do\n  [ -e $f ] || continue\n  \
    case $(stat -L -c %A $f) in *---) ;; *) echo \"others read $f\"; exit 1 ;; esac\ndone\necho 'only hashes'\n";

// No process but one: under emulation each costs a tenth of a second. `nobody` has a person's number and is none.
fn nobody_else<'a>(people: impl Iterator<Item = &'a str>) -> String {
    let known: String = ["root", "nobody"].into_iter().chain(people).map(|name| format!("{name} ")).collect();
    format!(
        "known=' {known}'\nbad=\n\
         while IFS=: read -r name hash _; do\n\
         case $known in *\" $name \"*) continue ;; esac\n\
         case $hash in '!'* | '*'*) ;; *) bad=\"$bad $name has a password or needs none;\" ;; esac\n\
         done </etc/shadow\n\
         while IFS=: read -r name _ id _ _ home shell; do\n\
         case $known in *\" $name \"*) continue ;; esac\n\
         [ \"$id\" = 0 ] && bad=\"$bad $name is root's twin;\"\n\
         [ \"$id\" -ge 1000 ] && [ \"$id\" -lt 60000 ] && bad=\"$bad $name is nobody of the spec;\"\n\
         [ -s \"$home/.ssh/authorized_keys\" ] && bad=\"$bad $name has a key;\"\n\
         done </etc/passwd\n\
         [ -z \"$bad\" ] && echo 'nobody else' && exit 0\necho \"$bad\"\nexit 1\n"
    )
}
