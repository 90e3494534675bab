//! sshd: who may try, with what, by which algorithms. One drop-in that sorts before every other.

mod algorithms;
mod directives;
mod proofs;

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::credential::{PublicKey, keys_of};
use crate::plan::name::{GroupName, InputFile, UserName};
use crate::plan::net::Ports;
use crate::plan::proof::{Proof, Sudo};
use crate::plan::way_in::is_taken;
use crate::plan::{Factor, LIB, Logins, Plan, Stage, Syntax};
use crate::report::{Lint, Report, Severity, Span, shown};
use crate::yaml::{Node, Read, Spanned, Whole, whole};
use crate::{choice, section, template};
use algorithms::{Algorithm, Cipher, Kex, Mac};
use directives::Directive;
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
        /// What is asked beside the key: `none`; `totp`, a code by time as authenticators show it (RFC 6238), which each person sets up on
        /// the machine at the first login, and until then the key lets in as far as that and no further; or `security-key`: only keys of
        /// hardware let in (FIDO2, types `sk-`), and only when they have asked for their PIN.
        second_factor: Spanned<SecondFactor> = Spanned::default_of(SecondFactor::None), or "none";
        /// Key exchange, ciphers, MACs and host keys: `modern` is what ssh-audit finds no fault with, for the image's OpenSSH, and wants an
        /// OpenSSH of 8.5 or PuTTY of 0.78 on the other side; `compatible` is that and what older programs need, of which it warns. The
        /// machine has a host key of Ed25519, and one of RSA only where older programs may come.
        algorithms: Spanned<Algorithms> = Spanned::default_of(Algorithms::Modern), or "modern";
        /// Key exchanges, best first, instead of those of `algorithms`.
        kex: Vec<Spanned<Kex>> = Vec::new(), or "those of `algorithms`";
        /// Ciphers, best first, instead of those of `algorithms`.
        ciphers: Vec<Spanned<Cipher>> = Vec::new(), or "those of `algorithms`";
        /// MACs, best first, instead of those of `algorithms`.
        macs: Vec<Spanned<Mac>> = Vec::new(), or "those of `algorithms`";
        /// Keys of authorities whose certificates let in, into the accounts that `principals` of `accounts.people` names.
        user_ca: Vec<Spanned<PublicKey>> = Vec::new(), or "none";
        /// Files beside the spec with keys that let nobody in any more, one a line, nor certificates of them.
        revoked: Vec<Spanned<InputFile>> = Vec::new(), or "none";
        /// Whether files may be sent by sftp, and so by scp.
        sftp: Spanned<bool> = Spanned::default_of(true), or "true";
        /// Whether sshd leads on to ports and sockets of the machine and beyond it (`ssh -L`, `-R`, `-J`).
        tcp_forwarding: Spanned<bool> = Spanned::default_of(false), or "false";
        /// Whether programs of the machine may use a person's key agent.
        agent_forwarding: Spanned<bool> = Spanned::default_of(false), or "false";
        /// Whether programs of the machine may use a person's screen.
        x11_forwarding: Spanned<bool> = Spanned::default_of(false), or "false";
    }
}

