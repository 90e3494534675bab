//! QEMU's control socket: one JSON document a line.
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// An answer takes milliseconds; half a minute is for a host that swaps.
const LIMIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// A line of QEMU's longer than this is not one.
const LONGEST: u64 = 1 << 20;

/// A connection past its greeting.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connect and shake hands.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("could not connect to QEMU's control socket")?;
        stream.set_read_timeout(Some(LIMIT)).context("could not set a time limit")?;
        stream.set_write_timeout(Some(LIMIT)).context("could not set a time limit")?;
        let mut qmp = Qmp { stream: BufReader::new(stream) };
        if qmp.line()?.get("QMP").is_none() {
            bail!("QEMU's control socket does not speak QMP");
        }
        qmp.command("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Give an order and wait for its answer; events in between are passed over.
    pub(crate) fn command(&mut self, name: &str, arguments: Value) -> Result<Value> {
        // In one piece: QEMU obeys at the last brace, and one that has been told to quit takes no line's end any more.
        let order = format!("{}\n", json!({ "execute": name, "arguments": arguments }));
        let told = self.stream.get_mut().write_all(order.as_bytes());
        told.with_context(|| format!("could not tell QEMU to {name}"))?;
        let started = Instant::now();
        loop {
            let mut answer = self.line().with_context(|| format!("QEMU did not answer to {name}"))?;
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = answer.get("error") {
                let why = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
                return Err(anyhow!("QEMU refused to {name}: {why}"));
            }
            if started.elapsed() > LIMIT {
                bail!("QEMU did not answer to {name}");
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = Vec::new();
        (&mut self.stream).take(LONGEST).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            bail!("QEMU closed its control socket");
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A QEMU that says `lines`, one on connection and then one an order.
    fn against(lines: &'static [&'static str]) -> Result<Value> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("qmp");
        let listener = UnixListener::bind(&path)?;
        let fake = thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut reader = BufReader::new(stream.try_clone()?);
            for line in lines {
                writeln!(stream, "{line}")?;
                if !line.contains("event") {
                    reader.read_line(&mut String::new())?;
                }
            }
            Ok(())
        });
        let answer = Qmp::connect(&path).and_then(|mut qmp| qmp.command("quit", json!({})));
        let _ = fake.join();
        answer
    }

    const HELLO: &str = r#"{"QMP": {"version": {}}}"#;

    #[test]
    fn events_are_passed_over() -> Result<()> {
        let answer = against(&[HELLO, r#"{"return": {}}"#, r#"{"event": "RESET"}"#, r#"{"return": {"a": 1}}"#])?;
        assert_eq!(answer, json!({"a": 1}));
        Ok(())
    }

    #[test]
    fn a_refusal_is_repeated() {
        let told = against(&[HELLO, r#"{"return": {}}"#, r#"{"error": {"desc": "no such order"}}"#]);
        assert_eq!(told.map_err(|e| e.to_string()), Err("QEMU refused to quit: no such order".to_owned()));
    }

    #[test]
    fn nonsense_is_an_error() {
        for lines in [&["{}"][..], &["hello"], &[HELLO, "[]", "[]", "]"], &[]] {
            assert!(against(lines).is_err(), "{lines:?}");
        }
    }
}
