//! What a person sees. A closed pipe (`hardtack list lints | head`) ends the program quietly.

use super::WORLD;
use std::io::{IsTerminal, Write};

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
