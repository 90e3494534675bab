//! sshd: who may try, with what, by which algorithms. One drop-in that sorts before every other.

mod algorithms;

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::name::{GroupName, UserName};
use crate::plan::net::Ports;
use crate::plan::proof::{Check, Credential, Login, Proof, Sudo};
use crate::plan::way_in::is_taken;
use crate::plan::{LIB, Logins, Plan, Stage, Syntax};
use crate::report::{Lint, Report, Severity, Span};
use crate::yaml::{Node, Read, Spanned, Whole, whole};
use crate::{choice, section, template};
use algorithms::{Algorithm, CIPHERS, Cipher, Family, KEX, Kex, MACS, Mac};
use serde::Serialize;
use std::collections::BTreeMap;

section! {
    /// sshd: who may log in, with what, by which algorithms.
    pub struct Ssh as "ssh" {
        /// The port that sshd listens on.
        port: Spanned<Port> = Spanned::default_of(Port(22)), or "22";
        /// Whether root may log in, with a key. A password never lets root in.
        root_login: Spanned<bool> = Spanned::default_of(false), or "false";
        /// Whether a password lets a person in.
        password_login: Spanned<bool> = Spanned::default_of(false), or "false";
        /// The people who alone may log in.
        allow_users: Vec<Spanned<UserName>> = Vec::new(), or "anyone with an account";
        /// The groups whose members alone may log in. Where both lists stand, both must let a person in.
        allow_groups: Vec<Spanned<GroupName>> = Vec::new(), or "members of any group";
        /// What is asked beside the key: `none`.
        second_factor: Spanned<SecondFactor> = Spanned::default_of(SecondFactor::None), or "none";
        /// Key exchange, ciphers and MACs: `modern` is what ssh-audit finds no fault with, for the image's OpenSSH, and wants an OpenSSH
        /// of 8.5 or PuTTY of 0.78 on the other side; `compatible` is that and what older programs need, of which it warns.
        algorithms: Spanned<Algorithms> = Spanned::default_of(Algorithms::Modern), or "modern";
        /// Key exchanges, best first, instead of those of `algorithms`.
        kex: Vec<Spanned<Kex>> = Vec::new(), or "those of `algorithms`";
        /// Ciphers, best first, instead of those of `algorithms`.
        ciphers: Vec<Spanned<Cipher>> = Vec::new(), or "those of `algorithms`";
        /// MACs, best first, instead of those of `algorithms`.
        macs: Vec<Spanned<Mac>> = Vec::new(), or "those of `algorithms`";
    }
}

choice! {
    /// What sshd asks for beside the key.
    pub enum SecondFactor as "a second factor" {
        /// Nothing.
        None => "none",
    }
}

choice! {
    /// A set of algorithms.
    pub enum Algorithms as "a set of algorithms" {
        /// Those that ssh-audit finds no fault with.
        Modern => "modern",
        /// These, and those that old programs need.
        Compatible => "compatible",
    }
}

/// A TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(pub u16);

impl TryFrom<i128> for Port {
    type Error = ();
    fn try_from(v: i128) -> Result<Self, ()> {
        u16::try_from(v).ok().filter(|p| *p > 0).map(Port).ok_or(())
    }
}

impl Whole for Port {
    const WHAT: &'static str = "a port (1 to 65535)";
}

impl Read for Port {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        whole(node, report)
    }
}

