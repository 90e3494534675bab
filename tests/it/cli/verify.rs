//! `bake --sign` and `verify`, by the real ssh-keygen.

use super::Place;
use std::process::Command;

/// A key of this name, and a line for it in a file of signers.
fn key(place: &Place, name: &str) -> String {
    let path = place.at(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    format!("{name}@example {}", std::fs::read_to_string(path.with_extension("pub")).unwrap())
}

#[test]
fn a_bundle_is_as_it_was_baked_and_signed() {
    let place = Place::new();
    let (alice, eve) = (key(&place, "alice"), key(&place, "eve"));
    std::fs::write(place.at("signers"), &alice).unwrap();
    std::fs::write(place.at("others"), &eve).unwrap();
    let bake = |key: Option<&str>| {
        let sign = key.iter().flat_map(|key| ["--sign", key]);
        let words: Vec<&str> = ["bake", "box.yaml", "-o", "b"].into_iter().chain(sign).collect();
        let (code, _, err) = place.run(&words);
        assert_eq!(code, 0, "{err}");
    };
    let verify = |more: &[&str]| {
        let (code, out, err) = place.run(&[&["verify", "b"], more].concat());
        (code, format!("{out}{err}"))
    };
    bake(None);
    let (code, said) = verify(&[]);
    assert!(code == 0 && said.ends_with(" files as they were baked; not signed\n"), "{said}");
    assert_eq!(verify(&["--signers", "signers"]), (1, "hardtack: b: nobody has signed it\n".to_owned()));
    bake(Some("alice"));
    let signature = std::fs::read(place.at("b/SHA256SUMS.sig")).unwrap();
    bake(Some("alice"));
    assert_eq!(
        std::fs::read(place.at("b/SHA256SUMS.sig")).unwrap(),
        signature,
        "the same key gives the same signature"
    );
    let (code, said) = verify(&["--signers", "signers"]);
    assert!(code == 0 && said.ends_with("; signed by alice@example\n"), "{said}");
    // As whoever has no hardtack does it.
    let plain = "sha256sum --quiet -c SHA256SUMS && ssh-keygen -Y verify -n hardtack-bundle -I alice@example -f ../signers -s SHA256SUMS.sig <SHA256SUMS";
    assert!(Command::new("sh").args(["-c", plain]).current_dir(place.at("b")).output().unwrap().status.success());
    let (code, said) = verify(&["--signers", "others"]);
    assert!(code == 1 && said.contains("nobody of others has signed this"), "{said}");
    // A file that is otherwise, one that is gone, one beside them, a link: each is named, and all at once.
    let at = |name: &str| place.at(&format!("b/{name}"));
    std::fs::write(at("cloud-init/meta-data"), "instance-id: other\n").unwrap();
    std::fs::remove_file(at("seed.iso")).unwrap();
    std::fs::write(at("rootfs/more"), "").unwrap();
    std::fs::remove_file(at("seed.img")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("seed.img")).unwrap();
    let (code, said) = verify(&["--signers", "signers"]);
    assert_eq!(code, 1);
    let wanted = "hardtack: b: cloud-init/meta-data is not as it was baked\nhardtack: b: seed.img is no file\n\
                  hardtack: b: seed.iso is missing\nhardtack: b: rootfs/more is not of the bundle\n";
    assert_eq!(said, wanted);
    // Digests that fit again, under a signature that was of others.
    bake(Some("alice"));
    std::fs::write(at("cloud-init/meta-data"), "instance-id: other\n").unwrap();
    let sums = Command::new("sh")
        .args(["-c", "sha256sum $(cut -c67- SHA256SUMS) >new && mv new SHA256SUMS"])
        .current_dir(place.at("b"))
        .status()
        .unwrap();
    assert!(sums.success());
    assert_eq!(verify(&[]).0, 0);
    let (code, said) = verify(&["--signers", "signers"]);
    assert!(code == 1 && said.contains("this is no signature of SHA256SUMS as it is now"), "{said}");
    // What is no bundle, no key, no signers.
    assert_eq!(place.run(&["verify", "."]).0, 2);
    assert_eq!(place.run(&["bake", "box.yaml", "-o", "c", "--sign", "nokey"]).0, 2);
    assert_eq!(place.run(&["bake", "box.yaml", "-o", "c", "--sign", "box.yaml"]).0, 2);
    assert!(!place.at("c").exists(), "nothing is half-written");
    assert_eq!(verify(&["--signers", "nobody"]).0, 2);
}
