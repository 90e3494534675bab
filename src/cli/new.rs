//! `hardtack new [FILE]`, and the starter spec that `bake` and `prove` use without a spec.

use super::{Stop, USAGE, WELL, environment, terminal};
use crate::plan::credential::PublicKey;
use crate::prove::process::Program;
use crate::report::{FromText, Source};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Where to write it; a file that is there is never replaced [default: standard output]
    file: Option<PathBuf>,
}

const STARTER: &str = include_str!("starter.yaml");

/// The person's own public key: the first of `~/.ssh/*.pub` that a machine would take.
fn own_key() -> Option<(PathBuf, PublicKey)> {
    let folder = environment::ssh_folder()?;
    let mut files: Vec<_> = std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "pub"));
    files.sort();
    files.into_iter().find_map(|path| {
        let about = std::fs::metadata(&path).ok().filter(|m| m.is_file() && m.len() < 16_384)?;
        let text = std::fs::read_to_string(&path).ok().filter(|_| about.len() > 0)?;
        let key = PublicKey::from_text(text.trim_end()).ok().filter(|k| !k.has_options())?;
        Some((path, key))
    })
}

/// Makes a key pair beside the bundle, with the private half readable by its owner only. One that is there is used again.
fn made_key(beside: &Path) -> Result<PublicKey, Stop> {
    let private = beside.with_file_name(format!("{}-key", beside.file_name().unwrap_or_default().to_string_lossy()));
    let public = private.with_file_name(format!("{}.pub", private.file_name().unwrap_or_default().to_string_lossy()));
    if !public.exists() {
        Program::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "made-by-hardtack", "-f"])
            .arg(&private)
            .output()
            .map_err(|e| Stop::world(format!("could not make a key: {e:#}")))?;
        terminal::err(&format!(
            "no key in ~/.ssh: made {} (keep it safe; it is the way in) and its .pub\n",
            private.display()
        ));
    } else {
        terminal::err(&format!("no key in ~/.ssh: using {}\n", public.display()));
    }
    let text = std::fs::read_to_string(&public).map_err(|e| Stop::world(format!("{}: {e}", public.display())))?;
    PublicKey::from_text(text.trim_end()).map_err(|f| Stop::world(format!("{}: {}", public.display(), f.message)))
}

/// The starter spec, with the person's own key, or one made beside where the bundle will lie.
pub(super) fn starter(beside: &Path) -> Result<Source, Stop> {
    let key = match own_key() {
        Some((path, key)) => {
            terminal::err(&format!(
                "no spec given: baking the built-in starter (`hardtack new` prints it) with {}\n",
                path.display()
            ));
            key
        }
        None => {
            terminal::err("no spec given: baking the built-in starter (`hardtack new` prints it)\n");
            made_key(beside)?
        }
    };
    Ok(Source { name: "starter.yaml (built in)".to_owned(), text: filled(&key) })
}

// A key is free of quotes only where it has no options, and own_key() and made_key() give such; its comment may have some.
pub(super) fn filled(key: &PublicKey) -> String {
    STARTER.replace("\"@KEY@\"", &serde_json::Value::from(key.as_str()).to_string())
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    let Some((_, key)) = own_key() else {
        return Err(Stop::Because(
            USAGE,
            "there is no public key in ~/.ssh to put into the spec; make one with: ssh-keygen -t ed25519 -a 100"
                .to_owned(),
        ));
    };
    let text = filled(&key);
    match &args.file {
        None => terminal::out(&text),
        Some(path) => {
            let no = |e: std::io::Error| Stop::Because(USAGE, format!("{}: {e}", path.display()));
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(no)?;
            file.write_all(text.as_bytes()).map_err(no)?;
            terminal::err(&format!("wrote {}; next: hardtack check {0}\n", path.display()));
        }
    }
    Ok(WELL)
}
