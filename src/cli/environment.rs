//! The one place that reads the environment.
#![expect(clippy::disallowed_methods, reason = "this is the module that reads the environment for all others")]

use std::path::PathBuf;

fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Where images and what was learned of this machine are kept: `$XDG_CACHE_HOME/hardtack`, else `~/.cache/hardtack`.
pub(super) fn cache() -> Result<PathBuf, String> {
    let base =
        set("XDG_CACHE_HOME").filter(|p| p.is_absolute()).or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.map(|b| b.join("hardtack"))
        .ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set, so there is no place for images".to_owned())
}

/// `~`.
pub(super) fn home() -> Option<PathBuf> {
    set("HOME")
}

/// `~/.ssh`.
pub(super) fn ssh_folder() -> Option<PathBuf> {
    home().map(|home| home.join(".ssh"))
}

/// The time that everything in a bundle carries: `SOURCE_DATE_EPOCH`, else 0 (reproducible-builds.org).
pub(super) fn epoch() -> Result<u32, String> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(0) };
    text.to_str()
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| "SOURCE_DATE_EPOCH is not a number of seconds from 0 to 4294967295".to_owned())
}
