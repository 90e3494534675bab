//! `hardtack passwd`: a password goes in without being shown, its hash comes out.

use super::{Stop, USAGE, WELL, terminal};
use std::io::Read;
use yescrypt::{PasswordHasher, Yescrypt};

#[derive(clap::Args)]
#[command(after_help = "The hash is yescrypt, as Debian, Ubuntu and Fedora make it. Put it into a spec:\n  \
    password_hash: \"$y$j9T$…\"\n\n\
    At a terminal the password is asked for twice and not shown. Elsewhere it is the one line of standard input:\n  \
    pass show web01 | hardtack passwd")]
pub(super) struct Args {}

/// The longest that crypt(3) takes (CRYPT_MAX_PASSPHRASE_SIZE of libxcrypt, with its end).
const LONGEST: usize = 511;
const TOO_LONG: &str = "a password has at most 511 bytes";

pub(super) fn run(_: &Args) -> Result<u8, Stop> {
    let password = if terminal::typed_at() { asked()? } else { read()? };
    judge(&password).map_err(no)?;
    let hash = Yescrypt::default().hash_password(password.as_bytes()).map_err(Stop::bug)?;
    terminal::out(&format!("{}\n", hash.as_str()));
    Ok(WELL)
}

fn no(why: &str) -> Stop {
    Stop::Because(USAGE, format!("{why}; no hash was made"))
}

fn asked() -> Result<String, Stop> {
    let ask =
        |words| rpassword::prompt_password(words).map_err(|e| no(&format!("the password could not be read: {e}")));
    let password = ask("Password: ")?;
    if ask("Again: ")? != password {
        return Err(no("the two are not the same"));
    }
    Ok(password)
}

fn read() -> Result<String, Stop> {
    let mut bytes = Vec::new();
    let most = u64::try_from(LONGEST + 3).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(|e| no(&format!("standard input: {e}")))?;
    // What was cut off here may have been cut inside a character.
    if bytes.len() > LONGEST + 2 {
        return Err(no(TOO_LONG));
    }
    let text = String::from_utf8(bytes).map_err(|_| no("the password is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

// What login(1), sshd and sudo cannot be given, or would cut off.
fn judge(password: &str) -> Result<(), &'static str> {
    if password.is_empty() {
        Err("the password is empty")
    } else if password.contains(['\n', '\r', '\0']) {
        Err("a password is one line")
    } else if password.len() > LONGEST {
        Err(TOO_LONG)
    } else {
        Ok(())
    }
}
