//! Both kinds of seed volume, read by tools that others wrote.
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hardtack::archive::seed;
use tempfile::TempDir;

use super::{run, text};

const TIME: u32 = 1_763_837_167; // 2025-11-22 18:46:07 UTC

type Writer = fn(&[(&str, &[u8])], u32) -> std::io::Result<Vec<u8>>;
type Files = Vec<(&'static str, Vec<u8>)>;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// What a seed may look like, from nothing to more than cloud-init takes.
fn seeds() -> Vec<Files> {
    vec![
        vec![],
        vec![("user-data", vec![]), ("meta-data", vec![])],
        vec![
            ("user-data", b"#cloud-config\n".to_vec()),
            ("meta-data", b"instance-id: i-1\n".to_vec()),
            ("vendor-data", b"v".to_vec()),
            ("network-config", b"version: 2\n".to_vec()),
        ],
        [("a", 0), ("b", 1), ("c", 511), ("d", 512), ("e", 513), ("f", 2047), ("g", 2048), ("h", 2049)]
            .map(|(name, length)| (name, bytes(length)))
            .to_vec(),
        vec![("user-data", bytes(3 << 20)), ("meta-data", vec![])],
        ([
            "user-data",
            "meta-data",
            "vendor-data",
            "network-config",
            "user-data-2",
            "user-data-3",
            "a.tar.gz",
            "a.tar",
        ]
        .into_iter())
        .chain(["user_data", "x.yaml", "x.yml", "0", "zz", "network-config.yaml", "part-001.sh", "part-002.sh"])
        .enumerate()
        .map(|(n, name)| (name, bytes(n * 700)))
        .collect(),
    ]
}

fn borrowed(files: &Files) -> Vec<(&str, &[u8])> {
    files.iter().map(|(name, data)| (*name, data.as_slice())).collect()
}

fn sorted_names(files: &Files) -> Vec<String> {
    let mut names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    names
}

/// Each seed in each kind of volume, written to a file.
fn each(kind: Writer, judge: impl Fn(&Files, &Path, &TempDir)) {
    for files in seeds() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let image = home.path().join("seed.img");
        let data = kind(&borrowed(&files), TIME).expect("a seed");
        assert!(data == kind(&borrowed(&files), TIME).expect("a seed"), "two writes differ");
        fs::write(&image, data).expect("write");
        judge(&files, &image, &home);
    }
}

fn blkid(image: &Path, key: &str) -> String {
    let found = text("blkid", &[&"-p", &"-o", &"value", &"-s", &key, &image]);
    found.trim_end().to_owned()
}

#[test]
fn vfat_through_independent_readers() {
    each(seed::vfat, |files, image, home| {
        assert_eq!(blkid(image, "TYPE"), "vfat");
        assert_eq!(blkid(image, "LABEL"), "CIDATA");
        // With a fault, fsck.vfat says more than its name and the count, and fails.
        let checked = text("fsck.vfat", &[&"-n", &image]);
        let lines: Vec<&str> = checked.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("fsck.fat "), "{checked}");
        // The label counts as a file.
        let count = format!("{}: {} files, ", image.display(), files.len() + 1);
        assert!(lines[1].starts_with(&count), "{checked}");

        let listed = text("mdir", &[&"-i", &image, &"-b", &"-a", &"::/"]);
        let mut names: Vec<String> = listed.lines().map(|line| line.replacen("::/", "", 1)).collect();
        names.sort();
        assert_eq!(names, sorted_names(files));
        for (name, data) in files {
            let copy = home.path().join(format!("copy of {name}"));
            run("mcopy", &[&"-i", &image, &format!("::/{name}"), &copy]);
            assert!(fs::read(&copy).expect("read") == *data, "{name}");
        }
    });
}

#[test]
fn vfat_dates() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let image = home.path().join("seed.img");
    let check = |time, expected: &str| {
        let volume = seed::vfat(&[("user-data", b"u")], time).expect("a seed");
        fs::write(&image, volume).expect("write");
        let listed = text("mdir", &[&"-i", &image, &"::/"]);
        assert!(listed.contains(expected), "{expected:?} not in:\n{listed}");
    };
    check(TIME, "2025-11-22  18:46  user-data");
    check(0, "1980-01-01   0:00  user-data");
    check(u32::MAX, "2106-02-07   6:28  user-data");
}

