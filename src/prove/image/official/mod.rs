//! The vendors' own images: fetched, resumed, held to a digest, and put into the cache whole or not at all.
//!
//! `CACHE/official/NAME/` has `disk.qcow2` and `image.json`. What is still coming lies in `CACHE/official/.NAME/`, and
//! survives an interruption.
mod checksums;
pub(in crate::prove) mod http;
mod part;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

pub use http::Url;

use super::{build, check_name};
use crate::archive::digest::{Digest, Hasher};
use crate::prove::process::interrupted;
use http::Trouble;
use part::Part;

/// Ten times what any vendor's cloud image has today. A body without end stops here.
const LARGEST: u64 = 16 << 30;

/// A list of checksums is some hundred lines.
const LARGEST_LIST: usize = 1 << 20;

/// So often in a row may a try bring nothing worth the name.
const TRIES: u32 = 5;

/// A try that brings this much was not in vain.
const WORTH: u64 = 1 << 20;

/// An official image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its name, `debian-12`.
    pub name: String,
    /// The disk, as the vendor made it.
    pub disk: PathBuf,
    /// Where it came from, and what it was held to.
    pub record: Record,
}

/// `image.json`: where an official image came from, and what it was held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The URL.
    pub image: String,
    /// How many bytes it has.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// When it was fetched, in seconds since 1970.
    pub fetched: u64,
}

/// What an image must be.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// What a lock file says: no list is asked.
    Pinned {
        /// The digest.
        digest: Digest,
        /// How many bytes it has.
        size: u64,
    },
    /// What the vendor's list of checksums says of the file of this name.
    Listed(Url),
}

/// An image to be fetched.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// Its name, `debian-12`.
    pub name: &'a str,
    /// Where it is.
    pub url: &'a Url,
    /// What it must be.
    pub wanted: Wanted,
    /// How long nothing may come before another try.
    pub patience: Duration,
}

/// How far it has come.
#[derive(Debug, Clone, Copy)]
pub enum Note<'a> {
    /// What happens now, in words.
    Said(&'a str),
    /// Bytes that are here, and that there will be.
    Bytes(u64, Option<u64>),
}

/// Why there is no image.
#[derive(Debug)]
pub enum Failure {
    /// What came is not what it must be. Nothing of it was kept.
    Wrong(String),
    /// The network, the disk or the vendor could not do their part.
    World(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::World(error)
    }
}

