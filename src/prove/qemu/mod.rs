//! A machine in QEMU: a throw-away overlay over an image, its console, its wire and its root channel.
mod accelerator;
mod arguments;
mod budget;
mod initrd;
mod qmp;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

pub use accelerator::Accelerator;
pub use budget::{Budget, Deadline, Meter, Overrun};
use qmp::Qmp;

use super::image::Built;
use super::process::{self, Program, Running};
use crate::facts::Start;

/// The emulator of the only processor that images are made for.
const QEMU: &str = "qemu-system-x86_64";

/// What `console` gives at most.
const CONSOLE: u64 = 64 * 1024;

/// The longest path of a socket that Linux takes.
const SOCKET_PATH: usize = 107;

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// The image's disk; never written.
    pub disk: PathBuf,
    /// The image's kernel.
    pub kernel: PathBuf,
    /// The image's initial RAM disk.
    pub initrd: PathBuf,
    /// The kernel's arguments: those that the harness needs, and those of the image.
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
    /// What the machine calls its network card; none is whatever it comes to call it.
    pub card: Option<String>,
    /// The hardware address of the network card.
    pub mac: [u8; 6],
    /// Whether a reboot of the guest starts it again; else QEMU ends.
    pub reboot: bool,
}

impl Config {
    /// The machine that `start` describes, on this image, with no seed.
    pub fn new(image: &Built, start: &Start, accelerator: Accelerator) -> Self {
        let mut kernel_line: Vec<String> =
            [&format!("root=LABEL={}", super::image::LABEL), "ro", "console=ttyS0"].map(str::to_owned).into();
        kernel_line.extend(start.arguments.iter().cloned());
        Config {
            disk: image.disk.clone(),
            kernel: image.kernel.clone(),
            initrd: image.initrd.clone(),
            kernel_line,
            cpu: start.cpu.clone(),
            memory_mib: start.memory_mib,
            accelerator,
            seed: None,
            card: None,
            mac: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
            reboot: true,
        }
    }

    fn arguments(&self, place: &Place) -> Vec<OsString> {
        let mut all = arguments::machine(&self.accelerator);
        all.extend(arguments::cpu(&self.accelerator, &self.cpu));
        all.extend(arguments::memory(self.memory_mib));
        let initrd = if self.card.is_some() { place.initrd() } else { self.initrd.clone() };
        let mut line = self.kernel_line.clone();
        // A card that the kernel itself has called so is called anew in the root file system, unless nothing is.
        if self.card.as_ref().is_some_and(|name| name.starts_with("eth")) {
            line.push("net.ifnames=0".to_owned());
        }
        all.extend(arguments::kernel(&self.kernel, &initrd, &line.join(" ")));
        all.extend(arguments::disk(&place.overlay()));
        all.extend(self.seed.iter().flat_map(|volume| arguments::seed(volume)));
        all.extend(arguments::console(&place.console()));
        all.extend(arguments::wire(&place.wire(), self.mac));
        all.extend(arguments::channel(&place.channel()));
        all.extend(arguments::control(&place.control()));
        all.extend(arguments::randomness());
        if !self.reboot {
            all.extend(arguments::no_reboot());
        }
        all
    }
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

    fn console(&self) -> PathBuf {
        self.0.path().join("console")
    }

    fn wire(&self) -> PathBuf {
        self.0.path().join("wire")
    }

    fn channel(&self) -> PathBuf {
        self.0.path().join("channel")
    }

    fn control(&self) -> PathBuf {
        self.0.path().join("control")
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
    qmp: Qmp,
    running: Running,
    place: Place,
}

impl Vm {
    /// Start it, and come back as soon as QEMU is up; the guest's first instruction is then just past.
    pub fn start(config: &Config) -> Result<Self> {
        process::require(&[QEMU, "qemu-img"])?;
        let place = Place::new()?;
        let disk = config.disk.canonicalize().with_context(|| format!("could not find {}", config.disk.display()))?;
        Program::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .args([disk.as_os_str(), place.overlay().as_os_str()])
            .deadline(Duration::from_secs(60))
            .output()?;
        if let Some(name) = &config.card {
            let own =
                fs::read(&config.initrd).with_context(|| format!("could not read {}", config.initrd.display()))?;
            fs::write(place.initrd(), initrd::with_card_named(&own, config.mac, name))
                .context("could not write the initial RAM disk")?;
        }
        let mut running = Program::new(QEMU).args(config.arguments(&place)).without_farewell().start(&place.log())?;
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
        Ok(Vm { qmp, running, place })
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

    /// The socket of the network card. Connect before the guest brings it up: QEMU 7.2 does not connect again.
    pub fn wire(&self) -> PathBuf {
        self.place.wire()
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

    /// Pull the reset line: the guest starts again without having been asked.
    pub fn reset(&mut self) -> Result<()> {
        self.qmp.command("system_reset", json!({})).map(drop)
    }

    /// Press the power button, once and gently.
    pub fn press_power_button(&mut self) -> Result<()> {
        self.qmp.command("system_powerdown", json!({})).map(drop)
    }

    /// Pull the plug.
    pub fn quit(mut self) -> Result<()> {
        self.qmp.command("quit", json!({}))?;
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
            disk: disk.to_owned(),
            kernel: "/nonexistent".into(),
            initrd: "/nonexistent".into(),
            kernel_line: vec!["ro".into()],
            cpu: "qemu64".into(),
            memory_mib: 64,
            accelerator: Accelerator::Tcg { why: "a test".into() },
            seed: None,
            card: None,
            mac: [0x52, 0x54, 0, 0, 0, 1],
            reboot: true,
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
        assert!(!config.arguments(&place).contains(&"-no-reboot".into()));
        config.reboot = false;
        assert!(config.arguments(&place).contains(&"-no-reboot".into()));
        Ok(())
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
