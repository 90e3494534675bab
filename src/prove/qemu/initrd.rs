//! What is added to an image's initial RAM disk for one machine: the names of its network cards, which a rule may ask
//! for, and the gate at which a snapshot is taken.
//!
//! The kernel unpacks one archive after another, so the image itself stays as it is. udev names the card in the initial
//! RAM disk, and later keeps the name that it finds (systemd.link(5), `NamePolicy=keep`).

/// Waits where the initial RAM disk ends. `/usr/sbin` comes before `/bin`, where the real run-init is (initramfs-tools(7)).
pub(crate) const GATE: &str = include_str!("gate.sh");

/// A file for the initial RAM disk.
#[derive(Debug)]
pub(crate) struct Addition {
    path: String,
    mode: usize,
    text: String,
}

/// Has udev call the `at`-th card, which has this address, by this name.
pub(crate) fn card_named(at: usize, mac: [u8; 6], name: &str) -> Addition {
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    let text = format!("[Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n");
    Addition { path: format!("etc/systemd/network/10-hardtack-{at}.link"), mode: 0o100_644, text }
}

/// The gate.
pub(crate) fn gate() -> Addition {
    Addition { path: "usr/sbin/run-init".to_owned(), mode: 0o100_755, text: GATE.to_owned() }
}

/// The image's initial RAM disk, and after it an archive with these files.
pub(crate) fn with(initrd: &[u8], additions: &[Addition]) -> Vec<u8> {
    let mut all = initrd.to_vec();
    pad(&mut all);
    for addition in additions {
        for (end, _) in addition.path.match_indices('/') {
            entry(&mut all, &addition.path[..end], 0o040_755, b"");
        }
        entry(&mut all, &addition.path, addition.mode, addition.text.as_bytes());
    }
    entry(&mut all, "TRAILER!!!", 0, b"");
    all
}

// One entry of a cpio archive in the "newc" format (cpio(5); the kernel's initramfs buffer format).
fn entry(all: &mut Vec<u8>, name: &str, mode: usize, data: &[u8]) {
    // Inode, mode, owner, group, links, time, size, four device numbers, length of the name with its NUL, no checksum.
    let fields = [0, mode, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
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
        let all = with(b"abc", &[card_named(0, [0x52, 0x54, 0, 0x12, 0x34, 0x56], "ens3"), gate()]);
        assert_eq!(&all[..4], b"abc\0");
        let archive = folder.path().join("a");
        std::fs::write(&archive, &all[4..]).unwrap();
        let read = |flags: &[&str]| {
            Program::new("cpio").args(flags).arg("-F").arg(&archive).directory(folder.path()).output().unwrap()
        };
        let listed = read(&["--quiet", "-it"]);
        let listed = String::from_utf8(listed).unwrap();
        let files =
            "etc etc/systemd etc/systemd/network etc/systemd/network/10-hardtack-0.link usr usr/sbin usr/sbin/run-init";
        assert_eq!(listed.lines().collect::<Vec<_>>().join(" "), files);
        read(&["--quiet", "-id"]);
        let link = std::fs::read_to_string(folder.path().join("etc/systemd/network/10-hardtack-0.link")).unwrap();
        assert_eq!(link, "[Match]\nMACAddress=52:54:00:12:34:56\n\n[Link]\nName=ens3\n");
        let gate = folder.path().join("usr/sbin/run-init");
        assert_eq!(std::fs::read_to_string(&gate).unwrap(), GATE);
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&gate.metadata().unwrap().permissions()) & 0o777, 0o755);
        Program::new("sh").arg("-n").arg(&gate).output().unwrap();
    }
}
