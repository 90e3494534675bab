//! The channel against a real bash on this host, and against hostile bytes.
use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};

use super::*;
use crate::prove::process::{Program, Running};

const BUDGET: Budget = Budget::cpu_seconds(30).idle(Duration::from_secs(30));

fn us() -> Meter {
    Meter(std::process::id())
}

/// A bash at the other end, as the unit starts it.
fn shell() -> anyhow::Result<(Guest, Running)> {
    let (ours, theirs) = UnixStream::pair()?;
    let running = Program::new("bash").arg("--norc").without_farewell().start_on(theirs.into())?;
    let guest = Guest {
        socket: "/nonexistent".into(),
        meter: us(),
        scratch: "/tmp",
        line: Some(Line::over(ours)?),
        boot: None,
    };
    Ok((guest, running))
}

fn check(script: &str, status: u8, stdout: &[u8], stderr: &[u8]) -> anyhow::Result<()> {
    let (mut guest, _running) = shell()?;
    let told = guest.run(script, BUDGET)?;
    assert_eq!(told, Output { status, stdout: stdout.to_owned(), stderr: stderr.to_owned() }, "{script}");
    Ok(())
}

#[test]
fn scripts_are_run_whole() -> anyhow::Result<()> {
    check("echo hello; echo oh >&2; exit 7", 7, b"hello\n", b"oh\n")?;
    check("", 0, b"", b"")?;
    check("printf '\\0\\377'", 0, b"\0\xff", b"")?;
    check("cat; pwd; umask", 0, b"/\n0077\n", b"")?;
    check("echo '$(date) \"'\nprintf 'a\\'; exit", 0, b"$(date) \"\na\\", b"")?;
    check("kill -9 $$", 137, b"", b"")?;
    check("exec >&-; sleep 0.1; exit 3", 3, b"", b"")?;
    // The words of the protocol are only words, and the channel itself is out of reach.
    check("echo; echo HT-READY; echo 'HT x:::'", 0, b"\nHT-READY\nHT x:::\n", b"")?;
    check("readlink /proc/self/fd/* | grep socket", 1, b"", b"")
}

#[test]
fn one_shell_serves_many_scripts() -> anyhow::Result<()> {
    let (mut guest, _running) = shell()?;
    for number in 0..20_u8 {
        let told = guest.run(&format!("cd /usr; x={number}; exit $x"), BUDGET)?;
        assert_eq!(told.status, number);
    }
    assert!(guest.boot_id().is_some_and(|id| id.len() == 36));
    Ok(())
}

#[test]
fn a_script_of_megabytes_arrives() -> anyhow::Result<()> {
    let (mut guest, _running) = shell()?;
    let script = format!("wc -c <<'END'\n{}\nEND\n", "0123456789abcde\n".repeat(200_000));
    assert_eq!(guest.run(&script, BUDGET)?.stdout, b"3200001\n");
    assert!(matches!(guest.run(&" ".repeat(LONGEST + 1), BUDGET), Err(Error::TooLong(_))));
    Ok(())
}

#[test]
fn too_much_is_an_error_and_the_most_is_not() -> anyhow::Result<()> {
    let (mut guest, _running) = shell()?;
    let told = guest.run(&format!("head -c {MOST} /dev/zero; yes >&2"), Budget::cpu_seconds(0)).map(drop);
    assert!(told.is_err());
    let (mut guest, _running) = shell()?;
    assert_eq!(guest.run(&format!("head -c {MOST} /dev/zero; yes | head -c 1000000 >&2"), BUDGET)?.stdout.len(), MOST);
    assert!(matches!(guest.run("yes", BUDGET), Err(Error::TooMuch)));
    Ok(())
}

#[test]
fn a_script_that_hangs_is_killed_and_the_next_one_runs() -> anyhow::Result<()> {
    let (mut guest, _running) = shell()?;
    // A deadline of our own making: this process is idle while it waits.
    let short = Budget::cpu_seconds(600).idle(Duration::from_secs(6));
    let told = guest.run("sleep 1000 & sleep 1000", short);
    assert!(matches!(told, Err(Error::Overrun(Overrun::Idle(_)))), "{told:?}");
    assert_eq!(guest.run("echo still here", BUDGET)?.stdout, b"still here\n");
    Ok(())
}

