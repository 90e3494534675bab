//! The dead-man's switch: lockouts forced past every check. Each machine comes back by the way that its spec declares for that, and by
//! no other. `ci/full` forces all of them; at every change one is forced, of a seed.

use super::{Broken, names, replace, typed};
use hardtack::plan::net::{Cidr, Ports, Protocol};
use hardtack::plan::proof::{Check, Credential, Door, Login, Proof, Reaction, Sudo, Sweep};
use hardtack::plan::{Command, Plan, Stage};
use hardtack::prove::event::Event;
use hardtack::prove::run::Outcome;
use hardtack::prove::shell::Keep;
use hardtack::report::FromText;

/// From where the sample's people mend the machine, and from where anybody comes.
const NEAR: &str = "10.20.0.205";
const FAR: &str = "203.0.113.7";

const LOOK: &str =
    "journalctl --no-pager -n 40 -u 'hardtack-*' -u ssh; nft list ruleset; ss -tlnp; cat /var/lib/hardtack/rescued";

/// What is seen when the switch has fired.
fn policy() -> Vec<Proof> {
    let proof = |what: &str, check| Proof::new("rescue", what, &[], what, check);
    let login = |user: &str, with, from: &str, succeeds| {
        let (user, from) = (user.to_owned(), Some(Cidr::from_text(from).unwrap()));
        Check::Login(Login { user, port: 22, with, code: None, door: Door::Shell, from, interface: None, succeeds })
    };
    let sweep = |source: &str, open| {
        let source = source.parse().unwrap();
        let (protocol, shut, interface) = (Protocol::Tcp, Reaction::Silent, None);
        Check::Sweep(Sweep { source, interface, protocol, open, declared: Vec::new(), shut, witness: None })
    };
    let near = "10.20.0.0/16";
    vec![
        proof("nadia-comes-in", login("nadia", Credential::ItsKey, near, true)),
        proof("nadia-becomes-root", Check::Sudo { user: "nadia".into(), may: Sudo::WithoutPassword }),
        proof("omar-does-not", login("omar", Credential::ItsKey, near, false)),
        proof("nor-root", login("root", Credential::ItsKey, near, false)),
        proof("nor-a-stranger", login("nadia", Credential::StrangersKey, near, false)),
        proof("nor-a-password", login("nadia", Credential::ItsPassword, near, false)),
        proof("near", sweep(NEAR, vec![Ports::one(22)])),
        proof("far", sweep(FAR, Vec::new())),
        proof("far-by-ipv6", sweep("2001:db8:feed::7", Vec::new())),
        proof("near-by-ipv6", sweep("2001:db8:20::77", vec![Ports::one(22)])),
    ]
}

fn come_back(outcome: &Outcome, why: &str) {
    let all = policy();
    let ids: Vec<&str> = all.iter().map(|p| p.id.as_str()).collect();
    names(outcome, &["rescue/never-needed"], &ids);
    let judged = outcome.judged.iter().find(|j| j.proof.id == "rescue/never-needed").unwrap();
    assert!(judged.judgement.seen.starts_with("it has fired: "), "{}", judged.judgement.seen);
    let says = "hardtack: rescue: the machine is not healthy: ";
    assert!(outcome.console.iter().any(|l| l.starts_with(says) && l.contains(why)), "{:#?}", outcome.console);
}

fn locked_out(why: &str, reboot: bool, spoil: &dyn Fn(&mut Plan)) {
    let broken = Broken::of("rescue.yaml", spoil);
    let mut proofs = policy();
    proofs.extend(broken.proofs.iter().filter(|p| p.id == "rescue/never-needed").cloned());
    // What the machine says itself, for whoever reads of a failure.
    let mut look = String::new();
    let mut tell = |event| {
        if let Event::Kept { ask, .. } = event {
            look = typed(&ask, "/", LOOK).1;
        }
    };
    let outcome = broken.run(proofs, reboot, Keep::NotProved, &mut tell).unwrap();
    let seen = outcome.judged.iter().map(|j| format!("{}: {}\n", j.proof.id, j.judgement.seen)).collect::<String>();
    assert_eq!((outcome.counts().1, outcome.counts().2), (1, 0), "only that it has fired is red: {seen}{look}");
    come_back(&outcome, why);
    if reboot {
        for judged in outcome.judged.iter().filter(|j| j.proof.id != "rescue/never-needed") {
            let again = judged.again.as_ref().unwrap();
            let verdict = again.verdict;
            assert_eq!(verdict, hardtack::prove::verdict::Verdict::Holds, "{}: {}", judged.proof.id, again.seen);
        }
    }
}