choice! {
    /// What sshd asks for beside the key.
    pub enum SecondFactor as "a second factor" {
        /// Nothing.
        None => "none",
        /// A code by time.
        Totp => "totp",
        /// A key of hardware, and its PIN.
        SecurityKey => "security-key",
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
const NOT_PACKAGED: Lint = Lint {
    code: "ssh/second-factor-not-packaged",
    severity: Severity::Error,
    finds: "`second_factor: totp` for an image whose archive has no module for it",
    why: "what asks for the code cannot be installed, and sshd would let nobody in",
    instead: "use `second_factor: security-key`, or another image",
    refs: &["R41"],
};
const PASSWORD_AND_FACTOR: Lint = Lint {
    code: "ssh/second-factor-and-password",
    severity: Severity::Error,
    finds: "`second_factor` with `password_login: true`",
    why: "it is asked for beside the key, so there is no login with a password that it could belong to",
    instead: "leave `password_login` out",
    refs: &["R39", "R41"],
};
const FORWARDING: Lint = Lint {
    code: "ssh/forwarding-before-a-code",
    severity: Severity::Error,
    finds: "`tcp_forwarding: true` with `second_factor: totp`",
    why: "who has no code yet is let in by the key to set one up, and sshd would lead such a one on to other ports at once",
    instead: "leave `tcp_forwarding` out, or use `second_factor: security-key`",
    refs: &["R41", "R45"],
};
const CA_OPTIONS: Lint = Lint {
    code: "ssh/ca-with-options",
    severity: Severity::Error,
    finds: "options before a key of `user_ca`",
    why: "sshd reads none there: who counts on `from=` or `principals=` has neither",
    instead: "leave them out, and have the authority write them into its certificates",
    refs: &["R36", "sshd_config(5)"],
};
const CA_AND_HARDWARE: Lint = Lint {
    code: "ssh/ca-with-security-keys",
    severity: Severity::Error,
    finds: "`user_ca` with `second_factor: security-key`",
    why: "a certificate of a security key is one that nobody has proved here yet, and of other keys it would be a way around",
    instead: "leave `user_ca` out, or ask for a code with `second_factor: totp`",
    refs: &["R41"],
};
const REVOKED_FILE: Lint = Lint {
    code: "ssh/revoked-file",
    severity: Severity::Error,
    finds: "a file of `revoked` that cannot be read, or a line of it that is no key",
    why: "where sshd cannot read what is revoked it takes no key at all, and nobody can log in",
    instead: "name a file with one line of a .pub file for each key; of a certificate, that of its key",
    refs: &["R36", "sshd_config(5)"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[
    PASSWORD_LOGIN,
    ROOT_LOGIN,
    ANYONE,
    LOW_PORT,
    OLD_ALGORITHM,
    UNKNOWN_ALGORITHM,
    NOT_PACKAGED,
    PASSWORD_AND_FACTOR,
    FORWARDING,
    CA_OPTIONS,
    CA_AND_HARDWARE,
    REVOKED_FILE,
];
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
        said: "Multi-factor authentication: something you have and something you know",
        became: "`second_factor: totp` asks for a code beside the key, and each person sets it up on the machine at the first login; \
                 `second_factor: security-key` takes only keys of hardware, which have asked for their PIN.",
        refs: &["R41"],
    },
    Instruction {
        said: "Use sftp and scp instead of ftp",
        became: "They are open by default, and `sftp: false` shuts them. What leads on to other ports, X11 and key agents are shut by \
                 default: `tcp_forwarding`, `x11_forwarding`, `agent_forwarding`.",
        refs: &["R45"],
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
/// What sshd knows of certificates.
const CERTIFICATES: &str = "/etc/hardtack/ssh";
/// What starts for whoever logs in where a code is asked for.
const ENROL: &str = "/usr/local/lib/hardtack/enrol";

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
    // What sshd reads at each login: authorities, what is revoked, and who is whom.
    fn certificates(&self, stage: Stage, plan: &mut Plan) -> Result<(), Trouble> {
        #[derive(Serialize)]
        struct Lines {
            lines: Vec<String>,
        }
        let authorities = self.user_ca.iter().map(|key| key.as_str().to_owned()).collect();
        let files = self.revoked.iter().filter_map(|file| plan.inputs.get(file.as_str()));
        // With options before one of them sshd takes no key at all.
        let revoked = files.flat_map(|bytes| keys_of(bytes).0).map(|key| key.bare().to_owned()).collect();
        let mut draw = |name: &str, template, lines| {
            plan.draw("ssh", stage, &format!("{CERTIFICATES}/{name}"), 0o644, template, &Lines { lines })
        };
        // Where sshd is told of a file that is not there it takes no key at all.
        draw("revoked", template!("ssh/revoked.conf"), revoked)?;
        if self.user_ca.is_empty() {
            return Ok(());
        }
        draw("user-ca", template!("ssh/user-ca.conf"), authorities)?;
        for (name, account) in plan.accounts.clone() {
            let path = format!("{CERTIFICATES}/principals/{name}");
            let lines = account.principals(&name);
            plan.draw("ssh", stage, &path, 0o644, template!("ssh/principals.conf"), &Lines { lines })?;
        }
        Ok(())
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

impl Hurdle for Ssh {
    fn inputs(&self) -> Vec<&Spanned<InputFile>> {
        self.revoked.iter().collect()
    }

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
        if self.factor().is_some() && *self.password_login {
            report.push(PASSWORD_AND_FACTOR.at(self.second_factor.span, "this is asked for beside a key only"));
        }
        if self.asks_a_code() && *self.tcp_forwarding {
            report.push(FORWARDING.at(self.tcp_forwarding.span, "the key alone would lead on to other ports"));
        }
        for key in self.user_ca.iter().filter(|key| key.has_options()) {
            report.push(CA_OPTIONS.at(key.span, "options are not read here"));
        }
        if self.factor() == Some(Factor::SecurityKey)
            && let Some(key) = self.user_ca.first()
        {
            report.push(CA_AND_HARDWARE.at(key.span, "only security keys let in, and no certificate"));
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
            enrol: &'static str,
            host_keys: Vec<&'static str>,
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
            second_factor: self.factor(),
            certificates: !self.user_ca.is_empty(),
            host_keys: self.host_keys(&facts.version("openssh")?),
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
            enrol: ENROL,
            host_keys: logins.host_keys.clone(),
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
        if !self.user_ca.is_empty() || !self.revoked.is_empty() {
            self.certificates(stage, plan)?;
        }
        if self.asks_a_code()
            && let Ok(package) = facts.package("totp")
        {
            plan.packages.insert(package.to_owned());
            plan.draw("ssh", stage, ENROL, 0o755, template!("ssh/enrol.sh"), &holes)?;
            plan.command("ssh", Stage::Apply, template!("ssh/totp.sh"), &holes)?;
        }
        if !*self.sftp {
            plan.command("ssh", Stage::Apply, template!("ssh/without-sftp.sh"), &holes)?;
        }
        if facts.version("systemd").is_ok_and(|version| version >= vec![256]) {
            plan.command("ssh", Stage::Apply, template!("ssh/unseen-doors.sh"), &holes)?;
        }
        if facts.has("selinux") && self.port.0 != 22 {
            plan.packages.insert(facts.package("semanage")?.to_owned());
            plan.command("ssh", Stage::Apply, template!("ssh/port-label.sh"), &holes)?;
        }
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

    fn settle(&self, facts: &Facts, plan: &mut Plan, report: &mut Report) {
        if self.asks_a_code() && facts.package("totp").is_err() {
            let words = format!("nothing that asks for a code is packaged for {}", facts.name);
            report.push(NOT_PACKAGED.at(self.second_factor.span, words));
        }
        for file in &self.revoked {
            let faults = plan.inputs.get(file.as_str()).map(|bytes| keys_of(bytes).1).unwrap_or_default();
            for fault in faults {
                report.push(REVOKED_FILE.at(file.span, format!("`{}`: {fault}", shown(file.as_str()))));
            }
        }
        let Ok(version) = facts.version("openssh") else { return };
        for (algorithm, span) in self.named().filter(|(algorithm, _)| !algorithm.is_known_to(&version)) {
            let version: Vec<String> = version.iter().map(ToString::to_string).collect();
            let words = format!("OpenSSH {} of the image does not know `{}`", version.join("."), algorithm.as_str());
            report.push(UNKNOWN_ALGORITHM.at(span, words));
        }
    }

    fn proofs(&self, facts: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
        proofs::proofs(self, facts, plan)
    }
}
