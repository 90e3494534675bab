//! The same spec is the same bytes for another user, umask, locale, time zone and folder, on another day.
#![expect(clippy::disallowed_methods, reason = "the program is run as another user, at another time")]

use crate::support::{hardtack, root};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Every path below a folder: its mode and its bytes.
type Found = BTreeMap<String, (u32, Vec<u8>)>;

fn found(folder: &Path) -> Found {
    fn walk(at: &Path, name: &str, all: &mut Found) {
        let about = std::fs::symlink_metadata(at).unwrap();
        assert!(about.is_dir() || about.is_file(), "{} is neither a folder nor a file", at.display());
        let mode = about.permissions().mode();
        let data = if about.is_file() { std::fs::read(at).unwrap() } else { Vec::new() };
        all.insert(name.to_owned(), (mode, data));
        if about.is_dir() {
            for entry in std::fs::read_dir(at).unwrap() {
                let entry = entry.unwrap();
                walk(&entry.path(), &format!("{name}/{}", entry.file_name().to_str().unwrap()), all);
            }
        }
    }
    let mut all = Found::new();
    walk(folder, "", &mut all);
    all
}

#[track_caller]
fn same(one: &Found, other: &Found) {
    assert!(one.keys().eq(other.keys()), "{:?}\n{:?}", one.keys(), other.keys());
    for (name, (mode, data)) in one {
        let (other_mode, other_data) = &other[name];
        assert_eq!(format!("{mode:o}"), format!("{other_mode:o}"), "{name}");
        assert!(data == other_data, "{name} is not the same bytes");
    }
    assert!(one.len() > 20, "only {:?}", one.keys());
}

fn world_may_enter(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// Bakes as nobody, in another place, at another time; and shows that all of that was so.
#[track_caller]
fn bake_elsewhere(spec: Option<&Path>, home: &Path, output: &Path) {
    assert!(
        Command::new("faketime").arg("--version").output().is_ok(),
        "this test needs faketime, of the package faketime: apt-get install faketime"
    );
    let script = "umask 077; id -u; umask; date +%Y; date +%z; pwd; exec \"$@\"";
    let done = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "faketime", "2031-05-06 07:08:09"])
        .args(["sh", "-c", script, "sh"])
        .arg(assert_cmd::cargo::cargo_bin!("hardtack"))
        .arg("bake")
        .args(spec)
        .arg("-o")
        .arg(output)
        .current_dir("/usr/share")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", home)
        .envs([("LC_ALL", "tr_TR.UTF-8"), ("LANG", "tr_TR.UTF-8"), ("TZ", "Pacific/Kiritimati"), ("USER", "nobody")])
        .output()
        .expect("setpriv, of util-linux");
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(said.lines().take(5).collect::<Vec<_>>(), ["65534", "0077", "2031", "+1400", "/usr/share"]);
}

#[test]
fn a_spec_bakes_to_the_same_bytes_anywhere() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    world_may_enter(there.path());
    let sample = root().join("tests/specs/other.yaml");
    let copy = there.path().join("ein anderer Name.yml");
    std::fs::copy(&sample, &copy).unwrap();
    hardtack().arg("bake").arg(sample).arg("-o").arg(here.path().join("a")).assert().success();
    let output = there.path().join("a longer name, İı");
    bake_elsewhere(Some(&copy), there.path(), &output);
    same(&found(&here.path().join("a")), &found(&output));
}

#[test]
fn the_starter_bakes_to_the_same_bytes_anywhere() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    world_may_enter(there.path());
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5 me@here\n";
    for (home, name) in [(here.path(), "id_ed25519.pub"), (there.path(), "other.pub")] {
        std::fs::create_dir(home.join(".ssh")).unwrap();
        std::fs::write(home.join(".ssh").join(name), key).unwrap();
    }
    let output = here.path().join("web");
    hardtack().arg("bake").arg("-o").arg(&output).env("HOME", here.path()).assert().success();
    bake_elsewhere(None, there.path(), &there.path().join("x"));
    same(&found(&output), &found(&there.path().join("x")));
}

#[test]
fn a_date_that_is_asked_for_stands_in_the_seeds_only() {
    let folder = tempfile::tempdir().unwrap();
    let bake = |epoch: &str| {
        let output = folder.path().join(epoch);
        hardtack()
            .arg("bake")
            .arg(root().join("tests/specs/other.yaml"))
            .arg("-o")
            .arg(&output)
            .env("SOURCE_DATE_EPOCH", epoch)
            .assert()
            .success();
        found(&output)
    };
    let (one, other) = (bake("1000000000"), bake("1700000000"));
    assert!(one.keys().eq(other.keys()));
    let differ: Vec<_> = one.keys().filter(|name| one[*name] != other[*name]).map(String::as_str).collect();
    // The manifest and the sums name the seeds' digests.
    assert_eq!(differ, ["/SHA256SUMS", "/bundle.json", "/seed.img", "/seed.iso"]);
    for seed in ["/seed.img", "/seed.iso"] {
        let (one, other) = (&one[seed].1, &other[seed].1);
        assert_eq!(one.len(), other.len());
        let bytes = one.iter().zip(other).filter(|(a, b)| a != b).count();
        assert!(bytes < 300, "{seed}: {bytes} bytes differ, which is more than times take");
    }
    for name in ["/SHA256SUMS", "/bundle.json"] {
        let lines = |found: &Found| String::from_utf8(found[name].1.clone()).unwrap();
        let (one, other) = (lines(&one), lines(&other));
        let changed = one.lines().zip(other.lines()).filter(|(a, b)| a != b).count();
        // SHA256SUMS names bundle.json too.
        assert_eq!(changed, if name == "/SHA256SUMS" { 3 } else { 2 }, "{name}");
    }
    for bad in ["", "yesterday", "-1", "1.5", "4294967296", " 1"] {
        let output = folder.path().join("bad");
        let done = hardtack()
            .arg("bake")
            .arg(root().join("tests/specs/other.yaml"))
            .arg("-o")
            .arg(&output)
            .env("SOURCE_DATE_EPOCH", bad)
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{bad:?}: {said}");
        let last = "hardtack: SOURCE_DATE_EPOCH is not a number of seconds from 0 to 4294967295\n";
        assert!(said.ends_with(last), "{bad:?}: {said}");
        assert!(!output.exists());
    }
}
