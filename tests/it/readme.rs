//! Every block of README.md is run, or is the input or the output of one that is.

use crate::support::{good, root};
use std::path::Path;
use std::process::Command;

/// The blocks of the README: the words after the fence, and the text.
pub(crate) fn blocks() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(kind), false) => {
                blocks.push((kind.to_owned(), String::new()));
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => blocks.last_mut().unwrap().1.push_str(&format!("{line}\n")),
            (None, false) => {}
        }
    }
    blocks
}

/// Runs a block as a newcomer would, with the program on the path and a key in a home of their own.
pub(crate) fn run(block: &str, folder: &Path) -> (bool, String) {
    let home = folder.join("home");
    if !home.exists() {
        std::fs::create_dir_all(home.join(".ssh")).unwrap();
        let key = home.join(".ssh/id_ed25519");
        assert!(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .status()
                .unwrap()
                .success()
        );
    }
    let program = Path::new(env!("CARGO_BIN_EXE_hardtack"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let done = Command::new("sh")
        .args(["-ec", block])
        .current_dir(folder)
        .env("HOME", &home)
        .env("PATH", path)
        .output()
        .unwrap();
    (
        done.status.success(),
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)),
    )
}

#[test]
fn every_block_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = String::new();
    for (kind, text) in blocks() {
        match kind.as_str() {
            "sh" => {
                let (good, said) = run(&text, folder.path());
                assert!(good, "{text}\n{said}");
            }
            "sh fails" => {
                let (good, said) = run(&text, folder.path());
                assert!(!good, "{text}\n{said}");
                last = said;
            }
            "text" => assert_eq!(last, text),
            "yaml" => drop(good(&text, None)),
            // The first command needs a build of its own; it is the same verb with the same words.
            "sh root" => {
                let words = text.trim().strip_prefix("cargo run --release -- ").expect("the first command bakes");
                std::fs::create_dir_all(folder.path().join("target")).unwrap();
                let (good, said) = run(&format!("hardtack {words}"), folder.path());
                assert!(good && folder.path().join("target/web01.bundle/seed.img").exists(), "{said}");
            }
            // What runs this test, and nothing else.
            "sh ci" => {
                assert_eq!(text, "ci/check\n");
                let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
                assert!(ci.ends_with("exec ci/check\n"));
            }
            // Run by the boots.
            "sh boot" => {}
            other => panic!("nobody runs a block of kind `{other}`"),
        }
    }
}
