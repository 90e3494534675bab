//! A directory of files in memory; `write` puts it on disk.
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::digest::sha256_hex;

pub use write::WriteError;

/// A regular file. It may hold a secret, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The permission bits, as on disk; the umask changes nothing.
    pub mode: u32,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Files by relative, `/`-separated path, sorted by bytes. Directories are there because a file is in them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, Entry>,
    private: BTreeSet<String>,
}

impl Tree {
    /// A tree without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn insert(&mut self, path: &str, mode: u32, data: impl Into<Vec<u8>>) -> Result<(), BadPath> {
        check_path(path)?;
        let below = format!("{path}/");
        let inside = |other: &String| other.starts_with(&below);
        let above = parents(path).find(|parent| self.files.contains_key(*parent));
        if self.files.contains_key(path) {
            return Err(BadPath::Twice(path.to_owned()));
        } else if let Some(above) = above {
            return Err(BadPath::FileAndDirectory(above.to_owned()));
        } else if self.private.contains(path) || self.files.keys().chain(&self.private).any(inside) {
            return Err(BadPath::FileAndDirectory(path.to_owned()));
        }
        self.files.insert(path.to_owned(), Entry { mode, data: data.into() });
        Ok(())
    }

    /// Gives a directory mode 0700 instead of 0755; the empty path is the tree's root. The directory is written even
    /// when no file is in it.
    pub fn private(&mut self, directory: &str) -> Result<(), BadPath> {
        if !directory.is_empty() {
            check_path(directory)?;
        }
        if let Some(file) = parents(directory).chain([directory]).find(|path| self.files.contains_key(*path)) {
            return Err(BadPath::FileAndDirectory(file.to_owned()));
        }
        self.private.insert(directory.to_owned());
        Ok(())
    }

    /// The file at a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.files.get(path)
    }

    /// All files, sorted by the bytes of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.files.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The text of a SHA256SUMS file, for `sha256sum -c`.
    pub fn sums(&self) -> String {
        self.iter().map(|(path, entry)| format!("{}  {path}\n", sha256_hex(&entry.data))).collect()
    }
}

/// Every directory above a path, nearest last; the root is "".
fn parents(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.match_indices('/').map(|(at, _)| &path[..at]);
    (!path.is_empty()).then_some("").into_iter().chain(inner)
}

fn check_path(path: &str) -> Result<(), BadPath> {
    if path.starts_with('/') {
        return Err(BadPath::Absolute(path.to_owned()));
    }
    // The backslash is harmless on disk, but sha256sum escapes it.
    if path.contains(|character: char| character.is_control() || character == '\\') {
        return Err(BadPath::Character(path.to_owned()));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(BadPath::Part(path.to_owned()));
    }
    Ok(())
}

/// A path that cannot be a file's or a directory's in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadPath {
    /// It starts at the root of the file system.
    Absolute(String),
    /// A part of it is empty, `.` or `..`.
    Part(String),
    /// It has a control character or a backslash.
    Character(String),
    /// There is such a file already.
    Twice(String),
    /// It would be a file and a directory.
    FileAndDirectory(String),
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, what) = match self {
            Self::Absolute(path) => (path, "is not relative"),
            Self::Part(path) => (path, "has a part that is empty, `.` or `..`"),
            Self::Character(path) => (path, "has a control character or a backslash"),
            Self::Twice(path) => (path, "is there twice"),
            Self::FileAndDirectory(path) => (path, "is a file and also a directory"),
        };
        write!(f, "the path {path:?} {what}")
    }
}

impl std::error::Error for BadPath {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for path in paths {
            tree.insert(path, 0o644, *path).expect("a good path");
        }
        tree
    }

    #[test]
    fn refused_paths() {
        let check = |path: &str, what: &str| {
            let mut tree = tree(&["a", "d/e/f", "ö b"]);
            let error = tree.insert(path, 0o644, "").expect_err(path);
            assert_eq!(error.to_string(), format!("the path {what}"));
            assert_eq!(tree.len(), 3);
        };
        check("", "\"\" has a part that is empty, `.` or `..`");
        check("/etc/passwd", "\"/etc/passwd\" is not relative");
        for path in [".", "..", "x/../y", "../x", "x/..", "./x", "x/", "x//y"] {
            check(path, &format!("{path:?} has a part that is empty, `.` or `..`"));
        }
        for path in ["x\0", "x\ny", "\u{7f}", "x\u{85}", "x\\y"] {
            check(path, &format!("{path:?} has a control character or a backslash"));
        }
        check("a", "\"a\" is there twice");
        check("d/e/f", "\"d/e/f\" is there twice");
        check("a/b", "\"a\" is a file and also a directory");
        check("a/b/c", "\"a\" is a file and also a directory");
        check("d", "\"d\" is a file and also a directory");
        check("d/e", "\"d/e\" is a file and also a directory");
    }

    #[test]
    fn private_is_a_directory() {
        let mut tree = tree(&["a", "d/e"]);
        for path in ["a", "a/b", "d/e", "d/e/f"] {
            assert!(matches!(tree.private(path), Err(BadPath::FileAndDirectory(_))), "{path}");
        }
        assert_eq!(tree.private("/x"), Err(BadPath::Absolute("/x".to_owned())));
        for path in ["", "d", "s/t"] {
            tree.private(path).expect(path);
        }
        for path in ["s", "s/t"] {
            assert_eq!(tree.insert(path, 0o600, ""), Err(BadPath::FileAndDirectory(path.to_owned())));
        }
        tree.insert("s/t/key", 0o600, "").expect("in a private directory");
    }

    #[test]
    fn order_is_by_bytes() {
        let tree = tree(&["b", "a/b", "a-b", "a.b", "B", "é"]);
        let paths: Vec<&str> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["B", "a-b", "a.b", "a/b", "b", "é"]);
        assert!(tree.get("a/b").is_some_and(|entry| entry.mode == 0o644 && entry.data == b"a/b"));
        assert!(tree.get("a").is_none());
    }

    #[test]
    fn sums() {
        let mut tree = Tree::new();
        tree.insert("b/c", 0o600, "abc").expect("a good path");
        tree.insert("a", 0o644, "").expect("a good path");
        assert_eq!(
            tree.sums(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b/c\n"
        );
    }
}