#[test]
fn a_shell_that_ends_is_an_end() -> anyhow::Result<()> {
    let (mut guest, running) = shell()?;
    guest.wait_ready(BUDGET)?;
    drop(running);
    // It has hung up, so we connect again, to nowhere.
    assert!(matches!(guest.run("true", BUDGET), Err(Error::Io(_))));
    Ok(())
}

/// A guest that greets well and then does `then` for every connection.
fn fake(
    then: fn(&mut UnixStream, &str) -> io::Result<()>,
) -> anyhow::Result<(Guest, tempfile::TempDir, JoinHandle<io::Result<()>>)> {
    fn word_before<'a>(text: &'a str, mark: &str) -> &'a str {
        text.split(mark).nth(1).and_then(|rest| rest.split([';', ' ']).next()).unwrap_or_default()
    }
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket)?;
    let line = Some(Line::over(UnixStream::connect(&socket)?)?);
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut text = vec![0; 4096];
        stream.write_all(b"noise\n\xff\xfe\0\nHT-READY\n")?;
        let count = stream.read(&mut text)?;
        let greeting = String::from_utf8_lossy(&text[..count]).into_owned();
        let nonce = word_before(&greeting, "HT %s:%s:\\n' ").to_owned();
        writeln!(stream, "HT 00:x:\nHT {nonce}:boot:")?;
        let mut asked = String::new();
        while !asked.contains("HT %s:' ") {
            let count = stream.read(&mut text)?;
            asked.push_str(&String::from_utf8_lossy(&text[..count]));
        }
        then(&mut stream, word_before(&asked, "HT %s:' "))
    });
    Ok((Guest { socket, meter: us(), scratch: "/tmp", line, boot: None }, directory, server))
}

fn against(then: fn(&mut UnixStream, &str) -> io::Result<()>) -> anyhow::Result<Result<Output, Error>> {
    let (mut guest, _directory, server) = fake(then)?;
    let told = guest.run("true", BUDGET);
    drop(guest);
    let _ = server.join();
    Ok(told)
}

#[test]
fn other_nonces_are_passed_over() -> anyhow::Result<()> {
    let told = against(|stream, nonce| write!(stream, "HT 12:eHg=:0::\n\nHT {nonce}x:::\nHT {nonce}:eHg=:3:eQ==:\n"))??;
    assert_eq!(told, Output { status: 3, stdout: b"xx".to_vec(), stderr: b"y".to_vec() });
    Ok(())
}

#[test]
fn answers_that_are_none_are_garbled() -> anyhow::Result<()> {
    let garbled: [fn(&mut UnixStream, &str) -> io::Result<()>; 6] = [
        |stream, nonce| writeln!(stream, "HT {nonce}:"),
        |stream, nonce| writeln!(stream, "HT {nonce}:*:0::"),
        |stream, nonce| writeln!(stream, "HT {nonce}::256::"),
        |stream, nonce| writeln!(stream, "HT {nonce}::-1::"),
        |stream, nonce| writeln!(stream, "HT {nonce}::0::more"),
        |stream, nonce| writeln!(stream, "HT {nonce}::0:::"),
    ];
    for then in garbled {
        let told = against(then)?;
        assert!(matches!(told, Err(Error::Garbled)), "{told:?}");
    }
    Ok(())
}

#[test]
fn a_reboot_in_between_is_told() -> anyhow::Result<()> {
    let told = against(|stream, nonce| writeln!(stream, "HT {nonce}:eHgHT-READY"))?;
    assert!(matches!(told, Err(Error::Restarted)), "{told:?}");
    Ok(())
}

#[test]
fn a_flood_without_end_is_cut_off() -> anyhow::Result<()> {
    let told = against(|stream, _| {
        let flood = vec![b'A'; 1 << 20];
        (0..64).try_for_each(|_| stream.write_all(&flood))
    })?;
    assert!(matches!(told, Err(Error::TooMuch)), "{told:?}");
    Ok(())
}

#[test]
fn an_end_in_the_middle_is_told() -> anyhow::Result<()> {
    let told = against(|stream, nonce| write!(stream, "HT {nonce}:eHg"))?;
    assert!(matches!(told, Err(Error::Overrun(Overrun::Gone))), "{told:?}");
    Ok(())
}
