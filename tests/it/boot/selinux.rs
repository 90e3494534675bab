//! SELinux, on a disk with its own boot loader: what the kernel is told is what the disk has.

use super::{held_again, proved};
use crate::support::root;

#[test]
fn selinux_is_enforcing_from_the_first_boot_on() {
    let spec = root().join("tests/specs/selinux.yaml");
    // The image itself is permissive: a sabotage shows these proofs fail (ci/full), and a second machine here would show nothing more.
    let (report, said) = proved(&[spec.to_str().unwrap(), "--image", "debian-12-selinux-vendor", "--no-control"], None);
    held_again(&report);
    for id in ["selinux/mode", "selinux/denies", "selinux/labels", "selinux/cloud-init-runs", "ssh/port-labelled"] {
        let proof =
            report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == id).unwrap_or_else(|| panic!("{id}"));
        assert_eq!(proof["verdict"], "holds", "{id}: {said}");
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
