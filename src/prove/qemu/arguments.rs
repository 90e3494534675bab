//! QEMU's command line: pure functions, one a concern.
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::accelerator::Accelerator;

/// The name of the virtio-serial port that the image's root channel listens on.
pub(crate) const CHANNEL: &str = "hardtack.shell";

type Arguments = Vec<OsString>;

fn words<const N: usize>(words: [&str; N]) -> Arguments {
    words.map(OsString::from).into()
}

/// An option whose last value is a path. QEMU splits values at commas; a doubled one stands for itself.
fn with_path(option: &str, head: &str, path: &Path, tail: &str) -> Arguments {
    let mut value = head.as_bytes().to_vec();
    for byte in path.as_os_str().as_bytes() {
        value.extend(std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 }));
    }
    value.extend(tail.as_bytes());
    vec![option.into(), OsString::from_vec(value)]
}

/// A machine with nothing in it but what is asked for, and a QEMU that cannot start programs or gain rights.
pub(crate) fn machine(accelerator: &Accelerator, machine: &str) -> Arguments {
    let accelerator = match accelerator {
        Accelerator::Kvm => "kvm",
        // Half of the default cache of translated code: two machines then fit where one did.
        Accelerator::Tcg { .. } => "tcg,tb-size=512",
    };
    let mut arguments = words(["-nodefaults", "-no-user-config", "-display", "none", "-machine", machine]);
    arguments.extend(words(["-accel", accelerator]));
    arguments.extend(words(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]));
    arguments
}

/// One core: for throughput, several machines beat several cores. `model` is the cheapest one under TCG.
pub(crate) fn cpu(accelerator: &Accelerator, model: &str) -> Arguments {
    let model = match accelerator {
        Accelerator::Kvm => "max",
        Accelerator::Tcg { .. } => model,
    };
    words(["-cpu", model, "-smp", "1"])
}

/// Memory.
pub(crate) fn memory(mib: u64) -> Arguments {
    words(["-m", &mib.to_string()])
}

/// The disk; its overlay is thrown away, so nothing of it need ever reach the host's disk.
pub(crate) fn disk(overlay: &Path) -> Arguments {
    let mut arguments =
        with_path("-drive", "if=none,id=root,format=qcow2,cache=unsafe,discard=unmap,file=", overlay, "");
    // Firmware looks here before it looks anywhere else; 0 is taken where QEMU itself starts the kernel.
    arguments.extend(words(["-device", "virtio-blk-pci,drive=root,bootindex=1"]));
    arguments
}

/// UEFI firmware: its code, and the machine's own variables.
pub(crate) fn flash(code: &Path, variables: &Path) -> Arguments {
    let mut arguments = with_path("-drive", "if=pflash,unit=0,format=raw,readonly=on,file=", code, "");
    arguments.extend(with_path("-drive", "if=pflash,unit=1,format=raw,file=", variables, ""));
    arguments
}

/// Kernel and initial RAM disk, past any firmware menu or boot loader.
pub(crate) fn kernel(kernel: &Path, initrd: &Path, line: &str) -> Arguments {
    // These are whole words, not comma lists: nothing is doubled.
    let path = |path: &Path| OsStr::from_bytes(path.as_os_str().as_bytes()).to_owned();
    vec!["-kernel".into(), path(kernel), "-initrd".into(), path(initrd), "-append".into(), line.into()]
}

/// What the firmware says of the machine.
pub(crate) fn smbios(text: &str) -> Arguments {
    words(["-smbios", text])
}

/// The bundle's seed, which the guest cannot write.
pub(crate) fn seed(volume: &Path) -> Arguments {
    let mut arguments = with_path("-drive", "if=none,id=seed,format=raw,read-only=on,file=", volume, "");
    arguments.extend(words(["-device", "virtio-blk-pci,drive=seed"]));
    arguments
}

/// Where the seed is plugged in once the machine runs. It takes the place of the seed among the devices, so that all
/// that come after it are where they are without it, and called what they are called.
pub(crate) fn socket_for_seed() -> Arguments {
    words(["-device", "pcie-root-port,id=seed-port,chassis=1,slot=1"])
}

/// A device that tells the kernel that it has a past that others share.
pub(crate) fn generation() -> Arguments {
    words(["-device", "vmgenid,guid=auto"])
}

/// Begin with what will come from a snapshot.
pub(crate) fn incoming() -> Arguments {
    words(["-incoming", "defer"])
}

/// The serial console, into a file.
pub(crate) fn console(file: &Path) -> Arguments {
    let mut arguments = with_path("-chardev", "file,id=console,path=", file, "");
    arguments.extend(words(["-serial", "chardev:console"]));
    arguments
}

