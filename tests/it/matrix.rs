//! Every sample on every image: a missing fact is a sentence, and what is written is taken by the target's own parser.

use crate::support::{bake, good, images_of, samples};
use hardtack::plan::sabotage::sabotages;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a real tool on a text, and wants it to be content.
pub(crate) fn content(program: &str, arguments: &[&str], text: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} is needed here, and cannot be run: {e}"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{program} {arguments:?}: {said}\n{text}");
}

#[test]
fn every_sample_can_be_planned_on_every_image() {
    for (name, path) in samples() {
        let text = std::fs::read_to_string(&path).unwrap();
        for image in images_of(&name, &text) {
            let (_, _, plan) = good(&text, Some(image));
            assert!(!plan.proofs.is_empty(), "{name} proves nothing on {image}");
            for proof in &plan.proofs {
                assert!(!proof.refs.is_empty(), "{} has no source", proof.id);
                assert!(proof.id.starts_with(&format!("{}/", proof.hurdle)), "{}", proof.id);
            }
        }
    }
}

#[test]
fn a_sabotage_has_a_name_of_its_own_and_each_unit_that_is_to_run_a_proof_that_looks_at_it() {
    let mut nobodys = std::collections::BTreeSet::new();
    for (name, path) in samples() {
        let text = std::fs::read_to_string(&path).unwrap();
        for image in images_of(&name, &text) {
            let plan = good(&text, Some(image)).2;
            let all = sabotages(&plan);
            let mut names = std::collections::BTreeSet::new();
            nobodys.extend(
                all.iter().filter(|s| !names.insert(&s.id)).map(|s| format!("{name} on {image}: twice {}", s.id)),
            );
            for sabotage in all.iter().filter(|s| s.id.contains("/stopped ")) {
                if !plan.proofs.iter().any(|proof| sabotage.concerns(proof)) {
                    nobodys.insert(format!("{name} on {image}: {}", sabotage.id));
                }
            }
        }
    }
    assert!(nobodys.is_empty(), "{nobodys:#?}");
}

#[test]
fn the_scripts_are_posix_and_shellcheck_finds_nothing() {
    for (_, path) in samples() {
        let (tree, _) = bake(&std::fs::read_to_string(&path).unwrap(), None, &|_| {});
        for (name, entry) in tree.iter() {
            let text = String::from_utf8_lossy(&entry.data);
            if name.contains(".d/") && name.contains("/hardtack/") || text.starts_with("#!/bin/sh") {
                content("shellcheck", &["-s", "sh", "-"], &text);
                content("sh", &["-n"], &text);
            }
        }
        let user_data = String::from_utf8_lossy(&tree.get("cloud-init/user-data").unwrap().data).into_owned();
        let parsed = as_json(&user_data);
        content("shellcheck", &["-s", "sh", "-e", "SC2129", "-"], parsed["bootcmd"][0].as_str().unwrap());
    }
}

