//! Real boots. `ci/check` runs these last; they need the images that `hardtack image build` makes, and fail without.
//!
//! Sabotages that cannot mask each other share a boot: one of sshd and one of the firewall are judged by different
//! proofs, and the wire does not need a login.

mod article;
mod bare_metal;
mod golden;
mod installed;
mod lists;
mod logins;
mod machine;
mod packer;

mod rescue;
mod same;
mod selinux;
mod several;
mod shut;
mod trust;
mod vendor;
mod warm;

use crate::readme::{blocks, run};
use crate::support::{bake, good, hardtack, root};
use hardtack::facts::Facts;
use hardtack::plan::proof::Proof;
use hardtack::plan::{File, Plan, Stage, wire};
use hardtack::prove::event::Event;
use hardtack::prove::image;
use hardtack::prove::qemu::{Accelerator, Config};
use hardtack::prove::run::{Datasource, Job, Outcome, Pages, Then, prove};
use hardtack::prove::shell::{Ask, Keep, printed, script};
use hardtack::prove::verdict::Verdict;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-hardtack.conf";

fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|h| h.join(".cache"))).expect("HOME").join("hardtack")
}

/// Runs the verb as a person would, and gives its report.
fn proved(arguments: &[&str], home: Option<&Path>) -> (Value, String) {
    proved_in(&cache(), arguments, home)
}

fn proved_in(cache: &Path, arguments: &[&str], home: Option<&Path>) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut command = hardtack();
    command.env("XDG_CACHE_HOME", cache.parent().unwrap());
    if let Some(home) = home {
        command.env("HOME", home);
    }
    let done =
        command.current_dir(folder.path()).arg("prove").args(arguments).arg("--report").arg(&report).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stderr), String::from_utf8_lossy(&done.stdout));
    assert_eq!(done.status.code(), Some(0), "{said}");
    (serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap(), said)
}

fn control_of<'a>(report: &'a Value, id: &str) -> &'a str {
    let proofs = report["proofs"].as_array().unwrap();
    proofs.iter().find(|p| p["id"] == id).unwrap_or_else(|| panic!("no proof {id}"))["control"].as_str().unwrap()
}

/// Every proof of the starter, on both boots where there were two; and that each has been seen to fail.
fn all_hold(report: &Value, image: &str, said: &str) {
    assert_eq!(report["format"], 1);
    assert_eq!(report["image"], image);
    let summary = &report["summary"];
    assert_eq!((&summary["fails"], &summary["unknown"]), (&0.into(), &0.into()), "{said}");
    assert_eq!(summary["holds"].as_u64().unwrap() as usize, report["proofs"].as_array().unwrap().len());
    // On the bare image these are otherwise: so each of them has been seen to fail.
    for id in [
        "accounts/admin-is-there",
        "accounts/admin-logs-in",
        "accounts/admin-sudo",
        "delivery/sealed",
        "firewall/rules-v4",
        "firewall/rules-v6",
        "firewall/unit",
        "firewall/wire-tcp-4444-203.0.113.7",
        "firewall/wire-tcp-4444-2001:db8:feed::7",
        "firewall/wire-tcp-4444-198.18.0.77",
        "firewall/wire-tcp-4444-fe80::77",
        "firewall/wire-udp-4444-203.0.113.7",
        "ssh/drop-in-is-roots",
        "ssh/effective-allowusers",
        "ssh/effective-ciphers",
        "ssh/effective-kexalgorithms",
        "ssh/effective-macs",
        "ssh/effective-passwordauthentication",
        "ssh/effective-permitrootlogin",
        "ssh/password-refused-for-admin",
        "ssh/root-refused",
        "sysctl/kernel.kptr_restrict",
        "sysctl/net.ipv4.conf.every.accept_redirects",
    ] {
        assert_eq!(control_of(report, id), "fails", "{id} does not fail on the bare {image}");
    }
}

