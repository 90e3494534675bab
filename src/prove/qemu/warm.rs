//! Warm starts: a machine goes on from a snapshot that was taken where its initial RAM disk ends.
//!
//! At that place the kernel is up and the root file system is mounted read-only, and no program of the machine itself has
//! run: not systemd, which makes the machine's id, and not cloud-init's generator, which looks for a seed. So all that
//! these do, they do on every warm machine anew. A later gate, before cloud-init itself, would save twice as much; but then
//! the machine's id and journal are shared, and cloud-init must be told on the kernel's line to run without a seed in sight.
//!
//! What differs from a cold start: the boot id, where the kernel lies in memory and what else it drew before the gate are
//! those of the snapshot; the seed sits behind a PCI port; there is a vmgenid; the clock has been set twice. Random numbers
//! are a machine's own: the kernel has not begun to make them at the gate, or it has a vmgenid and makes them anew. A
//! machine of which neither is true has no snapshot.
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::budget::Budget;
use super::{Accelerator, Begin, Config, Place, QEMU, Vm};
use crate::archive::digest::sha256_hex;
use crate::prove::image::{self, Starts};
use crate::prove::process::{self, Program};

/// Rises with every change to what a snapshot is, beside those of the gate and of the command line.
const VERSION: &str = "1";

/// What it may cost to come to the gate. It costs 7 to 9 CPU seconds under emulation.
const TO_THE_GATE: Budget = Budget::cpu_seconds(120).idle(Duration::from_secs(30));

/// A quarter of a gigabyte, on a host under load.
const COPY: Duration = Duration::from_secs(120);

/// What the gate says on the console.
const AT_THE_GATE: &str = "hardtack-gate ";

/// A snapshot in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    folder: PathBuf,
    /// The machine type with its version.
    pub(super) machine: String,
}

impl Snapshot {
    /// The snapshot of this machine, taken if the cache has none. What the cache has of the same image and can never be
    /// used again is removed. `config`'s seed is not looked at: no snapshot knows of one.
    ///
    /// # Errors
    /// No snapshot can be taken of this machine, and why.
    pub fn of(config: &Config, cache: &Path, tell: &mut dyn FnMut(&str)) -> Result<Self> {
        let version = Program::new(QEMU).arg("--version").deadline(Duration::from_secs(30)).output()?;
        let types = Program::new(QEMU).args(["-machine", "help"]).deadline(Duration::from_secs(30)).output()?;
        let machine = pinned(&String::from_utf8_lossy(&types))
            .context("QEMU does not say which version its q35 has; start cold (without --warm)")?;
        let mut config = config.clone();
        config.seed = None;
        config.begin = Begin::Gate { machine: machine.clone() };
        let key = Key::new(&config, &version)?;
        let shelf = cache.join("warm").join(&config.disk.name);
        fs::create_dir_all(&shelf).with_context(|| format!("could not make {}", shelf.display()))?;
        let snapshot = Snapshot { folder: shelf.join(key.name()), machine };
        let _lock = image::lock(&shelf.join("lock"), tell)?;
        if snapshot.folder.join("record.json").exists() {
            return Ok(snapshot);
        }
        tidy(&shelf, &key)?;
        tell("taking a snapshot for warm starts");
        let fresh = tempfile::Builder::new().prefix(".").tempdir_in(&shelf).context("could not make a folder")?;
        let cpu = take(&config, fresh.path())?;
        let record = json!({
            "image": config.disk.name, "qemu": String::from_utf8_lossy(&version).lines().next(),
            "machine": snapshot.machine, "accelerator": word(&config.accelerator), "memory_mib": config.memory_mib,
            "cards": config.cards, "kernel_line": config.kernel_line, "cpu_seconds": cpu,
        });
        fs::write(fresh.path().join("record.json"), format!("{record:#}\n")).context("could not write the record")?;
        // A reader on another host's cache, or after a loss of power, must not find half of it.
        for name in ["ram", "disk.qcow2", "record.json"] {
            File::open(fresh.path().join(name)).and_then(|f| f.sync_all()).context("could not write the snapshot")?;
        }
        fs::rename(fresh.path(), &snapshot.folder)
            .with_context(|| format!("could not move the snapshot to {}", snapshot.folder.display()))?;
        // Nothing is left of it to remove.
        let _ = fresh.keep();
        Ok(snapshot)
    }

    /// The disk as it was: an overlay on the image's.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("disk.qcow2")
    }

    fn memory(&self) -> PathBuf {
        self.folder.join("ram")
    }
}

fn word(accelerator: &Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg { .. } => "tcg",
    }
}

