//! `hardtack verify DIR`: whether a bundle is as it was baked, and by whom it is signed.

use super::sign::{SIGNATURE, SUMS, signer};
use super::{BAD, Stop, USAGE, WELL, bake, terminal};
use crate::archive::digest::sha256_hex;
use crate::report::shown;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Who may have signed it: lines of a name and a public key, as ssh-keygen(1) has them (ALLOWED SIGNERS)
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
}

/// All files of a folder, as seen from it, in order; what is no file is said so.
fn files(folder: &Path, below: &str, all: &mut BTreeMap<String, bool>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files(folder, &path, all)?;
        } else {
            all.insert(path, kind.is_file());
        }
    }
    Ok(())
}

/// The digest that each file is to have, of lines as `sha256sum` writes them.
fn wanted<'a>(sums: &'a str) -> Option<BTreeMap<&'a str, &'a str>> {
    let pair = |line: &'a str| {
        let (digest, path) = line.split_once("  ")?;
        let good = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) && !path.is_empty();
        good.then_some((path, digest))
    };
    sums.lines().map(pair).collect::<Option<BTreeMap<_, _>>>().filter(|all| !all.is_empty())
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    terminal::out(&checked(&args.bundle, args.signers.as_deref())?);
    Ok(WELL)
}

/// Checks a bundle, and says what it is.
pub(super) fn checked(bundle: &Path, signers: Option<&Path>) -> Result<String, Stop> {
    let name = bundle.display();
    if !bake::is_bundle(bundle) {
        return Err(Stop::Because(
            USAGE,
            format!("{name}: this is no bundle; name the folder that `hardtack bake` has written"),
        ));
    }
    let bad = |why: String| Stop::Because(BAD, format!("{name}: {why}"));
    let sums = std::fs::read(bundle.join(SUMS)).map_err(|e| bad(format!("{SUMS}: {e}")))?;
    let text = String::from_utf8_lossy(&sums);
    let wanted = wanted(&text).ok_or_else(|| bad(format!("{SUMS} is no list of digests")))?;
    let mut there = BTreeMap::new();
    files(bundle, "", &mut there).map_err(|e| bad(e.to_string()))?;
    let mut wrong = Vec::new();
    for (path, digest) in &wanted {
        match there.get(*path) {
            None => wrong.push(format!("{} is missing", shown(path))),
            Some(false) => wrong.push(format!("{} is no file", shown(path))),
            Some(true) => match std::fs::read(bundle.join(path)) {
                Ok(bytes) if sha256_hex(&bytes) == *digest => {}
                Ok(_) => wrong.push(format!("{} is not as it was baked", shown(path))),
                Err(e) => wrong.push(format!("{} cannot be read: {e}", shown(path))),
            },
        }
    }
    let beside =
        there.keys().filter(|path| !wanted.contains_key(path.as_str()) && ![SUMS, SIGNATURE].contains(&path.as_str()));
    wrong.extend(beside.map(|path| format!("{} is not of the bundle", shown(path))));
    if !wrong.is_empty() {
        for why in &wrong {
            terminal::err(&format!("hardtack: {name}: {why}\n"));
        }
        return Err(Stop::Said(BAD));
    }
    let signature = bundle.join(SIGNATURE);
    let signed = match (signers, signature.exists()) {
        (Some(signers), true) => format!("signed by {}", shown(&signer(signers, &signature, &sums)?)),
        (Some(_), false) => return Err(bad("nobody has signed it".to_owned())),
        (None, true) => "signed, and --signers was not asked by whom".to_owned(),
        (None, false) => "not signed".to_owned(),
    };
    Ok(format!("{name}: {} files as they were baked; {signed}\n", wanted.len()))
}
