//! Every block of README.md is run, or is the input or the output of one that is.

use crate::support::{good, root};
use serde_json::Value;
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
                last = said;
            }
            "sh fails" => {
                let (good, said) = run(&text, folder.path());
                assert!(!good, "{text}\n{said}");
                last = said;
            }
            "text" => assert_eq!(last, text),
            "yaml" => drop(good(&text, None)),
            // Into the starter, beside its other hurdles.
            "yaml hurdle" => {
                let starter = std::fs::read_to_string(root().join("src/cli/starter.yaml")).unwrap();
                let key =
                    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5 admin@laptop";
                let whole = starter.replace("@KEY@", key).replace("deliver:", &format!("{text}deliver:"));
                drop(good(&whole, None));
            }
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
            // Held below.
            "sh fleet" | "yaml workflow" | "yaml manifest" => {}
            other => panic!("nobody runs a block of kind `{other}`"),
        }
    }
}

/// The `prove` commands of the section on many machines: those of the text, of the shares of the workflow, and of the pods.
fn fleet_commands(kind: &str, text: &str) -> Vec<String> {
    let command = |run: &Value| run.as_str().unwrap().to_owned();
    let parsed = || crate::matrix::as_json(text);
    match kind {
        "sh fleet" => text.lines().map(str::to_owned).collect(),
        "yaml workflow" => {
            let job = &parsed()["jobs"]["prove"];
            let steps = job["steps"].as_array().unwrap();
            let run = command(&steps.iter().find(|s| s["run"].is_string()).unwrap()["run"]);
            let shares = job["strategy"]["matrix"]["share"].as_array().unwrap().iter();
            assert_eq!(job["strategy"]["fail-fast"], false, "one share must not hide what the others find");
            shares.map(|share| run.replace("${{ matrix.share }}", &share.to_string())).collect()
        }
        "yaml manifest" => {
            let job = &parsed();
            assert_eq!((&job["apiVersion"], &job["kind"]), (&"batch/v1".into(), &"Job".into()));
            assert_eq!(job["spec"]["completionMode"], "Indexed");
            let pod = &job["spec"]["template"]["spec"];
            let words: Vec<String> = pod["containers"][0]["command"].as_array().unwrap().iter().map(command).collect();
            assert_eq!(words[..2], ["sh", "-c"]);
            let pods = 0..job["spec"]["completions"].as_u64().unwrap();
            pods.map(|index| format!("export JOB_COMPLETION_INDEX={index}\n{}", words[2])).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn the_commands_for_many_machines_are_taken_and_their_shares_fit_together() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = folder.path().join("fleet");
    std::fs::create_dir(&fleet).unwrap();
    std::fs::copy(root().join("tests/specs/sysctl.yaml"), fleet.join("web.yaml")).unwrap();
    // Where there is no image, a command that has a run says so before it boots anything.
    let prove = |command: &str| {
        let command = command.replace(" /fleet/", &format!(" {}/", fleet.display()));
        run(&format!("export XDG_CACHE_HOME=/nonexistent\n{command}"), folder.path())
    };
    let mut kinds = 0;
    for (kind, text) in blocks() {
        let commands = fleet_commands(&kind, &text);
        kinds += usize::from(!commands.is_empty());
        let said: Vec<(bool, String)> = commands.iter().map(|c| prove(c)).collect();
        let ran = said.iter().filter(|(good, said)| !good && said.contains("hardtack image build debian-12\n")).count();
        let empty = said.iter().filter(|(good, said)| *good && said.contains(" of 1 run is empty")).count();
        let wanted = if kind == "sh fleet" { (commands.len(), 0) } else { (1, commands.len().saturating_sub(1)) };
        assert!(commands.is_empty() || (ran, empty) == wanted, "{kind}: {said:#?}");
    }
    assert_eq!(kinds, 3);
}
