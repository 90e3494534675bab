//! Which disk a machine starts from: an image of the cache by its name, or any disk by its path.

use super::{Stop, USAGE};
use crate::facts::{Facts, Start};
use crate::prove::image::{self, Disk, Firmware, Kind, VENDOR};
use std::path::Path;

/// What `--image` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// An image of the cache; without a name, that of the spec.
    Image(Option<&'a str>, Kind),
    /// A person's own disk. What things are called on it is what the spec's image says.
    File(&'a Path),
}

/// What may start a person's own disk.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum By {
    /// UEFI
    Efi,
    /// A BIOS
    Bios,
}

impl<'a> Wanted<'a> {
    /// A path has a slash in it, or ends as disks do; all else is a name.
    pub(super) fn read(text: Option<&'a str>) -> Self {
        let Some(text) = text else { return Wanted::Image(None, Kind::Flat) };
        let path = Path::new(text);
        if text.contains('/')
            || path.extension().is_some_and(|e| ["qcow2", "raw", "img"].iter().any(|known| e == *known))
        {
            return Wanted::File(path);
        }
        match text.strip_suffix(VENDOR) {
            Some(name) => Wanted::Image(Some(name), Kind::Vendor),
            None => Wanted::Image(Some(text), Kind::Flat),
        }
    }

    /// The image whose facts hold, if not the spec's own.
    pub(super) fn image(self) -> Option<&'a str> {
        match self {
            Wanted::Image(name, _) => name,
            Wanted::File(_) => None,
        }
    }

    /// What a person calls it.
    pub(super) fn name(self, facts: &Facts) -> String {
        match self {
            Wanted::Image(_, kind) => kind.name(&facts.name),
            Wanted::File(path) => path.display().to_string(),
        }
    }

    /// The disk.
    pub(super) fn disk(self, facts: &Facts, cache: &Path, firmware: Option<By>) -> Result<Disk, Stop> {
        let firmware = firmware.map(|by| match by {
            By::Efi => Firmware::Efi,
            By::Bios => Firmware::Bios,
        });
        match self {
            Wanted::File(path) => Disk::open(path, firmware).map_err(|e| Stop::Because(USAGE, format!("{e:#}"))),
            Wanted::Image(..) if firmware.is_some() => Err(Stop::Because(
                USAGE,
                "--firmware is for a disk of your own (--image FILE.qcow2); it is known of the images by name"
                    .to_owned(),
            )),
            Wanted::Image(_, kind) => {
                let name = kind.name(&facts.name);
                let built = image::open(cache, &name).map_err(|e| Stop::world(format!("{e:#}")))?;
                built.map(|built| built.disk).ok_or_else(|| {
                    let option = if kind == Kind::Vendor { " --vendor" } else { "" };
                    Stop::world(match facts.recipe() {
                        Some(_) => format!(
                            "there is no image {name} yet; make it with: hardtack image build {}{option}",
                            facts.name
                        ),
                        None => format!("{} is rendered and linted here, but never booted", facts.name),
                    })
                })
            }
        }
    }

    /// How the machine is started. Where nothing is known of the image, any processor that a person's disk may need.
    pub(super) fn start(self, facts: &Facts) -> Result<Start, Stop> {
        match (self, facts.start()) {
            (_, Ok(start)) => Ok(start.clone()),
            (Wanted::File(_), Err(_)) => Ok(Start { cpu: "max".to_owned(), arguments: Vec::new(), memory_mib: 2048 }),
            (Wanted::Image(..), Err(unknown)) => Err(Stop::bug(unknown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_a_name() {
        let read = |text| Wanted::read(Some(text));
        assert_eq!(Wanted::read(None), Wanted::Image(None, Kind::Flat));
        assert_eq!(read("debian-12"), Wanted::Image(Some("debian-12"), Kind::Flat));
        assert_eq!(read("debian-12-vendor"), Wanted::Image(Some("debian-12"), Kind::Vendor));
        for path in ["./debian-12", "/a/disk", "x.qcow2", "x.raw", "x.img", "a.b/c"] {
            assert_eq!(read(path), Wanted::File(Path::new(path)));
        }
        assert_eq!(read("x.vmdk"), Wanted::Image(Some("x.vmdk"), Kind::Flat));
    }
}
