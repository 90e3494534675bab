//! Specs that lock their owner out, each refused with its cause; and specs that look as if they did, and do not.
//!
//! Beside each stands a public thread of people who were locked out, or what says why they would be. Which of a thread's causes was
//! whose was not looked up: the specs are ours.

use crate::support::input;
use hardtack::facts::Facts;
use hardtack::plan::way_in::ways;
use hardtack::report::{Report, Source, human};
use hardtack::spec;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5 ana@laptop";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICbVvZ2H0d0gZ1nVbZ0mJ7vWq8p3yqf2mVqk1fuAy4pL bob@laptop";
const HASH: &str = "$y$j9T$MgRxqwyu1wXv4kPTYXUdV/$KE9VzIn6rMrlG6aYpc3pt42o3hTZvLwKjFfcYxqFnm7";

/// What stands for a person with a key and sudo, and for one without; for a key; for a hash.
fn written(hurdles: &str) -> String {
    let person = |name: &str, key: &str, more: &str| format!("{{ name: {name}, keys: ['{key}']{more} }}");
    let text = hurdles
        .replace("ANA", &person("ana", KEY, ", sudo: without-password"))
        .replace("BOB", &person("bob", OTHER, ""))
        .replace("@KEY", KEY)
        .replace("@HASH", HASH);
    format!("hardtack: 1\nname: box\nimage: debian-12\nhurdles: {{ {text} }}\n")
}

/// The codes of the errors, all that is said, and how many ways in there are.
fn judged(hurdles: &str) -> (Vec<String>, String, usize) {
    let source = Source { name: "box.yaml".to_owned(), text: written(hurdles) };
    let mut report = Report::default();
    let plan = spec::read(&source, &mut report).and_then(|spec| {
        let facts = Facts::load(spec.image.0).unwrap();
        spec::plan(&spec, &facts, &input, &Default::default(), &mut report).unwrap()
    });
    let codes = report.sorted().into_iter().filter(|d| d.severity == hardtack::report::Severity::Error);
    (
        codes.map(|d| d.code.to_owned()).collect(),
        human(&report, &source, false),
        plan.map_or(0, |plan| ways(&plan).len()),
    )
}

/// What is written, where it was suffered, the error, and words of it.
type Lockout = (&'static str, &'static str, &'static str, &'static str);

