//! The harness itself, on real machines: the root channel, its limits, resets, and what KVM is worth here.

use super::cache;
use anyhow::{Context, Result};
use hardtack::archive::seed;
use hardtack::facts::Facts;
use hardtack::prove::guest::{Error, Guest, Output};
use hardtack::prove::image::{self, Built};
use hardtack::prove::qemu::{Accelerator, Budget, Config, Overrun, Vm};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Any command of a test; generous, for it only has to tell slow from hung.
pub(super) const COMMAND: Budget = Budget::cpu_seconds(60);

pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

pub(super) fn built(name: &str) -> Result<Built> {
    image::open(&cache(), name)?.with_context(|| format!("hardtack image build {name}"))
}

pub(super) fn config(image: &Built, seed: &Path) -> Result<Config> {
    let facts = Facts::load(&image.disk.name).map_err(anyhow::Error::msg)?;
    let mut config = Config::new(&image.disk, facts.start()?, Accelerator::Kvm);
    config.seed = Some(seed.to_owned());
    config.accelerator = Accelerator::find(&config, &cache())?;
    say(&format!("{}: {:?}", image.disk.name, config.accelerator));
    Ok(config)
}

/// A seed that asks for nothing, as ISO 9660: the other boots have VFAT.
fn empty_seed(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("seed.iso");
    let meta_data = b"instance-id: empty\nlocal-hostname: empty\n";
    std::fs::write(&path, seed::iso(&[("user-data", b"#cloud-config\n{}\n"), ("meta-data", meta_data)], 0)?)?;
    Ok(path)
}

/// What went wrong, and then all that the machine has said: whoever shows less of it shows the beginning.
pub(super) fn blame<E: std::fmt::Display>(vm: &Vm) -> impl FnOnce(E) -> anyhow::Error + '_ {
    |error| anyhow::anyhow!("{error:#}\n{}", vm.console())
}

pub(super) fn text(told: Result<Output, Error>) -> Result<String> {
    let told = told?;
    Ok(String::from_utf8_lossy(&told.stdout).into_owned())
}

