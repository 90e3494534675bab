//! The verbs as a person meets them: what is said, where it is said, the exit code, and what lies on the disk after.
#![expect(clippy::disallowed_methods, reason = "the program is run as other users, and other programs judge it")]

mod blocklist;
mod cloud;
mod passwd;
mod runs;
mod serve;
mod templates;
mod verify;

use crate::support::{hardtack, root};
use hardtack::hurdle::MANUALS;
use hardtack::plan::lints;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5 me@here\n";
const BOX: &str = "hardtack: 1\nname: box\nimage: debian-12\nhurdles: { sysctl: { baseline: article } }\n";
const BAD: &str = "hardtack: 1\nnaem: box\nname: box\nimage: debian-12\nhurdles: { ssh: { port: 0 } }\n";
const BAD_DRAWN: &str = "\
error[spec/unknown-key]: there is no key `naem` in a spec
 --> bad.yaml:2:1
  |
2 | naem: box
  | ^^^^
  |
  = help: did you mean `name`?

error[spec/out-of-range]: expected a port (1 to 65535), found 0
 --> bad.yaml:5:25
  |
5 | hurdles: { ssh: { port: 0 } }
  |                         ^

bad.yaml: 2 errors, 0 warnings
";

/// A folder with specs, and a home without keys.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::write(place.at("box.yaml"), BOX).unwrap();
        std::fs::write(place.at("bad.yaml"), BAD).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with_key(self) -> Self {
        std::fs::create_dir(self.at(".ssh")).unwrap();
        std::fs::write(self.at(".ssh/id.pub"), KEY).unwrap();
        self
    }

    /// Runs the program there: exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = hardtack();
        command.args(arguments).current_dir(self.0.path()).env("HOME", self.0.path());
        let done = command.env("XDG_CACHE_HOME", self.at("cache")).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, out: &str, err: &str) {
        let (got, said, complained) = self.run(arguments);
        assert_eq!((got, said.as_str(), complained.as_str()), (code, out, err), "{arguments:?}");
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o7777
}

/// The keys that a bundle lets in.
fn keys_in(bundle: &Path) -> Vec<String> {
    let user_data = std::fs::read_to_string(bundle.join("cloud-init/user-data")).unwrap();
    let users = crate::matrix::as_json(&user_data)["users"].clone();
    let keys = users.as_array().unwrap().iter().flat_map(|u| u["ssh_authorized_keys"].as_array().unwrap().clone());
    keys.map(|k| k.as_str().unwrap().to_owned()).collect()
}

#[test]
fn no_arguments_and_help_say_how_to_begin() {
    let place = Place::new();
    let (code, out, err) = place.run(&[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("Usage: hardtack <COMMAND>") && err.contains("hardtack new machine.yaml"), "{err}");
    let (code, out, err) = place.run(&["--help"]);
    let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!((code, err.as_str()), (0, ""));
    let codes = "Exit codes: 0 all well; 1 the spec or a proof is bad; 2 used wrongly; 3 nothing was proved; \
        69 the harness could not run; 70 a bug.";
    assert!(out.contains(codes), "{out}");
    for verb in ["bake", "check", "prove", "new", "explain", "list", "blocklist", "image"] {
        let (code, out, _) = place.run(&[verb, "--help"]);
        assert!(code == 0 && out.contains(&format!("hardtack {verb}")), "{verb}: {out}");
    }
    assert_eq!(place.run(&["bkae"]).0, 2);
    place.check(&["--version"], 0, &format!("hardtack {}\n", env!("CARGO_PKG_VERSION")), "");
}

#[test]
fn check_says_all_that_is_wrong_with_all_of_them() {
    let place = Place::new();
    let missing = "hardtack: nope.yaml: cannot be read: No such file or directory (os error 2)\n";
    let folder = "hardtack: .: this is a directory; name the spec in it\n";
    place.check(&["check", "box.yaml"], 0, "box.yaml: nothing to object to\n", "");
    place.check(&["check", "bad.yaml"], 1, BAD_DRAWN, "");
    place.check(&["check", "nope.yaml"], 2, "", missing);
    place.check(&["check", "."], 2, "", folder);
    let all = ["check", "nope.yaml", "bad.yaml", ".", "box.yaml"];
    place.check(&all, 2, &format!("{BAD_DRAWN}box.yaml: nothing to object to\n"), &format!("{missing}{folder}"));
    let known = "hardtack: there is no image `sid`; known: debian-12, debian-12-selinux, debian-12-sysvinit, debian-13, rocky-9, ubuntu-24.04\n";
    place.check(&["check", "box.yaml", "--image", "sid"], 2, "", known);
    assert_eq!(place.run(&["check"]).0, 2);
}

#[test]
fn check_says_it_in_json_a_line_each() {
    let place = Place::new();
    place.check(&["check", "--format", "json", "box.yaml"], 0, "", "");
    let (code, out, err) = place.run(&["check", "--format", "json", "bad.yaml"]);
    assert_eq!((code, err.as_str()), (1, ""));
    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let wanted: Value = serde_json::from_str(
        r#"{"format":1,"file":"bad.yaml","line":2,"column":1,"end_line":2,"end_column":5,"severity":"error",
            "code":"spec/unknown-key","message":"there is no key `naem` in a spec","help":"did you mean `name`?"}"#,
    )
    .unwrap();
    assert_eq!(lines[0], wanted);
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert!(line.as_object().unwrap().keys().eq(wanted.as_object().unwrap().keys()), "{line}");
    }
}

