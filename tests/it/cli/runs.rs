//! `prove` of several: what is to be run, its shares, and what is refused before anything boots.

use super::{BAD_DRAWN, BOX, Place};

const NO_12: &str = "hardtack: there is no image debian-12 yet; make it with: hardtack image build debian-12\n";
const NO_13: &str = "hardtack: there is no image debian-13 yet; make it with: hardtack image build debian-13\n";

#[test]
fn all_that_is_wrong_with_all_specs_is_said_before_anything_boots() {
    let place = Place::new();
    let missing = "hardtack: nope.yaml: cannot be read: No such file or directory (os error 2)\n";
    place.check(&["prove", "nope.yaml", "box.yaml", "bad.yaml"], 2, "", &format!("{BAD_DRAWN}{missing}"));
    place.check(&["prove", "box.yaml", "bad.yaml"], 1, "", BAD_DRAWN);
    // What is wrong on both images is said once.
    place.check(&["prove", "bad.yaml", "--image", "debian-12", "--image", "debian-13"], 1, "", BAD_DRAWN);
    let words = "hardtack: there is no image `sid`; known: debian-12, debian-12-selinux, debian-12-sysvinit, debian-13, rocky-9, ubuntu-24.04\n\
        hardtack: there is no image `debian-1`; did you mean `debian-12`?\n\
        hardtack: there is no delivery `fax`; known: cloud-init bare-metal packer golden\n";
    let wrong = ["prove", "bad.yaml", "--image", "sid", "--image", "debian-1", "--delivery", "fax"];
    place.check(&wrong, 2, "", words);
    // The images of all runs, each once.
    let both = format!("{NO_12}{NO_13}");
    place.check(&["prove", "box.yaml", "--image", "debian-13", "--image", "debian-12"], 69, "", &both);
    let never = "hardtack: rocky-9 is rendered and linted here, but never booted\n";
    let all = ["prove", "box.yaml", "box.yaml", "--image", "rocky-9", "--image", "debian-12"];
    place.check(&all, 69, "", &format!("{NO_12}{never}"));
    let windows = "hardtack: box.yaml: --timeline watches a firewall come up, and this spec has none; write a `firewall:` section\n";
    place.check(&["prove", "box.yaml", "--timeline"], 2, "", windows);
    let ec2 = |image| ["prove", "box.yaml", "--datasource", "ec2", "--image", image];
    for image in ["debian-12-vendor", "./own.qcow2"] {
        let seed = format!(
            "hardtack: box.yaml: --datasource ec2 leaves the seed out, and the root channel comes to this disk with the seed: prove it \
             on an image that has a channel of its own, not on {image}\n"
        );
        place.check(&ec2(image), 2, "", &seed);
    }
    place.check(&ec2("debian-12"), 69, "", NO_12);
    assert_eq!(place.run(&["prove", "box.yaml", "--datasource", "ec2", "--warm"]).0, 2);
}

#[test]
fn a_delivery_that_was_asked_for_goes_before_the_specs_own() {
    let place = Place::new();
    std::fs::write(place.at("none.yaml"), format!("{BOX}deliver: []\n")).unwrap();
    let none = "hardtack: none.yaml: this spec names no delivery; add `--delivery cloud-init`\n";
    place.check(&["prove", "none.yaml"], 2, "", none);
    place.check(&["prove", "none.yaml", "--delivery", "cloud-init"], 69, "", NO_12);
}

#[test]
fn the_shares_have_each_run_once_in_whatever_order_they_are_named() {
    let place = Place::new();
    std::fs::write(place.at("other.yaml"), BOX.replace("box", "other")).unwrap();
    // Four runs, in the order of their names: box on 12, box on 13, other on 12, other on 13.
    for orders in [
        ["box.yaml", "other.yaml", "--image", "debian-12", "--image", "debian-13"],
        ["other.yaml", "box.yaml", "--image", "debian-13", "--image", "debian-12"],
    ] {
        let share = |share: &str| {
            let mut arguments = vec!["prove", "--partition", share];
            arguments.extend(orders);
            place.run(&arguments)
        };
        let no = |images: &str| (69, String::new(), images.to_owned());
        for (of_two, images) in [("1/2", NO_12), ("2/2", NO_13), ("count:2/2", NO_13)] {
            assert_eq!(share(of_two), no(images), "{of_two}");
        }
        assert_eq!(share("1/3"), no(&format!("{NO_12}{NO_13}")));
        assert_eq!(share("5/6"), (3, String::new(), "share 5/6 of 4 runs is empty: nothing was proved\n".to_owned()));
    }
    let empty = ["prove", "box.yaml", "--partition", "2/2", "--allow-empty"];
    place.check(&empty, 0, "", "share 2/2 of 1 run is empty: nothing was proved\n");
    // A spec that is bad is bad in every share.
    place.check(&["prove", "bad.yaml", "box.yaml", "--partition", "2/2"], 1, "", BAD_DRAWN);
    for (arguments, why) in [
        (vec!["--partition", "0/2"], "the shares of 2 are 1/2 to 2/2"),
        (vec!["--partition", "3/2"], "the shares of 2 are 1/2 to 2/2"),
        (vec!["--partition", "x"], "a share is I/N, as in 1/4; or count:I/N, as cargo-nextest has it"),
        (vec!["--partition", "hash:1/2"], "a share is I/N, as in 1/4; or count:I/N, as cargo-nextest has it"),
        (vec!["--jobs", "0"], "invalid value '0' for '--jobs <N>'"),
        (vec!["--allow-empty"], "--partition <I/N>"),
    ] {
        let (code, out, err) = place.run(&[vec!["prove", "box.yaml"], arguments.clone()].concat());
        assert!(code == 2 && out.is_empty() && err.contains(why), "{arguments:?}: {err}");
    }
}

#[test]
fn a_prompt_is_for_a_terminal_and_one_machine() {
    let place = Place::new();
    let nobody = "hardtack: --shell gives a prompt, and nobody can type at it: standard input is not a terminal\n";
    place.check(&["prove", "box.yaml", "--shell"], 2, "", nobody);
    place.check(&["prove", "box.yaml", "--shell=always"], 2, "", nobody);
    assert_eq!(place.run(&["prove", "box.yaml", "--shell=never"]).0, 2);
    let on_a_terminal = |arguments: &str| {
        let program = assert_cmd::cargo::cargo_bin!("hardtack");
        let done = std::process::Command::new("script")
            .args(["-qec", &format!("{} prove {arguments}", program.display()), "/dev/null"])
            .current_dir(place.0.path())
            .env("XDG_CACHE_HOME", place.at("cache"))
            .output()
            .expect("script, of bsdutils");
        (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap().replace("\r\n", "\n"))
    };
    // The value stands behind `=`, so that a spec after it is a spec.
    assert_eq!(on_a_terminal("--shell box.yaml"), (69, NO_12.to_owned()));
    let several = "hardtack: --shell keeps one machine, and these are 2 runs; name one spec and one image\n";
    let two = "box.yaml --shell --image debian-12 --image debian-13";
    assert_eq!(on_a_terminal(two), (2, several.to_owned()));
    assert_eq!(on_a_terminal(&format!("{two} --partition 1/2")), (69, NO_12.to_owned()));
}
