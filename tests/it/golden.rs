//! What each sample bakes to, word for word. `UPDATE=1` rewrites, and the diff is for a person to read.

use crate::support::{bake, root, samples};
use std::fmt::Write;

#[test]
fn every_sample_bakes_to_what_was_read_before() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut bad = Vec::new();
    for (name, path) in samples() {
        let (tree, proofs) = bake(&std::fs::read_to_string(&path).unwrap(), None, &|_| {});
        let mut drawn = String::new();
        for (file, entry) in tree.iter() {
            // The delivery's own files are the same in all of them; one whole machine shows them.
            let own = file.ends_with("firstboot")
                || file.ends_with("/lib/hardtack/firewall")
                || file.ends_with(".service")
                || file.ends_with("files.sha256");
            if file.starts_with("rootfs/") && (!own || name == "other") || file == "cloud-init/meta-data" {
                let _ = writeln!(drawn, "=== {:04o} {file}\n{}", entry.mode, String::from_utf8_lossy(&entry.data));
            }
        }
        let _ = writeln!(drawn, "=== proofs");
        for p in proofs {
            let _ = writeln!(drawn, "{} [{}] {}", p.id, p.refs.join(", "), p.statement);
        }
        let golden = root().join(format!("tests/golden/{name}.txt"));
        if update {
            std::fs::write(&golden, &drawn).unwrap();
        } else if std::fs::read_to_string(&golden).ok().as_deref() != Some(&drawn) {
            bad.push(name);
        }
    }
    assert!(!update, "rewritten; read the diff, and run again without UPDATE");
    assert!(bad.is_empty(), "these bake to something else now: {bad:?}; see with UPDATE=1 and git diff");
}