#[test]
fn bake_replaces_a_bundle_and_nothing_else() {
    let place = Place::new();
    let (code, out, err) = place.run(&["bake", "box.yaml"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("box.bundle: ") && out.contains(" files for box on debian-12, bundle "), "{out}");
    let next = "attach box.bundle/seed.img as a disk, or give box.bundle/cloud-init/user-data to a cloud; \
        next: hardtack prove box.yaml\n";
    assert_eq!(err, next);
    // Onto a bundle: what only the old one had is gone.
    std::fs::write(place.at("box.bundle/old"), "x").unwrap();
    place.check(&["bake", "box.yaml"], 0, &out, next);
    assert!(!place.at("box.bundle/old").exists());
    // Onto anything else: nothing is touched.
    std::fs::create_dir(place.at("mine")).unwrap();
    std::fs::write(place.at("mine/bundle.json"), "{\"format\": 1}").unwrap();
    std::os::unix::fs::symlink("box.bundle", place.at("link")).unwrap();
    let before = place.names();
    for (to, what) in [
        ("mine", "will not replace mine: it is a directory with other files"),
        ("bad.yaml", "will not replace bad.yaml: it is not a directory"),
        ("link", "will not replace link: it is a symbolic link"),
        ("no/bundle", "could not look at no: No such file or directory (os error 2)"),
        ("..", "will not replace ..: it is not a name for a new directory"),
    ] {
        place.check(&["bake", "box.yaml", "-o", to], 2, "", &format!("hardtack: {what}\n"));
    }
    let (code, out, err) = place.run(&["bake", "bad.yaml", "-o", "new"]);
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", BAD_DRAWN));
    assert_eq!(place.names(), before);
    assert_eq!(std::fs::read_to_string(place.at("mine/bundle.json")).unwrap(), "{\"format\": 1}");
}

#[test]
fn a_bundle_is_what_its_manifest_says() {
    let place = Place::new();
    let sample = root().join("tests/specs/other.yaml");
    assert_eq!(place.run(&["bake", sample.to_str().unwrap(), "-o", "out"]).0, 0);
    let bundle = place.at("out");
    for secret in ["cloud-init/user-data", "seed.img", "seed.iso"] {
        assert_eq!(mode(&bundle.join(secret)), 0o600, "{secret}");
    }
    let sums = |what: &str| {
        let done = Command::new("sha256sum").args(["--strict", "-c", what]).current_dir(&bundle).output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap().lines().count())
    };
    let manifest: Value = serde_json::from_slice(&std::fs::read(bundle.join("bundle.json")).unwrap()).unwrap();
    assert_eq!(manifest["format"], 1);
    assert_eq!((&manifest["name"], &manifest["image"]), (&"db-7".into(), &"debian-12".into()));
    let files = manifest["files"].as_array().unwrap();
    // The manifest has every file but itself and the sums; the sums have the manifest too.
    assert_eq!(sums("SHA256SUMS"), (true, files.len() + 1));
    let mut listed = String::new();
    for file in files {
        let path = bundle.join(file["path"].as_str().unwrap());
        assert_eq!(file["size"], std::fs::metadata(&path).unwrap().len(), "{file}");
        assert_eq!(file["mode"], format!("{:04o}", mode(&path)), "{file}");
        listed.push_str(&format!("{}  {}\n", file["sha256"].as_str().unwrap(), file["path"].as_str().unwrap()));
    }
    std::fs::write(bundle.join("listed"), listed).unwrap();
    assert_eq!(sums("listed"), (true, files.len()));
    let spec = Command::new("sha256sum").arg(&sample).output().unwrap();
    assert!(spec.stdout.starts_with(manifest["spec_sha256"].as_str().unwrap().as_bytes()));
    std::fs::write(bundle.join("seed.img"), "damaged").unwrap();
    assert!(!sums("SHA256SUMS").0);
}

