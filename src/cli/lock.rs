//! `hardtack.lock`: what official images are held to. A person reads it, and commits it.
#![expect(unreachable_pub, reason = "what `section!` writes is public")]

use super::{BAD, Stop, USAGE, load, terminal};
use crate::archive::digest::Digest;
use crate::report::{Fault, FromText, Report, human, shown};
use crate::section;
use crate::yaml::{self, Read};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const HEAD: &str = "\
# What `hardtack image fetch` holds the vendors' images to. Commit this file.
# To take what a vendor has now: hardtack image fetch NAME --update
";

impl FromText for Digest {
    const WHAT: &'static str = "a digest";
    fn from_text(text: &str) -> Result<Self, Fault> {
        Digest::try_from(text.to_owned())
            .map_err(|help| Fault::new(format!("`{}` is no digest", shown(text))).help(help))
    }
}

section! {
    /// One image that is pinned.
    pub struct Pin as "a pinned image" {
        /// Where it is.
        image: String;
        /// How many bytes it has.
        size: u64;
        /// What they hash to.
        digest: Digest;
    }
}

section! {
    /// A lock file.
    pub struct Pins as "a lock file" {
        /// The version of this format.
        lock: u64;
        /// The images, by name.
        images: BTreeMap<String, Pin>;
    }
}

/// What is pinned; nothing where there is no such file.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Pin>, Stop> {
    if matches!(path.symlink_metadata(), Err(e) if e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(BTreeMap::new());
    }
    let source = load::source(path)?;
    let mut report = Report::default();
    let pins = yaml::parse(&source.text, &mut report).and_then(|node| Pins::read(&node, &mut report));
    let Some(pins) = pins.filter(|_| !report.has_errors()) else {
        terminal::err(&human(&report, &source, terminal::color_err()));
        return Err(Stop::Said(BAD));
    };
    if pins.lock != 1 {
        let why = format!("{}: this is a lock file of version {}; this hardtack knows 1", path.display(), pins.lock);
        return Err(Stop::Because(BAD, why));
    }
    Ok(pins.images)
}

/// The lock file that will be: made first, so that a folder that cannot be written is known before the long part.
pub(super) struct Draft {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Draft {
    pub(super) fn new(path: &Path) -> Result<Self, Stop> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // As any other file that a person commits; the umask takes its share.
        let mode = std::fs::Permissions::from_mode(0o666);
        let no = |what: &dyn std::fmt::Display| {
            Stop::Because(
                USAGE,
                format!("{}: cannot be written: {what}; name another place with --lock", path.display()),
            )
        };
        if path.file_name().is_none() || path.is_dir() {
            return Err(no(&"it is a directory"));
        }
        let made = tempfile::Builder::new().prefix(".hardtack-").permissions(mode).tempfile_in(folder);
        // Only the kind: tempfile puts a random name into its own words.
        let file = made.map_err(|e| no(&e.kind()))?;
        Ok(Draft { path: path.to_owned(), file })
    }

    /// Pins an image. The file is read again: another fetch may have pinned another image meanwhile.
    pub(super) fn pin(mut self, name: &str, pin: Pin) -> Result<(), Stop> {
        let mut images = read(&self.path)?;
        images.insert(name.to_owned(), pin);
        let images: BTreeMap<_, _> = images
            .into_iter()
            .map(|(name, p)| (name, json!({"image": p.image, "size": p.size, "digest": p.digest})))
            .collect();
        let text = yaml::emit(&json!({"lock": 1, "images": images})).map_err(Stop::bug)?;
        let no = |e: std::io::Error| Stop::world(format!("{}: {e}", self.path.display()));
        self.file.write_all(format!("{HEAD}{text}").as_bytes()).map_err(no)?;
        self.file.persist(&self.path).map_err(|e| no(e.error))?;
        Ok(())
    }
}
