//! The template for Packer, by Packer itself.

use crate::support::{bake, root};
use std::process::Command;

/// A bundle for Packer, of a whole machine, in a folder of its own.
pub(crate) fn bundle(folder: &std::path::Path) -> String {
    let spec = std::fs::read_to_string(root().join("tests/specs/other.yaml")).unwrap();
    let spec = spec.replace("deliver: [cloud-init]", "deliver: [packer]");
    // A vendor's disk calls its card something else.
    let spec = spec.replace("      - ports: [\"8000-8010\"]\n        interface: eth0\n", "");
    assert!(spec.contains("packer") && !spec.contains("eth0"));
    let (tree, _) = bake(&spec, None, &|_| {});
    tree.write(&folder.join("bundle"), &|_| false).unwrap();
    spec
}

#[test]
fn packer_finds_nothing_wrong_and_its_variables_are_what_build_sets() {
    let folder = tempfile::tempdir().unwrap();
    bundle(folder.path());
    let run = |script: &str| {
        let done = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder.path())
            .env("CHECKPOINT_DISABLE", "1")
            .env("PACKER_CONFIG_DIR", folder.path())
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].map(|s| String::from_utf8(s).unwrap()).concat();
        (done.status.success(), said)
    };
    let seed = "mkdir seed && touch seed/user-data seed/meta-data disk.img && ssh-keygen -q -t ed25519 -N '' -f key";
    assert!(run(seed).0);
    // Without its home, which some builds of Packer want to write to.
    let validate = |more: &str| {
        run(&format!(
            "HOME=$PWD AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x packer validate -var image_url=$PWD/disk.img -var seed=$PWD/seed \
             -var private_key_file=$PWD/key {more} bundle/packer/db-7.pkr.hcl"
        ))
    };
    let (good, said) = validate("-only=qemu.machine");
    assert!(good, "{said}");
    let (good, said) =
        validate("-only=qemu.machine -var 'qemuargs=[[\"-bios\",\"/usr/share/ovmf/OVMF.fd\"]]' -var accelerator=none");
    assert!(good, "{said}");
    let (good, said) = validate("-only=qemu.machine -var no_such=1");
    assert!(!good, "a variable that is not there is taken: {said}");
    let (good, said) = run("shellcheck bundle/packer/build bundle/packer/seal bundle/packer/install");
    assert!(good, "{said}");
    let (good, said) = run("bundle/packer/build nothing");
    assert!(!good && said.starts_with("usage: build IMAGE"), "{said}");
}
