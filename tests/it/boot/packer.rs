//! An image that Packer makes of a vendor's disk by our template, and a machine of it.

use super::cache;
use anyhow::{Context, Result};
use hardtack::prove::image;
use std::path::Path;
use std::process::Command;

/// What of a machine of its own an image still has: each by its name. Read without starting it.
pub(super) fn left_behind(disk: &Path, folder: &Path) -> Result<Vec<String>> {
    // The root file system is the largest partition.
    let script = "qemu-img convert -O raw \"$1\" \"$2/disk.raw\" && at=$(sfdisk -J \"$2/disk.raw\" | python3 -c 'import json, sys
t = json.load(sys.stdin)[\"partitiontable\"]
print(max(t[\"partitions\"], key=lambda p: p[\"size\"])[\"start\"] * t.get(\"sectorsize\", 512))') && fs=\"$2/disk.raw?offset=$at\"
look() { debugfs -R \"$1\" \"$fs\" 2>/dev/null; }
look 'ls -p /etc/ssh' | grep -o 'ssh_host_[a-z0-9_]*'
for file in /root/.ssh/authorized_keys /home/packer /var/lib/systemd/random-seed /etc/cloud/cloud-init.disabled /etc/netplan/50-cloud-init.yaml \
    /etc/sudoers.d/90-cloud-init-users /var/lib/cloud/instance /root/.bash_history; do
    look \"stat $file\" | grep -q '^Inode:' && echo $file
done
look 'cat /etc/machine-id'
look 'cat /etc/passwd' | grep '^packer:'
for folder in /var/log/journal /var/lib/cloud/instances; do look \"ls -p $folder\" | grep -vE '/([.]|[.][.])/' | grep -q . && echo $folder; done
look 'stat /var/lib/hardtack/payload/place' | grep -q '^Inode:' || echo 'no payload'
rm \"$2/disk.raw\"";
    let done = Command::new("bash").args(["-c", script, "look"]).arg(disk).arg(folder).output()?;
    Ok(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn what_packer_has_made_is_hardened_at_its_first_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let spec = crate::packer::bundle(folder.path());
    std::fs::write(folder.path().join("other.yaml"), spec)?;
    let disk = image::open(&cache(), "debian-12-vendor")?.context("hardtack image build debian-12 --vendor")?.disk.path;
    let built = Command::new(folder.path().join("bundle/packer/build"))
        .arg(&disk)
        .args(["-var", "accelerator=none", "-var", r#"qemuargs=[["-bios","/usr/share/ovmf/OVMF.fd"]]"#])
        .current_dir(folder.path())
        .env("CHECKPOINT_DISABLE", "1")
        .output()?;
    let said = String::from_utf8_lossy(&built.stdout);
    assert!(built.status.success(), "{said}");
    assert!(said.contains("hardtack: db-7 is there, and applied at the next start"), "{said}");
    let image = folder.path().join("db-7.image/db-7.qcow2");
    assert_eq!(left_behind(&image, folder.path())?, Vec::<String>::new());
    let proved = crate::support::hardtack()
        .args(["prove", "other.yaml", "--image", "db-7.image/db-7.qcow2", "--no-control", "--report", "r.json"])
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", cache().parent().context("a cache")?)
        .output()?;
    let told = String::from_utf8_lossy(&proved.stdout).into_owned() + &String::from_utf8_lossy(&proved.stderr);
    assert!(proved.status.success(), "{told}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join("r.json"))?)?;
    let proofs = report["proofs"].as_array().context("proofs")?;
    assert!(proofs.iter().any(|p| p["id"] == "delivery/sealed" && p["verdict"] == "holds"));
    assert!(report["delivery"] == "packer" && proofs.len() > 40, "{}", proofs.len());
    Ok(())
}
