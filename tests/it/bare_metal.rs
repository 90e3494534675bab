//! The installer of bare metal, on roots of a test's own, by the shells that it meets.

use crate::support::{bake, root};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const SPEC: &str = "hardtack: 1\nname: box-1\nimage: IMAGE\nhurdles:\n  accounts:\n    people:\n      - name: alice\n        keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5 a@b\"]\n        sudo: with-password\n        password_hash: \"$6$rounds=5000$c2FsdHNhbHQ$sZ3RpSYCn/HxLDo/2BHAHGfBsl2iN2d9TtGQc6aZdBAsPMoyj2omFU0sksdyGRuivUr4FplTIxR3AsoV4XigP1\"\n  ssh:\n    allow_users: [alice]\ndeliver: [bare-metal]\n";

/// A bundle on the disk, and a root beside it that systemd, or else SysV init, starts.
struct Desk(TempDir);

impl Desk {
    fn new(image: &str) -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        let (tree, _) = bake(&SPEC.replace("IMAGE", image), None, &|_| {});
        tree.write(&desk.at("bundle"), &|_| false).unwrap();
        for folder in ["root/etc/init.d", "root/sbin"] {
            std::fs::create_dir_all(desk.at(folder)).unwrap();
        }
        if image == "debian-12" {
            std::os::unix::fs::symlink("/lib/systemd/systemd", desk.at("root/sbin/init")).unwrap();
        } else {
            std::fs::write(desk.at("root/sbin/init"), "").unwrap();
        }
        desk
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Runs the installer for the root, by a shell, as root or as who may seem to be.
    fn install(&self, shell: &[&str], more: &[&str]) -> (i32, String) {
        let mut words: Vec<&str> = if rustix::process::geteuid().is_root() { vec![] } else { vec!["unshare", "-r"] };
        words.extend(shell);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(self.at("bundle/bare-metal/install")).arg("--root").arg(self.at("root"));
        let done = command.args(more).output().unwrap();
        let said = [done.stdout, done.stderr].map(|s| String::from_utf8(s).unwrap()).concat();
        (done.status.code().unwrap(), said)
    }

    /// What is in the root, each file and link by its path.
    fn found(&self) -> Vec<String> {
        let script = "find . ! -type d | sort";
        let done = Command::new("sh").args(["-c", script]).current_dir(self.at("root")).output().unwrap();
        String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "ash"]];

#[test]
fn what_is_installed_starts_with_the_machine() {
    for shell in SHELLS {
        let desk = Desk::new("debian-12");
        let (code, said) = desk.install(shell, &[]);
        assert_eq!(
            (code, said.as_str()),
            (0, "hardtack: box-1 is there, and applied at the next start\n"),
            "{shell:?}"
        );
        let first = desk.found();
        let payload = desk.at("root/var/lib/hardtack/payload");
        assert!(payload.join("files/usr/local/lib/hardtack/firstboot").is_file(), "{first:?}");
        for (target, unit) in [("sysinit", "place"), ("multi-user", "late")] {
            let link = desk.at(&format!("root/etc/systemd/system/{target}.target.wants/hardtack-{unit}.service"));
            assert_eq!(
                std::fs::read_link(link).unwrap(),
                Path::new(&format!("/etc/systemd/system/hardtack-{unit}.service"))
            );
        }
        // Nobody but root reads hashes.
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &str| std::fs::metadata(payload.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("place"), mode("SHA256SUMS")), (0o700, 0o700, 0o600));
        // Folders that a machine does not have yet become what these are.
        for folder in ["files", "files/usr/local/lib/hardtack", "files/etc/ssh/sshd_config.d"] {
            assert_eq!(mode(folder), 0o755, "{shell:?}: {folder}");
        }
        // As after a power cut in the middle of it.
        std::fs::remove_file(payload.join("place")).unwrap();
        std::fs::create_dir(desk.at("root/var/lib/hardtack/payload.new")).unwrap();
        assert_eq!(desk.install(shell, &[]).0, 0);
        assert_eq!(desk.found(), first);
    }
}

