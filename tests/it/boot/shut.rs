//! Fail closed: whatever the rules come to, the machine ends up shut but for the ssh of its spec, and says so on its console.

use super::{Broken, names, replace};
use hardtack::plan::{Command, Plan, Stage};
use hardtack::prove::run::Outcome;
use hardtack::prove::verdict::Verdict;

const RULES: &str = "/etc/hardtack/firewall/rules.v4";

/// Nobody comes in by what the spec opens later, nor by what it never opens, in either family.
const SHUT: [&str; 6] = [
    "firewall/sweep-tcp-203.0.113.7",
    "firewall/sweep-tcp-2001:db8:feed::7",
    "firewall/sweep-udp-203.0.113.7",
    "firewall/wire-tcp-4444-203.0.113.7",
    "firewall/wire-tcp-4444-198.18.0.77",
    "firewall/wire-tcp-4444-fe80::77",
];

/// And ssh answers from where the spec says.
const SSH: [&str; 3] = ["accounts/ines-logs-in", "accounts/joris-logs-in", "firewall/wire-tcp-2222-10.20.0.205"];

const LESS: &str = "firewall/sweep-tcp-10.20.0.205";

/// Boots it, and wants it shut: the machine is not sealed, the application's port does not answer where the spec lets it.
fn shut(says: &str, spoil: &dyn Fn(&mut Plan)) -> Outcome {
    let red = ["delivery/sealed", "firewall/rules-v4", "firewall/wire-tcp-5432-10.20.0.205"];
    let outcome = Broken::of("other.yaml", spoil).only(&[&red, &SHUT, &SSH, &[LESS]]).judged();
    names(&outcome, &red, &SHUT);
    assert!(outcome.console.iter().any(|line| line.contains(says)), "{:#?}", outcome.console);
    // From where the spec lets in more, all that is wrong is that less answers.
    let sweep = seen(&outcome, LESS);
    assert!(sweep.contains("5432/tcp") && !sweep.contains(" is open") && !sweep.contains(" is let through"), "{sweep}");
    outcome
}

fn but_for_ssh(outcome: &Outcome) {
    names(outcome, &[], &SSH);
}

fn seen(outcome: &Outcome, id: &str) -> String {
    let judged = outcome.judged.iter().find(|j| j.proof.id == id).unwrap_or_else(|| panic!("no proof {id}"));
    assert_eq!(judged.judgement.verdict, Verdict::Fails, "{id}: {}", judged.judgement.seen);
    judged.judgement.seen.clone()
}

fn before_the_gate(plan: &mut Plan, text: &str) {
    let text = text.to_owned();
    plan.commands.insert(0, Command { stage: Stage::Gate, hurdle: "aa", text, template: "spoil.sh", guards: false });
}

const CANNOT: &str = "hardtack-firewall: the rules cannot be loaded: only ssh may come in";

#[test]
fn rules_that_are_not_there_leave_only_ssh() {
    but_for_ssh(&shut(CANNOT, &|plan| drop(plan.files.remove(RULES).unwrap())));
}

#[test]
#[ignore = "ci/full"]
fn rules_that_are_cut_off_leave_only_ssh() {
    // In the middle of a line, as a full disk does.
    but_for_ssh(&shut(CANNOT, &|plan| {
        let text = &mut plan.files.get_mut(RULES).unwrap().text;
        text.truncate(text.find("--dports 5432").unwrap() + 4);
    }));
}

#[test]
#[ignore = "ci/full"]
fn rules_that_the_kernel_refuses_leave_only_ssh() {
    // iptables has nothing against it, but the kernel has MASQUERADE only in the table nat.
    but_for_ssh(&shut(CANNOT, &|plan| replace(plan, RULES, "COMMIT\n", "-A INPUT -j MASQUERADE\nCOMMIT\n")));
}

#[test]
#[ignore = "ci/full"]
fn rules_that_name_a_missing_set_leave_only_ssh() {
    but_for_ssh(&shut(CANNOT, &|plan| {
        replace(plan, RULES, "COMMIT\n", "-A INPUT -m set --match-set hardtack-blocked src -j DROP\nCOMMIT\n");
    }));
}

#[test]
#[ignore = "ci/full"]
fn without_iptables_nftables_leaves_only_ssh() {
    // Nor can it be installed: nothing answers where packages would come from.
    but_for_ssh(&shut("hardtack: FAILED: install: iptables", &|plan| {
        before_the_gate(plan, "dpkg --remove --force-depends iptables\n");
    }));
}

#[test]
fn without_any_packet_filter_nothing_comes_in() {
    // Not even ssh, for nobody could say who it is open to. The machine does not answer its neighbours either, so from the wire
    // it cannot be told from one that is not there: that takes minutes and is no verdict, and one login will do.
    let red = ["delivery/sealed", "firewall/rules-v4", "firewall/rules-v6"];
    let broken = Broken::of("other.yaml", &|plan| {
        before_the_gate(plan, "dpkg --remove --force-depends iptables nftables\n");
    });
    let outcome = broken.only(&[&red, &["accounts/ines-logs-in"]]).judged();
    names(&outcome, &red, &[]);
    let login = outcome.judged.iter().find(|j| j.proof.id == "accounts/ines-logs-in").unwrap();
    assert_eq!(login.judgement.verdict, Verdict::Unknown, "{}", login.judgement.seen);
    let says = "hardtack-firewall: no gate can be set: nothing may come in";
    assert!(outcome.console.iter().any(|line| line == says), "{:#?}", outcome.console);
}

#[test]
fn a_first_boot_that_fails_opens_nothing_also_after_a_reboot() {
    let red = ["delivery/sealed", "firewall/wire-tcp-5432-10.20.0.205"];
    let mut broken = Broken::of("other.yaml", &|plan| {
        let (text, template) = ("echo 'the last hurdle fails'; false\n".to_owned(), "fail.sh");
        plan.commands.push(Command { stage: Stage::Apply, hurdle: "zz", text, template, guards: false });
    })
    .only(&[&red, &SHUT, &SSH]);
    // At the second boot the window believes that all may be open from the start; what must not answer there, the sweeps say.
    broken.windows.retain(|p| p.id == "firewall/window-first-boot");
    let outcome = broken.watched();
    names(&outcome, &red, &SHUT);
    // On eth0 nothing at all was to answer before the end, so the window is no verdict; but it has seen nothing anywhere.
    assert_eq!(outcome.timelines[0].exposed_ms, 0);
    but_for_ssh(&outcome);
    for id in SHUT {
        let again = outcome.judged.iter().find(|j| j.proof.id == id).and_then(|j| j.again.clone()).unwrap();
        assert_eq!(again.verdict, Verdict::Holds, "{id} after the reboot: {}", again.seen);
    }
    let says = "hardtack-firewall: the first boot has not succeeded yet: only ssh may come in";
    assert!(outcome.console.iter().any(|line| line == says), "{:#?}", outcome.console);
}
