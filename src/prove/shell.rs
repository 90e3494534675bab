//! A machine that is kept after it was judged: lines go in, and what they print comes back.

use super::guest::{Error, Output};
use super::qemu::Budget;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// What one line at a prompt may cost. What only waits is ended sooner: nobody can interrupt it.
pub(super) const LINE: Budget = Budget::cpu_seconds(900).idle(Duration::from_secs(120));

/// Whether the machine is kept when it has been judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is thrown away.
    Never,
    /// Only where a proof is not proved.
    NotProved,
    /// Whatever came of it.
    Always,
}

/// A script for a machine that is kept, and where its output goes.
#[derive(Debug)]
pub struct Ask {
    /// The script, as [`script`] makes it.
    pub script: String,
    /// Takes the answer.
    pub answer: Sender<Result<Output, Error>>,
}

/// A line that a person typed, as a script that begins in the folder where the last one ended, and says where it ends.
#[must_use]
pub fn script(folder: &str, line: &str) -> String {
    let folder = shlex::try_quote(folder).unwrap_or_else(|_| "/".into());
    // The last thing on standard output, behind a NUL: also after `exit 3` or a word that bash does not understand.
    format!("trap 's=$?; printf \"\\0%s\" \"$PWD\"; exit $s' EXIT\ncd -- {folder}\n{line}\n")
}

/// What such a script printed, and where it ended, unless it hid that.
#[must_use]
pub fn printed(stdout: &[u8]) -> (&[u8], Option<String>) {
    let at = stdout.iter().rposition(|byte| *byte == 0);
    let folder = at.and_then(|at| std::str::from_utf8(&stdout[at + 1..]).ok()).filter(|f| f.starts_with('/'));
    match (at, folder) {
        (Some(at), Some(folder)) => (&stdout[..at], Some(folder.to_owned())),
        _ => (stdout, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::process::Program;

    // As the root channel runs it.
    fn bash(folder: &str, line: &str) -> (String, Option<String>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("exec 2>&1\n{}\n", script(folder, line))).unwrap();
        let out = Program::new("sh").args(["-c", "bash \"$1\"; true", "sh"]).arg(file.path()).output().unwrap();
        let (text, folder) = printed(&out);
        (String::from_utf8(text.to_vec()).unwrap(), folder)
    }

    #[test]
    fn a_line_ends_where_it_went() {
        let here = |folder: &str| Some(folder.to_owned());
        assert_eq!(bash("/", "cd usr && pwd"), ("/usr\n".to_owned(), here("/usr")));
        assert_eq!(bash("/usr", "pwd"), ("/usr\n".to_owned(), here("/usr")));
        assert_eq!(bash("/", "cd /tmp; exit 3"), (String::new(), here("/tmp")));
        assert_eq!(bash("/usr", "printf 'a\\0/b'"), ("a\0/b".to_owned(), here("/usr")));
        let (said, folder) = bash("/usr", "echo 'never ended");
        assert!(said.contains("unexpected EOF") && folder == here("/usr"), "{said}");
        let folder = tempfile::Builder::new().prefix("it's \"$(x)\" ").tempdir().unwrap();
        let name = folder.path().to_str().unwrap();
        assert_eq!(bash(name, "true"), (String::new(), here(name)));
        // One that hides where it ended leaves the person where they were.
        assert_eq!(bash("/", "trap - EXIT; echo x"), ("x\n".to_owned(), None));
        assert_eq!(printed(b"a\0\xff"), (&b"a\0\xff"[..], None));
    }
}
