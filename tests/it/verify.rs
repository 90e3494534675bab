//! `hardtack-verify` judges as `hardtack prove` does: both are asked the same things, on a machine whose daemons say whatever a test wants.

use hardtack::plan::proof::{AccountState, Check, Proof, Sudo, When};
use hardtack::plan::verify;
use hardtack::prove::judge::inside;
use hardtack::prove::verdict::Verdict;
use hardtack::template;
use hardtack::template::render;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Programs of the machine, which say what stands in a file beside them.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "systemctl",
        "case $1 in show) [ -e \"$at/gone\" ] || case $4 in --value) echo active ;; *) printf 'LoadState=loaded\\nActiveState=active\\nResult=success\\n' ;; esac ;; is-enabled) echo enabled ;; esac",
    ),
    ("getent", "[ \"$2\" = eve ] && exit 2\necho \"$2:x:1000:1000::$at/home:/bin/sh\""),
    ("passwd", "echo \"$2 P 2026-01-01 0 99999 7 -1\""),
    ("id", "echo \"$2 sudo users\""),
    ("sudo", "cat \"$at/rules\""),
    ("runuser", "cat \"$at/tried\""),
    (
        "sshd",
        "printf 'PermitRootLogin without-password\\nallowusers  alice\\nallowusers bob\\nport 22\\n'; exit $(cat \"$at/status\" 2>/dev/null)",
    ),
];