/// A network card; whoever connects to the socket is the whole of its network.
pub(crate) fn wire(card: usize, socket: &Path, mac: [u8; 6]) -> Arguments {
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    let head = format!("stream,id=wire{card},server=on,addr.type=unix,addr.path=");
    let mut arguments = with_path("-netdev", &head, socket, "");
    arguments.extend(words(["-device", &format!("virtio-net-pci,netdev=wire{card},mac={mac},romfile=")]));
    arguments
}

/// The root channel.
pub(crate) fn channel(socket: &Path) -> Arguments {
    let mut arguments = words(["-device", "virtio-serial-pci"]);
    arguments.extend(with_path("-chardev", "socket,id=channel,server=on,wait=off,path=", socket, ""));
    arguments.extend(words(["-device", &format!("virtserialport,chardev=channel,name={CHANNEL}")]));
    arguments
}

/// The control socket.
pub(crate) fn control(socket: &Path) -> Arguments {
    let mut arguments = with_path("-chardev", "socket,id=control,server=on,wait=off,path=", socket, "");
    arguments.extend(words(["-mon", "chardev=control,mode=control"]));
    arguments
}

/// A source of randomness, without which making host keys can block.
pub(crate) fn randomness() -> Arguments {
    words(["-device", "virtio-rng-pci"])
}

/// End rather than start again when the guest reboots.
pub(crate) fn no_reboot() -> Arguments {
    words(["-no-reboot"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[OsString], expected: &str) {
        let text: Vec<_> = arguments.iter().map(|a| a.to_string_lossy()).collect();
        assert_eq!(text.join(" "), expected);
    }

    fn tcg() -> Accelerator {
        Accelerator::Tcg { why: "because".into() }
    }

    #[test]
    fn each_concern_gives_its_words() {
        let path = Path::new("/run/x");
        check(
            &machine(&Accelerator::Kvm, "q35"),
            "-nodefaults -no-user-config -display none -machine q35 -accel kvm \
             -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        );
        assert!(machine(&tcg(), "q35").contains(&"tcg,tb-size=512".into()));
        check(&cpu(&Accelerator::Kvm, "qemu64"), "-cpu max -smp 1");
        check(&cpu(&tcg(), "qemu64"), "-cpu qemu64 -smp 1");
        check(&memory(1024), "-m 1024");
        check(
            &disk(path),
            "-drive if=none,id=root,format=qcow2,cache=unsafe,discard=unmap,file=/run/x -device virtio-blk-pci,drive=root,bootindex=1",
        );
        check(
            &flash(path, Path::new("/run/v")),
            "-drive if=pflash,unit=0,format=raw,readonly=on,file=/run/x -drive if=pflash,unit=1,format=raw,file=/run/v",
        );
        check(
            &kernel(path, Path::new("/run/i"), "root=LABEL=x ro"),
            "-kernel /run/x -initrd /run/i -append root=LABEL=x ro",
        );
        check(
            &wire(0, path, [0x52, 0x54, 0, 0x12, 0x34, 0xff]),
            "-netdev stream,id=wire0,server=on,addr.type=unix,addr.path=/run/x \
             -device virtio-net-pci,netdev=wire0,mac=52:54:00:12:34:ff,romfile=",
        );
        check(
            &channel(path),
            "-device virtio-serial-pci -chardev socket,id=channel,server=on,wait=off,path=/run/x \
             -device virtserialport,chardev=channel,name=hardtack.shell",
        );
        check(
            &control(path),
            "-chardev socket,id=control,server=on,wait=off,path=/run/x -mon chardev=control,mode=control",
        );
        check(&console(path), "-chardev file,id=console,path=/run/x -serial chardev:console");
        check(&randomness(), "-device virtio-rng-pci");
        check(&no_reboot(), "-no-reboot");
        check(&socket_for_seed(), "-device pcie-root-port,id=seed-port,chassis=1,slot=1");
        check(&generation(), "-device vmgenid,guid=auto");
        check(&incoming(), "-incoming defer");
    }

    #[test]
    fn a_seed_is_read_only() {
        check(
            &seed(Path::new("/s")),
            "-drive if=none,id=seed,format=raw,read-only=on,file=/s -device virtio-blk-pci,drive=seed",
        );
    }

    #[test]
    fn a_comma_in_a_path_opens_no_option() {
        check(
            &console(Path::new("/a,b,path=c")),
            "-chardev file,id=console,path=/a,,b,,path=c -serial chardev:console",
        );
        check(&kernel(Path::new("/a,b"), Path::new("/i"), ""), "-kernel /a,b -initrd /i -append ");
    }
}