fn held_again(report: &Value) {
    for proof in report["proofs"].as_array().unwrap() {
        // A window is of one boot.
        let window = proof["id"].as_str().unwrap().starts_with("firewall/window-");
        assert_eq!(proof["after_reboot"], if window { "not-run" } else { "holds" }, "{proof}");
    }
}

#[test]
#[ignore = "ci/full"]
fn the_starter_holds_on_debian_13() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5 admin@laptop\n";
    std::fs::write(home.path().join(".ssh/id_ed25519.pub"), key).unwrap();
    let (report, said) = proved(&["--image", "debian-13"], Some(home.path()));
    assert!(said.contains("accelerator: "), "{said}");
    assert_eq!(report["start"], "cold");
    all_hold(&report, "debian-13", &said);
    held_again(&report);
}

#[test]
#[ignore = "ci/full"]
fn a_machine_that_sends_only_what_is_named_holds_on_debian_12() {
    let spec = root().join("tests/specs/outbound.yaml");
    let (report, said) = proved(&[spec.to_str().unwrap(), "--no-control", "--no-reboot"], None);
    // What leaves, and what does not, of the same account and to the same place.
    for id in [
        "firewall/outbound-tcp-443-203.0.113.7",
        "firewall/outbound-tcp-443-203.0.113.7-by-root",
        "firewall/outbound-tcp-4444-203.0.113.7-by-root",
        "firewall/outbound-tcp-80-169.254.169.254",
        "firewall/outbound-tcp-80-169.254.169.254-by-root",
    ] {
        let proof = report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == id);
        assert_eq!(proof.unwrap_or_else(|| panic!("no proof {id}"))["verdict"], "holds", "{said}");
    }
}

/// A line at the prompt of a machine that is kept: its status, what it printed, and where it ended.
fn typed(ask: &Sender<Ask>, folder: &str, line: &str) -> (u8, String, Option<String>) {
    let (answer, answered) = channel();
    ask.send(Ask { script: script(folder, line), answer }).unwrap();
    let output = answered.recv().unwrap().unwrap();
    let (text, ended) = printed(&output.stdout);
    (output.status, String::from_utf8(text.to_vec()).unwrap(), ended)
}

#[test]
#[ignore = "ci/full"]
fn a_machine_with_ssh_behind_one_interface_holds() {
    let spec = root().join("tests/specs/interfaces.yaml");
    let (report, said) = proved(&[spec.to_str().unwrap(), "--no-control", "--no-reboot"], None);
    for id in [
        "accounts/nadia-logs-in",
        "ssh/root-refused",
        "firewall/sweep-tcp-10.0.0.205",
        "firewall/sweep-tcp-10.0.0.206-eth1",
    ] {
        let proof = report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == id);
        assert_eq!(proof.unwrap_or_else(|| panic!("no proof {id}"))["verdict"], "holds", "{said}");
    }
}

/// A bundle that was broken on purpose, judged by the proofs of the whole one.
struct Broken {
    seed: Vec<u8>,
    pages: Pages,
    proofs: Vec<Proof>,
    windows: Vec<Proof>,
}

impl Broken {
    fn of(sample: &str, spoil: &dyn Fn(&mut Plan)) -> Broken {
        Broken::text(&std::fs::read_to_string(root().join("tests/specs").join(sample)).unwrap(), spoil)
    }

    fn text(text: &str, spoil: &dyn Fn(&mut Plan)) -> Broken {
        let (tree, proofs) = bake(text, None, spoil);
        let plan = good(text, None).2;
        let windows = plan.filter.as_ref().map(|f| wire::windows(f, false)).unwrap_or_default();
        let pages = plan.pages.clone();
        Broken { seed: tree.get("seed.img").unwrap().data.clone(), pages, proofs, windows }
    }

    /// With no other proofs than these: what else there is is asked of whole machines.
    fn only(mut self, ids: &[&[&str]]) -> Broken {
        let ids = ids.concat();
        self.proofs.retain(|p| ids.contains(&p.id.as_str()));
        self
    }

