//! A tar archive, packed by gzip: the same bytes from the same files, with no owner, no clock and no name of its own.

use super::tree::Tree;
use flate2::{Compression, GzBuilder};
use std::io::{self, Write};
use tar::{Builder, EntryType, Header};

/// Packs a tree. Files are root's and in the order of their paths; `time` is their age, in seconds since 1970.
///
/// # Errors
/// A file that is larger than a header can say, or a path that none can hold.
pub fn tar_gz(tree: &Tree, time: u32) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in tree.iter() {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_mtime(u64::from(time));
        header.set_size(entry.data.len() as u64);
        // More than 255 bytes, or a part of more than 100, is in a record of its own (pax(1)).
        if header.set_path(path).is_err() {
            builder.append_pax_extensions([("path", path.as_bytes())])?;
        }
        header.set_cksum();
        builder.append(&header, entry.data.as_slice())?;
    }
    gzip(&builder.into_inner()?)
}

/// Packs bytes as gzip does, without a name or a time (RFC 1952).
///
/// # Errors
/// None that memory does not give.
pub fn gzip(data: &[u8]) -> io::Result<Vec<u8>> {
    // 255 is "unknown": gzip(1) and the crate write the system that they were built for.
    let mut packer = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::best());
    packer.write_all(data)?;
    packer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::digest::sha256_hex;

    fn sample() -> Tree {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(120));
        let mut tree = Tree::new();
        for (path, mode, text) in [("a/b", 0o600, "secret\n"), ("ö", 0o755, ""), (long.as_str(), 0o644, "far away\n")]
        {
            tree.insert(path, mode, text).unwrap();
        }
        tree
    }

    #[test]
    fn the_same_files_are_the_same_bytes() {
        let packed = tar_gz(&sample(), 0).unwrap();
        assert_eq!(packed, tar_gz(&sample(), 0).unwrap());
        // Flags 0: no name; time 0; nobody's system.
        assert_eq!(packed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
        // Another packer under the same crate, or another release of it, would change what people have signed.
        assert_eq!(sha256_hex(&packed), "732b8b2b906b7a4de9527a506571fc90decc0874f43ae168f78886f57a7ad2dc");
    }
}
