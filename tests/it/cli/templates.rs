//! `--templates DIR`.

use super::Place;
use crate::support::root;

#[test]
fn a_persons_own_templates_take_the_place_of_ours() {
    let place = Place::new();
    let built_in = std::fs::read_to_string(root().join("templates/firewall/gate.sh")).unwrap();
    let spec = root().join("tests/specs/firewall.yaml").display().to_string();
    let own = place.at("own");
    for (name, text) in
        [("firewall/gate.sh", format!("{built_in}# mine\n")), ("updates/apt.conf", "{{ nothing }}\n".to_owned())]
    {
        std::fs::create_dir_all(own.join(name).parent().unwrap()).unwrap();
        std::fs::write(own.join(name), text).unwrap();
    }
    let (code, _, err) = place.run(&["bake", &spec, "--templates", "own", "-o", "b"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("your own template takes the place of firewall/gate.sh\n"), "{err}");
    assert!(err.contains("your own template updates/apt.conf takes no place"), "{err}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.at("b/bundle.json")).unwrap()).unwrap();
    assert_eq!(manifest["templates"], serde_json::json!(["firewall/gate.sh"]));
    let gate = place.at("b/rootfs/usr/local/lib/hardtack/gate.d/firewall-gate");
    assert!(std::fs::read_to_string(gate).unwrap().ends_with("# mine\n"));
    // One that cannot be drawn is theirs to mend, and said so.
    let spec = root().join("tests/specs/updates.yaml").display().to_string();
    let (code, _, err) = place.run(&["check", &spec, "--templates", "own"]);
    assert_eq!((code, err.as_str()), (1, "hardtack: templates/updates/apt.conf, line 1: `nothing` is undefined\n"));
    std::fs::write(own.join("stray"), "").unwrap();
    let (code, _, err) = place.run(&["check", &spec, "--templates", "own"]);
    assert!(code == 2 && err.starts_with("hardtack: own/stray: templates stand in a folder"), "{err}");
}
