//! Lists on the web, fetched by a booted machine from a server on its own network.

use super::{Broken, names};
use hardtack::plan::proof::{Check, Proof, When};
use hardtack::prove::shell::Keep;
use hardtack::prove::verdict::Verdict;

/// What the hurdle brings, all of it at the first boot; and who stands for anybody.
fn of_lists(broken: &Broken) -> Vec<Proof> {
    let wanted = |p: &&Proof| p.hurdle == "blocklist" || p.id == "delivery/sealed";
    let now = |p: &Proof| Proof { when: When::EveryBoot, ..p.clone() };
    broken.proofs.iter().filter(wanted).map(now).collect()
}

#[test]
#[ignore = "ci/full"]
fn lists_are_fetched_without_a_gap_and_bad_ones_change_nothing() {
    let whole = Broken::of("blocklist.yaml", &|_| {});
    let proofs = of_lists(&whole);
    assert!(proofs.iter().any(|p| matches!(p.check, Check::Refresh(_))));
    let outcome = whole.run(proofs, false, Keep::Never, &mut |_| {}).unwrap();
    for judged in &outcome.judged {
        assert_eq!(judged.judgement.verdict, Verdict::Holds, "{}: {}", judged.proof.id, judged.judgement.seen);
    }
}

#[test]
#[ignore = "ci/full"]
fn sets_that_are_filled_anew_in_place_fail_for_their_gap() {
    let load = "/usr/local/lib/hardtack/blocklist-load";
    let broken = Broken::of("blocklist.yaml", &|plan| {
        // As scripts on the web do it: empty the set, and then add line by line.
        let text = &mut plan.files.get_mut(load).unwrap().text;
        let swap = "if ! ipset restore <\"$file\"; then";
        assert!(text.contains(swap));
        *text = text.replacen(swap, "ipset flush; sleep 1\nif ! ipset restore <\"$file\"; then", 1);
    });
    let outcome = broken.run(of_lists(&broken), false, Keep::Never, &mut |_| {}).unwrap();
    names(
        &outcome,
        &["blocklist/refresh"],
        &["blocklist/set-ipv4", "blocklist/set-ipv6", "blocklist/kept", "delivery/sealed"],
    );
    let seen = &outcome.judged.iter().find(|j| j.proof.id == "blocklist/refresh").unwrap().judgement.seen;
    assert!(seen.contains(", which is listed, was answered "), "{seen}");
}

#[test]
#[ignore = "ci/full"]
fn a_list_that_no_bundle_can_bring_is_fetched_before_anything_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.txt");
    // No two next to each other, so that they stay as many.
    let list: String =
        (0..30_000_u32).map(|n| format!("{}\n", std::net::Ipv4Addr::from(0x2d00_0000 + 2 * n))).collect();
    std::fs::write(&path, list).unwrap();
    let whole = Broken::text(
        &serde_json::json!({
            "hardtack": 1, "name": "many-1", "image": "debian-12", "deliver": ["cloud-init"],
            "hurdles": {
                "blocklist": { "sources": [{ "file": path, "url": "https://lists.example.org/many.txt" }] },
                "firewall": { "allow": [{ "services": ["ssh", "https"] }] },
            },
        })
        .to_string(),
        &|plan| assert!(!plan.files.keys().any(|path| path.ends_with(".cidr")), "the bundle brings it"),
    );
    let wanted = ["blocklist/set-ipv4", "blocklist/kept", "delivery/sealed", "firewall/wire-tcp-443-45.0.0.0"];
    let proofs: Vec<Proof> = whole.proofs.iter().filter(|p| wanted.contains(&p.id.as_str())).cloned().collect();
    let outcome = whole.run(proofs, false, Keep::Never, &mut |_| {}).unwrap();
    names(&outcome, &[], &wanted);
    assert!(outcome.console.iter().any(|line| line.contains("never fetched yet")), "{:#?}", outcome.console);
}
