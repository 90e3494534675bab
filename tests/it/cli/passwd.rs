//! `hardtack passwd`: what comes out is what libcrypt makes of it, and what went in is shown nowhere.

use crate::support::hardtack;
use hardtack::plan::credential::PasswordHash;
use hardtack::report::FromText;
use std::io::Write;
use std::process::{Command, Stdio};

fn given(text: &[u8]) -> (Option<i32>, String, String) {
    let done = hardtack().arg("passwd").write_stdin(text).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

/// Whether crypt(3) of this host makes the hash of the password.
fn is_hash_of(hash: &str, password: &str) -> bool {
    let program = "exit(crypt($ARGV[0], $ARGV[1]) ne $ARGV[1])";
    Command::new("perl").args(["-e", program, password, hash]).status().unwrap().success()
}

#[test]
fn libcrypt_makes_the_same_hash() {
    let long = "é".repeat(255);
    for password in ["correct horse battery staple", " ", "$y$j9T$ \"'`$(id)\\", &long] {
        let (code, hash, said) = given(format!("{password}\n").as_bytes());
        let hash = hash.trim_end();
        assert_eq!((code, said.as_str()), (Some(0), ""));
        assert!(hash.starts_with("$y$j9T$") && PasswordHash::from_text(hash).is_ok(), "{hash}");
        assert!(is_hash_of(hash, password), "{password}: {hash}");
        assert!(!is_hash_of(hash, "another"));
        assert_ne!(given(password.as_bytes()).1.trim_end(), hash, "the salt is new each time");
    }
}

#[test]
fn what_a_login_could_not_be_given_is_refused() {
    let (too_long, far_too_long) = ("x".repeat(512), format!("x{}", "é".repeat(9_000)));
    for (text, why) in [
        (&b""[..], "the password is empty"),
        (b"\n", "the password is empty"),
        (b"one\ntwo\n", "a password is one line"),
        (b"a\0b", "a password is one line"),
        (too_long.as_bytes(), "a password has at most 511 bytes"),
        (far_too_long.as_bytes(), "a password has at most 511 bytes"),
        (b"\xff\xfe", "the password is not UTF-8"),
    ] {
        assert_eq!(given(text), (Some(2), String::new(), format!("hardtack: {why}; no hash was made\n")));
    }
}

/// At a terminal, by script(1): all that is seen there.
fn typed(lines: &str) -> String {
    let program = assert_cmd::cargo::cargo_bin("hardtack");
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &format!("{} passwd", program.display()), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in lines.lines() {
        // What is typed before it is asked for is echoed by the terminal, as everywhere.
        std::thread::sleep(std::time::Duration::from_millis(700));
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(700));
    drop(stdin);
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn at_a_terminal_nothing_that_is_typed_is_shown() {
    let seen = typed("open sesame\nopen sesame\n");
    let hash = seen.lines().map(str::trim).find(|l| l.starts_with("$y$")).unwrap_or_else(|| panic!("{seen:?}"));
    assert!(is_hash_of(hash, "open sesame") && !seen.contains("sesame"), "{seen:?}");
    let seen = typed("open sesame\nopen sesam\n");
    assert!(seen.contains("the two are not the same; no hash was made") && !seen.contains("$y$"), "{seen:?}");
    assert!(!seen.contains("sesam"), "{seen:?}");
}
