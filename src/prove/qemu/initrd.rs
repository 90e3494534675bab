//! What is added to an image's initial RAM disk for one machine: the name of its network card, which a rule may ask for.
//!
//! The kernel unpacks one archive after another, so the image itself stays as it is. udev names the card in the initial
//! RAM disk, and later keeps the name that it finds (systemd.link(5), `NamePolicy=keep`).

/// The image's initial RAM disk, and after it an archive that has udev call the card with this address by this name.
pub(crate) fn with_card_named(initrd: &[u8], mac: [u8; 6], name: &str) -> Vec<u8> {
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    let link = format!("[Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n");
    let mut all = initrd.to_vec();
    pad(&mut all);
    for folder in ["etc", "etc/systemd", "etc/systemd/network"] {
        entry(&mut all, folder, 0o040_755, b"");
    }
    entry(&mut all, "etc/systemd/network/10-hardtack.link", 0o100_644, link.as_bytes());
    entry(&mut all, "TRAILER!!!", 0, b"");
    all
}

// One entry of a cpio archive in the "newc" format (cpio(5); the kernel's initramfs buffer format).
fn entry(all: &mut Vec<u8>, name: &str, mode: u32, data: &[u8]) {
    // Inode, mode, owner, group, links, time, size, four device numbers, length of the name with its NUL, no checksum.
    let fields = [0, mode as usize, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
    all.extend(b"070701");
    for field in fields {
        all.extend(format!("{field:08x}").bytes());
    }
    all.extend(name.bytes());
    all.push(0);
    pad(all);
    all.extend(data);
    pad(all);
}

fn pad(all: &mut Vec<u8>) {
    all.resize(all.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::process::Program;

    #[test]
    fn cpio_itself_reads_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        // Three bytes stand for an image's own archive; the kernel skips the zeros that pad it.
        let all = with_card_named(b"abc", [0x52, 0x54, 0, 0x12, 0x34, 0x56], "ens3");
        assert_eq!(&all[..4], b"abc\0");
        let archive = folder.path().join("a");
        std::fs::write(&archive, &all[4..]).unwrap();
        let read = |flags: &[&str]| {
            Program::new("cpio").args(flags).arg("-F").arg(&archive).directory(folder.path()).output().unwrap()
        };
        let listed = read(&["--quiet", "-it"]);
        assert_eq!(listed, b"etc\netc/systemd\netc/systemd/network\netc/systemd/network/10-hardtack.link\n");
        read(&["--quiet", "-id"]);
        let link = std::fs::read_to_string(folder.path().join("etc/systemd/network/10-hardtack.link")).unwrap();
        assert_eq!(link, "[Match]\nMACAddress=52:54:00:12:34:56\n\n[Link]\nName=ens3\n");
    }
}
