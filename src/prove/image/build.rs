//! Makes an image: packages to a tree of files, the tree to a file system, the file system to a disk.
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::geteuid;

use super::sources::{self, Mirrors};
use super::{Built, Kind, LABEL, Package, Record, check_name, digest, directory, fresh, labels, open, vendor};
use crate::facts::Recipe;
use crate::prove::process::{self, Program};

/// A slow mirror may take this long.
const PACKAGES_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// Steps of mmdebstrap that it must leave out: the archives are kept for the next build, and we tidy up apt's files
/// ourselves, so that no apt runs after our hooks.
const SKIPPED: [&str; 3] = ["--skip=download/empty", "--skip=essential/unlink", "--skip=cleanup/apt"];

/// Unpacking and packing half a gigabyte on a slow disk.
pub(super) const DISK_LIMIT: Duration = Duration::from_secs(1800);

/// The image of this name ([`Kind::name`]), built if the cache has none or only one of another recipe.
///
/// Packages come from `mirror` (`URI` or `URI,SECURITY-URI`), else from where this host's own apt takes them.
/// What is downloaded and half done stays in the cache until the image is whole; an interrupted build goes on from there.
pub fn build(
    name: &str,
    recipe: &Recipe,
    mirror: Option<&str>,
    cache: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Built> {
    check_name(name)?;
    let kind = Kind::of(name);
    process::require(&["mmdebstrap", "mke2fs", "qemu-img", "unshare", "apt-get", "apt-config"])?;
    if kind == Kind::Vendor {
        process::require(&["sfdisk", "mkfs.vfat", "mcopy"])?;
        if recipe.boot_loader.is_empty() {
            bail!("the recipe of {name} names no boot loader");
        }
    }
    let builds = cache.join("build");
    fs::create_dir_all(&builds).with_context(|| format!("could not make {}", builds.display()))?;
    let _lock = lock(&builds.join(format!("{name}.lock")), progress)?;
    // Another build may just have made it.
    if let Some(built) = open(cache, name)?.filter(|built| fresh(built, recipe)) {
        return Ok(built);
    }
    let mirrors = mirror.map_or_else(Mirrors::of_this_host, Mirrors::given)?;
    if !mirrors.security() {
        progress("without security updates: no mirror of them is known");
    }
    let work = builds.join(name);
    fs::create_dir_all(&work).with_context(|| format!("could not make {}", work.display()))?;
    let rootfs = Rootfs::at(&work, recipe, kind);
    if rootfs.done() {
        progress("going on with the packages of an earlier, interrupted build");
    } else {
        progress("installing packages");
        rootfs.make(recipe, &mirrors, &work, progress)?;
    }
    let place = directory(cache);
    fs::create_dir_all(&place).with_context(|| format!("could not make {}", place.display()))?;
    let temporary = tempfile::Builder::new().prefix(&format!(".{name}-")).tempdir_in(&place)?;
    let fresh = temporary.path().join("image");
    fs::create_dir(&fresh)?;
    progress("making the disk");
    let (kernel, initrd) = (only(&rootfs.boot, "vmlinuz-")?, only(&rootfs.boot, "initrd.img-")?);
    let raw = temporary.path().join("raw");
    let labels = |root: &Path| match recipe.labelled {
        true => labels::write(root, &rootfs.boot.join("labels")),
        false => Ok(()),
    };
    match kind {
        Kind::Flat => {
            File::create(&raw)?.set_len(recipe.disk_mib << 20).context("could not make the disk")?;
            fill(&["-L", LABEL], &rootfs.content, &raw, None)?;
            labels(&raw)?;
            fs::copy(kernel, fresh.join("vmlinuz"))?;
            fs::copy(initrd, fresh.join("initrd"))?;
        }
        Kind::Vendor => {
            vendor::disk(&rootfs.content, &rootfs.boot.join("efi/EFI"), recipe.disk_mib, &raw)?;
            labels(&vendor::root(&raw))?;
        }
    }
    Program::new("qemu-img")
        .args(["convert", "-q", "-f", "raw", "-O", "qcow2"])
        .args([&raw, &fresh.join("disk.qcow2")])
        .deadline(DISK_LIMIT)
        .output()?;
    let record = Record {
        recipe: digest(recipe, kind),
        suite: recipe.suite.clone(),
        security: mirrors.security(),
        #[expect(clippy::disallowed_methods, reason = "when an image was built is no part of a bundle")]
        built: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        packages: packages(&fs::read_to_string(&rootfs.status).context("could not read the list of packages")?),
    };
    // Last, for an image without a record is none.
    fs::write(fresh.join("image.json"), serde_json::to_string_pretty(&record)? + "\n")?;
    replace(&fresh, &place.join(name), &temporary.path().join("old"))?;
    fs::remove_dir_all(&work).with_context(|| format!("could not tidy up {}", work.display()))?;
    open(cache, name)?.ok_or_else(|| anyhow!("the image {name} vanished while it was built"))
}

/// Hold the file's lock until the value is dropped; the kernel lets go of it when we die.
pub(in crate::prove) fn lock(path: &Path, progress: &mut dyn FnMut(&str)) -> Result<File> {
    let file = File::create(path).with_context(|| format!("could not make {}", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("could not lock {}", path.display()));
            }
            Err(TryLockError::WouldBlock) if process::interrupted() => bail!("interrupted"),
            Err(TryLockError::WouldBlock) => {
                if !told {
                    progress("waiting for another hardtack that makes or fetches the same");
                    told = true;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

/// The result of the long part, which an interrupted build leaves behind.
struct Rootfs {
    /// Everything that the image holds: for root a directory, else a tarball, for only root may make others' files.
    content: PathBuf,
    /// Its /boot.
    boot: PathBuf,
    /// Its dpkg status.
    status: PathBuf,
    kind: Kind,
}

impl Rootfs {
    fn at(work: &Path, recipe: &Recipe, kind: Kind) -> Self {
        let digest = &digest(recipe, kind)[..16];
        let form = if geteuid().is_root() { "tree" } else { "tar" };
        Rootfs {
            kind,
            content: work.join(format!("{digest}.{form}")),
            boot: work.join(format!("{digest}.boot")),
            status: work.join(format!("{digest}.status")),
        }
    }

    fn done(&self) -> bool {
        self.content.exists()
    }

    fn make(&self, recipe: &Recipe, mirrors: &Mirrors, work: &Path, progress: &mut dyn FnMut(&str)) -> Result<()> {
        let root = geteuid().is_root();
        let archives = work.join("archives");
        fs::create_dir_all(archives.join("partial"))?;
        let part = self.content.with_extension("part");
        for old in [&self.boot, &part] {
            remove(old)?;
        }
        fs::create_dir(&self.boot)?;
        let mut program = if root {
            // In namespaces of its own: when we die, all that it has started dies too, and its mounts are gone
            // with it. In the host's they would stay, and a later rm would reach through them (seen).
            Program::new("unshare")
                .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"])
                .args(["mmdebstrap", "--mode=root", "--format=directory"])
        } else {
            Program::new("mmdebstrap").args(["--mode=unshare", "--format=tar"])
        };
        program = program
            .arg("--variant=minbase")
            .args(SKIPPED)
            .arg(format!("--include={}", self.kind.packages(recipe).join(",")));
        for option in sources::options_of_this_host()? {
            program = program.arg(format!("--aptopt={option}"));
        }
        program
            .args(hooks(root, self.kind, recipe, &archives, &self.boot, &self.status)?)
            .arg(&recipe.suite)
            .arg(&part)
            .args(mirrors.lines(recipe))
            .deadline(PACKAGES_LIMIT)
            .without_farewell()
            .lines(&mut |line| {
                if let Some(line) = milestone(line) {
                    progress(line);
                }
            })
            .with_context(|| format!("could not install the packages of {}", recipe.suite))?;
        fs::rename(&part, &self.content).context("could not keep the packages")
    }
}

/// Remove a file or a whole directory, if there is one.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.with_context(|| format!("could not remove {}", path.display()))
}

/// Of all that mmdebstrap says, what a waiting person wants to read: its stages and warnings, not the text of its hooks.
fn milestone(line: &str) -> Option<&str> {
    if line.starts_with("W: ") {
        return Some(line);
    }
    line.strip_prefix("I: ").filter(|line| !line.starts_with("running "))
}

/// What mmdebstrap shall do beside installing. Its hooks are shell, so a path in them is quoted, and the only
/// script is a constant.
fn hooks(root: bool, kind: Kind, recipe: &Recipe, archives: &Path, boot: &Path, status: &Path) -> Result<Vec<String>> {
    let quoted = |path: &Path| -> Result<String> {
        let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        Ok(shlex::try_quote(text).with_context(|| format!("{text} holds a NUL"))?.into_owned())
    };
    let (archives, boot, status) = (quoted(archives)?, quoted(boot)?, quoted(status)?);
    let inside = "/var/cache/apt/archives";
    let mut hooks = if root {
        // Bound, in a mount namespace of mmdebstrap's own: what is downloaded stays, however the build ends.
        // mmdebstrap leaves a directory alone when it fails; for a tarball it would empty it, and the archives too.
        vec![
            format!("--setup-hook=mkdir -p \"$1\"{inside} && mount --bind {archives} \"$1\"{inside}"),
            format!("--customize-hook=umount \"$1\"{inside}"),
        ]
    } else {
        // The namespace's root may not write to our files; the special hooks copy from outside it.
        vec![
            format!("--setup-hook=mkdir -p \"$1\"{inside}"),
            format!("--setup-hook=sync-in {archives} {inside}"),
            format!("--essential-hook=sync-out {inside} {archives}"),
            format!("--customize-hook=sync-out {inside} {archives}"),
            format!("--customize-hook=rm -rf \"$1\"{inside} && mkdir -p \"$1\"{inside}/partial"),
        ]
    };
    hooks.push(format!("--customize-hook={}", kind.customise(recipe)));
    hooks.push(format!("--customize-hook=sync-out /boot {boot}"));
    if recipe.labelled {
        hooks.push("--customize-hook=rm \"$1\"/boot/labels".to_owned());
    }
    if kind == Kind::Vendor {
        // On the machine this is where the EFI system partition is mounted, and its files are there.
        hooks.push("--customize-hook=rm -r \"$1\"/boot/efi/EFI".to_owned());
    }
    hooks.push(format!("--customize-hook=download /var/lib/dpkg/status {status}"));
    Ok(hooks)
}

/// An ext4 file system in a raw file, in `mib` of it or all. No loop device and no mount: mke2fs fills it by itself, from
/// a directory, or from 1.47.1 on from a tarball.
pub(super) fn fill(options: &[&str], content: &Path, raw: &Path, mib: Option<u64>) -> Result<()> {
    Program::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4"])
        .args(options)
        .arg("-d")
        .args([content, raw])
        .args(mib.map(|mib| format!("{mib}M")))
        .deadline(DISK_LIMIT)
        .output()
        .map(drop)
        .with_context(|| match geteuid().is_root() {
            true => "could not fill the file system".to_owned(),
            false => "could not fill the file system (without root this needs e2fsprogs 1.47.1 or later)".to_owned(),
        })
}

/// The one file in `directory` whose name begins so.
fn only(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("could not list {}", directory.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!("the packages brought no {prefix}*: does the recipe name a kernel?"),
        _ => bail!("the packages brought more than one {prefix}*: the recipe must name one kernel"),
    }
}

/// Installed packages of a dpkg status file.
fn packages(status: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = status
        .split("\n\n")
        .filter_map(|stanza| {
            let field = |name: &str| stanza.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            (field("Status")? == "install ok installed")
                .then_some(Package { name: field("Package")?.to_owned(), version: field("Version")?.to_owned() })
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

/// Put `fresh` in the place of `place`. A crash in between leaves no image, never half of one.
pub(super) fn replace(fresh: &Path, place: &Path, old: &Path) -> Result<()> {
    if place.exists() {
        fs::rename(place, old).context("could not move the old image away")?;
    }
    fs::rename(fresh, place).with_context(|| format!("could not move the image to {}", place.display()))
}

#[cfg(test)]
mod tests;
