//! Proofs seen by logging in: the real OpenSSH client, through the machine's own network, each try from another address.

use super::agent::Agent;
use super::keyring::Keyring;
use crate::plan::net::Cidr;
use crate::plan::proof::{Credential, Door, Login};
use crate::prove::process::Program;
use crate::prove::qemu::{Budget, Meter};
use crate::prove::verdict::Judgement;
use crate::prove::wire::Lan;
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// What one login may cost the machine. One takes about four CPU seconds under emulation.
const COST: Budget = Budget::cpu_seconds(90).idle(Duration::from_secs(60));

/// Tries one login. `number` tells one try from another, and so its address; `hosts` is what [`Keyring::arrange`] printed.
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
    // Whatever it is asked, a program answers, since there is no terminal.
    keyring.write("askpass", &format!("#!/bin/sh\necho '{}'\n", keyring.answer(login)?), 0o700)?;
    let agent = match login.with {
        Credential::ItsSecurityKey { verified } => Some(Agent::start(&keyring.security, verified, &keyring.folder)?),
        _ => None,
    };
    let mut ssh = Program::new("ssh")
        .args(["-F", "none", "-T", "-p"])
        .arg(bridge.local.port().to_string())
        .args(option("HostKeyAlias=machine"))
        .args(option(&format!("UserKnownHostsFile={}", keyring.folder.join("known_hosts").display())))
        .args(option("GlobalKnownHostsFile=none"))
        .args(option("StrictHostKeyChecking=yes"))
        .args(option("IdentitiesOnly=yes"))
        .args(option(&format!(
            "IdentityAgent={}",
            agent.as_ref().map_or("none".into(), |a| a.socket.to_string_lossy())
        )))
        .args(option("NumberOfPasswordPrompts=1"))
        .args(option("LogLevel=INFO"))
        .environment("SSH_ASKPASS", keyring.folder.join("askpass"))
        .environment("SSH_ASKPASS_REQUIRE", "force");
    ssh = match keyring.identity(login, number)? {
        // With a password, the second half of a key that is good would let in as well.
        None => ssh
            .args(option("PreferredAuthentications=password,keyboard-interactive"))
            .args(option("PubkeyAuthentication=no")),
        Some(key) => {
            let more = if login.code.is_some() { ",keyboard-interactive" } else { "" };
            ssh.args(option(&format!("PreferredAuthentications=publickey{more}"))).arg("-i").arg(key)
        }
    };
    let target = format!("{}@{}", login.user, bridge.local.ip());
    ssh = match login.door {
        Door::Shell => ssh.arg(target).arg(format!("echo {}", keyring.nonce)),
        Door::Sftp => ssh.arg("-s").arg(target).arg("sftp"),
        // Back to sshd itself, which says its name to whoever comes.
        Door::Tcp => ssh.arg("-W").arg(format!("127.0.0.1:{}", login.port)).arg(target),
    };
    let log = keyring.folder.join(format!("ssh-{number}.log"));
    let mut running = ssh.start(&log)?;
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
    let inside = match login.door {
        Door::Shell => status.success() && text.lines().any(|l| l == keyring.nonce),
        Door::Sftp => status.success(),
        Door::Tcp => text.lines().any(|l| l.starts_with("SSH-2.0-")),
    };
    let judgement = judge(login, inside, &text, source);
    Ok(Judgement { took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), ..judgement })
}

// What sshd itself says to whoever may not come in; of the rest, what pam_unix says by way of it, what the script says that sshd starts
// for whoever has no second factor yet, and what sshd says of a door.
const NO: [&str; 5] = [
    "Permission denied (",
    "Your account has expired",
    "hardtack: no second factor is set up for you yet",
    "subsystem request failed on channel",
    "administratively prohibited",
];

// In is a word that only a shell on the machine could say; refused is what sshd itself says. All else proves nothing.
fn judge(login: &Login, inside: bool, text: &str, source: IpAddr) -> Judgement {
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("nothing").trim();
    let last = last.rsplit_once(": ").map_or(last, |(_, what)| what);
    if inside {
        let what = match login.door {
            Door::Shell => "came in",
            Door::Sftp => "opened sftp",
            Door::Tcp => "was led on to another port",
        };
        return Judgement::seen(login.succeeds, format!("{} {what} from {source}", login.user));
    }
    // Behind a door that is shut is whoever came in as far as that; of one who did not, nothing is known of the door.
    let at_the_door = NO[3..].iter().any(|no| text.contains(no));
    if (login.door == Door::Shell || login.succeeds || at_the_door) && NO.iter().any(|no| text.contains(no)) {
        return Judgement::seen(!login.succeeds, format!("from {source}: {}", crate::report::shown(last)));
    }
    Judgement::unknown(format!("from {source}: {}", crate::report::shown(last)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::verdict::Verdict::{Fails, Holds, Unknown};

    fn login(succeeds: bool) -> Login {
        Login {
            user: "alice".into(),
            port: 22,
            with: Credential::ItsKey,
            code: None,
            door: Door::Shell,
            from: None,
            interface: None,
            succeeds,
        }
    }

    const DENIED: &str = "alice@127.0.0.1: Permission denied (publickey).\n";

    #[test]
    fn only_sshds_own_no_is_a_refusal() {
        let from = IpAddr::from([203, 0, 113, 9]);
        assert_eq!(judge(&login(true), true, "", from).verdict, Holds);
        assert_eq!(judge(&login(false), true, "", from).verdict, Fails);
        assert_eq!(judge(&login(false), false, DENIED, from).verdict, Holds);
        assert_eq!(judge(&login(true), false, DENIED, from).verdict, Fails);
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

    #[test]
    fn a_door_is_shut_only_for_whoever_came_as_far_as_that() {
        let from = IpAddr::from([203, 0, 113, 9]);
        let shut = "channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed\n";
        let door = |succeeds| Login { door: Door::Tcp, ..login(succeeds) };
        assert_eq!(judge(&door(false), false, shut, from).verdict, Holds);
        assert_eq!(judge(&door(false), false, DENIED, from).verdict, Unknown);
        assert_eq!(judge(&door(true), false, DENIED, from).verdict, Fails);
        assert_eq!(judge(&door(true), false, shut, from).verdict, Fails);
        assert_eq!(judge(&door(false), true, "SSH-2.0-OpenSSH\n", from).verdict, Fails);
    }
}
