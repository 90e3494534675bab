//! Base images: built from the distribution's packages, kept in the cache, whole or not at all.
mod build;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

pub use build::build;

use crate::archive::digest::sha256_hex;
use crate::facts::Recipe;

/// The label of an image's root file system.
pub const LABEL: &str = "hardtack-root";

/// What makes a rootfs ours; part of what an image is identified by.
const CUSTOMISE: &str = include_str!("customise.sh");

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its name, `debian-12`.
    pub name: String,
    /// The disk: a root file system and no partitions.
    pub disk: PathBuf,
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its initial RAM disk.
    pub initrd: PathBuf,
    /// What it was made of.
    pub record: Record,
}

/// `image.json`: what an image was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Identifies the recipe and all that we do to what it gives.
    pub recipe: String,
    /// The suite.
    pub suite: String,
    /// Whether security updates were drawn.
    pub security: bool,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// Every package with its version, sorted.
    pub packages: Vec<Package>,
}

/// One package of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Record {
    /// The version of a package, if the image has it.
    pub fn version(&self, package: &str) -> Option<&str> {
        self.packages.iter().find(|p| p.name == package).map(|p| p.version.as_str())
    }
}

/// The image of this name, if there is a whole one.
pub fn open(cache: &Path, name: &str) -> Result<Option<Built>> {
    check_name(name)?;
    let place = directory(cache).join(name);
    let record = place.join("image.json");
    let text = match fs::read_to_string(&record) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", record.display()));
        }
    };
    let record = serde_json::from_str(&text).with_context(|| format!("could not understand {}", record.display()))?;
    Ok(Some(Built {
        name: name.to_owned(),
        disk: place.join("disk.qcow2"),
        kernel: place.join("vmlinuz"),
        initrd: place.join("initrd"),
        record,
    }))
}

/// Every image in the cache, by name.
pub fn list(cache: &Path) -> Result<Vec<Built>> {
    let entries = match fs::read_dir(directory(cache)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("could not list the images"),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.context("could not list the images")?.file_name().into_string());
    }
    names.sort();
    // What is being built begins with a dot.
    names.retain(|name| check_name(name).is_ok());
    names.iter().filter_map(|name| open(cache, name).transpose()).collect()
}

/// Whether `built` is what `recipe` gives today, as far as we can tell without the mirror.
pub fn fresh(built: &Built, recipe: &Recipe) -> bool {
    built.record.recipe == digest(recipe)
}

fn directory(cache: &Path) -> PathBuf {
    cache.join("images")
}

/// A name is one plain word, for it becomes a directory.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.chars().all(plain) {
        bail!("`{}` is no name for an image", name.escape_debug());
    }
    Ok(())
}

fn digest(recipe: &Recipe) -> String {
    let mut all = Vec::new();
    // Every part is preceded by its length, so that no two recipes read the same.
    let mut part = |text: &str| {
        all.extend((text.len() as u64).to_le_bytes());
        all.extend(text.as_bytes());
    };
    part(CUSTOMISE);
    part(&recipe.suite);
    part(&recipe.components.join(" "));
    part(&recipe.packages.join(" "));
    part(&recipe.disk_mib.to_string());
    sha256_hex(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            suite: "bookworm".into(),
            components: vec!["main".into()],
            packages: vec!["sudo".into()],
            disk_mib: 3072,
        }
    }

    #[test]
    fn a_digest_knows_every_part() {
        let change: [fn(&mut Recipe); 4] = [
            |r| r.suite = "trixie".into(),
            |r| r.components.push("contrib".into()),
            |r| r.packages.push("cron".into()),
            |r| r.disk_mib += 1,
        ];
        for change in change {
            let mut other = recipe();
            change(&mut other);
            assert_ne!(digest(&other), digest(&recipe()));
        }
        assert_eq!(digest(&recipe()).len(), 64);
    }

    #[test]
    fn names_stay_in_their_directory() {
        for good in ["debian-12", "rocky_9.4"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".x", "-x", "a/b", "A", "a b", "a\n", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_whole_images_are_listed() -> Result<()> {
        let cache = tempfile::tempdir()?;
        assert_eq!(list(cache.path())?, []);
        let record = Record {
            recipe: digest(&recipe()),
            suite: "bookworm".into(),
            security: true,
            built: 1,
            packages: vec![Package { name: "sudo".into(), version: "1.9".into() }],
        };
        for name in ["debian-12", ".debian-13-x", "half"] {
            fs::create_dir_all(cache.path().join("images").join(name))?;
        }
        for name in ["debian-12", ".debian-13-x"] {
            fs::write(cache.path().join("images").join(name).join("image.json"), serde_json::to_vec(&record)?)?;
        }
        let found = list(cache.path())?;
        assert_eq!(found.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["debian-12"]);
        assert!(found.iter().all(|b| fresh(b, &recipe()) && b.record.version("sudo") == Some("1.9")));
        Ok(())
    }
}
