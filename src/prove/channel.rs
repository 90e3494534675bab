//! The root channel of a machine that has none baked in: it comes with the seed, as NoCloud vendor-data.
//!
//! The bundle's own files on the seed stay as they are, byte for byte. Vendor-data is read beside them, and a boothook in
//! it runs at every boot on which cloud-init runs, before any module of the user-data. All of it lies in /run. A bundle may switch
//! cloud-init off, so before it is started again the machine is given what brings the channel once more, and then is gone.
use anyhow::{Result, bail};

use super::image::{CHANNEL, Disk, Starts};
use crate::archive::seed;

/// The seed for a machine that starts from `disk`: the bundle's, and beside its files the root channel where the disk has
/// none.
pub fn seed(disk: &Disk, bundles: Vec<u8>) -> Result<Vec<u8>> {
    if matches!(disk.starts, Starts::Harness { .. }) {
        return Ok(bundles);
    }
    let mut files = seed::files(&bundles)?;
    if files.iter().any(|(name, _)| name == "vendor-data") {
        bail!(
            "the bundle brings vendor-data of its own, and on {} that is the way of the root channel; prove it on an \
             image that hardtack has built, which has one of its own",
            disk.name
        );
    }
    files.push(("vendor-data".to_owned(), boothook().into_bytes()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    Ok(seed::vfat(&files, 0)?)
}

/// Why there may be no root channel, for the end of an error.
pub fn absent(disk: &Disk) -> String {
    match disk.starts {
        Starts::Harness { .. } => "the machine has no root channel".to_owned(),
        Starts::Firmware(_) => format!(
            "the machine has no root channel. {} starts by its own boot loader, and the channel comes to it by the \
             vendor-data of a NoCloud seed: that needs cloud-init with NoCloud, systemd, bash, and a bundle that does \
             not say `vendor_data: {{enabled: false}}`",
            disk.name
        ),
    }
}

// The script and the unit are those of our own images, but for where the script is: /run takes no programs. The folder is
// its own, since what the questions leave in theirs is removed.
fn boothook() -> String {
    format!(
        "#cloud-boothook\n#!/bin/sh\n\
         # The root channel of `hardtack prove`: gone with this boot, and brought again at the next.\n{}",
        bring()
    )
}

fn bring() -> String {
    let place = "/run/hardtack-channel";
    let script = here_document("CHANNEL");
    let unit = here_document("UNIT").replace("/usr/lib/hardtack/", &format!("/bin/sh {place}/"));
    format!(
        "[ ! -e {place}/root-channel ] || exit 0\n\
         mkdir -p -m 700 {place} && mkdir -p /run/systemd/system || exit 0\n\
         cat >{place}/root-channel <<'CHANNEL'\n{script}\nCHANNEL\n\
         cat >/run/systemd/system/hardtack-shell.service <<'UNIT'\n{unit}\nUNIT\n\
         modprobe virtio_console 2>/dev/null\n\
         systemctl --no-block start hardtack-shell.service\n"
    )
}

/// What is run on a machine before it is started again, so that it has a root channel then too; nothing where one is in the image.
pub fn carry(disk: &Disk) -> Option<String> {
    if matches!(disk.starts, Starts::Harness { .. }) {
        return None;
    }
    let (units, place) = ("/etc/systemd/system", "/etc/hardtack-channel");
    let (unit, wants) = (format!("{units}/hardtack-channel.service"), format!("{units}/sysinit.target.wants"));
    Some(format!(
        "mkdir -p -m 700 {place} && mkdir -p {wants} || exit\n\
         cat >{place}/bring <<'BRING'\nrm -rf {place} {unit} {wants}/hardtack-channel.service\n{}BRING\n\
         cat >{unit} <<'ONCE'\n[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\nBefore=sysinit.target\n\
         [Service]\nType=oneshot\nExecStart=/bin/sh {place}/bring\nONCE\n\
         ln -sf {unit} {wants}/hardtack-channel.service\n\
         ! command -v restorecon >/dev/null || restorecon -R {place} {unit} {wants}\nsync\n",
        bring()
    ))
}

// What stands in the here-document of this name, without its last line end.
fn here_document(end: &str) -> &'static str {
    CHANNEL
        .split_once(&format!("<<'{end}'\n"))
        .and_then(|(_, rest)| rest.split_once(&format!("\n{end}\n")))
        .map_or("", |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::image::{Firmware, Format};

    fn disk(starts: Starts) -> Disk {
        Disk { name: "a disk".into(), path: "/d".into(), format: Format::Raw, starts }
    }

    #[test]
    fn the_bundles_own_files_stay_as_they_are() -> Result<()> {
        // Any bytes, and sizes around those of clusters.
        let user_data: Vec<u8> = (0..70_001_u32).map(|n| (n % 253) as u8).collect();
        let own: [(&str, &[u8]); 3] =
            [("meta-data", b"instance-id: x\n"), ("network-config", b""), ("user-data", &user_data)];
        let bundles = seed::vfat(&own, 1_700_000_000)?;
        let theirs = seed(&disk(Starts::Firmware(Firmware::Efi)), bundles.clone())?;
        let mut files = seed::files(&theirs)?;
        let vendor = files.pop().unwrap_or_default();
        assert_eq!(vendor.0, "vendor-data");
        assert!(vendor.1.starts_with(b"#cloud-boothook\n#!/bin/sh\n"));
        assert_eq!(files, own.map(|(name, data)| (name.to_owned(), data.to_vec())));
        let harness = Starts::Harness { kernel: "/k".into(), initrd: "/i".into() };
        assert_eq!(seed(&disk(harness), bundles.clone())?, bundles);
        Ok(())
    }

    #[test]
    fn a_bundle_with_vendor_data_of_its_own_is_told_so() -> Result<()> {
        let bundles = seed::vfat(&[("user-data", b"u"), ("vendor-data", b"#cloud-config\n{}\n")], 0)?;
        let told = seed(&disk(Starts::Firmware(Firmware::Bios)), bundles).map_err(|e| e.to_string());
        assert!(told.is_err_and(|e| e.contains("vendor-data of its own") && e.contains("a disk")));
        assert!(seed(&disk(Starts::Firmware(Firmware::Bios)), b"no volume".to_vec()).is_err());
        Ok(())
    }

    #[test]
    fn the_boothook_is_whole() {
        let text = boothook();
        for part in ["#!/bin/sh\n# Offers a root shell", "exec /bin/bash --norc", "[Unit]\n", "Restart=always\n"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.contains("ExecStart=/bin/sh /run/hardtack-channel/root-channel\n"));
        assert!(!text.contains("/usr/lib/hardtack"), "nothing lies on the disk");
        assert!(carry(&disk(Starts::Firmware(Firmware::Efi))).is_some_and(|c| c.contains(&bring())));
    }
}
