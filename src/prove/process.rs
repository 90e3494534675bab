//! The one place that starts host programs: argv, never a shell; a deadline; the child dies with us.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the module that runs programs for all others, and finds them on PATH"
)]
mod tools;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use tools::search_path;
pub use tools::{find, require};

/// How much of a program's standard error an error repeats.
const TAIL: usize = 1024;

/// How often a wait looks up to see whether a person pressed Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

/// One run of a host program, to be filled in and started.
#[derive(Debug)]
pub struct Program {
    name: String,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    input: Option<File>,
    deadline: Duration,
    farewell: Signal,
}

impl Program {
    /// A program by its name, looked for with [`find`].
    pub fn new(name: &str) -> Self {
        Program {
            name: name.to_owned(),
            arguments: Vec::new(),
            directory: None,
            environment: Vec::new(),
            input: None,
            deadline: Duration::from_secs(3600),
            farewell: Signal::TERM,
        }
    }

    /// Add one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Add arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Run in this directory.
    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.directory = Some(path.to_owned());
        self
    }

    /// Set one variable of the environment. Everything else is ours, with `PATH` and the locale made certain.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Let it read this file on its standard input; there is nothing unless told.
    #[must_use]
    pub fn input(mut self, file: File) -> Self {
        self.input = Some(file);
        self
    }

    /// Stop the program when it takes longer than this; an hour unless told.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// Kill at once, without the chance to tidy up: for a program whose work is thrown away anyhow.
    #[must_use]
    pub fn without_farewell(mut self) -> Self {
        self.farewell = Signal::KILL;
        self
    }

    /// Run to the end and give its standard output.
    pub fn output(self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.run(&mut |heard| {
            if let Heard::Out(line) = heard {
                bytes.extend_from_slice(line);
            }
        })?;
        Ok(bytes)
    }

    /// Run to the end and hand on each line of either stream as it comes, without its line end.
    pub fn lines(self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        self.run(&mut |heard| {
            let (Heard::Out(line) | Heard::Err(line)) = heard;
            progress(String::from_utf8_lossy(line).trim_end());
        })
    }

    /// Start it and come back at once; both streams go to `log`.
    pub fn start(self, log: &Path) -> Result<Running> {
        let out = File::create(log).with_context(|| format!("could not create {}", log.display()))?;
        let err = out.try_clone().context("could not duplicate a file")?;
        self.spawn(Stdio::from(out), Stdio::from(err))
    }

    /// Start it with `stream` as its standard input and output.
    #[cfg(test)]
    pub(crate) fn start_on(self, stream: std::os::fd::OwnedFd) -> Result<Running> {
        let input = stream.try_clone().context("could not duplicate a socket")?;
        self.spawn_with(Stdio::from(input), Stdio::from(stream), Stdio::null())
    }

    fn run(self, hear: &mut dyn FnMut(Heard<'_>)) -> Result<()> {
        let (name, deadline) = (self.name.clone(), self.deadline);
        let mut running = self.spawn(Stdio::piped(), Stdio::piped())?;
        let heard = listen(&mut running.child);
        let started = Instant::now();
        let mut tail = VecDeque::new();
        let mut open = 2;
        while open > 0 {
            if interrupted() {
                bail!("interrupted while {name} was running");
            }
            if started.elapsed() > deadline {
                bail!("{name} did not finish within {} s{}", deadline.as_secs(), quote(&tail));
            }
            match heard.recv_timeout(TICK) {
                Ok((_, None)) => open -= 1,
                Ok((true, Some(line))) => hear(Heard::Out(&line)),
                Ok((false, Some(line))) => {
                    tail.extend(&line);
                    tail.drain(..tail.len().saturating_sub(TAIL));
                    hear(Heard::Err(&line));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let left = deadline.saturating_sub(started.elapsed());
        match running.wait(left)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(anyhow!("{name} {}{}", describe(status), quote(&tail))),
            None => Err(anyhow!("{name} closed its output but did not end{}", quote(&tail))),
        }
    }

    fn spawn(mut self, out: Stdio, err: Stdio) -> Result<Running> {
        let input = self.input.take().map_or_else(Stdio::null, Stdio::from);
        self.spawn_with(input, out, err)
    }

    fn spawn_with(self, input: Stdio, out: Stdio, err: Stdio) -> Result<Running> {
        require(&[&self.name])?;
        let program = find(&self.name).with_context(|| format!("could not find {}", self.name))?;
        // PR_SET_PDEATHSIG between fork and exec would need unsafe code; setpriv does it for us. It is bound to
        // the thread that starts the child: start from a thread that lives as long as the child shall.
        let mut command = match find("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", signal_name(self.farewell)]).arg("--").arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command.args(&self.arguments).stdin(input).stdout(out).stderr(err);
        // A group of its own, so that stopping it also stops what it has started.
        command.process_group(0);
        command.env("PATH", search_path()).env("LC_ALL", "C.UTF-8").env_remove("LANGUAGE").envs(self.environment);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let child = command.spawn().with_context(|| format!("could not start {}", program.display()))?;
        Ok(Running { child, farewell: self.farewell, ended: None })
    }
}

enum Heard<'a> {
    Out(&'a [u8]),
    Err(&'a [u8]),
}

/// One thread a stream; `None` is the end of one. True stands for standard output.
fn listen(child: &mut Child) -> mpsc::Receiver<(bool, Option<Vec<u8>>)> {
    fn relay<R: Read + Send + 'static>(out: bool, stream: Option<R>, to: mpsc::SyncSender<(bool, Option<Vec<u8>>)>) {
        thread::spawn(move || {
            if let Some(stream) = stream {
                let mut reader = BufReader::new(stream);
                let mut line = Vec::new();
                // A line without end must not eat our memory: it is handed on in pieces.
                while let Ok(1..) = (&mut reader).take(1 << 16).read_until(b'\n', &mut line) {
                    if to.send((out, Some(std::mem::take(&mut line)))).is_err() {
                        return;
                    }
                }
            }
            let _ = to.send((out, None));
        });
    }
    let (to, from) = mpsc::sync_channel(1024);
    relay(true, child.stdout.take(), to.clone());
    relay(false, child.stderr.take(), to);
    from
}

/// A program that is running; dropping this ends it, and everything that it has started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    farewell: Signal,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Its process id; it stays its own until this value is dropped.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has: "ended with status 1".
    pub fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.poll()?.map(describe))
    }

    fn poll(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context("could not wait for a child")?;
        }
        Ok(self.ended)
    }

    /// Wait for its end, up to `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.poll()? {
                return Ok(Some(status));
            }
            if started.elapsed() >= limit {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: Signal) {
        // Not yet reaped, so the number is still this child's own.
        if self.ended.is_none()
            && let Some(group) = i32::try_from(self.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.poll().ok().flatten().is_some() {
            return;
        }
        if self.farewell != Signal::KILL {
            self.signal(self.farewell);
            let _ = self.wait(Duration::from_secs(5));
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP make our waits end with an error, so that everything is tidied up; the
/// second one ends us at once.
pub fn watch_signals() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)))
            .context("could not watch for signals")?;
    }
    Ok(())
}

/// Whether a person has asked us to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

fn signal_name(signal: Signal) -> &'static str {
    if signal == Signal::KILL { "KILL" } else { "TERM" }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// The end of what a program said on standard error, as a person may see it: on one line after a colon.
fn quote(tail: &VecDeque<u8>) -> String {
    let bytes: Vec<u8> = tail.iter().copied().collect();
    said(&bytes)
}

/// What a program said, for the end of an error: nothing, or `: ` and its last KiB without control characters.
pub fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]);
    let text: String = text.trim().chars().filter(|c| !c.is_control() || *c == '\n').collect();
    if text.is_empty() { text } else { format!(": {}", text.replace('\n', "\n  ")) }
}

#[cfg(test)]
mod tests;
