//! A machine in QEMU: a throw-away overlay over an image, its console, its wire and its root channel.
mod accelerator;
mod arguments;
mod budget;
mod firmware;
mod initrd;
mod qmp;
mod warm;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use accelerator::Accelerator;
pub use budget::{Budget, Deadline, Meter, Overrun};
use qmp::Qmp;
pub use warm::Snapshot;

use super::image::{Disk, Firmware, Format, Starts};
use super::process::{self, Program, Running};
use crate::facts::Start;

/// The emulator of the only processor that images are made for.
const QEMU: &str = "qemu-system-x86_64";

/// What `console` gives at most.
const CONSOLE: u64 = 64 * 1024;

/// The longest path of a socket that Linux takes.
const SOCKET_PATH: usize = 107;

/// Where a machine begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// It is switched on.
    Cold,
    /// It is switched on, and stops at the gate, to have its snapshot taken.
    Gate {
        /// The machine type with its version.
        machine: String,
    },
    /// It goes on from a snapshot.
    Warm(Snapshot),
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// The disk; never written.
    pub disk: Disk,
    /// The kernel's arguments where the harness starts it: those that the harness needs, and those of the image.
    pub kernel_line: Vec<String>,
    /// The CPU model under TCG.
    pub cpu: String,
    /// Memory.
    pub memory_mib: u64,
    /// What runs the guest's code.
    pub accelerator: Accelerator,
    /// The seed volume, VFAT or ISO 9660, attached as a read-only disk. Not as a CD-ROM: the cloud kernels of the images
    /// see an AHCI drive only after cloud-init has looked for its seed, and then nothing is configured (seen on Debian 12).
    pub seed: Option<PathBuf>,
    /// What the firmware says of the machine, in QEMU's words for SMBIOS; none is QEMU's own.
    pub smbios: Option<&'static str>,
    /// What the machine calls its network cards; none is whatever it comes to call one. Only where the harness starts the
    /// kernel are they called so.
    pub cards: Vec<Option<String>>,
    /// Whether a reboot of the guest starts it again; else QEMU ends.
    pub reboot: bool,
    /// Where it begins.
    pub begin: Begin,
}

impl Config {
    /// The machine that `start` describes, with this disk and no seed.
    pub fn new(disk: &Disk, start: &Start, accelerator: Accelerator) -> Self {
        // The kernel counts ticks of the old timer while it spins, and panics when there are too few: so it was seen once in
        // nineteen runs under TCG, on a host with three times as much to do as cores ("IO-APIC + timer doesn't work!"). Under
        // KVM it asks for this by itself (arch/x86/kernel/kvm.c).
        let mut kernel_line: Vec<String> =
            [&format!("root=LABEL={}", super::image::LABEL), "ro", "console=ttyS0", "no_timer_check"]
                .map(str::to_owned)
                .into();
        kernel_line.extend(start.arguments.iter().cloned());
        Config {
            disk: disk.clone(),
            kernel_line,
            cpu: start.cpu.clone(),
            memory_mib: start.memory_mib,
            accelerator,
            seed: None,
            smbios: None,
            cards: vec![None],
            reboot: true,
            begin: Begin::Cold,
        }
    }

    // The order on the bus. The kernel itself calls the first eth0: a card that is to be called ethN comes N-th where there
    // are so many, so that no other has its name when it is called so.
    fn order(&self) -> Vec<usize> {
        let place = |at: &usize| self.cards[*at].as_deref()?.strip_prefix("eth")?.parse::<usize>().ok();
        let (mut eth, others): (Vec<usize>, Vec<usize>) = (0..self.cards.len()).partition(|at| place(at).is_some());
        eth.sort_by_key(place);
        let mut order = others;
        for at in eth {
            order.insert(place(&at).unwrap_or_default().min(order.len()), at);
        }
        order
    }

    /// What is added to the initial RAM disk.
    fn additions(&self) -> Vec<initrd::Addition> {
        let mut all: Vec<_> = (0..)
            .zip(&self.cards)
            .filter_map(|(at, name)| Some(initrd::card_named(at, mac(at), name.as_deref()?)))
            .collect();
        all.extend((self.begin != Begin::Cold).then(initrd::gate));
        all
    }