/// YAML as cloud-init's own Python reads it.
pub(crate) fn as_json(yaml: &str) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, yaml).unwrap();
    let program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
    let done = Command::new("/usr/bin/python3").args(["-c", program]).arg(&file).output().expect("python3 with yaml");
    assert!(done.status.success(), "{}\n{yaml}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The same rules for accounts by number, since those of the machine are not here.
fn numbered(rules: &str) -> String {
    let words: Vec<&str> = rules.split(' ').collect();
    let owner = |at: usize| at > 0 && words[at - 1].ends_with("id-owner") && words[at].parse::<u32>().is_err();
    (0..words.len()).map(|at| if owner(at) { "1000" } else { words[at] }).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_kernel_takes_the_rules_and_says_them_back_word_for_word() {
    for (name, path) in samples() {
        let (tree, _) = bake(&std::fs::read_to_string(&path).unwrap(), None, &|_| {});
        for (tool, family) in [("iptables", "v4"), ("ip6tables", "v6")] {
            for kind in ["gate", "rules"] {
                let Some(entry) = tree.get(&format!("rootfs/etc/hardtack/firewall/{kind}.{family}")) else { continue };
                let text = numbered(&String::from_utf8_lossy(&entry.data));
                let sets =
                    "ipset create hardtack-block4 hash:net && ipset create hardtack-block6 hash:net family inet6";
                let script = format!("{sets} && {tool}-restore && {tool} -S");
                let mut child = Command::new("unshare")
                    .args(["-n", "sh", "-c", &script])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("unshare, of util-linux");
                child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
                let done = child.wait_with_output().unwrap();
                assert!(done.status.success(), "{name}: {text}");
                let said = String::from_utf8_lossy(&done.stdout).into_owned();
                let said: Vec<_> = said.lines().filter(|l| l.starts_with("-A")).collect();
                let asked: Vec<_> = text.lines().filter(|l| l.starts_with("-A")).collect();
                assert_eq!(said, asked, "{name} {kind}.{family}");
            }
        }
        if let Some(entry) = tree.get("rootfs/etc/hardtack/firewall/gate.nft") {
            content("unshare", &["-n", "nft", "-f", "-"], &String::from_utf8_lossy(&entry.data));
        }
    }
}

#[test]
fn cloud_init_itself_finds_no_fault_in_the_user_data() {
    for (name, path) in samples() {
        let text = std::fs::read_to_string(&path).unwrap();
        // Those that are never booted here are at least rendered, and held to the same schema.
        for image in images_of(&name, &text) {
            let (tree, _) = bake(&text, Some(image), &|_| {});
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("user-data");
            std::fs::write(&file, &tree.get("cloud-init/user-data").unwrap().data).unwrap();
            let done = Command::new("cloud-init").args(["schema", "--annotate", "-c"]).arg(&file).output();
            let done = done.expect("cloud-init");
            let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success() && !said.to_lowercase().contains("deprecat"), "{image}: {said}");
        }
    }
}

#[test]
fn sshd_takes_the_drop_in() {
    for (name, path) in samples() {
        // The sshd of this machine is an OpenSSH of 9.2, whose facts are those of debian-12.
        let (tree, _) = bake(&std::fs::read_to_string(&path).unwrap(), Some("debian-12"), &|_| {});
        let Some(entry) = tree.get("rootfs/etc/ssh/sshd_config.d/00-hardtack.conf") else { continue };
        let folder = tempfile::tempdir().unwrap();
        let (key, config) = (folder.path().join("key"), folder.path().join("config"));
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
        assert!(made.success());
        let text = format!("HostKey {}\n{}", key.display(), String::from_utf8_lossy(&entry.data));
        std::fs::write(&config, &text).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let done =
            Command::new("/usr/sbin/sshd").args(["-T", "-f"]).arg(&config).output().expect("sshd, of openssh-server");
        assert!(done.status.success(), "{name}: {}\n{text}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn a_hurdle_that_is_left_out_asks_nothing_of_sshd() {
    for (name, path) in samples() {
        let text = std::fs::read_to_string(&path).unwrap();
        let (tree, _) = bake(&text, None, &|_| {});
        let data = as_json(&String::from_utf8_lossy(&tree.get("cloud-init/user-data").unwrap().data));
        let wanted = text.contains("\n  ssh:\n").then_some(serde_json::Value::Bool(false));
        assert_eq!(data.get("ssh_pwauth"), wanted.as_ref(), "{name}");
    }
}

#[test]
fn what_an_image_has_in_rc_local_is_still_run() {
    let sample = samples().into_iter().find(|(name, _)| name == "rc-local").unwrap().1;
    let (tree, _) = bake(&std::fs::read_to_string(sample).unwrap(), None, &|_| {});
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // The scripts themselves, in another place.
    let text = |path: &str| {
        let text = String::from_utf8(tree.get(&format!("rootfs{path}")).unwrap().data.clone()).unwrap();
        text.replace("/etc/rc.local", &at("rc.local")).replace("/usr/local/lib/hardtack", &at("lib"))
    };
    let write = |name: &str, text: &str| {
        std::fs::write(at(name), text).unwrap();
        std::fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    std::fs::create_dir(at("lib")).unwrap();
    let run = || {
        let done = Command::new("sh").arg("-c").arg(at("rc.local")).output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap())
    };
    let keep = || content("sh", &[], &text("/usr/local/lib/hardtack/gate.d/firewall-keep-rc-local"));
    write("lib/firewall", "echo \"rules: $1\"\n");
    write("rc.local", "#!/bin/sh\necho theirs\n");
    keep();
    write("rc.local", &text("/etc/rc.local"));
    assert_eq!(run(), (true, "rules: start\ntheirs\n".to_owned()));
    // At a boot after one that was cut short it is ours that lies there.
    keep();
    assert_eq!(run(), (true, "rules: start\ntheirs\n".to_owned()));
    // Rules that cannot be loaded keep nobody's from being run, and are told.
    write("lib/firewall", "exit 1\n");
    assert_eq!(run(), (false, "theirs\n".to_owned()));
}
