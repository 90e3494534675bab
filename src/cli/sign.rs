//! Signatures of bundles, by a person's own SSH key: what stands in SHA256SUMS is what they have signed (PROTOCOL.sshsig of OpenSSH).

use super::{BAD, Stop, USAGE};
use crate::plan::NAMESPACE;
use crate::prove::process::{Program, require};
use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::path::Path;

/// The digests of all other files.
pub(super) const SUMS: &str = "SHA256SUMS";
/// The signature of them.
pub(super) const SIGNATURE: &str = "SHA256SUMS.sig";

fn ssh_keygen() -> Result<Program, Stop> {
    require(&["ssh-keygen"]).map_err(|e| Stop::world(format!("{e:#}")))?;
    Ok(Program::new("ssh-keygen"))
}

fn file_of(text: &[u8]) -> Result<std::fs::File, Stop> {
    let made = tempfile::tempfile().and_then(|mut file| {
        file.write_all(text)?;
        file.rewind()?;
        Ok(file)
    });
    made.map_err(|e| Stop::world(format!("could not make a file: {e}")))
}

/// The signature of a text. `key` is a private key, or a public one whose private half an agent has.
pub(super) fn sign(key: &Path, sums: &[u8]) -> Result<Vec<u8>, Stop> {
    if !key.is_file() {
        return Err(Stop::Because(USAGE, format!("{}: there is no such key", key.display())));
    }
    let signing = ssh_keygen()?.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key).input(file_of(sums)?);
    signing.output().map_err(|e| Stop::Because(USAGE, format!("{}: this key cannot sign: {e:#}", key.display())))
}

/// Who of these signers has signed the text.
pub(super) fn signer(signers: &Path, signature: &Path, sums: &[u8]) -> Result<String, Stop> {
    if !signers.is_file() {
        return Err(Stop::Because(USAGE, format!("{}: there is no such file of signers", signers.display())));
    }
    let stranger = |why: String| Stop::Because(BAD, why);
    let asked = ssh_keygen()?.args(["-Y", "find-principals", "-s"]).arg(signature).arg("-f").arg(signers);
    let found = asked
        .output()
        .map_err(|_| stranger(format!("{}: nobody of {} has signed this", signature.display(), signers.display())))?;
    let found = String::from_utf8_lossy(&found);
    let names: BTreeSet<&str> = found.lines().map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in names {
        let judged = ssh_keygen()?
            .args(["-Y", "verify", "-n", NAMESPACE, "-I", name, "-s"])
            .arg(signature)
            .arg("-f")
            .arg(signers)
            .input(file_of(sums)?);
        if judged.output().is_ok() {
            return Ok(name.to_owned());
        }
    }
    Err(stranger(format!("{}: this is no signature of {SUMS} as it is now", signature.display())))
}
