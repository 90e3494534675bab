//! How a tree reaches the disk: whole or not at all.
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use super::{Entry, Tree, parents};

impl Tree {
    /// Writes the tree as the directory `dest`, whose parent must exist.
    ///
    /// The tree is built beside `dest` and takes its place in one step. What stood there before goes when it is an empty
    /// directory, or a directory of which `is_ours` is true; anything else, a symbolic link too, is an error and stays
    /// as it is. After an error nothing has changed, unless the error says so.
    pub fn write(&self, dest: &Path, is_ours: &dyn Fn(&Path) -> bool) -> Result<(), WriteError> {
        let not_a_place = || WriteError::InTheWay { path: dest.to_owned(), what: "not a name for a new directory" };
        // A path that ends in "/" would make the look below follow a symbolic link.
        let name = dest.file_name().ok_or_else(not_a_place)?;
        let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty());
        let dest = parent.map_or_else(|| PathBuf::from(name), |parent| parent.join(name));
        let parent = parent.unwrap_or(Path::new("."));

        let replace = look(&dest, is_ours)?;
        // The parent is looked at first, and only the kind of a later error told: tempfile puts a random name in its own.
        fs::metadata(parent).map_err(failed("look at", parent))?;
        let mut stage = tempfile::Builder::new()
            .prefix(".hardtack-")
            .tempdir_in(parent)
            .map_err(|error| failed("make a temporary directory in", parent)(error.kind().into()))?;
        fs::set_permissions(&stage, only_ours()).map_err(failed("make a temporary directory in", parent))?;
        let built = stage.path().join("new");
        self.build(&built, &dest).map_err(|(path, error)| failed("write", &path)(error))?;
        if replace {
            swap(&mut stage, &built, &dest, is_ours)?;
        } else {
            fs::rename(&built, &dest).map_err(failed("write", &dest))?;
        }
        // The stage holds what was replaced.
        let left = stage.path().to_owned();
        stage.close().map_err(failed("remove the replaced bundle in", &left))
    }

    /// Writes the files under `root`; an error names the path that the file would have had under `dest`.
    fn build(&self, root: &Path, dest: &Path) -> Result<(), (PathBuf, io::Error)> {
        let at = |path: &str| below(root, path);
        let blame = |path: &str| {
            let path = below(dest, path);
            move |error| (path, error)
        };
        let owners = self.files.keys().chain(&self.private);
        let mut directories: BTreeSet<&str> = owners.flat_map(|path| parents(path)).collect();
        directories.extend(self.private.iter().map(String::as_str));
        directories.insert("");
        // Sorted by bytes, a directory comes before what is in it.
        for path in &directories {
            create_directory(&at(path)).map_err(blame(path))?;
        }
        for (path, entry) in &self.files {
            create_file(&at(path), entry).map_err(blame(path))?;
        }
        for path in directories.iter().rev() {
            let mode = if self.private.contains(*path) { 0o700 } else { 0o755 };
            let directory = at(path);
            fs::set_permissions(&directory, Permissions::from_mode(mode)).map_err(blame(path))?;
        }
        Ok(())
    }
}

/// A tree's path on disk; the root, "", without the slash that `join` would leave behind it.
fn below(root: &Path, path: &str) -> PathBuf {
    match path {
        "" => root.to_owned(),
        path => root.join(path),
    }
}

/// Whether a directory of ours is to be replaced; an error if something else is in the way.
fn look(dest: &Path, is_ours: &dyn Fn(&Path) -> bool) -> Result<bool, WriteError> {
    let in_the_way = |what| Err(WriteError::InTheWay { path: dest.to_owned(), what });
    match fs::symlink_metadata(dest) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look at", dest)(error)),
        Ok(found) if found.is_symlink() => in_the_way("a symbolic link"),
        Ok(found) if !found.is_dir() => in_the_way("not a directory"),
        Ok(_) if is_ours(dest) => Ok(true),
        // rename(2) itself replaces an empty directory, and refuses one that has been filled since.
        Ok(_) => match fs::read_dir(dest).map_err(failed("look at", dest))?.next() {
            None => Ok(false),
            Some(_) => in_the_way("a directory with other files"),
        },
    }
}

/// Puts `built` in the place of `dest`; what was there ends up in the stage.
fn swap(stage: &mut TempDir, built: &Path, dest: &Path, is_ours: &dyn Fn(&Path) -> bool) -> Result<(), WriteError> {
    match renameat_with(CWD, built, CWD, dest, RenameFlags::EXCHANGE) {
        // The stage is removed with what is in it: look again, now that no one else can move it.
        Ok(()) if is_ours(built) => Ok(()),
        Ok(()) => {
            renameat_with(CWD, built, CWD, dest, RenameFlags::EXCHANGE)
                .map_err(|error| strand(stage, built, dest, error.into()))?;
            Err(WriteError::InTheWay { path: dest.to_owned(), what: "a directory with other files" })
        }
        // An old kernel, or a file system that cannot.
        Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => swap_in_steps(stage, built, dest, is_ours),
        Err(error) => Err(failed("replace", dest)(error.into())),
    }
}

