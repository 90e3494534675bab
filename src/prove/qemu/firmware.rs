//! The UEFI firmware of this host, by the descriptors that its package brings (QEMU's docs/interop/firmware.json): no path of any
//! distribution stands here.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// Where descriptors are; the first place wins where two hold a file of one name.
const PLACES: [&str; 2] = ["/etc/qemu/firmware", "/usr/share/qemu/firmware"];

/// A firmware: its code, and what its variables are before the first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uefi {
    /// The code, which nobody writes.
    pub(crate) code: PathBuf,
    /// The variables; each machine writes a copy of its own.
    pub(crate) variables: PathBuf,
}

/// The first firmware for our machine, by the order of the descriptors' names.
pub(crate) fn find() -> Result<Uefi> {
    let mut files: Vec<PathBuf> = Vec::new();
    for place in PLACES.map(Path::new) {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            if !files.iter().any(|f| f.file_name() == Some(&entry.file_name())) {
                files.push(entry.path());
            }
        }
    }
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    let found = files.iter().filter_map(|f| read(&fs::read_to_string(f).ok()?)).find(|u| u.code.exists());
    found.context(
        "could not find a UEFI firmware for QEMU (a descriptor of one for q35, without Secure Boot, in \
         /usr/share/qemu/firmware); on Debian: apt-get install ovmf",
    )
}

/// What a descriptor tells of, if that is one for our machine: in flash of two files, and without keys that would refuse a
/// person's own boot loader.
fn read(text: &str) -> Option<Uefi> {
    let told: Value = serde_json::from_str(text).ok()?;
    let has = |key: &str, word: &str| told[key].as_array().is_some_and(|all| all.iter().any(|w| w == word));
    let ours = told["targets"].as_array()?.iter().any(|target| {
        target["architecture"] == "x86_64"
            && target["machines"].as_array().is_some_and(|m| m.iter().any(|m| m == "pc-q35-*"))
    });
    let flash = &told["mapping"];
    let raw = |file: &Value| (file["format"] == "raw").then(|| file["filename"].as_str().map(PathBuf::from)).flatten();
    if !ours || !has("interface-types", "uefi") || has("features", "requires-smm") || flash["device"] != "flash" {
        return None;
    }
    Some(Uefi { code: raw(&flash["executable"])?, variables: raw(&flash["nvram-template"])? })
}

/// Makes a machine's own copy of the variables.
pub(crate) fn variables(of: &Uefi, to: &Path) -> Result<()> {
    let bytes = fs::read(&of.variables).with_context(|| format!("could not read {}", of.variables.display()))?;
    fs::write(to, bytes).context("could not write the firmware's variables")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTOR: &str = r#"{"interface-types": ["uefi"], "features": ["acpi-s3"],
        "mapping": {"device": "flash", "executable": {"filename": "/c", "format": "raw"},
                    "nvram-template": {"filename": "/v", "format": "raw"}},
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}]}"#;

    #[test]
    fn a_firmware_is_taken_for_what_it_is() {
        assert_eq!(read(DESCRIPTOR), Some(Uefi { code: "/c".into(), variables: "/v".into() }));
        for (from, to) in [
            ("\"uefi\"", "\"bios\""),
            ("acpi-s3", "requires-smm"),
            ("x86_64", "aarch64"),
            ("pc-q35-*", "virt-*"),
            ("flash", "memory"),
            ("raw", "qcow2"),
            ("{", "["),
        ] {
            assert_eq!(read(&DESCRIPTOR.replace(from, to)), None, "{from}");
        }
    }

    #[test]
    fn this_host_has_one() -> Result<()> {
        let uefi = find()?;
        let folder = tempfile::tempdir()?;
        variables(&uefi, &folder.path().join("vars"))?;
        assert_eq!(fs::read(folder.path().join("vars"))?, fs::read(&uefi.variables)?);
        Ok(())
    }
}
