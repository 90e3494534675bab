//! What tar(1) makes of our archives.

use hardtack::archive::tar_gz::tar_gz;
use hardtack::archive::tree::Tree;

// The programs that unpack it on a machine are asked, not the crate.
#[test]
fn tar_reads_back_what_was_packed() {
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(120));
    let mut tree = Tree::new();
    for (path, mode, text) in [("a/b", 0o600, "secret\n"), ("ö", 0o755, ""), (long.as_str(), 0o644, "far away\n")] {
        tree.insert(path, mode, text).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.tar.gz");
    std::fs::write(&file, tar_gz(&tree, 86_400).unwrap()).unwrap();
    let run = |arguments: &[&str]| {
        let mut tar = std::process::Command::new("tar");
        let done = tar.args(arguments).arg("-f").arg(&file).env("TZ", "UTC").output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let listed = run(&["-tvz", "--quoting-style=literal"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "-rw------- root/root         7 1970-01-02 00:00 a/b");
    assert!(lines[1].ends_with(&"f".repeat(120)), "{}", lines[1]);
    assert_eq!(lines[2], "-rwxr-xr-x root/root         0 1970-01-02 00:00 ö");
    assert_eq!(run(&["-xzO", "a/b"]), "secret\n");
}