/// What a snapshot holds for.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    /// What does not come back once it has changed: the image, QEMU, our own code.
    world: String,
    /// The shape of the machine.
    shape: String,
}

impl Key {
    fn new(config: &Config, version: &[u8]) -> Result<Self> {
        let Starts::Harness { kernel, initrd } = &config.disk.starts else {
            bail!(
                "{} brings its own boot loader, and a warm start needs a kernel that we start; start cold (without --warm)",
                config.disk.name
            );
        };
        let qemu = process::find(QEMU).with_context(|| format!("could not find {QEMU}"))?;
        let mut world = vec![VERSION.to_owned(), super::initrd::GATE.to_owned()];
        world.push(String::from_utf8_lossy(version).into_owned());
        for file in [&qemu, &config.disk.path, kernel, initrd] {
            let file = file.canonicalize().with_context(|| format!("could not find {}", file.display()))?;
            let data = file.metadata().with_context(|| format!("could not look at {}", file.display()))?;
            world.push(format!("{} {} {}.{}", file.display(), data.len(), data.mtime(), data.mtime_nsec()));
        }
        if config.accelerator == Accelerator::Kvm {
            // What the guest sees of the processor depends on it and on the kernel that shows it.
            world.extend(fs::read_to_string("/proc/sys/kernel/osrelease"));
            let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            world.extend(processor.lines().find(|l| l.starts_with("model name")).map(str::to_owned));
            world.extend(processor.lines().find(|l| l.starts_with("flags")).map(str::to_owned));
        }
        // The paths of one run are all in its own folder.
        let place = Place::new()?;
        let own = place.0.path().to_string_lossy().into_owned();
        let mut shape: Vec<String> =
            config.arguments(&place, None).iter().map(|word| word.to_string_lossy().replace(&own, "")).collect();
        shape.extend(config.additions().iter().map(|addition| format!("{addition:?}")));
        let digest = |words: &[String]| sha256_hex(format!("{words:?}").as_bytes())[..12].to_owned();
        Ok(Key { world: digest(&world), shape: digest(&shape) })
    }

    fn name(&self) -> String {
        format!("{}-{}", self.world, self.shape)
    }
}

/// What `q35` stands for, out of `-machine help`.
fn pinned(types: &str) -> Option<String> {
    let line = types.lines().find(|line| line.split_whitespace().next() == Some("q35"))?;
    let (_, name) = line.split_once("(alias of ")?;
    Some(name.split(')').next()?.to_owned())
}

