//! Accounts, broken on purpose.

use super::{Change, Sabotage};
use crate::plan::Plan;
use crate::plan::proof::{Check, Sudo};

/// A key that stands nowhere else; nobody has its other half (the public point of RFC 8032, section 7.1, test 1).
const STRANGER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea sabotage";

// Names are one plain word each (UserName), so they need no quoting.
pub(super) fn accounts(plan: &Plan, all: &mut Vec<Sabotage>) {
    let mut add = |what: String, sentence: String, word: &str, spoil: String, mend: String| {
        let (hurdle, word) = ("accounts".to_owned(), word.to_owned());
        all.push(Sabotage {
            id: format!("accounts/{what}"),
            hurdle,
            what: sentence,
            change: Change::Scripts { spoil, mend },
            word,
            eyes: Vec::new(),
        });
    };
    // What is changed is kept beside, with its owner and mode.
    let kept = |file: &str, change: &str| {
        (format!("cp -a {file} {file}.sabotage && {change}"), format!("mv -f {file}.sabotage {file}"))
    };
    for (name, account) in &plan.accounts {
        let home = format!("$(getent passwd {name} | cut -d: -f6)");
        let keys = format!("{home}/.ssh/authorized_keys");
        let (spoil, mend) = kept(&keys, &format!("echo '{STRANGER}' >>{keys}"));
        add(
            format!("another key for {name}"),
            format!("a stranger's key stands among {name}'s"),
            name.as_str(),
            spoil,
            mend,
        );
        let (spoil, mend) = kept("/etc/shadow", &format!("passwd -d {name}"));
        add(format!("no password for {name}"), format!("{name} needs no password"), name.as_str(), spoil, mend);
        let (spoil, mend) = kept("/etc/shadow", &format!("chage -E 1 {name}"));
        if plan.logins.is_some() && !account.keys.is_empty() {
            add(
                format!("{name} has expired"),
                format!("{name}'s account has expired"),
                &format!("{name}-logs-in"),
                spoil,
                mend,
            );
        }
        add(
            format!("{name} in the group shadow"),
            format!("{name} is in a group that may read all hashes"),
            name.as_str(),
            format!("usermod -aG shadow {name}"),
            format!("gpasswd -d {name} shadow"),
        );
        let (rule, sentence) = match account.sudo {
            Sudo::WithoutPassword => ("(ALL) !ALL", "sudo does nothing for"),
            _ => ("(ALL:ALL) NOPASSWD: ALL", "sudo does all without a password for"),
        };
        let file = "/etc/sudoers.d/zz-sabotage";
        add(
            format!("sudo for {name}"),
            format!("{sentence} {name}"),
            &format!("{name}-sudo"),
            format!("echo '{name} ALL={rule}' >{file} && chmod 440 {file}"),
            format!("rm -f {file}"),
        );
    }
    if !plan.accounts.is_empty() {
        // To useradd 0 is nobody's number, and whoever has none gets further ones.
        let twin = (
            "useradd -o -u 0 -M -N -g 0 toor",
            "for f in passwd shadow subuid subgid; do [ ! -e /etc/$f ] || sed -i '/^toor:/d' /etc/$f; done",
        );
        add(
            "root's twin".into(),
            "an account toor is root as well".into(),
            "nobody-else",
            twin.0.into(),
            twin.1.into(),
        );
        let spoil = format!(
            "useradd -m stranger && mkdir -p ~stranger/.ssh && echo '{STRANGER}' >~stranger/.ssh/authorized_keys && usermod -p '' stranger"
        );
        add(
            "a stranger".into(),
            "there is one account more, with a key".into(),
            "nobody-else",
            spoil,
            "userdel -r stranger".into(),
        );
    }
    let root = plan.proofs.iter().any(|p| matches!(&p.check, Check::Account(state) if state.user == "root"));
    if root {
        let (spoil, mend) = kept("/etc/shadow", "passwd -d root");
        add("root's password".into(), "root needs no password".into(), "root-locked", spoil, mend);
    }
}