/// As [`swap`], with a moment in which `dest` does not exist.
fn swap_in_steps(
    stage: &mut TempDir,
    built: &Path,
    dest: &Path,
    is_ours: &dyn Fn(&Path) -> bool,
) -> Result<(), WriteError> {
    let old = stage.path().join("old");
    fs::rename(dest, &old).map_err(failed("replace", dest))?;
    let moved = match is_ours(&old) {
        true => fs::rename(built, dest).map_err(failed("replace", dest)),
        false => Err(WriteError::InTheWay { path: dest.to_owned(), what: "a directory with other files" }),
    };
    if moved.is_err() {
        fs::rename(&old, dest).map_err(|error| strand(stage, &old, dest, error))?;
    }
    moved
}

/// The old directory could not be put back. It must not vanish with the stage, so the stage stays.
fn strand(stage: &mut TempDir, kept: &Path, dest: &Path, cause: io::Error) -> WriteError {
    stage.disable_cleanup(true);
    WriteError::Stranded { path: dest.to_owned(), kept: kept.to_owned(), cause }
}

fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, only_ours())
}

/// The mode of a directory while it is being filled: not more, and whatever the umask not less.
fn only_ours() -> Permissions {
    Permissions::from_mode(0o700)
}

fn create_file(path: &Path, entry: &Entry) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&entry.data)?;
    // No fsync: that was half of a bake's time, and what it guards against, a power cut within seconds, is seen by
    // SHA256SUMS and mended by baking again.
    file.set_permissions(Permissions::from_mode(entry.mode & 0o7777))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |cause| WriteError::Failed { action, path, cause }
}

/// Why a tree was not written. The cause is in the words, not behind `source`.
#[derive(Debug)]
pub enum WriteError {
    /// Something stands at the destination that is not ours to replace.
    InTheWay {
        /// The destination.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file system refused.
    Failed {
        /// What was tried: "could not … `path`".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The old directory was moved away and could not be put back.
    Stranded {
        /// The destination.
        path: PathBuf,
        /// Where the old directory is now.
        kept: PathBuf,
        /// Why it could not be put back.
        cause: io::Error,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InTheWay { path, what } => {
                write!(f, "will not replace {}: it is {what}", path.display())
            }
            Self::Failed { action, path, cause } => write!(f, "could not {action} {}: {cause}", path.display()),
            Self::Stranded { path, kept, cause } => {
                write!(f, "could not put {} back, it is now {}: {cause}", path.display(), kept.display())
            }
        }
    }
}

impl std::error::Error for WriteError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stage with a new tree in it, and an old one beside the stage.
    fn before() -> (TempDir, TempDir, PathBuf, PathBuf) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let stage = tempfile::tempdir_in(&home).expect("a temporary directory");
        let (built, dest) = (stage.path().join("new"), home.path().join("dest"));
        for (directory, what) in [(&built, "new"), (&dest, "old")] {
            fs::create_dir(directory).expect("create");
            fs::write(directory.join("what"), what).expect("write");
        }
        (home, stage, built, dest)
    }

    fn what(directory: &Path) -> String {
        fs::read_to_string(directory.join("what")).expect("read")
    }

    /// A judge that changes its mind: someone put another directory there between the two looks.
    fn never_again(_: &Path) -> bool {
        false
    }

    #[test]
    fn both_ways_of_swapping() {
        for swap in [swap, swap_in_steps] {
            let (_home, mut stage, built, dest) = before();
            swap(&mut stage, &built, &dest, &|_| true).expect("swap");
            assert_eq!(what(&dest), "new");
        }
    }

    #[test]
    fn what_is_not_ours_after_all_goes_back() {
        for swap in [swap, swap_in_steps] {
            let (_home, mut stage, built, dest) = before();
            let error = swap(&mut stage, &built, &dest, &never_again).expect_err("must be refused");
            let expected = format!("will not replace {}: it is a directory with other files", dest.display());
            assert_eq!(error.to_string(), expected);
            assert_eq!(what(&dest), "old");
        }
    }

    #[test]
    fn in_steps_the_old_goes_back_when_the_new_is_missing() {
        let (_home, mut stage, built, dest) = before();
        fs::remove_dir_all(&built).expect("remove");
        let error = swap_in_steps(&mut stage, &built, &dest, &|_| true).expect_err("nothing to put there");
        let expected = format!("could not replace {}: No such file or directory (os error 2)", dest.display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(what(&dest), "old");
    }

    #[test]
    fn what_cannot_go_back_is_kept() {
        let (_home, mut stage, built, dest) = before();
        // The judge, called between the two steps, blocks the way back.
        let block = |_: &Path| {
            fs::write(&dest, "in the way").expect("write");
            false
        };
        let error = swap_in_steps(&mut stage, &built, &dest, &block).expect_err("must be refused");
        drop(stage);
        let WriteError::Stranded { kept, .. } = error else { panic!("{error}") };
        assert_eq!(what(&kept), "old");
    }
}