type Notes<'a> = &'a mut dyn FnMut(Note<'_>);

/// The official image of this name, if the cache has a whole one.
pub fn open(cache: &Path, name: &str) -> Result<Option<Fetched>> {
    check_name(name)?;
    let place = directory(cache).join(name);
    let record = super::record(&place)?;
    Ok(record.map(|record| Fetched { name: name.to_owned(), disk: place.join("disk.qcow2"), record }))
}

/// The image as it was ordered: from the cache where that has it, else from its URL.
///
/// What has come before an interruption stays, and the next call goes on from there.
pub fn fetch(order: &Order<'_>, cache: &Path, notes: Notes<'_>) -> Result<Fetched, Failure> {
    check_name(order.name)?;
    let all = directory(cache);
    fs::create_dir_all(&all).with_context(|| format!("could not make {}", all.display()))?;
    let lock = all.join(format!(".{}.lock", order.name));
    let _lock = build::lock(&lock, &mut |line| notes(Note::Said(line)))?;
    let (digest, size) = match &order.wanted {
        Wanted::Pinned { digest, size } => (digest.clone(), Some(*size)),
        Wanted::Listed(list) => (listed(list, order, notes)?, None),
    };
    // A record that cannot be read is of no image worth keeping: it is fetched again.
    if let Ok(Some(here)) = open(cache, order.name)
        && (here.record.digest == digest || here.record.digest.algorithm() != digest.algorithm())
    {
        notes(Note::Said("checking the copy in the cache"));
        match hash(&here.disk, &digest, notes) {
            Ok(found) if found == digest => return Ok(here),
            Ok(_) if here.record.digest != digest => {}
            Ok(_) => notes(Note::Said("the copy in the cache is damaged; fetching it again")),
            Err(_) if interrupted() => return Err(stopped().into()),
            Err(error) => notes(Note::Said(&format!("{error:#}; fetching it again"))),
        }
    }
    let work = all.join(format!(".{}", order.name));
    let mut part = Part::open(&work, order.url, &digest)?;
    download(order, size, &mut part, notes)?;
    if !matches(order, &digest, &part, notes)? {
        let patched = part.patched();
        part.clear()?;
        // Pieces from several tries may be of two files, whatever the server said of them.
        if patched {
            notes(Note::Said("the pieces do not make up the file; fetching it from its start"));
            download(order, size, &mut part, notes)?;
        }
        if !patched || !matches(order, &digest, &part, notes)? {
            part.remove()?;
            return Err(wrong(order, &digest));
        }
    }
    qcow2(&part.path()).or_else(|error| part.remove().and(Err(error)))?;
    let record = Record {
        image: order.url.as_str().to_owned(),
        size: part.have(),
        digest,
        #[expect(clippy::disallowed_methods, reason = "when an image was fetched is no part of a bundle")]
        fetched: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    };
    part.finish(&record, &all.join(order.name), &all.join(format!(".{}.old", order.name)))?;
    Ok(open(cache, order.name)?.ok_or_else(|| anyhow!("the image {} vanished while it was fetched", order.name))?)
}

fn directory(cache: &Path) -> PathBuf {
    cache.join("official")
}

fn stopped() -> anyhow::Error {
    anyhow!("interrupted; what has come is kept, and the same command goes on from there")
}

fn wrong(order: &Order<'_>, digest: &Digest) -> Failure {
    let held_to = match &order.wanted {
        Wanted::Pinned { .. } => "is pinned".to_owned(),
        Wanted::Listed(list) => format!("{} lists", list.as_str()),
    };
    Failure::Wrong(format!("{} is not the file that {held_to} ({digest}); nothing of it was kept", order.url.as_str()))
}

/// Gets a small text: at most 1 MiB, and `patience` for each pause in it.
///
/// # Errors
/// It cannot be had, or is too large.
pub fn text(url: &Url, patience: Duration) -> Result<Vec<u8>, String> {
    whole_list(url, patience).map_err(|trouble| match trouble {
        Trouble::Passing(why) | Trouble::Lasting(why) | Trouble::NoRest(why) => why,
        Trouble::Interrupted => "interrupted".to_owned(),
    })
}

/// Asks the vendor's list.
fn listed(list: &Url, order: &Order<'_>, notes: Notes<'_>) -> Result<Digest, Failure> {
    notes(Note::Said(&format!("reading {}", list.as_str())));
    let mut tries = Tries::new(order.patience);
    let text = loop {
        match whole_list(list, order.patience) {
            Ok(text) => break text,
            Err(trouble) => tries.again(trouble, list, notes)?,
        }
    };
    checksums::find(&String::from_utf8_lossy(&text), order.url.file())
        .map_err(|why| Failure::World(anyhow!("{} {why}; name the vendor's list with --checksums URL", list.as_str())))
}

fn whole_list(list: &Url, patience: Duration) -> Result<Vec<u8>, Trouble> {
    let mut answer = http::get(list, None, patience)?;
    let mut text = Vec::new();
    // Drop by drop it may come for ever without a pause that is too long.
    let since = Instant::now();
    while let Some(piece) = answer.next()? {
        text.extend(piece);
        if text.len() > LARGEST_LIST {
            return Err(Trouble::Lasting("it is larger than 1 MiB, which no list of checksums is".to_owned()));
        }
        if since.elapsed() > 4 * patience {
            return Err(Trouble::Passing(format!("it did not end within {} s", 4 * patience.as_secs())));
        }
    }
    Ok(text)
}

/// Brings the part to the end of the file, in as many tries as it takes.
fn download(order: &Order<'_>, size: Option<u64>, part: &mut Part, notes: Notes<'_>) -> Result<(), Failure> {
    let mut tries = Tries::new(order.patience);
    if part.have() > 0 {
        notes(Note::Said(&format!("going on after {} that are here already", mib(part.have()))));
    } else {
        notes(Note::Said(&format!("fetching {}", order.url.as_str())));
    }
    let mut most = part.have();
    while !part.complete() {
        let ended = attempt(order, size, part, notes)?;
        // Only what has never been here before counts, or a file that changes all the time would come for ever.
        if part.have() >= most + WORTH {
            most = part.have();
            tries.fresh();
        }
        match ended {
            Ok(()) => break,
            Err(trouble) => {
                if matches!(trouble, Trouble::NoRest(_)) {
                    part.clear()?;
                }
                tries.again(trouble, order.url, notes)?;
            }
        }
    }
    Ok(())
}

/// One try. Outside: the disk, or a file that cannot be the right one; inside: the network.
fn attempt(
    order: &Order<'_>,
    size: Option<u64>,
    part: &mut Part,
    notes: Notes<'_>,
) -> Result<Result<(), Trouble>, Failure> {
    let mut answer = match http::get(order.url, part.rest(), order.patience) {
        Ok(answer) => answer,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let total = match answer.part {
        Some((_, total)) if part.total().is_some_and(|known| known != total) => {
            return Ok(Err(Trouble::NoRest("it sends the rest of another file".to_owned())));
        }
        Some((_, total)) => Some(total),
        None => answer.length,
    };
    if let (Some(size), Some(total)) = (size, total)
        && size != total
    {
        part.remove()?;
        return Err(Failure::Wrong(format!(
            "{} has {total} bytes, and the file that is pinned has {size}; nothing of it was kept",
            order.url.as_str()
        )));
    }
    let limit = size.or(total).unwrap_or(LARGEST);
    if limit > LARGEST {
        part.remove()?;
        return Ok(Err(Trouble::Lasting(format!("it has {}, which no image has", mib(limit)))));
    }
    if answer.part.is_some() {
        part.go_on();
    } else {
        if part.have() > 0 {
            notes(Note::Said("the server sends the file from its start: it has changed, or cannot be resumed"));
        }
        part.begin(answer.validator.take(), total)?;
    }
    let mut told = Instant::now();
    loop {
        match answer.next() {
            Ok(Some(piece)) if part.have() + piece.len() as u64 > limit => {
                part.remove()?;
                return Ok(Err(Trouble::Lasting(format!("it sends more than {}, and does not end", mib(limit)))));
            }
            Ok(Some(piece)) => part.add(&piece)?,
            Ok(None) => break,
            Err(trouble) => return Ok(Err(trouble)),
        }
        if told.elapsed() > Duration::from_millis(200) {
            notes(Note::Bytes(part.have(), total.or(size)));
            told = Instant::now();
        }
    }
    notes(Note::Bytes(part.have(), Some(part.have())));
    match total.or(size) {
        Some(whole) if part.have() < whole => Ok(Err(Trouble::Passing("the connection broke off".to_owned()))),
        _ => Ok(Ok(())),
    }
}

/// How often it has been tried in vain, and the wait before the next try.
struct Tries {
    count: u32,
    first: Duration,
}

impl Tries {
    fn new(patience: Duration) -> Self {
        // A second, then two, and so on, for who waits half a minute for a silent server.
        Tries { count: 0, first: patience / 30 }
    }

    fn fresh(&mut self) {
        self.count = 0;
    }

    /// Waits before the next try; an error where there is to be none.
    fn again(&mut self, trouble: Trouble, url: &Url, notes: Notes<'_>) -> Result<(), Failure> {
        self.count += 1;
        let why = match trouble {
            Trouble::Interrupted => return Err(stopped().into()),
            Trouble::Lasting(why) => return Err(anyhow!("could not fetch {}: {why}", url.as_str()).into()),
            Trouble::Passing(why) | Trouble::NoRest(why) => why,
        };
        if self.count >= TRIES {
            return Err(anyhow!(
                "could not fetch {}: {why}; {TRIES} tries were in vain. What has come is kept: try again later, or take \
                 it from a mirror with --url",
                url.as_str()
            )
            .into());
        }
        notes(Note::Said(&format!("{why}; trying again ({} of {TRIES})", self.count + 1)));
        let until = Instant::now() + self.first * 2u32.pow(self.count - 1);
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if interrupted() {
                return Err(stopped().into());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        Ok(())
    }
}

fn matches(order: &Order<'_>, digest: &Digest, part: &Part, notes: Notes<'_>) -> Result<bool, Failure> {
    notes(Note::Said(match order.wanted {
        Wanted::Pinned { .. } => "checking it against the lock",
        Wanted::Listed(_) => "checking it against the vendor's checksum",
    }));
    Ok(hash(&part.path(), digest, notes)? == *digest)
}

/// What a file hashes to, by the algorithm of `like`.
fn hash(path: &Path, like: &Digest, notes: Notes<'_>) -> Result<Digest> {
    let no = || format!("could not read {}", path.display());
    let mut file = File::open(path).with_context(no)?;
    let size = file.metadata().with_context(no)?.len();
    let mut hasher = Hasher::new(like.algorithm());
    let mut buffer = vec![0; 1 << 20];
    let (mut done, mut told) = (0, Instant::now());
    loop {
        if interrupted() {
            return Err(stopped());
        }
        let read = file.read(&mut buffer).with_context(no)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        done += read as u64;
        if told.elapsed() > Duration::from_secs(1) {
            notes(Note::Bytes(done, Some(size)));
            told = Instant::now();
        }
    }
}

/// A disk that stands on its own. A qcow2 file may name another file of ours for QEMU to read, and no image from
/// elsewhere gets to choose that.
fn qcow2(path: &Path) -> Result<()> {
    let mut head = [0; 80];
    let mut file = File::open(path).with_context(|| format!("could not read {}", path.display()))?;
    let whole = file.read_exact(&mut head);
    let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| head[at + i]));
    if whole.is_err() || !head.starts_with(b"QFI\xfb") {
        bail!("what came is what it should be, but no qcow2 disk; nothing of it was kept");
    }
    let version = number(4) >> 32;
    // From version 3 on, bit 2 of the incompatible features is an external data file.
    if number(8) != 0 || version >= 3 && number(72) & 4 != 0 {
        bail!("what came is a disk that stands on another file, which no official image does; nothing of it was kept");
    }
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_stands_on_its_own() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("disk");
        let mut head = b"QFI\xfb\0\0\0\x03".to_vec();
        head.resize(104, 0);
        fs::write(&path, &head)?;
        qcow2(&path)?;
        for (at, byte, what) in [(0, 0, "no qcow2"), (15, 1, "another file"), (79, 4, "another file")] {
            let mut bad = head.clone();
            bad[at] = byte;
            fs::write(&path, &bad)?;
            assert!(qcow2(&path).is_err_and(|e| e.to_string().contains(what)), "{at}");
        }
        // In version 2 there are no features: the same bytes are something else.
        head[7] = 2;
        head[79] = 4;
        fs::write(&path, &head)?;
        qcow2(&path)
    }
}