const LOCKOUTS: &[Lockout] = &[
    // What is asked for beside a key.
    (
        "accounts: { people: [ANA] }, ssh: { allow_users: [ana], second_factor: security-key }",
        "sshd_config(5), PubkeyAcceptedAlgorithms",
        "plan/nobody-can-log-in",
        "is no security key, and sshd takes no other",
    ),
    (
        "accounts: { people: [{ name: ana, password_hash: '@HASH', sudo: with-password }] }, \
         ssh: { allow_users: [ana], password_login: true, second_factor: totp }",
        "sshd_config(5), AuthenticationMethods",
        "ssh/second-factor-and-password",
        "this is asked for beside a key only",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { allow_users: [ana], revoked: [../lists/bad.pub] }",
        "sshd_config(5), RevokedKeys",
        "ssh/revoked-file",
        "`../lists/bad.pub`: line 1: ",
    ),
    // Who may try.
    (
        "accounts: { people: [ANA] }, ssh: { allow_users: [anna] }",
        "dev-sec/ansible-ssh-hardening#115",
        "plan/nobody-can-log-in",
        "`ana` is not let in by `ssh.allow_users`",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { allow_users: [anna] }",
        "dev-sec/ansible-ssh-hardening#115",
        "plan/allowed-stranger",
        "`anna` may log in, but has no account",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { allow_users: [root] }",
        "ansible-lockdown/UBUNTU22-CIS#170",
        "plan/nobody-can-log-in",
        "`ana` is not let in by `ssh.allow_users`",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { allow_groups: [sshusers] }",
        "dev-sec/ansible-collection-hardening#187",
        "plan/nobody-can-log-in",
        "`ana` is not let in by `ssh.allow_groups`",
    ),
    (
        "accounts: { people: [ANA, BOB] }, ssh: { allow_users: [ana], allow_groups: [bob] }",
        "dev-sec/ansible-ssh-hardening#189",
        "plan/nobody-can-log-in",
        "`bob` is not let in by `ssh.allow_users`",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { allow_users: [ana], allow_groups: [wheel] }",
        "ansible-lockdown/UBUNTU22-CIS#170",
        "plan/nobody-can-log-in",
        "`ana` is not let in by `ssh.allow_groups`",
    ),
    // With what.
    (
        "accounts: { people: [{ name: ana, sudo: without-password }] }, ssh: {}",
        "dev-sec/ansible-collection-hardening#187",
        "plan/nobody-can-log-in",
        "`ana` has neither a key nor a password",
    ),
    (
        "accounts: { people: [{ name: ana, sudo: with-password, password_hash: @HASH }] }, ssh: {}",
        "dev-sec/ansible-collection-hardening#187",
        "plan/nobody-can-log-in",
        "`ana` has no key, and sshd takes no passwords",
    ),
    (
        "accounts: { people: [{ name: ana, sudo: with-password }] }, ssh: { password_login: true }",
        "konstruktoid/ansible-role-hardening PR 992",
        "accounts/sudo-without-hash",
        "a password that does not exist",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['@KEY'], sudo: with-password }] }, ssh: {}",
        "dev-sec/ansible-collection-hardening#187",
        "accounts/sudo-without-hash",
        "a password that does not exist",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['command=\"/bin/backup\" @KEY'], sudo: without-password }] }, ssh: {}",
        "sshd(8)",
        "plan/nobody-can-log-in",
        "runs one command, and gives no shell",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['cert-authority @KEY'], sudo: without-password }] }, ssh: {}",
        "sshd(8)",
        "plan/nobody-can-log-in",
        "signs certificates, and is no key itself",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['ssh-dss AAAA'] }] }, ssh: {}",
        "dev-sec/ansible-ssh-hardening#212",
        "spec/bad-value",
        "a key of type ssh-dss is refused",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ=='] }] }, ssh: {}",
        "dev-sec/ansible-ssh-hardening#189",
        "spec/bad-value",
        "cut short or damaged",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['no-such-option @KEY'] }] }, ssh: {}",
        "sshd(8): the line is ignored",
        "spec/bad-value",
        "neither a key type nor an option of a key",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['-----BEGIN OPENSSH PRIVATE KEY-----'] }] }, ssh: {}",
        "a guide's reader",
        "spec/bad-value",
        "this is a private key",
    ),
    (
        "accounts: { people: [{ name: ana, keys: [\"@KEY\\n@KEY\"] }] }, ssh: {}",
        "a guide's reader",
        "spec/bad-value",
        "",
    ),
    (
        "accounts: { people: [{ name: ana, password_hash: hunter2 }] }, ssh: { password_login: true }",
        "canonical/cloud-init#5934",
        "spec/bad-value",
        "not a password hash",
    ),
    (
        "accounts: { people: [{ name: ana, password_hash: '$1$abc$def' }] }, ssh: { password_login: true }",
        "canonical/cloud-init#5934",
        "spec/bad-value",
        "this kind of password hash is broken",
    ),
    (
        "accounts: { people: [{ name: root, keys: ['@KEY'] }] }, ssh: {}",
        "ansible-lockdown/UBUNTU22-CIS#170",
        "accounts/system-name",
        "`root` is a system account",
    ),
    ("accounts: { people: [ANA, { name: ana }] }, ssh: {}", "useradd(8)", "accounts/same-name", "`ana` is here twice"),
    // From where.
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: {}",
        "yoanbernabeu/frankendeploy#45",
        "plan/ssh-shut",
        "which the `firewall` keeps shut",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { allow: [{ services: [http, https] }] }",
        "konstruktoid/ansible-role-hardening PR 992",
        "plan/ssh-shut",
        "which the `firewall` keeps shut",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { port: 222 }, firewall: { allow: [{ ports: [22] }] }",
        "mztacat/Nulink-2.0-Testnet-Node-Setup PR 1",
        "plan/ssh-shut",
        "listens on 222",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { allow: [{ ports: [222] }] }",
        "geerlingguy/ansible-role-security#111",
        "plan/ssh-shut",
        "listens on 22",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { allow: [{ ports: [22], protocol: udp }] }",
        "a guide's reader",
        "plan/ssh-shut",
        "listens on 22",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { allow: [{ service: ssh, after: provisioning }] }",
        "a first boot that fails half-way",
        "firewall/ssh-after-provisioning",
        "ssh would stay shut",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { ipv6: off, allow: [{ service: ssh, from: ['2001:db8::/32'] }] }",
        "net.ipv6.conf.all.disable_ipv6 of a guide",
        "plan/ssh-shut",
        "listens on 22",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, sysctl: { set: { net.ipv6.conf.all.disable_ipv6: 1 } }, firewall: { allow: [{ service: ssh, from: ['2001:db8::/32'] }] }",
        "the article's own line",
        "plan/ssh-shut",
        "listens on 22",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, kernel: { arguments: ['ipv6.disable=1'] }, firewall: { allow: [{ service: ssh, from: ['2001:db8::/32'] }] }",
        "ipv6.disable=1 of a guide",
        "plan/ssh-shut",
        "listens on 22",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['from=\"192.0.2.0/24\" @KEY'], sudo: without-password }] }, ssh: {}, firewall: { allow: [{ service: ssh, from: [10.0.0.0/8] }] }",
        "sshd(8) and iptables(8)",
        "plan/nobody-can-log-in",
        "is taken only from where the `firewall` lets nobody in",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['from=\"10.0.0.0/8,!10.20.0.0/16\" @KEY'], sudo: without-password }] }, ssh: {}, firewall: { allow: [{ service: ssh, from: [10.20.7.0/24] }] }",
        "ssh_config(5), PATTERNS",
        "plan/nobody-can-log-in",
        "is taken only from where the `firewall` lets nobody in",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { start: rc_local, allow: [{ service: ssh }] }",
        "a word that no key has",
        "spec/bad-value",
        "is not a way to start the firewall",
    ),
];

