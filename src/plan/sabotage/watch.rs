//! What watches, and what the kernel denies, broken on purpose.

use super::{Change, Sabotage};
use crate::plan::Plan;

pub(super) fn watch(plan: &Plan, all: &mut Vec<Sabotage>) {
    let mut add = |id: &str, what: &str, spoil: &str, mend: &str| {
        let Some(proof) = plan.proofs.iter().find(|p| p.id == id) else { return };
        all.push(Sabotage {
            id: format!("{}/{what}", proof.hurdle),
            hurdle: proof.hurdle.clone(),
            what: what.to_owned(),
            change: Change::Scripts { spoil: spoil.to_owned(), mend: mend.to_owned() },
            word: id.to_owned(),
            eyes: Vec::new(),
        });
    };
    add("selinux/mode", "SELinux denies nothing", "setenforce 0", "setenforce 1");
    add(
        "selinux/denies",
        "the policy lets ntpd_t do all",
        "semanage permissive -a ntpd_t",
        "semanage permissive -d ntpd_t",
    );
    add(
        "selinux/labels",
        "sshd's settings have another label",
        "chcon -t tmp_t /etc/ssh/sshd_config",
        "restorecon /etc/ssh/sshd_config",
    );
    add(
        "selinux/apparmor-enforces",
        "a profile of AppArmor only complains",
        "for f in /etc/apparmor.d/*; do [ ! -f $f ] || apparmor_parser -q -C -r $f; done",
        "for f in /etc/apparmor.d/*; do [ ! -f $f ] || apparmor_parser -q -r $f; done",
    );
    add(
        "system/no-old-tls",
        "OpenSSL speaks all that it ever did",
        "cp -a /etc/ssl/openssl.cnf /run/openssl.sabotage; sed -i 's/^MinProtocol.*/MinProtocol = TLSv1\\nCipherString = ALL:@SECLEVEL=0/' /etc/ssl/openssl.cnf",
        "cp -a /run/openssl.sabotage /etc/ssl/openssl.cnf",
    );
    add(
        "system/no-loose-files",
        "anybody may write a program",
        "touch /usr/local/bin/loose; chmod 0777 /usr/local/bin/loose",
        "rm -f /usr/local/bin/loose",
    );
    add(
        "accounts/only-hashes",
        "a password is stored by a quick hash",
        "echo 'hardtack-sabotage:$1$a$b:1::::::' >>/etc/shadow",
        "sed -i '/^hardtack-sabotage:/d' /etc/shadow",
    );
    // Rules that are locked cannot be broken before the next boot; what writes them down can. It refuses to be stopped by its unit.
    add(
        "watch/auditd",
        "nothing writes down what the kernel notes",
        "kill $(pidof auditd); while pidof auditd >/dev/null; do sleep 0.2; done",
        "systemctl start auditd",
    );
    add(
        "watch/auditd",
        "auditd is not started at boot",
        "systemctl --no-reload disable auditd",
        "systemctl --no-reload enable auditd",
    );
    add("watch/integrity", "a program is another one", "echo >>/usr/bin/uptime", "truncate -s -1 /usr/bin/uptime");
    add(
        "watch/integrity-notices",
        "files beside the system's own are not looked at",
        "sed -i.sabotage '/^.usr.local Hardtack$/d' /usr/local/lib/hardtack/aide.conf",
        "mv /usr/local/lib/hardtack/aide.conf.sabotage /usr/local/lib/hardtack/aide.conf",
    );
    add(
        "watch/verify-notices",
        "the machine finds nothing whatever it is like",
        "cp -a /usr/local/sbin/hardtack-verify /run/verify.sabotage; printf '#!/bin/sh\\nexit 0\\n' >/usr/local/sbin/hardtack-verify",
        "cp -a /run/verify.sabotage /usr/local/sbin/hardtack-verify",
    );
    add(
        "watch/verify-holds",
        "something is not what it was",
        "chmod 0755 /usr/local/sbin/hardtack-verify",
        "chmod 0700 /usr/local/sbin/hardtack-verify",
    );
}
