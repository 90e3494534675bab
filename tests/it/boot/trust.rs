//! Proofs that can be trusted: what somebody adds by hand is seen and named, a firewall that comes late is measured, and a
//! proof that cannot fail is found out.

use super::{Broken, cache, names};
use crate::support::good;
use hardtack::delivery::{self, Payload};
use hardtack::plan::proof::{Check, Proof};
use hardtack::plan::sabotage::sabotages;
use hardtack::plan::{Command, Stage};
use hardtack::prove::image;
use hardtack::prove::qemu::{Accelerator, Config};
use hardtack::prove::run::hunt::{Hunt, Tried, hunt};
use hardtack::prove::run::{Datasource, Job, Outcome, Then};
use hardtack::prove::shell::Keep;
use hardtack::prove::verdict::Verdict;

/// What Docker does for two published ports, 8088 and 5432, written from its documentation: no engine runs here to be asked.
const DOCKER: &str = "
set -x
ip netns add box
ip link add docker0 type veth peer name inner netns box
ip addr add 172.17.0.1/16 dev docker0
ip link set docker0 up
ip -n box addr add 172.17.0.2/16 dev inner
ip -n box link set inner up
ip -n box route add default via 172.17.0.1
systemd-run --no-block --quiet --unit=box -p DefaultDependencies=no ip netns exec box python3 -m http.server 80
sysctl -w net.ipv4.ip_forward=1
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80
iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 5432 -j DNAT --to-destination 172.17.0.2:80
iptables -N DOCKER
iptables -N DOCKER-USER
iptables -I FORWARD -j DOCKER-USER
iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -o docker0 -j DOCKER
iptables -A FORWARD -i docker0 -j ACCEPT
iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
true
";

/// What an administrator in a hurry does.
const BY_HAND: &str = "
set -x
systemd-run --no-block --quiet --unit=stray -p DefaultDependencies=no python3 -m http.server 8080
iptables -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT
iptables -I DOCKER-USER -p tcp -j ACCEPT
iptables -A INPUT -i eth0 -p tcp -m tcp --dport 9000:9001 -j ACCEPT
true
";

/// A machine where that was done as well, once all was open.
fn with(text: &str) -> Outcome {
    Broken::of("other.yaml", &|plan| {
        let (text, template) = (text.to_owned(), "hand.sh");
        plan.commands.push(Command { stage: Stage::Open, hurdle: "zz", text, template, guards: false });
    })
    .judged()
}

#[test]
#[ignore = "ci/full"]
fn what_docker_publishes_stays_shut_where_the_spec_shuts_it() {
    let outcome = with(DOCKER);
    // The rule that leads to it is Docker's, and so is the way through; 5432 is the spec's own, and the container answers there.
    names(
        &outcome,
        &["firewall/rules-v4", "sysctl/net.ipv4.ip_forward"],
        &[
            "firewall/sweep-tcp-203.0.113.7",
            "firewall/sweep-tcp-198.18.0.77",
            "firewall/sweep-tcp-198.18.1.77-eth0",
            "firewall/sweep-tcp-10.20.0.205",
            "firewall/wire-tcp-5432-10.20.0.205",
            "firewall/wire-tcp-5432-203.0.113.7",
            "firewall/rules-v6",
        ],
    );
}

#[test]
fn what_is_added_by_hand_is_seen_and_named() {
    // Docker's rules as well: what it publishes is shut until somebody opens it by hand, so it was there to be opened.
    let outcome = with(&[DOCKER, BY_HAND].concat());
    let seen = |id: &str| {
        let judged = outcome.judged.iter().find(|j| j.proof.id == id).unwrap_or_else(|| panic!("no proof {id}"));
        assert_eq!(judged.judgement.verdict, Verdict::Fails, "{id}: {}", judged.judgement.seen);
        judged.judgement.seen.clone()
    };
    let far = seen("firewall/sweep-tcp-203.0.113.7");
    assert!(
        far.contains("8080/tcp from 203.0.113.7 is open: `/usr/bin/python3 -m http.server 8080` (process "),
        "{far}"
    );
    assert!(
        far.contains("stray.service) listens, let in by `iptables -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT`"),
        "{far}"
    );
    assert!(far.contains("8088/tcp from 203.0.113.7 is open: "), "{far}");
    assert!(far.contains("let in by `iptables -t nat -A DOCKER"), "{far}");
    assert!(!far.contains("9000/tcp"), "{far}");
    // The second interface has a hole that the first has not.
    let second = seen("firewall/sweep-tcp-198.18.1.77-eth0");
    assert!(
        second.contains(
            "9000/tcp from 198.18.1.77 is let through: nothing listens, let in by `iptables -A INPUT -i eth0 "
        ),
        "{second}"
    );
    names(&outcome, &["firewall/rules-v4"], &["firewall/rules-v6", "firewall/sweep-tcp-2001:db8:feed::7"]);
}

/// The unit as people write it, who have never looked at the wire: after the network, with the other services.
const LATE: &str = "
unit=/etc/systemd/system/hardtack-firewall.service
sed -i -e '/^Wants=network-pre.target/d' -e 's/^Before=network-pre.target/Before=/' -e 's/^After=/After=network.target ssh.service /' \\
    -e 's/^WantedBy=sysinit.target/WantedBy=multi-user.target/' $unit
rm /etc/systemd/system/sysinit.target.wants/hardtack-firewall.service
systemctl --no-reload enable hardtack-firewall.service
grep -q '^Before= shutdown.target' $unit && grep -q '^After=network.target' $unit && grep -q multi-user $unit
";

