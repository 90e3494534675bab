//! Services, updates, a person's own files, and what every benchmark asks of a system: on one machine, since none of them hides what
//! another one does, and each is judged by proofs of its own.

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

#[test]
fn what_is_a_persons_own_holds_on_debian_12() {
    let services = std::fs::read_to_string(root().join("tests/specs/services.yaml")).unwrap();
    let more: String = ["system", "updates", "files"].iter().map(|name| section(name, name)).collect::<String>();
    let lists = root().join("tests/lists").display().to_string();
    let spec = services
        .replace("deliver:", &format!("{}deliver:", more.replace("../lists", &lists)))
        .replace("  firewall:\n    allow:\n", "  firewall:\n    allow:\n      - ports: [8080]\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.yaml");
    std::fs::write(&path, spec).unwrap();
    let (report, said) = proved(&[path.to_str().unwrap(), "--image", "debian-12"], None);
    held_again(&report);
    // On the bare image LLMNR is waited on, nothing forbids hfs, and nothing of the shop is there.
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
    ] {
        assert_eq!(control_of(&report, id), "fails", "{id}: {said}");
    }
}
