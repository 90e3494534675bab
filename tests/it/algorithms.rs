//! What ssh-audit, Debian's and the newest, says of the algorithms of `modern`: of each name, for every image, and of a real sshd.

use crate::support::{good, root};
use hardtack::facts::Facts;
use hardtack::plan::proof::Check;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SPEC: &str = "hardtack: 1\nname: box\nimage: debian-12\nhurdles:\n  accounts:\n    people:\n      - name: ana\n        \
    keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5 ana@laptop\"]\n        \
    sudo: without-password\n  ssh:\n    allow_users: [ana]\n";

/// Debian's, of 2021, and the one of PyPI that `ci/packages` puts beside the build.
fn audits() -> [(&'static str, Command); 2] {
    let mut newest = Command::new("python3");
    newest.args(["-m", "ssh_audit.ssh_audit"]).env("PYTHONPATH", root().join("target/ssh-audit"));
    [("2.5", Command::new("ssh-audit")), ("3.9", newest)]
}

/// What it objects to: lines with a name and the reason. `whole` is what it prints when all is well.
fn objections(command: &mut Command, whole: &str) -> Vec<String> {
    let done = command.env("NO_COLOR", "1").output().expect("ssh-audit, which ci/packages installs");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.contains(whole), "{text}{}", String::from_utf8_lossy(&done.stderr));
    let mut name = String::new();
    let mut bad = Vec::new();
    for line in text.lines() {
        // Colours, where it does not ask whether they are wanted.
        let line: String =
            line.split('\u{1b}').map(|p| p.split_once('m').filter(|_| p.starts_with('[')).map_or(p, |x| x.1)).collect();
        if let Some(first) = line.split(" -- ").next().filter(|f| f.starts_with('(')) {
            name = first.trim().to_owned();
        }
        if let Some(why) = ["[fail] ", "[warn] "].iter().find_map(|mark| line.split_once(mark)) {
            bad.push(format!("{name}: {}", why.1.trim()));
        }
    }
    bad
}

// The one that is safe against what comes is new to the old one, and so is the announcement by which Terrapin is shut out.
fn of_its_time(version: &str, objection: &str) -> bool {
    let new = [
        "(kex) sntrup761x25519-sha512@openssh.com: using experimental algorithm",
        "(kex) kex-strict-s-v00@openssh.com: unknown algorithm",
    ];
    version == "2.5" && new.contains(&objection)
}

#[test]
fn ssh_audit_objects_to_no_algorithm_of_any_image() {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for image in Facts::names() {
        let plan = good(SPEC, Some(image)).2;
        let offers = plan.proofs.iter().find_map(|p| match &p.check {
            Check::Offers(offers) => Some(offers.clone()),
            _ => None,
        });
        let offers = offers.expect("ssh/offers");
        names.extend([offers.kex, offers.host_keys, offers.ciphers, offers.macs].concat());
    }
    let names: Vec<String> = names.into_iter().collect();
    assert!(names.len() >= 12, "{names:?}");
    for (version, mut command) in audits() {
        let said = objections(command.arg(format!("--lookup={}", names.join(","))), "(key) ssh-ed25519");
        let said: Vec<&String> = said.iter().filter(|said| !of_its_time(version, said)).collect();
        assert!(said.is_empty(), "ssh-audit {version}: {said:#?}");
    }
    // And it would object: otherwise the above says nothing.
    for (version, mut command) in audits() {
        let said =
            objections(command.arg("--lookup=ssh-ed25519,diffie-hellman-group14-sha1,aes128-cbc"), "(key) ssh-ed25519");
        assert!(said.len() >= 2, "ssh-audit {version}: {said:#?}");
    }
}

