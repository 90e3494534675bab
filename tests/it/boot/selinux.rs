//! SELinux, on a disk with its own boot loader: what the kernel is told is what the disk has.

use super::{control_of, held_again, proved};
use crate::support::root;

#[test]
fn selinux_is_enforcing_from_the_first_boot_on() {
    let spec = root().join("tests/specs/selinux.yaml");
    let (report, said) = proved(&[spec.to_str().unwrap(), "--image", "debian-12-selinux-vendor"], None);
    held_again(&report);
    // The image itself is permissive; what it has is labelled there too.
    for id in ["selinux/mode", "selinux/denies"] {
        assert_eq!(control_of(&report, id), "fails", "{id}: {said}");
    }
}

#[test]
#[ignore = "ci/full"]
fn selinux_that_is_disabled_is_not_in_the_kernel() {
    let text = std::fs::read_to_string(root().join("tests/specs/selinux.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("off.yaml");
    std::fs::write(&path, text.replace("mode: enforcing", "mode: disabled")).unwrap();
    let (report, said) = proved(&[path.to_str().unwrap(), "--image", "debian-12-selinux-vendor", "--no-control"], None);
    let off = report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == "selinux/off").unwrap();
    assert_eq!((&off["verdict"], &off["first_boot"]), (&"holds".into(), &"unknown".into()), "{said}");
}
