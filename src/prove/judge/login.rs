//! Proofs seen by logging in: the real OpenSSH client, through the machine's own network, each try from another address.

use crate::plan::net::Cidr;
use crate::plan::proof::{Credential, Login};
use crate::prove::process::Program;
use crate::prove::qemu::{Budget, Meter};
use crate::prove::verdict::Judgement;
use crate::prove::wire::Lan;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What one login may cost the machine. One takes about four CPU seconds under emulation.
const COST: Budget = Budget::cpu_seconds(90).idle(Duration::from_secs(60));

/// What the prober logs in with: made for this run, and thrown away with it.
#[derive(Debug)]
pub struct Keyring {
    folder: PathBuf,
    /// The public half of the key that is put beside a person's own.
    pub public: String,
    password: String,
    nonce: String,
}

impl Keyring {
    /// Makes two keys and a password in a folder that only we can read. `nonce` is this run's own secret.
    ///
    /// # Errors
    /// ssh-keygen is missing or fails.
    pub fn new(folder: &Path, nonce: &str) -> Result<Self> {
        for name in ["prober", "stranger"] {
            Program::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "hardtack-prober", "-f"])
                .arg(folder.join(name))
                .output()?;
        }
        let public = std::fs::read_to_string(folder.join("prober.pub"))
            .context("could not read the prober's key")?
            .trim()
            .to_owned();
        let keyring = Keyring {
            folder: folder.to_owned(),
            public,
            password: format!("Pw-{nonce}"),
            nonce: format!("HARDTACK-{nonce}"),
        };
        // The client asks a program for the password, since there is no terminal.
        keyring.write("askpass", &format!("#!/bin/sh\necho '{}'\n", keyring.password), 0o700)?;
        Ok(keyring)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("could not set the mode of {}", path.display()))
    }
}

/// Where sshd looks when the machine's dead-man's switch has fired.
const RESCUE: &str = "/etc/hardtack/rescue/keys";

/// A script that gives the accounts what these logins offer, and says the machine's host keys. `create` makes accounts
/// that are not there: on the bare image, so that a refusal is judged by sshd's settings and not by a missing name.
#[must_use]
pub fn arrange(logins: &[&Login], keyring: &Keyring, create: bool) -> String {
    let users =
        |with: Credential| logins.iter().filter(|l| l.with == with).map(|l| l.user.as_str()).collect::<BTreeSet<_>>();
    let all: BTreeSet<_> = logins.iter().map(|l| l.user.as_str()).collect();
    // Names are UserNames, the key and the password are ours: none has a character that the shell reads.
    let mut script = String::from("d=/run/hardtack-prove; mkdir -p -m 700 $d\n");
    if create {
        for user in &all {
            script.push_str(&format!("getent passwd {user} >/dev/null || useradd -m -s /bin/bash {user}\n"));
        }
    }
    for user in users(Credential::ItsKey) {
        script.push_str(&format!(
            "if u={user}; h=$(getent passwd $u); then h=$(echo \"$h\" | cut -d: -f6); g=$(id -gn $u)\n\
             [ -d \"$h/.ssh\" ] || install -d -m 700 -o $u -g $g \"$h/.ssh\"\n\
             k=\"$h/.ssh/authorized_keys\"; [ ! -e \"$k\" ] || [ -e $d/$u.keys ] || cp -p \"$k\" $d/$u.keys\n\
             printf '\\n%s\\n' '{}' >>\"$k\"; chown $u:$g \"$k\"; chmod 600 \"$k\"\n\
             [ ! -e /var/lib/hardtack/rescued ] || {{ printf '%s\\n' '{}' >>{RESCUE}/$u; chmod 644 {RESCUE}/$u; }}; fi\n",
            keyring.public, keyring.public
        ));
    }
    for user in users(Credential::ItsPassword) {
        script.push_str(&format!(
            "if getent shadow {user} >/dev/null; then [ -e $d/{user}.hash ] || getent shadow {user} | cut -d: -f2 >$d/{user}.hash\n\
             printf '%s:%s\\n' {user} '{}' | chpasswd; fi\n",
            keyring.password
        ));
    }
    script.push_str("cat /etc/ssh/ssh_host_*_key.pub\n");
    script
}

/// A script that takes away again what [`arrange`] gave.
#[must_use]
pub fn restore(logins: &[&Login]) -> String {
    let mut script = String::from("d=/run/hardtack-prove\n");
    for user in logins.iter().map(|l| l.user.as_str()).collect::<BTreeSet<_>>() {
        script.push_str(&format!(
            "if u={user}; h=$(getent passwd $u); then h=$(echo \"$h\" | cut -d: -f6); k=\"$h/.ssh/authorized_keys\"\n\
             if [ -e $d/$u.keys ]; then cp -p $d/$u.keys \"$k\"; elif [ -e \"$k\" ]; then sed -i -e '/hardtack-prober$/d' -e '/^$/d' \"$k\"; fi\n\
             [ ! -e {RESCUE}/$u ] || sed -i '/hardtack-prober$/d' {RESCUE}/$u\n\
             if [ -e $d/$u.hash ]; then usermod -p \"$(cat $d/$u.hash)\" $u; fi; rm -f $d/$u.keys $d/$u.hash; fi\n"
        ));
    }
    script
}