    fn arguments(&self, place: &Place, uefi: Option<&Path>) -> Vec<OsString> {
        let machine = match &self.begin {
            Begin::Cold => "q35",
            Begin::Gate { machine } => machine,
            Begin::Warm(snapshot) => &snapshot.machine,
        };
        let mut all = arguments::machine(&self.accelerator, machine);
        all.extend(arguments::cpu(&self.accelerator, &self.cpu));
        all.extend(arguments::memory(self.memory_mib));
        if let Starts::Harness { kernel, initrd } = &self.disk.starts {
            let initrd = if self.additions().is_empty() { initrd.clone() } else { place.initrd() };
            let mut line = self.kernel_line.clone();
            // A card that the kernel itself has called so is called anew in the root file system, unless nothing is.
            if self.cards.iter().flatten().any(|name| name.starts_with("eth")) {
                line.push("net.ifnames=0".to_owned());
            }
            all.extend(arguments::kernel(kernel, &initrd, &line.join(" ")));
        }
        if let Some(code) = uefi {
            all.extend(arguments::flash(code, &place.variables()));
        }
        all.extend(self.smbios.iter().flat_map(|text| arguments::smbios(text)));
        all.extend(arguments::disk(&place.overlay()));
        match &self.begin {
            Begin::Cold => all.extend(self.seed.iter().flat_map(|volume| arguments::seed(volume))),
            Begin::Gate { .. } | Begin::Warm(_) => all.extend(arguments::socket_for_seed()),
        }
        all.extend(arguments::console(&place.console()));
        all.extend(self.order().into_iter().flat_map(|card| arguments::wire(card, &place.wire(card), mac(card))));
        all.extend(arguments::channel(&place.channel()));
        all.extend(arguments::control(&place.control()));
        all.extend(arguments::randomness());
        if self.begin != Begin::Cold {
            all.extend(arguments::generation());
        }
        if matches!(self.begin, Begin::Warm(_)) {
            all.extend(arguments::incoming());
        }
        if !self.reboot {
            all.extend(arguments::no_reboot());
        }
        all
    }
}

/// The hardware address of a card.
#[must_use]
pub fn mac(card: usize) -> [u8; 6] {
    [0x52, 0x54, 0x00, 0x12, 0x34, 0x56_u8.wrapping_add(u8::try_from(card).unwrap_or_default())]
}

/// The private directory of one machine: nobody else may enter it, and it goes with the machine.
#[derive(Debug)]
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        // tempfile makes directories with mode 0700.
        let place =
            Place(tempfile::Builder::new().prefix("hardtack-").tempdir().context("could not make a directory")?);
        let longest = place.control().as_os_str().len().max(place.channel().as_os_str().len());
        if longest > SOCKET_PATH {
            bail!("{} is too long for a socket; set TMPDIR to a shorter one", place.0.path().display());
        }
        Ok(place)
    }

    fn overlay(&self) -> PathBuf {
        self.0.path().join("disk.qcow2")
    }

    fn initrd(&self) -> PathBuf {
        self.0.path().join("initrd")
    }

    fn variables(&self) -> PathBuf {
        self.0.path().join("variables")
    }

    fn console(&self) -> PathBuf {
        self.0.path().join("console")
    }

    fn wire(&self, card: usize) -> PathBuf {
        self.0.path().join(format!("wire{card}"))
    }

    fn channel(&self) -> PathBuf {
        self.0.path().join("channel")
    }

    fn control(&self) -> PathBuf {
        self.0.path().join("control")
    }

    fn memory(&self) -> PathBuf {
        self.0.path().join("ram")
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("qemu.log")
    }
}

/// A running machine; dropping it kills it and throws away all that it has written.
///
/// QEMU also dies with the thread that started it, so start it from the thread that uses it.
#[derive(Debug)]
pub struct Vm {
    // The order of the fields is the order of dropping: first the process, then its directory.
    qmp: Mutex<Qmp>,
    running: Running,
    place: Place,
}