#[test]
#[ignore = "ci/full"]
fn a_firewall_that_comes_late_fails_with_its_window() {
    let outcome = Broken::of("other.yaml", &|plan| {
        // At the first boot the unit is as it should be: what waits for the network there would wait for itself.
        let command =
            Command { stage: Stage::Open, hurdle: "zz", text: LATE.to_owned(), template: "late.sh", guards: false };
        plan.commands.push(command);
    })
    .only(&[&["delivery/sealed"]])
    .watched();
    let window = |id: &str| &outcome.judged.iter().find(|j| j.proof.id == id).unwrap().judgement;
    let second = window("firewall/window-second-boot");
    assert_eq!(second.verdict, Verdict::Fails, "{}", second.seen);
    assert!(
        second.seen.contains(" ms of exposure: ") && second.seen.contains("/tcp was let through"),
        "{}",
        second.seen
    );
    let measured = outcome.timelines[1].exposed_ms;
    assert!(measured >= outcome.timelines[1].every_ms, "{measured} ms");
    let first = window("firewall/window-first-boot");
    assert_eq!((first.verdict, outcome.timelines[0].exposed_ms), (Verdict::Holds, 0), "{}", first.seen);
}

#[test]
#[ignore = "ci/full"]
fn a_boot_that_waits_for_itself_is_given_up_and_named() {
    let broken = Broken::of("accounts.yaml", &|plan| {
        // systemd starts it after cloud-init, which waits here for it to have started.
        let text = "systemctl start multi-user.target\n".to_owned();
        plan.commands.push(Command { stage: Stage::Apply, hurdle: "zz", text, template: "wait.sh", guards: false });
    });
    let ended = broken.run(broken.proofs.clone(), false, Keep::Never, &mut |_| {});
    let error = format!("{:#}", ended.expect_err("a boot that never ends"));
    assert!(error.contains(".service: that does not come to an end: the machine did nothing for 180 s"), "{error}");
}

#[test]
#[ignore = "ci/full"]
fn a_proof_that_cannot_fail_lowers_the_score() {
    let text = "hardtack: 1\nname: vain\nimage: debian-12\nhurdles:\n  sysctl: { baseline: sound }\n  \
        firewall: { allow: [{ service: ssh }] }\ndeliver: [cloud-init]\n";
    let (spec, facts, plan) = good(text, None);
    let ways: Vec<_> = spec.deliver.iter().map(|w| w.value).collect();
    // It says that it looks, and would be content with anything; and sweeps that are no sweeps, beside an exact comparison of
    // the rules that notices all that they should.
    let vacuous = |mut proofs: Vec<Proof>| {
        let proof = proofs.iter_mut().find(|p| p.id == "sysctl/kernel.kptr_restrict").expect("the proof");
        proof.check = Check::Script { script: "cat /proc/sys/kernel/kptr_restrict; true\n".to_owned() };
        for proof in proofs.iter_mut().filter(|p| matches!(p.check, Check::Sweep(_))) {
            proof.check = Check::Script { script: "echo '65535 asked: 22 answer, no other'\n".to_owned() };
        }
        proofs
    };
    let bake = |broken: hardtack::plan::Plan| {
        let broken = broken.resealed();
        let payload = Payload::new(&broken, &facts, 0).unwrap();
        let tree = delivery::bundle(&payload, "", &ways).unwrap();
        (tree.get("seed.img").unwrap().data.clone(), vacuous(payload.proofs()))
    };
    let (seed, proofs) = bake((*plan).clone());
    let wanted = ["flip kernel.kptr_restrict", "flip kernel.dmesg_restrict", "accept INPUT in rules.v4"];
    let chosen: Vec<_> = sabotages(&plan).into_iter().filter(|s| wanted.iter().any(|w| s.id.ends_with(w))).collect();
    assert_eq!(chosen.len(), 3);
    let built = image::open(&cache(), "debian-12").unwrap().expect("hardtack image build debian-12");
    let start = facts.start().unwrap();
    let accelerator = Accelerator::find(&Config::new(&built.disk, start, Accelerator::Kvm), &cache()).unwrap();
    let (seed, proofs, keep) = (&seed, &proofs, Keep::Never);
    let job = Job {
        disk: &built.disk,
        start,
        accelerator,
        seed,
        proofs,
        control: false,
        reboot: false,
        keep,
        datasource: Datasource::NoCloud,
        pages: &plan.pages,
        mirrors: None,
        installs: false,
        cut: None,
        warm: None,
        then: Then::Nothing,
    };
    let made = |s: &hardtack::plan::sabotage::Sabotage| Ok(s.applied(&plan).map(bake));
    let score = hunt(&Hunt { job, plan: &plan, sabotages: &chosen, machines: 1, bake: &made }, &mut |_| {}).unwrap();
    let fate = |name: &str| &score.fates[chosen.iter().position(|s| s.id.ends_with(name)).unwrap()];
    assert_eq!(fate("dmesg_restrict").tried, Tried::Live);
    assert_eq!(fate("dmesg_restrict").caught_by[0].0, "sysctl/kernel.dmesg_restrict");
    let survivor = fate("kptr_restrict");
    // What nobody notices on the running machine is booted before it is called a survivor.
    assert_eq!((survivor.tried, survivor.caught_by.len()), (Tried::Boot, 0));
    assert_eq!(survivor.meant_for.as_deref(), Some("sysctl/kernel.kptr_restrict"));
    let swept = fate("accept INPUT in rules.v4");
    assert_eq!((swept.tried, swept.caught_by.len()), (Tried::Boot, 0));
    // The rules were seen to be otherwise, and by a knock; nobody was there to sweep.
    assert_eq!(swept.meant_for, None);
    assert_eq!((score.caught(), score.boots), (1, 3));
}