const PASSWORD_LOGIN: Lint = Lint {
    code: "ssh/password-login",
    severity: Severity::Warning,
    finds: "`password_login: true`",
    why: "a password can be guessed and phished from anywhere that reaches the port; a key cannot",
    instead: "leave it out, and give people keys",
    refs: &["R34", "R39", "dev-sec sshd-27"],
};
const ROOT_LOGIN: Lint = Lint {
    code: "ssh/root-login",
    severity: Severity::Warning,
    finds: "`root_login: true`",
    why: "nobody knows who root was, and one stolen key is the whole machine",
    instead: "leave it out; log in as a person and use sudo",
    refs: &["R30", "CIS 5.1.20", "ANSSI-BP-028 R33"],
};
const ANYONE: Lint = Lint {
    code: "ssh/anyone-may-try",
    severity: Severity::Warning,
    finds: "neither `allow_users` nor `allow_groups`",
    why: "every account of the image and every one that a package brings may log in",
    instead: "name the people in `allow_users`",
    refs: &["R32", "CIS 5.1.4"],
};
const LOW_PORT: Lint = Lint {
    code: "ssh/port-above-1023",
    severity: Severity::Warning,
    finds: "a port above 1023",
    why: "any user of the machine can listen there while sshd is down, and collect what people type",
    instead: "use 22 or another port below 1024, and say in `firewall` who may reach it",
    refs: &["R11", "ip(7)"],
};
const OLD_ALGORITHM: Lint = Lint {
    code: "ssh/algorithm-not-modern",
    severity: Severity::Warning,
    finds: "`algorithms: compatible`, or an algorithm that ssh-audit warns of",
    why: "whoever sits on the way has more to try; only old programs need it",
    instead: "leave it out, and bring the old programs up to date",
    refs: &["R48", "R51", "ssh-audit"],
};
const UNKNOWN_ALGORITHM: Lint = Lint {
    code: "ssh/algorithm-unknown-to-image",
    severity: Severity::Error,
    finds: "an algorithm that the image's OpenSSH does not know",
    why: "sshd does not start with a name that it does not know, and nobody can log in",
    instead: "take it out: `algorithms: modern` has what the image knows",
    refs: &["R49", "R51", "sshd_config(5)"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[PASSWORD_LOGIN, ROOT_LOGIN, ANYONE, LOW_PORT, OLD_ALGORITHM, UNKNOWN_ALGORITHM];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[
    Instruction {
        said: "PermitRootLogin no",
        became: "The same, by default, in a drop-in that sorts before every other; `root_login: true` takes a key only, and is warned of.",
        refs: &["R30"],
    },
    Instruction {
        said: "Use the AllowUsers and AllowGroups settings",
        became: "`allow_users` and `allow_groups`. Where both stand, both must let a person in; what other files add to them is found by \
                 `sshd -T` and refused on the machine.",
        refs: &["R32"],
    },
    Instruction {
        said: "ssh-keygen -t rsa",
        became: "`ssh-keygen -t ed25519 -a 100`. RSA is taken from 3072 bits on.",
        refs: &["R34", "R35"],
    },
    Instruction {
        said: "PasswordAuthentication no",
        became: "The same, by default; with it `KbdInteractiveAuthentication no`, by which PAM would ask for the same password, and \
                 `AuthenticationMethods publickey`.",
        refs: &["R39"],
    },
    Instruction {
        said: "Ciphers aes128-ctr,aes192-ctr,aes256-ctr,arcfour256,arcfour128",
        became: "`algorithms: modern`, or a list of your own in `ciphers`. RC4 is broken; OpenSSH 7.6 took it out, and with this line \
                 sshd does not start.",
        refs: &["R49"],
    },
    Instruction {
        said: "MACs hmac-sha1,,hmac-ripemd160",
        became: "`algorithms: modern`, or a list of your own in `macs`. With the two commas `sshd -t` finds no fault, and all that \
                 holds is hmac-sha1; without them sshd does not start.",
        refs: &["R50"],
    },
];

const DROP_IN: &str = "00-hardtack.conf";

/// One directive and what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Directive {
    keyword: &'static str,
    /// The words after it.
    words: Vec<String>,
    #[serde(skip)]
    refs: &'static [&'static str],
    #[serde(skip)]
    statement: &'static str,
}

impl Directive {
    /// What `sshd -T` says for it, a line each: of a list of people, one line for each of them.
    fn effective(&self) -> Vec<String> {
        if matches!(self.keyword, "AllowUsers" | "AllowGroups") {
            self.words.clone()
        } else {
            vec![self.words.join(" ")]
        }
    }
}

/// Somebody who is to come in, as the machine looks for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Way {
    user: String,
    /// Whether sudo does anything for them: yes or no.
    sudo: &'static str,
    /// Of these groups they must be in one, if there are any; apart by blanks.
    groups: String,
    keys: Vec<String>,
}

