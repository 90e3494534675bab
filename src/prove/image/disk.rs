//! A disk that a machine can start from: one of ours, or any that a person has.
//!
//! A person's disk is not trusted. What its header says is read here, before QEMU opens it: a qcow2 file can name other
//! files of this host as its content, and the guest would read them.
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::prove::process::Program;

/// A disk that a machine can start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What people call it.
    pub name: String,
    /// Where it is; never written.
    pub path: PathBuf,
    /// How it is written down.
    pub format: Format,
    /// What starts its kernel.
    pub starts: Starts,
}

/// How a disk is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// QEMU's own format.
    Qcow2,
    /// Sector after sector.
    Raw,
}

impl Format {
    /// QEMU's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Qcow2 => "qcow2",
            Format::Raw => "raw",
        }
    }
}

/// What starts the kernel of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Starts {
    /// The harness, past any firmware and boot loader. A root channel of ours is in the image.
    Harness {
        /// The kernel.
        kernel: PathBuf,
        /// The initial RAM disk.
        initrd: PathBuf,
    },
    /// The disk's own boot loader, and nothing of ours is on the disk: the root channel comes with the seed.
    Firmware(Firmware),
}

/// What starts a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI, from the disk's EFI system partition.
    Efi,
    /// A BIOS, from the disk's first sector.
    Bios,
}

/// Formats that QEMU knows and that are not taken here, by how they begin.
const OTHERS: &[(&[u8], &str)] = &[
    (b"KDMV", "vmdk"),
    (b"conectix", "vpc"),
    (b"vhdxfile", "vhdx"),
    (b"<<< ", "vdi"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ", "xz"),
];

/// How much of a disk tells what starts it: the table of a GPT ends well before.
const HEAD: usize = 64 * 1024;

impl Disk {
    /// A person's disk, whatever is on it. `firmware` overrides what its partition table says.
    ///
    /// # Errors
    /// What is not a disk, names files of this host, or has nothing that firmware could start.
    pub fn open(path: &Path, firmware: Option<Firmware>) -> Result<Self> {
        let name = path.display().to_string();
        let path = path.canonicalize().with_context(|| format!("could not find {name}"))?;
        // Asked before it is opened: a pipe would wait for its other end.
        if !path.metadata().with_context(|| format!("could not look at {name}"))?.is_file() {
            bail!("{name} is no file; a disk is FILE.qcow2, FILE.raw or FILE.img");
        }
        let mut file = File::open(&path).with_context(|| format!("could not open {name}"))?;
        let start = head(&mut file).with_context(|| format!("could not read {name}"))?;
        let format = format(&start).with_context(|| name.clone())?;
        let start = match format {
            Format::Raw => start,
            Format::Qcow2 => unpacked(&path).with_context(|| format!("could not read {name}"))?,
        };
        let found = found(&start).with_context(|| name.clone());
        let firmware = firmware.map_or_else(|| found, Ok)?;
        Ok(Disk { name, path, format, starts: Starts::Firmware(firmware) })
    }
}

fn head(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte)))
}

/// The format, from the file's first bytes; a qcow2 file that would make QEMU open another file is refused.
fn format(head: &[u8]) -> Result<Format> {
    if !head.starts_with(b"QFI\xfb") {
        if let Some((_, other)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
            bail!("this is {other}, and only qcow2 and raw disks are taken; convert it with qemu-img, or unpack it");
        }
        return Ok(Format::Raw);
    }
    // The header of docs/interop/qcow2.txt: version, backing file, encryption, and from version 3 on incompatible features.
    let field = |at, length| number(head, at, length).context("this qcow2 file is cut short");
    let version = field(4, 4)?;
    if !(2..=3).contains(&version) {
        bail!("this is version {version} of qcow2; 2 and 3 are known");
    }
    if field(8, 8)? != 0 {
        bail!(
            "this qcow2 file has a backing file, so the guest could read another file of this host; make it whole with: \
             qemu-img convert -O qcow2 IT WHOLE.qcow2"
        );
    }
    if field(32, 4)? != 0 {
        bail!("this qcow2 file is encrypted");
    }
    if version == 3 && field(72, 8)? & 4 != 0 {
        bail!(
            "this qcow2 file keeps its data in another file, and could name any of this host; make it whole with: \
             qemu-img convert -O qcow2 IT WHOLE.qcow2"
        );
    }
    Ok(Format::Qcow2)
}

/// The first sectors of what is in a qcow2 file.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let folder = tempfile::Builder::new().prefix("hardtack-").tempdir().context("could not make a directory")?;
    let out = folder.path().join("head");
    let option = |name: &str, path: &Path| {
        let mut word = std::ffi::OsString::from(name);
        word.push(path);
        word
    };
    Program::new("qemu-img")
        .args(["dd", "-f", "qcow2", "-O", "raw", "bs=65536", "count=1"])
        .args([option("if=", path), option("of=", &out)])
        .deadline(Duration::from_secs(60))
        .output()?;
    head(&mut File::open(&out)?)
}

/// The type of an EFI system partition, C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it stands in a GPT.
const ESP: [u8; 16] = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

