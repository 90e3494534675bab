//! What is secret in a spec, or was put there by mistake, is shown to nobody.

use super::whole;
use crate::support::hardtack;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

// The part of the sample's hash that would be tried against passwords.
const OF_THE_HASH: &str = "sZ3RpSYCn";
const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAS3CRETS3CRET\nS3CRETS3CRETS3CRET\n\
    -----END OPENSSH PRIVATE KEY-----\n";

#[track_caller]
fn silent(done: &Output, secret: &str) {
    for said in [&done.stdout, &done.stderr] {
        let said = String::from_utf8_lossy(said);
        assert!(!said.contains(secret), "{said}");
    }
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_hash_reaches_only_files_that_nobody_else_reads() {
    let folder = tempfile::tempdir().unwrap();
    let (spec, bundle) = (folder.path().join("spec.yaml"), folder.path().join("out"));
    std::fs::write(&spec, whole().to_string()).unwrap();
    for format in ["human", "json"] {
        let done = hardtack().args(["check", "--format", format]).arg(&spec).output().unwrap();
        assert!(done.status.success());
        silent(&done, OF_THE_HASH);
    }
    for verb in [vec!["list", "proofs"], vec!["bake", "-o", bundle.to_str().unwrap()]] {
        let done = hardtack().args(verb).arg(&spec).output().unwrap();
        assert!(done.status.success());
        silent(&done, OF_THE_HASH);
    }
    let contains = |path: &Path, what: &str| {
        let data = std::fs::read(path).unwrap();
        data.windows(what.len()).any(|w| w == what.as_bytes())
    };
    let mut holders = Vec::new();
    for path in all_files(&bundle) {
        if contains(&path, OF_THE_HASH) {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} has a hash and mode {mode:o}", path.display());
            holders.push(path.strip_prefix(&bundle).unwrap().to_str().unwrap().to_owned());
        }
    }
    holders.sort();
    // The image holds it too: what is searched for can be found.
    assert_eq!(holders, ["cloud-init/user-data", "seed.img", "seed.iso"]);
}

#[test]
fn what_should_not_stand_in_a_spec_is_refused_and_not_shown() {
    let spoiled = |place: &str, value: serde_json::Value| {
        let mut spec = whole();
        *spec.pointer_mut(place).unwrap() = value;
        spec
    };
    let person = "/hurdles/accounts/people/0";
    let key = format!("{person}/keys/0");
    let hash = format!("{person}/password_hash");
    // JSON has it all on one line; drawn over lines, a fault beside the secret shows another excerpt.
    let mut texts = Vec::new();
    for spec in [
        spoiled(&hash, "S3CRET".into()),
        spoiled(&hash, "$1$S3CRET$S3CRET".into()),
        spoiled(&hash, "$6$S3CRET".into()),
        spoiled(&hash, serde_json::json!(["S3CRET", { "S3CRET": "S3CRET" }])),
        spoiled(&key, PRIVATE.into()),
        spoiled(&key, PRIVATE.replace('\n', " ").into()),
        spoiled(&key, PRIVATE.lines().nth(1).unwrap().into()),
        spoiled("/hurdles/ssh", PRIVATE.into()),
        spoiled("/name", PRIVATE.into()),
    ] {
        texts.extend([spec.to_string(), format!("{spec:#}"), spec.to_string().replace("\"hardtack\"", "\"hradtack\"")]);
    }
    let pretty = format!("{:#}", spoiled(&hash, "S3CRET".into()));
    for other in ["password", "passwrd", "Password_Hash", "pasword_hash"] {
        texts.push(pretty.replace("\"password_hash\"", &format!("\"{other}\"")));
    }
    texts.push(pretty.replace("\"password_hash\"", "\"password_hash\": \"S3CRET\", \"password_hash\""));
    texts.push(pretty.replace("\"S3CRET\"", "\"S3CRET"));
    texts.push(pretty.replace("\"S3CRET\"", "\"S3CRET\" x"));
    texts.push(pretty.replace("\"S3CRET\"", "S3CRET: x"));
    texts.push(pretty.replace("\"S3CRET\"", "\tS3CRET"));
    let block = PRIVATE.replace('\n', "\n          ");
    let line =
        "hardtack: 1\nname: a\nimage: debian-12\nhurdles:\n  accounts:\n    people:\n      - name: x\n        keys: ";
    texts.push(format!("{line}|\n          {block}\n"));
    texts.push(format!("{line}\n        - |\n          {block}\n"));
    texts.push(format!("{line}{PRIVATE}\n"));
    texts.push(format!("{line}[\n{PRIVATE}\n]\n"));
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("spec.yaml");
    for text in texts {
        assert!(text.contains("S3CRET"));
        std::fs::write(&spec, &text).unwrap();
        for format in ["human", "json"] {
            let done = hardtack().args(["check", "--format", format]).arg(&spec).output().unwrap();
            assert_eq!(done.status.code(), Some(1), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
            silent(&done, "S3CRET");
        }
        let done = hardtack().arg("bake").arg(&spec).args(["-o", "never"]).output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{text}");
        silent(&done, "S3CRET");
    }
}