impl Vm {
    /// Start it, and come back as soon as QEMU is up; the guest's first instruction is then just past.
    pub fn start(config: &Config) -> Result<Self> {
        process::require(&[QEMU, "qemu-img"])?;
        let place = Place::new()?;
        let Disk { path, format, starts, .. } = &config.disk;
        let (path, format) = match &config.begin {
            Begin::Warm(snapshot) => (&snapshot.disk(), &Format::Qcow2),
            Begin::Cold | Begin::Gate { .. } => (path, format),
        };
        let disk = path.canonicalize().with_context(|| format!("could not find {}", path.display()))?;
        Program::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", format.as_str(), "-b"])
            .args([disk.as_os_str(), place.overlay().as_os_str()])
            .deadline(Duration::from_secs(60))
            .output()?;
        let uefi = match starts {
            Starts::Firmware(Firmware::Efi) => Some(firmware::find()?),
            Starts::Firmware(Firmware::Bios) | Starts::Harness { .. } => None,
        };
        if let Some(uefi) = &uefi {
            firmware::variables(uefi, &place.variables())?;
        }
        let additions = config.additions();
        if let Starts::Harness { initrd, .. } = starts
            && !additions.is_empty()
        {
            let own = fs::read(initrd).with_context(|| format!("could not read {}", initrd.display()))?;
            fs::write(place.initrd(), initrd::with(&own, &additions))
                .context("could not write the initial RAM disk")?;
        }
        let mut running = Program::new(QEMU)
            .args(config.arguments(&place, uefi.as_ref().map(|u| u.code.as_path())))
            .without_farewell()
            .start(&place.log())?;
        // A host under load may take seconds to get there; a QEMU that cannot start says so at once.
        let started = Instant::now();
        let qmp = loop {
            if let Some(end) = running.ended()? {
                bail!("QEMU {end}{}", process::said(&tail(&place.log(), 1024)));
            }
            if process::interrupted() {
                bail!("interrupted");
            }
            match Qmp::connect(&place.control()) {
                Ok(qmp) => break qmp,
                Err(_) if started.elapsed() < Duration::from_secs(60) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => {
                    return Err(
                        error.context(format!("QEMU did not start{}", process::said(&tail(&place.log(), 1024))))
                    );
                }
            }
        };
        let mut vm = Vm { qmp: Mutex::new(qmp), running, place };
        if let Begin::Warm(snapshot) = &config.begin {
            vm.restore(snapshot, config.seed.as_deref())?;
        }
        Ok(vm)
    }

    /// Reads the machine's CPU time.
    pub fn meter(&self) -> Meter {
        Meter(self.running.id())
    }

    /// CPU seconds that QEMU has used.
    pub fn cpu_seconds(&self) -> f64 {
        self.meter().cpu().unwrap_or_default().as_secs_f64()
    }

    /// The end of what the guest has said on its serial console, 64 KiB at most.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&tail(&self.place.console(), CONSOLE)).into_owned()
    }

    /// How many bytes it has said there.
    pub fn console_length(&self) -> u64 {
        std::fs::metadata(self.place.console()).map_or(0, |about| about.len())
    }

    /// What it has said there after so many bytes, as far as [`Vm::console`] goes back.
    pub fn console_since(&self, bytes: u64) -> String {
        let more = self.console_length().saturating_sub(bytes).min(CONSOLE);
        String::from_utf8_lossy(&tail(&self.place.console(), more)).into_owned()
    }

    /// The socket of a network card. Connect before the guest brings it up: QEMU 7.2 does not connect again.
    pub fn wire(&self, card: usize) -> PathBuf {
        self.place.wire(card)
    }

    /// The socket of the root channel.
    pub fn channel(&self) -> PathBuf {
        self.place.channel()
    }

    /// How QEMU ended, if it has, with what it said.
    pub fn ended(&mut self) -> Result<Option<String>> {
        let end = self.running.ended()?;
        Ok(end.map(|end| format!("{end}{}", process::said(&tail(&self.place.log(), 1024)))))
    }

    // A panic while somebody held it has left no half a command.
    fn command(&self, name: &str, arguments: Value) -> Result<Value> {
        self.qmp.lock().unwrap_or_else(PoisonError::into_inner).command(name, arguments)
    }

    /// Pull the reset line: the guest starts again without having been asked.
    pub fn reset(&self) -> Result<()> {
        self.command("system_reset", json!({})).map(drop)
    }

    /// Press the power button, once and gently.
    pub fn press_power_button(&mut self) -> Result<()> {
        self.command("system_powerdown", json!({})).map(drop)
    }

    /// Writes its disk down as a whole, as qcow2, when it has been switched off.
    pub fn flatten(&self, to: &Path) -> Result<()> {
        // By zstd a tenth of the time of zlib, and smaller (shared/qemu.md, 6); QEMU reads it from 5.1 on.
        Program::new("qemu-img")
            .args(["convert", "-q", "-O", "qcow2", "-c", "-o", "compression_type=zstd"])
            .args([self.place.overlay().as_os_str(), to.as_os_str()])
            .deadline(Duration::from_secs(1800))
            .output()
            .map(drop)
    }

    /// Pull the plug, where it still runs.
    pub fn quit(mut self) -> Result<()> {
        if self.meter().cpu().is_none() {
            return Ok(());
        }
        self.command("quit", json!({}))?;
        // An end that does not come is Drop's business.
        self.running.wait(Duration::from_secs(10)).map(drop)
    }
}

