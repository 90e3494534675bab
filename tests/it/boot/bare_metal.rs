//! Bare metal: the installer on a mounted root that is then booted, what it makes of damage, and a power cut in the middle of it.

use super::machine::{COMMAND, blame, built, config, say, text};
use crate::support::{bake, root};
use anyhow::{Context, Result};
use hardtack::prove::guest::{Error, Guest};
use hardtack::prove::qemu::{Budget, Vm};
use hardtack::prove::run::stick;
use hardtack::prove::wire::{Lan, Network};

/// A Debian costs about 60 CPU seconds to boot, and twice that beside other machines.
pub(super) const BOOT: Budget = Budget::cpu_seconds(600);

pub(super) fn booted(vm: &Vm, guest: &mut Guest) -> Result<()> {
    // Early in a boot it says at once that it cannot wait.
    let wait =
        "until case $(systemctl is-system-running --wait) in running | degraded) ;; *) false ;; esac; do sleep 1; done";
    guest.run(wait, BOOT).map_err(blame(vm))?;
    Ok(())
}

/// As when somebody pulls the plug.
pub(super) fn cut(vm: &Vm, guest: &mut Guest) -> Result<()> {
    vm.reset()?;
    // Whoever is asked for less may have answered before the plug was out.
    let told = guest.run("sleep 1000", BOOT);
    assert!(matches!(told, Err(Error::Restarted)), "{told:?}");
    guest.wait_ready(BOOT).map_err(blame(vm))
}

#[test]
fn a_mounted_root_is_hardened_at_its_first_start_and_not_by_what_is_damaged() -> Result<()> {
    let spec = std::fs::read_to_string(root().join("tests/specs/other.yaml"))?
        .replace("deliver: [cloud-init]", "deliver: [bare-metal]");
    let (tree, _) = bake(&spec, None, &|_| {});
    let file = |path: &str| tree.get(path).map(|entry| entry.data.clone()).context("a file of the bundle");
    let directory = tempfile::tempdir()?;
    let seed = directory.path().join("stick.img");
    let archive =
        tree.iter().map(|(path, _)| path).find(|path| path.ends_with(".tar.gz")).context("no archive")?.to_owned();
    let name = archive.trim_start_matches("bare-metal/");
    std::fs::write(&seed, stick(&file("bare-metal/install")?, name, &file(&archive)?)?)?;
    let vm = Vm::start(&config(&built("debian-12")?, &seed)?)?;
    let _lan = Lan::connect(&vm.wire(0), Network::of(0, Vec::new()))?;
    let mut guest = Guest::connect(&vm)?;
    guest.wait_ready(BOOT).map_err(blame(&vm))?;
    booted(&vm, &mut guest)?;

    // The system as an installer has it: mounted somewhere, and not running.
    let mount = "mkdir -p /run/stick && mount -o ro -L CIDATA /run/stick && mount --bind / /mnt";
    assert_eq!(guest.run(mount, COMMAND)?.status, 0);
    let install = "sh /run/stick/install --root /mnt 2>&1";
    let told = guest.run(install, COMMAND)?;
    assert_eq!(told.status, 0, "{}", String::from_utf8_lossy(&told.stdout));
    // A bit of it falls over on the disk.
    let spoil = "cd /var/lib/hardtack/payload && f=$(find files -name firstboot) && printf X | dd of=$f bs=1 conv=notrunc 2>&1; sync";
    assert_eq!(guest.run(spoil, COMMAND)?.status, 0);
    cut(&vm, &mut guest)?;
    booted(&vm, &mut guest)?;
    let state = "ls /usr/local/lib/hardtack /etc/sudoers.d/90-hardtack /etc/ssh/sshd_config.d/00-hardtack.conf 2>/dev/null; \
        iptables-save | grep -c '^-A'; systemctl is-active ssh; systemctl is-failed hardtack-place hardtack-late";
    assert_eq!(text(guest.run(state, COMMAND))?, "0\nactive\nfailed\nfailed\n");
    let console = vm.console();
    assert!(
        console.contains("hardtack: FAILED: the payload is damaged, and nothing of it is applied: files/"),
        "{console}"
    );

    // Installed again, it is whole. The plug is pulled when the first boot is on its way.
    assert_eq!(guest.run(mount, COMMAND)?.status, 0);
    let told = guest.run(install, COMMAND)?;
    assert_eq!(told.status, 0, "{}", String::from_utf8_lossy(&told.stdout));
    cut(&vm, &mut guest)?;
    let begun = "until [ -e /run/hardtack/gate ]; do sleep 0.2; done; ls /var/lib/hardtack";
    let seen = text(guest.run(begun, BOOT)).map_err(blame(&vm))?;
    say(&format!("cut when the gate stood: {}", seen.replace('\n', " ")));
    assert!(!seen.contains("sealed"), "too late to be cut short");
    cut(&vm, &mut guest)?;
    booted(&vm, &mut guest)?;
    let manifest: serde_json::Value = serde_json::from_slice(&file("bundle.json")?)?;
    let digest = manifest["bundle_sha256"].as_str().context("a digest")?;
    let after = "cat /var/lib/hardtack/sealed; ls -d /var/lib/hardtack/payload* 2>/dev/null; systemctl --failed --plain --no-legend | cut -d' ' -f1; \
        find /etc/systemd -name 'hardtack-place*' -o -name 'hardtack-late*'; iptables-save | grep -c '^-A INPUT'";
    let seen = text(guest.run(after, COMMAND))?;
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some(digest), "{seen}\n{}", vm.console());
    assert!(
        lines.next().is_some_and(|rules| rules.parse::<u32>().is_ok_and(|n| n > 3)) && lines.next().is_none(),
        "{seen}"
    );
    vm.quit()
}
