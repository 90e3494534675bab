//! Root inside the machine: scripts in, bytes and a status out, over a virtio-serial port.
//!
//! The other side is a bash that reads commands from the port. Each script is a job of its own beside it, so that
//! it can be killed when its time is up. The frame that answers carries a nonce that only this run knows, and
//! everything that the script prints is base64 within it: no output can end a frame early or pretend to be one.
mod line;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use line::{Line, READY};

use super::qemu::{Budget, Deadline, Meter, Overrun, Vm};

/// The most that a script may print.
pub const MOST: usize = 16 << 20;

/// How much of its standard error is kept.
const MOST_ERRORS: usize = 64 << 10;

/// The longest script.
const LONGEST: usize = 8 << 20;

/// What it may cost to get the channel back after a script that had to be killed.
const RESCUE: Budget = Budget::cpu_seconds(20).idle(Duration::from_secs(60));

/// What a script did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub status: u8,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// The first 64 KiB of what it printed to standard error.
    pub stderr: Vec<u8>,
}

/// Why there is no [`Output`]. None of these says anything about the machine's hardening.
#[derive(Debug)]
pub enum Error {
    /// The budget is overdrawn, or the machine is gone. The script was killed, if the machine still listened.
    Overrun(Overrun),
    /// The machine started anew, or the channel's service did, before the answer came.
    Restarted,
    /// The script is longer than 8 MiB.
    TooLong(usize),
    /// The script printed more than 16 MiB.
    TooMuch,
    /// The answer is not one: the guest's tools are not what they should be.
    Garbled,
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Overrun(overrun) => write!(f, "{overrun}"),
            Error::Restarted => f.write_str("the machine started anew before the script was done"),
            Error::TooLong(length) => {
                write!(f, "a script of {length} bytes; {LONGEST} is the most")
            }
            Error::TooMuch => write!(f, "the script printed more than {} MiB", MOST >> 20),
            Error::Garbled => f.write_str("the machine's answer is garbled"),
            Error::Io(error) => write!(f, "could not talk to the machine: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Io(error)
    }
}

impl From<Overrun> for Error {
    fn from(overrun: Overrun) -> Self {
        Error::Overrun(overrun)
    }
}

/// The root channel of one machine.
#[derive(Debug)]
pub struct Guest {
    socket: PathBuf,
    meter: Meter,
    /// Where the other side keeps a script while it runs.
    scratch: &'static str,
    line: Option<Line>,
    boot: Option<String>,
}

impl Guest {
    /// The channel of `vm`. Do this before the guest is up: its shell ends at once when nobody listens, and comes
    /// back only after a second.
    pub fn connect(vm: &Vm) -> Result<Self, Error> {
        let socket = vm.channel();
        let line = Some(Line::open(&socket)?);
        Ok(Guest { socket, meter: vm.meter(), scratch: "/run", line, boot: None })
    }

    /// Wait until the machine has a shell for us, which is before cloud-init begins.
    pub fn wait_ready(&mut self, budget: Budget) -> Result<(), Error> {
        self.greet(&mut budget.start(self.meter))
    }

    /// Let go of the shell that was talked to, and wait for whichever the machine has. A script that is sent while the machine
    /// goes down waits for the boot after it, and was seen to answer there in the middle of another's answer.
    pub fn meet_anew(&mut self, budget: Budget) -> Result<(), Error> {
        self.hang_up();
        self.wait_ready(budget)
    }

    /// What tells one boot of the machine from another; known once the channel is ready.
    pub fn boot_id(&self) -> Option<&str> {
        self.boot.as_deref()
    }

    /// Run a bash script as root, in `/`, with nothing on its standard input. It is over when nobody holds its
    /// standard output and error open any more.
    pub fn run(&mut self, script: &str, budget: Budget) -> Result<Output, Error> {
        if script.len() > LONGEST {
            return Err(Error::TooLong(script.len()));
        }
        let deadline = &mut budget.start(self.meter);
        if self.boot.is_some() && self.line.as_mut().is_some_and(Line::restarted) {
            // A reboot since the last script is no fault of this one.
            self.hang_up();
        }
        self.greet(deadline)?;
        let nonce = nonce()?;
        let told = self.ask(script, &nonce, deadline);
        match &told {
            Err(Error::Overrun(Overrun::Work(_) | Overrun::Idle(_))) => self.rescue(&nonce),
            Err(Error::TooMuch | Error::Garbled | Error::Restarted | Error::Io(_)) => self.hang_up(),
            Err(Error::Overrun(_) | Error::TooLong(_)) | Ok(_) => {}
        }
        told
    }