    /// Boots it once.
    fn judged(&self) -> Outcome {
        self.looked_into(self.proofs.clone(), false)
    }

    /// Boots it twice, and watches both from the wire.
    fn watched(&self) -> Outcome {
        self.looked_into([&self.proofs[..], &self.windows].concat(), true)
    }

    fn run(
        &self,
        proofs: Vec<Proof>,
        reboot: bool,
        keep: Keep,
        tell: &mut dyn FnMut(Event),
    ) -> anyhow::Result<Outcome> {
        let facts = Facts::load("debian-12").unwrap();
        let built = image::open(&cache(), "debian-12").unwrap().expect("hardtack image build debian-12");
        let start = facts.start().unwrap();
        let accelerator = Accelerator::find(&Config::new(&built.disk, start, Accelerator::Kvm), &cache()).unwrap();
        let seed = &self.seed;
        let job = Job {
            disk: &built.disk,
            start,
            accelerator,
            seed,
            proofs: &proofs,
            control: false,
            reboot,
            keep,
            datasource: Datasource::NoCloud,
            pages: &self.pages,
            mirrors: None,
            installs: false,
            cut: None,
            warm: None,
            then: Then::Nothing,
        };
        prove(&job, tell)
    }

    fn looked_into(&self, proofs: Vec<Proof>, reboot: bool) -> Outcome {
        let mut lent = None;
        let mut tell = |event| {
            if let Event::Kept { ask, trouble } = event {
                lent = Some((trouble, typed(&ask, "/usr", "id -u; cd lib; false")));
            }
        };
        let outcome = self.run(proofs, reboot, Keep::NotProved, &mut tell).unwrap();
        // A machine with a proof that is not proved is kept, and whoever looks is root in it; another is not.
        let (_, fails, unknown) = outcome.counts();
        let root = (None, (1, "0\n".to_owned(), Some("/usr/lib".to_owned())));
        assert_eq!(lent, (fails + unknown > 0).then_some(root));
        outcome
    }
}

/// Such a run names the red proofs, and those of another hurdle stay as they are.
fn red_and_green(red: &[&str], green: &[&str], spoil: &dyn Fn(&mut Plan)) {
    names(&Broken::of("other.yaml", spoil).only(&[red, green]).judged(), red, green);
}

fn names(outcome: &Outcome, red: &[&str], green: &[&str]) {
    let verdict = |id: &str| {
        let j = outcome.judged.iter().find(|j| j.proof.id == id).unwrap_or_else(|| panic!("no proof {id}"));
        (j.judgement.verdict, j.judgement.seen.clone())
    };
    for id in red {
        assert_eq!(verdict(id).0, Verdict::Fails, "{id}: {}", verdict(id).1);
    }
    for id in green {
        assert_eq!(verdict(id).0, Verdict::Holds, "{id}: {}", verdict(id).1);
    }
}

fn replace(plan: &mut Plan, path: &str, from: &str, to: &str) {
    let file = plan.files.get_mut(path).unwrap();
    assert!(file.text.contains(from), "{path} has no {from}");
    file.text = file.text.replace(from, to);
}

fn without_guard(plan: &mut Plan) {
    plan.commands.retain(|c| c.template != "ssh/apply.sh");
}