impl Ssh {
    // The order is that of the file; each is proved by `sshd -T`.
    fn directives(&self, facts: &Facts) -> Result<Vec<Directive>, Unknown> {
        let version = facts.version("openssh")?;
        let since = |major: u32, minor: u32| version >= vec![major, minor];
        let mut all = Vec::new();
        let mut say = |keyword, words: &[&str], refs, statement| {
            all.push(Directive { keyword, words: words.iter().map(|w| (*w).to_owned()).collect(), refs, statement });
        };
        let yes_no = |on: bool| if on { "yes" } else { "no" };
        say(
            "Port",
            &[&self.port.0.to_string()],
            &["R11", "sshd_config(5)"],
            "sshd listens on the port of the spec and on no other",
        );
        say(
            "PermitRootLogin",
            &[if *self.root_login { "prohibit-password" } else { "no" }],
            if *self.root_login { &["R30", "dev-sec sshd-06"] } else { &["R30", "CIS 5.1.20", "dev-sec sshd-06"] },
            "sshd treats root as the spec says",
        );
        say(
            "PasswordAuthentication",
            &[yes_no(*self.password_login)],
            if *self.password_login { &["R39"] } else { &["R39", "dev-sec sshd-27"] },
            "sshd takes passwords only where the spec says so",
        );
        // PAM would ask for the same password under this name (R39).
        say(
            "KbdInteractiveAuthentication",
            &["no"],
            &["R39", "dev-sec sshd-29", "sshd_config(5)"],
            "sshd does not ask for passwords by way of PAM",
        );
        say(
            "PermitEmptyPasswords",
            &["no"],
            &["R39", "CIS 5.1.19", "dev-sec sshd-28"],
            "sshd never takes an empty password",
        );
        say("PubkeyAuthentication", &["yes"], &["R34", "dev-sec sshd-22"], "sshd takes keys");
        if !*self.password_login {
            say("AuthenticationMethods", &["publickey"], &["R39", "sshd_config(5)"], "a key is the only way in");
        }
        let users: Vec<_> = self.allow_users.iter().map(|u| u.as_str()).collect();
        if !users.is_empty() {
            say("AllowUsers", &users, &["R32", "CIS 5.1.4"], "only the people of the spec may try");
        }
        let groups: Vec<_> = self.allow_groups.iter().map(|g| g.as_str()).collect();
        if !groups.is_empty() {
            say("AllowGroups", &groups, &["R32", "CIS 5.1.4"], "only members of the groups of the spec may try");
        }
        // Explicit lists, never `+` or `-`: those mean something else in each version (R51).
        let list = |own: Vec<&'static str>, family: Family| {
            let all =
                if own.is_empty() { family.of(*self.algorithms == Algorithms::Compatible, &version) } else { own };
            all.join(",")
        };
        let kex = list(self.kex.iter().map(|k| k.0.as_str()).collect(), KEX);
        let ciphers = list(self.ciphers.iter().map(|c| c.0.as_str()).collect(), CIPHERS);
        let macs = list(self.macs.iter().map(|m| m.0.as_str()).collect(), MACS);
        say(
            "KexAlgorithms",
            &[&kex],
            &["R48", "R51", "CIS 5.1.12", "ssh-audit"],
            "keys are exchanged by the algorithms of the spec only",
        );
        say(
            "Ciphers",
            &[&ciphers],
            &["R49", "R51", "CIS 5.1.6", "dev-sec sshd-01", "ssh-audit"],
            "the ciphers are those of the spec only",
        );
        say("MACs", &[&macs], &["R50", "R51", "ssh-audit"], "the MACs are those of the spec only");
        say(
            "HostKeyAlgorithms",
            &[&HOST_KEYS.join(",")],
            &["R48", "ssh-audit"],
            "the machine shows itself by the algorithms of the spec only",
        );
        say(
            "PubkeyAcceptedAlgorithms",
            &[&PERSON_KEYS.join(",")],
            &["R35", "R48"],
            "keys are taken by the algorithms of the spec only",
        );
        if since(9, 1) {
            say("RequiredRSASize", &["3072"], &["R35", "ssh-audit"], "RSA keys below 3072 bits are refused");
        }
        say("StrictModes", &["yes"], &["R36", "dev-sec sshd-11"], "sshd refuses key files that others can write");
        say(
            "PermitUserEnvironment",
            &["no"],
            &["CIS 5.1.21", "dev-sec sshd-17"],
            "people cannot set sshd's environment",
        );
        say("X11Forwarding", &["no"], &["R29", "dev-sec sshd-42"], "X11 is not forwarded");
        say("AllowAgentForwarding", &["no"], &["R29", "dev-sec sshd-40"], "key agents are not forwarded");
        say("PermitTunnel", &["no"], &["R29", "dev-sec sshd-38"], "sshd makes no tunnels");
        say("MaxAuthTries", &["4"], &["CIS 5.1.16"], "a connection has four tries");
        say("LoginGraceTime", &["30"], &["CIS 5.1.13", "dev-sec sshd-18"], "a login takes half a minute at most");
        say("LogLevel", &["VERBOSE"], &["CIS 5.1.14", "dev-sec sshd-13"], "the log says which key let somebody in");
        Ok(all)
    }

    // Who is to come in, and what must be there for that.
    fn ways(&self, plan: &Plan, logins: &Logins) -> Vec<Way> {
        let taken = plan.accounts.iter().filter(|(name, account)| is_taken(logins, name, account));
        let groups = || self.allow_groups.iter().map(|g| g.as_str()).collect::<Vec<_>>().join(" ");
        taken
            .map(|(name, account)| Way {
                user: name.to_string(),
                sudo: if account.sudo == Sudo::Nothing { "no" } else { "yes" },
                groups: groups(),
                keys: account.keys.iter().map(|key| key.body().to_owned()).collect(),
            })
            .collect()
    }

    // Every algorithm that is named, and where.
    fn named(&self) -> impl Iterator<Item = (Algorithm, Option<Span>)> {
        let kex = self.kex.iter().map(|k| (k.0, k.span));
        let ciphers = self.ciphers.iter().map(|c| (c.0, c.span));
        kex.chain(ciphers).chain(self.macs.iter().map(|m| (m.0, m.span)))
    }

    fn drop_in(facts: &Facts) -> Result<String, Unknown> {
        Ok(format!("{}/{DROP_IN}", facts.path("sshd-config-d")?))
    }
}

