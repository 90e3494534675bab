//! Warm starts: what comes out of a snapshot is judged as a cold start is, and two of them are two machines.

use super::machine::blame;
use super::{cache, control_of, proved_in};
use crate::support::root;
use anyhow::{Context, Result};
use hardtack::archive::seed;
use hardtack::facts::Facts;
use hardtack::prove::guest::Guest;
use hardtack::prove::image;
use hardtack::prove::qemu::{Accelerator, Begin, Budget, Config, Snapshot, Vm};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A cache of its own with the tester's images in it.
fn own_cache(folder: &Path) -> PathBuf {
    let own = folder.join("hardtack");
    std::fs::create_dir(&own).unwrap();
    std::os::unix::fs::symlink(cache().join("images"), own.join("images")).unwrap();
    own
}

/// The snapshots that a cache has of an image.
fn snapshots(cache: &Path, image: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(cache.join("warm").join(image))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    all.sort();
    all
}

#[test]
#[ignore = "ci/full"]
fn another_machine_holds_on_debian_13_from_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let cache = own_cache(folder.path());
    // Its control is that of the cold start.
    let spec = root().join("tests/specs/other.yaml");
    let arguments = [spec.to_str().unwrap(), "--image", "debian-13", "--warm", "--no-control", "--no-reboot"];
    let (report, said) = proved_in(&cache, &arguments, None);
    assert_eq!(report["start"], "warm");
    assert!(said.contains("start: warm"), "{said}");
    assert_eq!(control_of(&report, "ssh/root-refused"), "not-run");
    assert!(said.contains("nobody has seen these proofs fail"), "{said}");
    assert_eq!(snapshots(&cache, "debian-13").len(), 1);
}

/// What a machine must have for itself, the clock among it.
struct Own {
    secrets: Vec<String>,
    clock_is_off: u64,
}

fn machine(config: &Config) -> Result<Own> {
    let started = Instant::now();
    let vm = Vm::start(config)?;
    let up = started.elapsed();
    let mut guest = Guest::connect(&vm)?;
    guest.wait_ready(Budget::cpu_seconds(200)).map_err(blame(&vm))?;
    let text = "cat /etc/machine-id /proc/sys/kernel/random/uuid\n\
        ssh-keygen -q -t ed25519 -N '' -f /run/k && cut -d' ' -f2 /run/k.pub\n\
        echo /dev/vd? /sys/class/net/*\ndate +%s\n";
    #[expect(clippy::disallowed_methods, reason = "the machine's clock is held against ours")]
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs());
    let asked = seconds()?;
    let told = guest.run(text, Budget::cpu_seconds(60))?;
    let answered = seconds()?;
    let told = String::from_utf8(told.stdout)?;
    let _ = writeln!(std::io::stderr(), "started in {} ms, {:.1} CPU s: {told}", up.as_millis(), vm.cpu_seconds());
    let mut lines: Vec<String> = told.lines().map(str::to_owned).collect();
    let clock: u64 = lines.pop().context("no clock")?.parse()?;
    // The devices are called what they are called after a cold start.
    assert_eq!(lines.pop().as_deref(), Some("/dev/vda /dev/vdb /sys/class/net/enp0s3 /sys/class/net/lo"));
    assert_eq!(lines.len(), 3, "{told}");
    vm.quit()?;
    Ok(Own { secrets: lines, clock_is_off: asked.saturating_sub(clock).max(clock.saturating_sub(answered)) })
}

/// On the image whose kernel knows no vmgenid.
#[test]
fn two_machines_of_one_snapshot_share_no_secret() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cache = own_cache(folder.path());
    let image = image::open(&cache, "debian-12")?.context("hardtack image build debian-12")?;
    let facts = Facts::load(&image.disk.name).map_err(anyhow::Error::msg)?;
    let mut config = Config::new(&image.disk, facts.start()?, Accelerator::Kvm);
    config.accelerator = Accelerator::find(&config, &cache)?;
    let path = folder.path().join("seed.img");
    std::fs::write(
        &path,
        seed::vfat(&[("meta-data", b"instance-id: twin\n"), ("user-data", b"#cloud-config\n{}\n")], 0)?,
    )?;
    config.seed = Some(path);

    let mut told = Vec::new();
    let snapshot = Snapshot::of(&config, &cache, &mut |what| told.push(what.to_owned()))?;
    assert_eq!(told, ["taking a snapshot for warm starts"]);
    let first = snapshots(&cache, "debian-12");
    // Long enough for a clock that stood still to be seen.
    let taken = Instant::now();
    config.begin = Begin::Warm(snapshot.clone());
    let one = machine(&config)?;
    // It is found again, and another machine has another: side by side, for both can be used.
    assert_eq!(Snapshot::of(&config, &cache, &mut |what| panic!("{what}"))?, snapshot);
    let mut other = config.clone();
    other.memory_mib -= 256;
    assert_ne!(Snapshot::of(&other, &cache, &mut |_| {})?, snapshot);
    let both = snapshots(&cache, "debian-12");
    assert!(both.len() == 2 && both.contains(&first[0]), "{both:?}");

    // Where a machine starts in a second, the clock has not stood still for long.
    std::thread::sleep(Duration::from_secs(21).saturating_sub(taken.elapsed()));
    let two = machine(&config)?;
    for (a, b) in one.secrets.iter().zip(&two.secrets) {
        assert_ne!(a, b);
    }
    assert!(one.clock_is_off <= 3 && two.clock_is_off <= 3, "{} {}", one.clock_is_off, two.clock_is_off);
    Ok(())
}