/// An sshd on this machine, ended with the test.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ssh_audit_objects_to_nothing_of_a_real_sshd() {
    let folder = tempfile::tempdir().unwrap();
    // The sshd of this machine is an OpenSSH of 9.2, whose facts are those of debian-12.
    let plan = good(SPEC, Some("debian-12")).2;
    let drop_in = &plan.files["/etc/ssh/sshd_config.d/00-hardtack.conf"].text;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = format!(
        "ListenAddress 127.0.0.1\nPidFile none\n{}",
        drop_in.replace("\nPort 22\n", &format!("\nPort {port}\n"))
    );
    for kind in ["ed25519", "rsa"] {
        let key = folder.path().join(kind);
        let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-f"]).arg(&key).status().unwrap();
        assert!(made.success());
        config.push_str(&format!("HostKey {}\n", key.display()));
    }
    let path = folder.path().join("config");
    std::fs::write(&path, config).unwrap();
    std::fs::create_dir_all("/run/sshd").unwrap();
    let sshd = Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(&path).stderr(Stdio::piped()).spawn();
    let mut sshd = Sshd(sshd.expect("sshd"));
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        assert!(sshd.0.try_wait().unwrap().is_none(), "sshd has ended");
        std::thread::sleep(Duration::from_millis(100));
    }
    for (version, mut command) in audits() {
        let whole = "(kex) sntrup761x25519-sha512@openssh.com";
        let said = objections(command.args(["-4", "-p"]).arg(port.to_string()).arg("127.0.0.1"), whole);
        let said: Vec<&String> = said.iter().filter(|said| !of_its_time(version, said)).collect();
        assert!(said.is_empty(), "ssh-audit {version}: {said:#?}");
    }
}

#[test]
fn a_host_key_of_rsa_is_made_only_where_an_old_program_may_come() {
    let kinds = |more: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.yaml"), format!("{SPEC}{more}")).unwrap();
        let mut bake = crate::support::hardtack();
        assert!(bake.args(["bake", "m.yaml", "-o", "b"]).current_dir(folder.path()).output().unwrap().status.success());
        let user_data = std::fs::read_to_string(folder.path().join("b/cloud-init/user-data")).unwrap();
        let drop_in = folder.path().join("b/rootfs/etc/ssh/sshd_config.d/00-hardtack.conf");
        let line = |text: String, key: &str| text.lines().find(|l| l.starts_with(key)).unwrap_or_default().to_owned();
        let at = user_data.find("ssh_genkeytypes:\n").expect("which keys cloud-init makes");
        let made = user_data[at..].lines().skip(1).take_while(|l| l.starts_with("- ")).collect::<Vec<_>>().join(" ");
        (made, line(std::fs::read_to_string(drop_in).unwrap(), "HostKeyAlgorithms "))
    };
    let alone = ("- ed25519".to_owned(), "HostKeyAlgorithms ssh-ed25519".to_owned());
    assert_eq!(kinds(""), alone);
    assert_eq!(kinds("    kex: [\"sntrup761x25519-sha512@openssh.com\"]\n"), alone);
    let both = ("- ed25519 - rsa".to_owned(), "HostKeyAlgorithms ssh-ed25519,rsa-sha2-512,rsa-sha2-256".to_owned());
    assert_eq!(kinds("    algorithms: compatible\n"), both);
    assert_eq!(kinds("    kex: [\"sntrup761x25519-sha512@openssh.com\", curve25519-sha256]\n"), both);
}

#[test]
fn every_way_to_a_machine_makes_the_host_keys_of_the_spec_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let spec = std::fs::read_to_string(crate::support::root().join("tests/specs/other.yaml")).unwrap();
    let every = "deliver: [cloud-init, bare-metal, packer, golden]";
    std::fs::write(folder.path().join("m.yaml"), spec.replace("deliver: [cloud-init]", every)).unwrap();
    let mut bake = crate::support::hardtack();
    assert!(bake.args(["bake", "m.yaml", "-o", "b"]).current_dir(folder.path()).output().unwrap().status.success());
    // boot::same sees it on machines.
    let script = "for way in bare-metal packer golden; do tar -xzOf b/$way/db-7.tar.gz ./place 2>/dev/null || tar -xzOf b/$way/db-7.tar.gz place; done >places
        cat places b/packer/seal b/golden/seal | grep -v '^ *#' | grep -o 'ssh-keygen -[qA].*-[tA] *[a-z0-9]*\\|ssh-keygen -A\\|ssh_genkeytypes.*' | sort | uniq -c";
    let done = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output().unwrap();
    let seen = String::from_utf8(done.stdout).unwrap();
    let seen: Vec<String> = seen.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(seen, ["5 ssh-keygen -q -t ed25519", "2 ssh_genkeytypes: [%s]\\n' ed25519"]);
}
