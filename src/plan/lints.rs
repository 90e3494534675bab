//! What belongs to no single hurdle: doors that two of them shut, names that lead nowhere, machines nobody can enter.

use super::name::UserName;
use super::proof::Sudo;
use super::{Account, Logins, Plan};
use crate::report::{Lint, Report, Severity};

/// sshd listens where the firewall lets nobody in.
pub const SSH_SHUT: Lint = Lint {
    code: "plan/ssh-shut",
    severity: Severity::Error,
    finds: "`ssh` listens on a port that the `firewall` keeps shut",
    why: "the machine boots, and nobody can ever log in to it",
    instead: "add `- service: ssh` to `firewall.allow`",
    refs: &["R11", "R37"],
};
/// Nobody can log in.
pub const NOBODY: Lint = Lint {
    code: "plan/nobody-can-log-in",
    severity: Severity::Error,
    finds: "no account has a way in: a key or an accepted password, and leave by `allow_users` and `allow_groups`",
    why: "the machine boots, and nobody can ever log in to it",
    instead: "give someone of `accounts.people` a key, and name them in `ssh.allow_users`",
    refs: &["R32", "R37"],
};
/// An allowed name that has no account.
pub const STRANGER: Lint = Lint {
    code: "plan/allowed-stranger",
    severity: Severity::Error,
    finds: "`ssh.allow_users` names someone who has no account",
    why: "a name without an account lets nobody in, and whoever later gets that name comes in unseen",
    instead: "add them to `accounts.people`, or take the name out",
    refs: &["R32", "sshd_config(5)"],
};
/// An allowed group that nobody is in.
pub const EMPTY_GROUP: Lint = Lint {
    code: "plan/allowed-group-empty",
    severity: Severity::Warning,
    finds: "`ssh.allow_groups` names a group that nobody of `accounts.people` is in",
    why: "it lets nobody in, and whoever later joins that group comes in unseen",
    instead: "put someone into the group with `groups:`, or take it out",
    refs: &["R32", "sshd_config(5)"],
};
/// An account with keys that sshd turns away.
pub const SHUT_OUT: Lint = Lint {
    code: "plan/person-shut-out",
    severity: Severity::Warning,
    finds: "someone has a key, but neither `ssh.allow_users` nor `ssh.allow_groups` lets them in",
    why: "both lists must let a person in; a key alone does not",
    instead: "add the name to `ssh.allow_users`, or take the keys away",
    refs: &["R32", "sshd_config(5)"],
};
/// Nobody can become root.
pub const NO_ROOT: Lint = Lint {
    code: "plan/no-way-to-root",
    severity: Severity::Warning,
    finds: "no person who can log in may use sudo, and root cannot log in",
    why: "nobody can ever administer the machine, or repair it",
    instead: "give someone `sudo: with-password` and a `password_hash`",
    refs: &["R31", "R40"],
};

/// All of them, for `list` and `explain`.
pub const ALL: &[Lint] = &[SSH_SHUT, NOBODY, STRANGER, EMPTY_GROUP, SHUT_OUT, NO_ROOT];

/// Judges a whole plan.
pub fn lint(plan: &Plan, report: &mut Report) {
    let Some(logins) = &plan.logins else { return };
    if let Some(filter) = &plan.filter {
        let open = filter
            .opens
            .iter()
            .any(|o| o.protocol == super::net::Protocol::Tcp && o.ports.iter().any(|p| p.contains(logins.port)));
        if !open {
            report.push(
                SSH_SHUT.at(logins.span, format!("`ssh` listens on {}, which the `firewall` keeps shut", logins.port)),
            );
        }
    }
    for (user, span) in &logins.users {
        let is_root = user.as_str() == "root" && logins.root;
        if !plan.accounts.contains_key(user) && !is_root {
            report.push(STRANGER.at(*span, format!("`{user}` may log in, but has no account")));
        }
    }
    for (group, span) in &logins.groups {
        let is_root = group.as_str() == "root" && logins.root;
        if !is_root
            && !plan.accounts.iter().any(|(name, a)| a.groups.contains(group) || name.as_str() == group.as_str())
        {
            report.push(EMPTY_GROUP.at(*span, format!("members of `{group}` may log in, but nobody is in it")));
        }
    }
    if plan.accounts.is_empty() && !logins.root {
        // Without accounts the image's own people decide, and lints of no hurdle know them.
        return;
    }
    let enters: Vec<_> = plan.accounts.iter().filter(|(name, account)| way_in(logins, name, account)).collect();
    for (name, account) in &plan.accounts {
        if !account.keys.is_empty() && !way_in(logins, name, account) {
            report.push(SHUT_OUT.at(account.span, format!("`{name}` has a key, but may not log in")));
        }
    }
    if enters.is_empty() && !logins.root {
        report.push(
            NOBODY.at(plan.accounts.values().find_map(|a| a.span).or(logins.span), "nobody can log in to this machine"),
        );
    } else if !logins.root && enters.iter().all(|(_, a)| a.sudo == Sudo::Nothing) {
        report.push(NO_ROOT.at(enters.first().and_then(|(_, a)| a.span), "nobody who can log in may become root"));
    }
}

/// Whether an account can log in by ssh: both lists let it through, and it has something that sshd takes.
#[must_use]
pub fn way_in(logins: &Logins, name: &UserName, account: &Account) -> bool {
    let by_name = logins.users.is_empty() || logins.users.iter().any(|(u, _)| u == name);
    let by_group = logins.groups.is_empty()
        || logins.groups.iter().any(|(g, _)| account.groups.contains(g) || g.as_str() == name.as_str());
    by_name && by_group && (!account.keys.is_empty() || (logins.passwords && account.password.is_some()))
}
