//! A disk as a vendor ships it: partitions, an EFI system partition, a root file system. No loop device, no mount, and
//! nothing but the packages' own files (and what `customise/boot-loader.sh` says to the boot loader).
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::build::{DISK_LIMIT, fill};
use crate::prove::process::Program;

/// The partitions, for sfdisk. The numbers are those of the vendors' images: 1 is the root, which is last on the disk so
/// that it can grow, and 15 the EFI system partition. A type is what firmware and systemd know a partition by.
pub(super) const LAYOUT: &str = "label: gpt\n\
    label-id: 68617264-7461-4636-8B00-6469736B0001\n\
    unit: sectors\n\
    15 : start=2048, size=253952, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=68617264-7461-4636-8B00-656669000001\n\
    1 : start=256000, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=68617264-7461-4636-8B00-706172740001\n";

/// Where the EFI system partition begins and how long it is, in sectors.
const ESP: (u64, u64) = (2048, 253_952);
/// Where the root begins; the backup of the table needs room behind it.
const ROOT: u64 = 256_000;
const BEHIND: u64 = 2048;

/// The identifiers that `customise/boot-loader.sh` names.
const ROOT_UUID: &str = "68617264-7461-4636-8b00-726f6f740001";
const ESP_UUID: &str = "48540001";

/// The root file system of a raw disk, as the tools of ext4 name it.
pub(super) fn root(raw: &Path) -> PathBuf {
    let mut name = raw.as_os_str().to_owned();
    name.push(format!("?offset={}", ROOT << 9));
    PathBuf::from(name)
}

/// The raw disk of a root file system's content and the files of its EFI system partition.
pub(super) fn disk(content: &Path, efi: &Path, mib: u64, raw: &Path) -> Result<()> {
    let root = mib << 11;
    File::create(raw)?.set_len((ROOT + root + BEHIND) << 9).context("could not make the disk")?;
    let mut script = tempfile::tempfile().context("could not make a file")?;
    script.write_all(LAYOUT.as_bytes()).and_then(|()| std::io::Seek::rewind(&mut script)).context("could not write")?;
    Program::new("sfdisk")
        .args(["--quiet", "--no-tell-kernel"])
        .arg(raw)
        .input(script)
        .deadline(DISK_LIMIT)
        .output()?;
    let (start, length) = ESP;
    // Clusters of one sector: with larger ones there are too few of them for FAT32, and readers disagree on what it is.
    Program::new("mkfs.vfat")
        .args(["-F", "32", "-s", "1", "-i", ESP_UUID, "--offset", &start.to_string()])
        .arg(raw)
        .arg((length / 2).to_string())
        .deadline(DISK_LIMIT)
        .output()?;
    let mut volume = PathBuf::from(raw).into_os_string();
    volume.push(format!("@@{}", start << 9));
    Program::new("mcopy")
        .args(["-s", "-Q", "-i"])
        .arg(volume)
        .arg(efi)
        .arg("::/EFI")
        // The partition's size is the table's business.
        .environment("MTOOLS_SKIP_CHECK", "1")
        .deadline(DISK_LIMIT)
        .output()?;
    let offset = format!("offset={}", ROOT << 9);
    fill(&["-U", ROOT_UUID, "-E", &offset], content, raw, Some(mib))
        .map_err(|error| anyhow!(error).context("could not make the root file system"))
}

#[cfg(test)]
mod tests {
    use super::super::BOOT_LOADER;
    use super::*;
    use crate::prove::image::{Disk, Firmware, Format, Starts};

    #[test]
    fn what_the_boot_loader_is_told_is_what_the_disk_has() {
        assert!(BOOT_LOADER.contains(&format!("root_uuid={ROOT_UUID}\n")));
        assert!(BOOT_LOADER.contains(&format!("esp_uuid={}-{}\n", &ESP_UUID[..4], &ESP_UUID[4..])));
        assert!(LAYOUT.contains(&format!("start={}, size={},", ESP.0, ESP.1)));
        assert!(LAYOUT.contains(&format!("start={ROOT},")) && ROOT == ESP.0 + ESP.1);
    }

    #[test]
    fn a_disk_is_what_firmware_starts_and_holds_the_files() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("efi/EFI/BOOT"))?;
        std::fs::write(at("efi/EFI/BOOT/BOOTX64.EFI"), "loader")?;
        std::fs::write(at("efi/EFI/BOOT/grubx64.efi"), vec![7; 5 << 20])?;
        std::fs::create_dir_all(at("root/etc"))?;
        std::fs::write(at("root/etc/hostname"), "vendor\n")?;
        disk(&at("root"), &at("efi/EFI"), 16, &at("raw"))?;
        let found = Disk::open(&at("raw"), None)?;
        assert_eq!((found.format, found.starts), (Format::Raw, Starts::Firmware(Firmware::Efi)));
        let table = Program::new("sfdisk").args(["--verify"]).arg(at("raw")).output()?;
        assert!(String::from_utf8_lossy(&table).contains("No errors detected"));
        let volume = format!("{}@@{}", at("raw").display(), ESP.0 << 9);
        let read = Program::new("mtype").args(["-i", &volume, "::/EFI/BOOT/BOOTX64.EFI"]).output()?;
        assert_eq!(read, b"loader");
        let read = Program::new("debugfs").args(["-R", "cat /etc/hostname"]).arg(root(&at("raw"))).output()?;
        assert_eq!(read, b"vendor\n");
        Ok(())
    }
}