/// Tries one login. `number` tells one try from another, and so its address; `hosts` is what [`arrange`] printed.
///
/// # Errors
/// The client could not be run. What the machine does is a judgement, not an error.
pub fn attempt(
    login: &Login,
    number: u8,
    keyring: &Keyring,
    hosts: &[u8],
    lan: &Lan,
    machine: IpAddr,
    meter: Meter,
) -> Result<Judgement> {
    let began = Instant::now();
    let source = login.from.unwrap_or(Cidr::EVERYWHERE4).sample(number);
    let bridge =
        lan.bridge(source, SocketAddr::new(machine, login.port)).context("could not open a way to the machine")?;
    // The host keys are those that root inside told us, so no other machine can answer.
    let known: String = String::from_utf8_lossy(hosts)
        .lines()
        .filter(|l| l.starts_with("ssh-") || l.starts_with("ecdsa-"))
        .map(|l| format!("machine {l}\n"))
        .collect();
    keyring.write("known_hosts", &known, 0o600)?;
    let option = |text: &str| ["-o".to_owned(), text.to_owned()];
    let mut ssh = Program::new("ssh")
        .args(["-F", "none", "-T", "-p"])
        .arg(bridge.local.port().to_string())
        .args(option("HostKeyAlias=machine"))
        .args(option(&format!("UserKnownHostsFile={}", keyring.folder.join("known_hosts").display())))
        .args(option("GlobalKnownHostsFile=none"))
        .args(option("StrictHostKeyChecking=yes"))
        .args(option("IdentitiesOnly=yes"))
        .args(option("IdentityAgent=none"))
        .args(option("NumberOfPasswordPrompts=1"))
        .args(option("LogLevel=INFO"));
    ssh = match login.with {
        Credential::ItsKey => {
            ssh.args(option("PreferredAuthentications=publickey")).arg("-i").arg(keyring.folder.join("prober"))
        }
        Credential::StrangersKey => {
            ssh.args(option("PreferredAuthentications=publickey")).arg("-i").arg(keyring.folder.join("stranger"))
        }
        Credential::ItsPassword => ssh
            .args(option("PreferredAuthentications=password,keyboard-interactive"))
            .args(option("PubkeyAuthentication=no"))
            .environment("SSH_ASKPASS", keyring.folder.join("askpass"))
            .environment("SSH_ASKPASS_REQUIRE", "force"),
    };
    let log = keyring.folder.join(format!("ssh-{number}.log"));
    let mut running =
        ssh.arg(format!("{}@{}", login.user, bridge.local.ip())).arg(format!("echo {}", keyring.nonce)).start(&log)?;
    let mut deadline = COST.start(meter);
    let status = loop {
        if let Some(status) = running.wait(Duration::from_millis(200))? {
            break status;
        }
        if let Err(overrun) = deadline.check() {
            return Ok(Judgement::unknown(format!("no end of the login from {source}: {overrun}")));
        }
    };
    let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    let judgement = judge(login, status.success() && text.lines().any(|l| l == keyring.nonce), &text, source);
    Ok(Judgement { took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), ..judgement })
}

// In is a word that only a shell on the machine could say; refused is what sshd itself says. All else proves nothing.
fn judge(login: &Login, inside: bool, text: &str, source: IpAddr) -> Judgement {
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("nothing").trim();
    let last = last.rsplit_once(": ").map_or(last, |(_, what)| what);
    if inside {
        return Judgement::seen(login.succeeds, format!("{} came in from {source}", login.user));
    }
    // The second is pam_unix's, which sshd passes on before it closes the connection.
    if text.contains("Permission denied (") || text.contains("Your account has expired") {
        return Judgement::seen(!login.succeeds, format!("from {source}: {}", crate::report::shown(last)));
    }
    Judgement::unknown(format!("from {source}: {}", crate::report::shown(last)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::verdict::Verdict::{Fails, Holds, Unknown};

    #[test]
    fn only_sshds_own_no_is_a_refusal() {
        let login = |succeeds| Login {
            user: "alice".into(),
            port: 22,
            with: Credential::ItsKey,
            from: None,
            interface: None,
            succeeds,
        };
        let from = IpAddr::from([203, 0, 113, 9]);
        let denied = "alice@127.0.0.1: Permission denied (publickey).\n";
        assert_eq!(judge(&login(true), true, "", from).verdict, Holds);
        assert_eq!(judge(&login(false), true, "", from).verdict, Fails);
        assert_eq!(judge(&login(false), false, denied, from).verdict, Holds);
        assert_eq!(judge(&login(true), false, denied, from).verdict, Fails);
        let expired =
            "Your account has expired; please contact your system administrator.\nConnection closed by 127.0.0.1\n";
        assert_eq!(judge(&login(true), false, expired, from).verdict, Fails);
        for broken in [
            "",
            "Connection reset by peer\n",
            "Connection timed out\n",
            "Host key verification failed.\n",
            "Not allowed at this time\n",
        ] {
            assert_eq!(judge(&login(false), false, broken, from).verdict, Unknown, "{broken}");
            assert_eq!(judge(&login(true), false, broken, from).verdict, Unknown, "{broken}");
        }
    }
}
