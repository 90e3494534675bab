//! What a person sees. A closed pipe (`hardtack list lints | head`) ends the program quietly.

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
    if to.write_all(text.as_bytes()).and_then(|()| to.flush()).is_err() {
        // Nobody reads any more. There is nobody to tell, and nothing left to do.
        std::process::exit(0);
    }
}