fn check_all() -> Vec<(&'static str, Check)> {
    let says = |keyword: &str, values: &[&str]| Check::Says {
        command: vec!["sshd".into(), "-T".into()],
        keyword: keyword.into(),
        values: values.iter().map(|v| (*v).to_owned()).collect(),
    };
    let unit = |active: &str, enabled: Option<&str>| Check::Unit {
        unit: "x.service".into(),
        active: active.into(),
        enabled: enabled.map(str::to_owned),
    };
    let account = |user: &str, password: &str, groups: &[&str], keys: Option<&[&str]>| {
        Check::Account(AccountState {
            user: user.into(),
            password: password.into(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            keys: keys.map(|keys| keys.iter().map(|k| (*k).to_owned()).collect()),
        })
    };
    let sudo = |may| Check::Sudo { user: "alice".into(), may };
    let script = |script: &str| Check::Script { script: script.into() };
    let parameter = |path: &str, value: &str| Check::Sysctl { path: format!("AT/proc/{path}"), value: value.into() };
    let file = |path: &str, mode: &str| Check::File {
        path: format!("AT/{path}"),
        mode: mode.into(),
        owner: "root:root".into(),
    };
    vec![
        ("one value", says("permitrootlogin", &["prohibit-password"])),
        ("another value", says("PermitRootLogin", &["no"])),
        ("several", says("allowusers", &["bob", "alice"])),
        ("one too few", says("allowusers", &["bob"])),
        ("none", says("denyusers", &[])),
        ("not there", says("denyusers", &["eve"])),
        ("a number", says("port", &["22"])),
        ("a parameter", parameter("one/a", "1")),
        ("another", parameter("one/a", "0")),
        ("every one", parameter("*/a", "1")),
        ("of several words", parameter("words", "4096 87380 6291456")),
        ("no such", parameter("none", "1")),
        ("active", unit("active", None)),
        ("enabled", unit("active", Some("enabled"))),
        ("disabled", unit("active", Some("disabled"))),
        ("dead", unit("inactive", None)),
        ("a file", file("file", "0640")),
        ("another mode", file("file", "0644")),
        ("no file", file("nothing", "0640")),
        ("an account", account("alice", "P", &["sudo"], Some(&["ssh-ed25519 AAAA a b", "ssh-rsa BBBB"]))),
        ("any keys", account("alice", "P", &["sudo"], None)),
        ("other keys", account("alice", "P", &["sudo"], Some(&["ssh-ed25519 AAAA a b"]))),
        ("a locked one", account("alice", "L", &["sudo"], None)),
        ("a group too many", account("alice", "P", &[], None)),
        ("a group too few", account("alice", "P", &["sudo", "adm"], None)),
        ("nobody", account("eve", "P", &[], None)),
        ("root", account("root", "P", &[], None)),
        ("all by password", sudo(Sudo::WithPassword)),
        ("all", sudo(Sudo::WithoutPassword)),
        ("nothing", sudo(Sudo::Nothing)),
        ("well", script("echo well\n")),
        ("bad", script("echo 'it is'\nexit 1")),
        ("cannot tell", script("exit 75")),
        ("quotes", script("a='it'\\''s'\n[ \"$a\" = \"it's\" ] # \"\nread x && exit 1\ntrue")),
    ]
}

/// What both make of all of it, on one machine.
fn both(at: &Path) -> Vec<(&'static str, Verdict, Verdict)> {
    let place = at.display().to_string();
    let checks: Vec<(&str, Check)> = check_all()
        .into_iter()
        .map(|(what, check)| {
            (
                what,
                serde_json::from_str(&serde_json::to_string(&check).unwrap().replace("AT/", &format!("{place}/")))
                    .unwrap(),
            )
        })
        .collect();
    let proofs: Vec<Proof> = checks
        .iter()
        .map(|(what, check)| Proof::new("t", &what.replace(' ', "-"), &[], *what, check.clone()))
        .collect();
    let asked: Vec<&Check> = checks.iter().map(|(_, check)| check).collect();
    let path = format!("{place}/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let run = |program: &str, script: &str| {
        Command::new(program)
            .args(["-c", script])
            .env("PATH", &path)
            .env("at", &place)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    };
    let judged = inside::judge(&asked, &run("bash", &inside::script(&asked)).stdout);
    // The machine's own programs are first in its way.
    let script = render(template!("plan/verify.sh"), &verify::asked(&proofs)).unwrap();
    let own = "PATH=/usr/local/sbin";
    assert!(script.contains(own));
    let said = run("sh", &script.replace(own, &format!("PATH={place}/bin:/usr/local/sbin")));
    let text = String::from_utf8(said.stdout).unwrap();
    let found: Vec<Verdict> = proofs
        .iter()
        .map(|p| match text.lines().find(|l| l.contains(&format!(" {}: ", p.id))) {
            None => Verdict::Holds,
            Some(line) if line.starts_with("fails ") => Verdict::Fails,
            Some(line) if line.starts_with("unknown ") => Verdict::Unknown,
            Some(line) => panic!("{line}"),
        })
        .collect();
    let count = |v| found.iter().filter(|f| **f == v).count();
    let (holds, fails, unknown) = (count(Verdict::Holds), count(Verdict::Fails), count(Verdict::Unknown));
    let last = format!("hardtack-verify: {holds} hold, {fails} fail, {unknown} could not be told");
    assert_eq!(text.lines().last(), Some(last.as_str()), "{text}{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(said.status.code(), Some(if fails > 0 { 1 } else { 75 }));
    checks.iter().zip(judged).zip(found).map(|(((what, _), judged), found)| (*what, judged.verdict, found)).collect()
}

#[test]
fn the_machine_finds_of_itself_what_the_prover_finds() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("bin")).unwrap();
    fs::create_dir_all(at("home/.ssh")).unwrap();
    for (name, text) in PROGRAMS {
        fs::write(at("bin").join(name), format!("#!/bin/sh\nat={}\n{text}\n", folder.path().display())).unwrap();
        fs::set_permissions(at("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in ["one", "two"] {
        fs::create_dir_all(at("proc").join(name)).unwrap();
        fs::write(at("proc").join(name).join("a"), "1\n").unwrap();
    }
    fs::write(at("proc/words"), "4096\t87380\t6291456\n").unwrap();
    fs::write(at("file"), "").unwrap();
    fs::set_permissions(at("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(at("home/.ssh/authorized_keys"), "# keys\nssh-rsa BBBB\n\nssh-ed25519 AAAA a b\n").unwrap();
    fs::write(at("rules"), "User alice may run:\n    (ALL : ALL) ALL\n").unwrap();
    fs::write(at("tried"), "sudo: a password is required\n").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut compare = |when: &str| {
        for (what, prover, machine) in both(folder.path()) {
            assert_eq!(prover, machine, "{when}: {what}");
            seen.insert((what, format!("{prover:?}")));
        }
    };
    compare("as it should be");
    after_a_reboot();
    // Another machine, on which most is otherwise.
    fs::write(at("proc/two/a"), "0\n").unwrap();
    fs::write(at("rules"), "    (ALL : ALL) NOPASSWD: ALL\n").unwrap();
    fs::write(at("tried"), "0\n").unwrap();
    fs::write(at("status"), "255").unwrap();
    fs::write(at("gone"), "").unwrap();
    fs::set_permissions(at("file"), fs::Permissions::from_mode(0o4644)).unwrap();
    compare("another");
    fs::write(at("rules"), "User alice is not allowed to run sudo on it.\n").unwrap();
    fs::write(at("tried"), "sudo: a password is required\n").unwrap();
    compare("a third");
    for verdict in ["Holds", "Fails", "Unknown"] {
        assert!(seen.iter().filter(|(_, v)| v == verdict).count() > 5, "{verdict}: {seen:?}");
    }
}

/// What is seen only after a reboot is not asked for before one.
fn after_a_reboot() {
    let check = Check::Script { script: "false".into() };
    let proof = Proof { when: When::AfterReboot, ..Proof::new("t", "later", &[], "later", check) };
    let script = render(template!("plan/verify.sh"), &verify::asked(&[proof])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (sealed, id) = (folder.path().join("sealed"), folder.path().join("machine-id"));
    let run = || {
        let folder = folder.path().to_str().unwrap();
        let script =
            script.replace("/var/lib/hardtack", folder).replace("/etc/machine-id", &format!("{folder}/machine-id"));
        Command::new("sh").args(["-c", &script]).output().unwrap().status.code()
    };
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    let old =
        |path: &std::path::Path| fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    fs::write(&id, "").unwrap();
    old(&id);
    assert_eq!(run(), Some(0), "it was never sealed");
    fs::write(&sealed, "").unwrap();
    assert_eq!(run(), Some(0), "it was sealed in this boot");
    old(&sealed);
    assert_eq!(run(), Some(1), "it was sealed in another");
    fs::write(&id, "x").unwrap();
    assert_eq!(run(), Some(0), "it was sealed before it was a machine of its own");
}

/// An update makes nothing right that no package has brought.
#[test]
fn an_update_hides_no_file_that_is_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("bin")).unwrap();
    for (name, text) in [
        ("aide", "[ \"$1\" = --init ] && { : >\"$at/aide.db.new\"; exit 0; }\ncat \"$at/report\"; exit 4"),
        (
            "dpkg-query",
            "case $1 in -W) cat \"$at/installed\" ;; *) case $2 in /bin/ls | /etc/sudoers) echo \"tool: $2\" ;; *) exit 1 ;; esac ;; esac",
        ),
        ("dpkg", "cat \"$at/altered\""),
    ] {
        fs::write(at("bin").join(name), format!("#!/bin/sh\nat={}\n{text}\n", folder.path().display())).unwrap();
        fs::set_permissions(at("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let place = folder.path().to_str().unwrap();
    let holes = std::collections::BTreeMap::from([("state", place), ("config", "/c")]);
    let script = render(template!("watch/integrity.sh"), &holes).unwrap();
    let script = script.replace("PATH=/usr/local/sbin", &format!("PATH={place}/bin:/usr/local/sbin"));
    let run = |verb: &str| {
        let done = Command::new("sh").args(["-c", &script, "it", verb]).output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap())
    };
    let put = |name: &str, text: &str| fs::write(at(name), text).unwrap();
    put("installed", "tool 1 installed\n");
    put("altered", "");
    assert_eq!(run("accept").0, Some(0));
    put("report", "f > ..  : /usr/bin/ls\n");
    assert_eq!(run("check").0, Some(1), "no package has changed");
    put("installed", "tool 2 installed\n");
    put("report", "f > ..  : /usr/bin/ls\nf++++++: /usr/local/bin/evil\n");
    let (code, said) = run("check");
    assert!(code == Some(1) && said.contains("/usr/local/bin/evil is no package's"), "{said}");
    put("report", "f > ..  : /etc/sudoers\n");
    put("altered", "??5?????? c /etc/sudoers\n");
    let (code, said) = run("check");
    assert!(code == Some(1) && said.contains("/etc/sudoers is no package's, or not as it brought it"), "{said}");
    put("report", "what nobody understands\n");
    assert_eq!(run("check").0, Some(1), "nothing is right that could not be read");
    put("report", "f > ..  : /usr/bin/ls\n");
    let (code, said) = run("check");
    assert!(code == Some(0) && said.contains("taken as right"), "{said}");
}

/// A socket that a client has just opened is seen without its owner, once; whatever has an owner, or stays, is strange at once or twice.
#[test]
fn a_port_of_nobodys_is_looked_at_twice() {
    let spec = fs::read_to_string(crate::support::root().join("tests/specs/services.yaml")).unwrap();
    let (_, proofs) = crate::support::bake(&spec, None, &|_| {});
    let Check::Script { script } = &proofs.iter().find(|p| p.id == "services/listens-ports").unwrap().check else {
        panic!("no script")
    };
    let nobodys = "udp UNCONN 0 0 0.0.0.0:41234 0.0.0.0:*\n";
    let a_clients = "udp UNCONN 0 0 0.0.0.0:41234 0.0.0.0:* users:((\"systemd-timesyn\",pid=7,fd=9))\n";
    let a_strangers = "udp UNCONN 0 0 0.0.0.0:41234 0.0.0.0:* users:((\"python3\",pid=7,fd=9))\n";
    for (first, then, status) in [
        (nobodys, a_clients, 0),
        (nobodys, "", 0),
        (a_clients, a_clients, 0),
        (nobodys, nobodys, 1),
        (nobodys, a_strangers, 1),
        (a_strangers, "", 1),
        ("", "", 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::write(at.join("seen"), first).unwrap();
        fs::write(at.join("then"), then).unwrap();
        fs::write(at.join("ss"), "#!/bin/sh\nat=${0%/*}\ncat \"$at/seen\"\ncp \"$at/then\" \"$at/seen\"\n").unwrap();
        fs::set_permissions(at.join("ss"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", at.display(), std::env::var("PATH").unwrap());
        let done = Command::new("sh").args(["-c", script]).env("PATH", path).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(status), "{first}{then}{said}");
    }
}