    fn ask(&mut self, script: &str, nonce: &str, deadline: &mut Deadline) -> Result<Output, Error> {
        let line = self.line.as_mut().ok_or(Error::Restarted)?;
        line.send(&request(script, nonce, self.scratch), deadline)?;
        loop {
            let words = line.next(deadline)?;
            if words.ends_with(READY) {
                return Err(Error::Restarted);
            }
            if let Some(frame) = addressed(&words, nonce) {
                return parse(frame);
            }
        }
    }

    /// Make sure that there is a shell on the other side which knows our ways.
    fn greet(&mut self, deadline: &mut Deadline) -> Result<(), Error> {
        if self.boot.is_some() && self.line.is_some() {
            return Ok(());
        }
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(Line::open(&self.socket)?),
        };
        let nonce = nonce()?;
        let greeting = greeting(&nonce);
        // It waits in the socket until the guest opens its port.
        line.send(greeting.as_bytes(), deadline)?;
        loop {
            let words = line.next(deadline)?;
            if words.ends_with(READY) {
                // Whatever was said before may have gone to a shell that is no more. Twice does no harm.
                line.send(greeting.as_bytes(), deadline)?;
            } else if let Some(frame) = addressed(&words, &nonce) {
                let boot = frame.strip_suffix(b":").ok_or(Error::Garbled)?;
                self.boot = Some(String::from_utf8_lossy(boot).into_owned());
                return Ok(());
            }
        }
    }

    /// Kill the script that overran, and see whether the shell still answers.
    fn rescue(&mut self, nonce: &str) {
        let mut deadline = RESCUE.start(self.meter);
        let scratch = self.scratch;
        let order = format!("\nkill -KILL -- -$!; wait; rm -f {scratch}/hardtack.{nonce}*\n");
        self.boot = None;
        let rescued = match &mut self.line {
            Some(line) => line.send(order.as_bytes(), &mut deadline).and_then(|()| self.greet(&mut deadline)),
            None => return,
        };
        if rescued.is_err() {
            self.hang_up();
        }
    }

    /// The other side's shell ends with the connection, and whatever was not yet read is gone.
    fn hang_up(&mut self) {
        self.line = None;
        self.boot = None;
    }
}

/// What makes any shell one that we know: no noise, jobs in groups of their own, a known environment.
fn greeting(nonce: &str) -> String {
    format!(
        "\nexec 2>/dev/null; set -m; cd /; umask 077; export LC_ALL=C.UTF-8 HOME=/root \
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; \
         read -r b </proc/sys/kernel/random/boot_id; printf '\\nHT %s:%s:\\n' {nonce} \"$b\"\n"
    )
}

/// One line of bash, and then the script. Nothing of the script is in the line.
fn request(script: &str, nonce: &str, scratch: &str) -> Vec<u8> {
    let payload = STANDARD.encode(script);
    let file = format!("{scratch}/hardtack.{nonce}");
    // `head` takes exactly the script off the port. Were it to stay there over a reboot, it would be one long word
    // that no shell knows, which is why it is base64.
    // Each program costs an emulated machine 25 milliseconds: what is printed to standard error is seldom more than is kept,
    // and mostly nothing.
    let mut request = format!(
        "head -c {length} | base64 -d >{file}; ( printf '\\nHT %s:' {nonce}; \
         exec 3> >(head -c {MOST_ERRORS} >{file}.err; read -r -N 1 && exec cat >/dev/null); p=$!; \
         bash --norc --noprofile {file} </dev/null 2>&3 3>&- | head -c {cap} | base64 -w0; s=${{PIPESTATUS[0]}}; \
         exec 3>&-; wait $p; printf ':%s:' $s; [ ! -s {file}.err ] || base64 -w0 {file}.err; printf ':\\n'; \
         rm -f {file} {file}.err ) &\n",
        length = payload.len() + 1,
        cap = MOST + 1,
    )
    .into_bytes();
    request.extend(payload.into_bytes());
    request.push(b'\n');
    request
}

/// The rest of a line that is an answer to `nonce`.
fn addressed<'a>(line: &'a [u8], nonce: &str) -> Option<&'a [u8]> {
    line.strip_prefix(b"HT ")?.strip_prefix(nonce.as_bytes())?.strip_prefix(b":")
}

/// `stdout:status:stderr:`, the first and the last in base64.
fn parse(frame: &[u8]) -> Result<Output, Error> {
    let mut parts = frame.split(|byte| *byte == b':');
    let (Some(stdout), Some(status), Some(stderr), Some([]), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Error::Garbled);
    };
    let decode = |text| STANDARD.decode(text).map_err(|_| Error::Garbled);
    let stdout = decode(stdout)?;
    if stdout.len() > MOST {
        return Err(Error::TooMuch);
    }
    let status = std::str::from_utf8(status).ok().and_then(|s| s.parse().ok()).ok_or(Error::Garbled)?;
    Ok(Output { status, stdout, stderr: decode(stderr)? })
}

/// 128 bits that nobody can guess.
pub(crate) fn nonce() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
