//! Where host programs are, and what to install when they are not.
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

/// Which Debian package brings each program that we may start.
const PACKAGES: &[(&str, &str)] = &[
    ("apt-config", "apt"),
    ("apt-get", "apt"),
    ("genisoimage", "genisoimage"),
    ("mcopy", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.vfat", "dosfstools"),
    ("mmdebstrap", "mmdebstrap"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("setpriv", "util-linux"),
    ("sfdisk", "fdisk"),
    ("unshare", "util-linux"),
];

/// Where a program is: on `PATH`, or in the directories of the superuser's programs, which a person's `PATH` on
/// Debian leaves out.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|directory| directory.join(program))
        .find(|path| path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0))
}

/// Make sure that every one of these programs is there; else one sentence with all that are not, and the remedy.
pub fn require(programs: &[&str]) -> Result<()> {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { Err(anyhow!(remedy(&missing))) }
}

pub(super) fn remedy(missing: &[&str]) -> String {
    let mut packages: Vec<&str> = missing
        .iter()
        .filter_map(|program| PACKAGES.iter().find(|(name, _)| name == program).map(|(_, package)| *package))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    let mut text = format!("could not find {}", missing.join(", "));
    if !packages.is_empty() {
        let _ = write!(text, "; on Debian: apt-get install {}", packages.join(" "));
    }
    text
}

pub(super) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path
}
