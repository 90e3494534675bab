//! Keys that somebody publishes at an address: `https://github.com/NAME.keys SHA256:FINGERPRINT …`. Only those whose fingerprints are
//! written beside it are taken, whatever else stands there today.

use crate::archive::digest::sha256;
use crate::plan::credential::PublicKey;
use crate::prove::image::official::{Url, text};
use crate::report::{FromText, shown};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use std::time::Duration;

/// As `ssh-keygen -l` prints it.
fn fingerprint(key: &PublicKey) -> Option<String> {
    let blob = STANDARD.decode(key.body()).ok()?;
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256(&[&blob]))))
}

/// Whether a name is an address and not a file.
pub(super) fn is_address(name: &str) -> bool {
    name.starts_with("https://") || name.starts_with("http://")
}

/// Gets the keys, in the order of their fingerprints.
pub(super) fn keys(name: &str) -> Result<Vec<u8>, String> {
    let mut words = name.split_whitespace();
    let url = Url::from_text(words.next().unwrap_or_default()).map_err(|fault| fault.message)?;
    let wanted: Vec<&str> = words.collect();
    if let Some(word) = wanted.iter().find(|word| !word.starts_with("SHA256:")) {
        return Err(format!("`{}` is no fingerprint: write it as `ssh-keygen -l` prints it, SHA256:…", shown(word)));
    }
    let bytes = text(&url, Duration::from_secs(30))?;
    let there = String::from_utf8_lossy(&bytes);
    let there: Vec<(String, PublicKey)> = there
        .lines()
        .filter_map(|line| PublicKey::from_text(line.trim()).ok())
        // What somebody else publishes may not bring options along.
        .filter(|key| !key.has_options())
        .filter_map(|key| Some((fingerprint(&key)?, key)))
        .collect();
    let has = there.iter().map(|(print, _)| print.as_str()).collect::<Vec<_>>().join(" ");
    let has = if has.is_empty() { "there are no keys there".to_owned() } else { format!("there are now: {has}") };
    if wanted.is_empty() {
        return Err(format!("write beside it which keys are meant; {has}"));
    }
    let mut lines = String::new();
    for print in wanted {
        let Some((_, key)) = there.iter().find(|(has, _)| has == print) else {
            return Err(format!("no key there is {}; {has}", shown(print)));
        };
        lines.push_str(key.as_str());
        lines.push('\n');
    }
    Ok(lines.into_bytes())
}
