//! Whether the processor can help: found out, not believed.
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Config, Vm};
use crate::archive::digest::sha256_hex;
use crate::prove::image::Starts;
use crate::prove::process::{self, Program};

/// How QEMU runs the guest's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// By translating it: ten times slower, and everywhere the same.
    Tcg {
        /// Why not by the processor, as half a sentence.
        why: String,
    },
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Accelerator::Kvm => f.write_str("KVM"),
            Accelerator::Tcg { why } => write!(f, "TCG, about ten times slower than KVM: {why}"),
        }
    }
}

/// TCG needs 0.7 to 1.2 s for the kernel's first words.
const FIRST_WORDS: Duration = Duration::from_secs(5);

/// And under 7 s for the first process. Emulating devices have been seen to get through the firmware and hang in the kernel.
const FIRST_PROCESS: Duration = Duration::from_secs(20);

/// Firmware and a boot loader come before the kernel: 6 s under TCG, and a menu may be waited for.
const FIRMWARE: Duration = Duration::from_secs(20);

impl Accelerator {
    /// Its name, as QEMU has it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        if matches!(self, Accelerator::Kvm) { "kvm" } else { "tcg" }
    }

    /// Why it is not the processor.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Accelerator::Kvm => None,
            Accelerator::Tcg { why } => Some(why),
        }
    }

    /// Climb the ladder, cheap steps first: is there a device, has the processor the feature, does a real kernel
    /// start. The verdict of the last step stands in `cache` until the host reboots or QEMU changes.
    ///
    /// A small probe guest would be no proof: one has been seen to pass where every kernel hangs.
    pub fn find(config: &Config, cache: &Path) -> Result<Self> {
        if let Err(why) = believable(Path::new("/dev/kvm"), &fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) {
            return Ok(Accelerator::Tcg { why });
        }
        let note = cache.join("accelerator").join(key()?);
        if let Ok(verdict) = fs::read_to_string(&note) {
            return Ok(read(&verdict));
        }
        let verdict = Self::by_trial(config)?;
        let text = match &verdict {
            Accelerator::Kvm => "kvm\n".to_owned(),
            Accelerator::Tcg { why } => format!("{why}\n"),
        };
        // A person's disk may well say nothing on the console; that must not stand against KVM for the others.
        if verdict != Accelerator::Kvm && matches!(config.disk.starts, Starts::Firmware(_)) {
            return Ok(verdict);
        }
        fs::create_dir_all(cache.join("accelerator"))
            .and_then(|()| fs::write(&note, text))
            .with_context(|| format!("could not write {}", note.display()))?;
        Ok(verdict)
    }

    /// Start the real machine under KVM and see whether its kernel comes to life. `config`'s own accelerator is not looked at.
    pub fn by_trial(config: &Config) -> Result<Self> {
        let mut trial = config.clone();
        trial.accelerator = Accelerator::Kvm;
        trial.kernel_line.push("earlyprintk=serial,ttyS0".to_owned());
        trial.reboot = false;
        let tcg = |why: String| Ok(Accelerator::Tcg { why });
        let mut vm = match Vm::start(&trial) {
            Ok(vm) => vm,
            Err(_) if process::interrupted() => anyhow::bail!("interrupted"),
            Err(error) => return tcg(format!("KVM does not start: {error:#}")),
        };
        let started = Instant::now();
        let firmware = match config.disk.starts {
            Starts::Harness { .. } => Duration::ZERO,
            Starts::Firmware(_) => FIRMWARE,
        };
        for (words, limit) in [("Linux version", FIRST_WORDS), ("Run /init as init process", FIRST_PROCESS)] {
            let limit = limit + firmware;
            while !vm.console().contains(words) {
                if process::interrupted() {
                    anyhow::bail!("interrupted");
                }
                if let Some(end) = vm.ended()? {
                    return tcg(format!("under KVM, QEMU {end}"));
                }
                if started.elapsed() > limit {
                    return tcg(format!("under KVM, the kernel hangs: no `{words}` within {} s", limit.as_secs()));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(Accelerator::Kvm)
    }
}

/// The steps that cost nothing.
fn believable(device: &Path, cpuinfo: &str) -> Result<(), String> {
    if let Err(error) = OpenOptions::new().read(true).write(true).open(device) {
        return Err(format!("{} cannot be opened: {error}", device.display()));
    }
    // A hypervisor without nested virtualization can still show a device, and emulate behind it.
    let has = |flag| cpuinfo.lines().any(|l| l.starts_with("flags") && l.split_ascii_whitespace().any(|w| w == flag));
    if has("vmx") || has("svm") {
        return Ok(());
    }
    Err(format!("{} exists, but the processor shows neither vmx nor svm", device.display()))
}

/// What a verdict holds for: this boot of the host and this QEMU.
fn key() -> Result<String> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").context("could not read the host's boot id")?;
    let version = Program::new(super::QEMU).arg("--version").deadline(Duration::from_secs(30)).output()?;
    Ok(sha256_hex(&[boot, version].concat())[..24].to_owned())
}

fn read(verdict: &str) -> Accelerator {
    match verdict.trim() {
        "kvm" => Accelerator::Kvm,
        why => Accelerator::Tcg { why: why.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_believed_only_with_the_feature() {
        let null = Path::new("/dev/null");
        assert_eq!(believable(null, "flags\t\t: fpu svm sse\n"), Ok(()));
        assert_eq!(believable(null, "flags\t\t: fpu vmx sse\n"), Ok(()));
        let why = Err("/dev/null exists, but the processor shows neither vmx nor svm".to_owned());
        assert_eq!(believable(null, "flags\t\t: fpu hypervisor\n"), why);
        assert_eq!(believable(null, "flags\t\t: vmxx\nmodel name: svm\n"), why);
        assert_eq!(believable(null, ""), why);
    }

    #[test]
    fn no_device_is_said_so() {
        let why = "/nonexistent cannot be opened: No such file or directory (os error 2)".to_owned();
        assert_eq!(believable(Path::new("/nonexistent"), "flags: svm"), Err(why));
    }

    #[test]
    fn a_verdict_is_read_back() {
        assert_eq!(read("kvm\n"), Accelerator::Kvm);
        assert_eq!(read("it hangs\n"), Accelerator::Tcg { why: "it hangs".to_owned() });
    }
}