#[test]
fn without_a_key_one_is_made_beside_the_bundle_and_used_again() {
    let place = Place::new();
    let (code, first, err) = place.run(&["bake"]);
    assert_eq!(code, 0, "{err}");
    let made = "no spec given: baking the built-in starter (`hardtack new` prints it)\n\
        no key in ~/.ssh: made web01.bundle-key (keep it safe; it is the way in) and its .pub\n";
    assert!(err.starts_with(made), "{err}");
    let private = place.at("web01.bundle-key");
    assert_eq!(mode(&private), 0o600);
    let public = std::fs::read_to_string(place.at("web01.bundle-key.pub")).unwrap();
    let derived = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&private).output().unwrap();
    assert_eq!(String::from_utf8(derived.stdout).unwrap(), public);
    assert_eq!(keys_in(&place.at("web01.bundle")), [public.trim_end()]);
    let (code, second, err) = place.run(&["bake"]);
    assert_eq!((code, second), (0, first));
    assert!(err.contains("no key in ~/.ssh: using web01.bundle-key.pub\n"), "{err}");
    assert_eq!(std::fs::read_to_string(place.at("web01.bundle-key.pub")).unwrap(), public);
    // No part of the pair is in the bundle.
    let names = std::fs::read_dir(place.at("web01.bundle")).unwrap().count();
    assert_eq!(names, 6, "cloud-init, rootfs, two seeds, bundle.json, SHA256SUMS");
}

#[test]
fn a_persons_own_key_is_used() {
    let place = Place::new().with_key();
    std::fs::write(place.at(".ssh/a.pub"), "not a key\n").unwrap();
    let (code, _, err) = place.run(&["bake", "-o", "mine"]);
    let used = format!("with {}\n", place.at(".ssh/id.pub").display());
    assert!(code == 0 && err.contains(&used), "{err}");
    assert!(!place.at("mine-key").exists());
    assert_eq!(keys_in(&place.at("mine")), [KEY.trim_end()]);
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.at("theirs")).unwrap();
    for (folder, bits) in [("", 0o755), ("theirs", 0o755)] {
        std::fs::set_permissions(place.at(folder), std::fs::Permissions::from_mode(bits)).unwrap();
    }
    let done = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(assert_cmd::cargo::cargo_bin!("hardtack"))
        .args(["bake", "../box.yaml", "-o", "x"])
        .current_dir(place.at("theirs"))
        .output()
        .expect("setpriv, of util-linux");
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(said, "hardtack: could not make a temporary directory in .: permission denied\n");
    assert_eq!((done.status.code(), done.stdout.as_slice()), (Some(69), [].as_slice()));
    assert_eq!(std::fs::read_dir(place.at("theirs")).unwrap().count(), 0);
}