/// What is written, and why it looks like a lockout.
const SAFE: &[(&str, &str)] = &[
    (
        "accounts: { people: [{ name: ana, sudo: without-password }] }, ssh: { allow_users: [ana], user_ca: ['@KEY'] }",
        "a person without a key comes in by a certificate",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { allow_users: [ana], second_factor: totp }",
        "nobody has a code yet, and the key lets in as far as to set one up",
    ),
    ("accounts: { people: [ANA] }, ssh: {}", "nobody is named"),
    ("accounts: { people: [ANA] }, ssh: { allow_users: [ana] }", "one alone"),
    ("accounts: { people: [ANA, BOB] }, ssh: { allow_users: [ana] }", "one of two is kept out"),
    ("accounts: { people: [ANA] }, ssh: { allow_groups: [ana] }", "one's own group"),
    (
        "accounts: { people: [{ name: ana, keys: ['@KEY'], sudo: without-password, groups: [ops] }] }, ssh: { allow_groups: [ops] }",
        "a group of the spec",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['@KEY'], sudo: without-password, groups: [ops] }] }, ssh: { allow_users: [ana], allow_groups: [ops] }",
        "both lists",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { allow_users: [ana], allow_groups: [ana, wheel] }",
        "a group that nobody is in beside one's own",
    ),
    (
        "accounts: { people: [{ name: ana, sudo: with-password, password_hash: @HASH }] }, ssh: { password_login: true }",
        "no key at all",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['@KEY'], sudo: with-password, password_hash: @HASH }] }, ssh: {}",
        "sudo asks, sshd does not",
    ),
    ("accounts: { people: [ANA, { name: bob }] }, ssh: {}", "somebody without anything"),
    (
        "accounts: { people: [ANA, { name: bak, keys: ['command=\"/bin/backup\" @KEY'] }] }, ssh: {}",
        "a key that runs one command, of another",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['no-pty @KEY', '@KEY'], sudo: without-password }] }, ssh: {}",
        "the same key with options and without",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['restrict,pty @KEY'], sudo: without-password }] }, ssh: {}",
        "a restricted key with a terminal",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['from=\"10.20.0.0/16\" @KEY'], sudo: without-password }] }, ssh: {}, firewall: { allow: [{ service: ssh, from: [10.0.0.0/8] }] }",
        "the key is narrower",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['from=\"10.0.0.0/8\" @KEY'], sudo: without-password }] }, ssh: {}, firewall: { allow: [{ service: ssh, from: [10.20.0.0/16] }] }",
        "the firewall is narrower",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['from=\"10.0.0.0/8,!10.20.1.0/24\" @KEY'], sudo: without-password }] }, ssh: {}, firewall: { allow: [{ service: ssh, from: [10.20.0.0/16] }] }",
        "a part of it is refused",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['from=\"*.example.org\" @KEY'], sudo: without-password }] }, ssh: {}, firewall: { allow: [{ service: ssh, from: [10.20.0.0/16] }] }",
        "names that nobody can resolve here",
    ),
    (
        "accounts: { people: [{ name: ana, keys: ['from=\"192.0.2.7\" @KEY'], sudo: without-password }] }, ssh: {}, firewall: { allow: [{ service: ssh, from: [10.0.0.0/8] }, { service: ssh, from: [192.0.2.0/24], interface: eth1 }] }",
        "another door",
    ),
    (
        "accounts: { people: [ANA] }, ssh: { port: 222 }, firewall: { allow: [{ service: ssh }] }",
        "ssh by name at another port",
    ),
    ("accounts: { people: [ANA] }, ssh: { port: 222 }, firewall: { allow: [{ ports: [222] }] }", "ssh by its port"),
    (
        "accounts: { people: [ANA] }, ssh: { port: 222 }, firewall: { allow: [{ ports: ['200-300'] }] }",
        "ssh in a range",
    ),
    ("accounts: { people: [ANA] }, ssh: {}, firewall: { allow: [{ services: [https, ssh] }] }", "ssh among others"),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { policy: reject, allow: [{ service: ssh, interface: eth1 }] }",
        "one card only",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { allow: [{ service: ssh, from: ['2001:db8::/32'] }] }",
        "IPv6 only",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { ipv6: off, allow: [{ service: ssh, from: [10.0.0.0/8] }] }",
        "IPv4 only",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { ipv6: off, allow: [{ service: ssh }] }",
        "anywhere, without IPv6",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, sysctl: { set: { net.ipv6.conf.all.disable_ipv6: 0 } }, firewall: { allow: [{ service: ssh, from: ['2001:db8::/32'] }] }",
        "IPv6 is said to be on",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { outbound: deny, allow: [{ service: ssh }] }",
        "nothing may go out",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { allow: [{ service: ssh, rate: 1/hour }] }",
        "one in an hour, and twenty at once",
    ),
    (
        "accounts: { people: [ANA] }, ssh: {}, blocklist: { sources: [{ file: ../lists/drop.netset }] }, firewall: { allow: [{ service: ssh, from: [45.143.201.0/24] }] }",
        "a list that names where one comes from: it is let in",
    ),
    ("accounts: { people: [ANA], root: keep }, ssh: {}", "root as the image has it"),
    (
        "accounts: { people: [ANA] }, ssh: {}, firewall: { start: rc-local, allow: [{ service: ssh }] }",
        "rules that come late",
    ),
];

#[test]
fn what_locks_its_owner_out_is_refused_with_the_cause() {
    let mut bad = Vec::new();
    for (hurdles, from, code, words) in LOCKOUTS {
        let (codes, said, _) = judged(hurdles);
        if !codes.iter().any(|c| c == code) || !said.contains(words) {
            bad.push(format!("{hurdles} ({from}): wanted {code}: {words}\n{codes:?}\n{said}"));
        }
    }
    assert!(LOCKOUTS.len() >= 30 && bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn what_only_looks_like_a_lockout_is_taken() {
    let mut bad = Vec::new();
    for (hurdles, why) in SAFE {
        let (codes, said, ways) = judged(hurdles);
        if !codes.is_empty() || ways == 0 {
            bad.push(format!("{hurdles} ({why}): {ways} ways\n{said}"));
        }
    }
    assert!(SAFE.len() >= 30 && bad.is_empty(), "{}", bad.join("\n"));
}
