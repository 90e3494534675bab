//! Golden images: made, proved on two machines, and looked into; and that nothing can be left behind unseen.

use super::bare_metal::{BOOT, booted};
use super::machine::{COMMAND, blame, built, config, text};
use super::{cache, packer};
use crate::support::{bake, hardtack, root};
use anyhow::{Context, Result};
use hardtack::prove::guest::Guest;
use hardtack::prove::qemu::Vm;
use hardtack::prove::run::{LEFT, nothing_asked};
use hardtack::prove::wire::{Lan, Network};

#[test]
#[ignore = "ci/full"]
fn an_image_is_proved_on_two_machines_and_holds_nothing_of_the_one_it_was() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let done = hardtack()
        .args(["bake", "--golden", "web.qcow2"])
        .arg(root().join("tests/specs/accounts.yaml"))
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", cache().parent().context("a cache")?)
        .output()?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    for part in
        ["clone-1: ", "clone-2: ", "each clone has its own: machine id, host key ", "DHCP identity", "instance state"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let image = folder.path().join("web.qcow2");
    let left = packer::left_behind(&image, folder.path())?;
    // It has been applied: there is nothing that a first boot would need.
    assert_eq!(left, ["no payload"]);
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1, "nothing else is left here");
    Ok(())
}

#[test]
#[ignore = "ci/full"]
fn no_image_is_made_where_one_artefact_is_left() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sealing = std::fs::read_to_string(root().join("templates/delivery/seal.sh"))?;
    let careless = sealing.replace("    : >/etc/machine-id\n", "");
    assert_ne!(careless, sealing);
    std::fs::create_dir_all(folder.path().join("own/delivery"))?;
    std::fs::write(folder.path().join("own/delivery/seal.sh"), careless)?;
    let done = hardtack()
        .args(["bake", "--golden", "web.qcow2", "--templates", "own"])
        .arg(root().join("tests/specs/accounts.yaml"))
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", cache().parent().context("a cache")?)
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.ends_with("every clone would have it:\n  machine id: /etc/machine-id\n"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1, "nothing else is left here");
    Ok(())
}

/// Whatever would make every clone the same, each as it may be left, and by what name it must be called.
const ARTEFACTS: &[(&str, &str)] = &[
    ("host key", "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"),
    ("machine id", "systemd-id128 new >/etc/machine-id"),
    (
        "machine id",
        "rm -f /var/lib/dbus/machine-id; mkdir -p /var/lib/dbus; systemd-id128 new >/var/lib/dbus/machine-id",
    ),
    ("random seed", "head -c 512 /dev/urandom >/var/lib/systemd/random-seed"),
    ("secret of its own", "head -c 64 /dev/urandom >/var/lib/systemd/credential.secret"),
    ("DHCP identity", "mkdir -p /var/lib/dhcp; echo 'default-duid \"x\";' >/var/lib/dhcp/dhclient.leases"),
    (
        "instance state",
        "mkdir -p /var/lib/cloud/instances/i-1; ln -sfn /var/lib/cloud/instances/i-1 /var/lib/cloud/instance",
    ),
    ("word that its clones have no cloud-init", ": >/etc/cloud/cloud-init.disabled"),
    ("account of its builder", "echo 'x ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/90-cloud-init-users"),
    ("key of its builder", "mkdir -p /root/.ssh; echo ssh-ed25519 x >/root/.ssh/authorized_keys"),
    ("history", "echo secret >/root/.bash_history"),
    ("journal", "mkdir -p /var/log/journal/x; : >/var/log/journal/x/system.journal"),
    ("log", "echo x >/var/log/auth.log"),
];

#[test]
fn whatever_is_left_behind_is_named() -> Result<()> {
    let spec = std::fs::read_to_string(root().join("tests/specs/services.yaml"))?;
    let (tree, _) = bake(&spec.replace("deliver: [cloud-init]", "deliver: [golden]"), None, &|_| {});
    let seal = String::from_utf8(tree.get("golden/seal").context("no seal")?.data.clone())?;
    let folder = tempfile::tempdir()?;
    let seed = folder.path().join("seed.img");
    std::fs::write(&seed, nothing_asked("i-0")?)?;
    let vm = Vm::start(&config(&built("debian-12")?, &seed)?)?;
    let _lan = Lan::connect(&vm.wire(0), Network::of(0, Vec::new()))?;
    let mut guest = Guest::connect(&vm)?;
    guest.wait_ready(BOOT).map_err(blame(&vm))?;
    booted(&vm, &mut guest)?;
    // A machine that has lived has something of everything that it must lose.
    let all: String = ARTEFACTS.iter().map(|(_, make)| format!("{make}\n")).collect();
    let before = text(guest.run(&format!("{{ {all} }} >/dev/null 2>&1 </dev/null\n{LEFT}"), COMMAND))?;
    for (name, _) in ARTEFACTS {
        assert!(before.lines().any(|line| line.starts_with(&format!("{name}: "))), "{name}: {before}");
    }
    guest.run(&format!("set -- --stay\n{seal}"), COMMAND)?;
    assert_eq!(text(guest.run(LEFT, COMMAND))?, "", "{}", vm.console());
    let mut known = String::new();
    for (name, make) in ARTEFACTS {
        let seen = text(guest.run(&format!("{{ {make}; }} >/dev/null 2>&1\n{LEFT}"), COMMAND))?;
        let new: Vec<&str> = seen.lines().filter(|line| !known.lines().any(|old| old == *line)).collect();
        assert!(!new.is_empty() && new.iter().all(|line| line.starts_with(&format!("{name}: "))), "{name}: {seen}");
        known = seen;
    }
    guest.run(&format!("set -- --stay\n{seal}"), COMMAND)?;
    assert_eq!(text(guest.run(LEFT, COMMAND))?, "");
    vm.quit()
}