#[test]
fn new_prints_or_writes_a_spec_that_is_good() {
    let place = Place::new();
    let advice = "hardtack: there is no public key in ~/.ssh to put into the spec; make one with: ssh-keygen -t ed25519 -a 100\n";
    place.check(&["new"], 2, "", advice);
    let place = place.with_key();
    let (code, printed, err) = place.run(&["new"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(printed.contains(&format!("          - \"{}\"\n", KEY.trim_end())), "{printed}");
    place.check(&["new", "m.yaml"], 0, "", "wrote m.yaml; next: hardtack check m.yaml\n");
    assert_eq!(std::fs::read_to_string(place.at("m.yaml")).unwrap(), printed);
    assert_eq!(place.run(&["check", "m.yaml"]).0, 0);
    std::fs::write(place.at("m.yaml"), "mine").unwrap();
    place.check(&["new", "m.yaml"], 2, "", "hardtack: m.yaml: File exists (os error 17)\n");
    assert_eq!(std::fs::read_to_string(place.at("m.yaml")).unwrap(), "mine");
}

#[test]
fn everything_can_be_explained_and_listed() {
    let place = Place::new();
    let codes: Vec<_> = MANUALS
        .iter()
        .flat_map(|m| m.lints)
        .chain(lints::ALL)
        .chain(hardtack::yaml::FAULTS)
        .chain(hardtack::spec::LINTS)
        .map(|l| l.code)
        .collect();
    for code in MANUALS.iter().map(|m| m.name).chain(codes.iter().copied()).chain(["spec"]) {
        let (status, out, err) = place.run(&["explain", code]);
        assert!(status == 0 && err.is_empty() && out.contains(code) && out.lines().count() > 5, "{code}: {out}{err}");
    }
    let (_, firewall, _) = place.run(&["explain", "firewall"]);
    assert!(
        firewall.contains(
            "\n  iptables --policy OUTPUT ACCEPT\n      The same with `outbound: open`, which is the default. (R7)\n"
        ),
        "{firewall}"
    );
    assert_eq!(place.run(&["explain"]), place.run(&["explain", "spec"]));
    let near = "hardtack: nothing is called `ssh/pasword-login`; did you mean `ssh/password-login`?\n";
    place.check(&["explain", "ssh/pasword-login"], 2, "", near);
    let far = "hardtack: nothing is called `zzz`; see `hardtack list hurdles` and `hardtack list lints`\n";
    place.check(&["explain", "zzz"], 2, "", far);
    for (what, first) in
        [("hurdles", "accounts"), ("lints", codes[0]), ("images", "debian-12"), ("deliveries", "cloud-init")]
    {
        let (status, out, err) = place.run(&["list", what]);
        assert_eq!((status, err.as_str()), (0, ""), "{what}");
        assert!(out.lines().any(|l| l.split(' ').next() == Some(first)) && !out.contains(" \n"), "{what}: {out}");
    }
    assert_eq!(place.run(&["list", "lints"]).1.lines().count(), codes.len());
    let (status, out, err) = place.run(&["list", "proofs", "box.yaml"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("sysctl/net.ipv4.ip_forward  "), "{out}");
    assert_eq!(place.run(&["list", "proofs"]).0, 2);
    assert_eq!(place.run(&["list", "proofs", "bad.yaml"]), (1, String::new(), BAD_DRAWN.to_owned()));
}

#[test]
fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
    let program = assert_cmd::cargo::cargo_bin!("hardtack");
    let shell = |script: &str| {
        let done = Command::new("bash").args(["-c", script, "bash"]).arg(program).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    };
    let quiet = shell("set -o pipefail; \"$1\" list lints | head -1 | wc -l");
    assert_eq!(quiet, (0, "1\n".to_owned(), String::new()));
    // The reader is gone before the first word.
    let gone = shell("exec 3> >(exit); wait $!; \"$1\" list lints >&3");
    assert_eq!(gone, (0, String::new(), String::new()));
    let (code, _, err) = shell("\"$1\" list lints >/dev/full");
    assert_eq!(code, 69);
    assert_eq!(err, "hardtack: what was said could not be written: No space left on device (os error 28)\n");
}

#[test]
fn colour_is_for_a_terminal_whose_person_wants_it() {
    let place = Place::new();
    let escape = '\u{1b}';
    assert!(!place.run(&["check", "bad.yaml"]).1.contains(escape));
    // A terminal of util-linux' script: without NO_COLOR the same words have colour.
    let on_a_terminal = |variable: &str| {
        let program = assert_cmd::cargo::cargo_bin!("hardtack");
        let done = Command::new("script")
            .args(["-qec", &format!("{} check bad.yaml", program.display()), "/dev/null"])
            .current_dir(place.0.path())
            .env_clear()
            .envs([("TERM", "xterm"), ("PATH", "/usr/bin:/bin"), (variable, "1")])
            .output()
            .expect("script, of bsdutils");
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(on_a_terminal("UNSET").contains(escape));
    assert!(!on_a_terminal("NO_COLOR").contains(escape));
}

#[test]
fn prove_names_what_makes_a_missing_image() {
    let place = Place::new();
    let missing = "hardtack: there is no image debian-12 yet; make it with: hardtack image build debian-12\n";
    place.check(&["prove", "box.yaml"], 69, "", missing);
    let never = "hardtack: ubuntu-24.04 is rendered and linted here, but never booted\n";
    place.check(&["prove", "box.yaml", "--image", "ubuntu-24.04"], 69, "", never);
    for name in ["x.txt", "x", "x.JSON", ".json"] {
        let why = format!("hardtack: {name}: a report is FILE.json, FILE.xml (JUnit) or FILE.html\n");
        place.check(&["prove", "box.yaml", "--report", "x.xml", "--report", name], 2, "", &why);
    }
    let nowhere = "hardtack: gone/x.html: there is no folder gone; make it first\n";
    place.check(&["prove", "box.yaml", "--report", "x.json", "--report", "gone/x.html"], 2, "", nowhere);
    assert!(!place.at("x.json").exists() && !place.at("x.xml").exists());
    place.check(&["prove", "bad.yaml"], 1, "", BAD_DRAWN);
    let (code, out, err) = place.run(&["image", "list"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("debian-12  Debian 12 (bookworm)\n    not here; make it with: hardtack image build debian-12\n")
    );
    assert!(!place.at("cache").exists(), "looking makes no cache");
    let (code, _, err) = place.run(&["image", "build", "ubuntu-24.04"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn a_way_in_is_shown_step_by_step_and_all_of_them_to_programs() {
    let place = Place::new();
    let text = format!(
        "hardtack: 1\nname: web01\nimage: debian-12\nhurdles:\n  accounts: {{ people: [{{ name: ana, keys: ['{}'], sudo: without-password }}, \
         {{ name: bob, keys: ['restrict,pty {}'] }}] }}\n  ssh: {{ port: 222, allow_users: [ana, bob] }}\n  \
         firewall: {{ allow: [{{ service: ssh, from: [10.0.0.0/8], interface: eth1 }}] }}\n",
        KEY.trim_end(),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINVF2WZPECVcdRoevBucle7zILfCV54V2+J81fuAy4pL bob"
    );
    std::fs::write(place.at("web.yaml"), text).unwrap();
    let (code, out, _) = place.run(&["check", "--way-in", "web.yaml"]);
    let shown = "web01: a way in, and one other\n  \
        1. from 10.0.0.0/8, on eth1, at 222/tcp, from the first moment on\n  \
        2. ssh -p 222 ana@web01, with the key ssh-ed25519 …K3J5m0q5 me@here\n  \
        3. sudo does anything\n";
    assert!(code == 0 && out.ends_with(shown), "{out}");
    let (code, out, _) = place.run(&["check", "--way-in", "--format", "json", "web.yaml"]);
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let door = serde_json::json!({ "from": ["10.0.0.0/8"], "interface": "eth1" });
    let with = serde_json::json!({ "key": "ssh-ed25519 …1fuAy4pL bob" });
    let way = serde_json::json!({ "user": "bob", "door": door, "port": 222, "with": with, "sudo": "nothing" });
    assert_eq!((code, last), (0, serde_json::json!({ "format": 1, "file": "web.yaml", "way_in": way })));
    // Nothing is said of who comes in where the spec has no people, nor where it is refused.
    let (code, out, _) = place.run(&["check", "--way-in", "box.yaml"]);
    assert!(
        code == 0 && out.ends_with("box: the spec does not say who may log in: that is as the image has it\n"),
        "{out}"
    );
    assert!(!place.run(&["check", "--way-in", "bad.yaml"]).1.contains("way in"));
}

#[test]
fn keys_come_from_the_persons_own_files_by_a_pattern() {
    let place = Place::new();
    let ssh = place.at(".ssh");
    std::fs::create_dir(&ssh).unwrap();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINVF2WZPECVcdRoevBucle7zILfCV54V2+J81fuAy4pL desk";
    // Without an end of its last line; what is no .pub file, and what is hidden, is not meant.
    std::fs::write(ssh.join("id_a.pub"), KEY.trim_end()).unwrap();
    std::fs::write(ssh.join("id_b.pub"), other).unwrap();
    std::fs::write(ssh.join(".hidden.pub"), "no key").unwrap();
    std::fs::write(ssh.join("id_a"), "no key").unwrap();
    let spec = |pattern: &str| {
        let text = format!(
            "hardtack: 1\nname: web01\nimage: debian-12\nhurdles:\n  accounts: {{ people: [{{ name: ana, keys_from: ['{pattern}'], \
             sudo: without-password }}] }}\n  ssh: {{ allow_users: [ana] }}\n"
        );
        std::fs::write(place.at("own.yaml"), text).unwrap();
        let (code, out, _) = place.run(&["check", "--way-in", "own.yaml"]);
        (code, out)
    };
    for pattern in ["~/.ssh/*.pub", ".ssh/id_*", ".ssh/id_*.pub"] {
        let (code, out) = spec(pattern);
        // The private halves of these are no keys.
        let good = pattern.ends_with(".pub");
        assert_eq!(code, i32::from(!good), "{pattern}: {out}");
        assert!(!good || out.contains("web01: a way in, and one other"), "{out}");
    }
    let (code, out) = spec("~/.ssh/*.key");
    assert!(code == 1 && out.contains("no file is called like that"), "{out}");
}

/// Serves a text to whoever asks, at an address of this machine.
fn published(text: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/ana.keys", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::{Read, Write};
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
        }
    });
    address
}

#[test]
fn published_keys_are_taken_by_their_fingerprints_only() {
    let address = published(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINVF2WZPECVcdRoevBucle7zILfCV54V2+J81fuAy4pL\n\
         no key at all\nfrom=\"10.0.0.0/8\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB+oEToaha65E2B/QS6A627PNCpqWrbJv2uKdhDiZYwP\n\
         ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5\n",
    );
    let place = Place::new();
    // As `ssh-keygen -lf` says of the first.
    std::fs::write(
        place.at("first.pub"),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINVF2WZPECVcdRoevBucle7zILfCV54V2+J81fuAy4pL",
    )
    .unwrap();
    let said = Command::new("ssh-keygen").arg("-lf").arg(place.at("first.pub")).output().unwrap().stdout;
    let print = String::from_utf8(said).unwrap().split(' ').nth(1).unwrap().to_owned();
    let check = |from: &str| {
        let text = format!(
            "hardtack: 1\nname: web01\nimage: debian-12\nhurdles:\n  accounts: {{ people: [{{ name: ana, keys_from: ['{from}'], \
             sudo: without-password }}] }}\n  ssh: {{ allow_users: [ana] }}\n"
        );
        std::fs::write(place.at("own.yaml"), text).unwrap();
        place.run(&["check", "--way-in", "own.yaml"])
    };
    let (code, out, _) = check(&format!("{address} {print}"));
    assert!(code == 0 && out.contains("web01: a way in, the only one") && out.contains("…1fuAy4pL"), "{out}");
    // Nobody's word is taken for who is meant: not one that is gone, nor one with options, nor all that stand there.
    for (from, why) in [
        (address.clone(), format!("write beside it which keys are meant; there are now: {print} SHA256:")),
        (format!("{address} SHA256:AAAA"), "no key there is SHA256:AAAA; there are now: ".to_owned()),
        (format!("{address} ana"), "`ana` is no fingerprint".to_owned()),
        ("http://example.org/ana.keys SHA256:AAAA".to_owned(), "is plain http".to_owned()),
    ] {
        let (code, out, _) = check(&from);
        assert!(code == 1 && out.contains(&why), "{from}: {out}");
    }
}
