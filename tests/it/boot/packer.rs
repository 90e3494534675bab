//! An image that Packer makes of a vendor's disk by our template, and a machine of it.

use super::cache;
use anyhow::{Context, Result};
use hardtack::prove::image;
use std::process::Command;

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
