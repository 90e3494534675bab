//! Several runs side by side, as a person would start them.

use super::cache;
use crate::support::{hardtack, root};
use serde_json::Value;

#[test]
#[ignore = "ci/full"]
fn two_images_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let sample = root().join("tests/specs/sysctl.yaml");
    std::fs::copy(&sample, folder.path().join("box.yaml")).unwrap();
    let images = ["--image", "debian-12", "--image", "debian-13"];
    let done = hardtack()
        .env("XDG_CACHE_HOME", cache().parent().unwrap())
        .current_dir(folder.path())
        .args(["prove", "box.yaml", "--jobs", "2", "--no-control", "--no-reboot", "--report", "report.json"])
        .args(images)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert_eq!(done.status.code(), Some(0), "{err}\n{out}");
    assert!(err.contains("2 runs of 1 machine each, 2 at a time: as asked for\n"), "{err}");
    assert_eq!(err.matches("accelerator: ").count(), 1, "{err}");
    let report: Value = serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["format"], 1);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for (run, image) in runs.iter().zip(["debian-12", "debian-13"]) {
        assert_eq!((&run["spec"], &run["image"]), (&"box.yaml".into(), &image.into()));
        let proofs = run["proofs"].as_array().unwrap();
        assert_eq!(run["summary"]["holds"], proofs.len(), "{run}");
        // How far it is, by name, while both are under way; and then the whole of it, in one piece.
        assert!(err.contains(&format!("box.yaml on {image}: bundle: starting")), "{err}");
        let whole = err.split("\n== ").find(|t| t.starts_with(&format!("box.yaml on {image}\n"))).unwrap();
        let whole = whole.lines().skip(1).take_while(|l| l.starts_with("holds"));
        assert_eq!(whole.count(), proofs.len(), "{err}");
        assert!(out.contains(&format!("\nbox.yaml on {image}: {} hold, 0 fail, 0 could not be told", proofs.len())));
        let mut row = out.lines().rev().find(|l| l.contains(image)).unwrap().split_whitespace();
        let holds = proofs.len().to_string();
        for cell in ["box.yaml", image, "cloud-init", holds.as_str(), "0", "0"] {
            assert_eq!(row.next(), Some(cell), "{out}");
        }
    }
    // Both were under way at once: the second began before the first was over.
    let over = err.find("\n== ").unwrap();
    assert!(err.rfind("bundle: starting").unwrap() < over, "{err}");
}