/// What somebody does to the machine when all is open, before sshd has started.
fn done(plan: &mut Plan, text: &str) {
    let text = format!("set -x\n{text}\ntrue\n");
    plan.commands.push(Command { stage: Stage::Open, hurdle: "zz", text, template: "hand.sh", guards: false });
}

macro_rules! lockouts {
    ($($(#[$meta:meta])* $name:ident: $why:literal, $text:literal;)+) => {
        $(#[test] $(#[$meta])* fn $name() { locked_out($why, false, &|plan| done(plan, $text)); })+
    };
}

lockouts! {
    #[ignore = "ci/full"]
    others_rules_before_ours: "nadia cannot log in from 203.0.113.77: ",
        "nft add table inet other\nnft add chain inet other in '{ type filter hook input priority -10; policy drop; }'";
    #[ignore = "ci/full"]
    a_rule_by_hand: "cannot log in from ", "iptables -I INPUT -p tcp --dport 22 -j DROP\nip6tables -I INPUT -p tcp --dport 22 -j DROP";
    #[ignore = "ci/full"]
    everybody_is_listed: "cannot log in from ", "ipset add hardtack-block4 0.0.0.0/1\nipset add hardtack-block4 128.0.0.0/1";
    #[ignore = "ci/full"]
    homes_that_others_can_write: "others than nadia can write /home/nadia", "chmod 0777 /home/*";
    #[ignore = "ci/full"]
    keys_that_are_gone: "a key of nadia is not in /home/nadia/.ssh/authorized_keys", "rm -r /home/*/.ssh";
    #[ignore = "ci/full"]
    people_who_have_expired: "the account of nadia has expired", "chage -E 0 nadia\nchage -E 0 omar\npasswd -l nadia";
    #[ignore = "ci/full"]
    people_without_a_shell: "the shell of nadia is /usr/sbin/nologin", "usermod -s /usr/sbin/nologin nadia\nusermod -s /usr/sbin/nologin omar";
    #[ignore = "ci/full"]
    people_who_are_gone: "there is no account nadia", "userdel -r nadia\nuserdel -r omar";
    #[ignore = "ci/full"]
    sudo_without_a_rule: "sudo does nothing for nadia", "rm /etc/sudoers.d/*";
    #[ignore = "ci/full"]
    a_list_of_sshds_without_us: "sshd also says: allowusers nobody", "echo AllowUsers nobody >/etc/ssh/sshd_config.d/00-aaa.conf";
    #[ignore = "ci/full"]
    an_sshd_that_is_masked: "cannot log in from ", "systemctl mask ssh.service ssh.socket";
    #[ignore = "ci/full"]
    pam_that_says_no: "cannot log in from ", "sed -i '1i account required pam_deny.so' /etc/pam.d/sshd";
    #[ignore = "ci/full"]
    hosts_that_are_denied: "cannot log in from ", "echo 'ALL: ALL EXCEPT 127.0.0.1' >/etc/hosts.deny";
    #[ignore = "ci/full"]
    another_on_the_port: "cannot log in from ", "systemd-run --no-block -p DefaultDependencies=no -p Restart=no python3 -m http.server 22\nsleep 3";
}

#[test]
#[ignore = "ci/full"]
fn a_first_boot_that_fails_also_after_a_reboot() {
    locked_out("the first boot has not succeeded", true, &|plan| {
        let (text, template) = ("echo 'the last hurdle fails'; false\n".to_owned(), "fail.sh");
        plan.commands.push(Command { stage: Stage::Apply, hurdle: "zz", text, template, guards: false });
    });
}

#[test]
#[ignore = "ci/full"]
fn a_first_boot_without_an_end() {
    locked_out("the first boot has come to no end in 100 seconds", false, &|plan| {
        let (text, template) = ("sleep 86400\n".to_owned(), "hang.sh");
        plan.commands.push(Command { stage: Stage::Apply, hurdle: "zz", text, template, guards: false });
        replace(plan, "/etc/systemd/system/hardtack-rescue-late.timer", "OnBootSec=3600s", "OnBootSec=100s");
        replace(plan, "/usr/local/lib/hardtack/rescue", "no end in 3600 seconds", "no end in 100 seconds");
    });
}

#[test]
#[ignore = "ci/full"]
fn rules_that_are_cut_off() {
    locked_out("the first boot has not succeeded", false, &|plan| {
        let text = &mut plan.files.get_mut("/etc/hardtack/firewall/rules.v4").unwrap().text;
        text.truncate(text.find("--dports 443").unwrap() + 4);
    });
}
