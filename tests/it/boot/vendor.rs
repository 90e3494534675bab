//! A disk as a vendor ships it: it starts by its own boot loader, and nothing of ours is on it. One boot and its reboot.

use super::{cache, control_of, proved};
use crate::support::root;
use hardtack::facts::Start;
use hardtack::prove::image::{self, Disk, Firmware, Format, Starts};
use hardtack::prove::qemu::{Accelerator, Config, Vm};
use std::time::{Duration, Instant};

#[test]
#[ignore = "ci/full"]
fn a_vendors_disk_is_proved_as_it_is() {
    // Without the root channel of the seed there would be no verdict at all, and after the reboot none either. It is named by
    // its path, as any disk that a person has.
    let spec = root().join("tests/specs/kernel.yaml");
    let disk =
        image::open(&cache(), "debian-12-vendor").unwrap().expect("hardtack image build debian-12 --vendor").disk.path;
    let before = std::fs::metadata(&disk).unwrap().modified().unwrap();
    let (report, said) = proved(&[spec.to_str().unwrap(), "--image", disk.to_str().unwrap(), "--no-control"], None);
    assert_eq!(std::fs::metadata(&disk).unwrap().modified().unwrap(), before, "a person's disk is never written");
    for id in ["delivery/sealed", "kernel/init_on_free=1", "kernel/slab_nomerge", "kernel/randomize_kstack_offset=on"] {
        assert_eq!(control_of(&report, id), "not-run");
        let proof = report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == id).unwrap();
        assert_eq!(proof["verdict"], "holds", "{said}");
    }
}

#[test]
fn a_persons_disk_without_efi_starts_by_its_first_sector() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a,b.raw");
    // mov dx, 0x3f8; then for each letter: mov al, LETTER; out dx, al; at last: hlt; jmp back to it.
    let mut sector = vec![0xba, 0xf8, 0x03];
    "by its first sector".bytes().for_each(|letter| sector.extend([0xb0, letter, 0xee]));
    sector.extend([0xf4, 0xeb, 0xfd]);
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    std::fs::write(&path, &sector)?;
    let disk = Disk::open(&path, None)?;
    assert_eq!((disk.format, &disk.starts), (Format::Raw, &Starts::Firmware(Firmware::Bios)));
    let start = Start { cpu: "qemu64".to_owned(), arguments: vec![], memory_mib: 64 };
    let vm = Vm::start(&Config::new(&disk, &start, Accelerator::Tcg { why: "a test".to_owned() }))?;
    let began = Instant::now();
    while !vm.console().contains("by its first sector") {
        assert!(began.elapsed() < Duration::from_secs(120), "{}", vm.console());
        std::thread::sleep(Duration::from_millis(50));
    }
    vm.quit()?;
    assert_eq!(std::fs::read(&path)?, sector, "a person's disk is never written");
    Ok(())
}