#[test]
fn a_line_in_rc_local_keeps_what_was_there() {
    let desk = Desk::new("debian-12");
    std::fs::write(desk.at("root/etc/rc.local"), "#!/bin/sh\nlogger up\nexit 0\n").unwrap();
    for _ in 0..2 {
        assert_eq!(desk.install(SHELLS[0], &["--rc-local"]).0, 0);
        let place = "/var/lib/hardtack/payload/place";
        let wanted = format!("#!/bin/sh\nsh {place} early && sh {place} late\nlogger up\nexit 0\n");
        assert_eq!(std::fs::read_to_string(desk.at("root/etc/rc.local")).unwrap(), wanted);
    }
    assert!(!desk.found().iter().any(|path| path.contains(".wants")));
}

#[test]
fn what_is_wrong_is_said_before_anything_is_changed() {
    let refused = |desk: &Desk, more: &[&str], why: &str| {
        let before = desk.found();
        for shell in SHELLS {
            let (code, said) = desk.install(shell, more);
            assert!(
                code == 1 && said.starts_with("hardtack: REFUSED: ") && said.contains(why),
                "{shell:?}: {code} {said}"
            );
            assert!(said.ends_with("Nothing was changed.\n") && said.lines().count() == 1, "{said}");
        }
        assert_eq!(desk.found(), before);
    };
    let desk = Desk::new("debian-12");
    let archive = desk.at("bundle/bare-metal/box-1.tar.gz");
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    refused(&desk, &[], "box-1.tar.gz is damaged, or another: its SHA-256 is ");
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    std::fs::write(&archive, &altered).unwrap();
    refused(&desk, &[], "box-1.tar.gz is damaged, or another: its SHA-256 is ");
    // Another bundle's, under this one's name.
    let other = Desk::new("debian-12-sysvinit");
    std::fs::copy(other.at("bundle/bare-metal/box-1.tar.gz"), &archive).unwrap();
    refused(&desk, &[], "box-1.tar.gz is damaged, or another: its SHA-256 is ");
    std::fs::remove_file(&archive).unwrap();
    refused(&desk, &[], "box-1.tar.gz does not lie beside this script.");
    std::fs::write(&archive, &whole).unwrap();
    // For another kind of machine.
    std::fs::rename(desk.at("root/sbin/init"), desk.at("root/sbin/old")).unwrap();
    refused(&desk, &[], "this bundle is for debian-12, which systemd start; this system is started by scripts.");
    refused(&other, &["--signers", "/dev/null"], "the bundle is not signed");
    std::fs::rename(desk.at("root/sbin/old"), desk.at("root/sbin/init")).unwrap();
    // Over another one, or this very one.
    std::fs::create_dir_all(desk.at("root/var/lib/hardtack")).unwrap();
    std::fs::write(desk.at("root/var/lib/hardtack/sealed"), "0123\n").unwrap();
    refused(&desk, &[], "another bundle, 0123, is on this machine; --again puts this one in its place.");
    assert_eq!(desk.install(SHELLS[0], &["--again"]).0, 0);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(desk.at("bundle/bundle.json")).unwrap()).unwrap();
    std::fs::write(desk.at("root/var/lib/hardtack/sealed"), manifest["bundle_sha256"].as_str().unwrap()).unwrap();
    let before = desk.found();
    assert_eq!(desk.install(SHELLS[0], &[]), (0, "hardtack: box-1 is on this machine already\n".to_owned()));
    assert_eq!(desk.found(), before);
    // Used wrongly.
    assert_eq!(desk.install(SHELLS[0], &["--wrong"]).0, 2);
    let elsewhere = Command::new("sh").arg(desk.at("bundle/bare-metal/install")).args(["--root", "/nowhere"]).output();
    assert_eq!(elsewhere.unwrap().status.code(), Some(1));
}