#[test]
fn a_flipped_directive_and_a_dropped_policy_are_seen() {
    let red = [
        "ssh/effective-passwordauthentication",
        "ssh/effective-authenticationmethods",
        "ssh/password-refused-for-ines",
        "ssh/password-refused-for-joris",
        "firewall/rules-v4",
        "firewall/rules-v6",
        "firewall/wire-tcp-4444-203.0.113.7",
        "firewall/wire-tcp-4444-2001:db8:feed::7",
        "firewall/wire-tcp-4444-198.18.0.77",
        "firewall/wire-udp-4444-203.0.113.7",
        "firewall/wire-tcp-2222-203.0.113.7",
    ];
    let green = ["ssh/root-refused", "accounts/ines-logs-in", "firewall/wire-tcp-5432-10.20.0.205"];
    red_and_green(&red, &green, &|plan| {
        replace(plan, DROP_IN, "PasswordAuthentication no", "PasswordAuthentication yes");
        replace(plan, DROP_IN, "AuthenticationMethods publickey\n", "");
        without_guard(plan);
        for family in ["v4", "v6"] {
            replace(plan, &format!("/etc/hardtack/firewall/rules.{family}"), ":INPUT DROP", ":INPUT ACCEPT");
        }
    });
}

#[test]
#[ignore = "ci/full"]
fn a_rule_left_out_and_a_drop_in_that_sorts_first_are_seen() {
    let spoil = |plan: &mut Plan| {
        let path = "/etc/hardtack/firewall/rules.v4";
        let text = plan.files[path].text.clone();
        let rule = text.lines().find(|l| l.contains("--dports 5432")).unwrap();
        replace(plan, path, &format!("{rule}\n"), "");
        let text =
            "PasswordAuthentication yes\nAuthenticationMethods any\nPermitRootLogin yes\nAllowUsers root ines joris\n"
                .to_owned();
        let file = File { mode: 0o600, text, stage: Stage::Apply, hurdle: "ssh", template: "", controls: None };
        plan.file("/etc/ssh/sshd_config.d/00-aaa.conf", file);
        without_guard(plan);
    };
    let red = [
        "firewall/rules-v4",
        "firewall/wire-tcp-5432-10.20.0.205",
        "ssh/effective-passwordauthentication",
        "ssh/effective-permitrootlogin",
        "ssh/effective-allowusers",
        "ssh/password-refused-for-ines",
        "ssh/root-refused",
    ];
    let green = ["firewall/rules-v6", "firewall/wire-tcp-4444-203.0.113.7", "accounts/joris-logs-in"];
    red_and_green(&red, &green, &spoil);
}

#[test]
fn sshd_is_asked_before_the_drop_in_takes_effect() {
    // `sshd -t` is content with this list, and it is not the one of the spec (R50). The machine itself refuses it, falls
    // back to keys only, is not sealed, and opens nothing but ssh.
    let red =
        ["delivery/sealed", "delivery/cloud-init-done", "ssh/effective-macs", "firewall/wire-tcp-5432-10.20.0.205"];
    let green = ["ssh/effective-passwordauthentication", "ssh/root-refused", "firewall/wire-tcp-4444-203.0.113.7"];
    red_and_green(&red, &green, &|plan| {
        replace(plan, DROP_IN, "MACs hmac-sha2-512-etm@openssh.com,", "MACs hmac-sha1,");
    });
}

#[test]
fn the_readme_boots() {
    let folder = tempfile::tempdir().unwrap();
    let mut ran = 0;
    for (kind, text) in blocks().into_iter().filter(|(kind, _)| kind == "sh" || kind == "sh boot") {
        // The image stands in the tester's cache, as it stands in a newcomer's after the first line.
        let text = format!("export XDG_CACHE_HOME={}\n{text}", cache().parent().unwrap().display());
        let (good, said) = run(&text, folder.path());
        // What held is many screens, and a log of CI keeps few.
        let bad = |line: &&str| !line.trim_start().starts_with("holds ");
        assert!(good, "{text}\n{}", said.lines().filter(bad).collect::<Vec<_>>().join("\n"));
        ran += usize::from(kind == "sh boot");
    }
    assert_eq!(ran, 1);
    // What a newcomer proves is the starter, with its boots watched.
    let report = serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    all_hold(&report, "debian-12", &report.to_string());
    held_again(&report);
    assert_eq!(report["timelines"].as_array().unwrap().len(), 2);
}

