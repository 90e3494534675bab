//! What has come so far of an image, and what is known of it.
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Record, Url, build};
use crate::archive::digest::Digest;

/// A folder with `disk.part`, the bytes from the start of the file, and `part.json`, what they are of.
pub(super) struct Part {
    folder: PathBuf,
    file: File,
    have: u64,
    state: State,
    /// Whether the bytes came in more than one answer.
    patched: bool,
}

/// `part.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// Where the bytes came from.
    image: String,
    /// What the whole must hash to.
    digest: Digest,
    /// What the server knows the file by.
    validator: Option<String>,
    /// How many bytes the whole has.
    total: Option<u64>,
}

impl Part {
    /// What there is of this file; of anything else there it is nothing.
    pub(super) fn open(folder: &Path, url: &Url, digest: &Digest) -> Result<Part> {
        fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
        let path = folder.join("disk.part");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("could not open {}", path.display()))?;
        let have = file.seek(SeekFrom::End(0)).with_context(|| format!("could not read {}", path.display()))?;
        let nothing = State { image: url.as_str().to_owned(), digest: digest.clone(), validator: None, total: None };
        let known =
            fs::read(folder.join("part.json")).ok().and_then(|text| serde_json::from_slice::<State>(&text).ok());
        let known = known.filter(|k| k.image == nothing.image && k.digest == *digest && k.validator.is_some());
        // More than the whole file is not a part of it.
        let known = known.filter(|k| have > 0 && k.total.is_none_or(|total| have <= total));
        let mut part =
            Part { folder: folder.to_owned(), file, have, patched: known.is_some(), state: known.unwrap_or(nothing) };
        if !part.patched {
            part.clear()?;
        }
        Ok(part)
    }

    /// Where the bytes are.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("disk.part")
    }

    /// How many bytes there are.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// How many there will be, if anybody has said.
    pub(super) fn total(&self) -> Option<u64> {
        self.state.total
    }

    /// Whether they came in more than one answer.
    pub(super) fn patched(&self) -> bool {
        self.patched
    }

    /// Whether nothing is left to ask for.
    pub(super) fn complete(&self) -> bool {
        self.have > 0 && self.state.total == Some(self.have)
    }

    /// The first byte that is missing, and what to know the file by; none where it must come from its start.
    pub(super) fn rest(&self) -> Option<(u64, &str)> {
        self.state.validator.as_deref().filter(|_| self.have > 0).map(|validator| (self.have, validator))
    }

    /// Forgets the bytes.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.begin(None, None)
    }

    /// Forgets the bytes, for the file comes from its start.
    pub(super) fn begin(&mut self, validator: Option<String>, total: Option<u64>) -> Result<()> {
        let no = || format!("could not write {}", self.folder.display());
        // In this order: no bytes are ever taken for a part of what they are not of.
        self.file.set_len(0).with_context(no)?;
        self.file.rewind().with_context(no)?;
        self.state = State { validator, total, ..self.state.clone() };
        let fresh = self.folder.join("part.json.new");
        fs::write(&fresh, serde_json::to_string_pretty(&self.state)? + "\n").with_context(no)?;
        fs::rename(&fresh, self.folder.join("part.json")).with_context(no)?;
        (self.have, self.patched) = (0, false);
        Ok(())
    }

    /// What comes now is the rest of the file.
    pub(super) fn go_on(&mut self) {
        self.patched = true;
    }

    /// Adds bytes.
    pub(super) fn add(&mut self, piece: &[u8]) -> Result<()> {
        self.file.write_all(piece).with_context(|| format!("could not write {}", self.path().display()))?;
        self.have += piece.len() as u64;
        Ok(())
    }

    /// Leaves nothing.
    pub(super) fn remove(&self) -> Result<()> {
        build::remove(&self.folder)
    }

    /// Puts the whole file and its record in the place of `place`.
    pub(super) fn finish(self, record: &Record, place: &Path, old: &Path) -> Result<()> {
        let no = || format!("could not write {}", self.folder.display());
        build::remove(old)?;
        // A record must never stand beside bytes that a power cut can still take back.
        self.file.sync_all().with_context(no)?;
        fs::rename(self.path(), self.folder.join("disk.qcow2")).with_context(no)?;
        build::remove(&self.folder.join("part.json"))?;
        fs::write(self.folder.join("image.json"), serde_json::to_string_pretty(record)? + "\n").with_context(no)?;
        build::replace(&self.folder, place, old)?;
        build::remove(old)
    }
}