/// Remove what was half made, and what was made of another image or by another QEMU. Nobody else does so meanwhile: we
/// hold the lock. A machine that runs from such a snapshot has its files open and does not notice.
fn tidy(shelf: &Path, key: &Key) -> Result<()> {
    for entry in fs::read_dir(shelf).with_context(|| format!("could not list {}", shelf.display()))? {
        let entry = entry.with_context(|| format!("could not list {}", shelf.display()))?;
        let ours = entry.file_name().to_string_lossy().starts_with(&format!("{}-", key.world));
        if entry.path().is_dir() && !ours {
            fs::remove_dir_all(entry.path()).with_context(|| format!("could not remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Start the machine, wait until it is at the gate, and put what it is into the folder. Gives what that has cost.
fn take(config: &Config, folder: &Path) -> Result<f64> {
    let mut vm = Vm::start(config)?;
    let mut deadline = TO_THE_GATE.start(vm.meter());
    let said = loop {
        if let Some(said) = gate(&vm.console()) {
            break said;
        }
        deadline.check().map_err(|overrun| {
            let console = vm.console();
            let last = console.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default().trim().to_owned();
            anyhow!("the image does not come to where its snapshot is taken: {overrun}; its console says last: {last}")
        })?;
        std::thread::sleep(Duration::from_millis(20));
    };
    if said.contains("random=made") && !said.contains("generation=known") {
        bail!(
            "this kernel has made random numbers before its snapshot could be taken, and knows no vmgenid: warm machines \
             would share their keys; start cold (without --warm)"
        );
    }
    vm.save(&folder.join("ram"))?;
    let cpu = vm.cpu_seconds();
    vm.command("quit", json!({}))?;
    if vm.running.wait(Duration::from_secs(30))?.is_none() {
        bail!("QEMU does not end");
    }
    move_file(&vm.place.overlay(), &folder.join("disk.qcow2")).context("could not keep the disk")?;
    Ok(cpu)
}

/// What the gate says, once it has said all of it.
fn gate(console: &str) -> Option<String> {
    let (_, said) = console.split_once(AT_THE_GATE)?;
    Some(said.split_once('.')?.0.to_owned())
}

// The two may be on different file systems.
fn move_file(from: &Path, to: &Path) -> std::io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => fs::copy(from, to).map(drop),
        done => done,
    }
}

impl Vm {
    /// Stop the machine and write what is in its memory and devices.
    fn save(&mut self, to: &Path) -> Result<()> {
        let socket = self.place.memory();
        let listener = UnixListener::bind(&socket).context("could not make a socket")?;
        listener.set_nonblocking(true).context("could not make a socket")?;
        self.command("stop", json!({}))?;
        // QEMU may not start programs, so no `exec:`; and it lets go of plain files handed over by `fd:` one day.
        self.command("migrate", json!({ "uri": format!("unix:{}", socket.display()) }))?;
        let started = Instant::now();
        let mut stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock && started.elapsed() < COPY => {
                    self.migration()?;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error).context("QEMU did not hand over the machine's memory"),
            }
        };
        stream.set_nonblocking(false).context("could not set a time limit")?;
        stream.set_read_timeout(Some(COPY)).context("could not set a time limit")?;
        let mut file = File::create(to).with_context(|| format!("could not create {}", to.display()))?;
        copy(&mut stream, &mut file).context("could not write the machine's memory")?;
        self.wait_for_migration()
    }

    /// Take up what is in the snapshot, plug the seed in, and go on.
    pub(super) fn restore(&mut self, snapshot: &Snapshot, seed: Option<&Path>) -> Result<()> {
        let advice = || format!("could not start from the snapshot in {}; remove it", snapshot.folder.display());
        self.load(&snapshot.memory()).with_context(advice)?;
        if let Some(seed) = seed {
            let seed = seed.to_str().with_context(|| format!("{} is not UTF-8", seed.display()))?;
            let file = json!({ "driver": "file", "filename": seed, "read-only": true });
            let node = json!({ "driver": "raw", "node-name": "seed", "read-only": true, "file": file });
            self.command("blockdev-add", node)?;
            let device = json!({ "driver": "virtio-blk-pci", "drive": "seed", "bus": "seed-port" });
            self.command("device_add", device)?;
        }
        self.command("cont", json!({})).map(drop)
    }

    fn load(&mut self, from: &Path) -> Result<()> {
        let mut file = File::open(from).with_context(|| format!("could not open {}", from.display()))?;
        let socket = self.place.memory();
        self.command("migrate-incoming", json!({ "uri": format!("unix:{}", socket.display()) }))?;
        let mut stream = UnixStream::connect(&socket).context("QEMU takes no memory")?;
        stream.set_write_timeout(Some(COPY)).context("could not set a time limit")?;
        // A QEMU that does not like what it reads hangs up; it is asked for its reason next.
        let copied = copy(&mut file, &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
        self.wait_for_migration()?;
        copied.context("could not read the machine's memory")
    }

    fn wait_for_migration(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.migration()? {
            if started.elapsed() > COPY {
                bail!("QEMU does not come to an end with the machine's memory");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether it is done.
    fn migration(&mut self) -> Result<bool> {
        if process::interrupted() {
            bail!("interrupted");
        }
        let state = match self.command("query-migrate", json!({})) {
            Ok(state) => state,
            // One that does not like what it reads ends, and its last words say why.
            Err(error) => match self.running.wait(Duration::from_secs(2))? {
                Some(_) => bail!("QEMU {}", self.ended()?.unwrap_or_default()),
                None => return Err(error),
            },
        };
        let text = |name| state.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("status") {
            "completed" => Ok(true),
            "failed" | "cancelled" => bail!("QEMU gave up: {}", text("error-desc")),
            _ => Ok(false),
        }
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        if process::interrupted() {
            return Err(std::io::Error::other("interrupted"));
        }
        to.write_all(&buffer[..read])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Start;
    use crate::prove::image::{Disk, Firmware, Format};

    /// A cache with an image in it that has everything but a meaning.
    fn image(folder: &Path) -> Result<Disk> {
        let file = |name: &str| -> Result<PathBuf> {
            fs::write(folder.join(name), name)?;
            Ok(folder.join(name))
        };
        let starts = Starts::Harness { kernel: file("vmlinuz")?, initrd: file("initrd")? };
        Ok(Disk { name: "i".into(), path: file("disk.qcow2")?, format: Format::Qcow2, starts })
    }

    fn config(image: &Disk) -> Config {
        let start = Start { cpu: "qemu64".into(), arguments: Vec::new(), memory_mib: 64 };
        let mut config = Config::new(image, &start, Accelerator::Tcg { why: "a test".into() });
        config.begin = Begin::Gate { machine: "pc-q35-7.2".into() };
        config
    }

    #[test]
    fn a_key_knows_every_part_and_no_path_of_one_run() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let image = image(folder.path())?;
        let first = Key::new(&config(&image), b"7.2")?;
        assert_eq!(Key::new(&config(&image), b"7.2")?, first);
        let shapes: [fn(&mut Config); 6] = [
            |c| c.memory_mib += 1,
            |c| c.cpu = "max".into(),
            |c| c.kernel_line.push("quiet".into()),
            |c| c.cards = vec![Some("eth0".into())],
            |c| c.cards.push(None),
            |c| c.begin = Begin::Gate { machine: "pc-q35-8.0".into() },
        ];
        for change in shapes {
            let mut other = config(&image);
            change(&mut other);
            let key = Key::new(&other, b"7.2")?;
            assert_eq!(key.world, first.world);
            assert_ne!(key.shape, first.shape);
        }
        // The same card by another name is another initial RAM disk.
        let mut cards = [config(&image), config(&image)];
        for (config, name) in cards.iter_mut().zip(["ens3", "ens4"]) {
            config.cards = vec![Some(name.into())];
        }
        assert_ne!(Key::new(&cards[0], b"7.2")?, Key::new(&cards[1], b"7.2")?);
        assert_ne!(Key::new(&config(&image), b"7.3")?.world, first.world);
        for name in ["disk.qcow2", "vmlinuz", "initrd"] {
            let before = Key::new(&config(&image), b"7.2")?;
            fs::write(folder.path().join(name), "another")?;
            assert_ne!(Key::new(&config(&image), b"7.2")?.world, before.world);
        }
        // Nobody can stop such a disk where its initial RAM disk ends.
        let own = Disk { starts: Starts::Firmware(Firmware::Bios), ..image };
        assert!(Key::new(&config(&own), b"7.2").is_err_and(|e| e.to_string().contains("without --warm")));
        Ok(())
    }

    #[test]
    fn what_cannot_be_used_again_goes() -> Result<()> {
        let shelf = tempfile::tempdir()?;
        for name in ["now-a", "now-b", "then-a", ".half"] {
            fs::create_dir(shelf.path().join(name))?;
            fs::write(shelf.path().join(name).join("ram"), "")?;
        }
        fs::write(shelf.path().join("lock"), "")?;
        tidy(shelf.path(), &Key { world: "now".into(), shape: "c".into() })?;
        let mut left: Vec<_> =
            fs::read_dir(shelf.path())?.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>()?;
        left.sort();
        assert_eq!(left, ["lock", "now-a", "now-b"]);
        Ok(())
    }

    #[test]
    fn the_machine_type_is_pinned() {
        let types = "pc    Standard PC (alias of pc-i440fx-7.2)\npc-q35-7.2  Standard PC (Q35)\n\
            q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-7.2)\n";
        assert_eq!(pinned(types).as_deref(), Some("pc-q35-7.2"));
        assert_eq!(pinned("pc-q35-7.2  Standard PC\n"), None);
    }

    #[test]
    fn the_gate_is_read_when_it_has_said_all() {
        assert_eq!(gate("x\nhardtack-gate random=raw gen"), None);
        assert_eq!(
            gate("x\nhardtack-gate random=raw generation=known.\r\n").as_deref(),
            Some("random=raw generation=known")
        );
    }

    #[test]
    fn a_snapshot_that_is_none_is_an_error_with_its_place() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let image = image(folder.path())?;
        let disk = folder.path().join("disk.qcow2");
        Program::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("1M").output()?;
        fs::write(folder.path().join("ram"), "rubbish")?;
        let mut config = config(&image);
        // QEMU looks at the kernel's head before it looks at the snapshot (Linux boot protocol 2.12).
        let mut kernel = vec![0; 1 << 16];
        kernel[0x1f1] = 1;
        kernel[0x202..0x208].copy_from_slice(b"HdrS\x0c\x02");
        kernel[0x22c..0x230].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        fs::write(folder.path().join("vmlinuz"), kernel)?;
        config.begin = Begin::Warm(Snapshot { folder: folder.path().to_owned(), machine: "q35".into() });
        let told = Vm::start(&config).map(drop).map_err(|error| format!("{error:#}"));
        let place = folder.path().display().to_string();
        assert!(told.as_ref().is_err_and(|t| t.contains(&place) && t.contains("remove it")), "{told:?}");
        Ok(())
    }
}