#[test]
fn iso_through_isoinfo() {
    each(seed::iso, |files, image, _| {
        assert_eq!(blkid(image, "TYPE"), "iso9660");
        assert_eq!(blkid(image, "LABEL"), "cidata");
        let described = text("isoinfo", &[&"-i", &image, &"-d"]);
        for line in ["Volume id: cidata\n", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1 found"] {
            assert!(described.contains(line), "{line:?} not in:\n{described}");
        }
        for tree in ["-R", "-J"] {
            let listed = text("isoinfo", &[&"-i", &image, &tree, &"-f"]);
            let mut names: Vec<&str> = listed.lines().map(|line| line.trim_start_matches('/')).collect();
            names.sort_unstable();
            assert_eq!(names, sorted_names(files), "{tree}");
            for (name, data) in files {
                let found = run("isoinfo", &[&"-i", &image, &tree, &"-x", &format!("/{name}")]);
                assert!(found == *data, "{tree} {name}");
            }
        }
        // Without extensions: level 1 names, and each of them once.
        let listed = text("isoinfo", &[&"-i", &image, &"-f"]);
        let plain: BTreeSet<&str> = listed.lines().collect();
        assert_eq!(plain.len(), files.len(), "{listed}");
        for name in plain {
            let name = name.trim_start_matches('/').trim_end_matches(";1");
            let (stem, extension) = name.split_once('.').expect("a dot");
            assert!((1..=8).contains(&stem.len()) && extension.len() <= 3, "{name}");
        }
    });
}

#[test]
fn iso_through_xorriso() {
    each(seed::iso, |files, image, home| {
        for tree in ["any", "norock"] {
            let out = home.path().join(tree);
            // xorriso complains by severity; a mere warning fails the run.
            let said = text(
                "xorriso",
                &[
                    &"-no_rc",
                    &"-abort_on",
                    &"WARNING",
                    &"-return_with",
                    &"WARNING",
                    &"32",
                    &"-osirrox",
                    &"on",
                    &"-read_fs",
                    &tree,
                    &"-indev",
                    &image,
                    &"-toc",
                    &"-extract",
                    &"/",
                    &out,
                ],
            );
            let loaded = if tree == "any" { "Rock_Ridge" } else { "Joliet" };
            assert!(said.contains("ISO offers   : Rock_Ridge Joliet\n"), "{said}");
            assert!(said.contains(&format!("ISO loaded   : {loaded}\n")), "{said}");
            let mut names = Vec::new();
            for entry in fs::read_dir(&out).expect("read") {
                names.push(entry.expect("entry").file_name().into_string().expect("text"));
            }
            names.sort();
            assert_eq!(names, sorted_names(files), "{tree}");
            for (name, data) in files {
                let copy = out.join(name);
                assert!(fs::read(&copy).expect("read") == *data, "{tree} {name}");
                let found = fs::metadata(&copy).expect("metadata");
                assert_eq!(found.mtime(), i64::from(TIME), "{tree} {name}");
                // Joliet has no modes; xorriso makes one up.
                let mode = if tree == "any" { 0o100_444 } else { 0o100_555 };
                assert_eq!(found.mode(), mode, "{tree} {name}");
            }
        }
    });
}

#[test]
fn iso_attributes() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let image = home.path().join("seed.iso");
    let volume = seed::iso(&[("user-data", b"12345")], TIME).expect("a seed");
    fs::write(&image, volume).expect("write");
    let listed = text("isoinfo", &[&"-i", &image, &"-R", &"-l"]);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = listed.lines().map(words).collect();
    assert_eq!(
        lines,
        [
            "",
            "Directory listing of /",
            "dr-xr-xr-x 2 0 0 2048 Nov 22 2025 [ 24 02] .",
            "dr-xr-xr-x 2 0 0 2048 Nov 22 2025 [ 24 02] ..",
            "-r--r--r-- 1 0 0 5 Nov 22 2025 [ 26 00] user-data",
        ]
    );
}