#[test]
fn a_machine_without_ipv6_holds_on_debian_13() {
    let spec = root().join("tests/specs/ipv6-off.yaml");
    let (report, said) = proved(&[spec.to_str().unwrap(), "--image", "debian-13", "--no-reboot"], None);
    for id in ["firewall/ipv6-off", "firewall/ipv6-held-off", "firewall/ipv6-silent", "firewall/ipv6-silent-eth1"] {
        let proof = report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == id);
        assert_eq!(proof.unwrap_or_else(|| panic!("no proof {id}"))["verdict"], "holds", "{said}");
        // The bare image has IPv6, says so on the wire, and lets networkd have it.
        assert_eq!(control_of(&report, id), "fails", "{id}");
    }
}

#[test]
#[ignore = "ci/full"]
fn what_is_open_before_the_gate_is_measured_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("late.yaml");
    let text = "hardtack: 1\nname: late-1\nimage: debian-12\nhurdles:\n  firewall:\n    start: rc-local\n    allow:\n      - services: [ssh, https]\n";
    std::fs::write(&spec, text).unwrap();
    let (report, said) = proved(&[spec.to_str().unwrap(), "--datasource", "ec2", "--timeline", "--no-control"], None);
    let timelines = report["timelines"].as_array().unwrap();
    let [first, second] = [0, 1].map(|at| (timelines[at]["exposed_ms"].as_u64(), timelines[at]["ungated_ms"].as_u64()));
    // From when the network is up until cloud-init has asked its cloud, and until rc.local has had its turn; and not after that.
    for boot in [first, second] {
        assert!(boot.0 == Some(0) && boot.1.is_some_and(|ms| ms > 1000), "{boot:?}: {said}");
    }
    assert_eq!(said.matches(" ms before the gate stood").count(), 2, "{said}");
    let ran = report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == "firewall/rc-local");
    assert_eq!(ran.unwrap()["after_reboot"], "holds", "{said}");
}

#[test]
fn a_machine_of_scripts_holds_on_debian_12_sysvinit() {
    let spec = root().join("tests/specs/init-script.yaml");
    let (report, said) = proved(&[spec.to_str().unwrap(), "--timeline", "--no-control"], None);
    for id in ["firewall/init-script", "firewall/init-script-order", "blocklist/daily", "blocklist/refresh"] {
        let proof = report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == id);
        assert_eq!(proof.unwrap_or_else(|| panic!("no proof {id}"))["after_reboot"], "holds", "{said}");
    }
    let timelines = report["timelines"].as_array().unwrap();
    let [first, second] = [0, 1].map(|at| (timelines[at]["exposed_ms"].as_u64(), timelines[at]["ungated_ms"].as_u64()));
    // cloud-init's own scripts come after the network; ours comes before it.
    assert!(first.0 == Some(0) && first.1.is_some_and(|ms| ms > 1000), "{first:?}: {said}");
    assert_eq!(second, (Some(0), None), "{said}");
}

#[test]
#[ignore = "ci/full"]
fn links_that_wait_for_ipv6_where_it_is_off_are_seen() {
    let broken = Broken::of("ipv6-off.yaml", &|plan| {
        let text = &mut plan.files.get_mut("/usr/local/lib/hardtack/ipv6-off").unwrap().text;
        text.truncate(text.find("for file in").unwrap());
    });
    let wanted = ["delivery/sealed", "firewall/ipv6-held-off", "firewall/ipv6-not-waited-for", "firewall/ipv6-off"];
    let proofs: Vec<Proof> = broken.proofs.iter().filter(|p| wanted.contains(&p.id.as_str())).cloned().collect();
    let outcome = broken.run(proofs, false, Keep::Never, &mut |_| {}).unwrap();
    names(
        &outcome,
        &["firewall/ipv6-not-waited-for"],
        &["delivery/sealed", "firewall/ipv6-held-off", "firewall/ipv6-off"],
    );
}
