//! Base images: built from the distribution's packages, kept in the cache, whole or not at all.
mod build;
mod disk;
mod labels;
pub mod official;
mod sources;
mod vendor;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

pub use build::build;
pub(super) use build::lock;
pub use disk::{Disk, Firmware, Format, Starts};
pub use sources::Mirrors;

use crate::archive::digest::sha256_hex;
use crate::facts::Recipe;

/// The label of an image's root file system.
pub const LABEL: &str = "hardtack-root";

/// What makes a rootfs a cloud's: part of every image, and of what it is identified by.
const ROOTFS: &str = include_str!("customise/rootfs.sh");
/// The root channel that we bake into a flat image.
pub(crate) const CHANNEL: &str = include_str!("customise/channel.sh");
/// The boot loader of a vendor's disk.
const BOOT_LOADER: &str = include_str!("customise/boot-loader.sh");
/// What makes SELinux active.
const SELINUX: &str = include_str!("customise/selinux.sh");
/// The label of every file.
const LABELS: &str = include_str!("customise/labels.sh");
/// What comes last.
const TIDY: &str = include_str!("customise/tidy.sh");

/// What is made of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A root file system and no partitions, with a root channel of ours; the harness starts its kernel. The quick one.
    Flat,
    /// A disk as a vendor ships it: partitions, an EFI system partition with GRUB, and nothing of ours.
    Vendor,
}

/// What the name of a vendor's disk ends in.
pub const VENDOR: &str = "-vendor";

impl Kind {
    /// The kind of the image of this name.
    fn of(name: &str) -> Self {
        if name.ends_with(VENDOR) { Kind::Vendor } else { Kind::Flat }
    }

    /// The name of an image of this kind: `debian-12`, `debian-12-vendor`.
    #[must_use]
    pub fn name(self, image: &str) -> String {
        match self {
            Kind::Flat => image.to_owned(),
            Kind::Vendor => format!("{image}{VENDOR}"),
        }
    }

    fn customise(self, recipe: &Recipe) -> String {
        let (selinux, labels) = if recipe.labelled { (SELINUX, LABELS) } else { ("", "") };
        match self {
            Kind::Flat => [ROOTFS, selinux, CHANNEL, TIDY, labels].concat(),
            Kind::Vendor => [ROOTFS, selinux, BOOT_LOADER, TIDY, labels].concat(),
        }
    }

    fn packages(self, recipe: &Recipe) -> Vec<&str> {
        let loader = if self == Kind::Vendor { recipe.boot_loader.as_slice() } else { &[] };
        recipe.packages.iter().chain(loader).map(String::as_str).collect()
    }
}

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The disk.
    pub disk: Disk,
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

/// What an image was made of or came from. It is written last, so without it there is no whole image.
fn record<T: serde::de::DeserializeOwned>(place: &Path) -> Result<Option<T>> {
    let file = place.join("image.json");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("could not read {}", file.display())),
    };
    serde_json::from_str(&text).map(Some).with_context(|| format!("could not understand {}", file.display()))
}

/// The image of this name, if there is a whole one.
pub fn open(cache: &Path, name: &str) -> Result<Option<Built>> {
    check_name(name)?;
    let place = directory(cache).join(name);
    let Some(record) = record(&place)? else { return Ok(None) };
    let starts = match Kind::of(name) {
        Kind::Flat => Starts::Harness { kernel: place.join("vmlinuz"), initrd: place.join("initrd") },
        Kind::Vendor => Starts::Firmware(Firmware::Efi),
    };
    let disk = Disk { name: name.to_owned(), path: place.join("disk.qcow2"), format: Format::Qcow2, starts };
    Ok(Some(Built { disk, record }))
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
    built.record.recipe == digest(recipe, Kind::of(&built.disk.name))
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

fn digest(recipe: &Recipe, kind: Kind) -> String {
    let mut all = Vec::new();
    // Every part is preceded by its length, so that no two recipes read the same.
    let mut part = |text: &str| {
        all.extend((text.len() as u64).to_le_bytes());
        all.extend(text.as_bytes());
    };
    part(&kind.customise(recipe));
    part(&recipe.suite);
    part(&recipe.components.join(" "));
    part(&kind.packages(recipe).join(" "));
    part(&recipe.disk_mib.to_string());
    if kind == Kind::Vendor {
        part(vendor::LAYOUT);
    }
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
            boot_loader: vec!["grub".into()],
            labelled: false,
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
            for kind in [Kind::Flat, Kind::Vendor] {
                assert_ne!(digest(&other, kind), digest(&recipe(), kind));
            }
        }
        assert_eq!(digest(&recipe(), Kind::Flat).len(), 64);
        let mut other = recipe();
        other.boot_loader.clear();
        assert_eq!(digest(&other, Kind::Flat), digest(&recipe(), Kind::Flat), "a flat image has no boot loader");
        assert_ne!(digest(&other, Kind::Vendor), digest(&recipe(), Kind::Vendor));
    }

    #[test]
    fn nothing_of_ours_is_on_a_vendors_disk() {
        let text = Kind::Vendor.customise(&recipe());
        assert!(!text.contains(CHANNEL) && !text.contains("hardtack.shell") && text.contains(BOOT_LOADER));
        assert!(Kind::Flat.customise(&recipe()).contains("hardtack.shell"));
        for kind in [Kind::Flat, Kind::Vendor] {
            assert_eq!(Kind::of(&kind.name("debian-12")), kind);
        }
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
            recipe: digest(&recipe(), Kind::Flat),
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
        assert_eq!(found.iter().map(|b| b.disk.name.as_str()).collect::<Vec<_>>(), ["debian-12"]);
        assert!(found.iter().all(|b| fresh(b, &recipe()) && b.record.version("sudo") == Some("1.9")));
        Ok(())
    }
}
