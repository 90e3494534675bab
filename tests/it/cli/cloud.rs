//! `bake --cloud`: what is given to a cloud fits there, or nothing is written.

use super::Place;
use crate::support::root;

fn sample(name: &str) -> String {
    root().join(format!("tests/specs/{name}.yaml")).to_str().unwrap().to_owned()
}

#[test]
fn user_data_is_given_as_a_cloud_takes_it() {
    let place = Place::new();
    let other = sample("other");
    let bake = |more: &[&str]| place.run(&[&["bake", &other, "-o", "b"], more].concat());
    let given = |cloud: &str| std::fs::read(place.at(&format!("b/cloud-init/user-data.{cloud}"))).unwrap();
    let plain = || std::fs::read(place.at("b/cloud-init/user-data")).unwrap();
    // Whoever unpacks it is gzip(1), and base64(1).
    let unpacked = |script: &str| {
        let done = std::process::Command::new("sh").args(["-c", script]).current_dir(place.at("b/cloud-init")).output();
        done.unwrap().stdout
    };
    for (cloud, said) in [("gcp", "as it is the user-data comes to "), ("none", "takes any number of bytes")] {
        let (code, _, err) = bake(&["--cloud", cloud]);
        assert!(code == 0 && err.contains(said), "{err}");
        assert_eq!(given(cloud), plain());
    }
    let (code, _, err) = bake(&["--cloud", "aws"]);
    assert!(
        code == 0 && err.contains("Amazon EC2 takes 16,384 bytes") && err.contains(", packed by gzip to "),
        "{err}"
    );
    assert!(given("aws").len() <= 16_384 && unpacked("gzip -dc user-data.aws") == plain());
    let (code, _, err) = bake(&["--cloud", "hetzner"]);
    assert!(code == 0 && err.contains("packed by gzip, in base64, to "), "{err}");
    assert!(given("hetzner").len() <= 32_768 && unpacked("base64 -d user-data.hetzner | gzip -dc") == plain());
    // What nobody has confirmed is said to be so.
    assert!(bake(&["--cloud", "linode"]).2.contains(", as far as anybody here knows"));
    // It is of the bundle, as all else is, and nobody else's to read.
    assert_eq!(place.run(&["verify", "b"]).0, 0);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(place.at("b/cloud-init/user-data.linode")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_a_cloud_takes_as_text_alone_is_compact_and_holds_the_same_files() {
    let place = Place::new();
    let article = sample("article");
    let (code, _, err) = place.run(&["bake", &article, "-o", "b", "--cloud", "digitalocean"]);
    assert!(code == 0 && err.contains(", packed it is not taken, compact, with its files packed, to "), "{err}");
    let given = place.at("b/cloud-init/user-data.digitalocean");
    let text = std::fs::read_to_string(&given).unwrap();
    assert!(text.len() <= 65_536 && !text.contains("\nwrite_files:") && text.contains("\nusers:\n- name: greg\n"));
    // As the machine does it: the shell takes the lines of the here-document, and base64 and tar have the rest.
    let script = "mkdir to && sed -n '/<<.HARDTACK.$/,/^ *HARDTACK$/p' b/cloud-init/user-data.digitalocean | sed '1d;$d' | base64 -di |
        tar -C to -xzpf - && diff -r to b/rootfs && cd to && find . -type f -printf '%m %p\\n' | sort >../to.modes &&
        cd ../b/rootfs && find . -type f -printf '%m %p\\n' | sort | diff - ../../to.modes && find . -type f | wc -l";
    let place_of = given.parent().and_then(std::path::Path::parent).and_then(std::path::Path::parent).unwrap();
    let done = std::process::Command::new("sh").args(["-c", script]).current_dir(place_of).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.trim().parse::<usize>().is_ok_and(|n| n > 50), "{said}");
}

#[test]
fn what_fits_nowhere_is_named_by_its_parts_and_not_written() {
    let place = Place::new();
    let article = sample("article");
    let bake = |more: &[&str]| place.run(&[&["bake", &article, "-o", "b", "--cloud"], more].concat());
    let (code, _, err) = bake(&["aws"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("of each hurdle alone: watch ") && err.contains("`--include URL`"), "{err}");
    assert!(!place.at("b").exists());
    assert!(bake(&["vultr"]).2.contains("packed it is not taken"));
    let (code, _, err) = bake(&["aws", "--include", "https://bundles.example.org/article"]);
    assert!(code == 0 && err.contains("it reads https://bundles.example.org/article instead"), "{err}");
    let given = std::fs::read_to_string(place.at("b/cloud-init/user-data.aws")).unwrap();
    assert_eq!(given, "#include\nhttps://bundles.example.org/article\n");
    // Used wrongly.
    for words in [&["awz"][..], &["aws", "--include", "http://x.example.org/"], &["aws", "--include", "https://a/\n#!"]]
    {
        let (code, _, err) = bake(words);
        assert_eq!(code, 2, "{words:?}: {err}");
    }
    assert_eq!(place.run(&["bake", &article, "--include", "https://a.example.org/"]).0, 2);
    let (code, listed, _) = place.run(&["list", "clouds"]);
    assert!(code == 0 && listed.lines().count() == 11 && listed.contains("not confirmed"), "{listed}");
}

#[test]
fn a_large_file_is_packed_in_user_data_and_the_others_can_be_read() {
    let place = Place::new();
    let (code, _, err) = place.run(&["bake", &sample("article"), "-o", "b"]);
    assert_eq!(code, 0, "{err}");
    // As cloud-init reads it (cc_write_files.py).
    let read = "import base64, gzip, yaml
for file in yaml.safe_load(open('b/cloud-init/user-data'))['write_files']:
    text = file['content'].encode()
    if 'encoding' in file:
        assert file['encoding'] == 'gz+b64'
        text = gzip.decompress(base64.b64decode(text))
    assert text == open('b/rootfs' + file['path'], 'rb').read(), file['path']
    assert ('encoding' in file) == (len(text) >= 16384), file['path']
    print('encoding' in file)
";
    let done = std::process::Command::new("python3").args(["-c", read]).current_dir(place.at(".")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.contains("True") && said.contains("False"), "{said}");
}
