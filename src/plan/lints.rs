//! What belongs to no single hurdle: doors that two of them shut, names that lead nowhere, machines nobody can enter.

use super::Plan;
use super::proof::Sudo;
use super::way_in::{Door, doors, obstacle, through};
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
    finds: "no account has a way in: a key that gives a shell or an accepted password, leave by `allow_users` and `allow_groups`, and a \
            network that the `firewall` lets in",
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
    finds: "someone has a key and cannot log in: a list of `ssh` or the `firewall` keeps them out, or the key gives no shell",
    why: "a key alone does not let in: both lists must, the firewall must, and the key's own options must",
    instead: "add the name to `ssh.allow_users`, mend the key's options, or take the keys away",
    refs: &["R32", "sshd_config(5)"],
};
/// Only root may log in, and the spec brings root no key.
pub const ONLY_ROOT: Lint = Lint {
    code: "plan/only-root",
    severity: Severity::Warning,
    finds: "`root_login: true`, and no account has a way in",
    why: "the spec brings root no key: where no cloud does by its metadata, nobody can ever log in",
    instead: "give someone of `accounts.people` a key, and sudo",
    refs: &["R30", "R37"],
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
pub const ALL: &[Lint] = &[SSH_SHUT, NOBODY, STRANGER, EMPTY_GROUP, SHUT_OUT, ONLY_ROOT, NO_ROOT];

/// Judges a whole plan.
pub fn lint(plan: &Plan, report: &mut Report) {
    let Some(logins) = &plan.logins else { return };
    let mut doors = doors(plan, logins.port);
    if doors.is_empty() {
        let words = format!("`ssh` listens on {}, which the `firewall` keeps shut", logins.port);
        report.push(SSH_SHUT.at(logins.span, words));
        // What else is wrong would stay wrong when that is mended.
        doors.push(Door::WIDE);
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
    if plan.accounts.is_empty() {
        // Without accounts the image's own people decide, and lints of no hurdle know them.
        return;
    }
    let shut_out = plan.accounts.iter().filter_map(|(name, a)| Some((name, a, obstacle(&doors, logins, name, a)?)));
    let shut_out: Vec<_> = shut_out.collect();
    let ways = through(&doors, plan, logins);
    if ways.is_empty() && logins.root {
        report.push(ONLY_ROOT.at(logins.span, "only root may log in, with a key that the spec does not bring"));
    } else if ways.is_empty() {
        let why: Vec<String> = shut_out.iter().map(|(name, _, why)| format!("`{name}` {}", why.words)).collect();
        let place = plan.accounts.values().find_map(|a| a.span).or(logins.span);
        report.push(NOBODY.at(place, format!("nobody can log in to this machine: {}", why.join("; "))));
        return;
    } else if !logins.root && ways.iter().all(|way| way.sudo == Sudo::Nothing) {
        let place = plan.accounts.iter().find(|(name, _)| name.as_str() == ways[0].user).and_then(|(_, a)| a.span);
        report.push(NO_ROOT.at(place, "nobody who can log in may become root"));
    }
    for (name, account, why) in shut_out.iter().filter(|(_, account, why)| !account.keys.is_empty() && !why.meant) {
        report.push(SHUT_OUT.at(account.span, format!("`{name}` {}", why.words)));
    }
}