/// What can start this disk, by its partition table.
fn found(head: &[u8]) -> Result<Firmware> {
    if head.get(510..512) != Some(&[0x55, 0xaa]) {
        bail!(
            "there is no partition table on this disk, so no firmware can start it; a whole disk is needed, not a file \
             system or an archive"
        );
    }
    let types: Vec<u8> = (0..4).filter_map(|n| head.get(446 + 16 * n + 4).copied()).collect();
    if types.contains(&0xef) {
        return Ok(Firmware::Efi);
    }
    // A GPT hides behind a partition of type EE; its header is in the second sector (UEFI 5.3).
    if types.contains(&0xee) && head.get(512..520) == Some(b"EFI PART") {
        let little = |at: usize, length: usize| {
            let mut field = head.get(512 + at..512 + at + length).unwrap_or_default().to_vec();
            field.reverse();
            usize::try_from(number(&field, 0, field.len()).unwrap_or_default()).unwrap_or(usize::MAX)
        };
        let (table, entries, size) = (little(72, 8), little(80, 4), little(84, 4));
        let efi = (0..entries.min(1024)).any(|n| {
            let at = n.checked_mul(size).and_then(|o| table.checked_mul(512)?.checked_add(o));
            at.and_then(|at| head.get(at..at.checked_add(16)?)) == Some(&ESP)
        });
        if efi {
            return Ok(Firmware::Efi);
        }
    }
    Ok(Firmware::Bios)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qcow2(version: u32, changes: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; 104];
        head[..4].copy_from_slice(b"QFI\xfb");
        head[4..8].copy_from_slice(&version.to_be_bytes());
        for (at, bytes) in changes {
            head[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    fn why<T: std::fmt::Debug>(told: Result<T>) -> String {
        told.map_err(|e| e.to_string()).unwrap_err()
    }

    #[test]
    fn a_qcow2_file_that_names_another_is_refused() {
        assert_eq!(format(&qcow2(3, &[])).unwrap(), Format::Qcow2);
        assert_eq!(format(&qcow2(2, &[(79, &[4])])).unwrap(), Format::Qcow2, "version 2 ends before the features");
        assert!(why(format(&qcow2(3, &[(15, &[1])]))).contains("backing file"));
        assert!(why(format(&qcow2(2, &[(8, &[0x80])]))).contains("backing file"));
        assert!(why(format(&qcow2(3, &[(79, &[4])]))).contains("another file"));
        assert!(why(format(&qcow2(3, &[(35, &[2])]))).contains("encrypted"));
        assert!(why(format(&qcow2(4, &[]))).contains("version 4"));
        assert!(why(format(&qcow2(3, &[])[..20])).contains("cut short"));
    }

    #[test]
    fn qemu_itself_makes_what_is_refused() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("secret"), vec![0; 1 << 20])?;
        let make = |words: &[&str], name: &str| {
            Program::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).args(words).arg(at(name)).arg("1M").output()
        };
        let secret = at("secret").display().to_string();
        make(&["-b", &secret, "-F", "raw"], "backed")?;
        make(&["-o", &format!("data_file={secret},data_file_raw=on")], "outside")?;
        make(&[], "whole")?;
        for (name, words) in [("backed", "backing file"), ("outside", "another file"), ("whole", "no partition table")]
        {
            let told = Disk::open(&at(name), None).map_err(|e| format!("{e:#}")).unwrap_err();
            assert!(told.contains(words) && told.contains(name), "{told}");
        }
        // What a person insists on is tried.
        let disk = Disk::open(&at("whole"), Some(Firmware::Bios))?;
        assert_eq!((disk.format, disk.starts), (Format::Qcow2, Starts::Firmware(Firmware::Bios)));
        Ok(())
    }

    #[test]
    fn what_is_no_disk_is_said_so() {
        assert!(why(format(b"KDMV\x01\0\0\0")).contains("vmdk"));
        assert!(why(Disk::open(Path::new("/nonexistent"), None)).contains("/nonexistent"));
        assert!(why(Disk::open(Path::new("/"), None)).contains("no file"));
        assert!(why(found(&[0; HEAD])).contains("no partition table"));
        assert!(why(found(b"")).contains("no partition table"));
    }

    #[test]
    fn the_partition_table_says_what_starts_the_disk() {
        let mut head = vec![0; HEAD];
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head[446 + 4] = 0x83;
        assert_eq!(found(&head).unwrap(), Firmware::Bios);
        head[462 + 4] = 0xef;
        assert_eq!(found(&head).unwrap(), Firmware::Efi);
        head[462 + 4] = 0;
        head[446 + 4] = 0xee;
        assert_eq!(found(&head).unwrap(), Firmware::Bios, "a GPT without a header");
        head[512..520].copy_from_slice(b"EFI PART");
        head[584] = 2;
        head[592] = 128;
        head[596] = 128;
        assert_eq!(found(&head).unwrap(), Firmware::Bios, "a GPT for a BIOS");
        head[1024 + 14 * 128..][..16].copy_from_slice(&ESP);
        assert_eq!(found(&head).unwrap(), Firmware::Efi);
        // Whatever a table claims of its own place and size, nothing is read beside the head.
        head[584..592].copy_from_slice(&[0xff; 8]);
        assert_eq!(found(&head).unwrap(), Firmware::Bios);
        head[592..600].copy_from_slice(&[0xff; 8]);
        assert_eq!(found(&head).unwrap(), Firmware::Bios);
    }
}
