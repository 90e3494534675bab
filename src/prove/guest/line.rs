//! The channel's bytes, cut into lines under a deadline.
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Error, MOST, MOST_ERRORS};
use crate::prove::qemu::{Deadline, Overrun};

/// The longest line that can be one of ours: a full frame.
const LINE: usize = (MOST + MOST_ERRORS) / 3 * 4 + 4096;

/// How long a read or write waits before the deadline is looked at.
const TICK: Duration = Duration::from_millis(100);

/// What the channel's unit says when it starts, perhaps behind half a frame. No frame of ours ends so.
pub(super) const READY: &[u8] = b"HT-READY";

/// A connection, cut into lines.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    heard: Vec<u8>,
    /// How much of `heard` is known to hold no line end.
    seen: usize,
}

impl Line {
    pub(super) fn open(socket: &Path) -> io::Result<Self> {
        Line::over(UnixStream::connect(socket)?)
    }

    pub(super) fn over(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        Ok(Line { stream, heard: Vec::new(), seen: 0 })
    }

    pub(super) fn send(&mut self, mut bytes: &[u8], deadline: &mut Deadline) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(Overrun::Gone.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if later(&error) => deadline.check()?,
                Err(error) if gone(&error) => return Err(Overrun::Gone.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next line, without its end.
    pub(super) fn next(&mut self, deadline: &mut Deadline) -> Result<Vec<u8>, Error> {
        let mut looked = Instant::now();
        loop {
            if let Some(line) = self.buffered() {
                return Ok(line);
            }
            if self.heard.len() > LINE {
                return Err(Error::TooMuch);
            }
            if looked.elapsed() >= TICK {
                looked = Instant::now();
                deadline.check()?;
            }
            match self.listen() {
                Ok(0) => return Err(Overrun::Gone.into()),
                Ok(_) => {}
                Err(error) if later(&error) => deadline.check()?,
                Err(error) if gone(&error) => return Err(Overrun::Gone.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn buffered(&mut self) -> Option<Vec<u8>> {
        match self.heard[self.seen..].iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let mut line: Vec<u8> = self.heard.drain(..=self.seen + at).collect();
                line.pop();
                self.seen = 0;
                Some(line)
            }
            None => {
                self.seen = self.heard.len();
                None
            }
        }
    }

    fn listen(&mut self) -> io::Result<usize> {
        let mut chunk = vec![0; 64 << 10];
        let count = self.stream.read(&mut chunk)?;
        self.heard.extend(&chunk[..count]);
        Ok(count)
    }

    /// Whether the other side has announced itself anew, or is gone; all else that lies there is dropped.
    pub(super) fn restarted(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let mut anew = false;
        // A guest that never stops talking is not waited for.
        for _ in 0..1024 {
            match self.listen() {
                Ok(1..) => {}
                Err(error) if later(&error) => break,
                Ok(0) | Err(_) => anew = true,
            }
            while let Some(line) = self.buffered() {
                anew |= line.ends_with(READY);
            }
            if anew || self.heard.len() > LINE {
                return true;
            }
        }
        while let Some(line) = self.buffered() {
            anew |= line.ends_with(READY);
        }
        self.stream.set_nonblocking(false).is_err() || anew
    }
}

/// Nothing yet; ask again.
fn later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// QEMU is no longer at the other end.
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