#[test]
fn a_signature_is_checked_where_signers_are_named() {
    let desk = Desk::new("debian-12");
    let sums = desk.at("bundle/SHA256SUMS");
    let shell = |script: &str| {
        let done = Command::new("sh").args(["-c", script]).current_dir(desk.0.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    shell(
        "for who in alice eve; do ssh-keygen -q -t ed25519 -N '' -C $who -f $who && echo \"$who $(cat $who.pub)\" >of-$who; done; \
         ssh-keygen -q -Y sign -n hardtack-bundle -f alice bundle/SHA256SUMS",
    );
    let by = |who: &str| {
        let signers = desk.at(&format!("of-{who}"));
        desk.install(SHELLS[0], &["--signers", signers.to_str().unwrap()])
    };
    let (code, said) = by("eve");
    assert!(code == 1 && said.contains("the bundle was signed by nobody of"), "{said}");
    let good = std::fs::read_to_string(&sums).unwrap();
    std::fs::write(&sums, format!("{good}\n")).unwrap();
    let (code, said) = by("alice");
    assert!(code == 1 && said.contains("the signature is not of these digests."), "{said}");
    std::fs::write(&sums, &good).unwrap();
    let installer = desk.at("bundle/bare-metal/install");
    let own = std::fs::read_to_string(&installer).unwrap();
    std::fs::write(&installer, format!("{own}# more\n")).unwrap();
    let (code, said) = by("alice");
    assert!(code == 1 && said.contains("bare-metal/install is not what was signed."), "{said}");
    assert!(desk.found().len() == 1, "{:?}", desk.found());
    std::fs::write(&installer, own).unwrap();
    let (code, said) = by("alice");
    assert!(code == 0 && said.starts_with("hardtack: signed by alice\n"), "{said}");
}

#[test]
fn shellcheck_finds_nothing_in_what_is_installed() {
    for spec in ["starter", "init-script", "rc-local", "rescue", "article"] {
        let text = match spec {
            "starter" => SPEC.replace("IMAGE", "debian-12"),
            name => std::fs::read_to_string(root().join(format!("tests/specs/{name}.yaml"))).unwrap(),
        };
        let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("deliver:")).collect();
        let (tree, _) = bake(&format!("{}\ndeliver: [bare-metal, golden]\n", lines.join("\n")), None, &|_| {});
        let folder = tempfile::tempdir().unwrap();
        tree.write(&folder.path().join("b"), &|_| false).unwrap();
        let script = "mkdir x && tar -xzf b/bare-metal/*.tar.gz -C x && shellcheck b/bare-metal/install b/golden/seal x/place $(ls x/hardtack-place x/hardtack-late 2>/dev/null) && busybox ash -n b/bare-metal/install";
        let done = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output().unwrap();
        assert!(done.status.success(), "{spec}: {}", String::from_utf8_lossy(&done.stdout));
    }
}

/// What the busybox of Debian 12's installer has (its initrd, 20230607+deb12u15, `busybox --list`); of others some are left out.
const OF_THE_INSTALLER: &str = "[ ar ash awk base64 basename bzcat cat chmod chown chroot cmp cp cut date dd df dirname dmesg echo egrep \
    env expr false fgrep find getopt grep groups gunzip head hostname id kill less ln ls md5sum mkdir mknod mktemp more mount mv pidof \
    poweroff printf ps pwd readlink realpath reboot rm rmdir sed seq sha1sum sha256sum sha512sum sleep sort stty sync tail tar test touch \
    tr true tty umount uname uniq wc wget zcat";

#[test]
fn the_line_of_the_preseed_runs_where_the_installer_of_debian_does() {
    let desk = Desk::new("debian-12");
    let medium = desk.at("medium");
    // A shell that does not find the rest of its applets by itself, as a static busybox does.
    let made = Command::new("sh")
        .args(["-euc", "mkdir -p $1/bin $1/cdrom $1/dev && : >$1/dev/null && cp \"$(command -v busybox)\" $1/bin/busybox && cp \"$(command -v dash)\" $1/bin/sh\n\
            for lib in $(ldd $1/bin/sh | grep -o '/[^ ]*'); do mkdir -p $1${lib%/*} && cp $lib $1$lib; done\n\
            for name in $2; do ln -s busybox $1/bin/$name; done\n\
            cp -r $3 $1/cdrom/hardtack && mv $4 $1/target", "sh"])
        .args([&medium, Path::new(OF_THE_INSTALLER), &desk.at("bundle/bare-metal"), &desk.at("root")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = std::fs::read_to_string(desk.at("bundle/bare-metal/preseed.cfg")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("d-i preseed/late_command string ")).unwrap();
    let run = |line: &str| {
        let mut words =
            if rustix::process::geteuid().is_root() { vec!["chroot"] } else { vec!["unshare", "-r", "chroot"] };
        words.push(medium.to_str().unwrap());
        words.extend(["/bin/sh", "-c", line]);
        let done =
            Command::new(words[0]).args(&words[1..]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
        (done.status.code(), [done.stdout, done.stderr].map(|s| String::from_utf8(s).unwrap()).concat())
    };
    assert_eq!(run(line), (Some(0), "hardtack: box-1 is there, and applied at the next start\n".to_owned()));
    assert!(
        medium.join("target/etc/systemd/system/sysinit.target.wants/hardtack-place.service").symlink_metadata().is_ok()
    );
    // It would be seen: what that installer lacks is not there.
    assert_eq!(run("command -v install xargs").0, Some(127));
}

#[test]
fn what_an_installer_is_told_installs() {
    let told = [
        ("preseed.cfg", "d-i preseed/late_command string ", "/cdrom/hardtack", "/target"),
        ("kickstart.ks", "", "/run/install/repo/hardtack", "/mnt/sysimage"),
        ("autoinstall.yaml", "    - ", "/cdrom/hardtack", "/target"),
    ];
    for (file, before, medium, target) in told {
        let desk = Desk::new("debian-12");
        let text = std::fs::read_to_string(desk.at("bundle/bare-metal").join(file)).unwrap();
        let line = text.lines().find(|line| line.contains("install --root ") && !line.starts_with('#')).unwrap();
        let command = line.strip_prefix(before).unwrap();
        let here = desk.at("bundle/bare-metal").display().to_string();
        let command = command.replace(medium, &here).replace(target, &desk.at("root").display().to_string());
        let shell =
            if rustix::process::geteuid().is_root() { vec!["busybox"] } else { vec!["unshare", "-r", "busybox"] };
        let done = Command::new(shell[0]).args(&shell[1..]).args(["ash", "-c", &command]).output().unwrap();
        assert!(done.status.success(), "{file}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(desk.found().iter().any(|path| path.ends_with("payload/place")), "{file}: {:?}", desk.found());
    }
    // As each installer reads it.
    let desk = Desk::new("debian-12");
    let folder = desk.at("bundle/bare-metal");
    let checked = Command::new("debconf-set-selections").arg("--checkonly").arg(folder.join("preseed.cfg")).output();
    assert!(checked.unwrap().status.success());
    let mut report = hardtack::report::Report::default();
    let text = std::fs::read_to_string(folder.join("autoinstall.yaml")).unwrap();
    assert!(hardtack::yaml::parse(&text, &mut report).is_some() && !report.has_errors());
    let text = std::fs::read_to_string(folder.join("kickstart.ks")).unwrap();
    let sections: Vec<&str> = text.lines().filter(|line| line.starts_with('%')).collect();
    assert!(
        matches!(sections[..], [begin, "%end"] if begin.starts_with("%post --nochroot --erroronfail")),
        "{sections:?}"
    );
}
