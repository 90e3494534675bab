//! One spec by every delivery that brings it to a machine of its own: what is effective there is the same.

use super::bare_metal::{BOOT, booted, cut};
use super::machine::{COMMAND, blame, built, config, text};
use crate::support::{bake, hardtack, root};
use anyhow::{Context, Result};
use hardtack::archive::seed::vfat;
use hardtack::archive::tree::Tree;
use hardtack::prove::guest::Guest;
use hardtack::prove::qemu::Vm;
use hardtack::prove::run::stick;
use hardtack::prove::wire::{Lan, Network};
use std::collections::BTreeSet;

/// What the machine does, each line with where it is from. Nothing that two boots of one machine would not share.
const EFFECTIVE: &str = "export LC_ALL=C
sshd -T | sed 's/^/sshd: /'
sysctl -a 2>/dev/null | grep -E '^(kernel|fs|net|vm|dev)[.]' | sed 's/^/sysctl: /'
iptables-save | grep -v '^#' | sed 's/[[][0-9:]*[]]//; s/^/v4: /'
ip6tables-save | grep -v '^#' | sed 's/[[][0-9:]*[]]//; s/^/v6: /'
ipset list -n | sed 's/^/set: /'
cut -d: -f1,3,4,6,7 /etc/passwd | sed 's/^/user: /'
cut -d: -f1,4 /etc/group | sed 's/^/group: /'
cut -d: -f1,2 /etc/shadow | sed 's/^/password: /'
for home in /root /home/*; do [ ! -e $home/.ssh/authorized_keys ] || sed \"s,^,key: $home ,\" $home/.ssh/authorized_keys; done
for who in root ines joris; do sudo -l -U $who | sed \"s/^/sudo: $who /\"; done
systemctl list-unit-files --plain --no-legend | awk '$2 != \"transient\" && $2 != \"generated\" { print \"unit: \" $1 \" \" $2 }'
systemctl --failed --plain --no-legend | cut -d' ' -f1 | sed 's/^/failed: /'
cat /etc/hostname /proc/sys/kernel/hostname | sed 's/^/host: /'; getent hosts db-7 | sed 's/^/host: /'
ss -Hltun | awk '{ print \"listens: \" $1 \" \" $5 }'
find /etc /usr/local -xdev ! -type l -printf 'file: %p %m %u:%g\\n'
";

/// What differs, and why that is right.
const EXPLAINED: &[(&str, &str)] = &[
    ("sysctl: kernel.random.", "new numbers at each reading"),
    ("sysctl: fs.", "how many files and handles are open, and what fits into the memory"),
    ("sysctl: kernel.ns_last_pid", "the last process"),
    ("sysctl: kernel.pty.nr", "how many terminals there are"),
    ("sysctl: kernel.threads-max", "what fits into the memory"),
    ("sysctl: kernel.tainted", "the kernel's own"),
    ("sysctl: kernel.sched", "the clock of the emulator"),
    ("sysctl: net.netfilter.nf_conntrack_count", "how many connections there are"),
    ("sysctl: net.ipv4.tcp_", "what fits into the memory"),
    ("sysctl: net.ipv4.udp_mem", "what fits into the memory"),
    ("sysctl: net.ipv6.", "the link of IPv6 comes up when a router says so"),
    ("sysctl: vm.", "what fits into the memory"),
    ("file: /etc/sudoers.d/90-cloud-init-users", "who may sudo: by cloud-init"),
    ("file: /etc/sudoers.d/90-hardtack", "the same, by what is installed"),
    (
        "file: /etc/ssh/sshd_config.d/50-cloud-init.conf",
        "cloud-init's own word on passwords; ours comes first, and sshd -T shows what holds",
    ),
    ("file: /etc/cloud/cloud-init.disabled", "installed by hand, no stick is read again"),
    (
        "file: /etc/systemd/system/hardtack-host-keys.service 644 root:root",
        "a machine of a sealed image makes its own host keys",
    ),
    ("unit: hardtack-host-keys.service enabled", "the same"),
    ("file: /etc/cloud/", "what cloud-init has been given"),
];

fn effective(guest: &mut Guest) -> Result<BTreeSet<String>> {
    Ok(text(guest.run(EFFECTIVE, BOOT))?.lines().map(str::to_owned).collect())
}

fn start(seed: &std::path::Path) -> Result<(Vm, Lan, Guest)> {
    let vm = Vm::start(&config(&built("debian-12")?, seed)?)?;
    let lan = Lan::connect(&vm.wire(0), Network::of(0, Vec::new()))?;
    let mut guest = Guest::connect(&vm)?;
    guest.wait_ready(BOOT).map_err(blame(&vm))?;
    booted(&vm, &mut guest)?;
    Ok((vm, lan, guest))
}

/// Starts a machine with the installer of a delivery on a stick, installs, and starts it again: the first boot.
fn installed(tree: &Tree, delivery: &str, then: &str) -> Result<(tempfile::TempDir, Vm, Lan, Guest)> {
    let directory = tempfile::tempdir()?;
    let seed = directory.path().join("seed.img");
    let (install, archive) = (format!("{delivery}/install"), format!("{delivery}/db-7.tar.gz"));
    std::fs::write(&seed, stick(&file(tree, &install)?, "db-7.tar.gz", &file(tree, &archive)?)?)?;
    let (vm, lan, mut guest) = start(&seed)?;
    // A new machine has none yet; those that one has had before stay.
    let install = "rm -f /etc/ssh/ssh_host_*; mkdir -p /run/stick && mount -o ro -L CIDATA /run/stick && sh /run/stick/install --next-boot 2>&1";
    let told = guest.run(&format!("{install} || exit\numount /run/stick\n{then}"), COMMAND)?;
    assert_eq!(told.status, 0, "{}", String::from_utf8_lossy(&told.stdout));
    cut(&vm, &mut guest)?;
    booted(&vm, &mut guest)?;
    Ok((directory, vm, lan, guest))
}

fn file(tree: &Tree, path: &str) -> Result<Vec<u8>> {
    tree.get(path).map(|entry| entry.data.clone()).with_context(|| format!("the bundle has no {path}"))
}

fn sealing(tree: &Tree, delivery: &str) -> Result<String> {
    Ok(format!("set -- --stay\n{}", String::from_utf8(file(tree, &format!("{delivery}/seal"))?)?))
}

#[test]
#[ignore = "ci/full"]
fn by_every_delivery_the_machine_is_the_same() -> Result<()> {
    let spec = std::fs::read_to_string(root().join("tests/specs/other.yaml"))?;
    let every = "deliver: [cloud-init, bare-metal, packer, golden]";
    let (tree, _) = bake(&spec.replace("deliver: [cloud-init]", every), None, &|_| {});
    let mut by: Vec<(&str, BTreeSet<String>)> = Vec::new();

    let directory = tempfile::tempdir()?;
    let seed = directory.path().join("seed.img");
    std::fs::write(&seed, file(&tree, "seed.img")?)?;
    let (vm, lan, mut guest) = start(&seed)?;
    by.push(("cloud-init", effective(&mut guest)?));
    vm.quit()?;
    drop(lan);

    // The same user-data for a cloud that takes little, and text alone.
    let mut given = hardtack();
    given.args(["bake", "other.yaml", "--cloud", "vultr", "-o", "b"]);
    std::fs::write(directory.path().join("other.yaml"), &spec)?;
    let done = given.current_dir(directory.path()).output()?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (about, text) =
        (file(&tree, "cloud-init/meta-data")?, std::fs::read(directory.path().join("b/cloud-init/user-data.vultr"))?);
    assert!(!String::from_utf8_lossy(&text).contains("write_files:"));
    std::fs::write(&seed, vfat(&[("meta-data", &about), ("user-data", &text)], 0)?)?;
    let (vm, lan, mut guest) = start(&seed)?;
    by.push(("cloud-init, compact", effective(&mut guest)?));
    vm.quit()?;
    drop(lan);

    let (_directory, vm, lan, mut guest) = installed(&tree, "bare-metal", "")?;
    by.push(("bare metal", effective(&mut guest)?));
    // What `bake --golden` does next, without the judging: the same machine becomes nobody's, and starts again.
    let told = guest.run(&sealing(&tree, "golden")?, COMMAND)?;
    assert_eq!(told.status, 0, "{}", String::from_utf8_lossy(&told.stderr));
    cut(&vm, &mut guest)?;
    booted(&vm, &mut guest)?;
    by.push(("golden", effective(&mut guest)?));
    vm.quit()?;
    drop(lan);

    // What Packer itself runs on its builder; Packer is in `boot::packer`.
    let (_directory, vm, _lan, mut guest) = installed(&tree, "packer", &sealing(&tree, "packer")?)?;
    by.push(("packer", effective(&mut guest)?));
    vm.quit()?;

    let mut differs = Vec::new();
    for (name, seen) in &by {
        for what in [
            "sshd: port 2222",
            "user: ines:",
            "v4: -A INPUT",
            "v6: -A INPUT",
            "sudo: ines",
            "key: /home/joris",
            "host: db-7",
        ] {
            assert!(seen.iter().any(|line| line.starts_with(what)), "{name}: {what}");
        }
        let (first, expected) = &by[0];
        let explained = |line: &&String| EXPLAINED.iter().any(|(start, _)| line.starts_with(start));
        for line in expected.symmetric_difference(seen).filter(|line| !explained(line)) {
            differs.push(format!("only by {}: {line}", if seen.contains(line) { name } else { first }));
        }
    }
    assert!(differs.is_empty(), "{differs:#?}");
    // What cannot differ shows nothing.
    assert!(by.iter().any(|(_, seen)| *seen != by[0].1));
    Ok(())
}