/// The last bytes of a file; nothing when there is none.
fn tail(path: &Path, limit: u64) -> Vec<u8> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(disk: &Path) -> Config {
        Config {
            disk: Disk {
                name: "a disk".into(),
                path: disk.to_owned(),
                format: Format::Qcow2,
                starts: Starts::Harness { kernel: "/nonexistent".into(), initrd: "/nonexistent".into() },
            },
            kernel_line: vec!["ro".into()],
            cpu: "qemu64".into(),
            memory_mib: 64,
            accelerator: Accelerator::Tcg { why: "a test".into() },
            seed: None,
            smbios: None,
            cards: vec![None],
            reboot: true,
            begin: Begin::Cold,
        }
    }

    #[test]
    fn a_disk_that_is_not_there_is_named() {
        let told = Vm::start(&config(Path::new("/nonexistent"))).map(drop).map_err(|e| e.to_string());
        // A machine without QEMU says that instead.
        assert!(told.is_err_and(|e| e.contains("/nonexistent") || e.contains("qemu-system-x86")));
    }

    #[test]
    fn reboot_is_a_word_of_the_command_line() -> Result<()> {
        let place = Place::new()?;
        let mut config = config(Path::new("/d"));
        assert!(!config.arguments(&place, None).contains(&"-no-reboot".into()));
        config.reboot = false;
        assert!(config.arguments(&place, None).contains(&"-no-reboot".into()));
        Ok(())
    }

    #[test]
    fn a_disk_with_a_boot_loader_starts_by_itself() -> Result<()> {
        let place = Place::new()?;
        let mut config = config(Path::new("/d"));
        assert!(config.arguments(&place, None).contains(&"-kernel".into()));
        config.disk.starts = Starts::Firmware(Firmware::Efi);
        let arguments = config.arguments(&place, Some(Path::new("/code")));
        assert!(!arguments.contains(&"-kernel".into()) && !arguments.contains(&"-append".into()));
        assert!(arguments.iter().any(|a| a.to_string_lossy().ends_with("readonly=on,file=/code")));
        Ok(())
    }

    #[test]
    fn a_card_stands_where_the_kernel_would_call_it_so() {
        let order = |names: &[Option<&str>]| {
            let mut config = config(Path::new("/d"));
            config.cards = names.iter().map(|n| n.map(str::to_owned)).collect();
            config.order()
        };
        assert_eq!(order(&[None]), [0]);
        assert_eq!(order(&[None, Some("eth0")]), [1, 0]);
        assert_eq!(order(&[None, Some("eth1")]), [0, 1]);
        assert_eq!(order(&[None, Some("eth0"), Some("eth2"), Some("lan")]), [1, 0, 2, 3]);
        assert_eq!(order(&[None, Some("eth9")]), [0, 1]);
    }

    #[test]
    fn the_tail_of_a_file_is_bounded() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), "abcdef")?;
        assert_eq!(tail(file.path(), 3), b"def");
        assert_eq!(tail(file.path(), 30), b"abcdef");
        assert_eq!(tail(Path::new("/nonexistent"), 3), b"");
        Ok(())
    }
}