/// Boot with an empty seed, wait for cloud-init, say what it took.
fn boots(image: &Built) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let vm = Vm::start(&config(image, &empty_seed(directory.path())?)?)?;
    let mut guest = Guest::connect(&vm)?;
    guest.wait_ready(Budget::cpu_seconds(200)).map_err(blame(&vm))?;
    let first = guest.boot_id().unwrap_or_default().to_owned();
    say(&format!("{}: root channel at {:.1} CPU s", image.disk.name, vm.cpu_seconds()));

    // The channel is there before cloud-init has done anything.
    let early = text(guest.run("systemctl show -P ActiveState cloud-init-local.service", COMMAND))?;
    assert_ne!(early.trim(), "active", "the root channel came only after cloud-init-local");

    let done = text(
        guest.run("cloud-init status --wait >/dev/null; cloud-init status --format json", Budget::cpu_seconds(400)),
    )
    .map_err(blame(&vm))?;
    let report: serde_json::Value = serde_json::from_str(&done)?;
    say(&format!("{}: cloud-init done at {:.1} CPU s, {}", image.disk.name, vm.cpu_seconds(), done.replace('\n', " ")));
    assert_eq!(report["status"], "done");
    assert_eq!(report["errors"], serde_json::json!([]));
    say(&text(guest.run("systemd-analyze time; systemd-analyze blame --no-pager | head -12", COMMAND))?);

    // What every machine must make for itself was made, and came with no image.
    let own = text(guest.run(
        "hostname; wc -c </etc/machine-id; ls /etc/ssh/ssh_host_ed25519_key; findmnt -no SOURCE,FSTYPE /",
        COMMAND,
    ))?;
    assert_eq!(own, "empty\n33\n/etc/ssh/ssh_host_ed25519_key\n/dev/vda ext4\n");
    // By this the proofs of kernel arguments know that the harness has started the kernel.
    assert_eq!(text(guest.run("cat /proc/sys/kernel/bootloader_type", COMMAND))?, "176\n");
    // Nobody is on the wire, so this one failure is right.
    let failed = text(guest.run("systemctl --failed --plain --no-legend --no-pager | cut -d' ' -f1", COMMAND))?;
    assert_eq!(failed.trim(), "systemd-networkd-wait-online.service");
    // What `hardtack passwd` prints is what the libcrypt of the image makes.
    let printed = crate::support::hardtack().arg("passwd").write_stdin("open sesame\n").output()?.stdout;
    let hash = String::from_utf8(printed)?;
    let crypt = format!("perl -e 'print crypt($ARGV[0], $ARGV[1])' 'open sesame' '{}'", hash.trim_end());
    assert_eq!(text(guest.run(&crypt, COMMAND))?, hash.trim_end());
    // No package host of the building machine: the archive's are those that the distribution's cloud-init names, and no other.
    let sources = text(guest.run("grep -rhs '^[^#]' /etc/apt/sources.list /etc/apt/sources.list.d", COMMAND))?;
    let named = text(guest.run("grep -E '^ *(primary|security):' /etc/cloud/cloud.cfg", COMMAND))?;
    assert_eq!(sources.lines().count(), 3, "{sources}");
    for line in sources.lines() {
        let host = line.strip_prefix("deb http://").and_then(|rest| rest.split([' ', '/']).next()).unwrap_or(line);
        assert!(named.contains(&format!("://{host}/")), "{line}: not of {named}");
    }

    if image.disk.name == "debian-12" {
        limits(&vm, &mut guest)?;
    }

    vm.reset()?;
    let told = guest.run("sleep 1000", Budget::cpu_seconds(200));
    assert!(matches!(told, Err(Error::Restarted)), "{told:?}");
    guest.wait_ready(Budget::cpu_seconds(200)).map_err(blame(&vm))?;
    assert_ne!(guest.boot_id().unwrap_or_default(), first);
    vm.quit()
}

/// Time, size of a script, size of what it prints: each has a limit, and after each the channel still works.
fn limits(vm: &Vm, guest: &mut Guest) -> Result<()> {
    let told = guest.run("sleep 1000", Budget::cpu_seconds(60).idle(Duration::from_secs(15)));
    assert!(matches!(told, Err(Error::Overrun(Overrun::Idle(_)))), "{told:?}");
    let big = format!("wc -c <<'END'\n{}\nEND\n", "0123456789abcde\n".repeat(131_072));
    let before = vm.cpu_seconds();
    assert_eq!(text(guest.run(&big, COMMAND))?, "2097153\n");
    say(&format!("a script of 2 MiB took {:.1} CPU s", vm.cpu_seconds() - before));
    let before = vm.cpu_seconds();
    assert!(matches!(guest.run("yes", COMMAND), Err(Error::TooMuch)));
    say(&format!("16 MiB of output took {:.1} CPU s", vm.cpu_seconds() - before));
    let before = vm.cpu_seconds();
    assert_eq!(text(guest.run("echo ship", COMMAND))?, "ship\n");
    say(&format!("a small script took {:.1} CPU s", vm.cpu_seconds() - before));
    Ok(())
}

#[test]
#[ignore = "ci/full"]
fn the_harness_looks_into_debian_12() -> Result<()> {
    boots(&built("debian-12")?)
}

#[test]
#[ignore = "ci/full"]
fn the_harness_looks_into_debian_13() -> Result<()> {
    boots(&built("debian-13")?)
}

/// Where KVM works the trial must say so, and where it does not it must say why, within its deadline.
#[test]
fn kvm_is_tried_and_not_believed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let config = config(&built("debian-12")?, &empty_seed(directory.path())?)?;
    let verdict = Accelerator::by_trial(&config)?;
    say(&format!("by trial: {verdict:?}"));
    if let Accelerator::Tcg { why } = verdict {
        assert!(why.contains("KVM"), "{why}");
    }
    Ok(())
}
