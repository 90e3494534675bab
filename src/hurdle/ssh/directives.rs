//! What the drop-in says, line by line, and what proves each line.

use super::algorithms::{CIPHERS, Family, KEX, MACS};
use super::{Algorithms, CERTIFICATES, ENROL, SecondFactor, Ssh};
use crate::facts::{Facts, Unknown};
use crate::plan::Factor;
use serde::Serialize;

/// One directive and what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Directive {
    pub(super) keyword: &'static str,
    /// The words after it.
    words: Vec<String>,
    /// What comes right after them, and is ours: it may hold a token of sshd_config(5).
    tail: &'static str,
    #[serde(skip)]
    pub(super) refs: &'static [&'static str],
    #[serde(skip)]
    pub(super) statement: &'static str,
}

impl Directive {
    /// What `sshd -T` says for it, a line each: of a list of people, one line for each of them.
    pub(super) fn effective(&self) -> Vec<String> {
        if matches!(self.keyword, "AllowUsers" | "AllowGroups") {
            self.words.clone()
        } else {
            vec![self.words.join(" ") + self.tail]
        }
    }
}

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

impl Ssh {
    // The order is that of the file; each is proved by `sshd -T`.
    pub(super) fn directives(&self, facts: &Facts) -> Result<Vec<Directive>, Unknown> {
        let version = facts.version("openssh")?;
        let since = |major: u32, minor: u32| version >= vec![major, minor];
        let mut all = Vec::new();
        let mut say = |keyword, words: &[&str], refs, statement| {
            let words = words.iter().map(|w| (*w).to_owned()).collect();
            all.push(Directive { keyword, words, tail: "", refs, statement });
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
        if self.asks_a_code() {
            say("UsePAM", &["yes"], &["R41", "sshd_config(5)"], "PAM asks for the code");
            say("KbdInteractiveAuthentication", &["yes"], &["R41", "sshd_config(5)"], "sshd lets PAM ask for the code");
        } else {
            // PAM would ask for the same password under this name (R39).
            say(
                "KbdInteractiveAuthentication",
                &["no"],
                &["R39", "dev-sec sshd-29", "sshd_config(5)"],
                "sshd does not ask for passwords by way of PAM",
            );
        }
        say(
            "PermitEmptyPasswords",
            &["no"],
            &["R39", "CIS 5.1.19", "dev-sec sshd-28"],
            "sshd never takes an empty password",
        );
        say("PubkeyAuthentication", &["yes"], &["R34", "dev-sec sshd-22"], "sshd takes keys");
        if self.asks_a_code() {
            let both = "publickey,keyboard-interactive";
            say("AuthenticationMethods", &[both], &["R41", "sshd_config(5)"], "a key is asked for, and then a code");
            let enrols = "who has no second factor yet gets nothing but a way to set one up";
            say("ForceCommand", &[ENROL], &["R41", "sshd_config(5)"], enrols);
        } else if !*self.password_login {
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
        let [kex, ciphers, macs] = self.lists(&version).map(|list| list.join(","));
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
            &[&self.host_key_algorithms(&version).join(",")],
            &["R48", "ssh-audit"],
            "the machine shows itself by the algorithms of the spec only",
        );
        let hardware = self.factor() == Some(Factor::SecurityKey);
        let keys: Vec<&str> = PERSON_KEYS.into_iter().filter(|key| !hardware || key.starts_with("sk-")).collect();
        let certified = keys.iter().map(|key| match key.split_once('@') {
            Some((kind, domain)) => format!("{kind}-cert-v01@{domain}"),
            None => format!("{key}-cert-v01@openssh.com"),
        });
        if hardware {
            let asked = "a security key lets in only when it has asked for its PIN";
            say("PubkeyAuthOptions", &["verify-required"], &["R34", "R41", "sshd_config(5)"], asked);
        }
        let ca = !self.user_ca.is_empty();
        let taken: Vec<String> = keys.iter().map(|key| (*key).to_owned()).chain(certified.filter(|_| ca)).collect();
        say(
            "PubkeyAcceptedAlgorithms",
            &[&taken.join(",")],
            &["R35", "R48"],
            "keys are taken by the algorithms of the spec only",
        );
        if ca {
            let (file, refs) = (format!("{CERTIFICATES}/user-ca"), &["R41", "sshd_config(5)"]);
            say("TrustedUserCAKeys", &[&file], refs, "certificates of the spec's authorities let in, and of no other");
            // What signs is a key like those that let in; not what is signed with SHA-1 (OpenSSH 8.2).
            let signs = PERSON_KEYS.join(",");
            say("CASignatureAlgorithms", &[&signs], refs, "authorities sign by the algorithms of the spec only");
        }
        if ca || !self.revoked.is_empty() {
            let (file, refs) = (format!("{CERTIFICATES}/revoked"), &["R36", "sshd_config(5)"]);
            say("RevokedKeys", &[&file], refs, "what is revoked lets nobody in");
        }
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
        let x11 = yes_no(*self.x11_forwarding);
        say(
            "X11Forwarding",
            &[x11],
            &["R29", "R45", "dev-sec sshd-42"],
            "X11 is forwarded only where the spec says so",
        );
        let agent = yes_no(*self.agent_forwarding);
        let agents = "key agents are forwarded only where the spec says so";
        say("AllowAgentForwarding", &[agent], &["R29", "R45", "dev-sec sshd-40"], agents);
        let ports = yes_no(*self.tcp_forwarding);
        let led = "sshd leads on to other ports only where the spec says so";
        say("AllowTcpForwarding", &[ports], &["R29", "R45", "dev-sec sshd-36"], led);
        let sockets = "sshd leads on to sockets of the machine only where the spec says so";
        say("AllowStreamLocalForwarding", &[ports], &["R29", "R45", "sshd_config(5)"], sockets);
        say("PermitTunnel", &["no"], &["R29", "dev-sec sshd-38"], "sshd makes no tunnels");
        say("MaxAuthTries", &["4"], &["CIS 5.1.16"], "a connection has four tries");
        say("LoginGraceTime", &["30"], &["CIS 5.1.13", "dev-sec sshd-18"], "a login takes half a minute at most");
        say("LogLevel", &["VERBOSE"], &["CIS 5.1.14", "dev-sec sshd-13"], "the log says which key let somebody in");
        if ca {
            all.push(Directive {
                keyword: "AuthorizedPrincipalsFile",
                words: vec![format!("{CERTIFICATES}/principals")],
                tail: "/%u",
                refs: &["R32", "R41", "sshd_config(5)"],
                statement: "a certificate lets into the accounts that the spec names for it, and into no other",
            });
        }
        Ok(all)
    }

    /// Key exchanges, ciphers and MACs, for a version of OpenSSH.
    pub(super) fn lists(&self, version: &[u32]) -> [Vec<&'static str>; 3] {
        let list = |own: Vec<&'static str>, family: Family| {
            if own.is_empty() { family.of(*self.algorithms == Algorithms::Compatible, version) } else { own }
        };
        [
            list(self.kex.iter().map(|k| k.0.as_str()).collect(), KEX),
            list(self.ciphers.iter().map(|c| c.0.as_str()).collect(), CIPHERS),
            list(self.macs.iter().map(|m| m.0.as_str()).collect(), MACS),
        ]
    }

