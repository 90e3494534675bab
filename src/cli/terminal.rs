//! What a person sees. A closed pipe (`hardtack list lints | head`) ends the program quietly.

use super::WORLD;
use crate::prove::process::interrupted;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{BufRead, IsTerminal, Write};

/// Whether to colour what goes to standard output: a terminal, and no `NO_COLOR`.
pub(super) fn color_out() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// The same for standard error.
pub(super) fn color_err() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// Whether somebody watches standard error.
pub(super) fn watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether somebody sits at standard input.
pub(super) fn typed_at() -> bool {
    std::io::stdin().is_terminal()
}

/// The next line that they type; none at the end, or when a signal asks us to stop.
pub(super) fn line() -> Option<String> {
    let stdin = std::io::stdin();
    let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    loop {
        if interrupted() {
            return None;
        }
        // A terminal hands out one line at a time, so none is left in our own buffer.
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&tick)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break,
            Err(_) => return None,
        }
    }
    let mut bytes = Vec::new();
    match stdin.lock().read_until(b'\n', &mut bytes) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Writes to standard output.
pub(super) fn out(text: &str) {
    write(&mut std::io::stdout().lock(), text);
}

/// Writes to standard error.
pub(super) fn err(text: &str) {
    write(&mut std::io::stderr().lock(), text);
}

fn write(to: &mut impl Write, text: &str) {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => {}
        // Nobody reads any more. There is nobody to tell, and nothing left to do.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        // A full disk under `hardtack list lints >file`: half an answer is none. If that is told is another matter.
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "hardtack: what was said could not be written: {e}");
            std::process::exit(WORLD.into());
        }
    }
}