const HOST_KEYS: [&str; 3] = ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"];
// Every type that `accounts` takes, so that no key of a spec is turned away here.
const PERSON_KEYS: [&str; 8] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

impl Hurdle for Ssh {
    fn lint(&self, here: Span, report: &mut Report) {
        if *self.password_login {
            report.push(PASSWORD_LOGIN.at(self.password_login.span, "sshd takes passwords"));
        }
        if *self.root_login {
            report.push(ROOT_LOGIN.at(self.root_login.span, "root may log in"));
        }
        if self.allow_users.is_empty() && self.allow_groups.is_empty() {
            report.push(ANYONE.at(Some(here), "anyone with an account may log in"));
        }
        if *self.algorithms == Algorithms::Compatible {
            report.push(OLD_ALGORITHM.at(self.algorithms.span, "sshd takes what old programs need"));
        }
        for (algorithm, span) in self.named().filter(|(algorithm, _)| !algorithm.is_modern()) {
            report.push(OLD_ALGORITHM.at(span, format!("ssh-audit warns of `{}`", algorithm.as_str())));
        }
        if self.port.0 > 1023 {
            report.push(
                LOW_PORT.at(self.port.span, format!("any user of the machine can listen on port {}", self.port.0)),
            );
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        #[derive(Serialize)]
        struct Holes {
            directives: Vec<Directive>,
            expected: Vec<String>,
            port: u16,
            drop_in: String,
            sshd: String,
            ways: Vec<Way>,
            systemd: bool,
            unit: String,
            privilege_separation: String,
            lib: &'static str,
        }
        let logins = Logins {
            port: self.port.0,
            span: self.port.span.or(plan.here),
            users: self.allow_users.iter().map(|u| (u.value.clone(), u.span)).collect(),
            groups: self.allow_groups.iter().map(|g| (g.value.clone(), g.span)).collect(),
            passwords: *self.password_login,
            root: *self.root_login,
        };
        let directives = self.directives(facts)?;
        // As `sshd -T` says it: in lower case, and up to 10.0 with the old name of prohibit-password.
        let expected = directives
            .iter()
            .flat_map(|d| d.effective().into_iter().map(move |words| format!("{} {words}", d.keyword).to_lowercase()))
            .collect();
        let holes = Holes {
            directives,
            expected,
            port: self.port.0,
            drop_in: Self::drop_in(facts)?,
            sshd: facts.path("sshd")?.to_owned(),
            ways: self.ways(plan, &logins),
            systemd: facts.systemd(),
            unit: facts.unit("sshd")?.to_owned(),
            privilege_separation: facts.path("sshd-privilege-separation")?.to_owned(),
            lib: LIB,
        };
        plan.packages.insert(facts.package("ssh-server")?.to_owned());
        // Without systemd nothing holds sshd back until the first boot is at its end: it finds the drop-in when it starts.
        let stage = if facts.systemd() { Stage::Apply } else { Stage::Gate };
        plan.draw("ssh", stage, &holes.drop_in, 0o600, template!("ssh/00-hardtack.conf"), &holes)?;
        plan.controls(&holes.drop_in, Syntax::Directives, facts.reload(&holes.unit));
        plan.draw("ssh", stage, &format!("{LIB}/ssh-check"), 0o755, template!("ssh/check.sh"), &holes)?;
        plan.command("ssh", Stage::Apply, template!("ssh/apply.sh"), &holes)?;
        plan.guards();
        plan.command("ssh", Stage::Health, template!("ssh/health.sh"), &holes)?;
        plan.guards();
        if facts.has("ssh-socket") && self.port.0 != 22 {
            // The socket unit listens, not sshd: its generator reads the port when systemd reloads (facts.md A.1).
            plan.command(
                "ssh",
                Stage::Apply,
                template!("ssh/socket.sh"),
                &BTreeMap::from([("unit", facts.unit("sshd-socket")?)]),
            )?;
        }
        plan.logins = Some(logins);
        plan.services.insert("ssh", Ports::one(self.port.0));
        Ok(())
    }

    fn settle(&self, facts: &Facts, _: &mut Plan, report: &mut Report) {
        let Ok(version) = facts.version("openssh") else { return };
        for (algorithm, span) in self.named().filter(|(algorithm, _)| !algorithm.is_known_to(&version)) {
            let version: Vec<String> = version.iter().map(ToString::to_string).collect();
            let words = format!("OpenSSH {} of the image does not know `{}`", version.join("."), algorithm.as_str());
            report.push(UNKNOWN_ALGORITHM.at(span, words));
        }
    }

    fn proofs(&self, facts: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
        let sshd = facts.path("sshd")?;
        let mut proofs: Vec<_> = self
            .directives(facts)?
            .iter()
            .map(|d| {
                let keyword = d.keyword.to_lowercase();
                let check = Check::Says {
                    command: vec![sshd.to_owned(), "-T".to_owned()],
                    keyword: keyword.clone(),
                    values: d.effective(),
                };
                Proof::new("ssh", &format!("effective-{keyword}"), d.refs, d.statement, check)
            })
            .collect();
        let check = Check::File { path: Self::drop_in(facts)?, mode: "0600".into(), owner: "root:root".into() };
        proofs.push(Proof::new(
            "ssh",
            "drop-in-is-roots",
            &["CIS 5.1.1", "dev-sec sshd-05"],
            "only root can read and change the drop-in",
            check,
        ));
        let unit = facts.unit("sshd")?.to_owned();
        let check = match facts.systemd() {
            true => Check::Unit { unit, active: "active".into(), enabled: None },
            false => Check::Script { script: format!("service {unit} status 2>&1\n") },
        };
        proofs.push(Proof::new("ssh", "running", &["R11"], "sshd runs", check));
        let attempt = |user: &str, with, succeeds| {
            let (from, interface) = plan.ssh_from();
            Check::Login(Login { user: user.to_owned(), port: self.port.0, with, from, interface, succeeds })
        };
        if !*self.root_login {
            let statement = "root is refused, even with a key that stands in its authorized_keys";
            proofs.push(Proof::new(
                "ssh",
                "root-refused",
                &["R30", "CIS 5.1.20"],
                statement,
                attempt("root", Credential::ItsKey, false),
            ));
        }
        for name in plan.accounts.keys() {
            let statement = format!("a key that stands nowhere does not let {name} in");
            proofs.push(Proof::new(
                "ssh",
                &format!("strangers-key-refused-for-{name}"),
                &["R34"],
                statement,
                attempt(name.as_str(), Credential::StrangersKey, false),
            ));
            if !*self.password_login {
                let statement = format!("the right password does not let {name} in");
                proofs.push(Proof::new(
                    "ssh",
                    &format!("password-refused-for-{name}"),
                    &["R39", "dev-sec sshd-27"],
                    statement,
                    attempt(name.as_str(), Credential::ItsPassword, false),
                ));
            } else if let (Some(account), Some(logins)) = (plan.accounts.get(name), &plan.logins)
                && account.password.is_some()
                && is_taken(logins, name, account)
            {
                // The spec wants it, so it must work.
                let statement = format!("the right password lets {name} in");
                let check = attempt(name.as_str(), Credential::ItsPassword, true);
                proofs.push(Proof::new(
                    "ssh",
                    &format!("password-taken-for-{name}"),
                    &["sshd_config(5)"],
                    statement,
                    check,
                ));
            }
        }
        Ok(proofs)
    }
}
