//! A tree on disk: its modes, and what happens to what stood there before.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use hardtack::archive::tree::Tree;
use tempfile::TempDir;

use super::text;

fn is_ours(directory: &Path) -> bool {
    directory.join("bundle.json").is_file()
}

fn bundle(what: &str) -> Tree {
    let mut tree = Tree::new();
    tree.insert("bundle.json", 0o644, "{}\n").expect("a good path");
    tree.insert("what", 0o644, what).expect("a good path");
    tree.insert("bin/run me", 0o755, "#!/bin/sh\n").expect("a good path");
    tree.insert("secret/deep/key", 0o600, "key\n").expect("a good path");
    tree.insert("sealed", 0o400, "").expect("a good path");
    tree.private("secret").expect("a good path");
    tree
}

/// Every path under a directory with its type and mode.
fn modes(directory: &Path) -> Vec<String> {
    let listed = text("find", &[&directory, &"-printf", &"%y %m %P\n"]);
    let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

const BUNDLE_MODES: [&str; 9] = [
    "d 700 secret",
    "d 755 ",
    "d 755 bin",
    "d 755 secret/deep",
    "f 400 sealed",
    "f 600 secret/deep/key",
    "f 644 bundle.json",
    "f 644 what",
    "f 755 bin/run me",
];

#[test]
fn a_tree_on_disk() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dest = home.path().join("out");
    let mut tree = bundle("new");
    let sums = tree.sums();
    tree.insert("SHA256SUMS", 0o644, sums).expect("a good path");
    tree.write(&dest, &is_ours).expect("write");
    let command = "cd \"$0\" && sha256sum --strict --check SHA256SUMS";
    let checked = text("sh", &[&"-c", &command, &dest]);
    assert_eq!(checked, "bin/run me: OK\nbundle.json: OK\nsealed: OK\nsecret/deep/key: OK\nwhat: OK\n");
    assert_eq!(modes(home.path()).len(), 1 + 1 + 9, "something is left over");
}

/// This test starts itself under other umasks, because the umask is the process's and so every test's.
#[test]
fn the_umask_does_not_show() {
    const DEST: &str = "HARDTACK_TEST_UMASK_DEST";
    if let Some(dest) = std::env::var_os(DEST) {
        bundle("umask").write(Path::new(&dest), &is_ours).expect("write");
        return;
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    let me = std::env::current_exe().expect("the test's own path");
    for umask in ["000", "022", "077", "777"] {
        let dest = home.path().join(umask);
        let script =
            format!("umask {umask} && {DEST}=\"$1\" exec \"$0\" --exact archive::tree::the_umask_does_not_show");
        let said = text("sh", &[&"-c", &script, &me, &dest]);
        assert!(said.contains("1 passed"), "{said}");
        assert_eq!(modes(&dest), BUNDLE_MODES, "umask {umask}");
    }
}

#[test]
fn our_bundle_is_replaced_whole() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dest = home.path().join("out");
    let mut old = bundle("old");
    old.insert("only in the old one", 0o644, "").expect("a good path");
    old.write(&dest, &is_ours).expect("write");
    for what in ["new", "newer"] {
        bundle(what).write(&dest, &is_ours).expect("write");
        assert_eq!(fs::read_to_string(dest.join("what")).expect("read"), what);
        assert_eq!(modes(&dest), BUNDLE_MODES);
        assert_eq!(fs::read_dir(&home).expect("read").count(), 1, "something is left over");
    }
}

#[test]
fn an_empty_directory_is_replaced_and_a_last_slash_is_fine() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dest = home.path().join("out");
    fs::create_dir(&dest).expect("create");
    bundle("new").write(&home.path().join("out/"), &is_ours).expect("write");
    assert_eq!(modes(&dest), BUNDLE_MODES);
}

/// Whatever the error, the disk is as it was, to the inode.
#[track_caller]
fn check_refused(home: &TempDir, tree: &Tree, dest: &Path, expected: &str) {
    let look = || text("find", &[&home.path(), &"-printf", &"%i %y %m %s %T@ %p %l\n"]);
    // Making and removing the stage moves the home's own time; everything else must not move.
    let others = |listed: String| listed.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let before = others(look());
    let error = tree.write(dest, &is_ours).expect_err("must be refused").to_string();
    assert_eq!(error.replace(&home.path().display().to_string(), "HOME"), expected);
    assert_eq!(others(look()), before);
}

#[test]
fn what_is_not_ours_stays() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| home.path().join(name);
    bundle("ours").write(&at("ours"), &is_ours).expect("write");
    fs::create_dir(at("theirs")).expect("create");
    fs::write(at("theirs/notes"), "theirs").expect("write");
    fs::write(at("file"), "").expect("write");
    symlink("ours", at("link")).expect("link");
    symlink("nowhere", at("dangling")).expect("link");
    let new = bundle("new");
    let check = |name: &str, expected: &str| check_refused(&home, &new, &at(name), expected);
    check("theirs", "will not replace HOME/theirs: it is a directory with other files");
    check("file", "will not replace HOME/file: it is not a directory");
    check("link", "will not replace HOME/link: it is a symbolic link");
    check("link/", "will not replace HOME/link: it is a symbolic link");
    check("dangling", "will not replace HOME/dangling: it is a symbolic link");
    check("ours/..", "will not replace HOME/ours/..: it is not a name for a new directory");
    check("none/out", "could not look at HOME/none: No such file or directory (os error 2)");
    check("file/out", "could not look at HOME/file/out: Not a directory (os error 20)");
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let long = "n".repeat(256);
    let mut tree = bundle("new");
    tree.insert(&format!("z/{long}"), 0o644, "").expect("a good path");
    let expected = |out: &str| format!("could not write HOME/{out}/z/{long}: File name too long (os error 36)");
    check_refused(&home, &tree, &home.path().join("out"), &expected("out"));
    bundle("old").write(&home.path().join("ours"), &is_ours).expect("write");
    check_refused(&home, &tree, &home.path().join("ours"), &expected("ours"));
}

#[test]
fn a_relative_destination() {
    // The working directory is the process's: go through a path relative to it instead of changing it.
    let here = std::env::current_dir().expect("the working directory");
    let home = tempfile::tempdir_in(&here).expect("a temporary directory");
    let relative = home.path().strip_prefix(&here).expect("below").join("out");
    bundle("new").write(&relative, &is_ours).expect("write");
    assert_eq!(fs::metadata(home.path().join("out")).expect("metadata").permissions().mode() & 0o7777, 0o755);
}
