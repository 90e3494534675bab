//! The article, start to end, and a person's own units and files beside it, on one machine: none of them hides what another one does, and
//! each is judged by proofs of its own. Its first boot installs and updates packages from this host's own mirror.

use super::{control_of, held_again, proved};
use crate::support::root;

/// A section of a sample, with its own lines.
fn section(sample: &str, name: &str) -> String {
    let text = std::fs::read_to_string(root().join(format!("tests/specs/{sample}.yaml"))).unwrap();
    let inside = |line: &&str| line.starts_with("   ") || line.is_empty();
    let mut lines = text.lines().skip_while(|line| *line != format!("  {name}:"));
    let head = lines.next().unwrap_or_else(|| panic!("{sample} has no {name}"));
    std::iter::once(head).chain(lines.take_while(inside)).map(|line| format!("{line}\n")).collect()
}

/// Nothing is older on the mirror than on an image that was built from it, so one package is made to look so before the first boot goes on.
/// But for a kernel that has come since, of an hour ago or so: to pack its initramfs costs a quarter of an hour under emulation, and this
/// is not about kernels.
const OLDER: &str = "
      - name: an-older-nano
        stage: apply
        text: |
          [ -e /var/lib/shop-older ] || sed -i '/^Package: nano$/,/^$/s/^Version: .*/Version: 3.0/' /var/lib/dpkg/status
          printf 'Package: linux-image-* linux-headers-*\\nPin: release *\\nPin-Priority: -1\\n' >/etc/apt/preferences.d/no-kernel
          echo update_initramfs=no >/etc/initramfs-tools/update-initramfs.conf
          : >/var/lib/shop-older
";
const NEWER: &str = "
      - name: nano-is-new
        statement: the first boot has brought a newer nano
        script: |
          dpkg-query -W nano
          dpkg --compare-versions \"$(dpkg-query -W -f '${Version}' nano)\" gt 3.0
";

/// The machine, judged, and what was said of it.
fn judged(more: &[&str]) -> (serde_json::Value, String) {
    let article = std::fs::read_to_string(root().join("tests/specs/article.yaml")).unwrap();
    let files = section("files", "files")
        .replace("    run:\n", &format!("    run:{OLDER}"))
        .replace("    proofs:\n", &format!("    proofs:{NEWER}"));
    // Who knocks at 8080 is let in from anywhere here, which a proof of those files wants; the article's own rule is proved by ci/full.
    let units = section("services", "services").replace("user: alice", "user: greg");
    let lists = root().join("tests/lists").display().to_string();
    let spec = article
        .replace(&section("article", "services"), &units)
        .replace("accept:", &format!("{}accept:", files.replace("owner: alice", "owner: greg")))
        .replace("        from: [10.0.0.0/8]\n        after: provisioning\n", "        after: provisioning\n")
        .replace("../lists", &lists);
    assert!(spec.contains("name: shop") && spec.contains("an-older-nano") && spec.contains("nano-is-new"), "{spec}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("article.yaml");
    std::fs::write(&path, spec).unwrap();
    let (report, said) = proved(&[&[path.to_str().unwrap(), "--mirror"], more].concat(), None);
    held_again(&report);
    (report, said)
}

#[test]
fn the_article_holds_on_debian_12() {
    judged(&["--no-control"]);
}

#[test]
#[ignore = "ci/full"]
fn of_the_article_the_bare_image_has_nothing() {
    let (report, said) = judged(&[]);
    // The older nano is the bundle's own doing, and the bare image has none. On that one LLMNR is waited on, nothing forbids hfs, nothing watches, and nothing of the shop is there.
    for id in [
        "services/listens-ports",
        "services/no-neighbours-names",
        "services/stays-away",
        "services/masked",
        "services/shop-runs",
        "services/shop-sandboxed",
        "services/till-listens-run-till-till.sock",
        "system/no-hfs",
        "system/shm-for-data",
        "system/tmp-for-files",
        "system/umask",
        "system/cron",
        "updates/as-the-spec-says",
        "updates/own-files-stay",
        "updates/these-and-no-others",
        "delivery/own-files",
        "files/stock-is-full",
        "files/greets",
        "files/database-is-not-seen",
        "watch/auditd",
        "watch/audit-rules",
        "watch/audit-locked",
        "watch/audit-sees",
        "watch/integrity",
        "watch/integrity-notices",
        "watch/journal-settings",
        "watch/verify-holds",
        "watch/verify-notices",
        "watch/verify-after-updates",
    ] {
        assert_eq!(control_of(&report, id), "fails", "{id}: {said}");
    }
}