    /// The kinds of key by which the machine shows itself, as ssh-keygen(1) calls them. Whoever knows a key exchange of `modern` (OpenSSH
    /// 8.5) has known Ed25519 for years (6.5); to make a key of RSA cost up to 13 CPU seconds of a first boot under emulation.
    pub(super) fn host_keys(&self, version: &[u32]) -> Vec<&'static str> {
        let [kex, ..] = self.lists(version);
        let modern = KEX.of(false, version);
        if kex.iter().all(|k| modern.contains(k)) { vec!["ed25519"] } else { vec!["ed25519", "rsa"] }
    }

    /// The algorithms of those keys, best first.
    pub(super) fn host_key_algorithms(&self, version: &[u32]) -> Vec<&'static str> {
        let of = |kind| if kind == "rsa" { vec!["rsa-sha2-512", "rsa-sha2-256"] } else { vec!["ssh-ed25519"] };
        self.host_keys(version).into_iter().flat_map(of).collect()
    }

    /// What is asked for beside the key.
    pub(super) fn factor(&self) -> Option<Factor> {
        match *self.second_factor {
            SecondFactor::None => None,
            SecondFactor::Totp => Some(Factor::Code),
            SecondFactor::SecurityKey => Some(Factor::SecurityKey),
        }
    }

    /// Whether a code is asked for beside the key.
    pub(super) fn asks_a_code(&self) -> bool {
        self.factor() == Some(Factor::Code)
    }
}
