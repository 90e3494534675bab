//! Host programs, as they behave and as they do not.
use super::tools::remedy;
use super::*;

fn sh(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

#[test]
fn output_is_all_of_standard_output() -> Result<()> {
    assert_eq!(sh("printf 'a\\nb'; echo noise >&2").output()?, b"a\nb");
    Ok(())
}

#[test]
fn an_error_ends_with_what_the_program_said() {
    let told = sh("echo one; echo two >&2; exit 3").output().map_err(|e| e.to_string());
    assert_eq!(told, Err("sh ended with status 3: two".to_owned()));
}

#[test]
fn only_the_last_kib_is_repeated() {
    let told = sh("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1").output().map_err(|e| e.to_string());
    assert_eq!(told.map_err(|e| e.len()), Err("sh ended with status 1: ".len() + TAIL));
}

#[test]
fn the_deadline_reaps_the_whole_family() {
    let started = Instant::now();
    let told = sh("sleep 60 & sleep 60").deadline(Duration::from_millis(300)).output();
    assert_eq!(told.map_err(|e| e.to_string()), Err("sh did not finish within 0 s".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn lines_come_as_they_are_said() -> Result<()> {
    let mut heard = Vec::new();
    sh("echo one; echo two").lines(&mut |line| heard.push(line.to_owned()))?;
    assert_eq!(heard, ["one", "two"]);
    Ok(())
}

#[test]
fn directory_and_environment_are_as_given() -> Result<()> {
    let told = sh("echo $PWD $WORD $LC_ALL").directory(Path::new("/usr")).environment("WORD", "ship").output()?;
    assert_eq!(told, b"/usr ship C.UTF-8\n");
    Ok(())
}

#[test]
fn dropping_ends_a_stubborn_child() -> Result<()> {
    let log = tempfile::NamedTempFile::new()?;
    let running = sh("trap '' TERM; echo up; sleep 60").without_farewell().start(log.path())?;
    let entry = PathBuf::from(format!("/proc/{}", running.id()));
    assert!(entry.exists());
    drop(running);
    assert!(!entry.exists());
    Ok(())
}

#[test]
fn all_missing_tools_are_named_at_once() {
    assert_eq!(
        remedy(&["mke2fs", "apt-get", "apt-config"]),
        "could not find mke2fs, apt-get, apt-config; on Debian: apt-get install apt e2fsprogs"
    );
    assert_eq!(remedy(&["frobnicate"]), "could not find frobnicate");
}

#[test]
fn said_drops_control_characters() {
    assert_eq!(said(b"\x1b[31mred\x07\n"), ": [31mred");
    assert_eq!(said(b" \n"), "");
}
