//! A FAT volume labelled `CIDATA`, through `fatfs`.
use std::io::{self, Cursor, Read, Write};

use fatfs::{Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time};

use super::{MOST_BYTES, Moment, check};
use crate::archive::digest::sha256;

const SECTOR: usize = 512;
const LABEL: [u8; 11] = *b"CIDATA     ";
/// FAT ends in 2107, after the last moment of a `u32`, and starts here.
const YEAR_1980: u32 = 315_532_800;

/// A NoCloud seed as a FAT volume.
///
/// `time` is in seconds since 1970 and stands on every entry; before 1980 it counts as 1980. The volume's serial number
/// comes from the names and bytes of the files, and the volume is as large as they need.
pub fn vfat(files: &[(&str, &[u8])], time: u32) -> io::Result<Vec<u8>> {
    let files = check(files)?;
    let layout = Layout::of(&files)?;
    let now = Moment::new(time.max(YEAR_1980));
    let mut image = vec![0; layout.sectors * SECTOR];
    let options = FormatVolumeOptions::new()
        .bytes_per_cluster(layout.cluster as u32)
        .max_root_dir_entries(layout.root_entries as u16)
        .volume_id(serial(&files))
        .volume_label(LABEL);
    fatfs::format_volume(Cursor::new(image.as_mut_slice()), options)?;
    let volume = FileSystem::new(Cursor::new(image.as_mut_slice()), FsOptions::new())?;
    for (name, data) in &files {
        let mut file = volume.root_dir().create_file(name)?;
        file.write_all(data)?;
        stamp(&mut file, now);
        file.flush()?;
    }
    volume.unmount()?;
    stamp_label(&mut image, now)?;
    Ok(image)
}

/// The files in the root of such a volume, by name.
pub fn files(volume: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut copy = volume.to_vec();
    let volume = FileSystem::new(Cursor::new(copy.as_mut_slice()), FsOptions::new())?;
    let mut found = Vec::new();
    for entry in volume.root_dir().iter() {
        let entry = entry?;
        if entry.is_file() {
            let mut data = Vec::new();
            entry.to_file().take(MOST_BYTES as u64).read_to_end(&mut data)?;
            found.push((entry.file_name(), data));
        }
    }
    found.sort();
    Ok(found)
}

struct Layout {
    sectors: usize,
    cluster: usize,
    root_entries: usize,
}

impl Layout {
    /// Always FAT12, with clusters that grow with the content: readers tell FAT12 from FAT16 by the number of clusters
    /// alone (4085), and we stay away from the edge. One kind of volume is also one kind to test.
    fn of(files: &[(&str, &[u8])]) -> io::Result<Self> {
        const MOST_CLUSTERS: usize = 4000;
        // The label, then for each file the short name and 13 characters of the long one per entry; one stays free,
        // the mark of the end. A sector holds 16.
        let names: usize = files.iter().map(|(name, _)| 1 + name.len().div_ceil(13)).sum();
        let root_entries = (1 + names + 1).next_multiple_of(16);
        let root = root_entries / 16;
        for cluster in (0..7).map(|shift| SECTOR << shift) {
            let clusters = 1 + files.iter().map(|(_, data)| data.len().div_ceil(cluster)).sum::<usize>();
            if clusters > MOST_CLUSTERS {
                continue;
            }
            // 12 bits a cluster, two reserved, and one sector more than needed: fatfs rounds up its own way.
            let table = ((clusters + 2) * 3).div_ceil(2).div_ceil(SECTOR) + 1;
            let sectors = 1 + 2 * table + root + clusters * (cluster / SECTOR);
            // fatfs wants more than 8 sectors beside the boot sector and the root.
            let sectors = sectors.max(root + 10).next_multiple_of(8);
            return Ok(Layout { sectors, cluster, root_entries });
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the seed is too large for a FAT12 volume"))
    }
}

/// The volume's serial number. Lengths are hashed too, so that no two sets of files are one message.
fn serial(files: &[(&str, &[u8])]) -> u32 {
    let lengths: Vec<[u8; 16]> =
        files.iter().map(|(name, data)| (((name.len() as u128) << 64) | data.len() as u128).to_le_bytes()).collect();
    let pieces: Vec<&[u8]> =
        files.iter().zip(&lengths).flat_map(|((name, data), length)| [&length[..], name.as_bytes(), data]).collect();
    let hash = sha256(&pieces);
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[expect(deprecated, reason = "the other way, a TimeProvider, must be 'static, so it could not hold our time")]
fn stamp(file: &mut fatfs::File<'_, Cursor<&mut [u8]>>, now: Moment) {
    let date = Date { year: now.year, month: now.month.into(), day: now.day.into() };
    let time = Time { hour: now.hour.into(), min: now.minute.into(), sec: now.second.into(), millis: 0 };
    file.set_created(DateTime { date, time });
    file.set_accessed(date);
    file.set_modified(DateTime { date, time });
}

/// fatfs leaves the label's entry, the first of the root, without a date: month 0 of 1980.
fn stamp_label(image: &mut [u8], now: Moment) -> io::Result<()> {
    let field = |at: usize| usize::from(u16::from_le_bytes([image[at], image[at + 1]]));
    let (reserved, tables, table) = (field(14), usize::from(image[16]), field(22));
    let at = (reserved + tables * table) * SECTOR;
    let entry = image
        .get_mut(at..at + 32)
        .filter(|entry| entry.starts_with(&LABEL))
        .ok_or_else(|| io::Error::other("this is a bug in hardtack: the FAT volume has no label"))?;
    let (hour, minute, second) = (u16::from(now.hour), u16::from(now.minute), u16::from(now.second));
    let time = (hour << 11) | (minute << 5) | (second / 2);
    let date = ((now.year - 1980) << 9) | (u16::from(now.month) << 5) | u16::from(now.day);
    entry[22..24].copy_from_slice(&time.to_le_bytes());
    entry[24..26].copy_from_slice(&date.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(image: &mut [u8]) -> Vec<(String, Vec<u8>)> {
        let volume = FileSystem::new(Cursor::new(&mut *image), FsOptions::new()).expect("a FAT volume");
        assert_eq!(volume.fat_type(), fatfs::FatType::Fat12);
        drop(volume);
        files(image).expect("files")
    }

    #[test]
    fn reads_back_at_every_size() {
        // Around sectors, and around the first changes of the cluster size.
        let edges = [0, 1, 511, 512, 513, 2047, 2048, 2049, 3 << 20];
        let steps = (0..3).flat_map(|shift| [0, 1].map(|more| 3999 * (512 << shift) + more));
        for size in edges.into_iter().chain(steps) {
            let data: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut image = vfat(&[("user-data", &data)], 0).expect("vfat");
            let found = read_back(&mut image);
            assert!(found == [("user-data".to_owned(), data)], "{size}");
        }
    }

    #[test]
    fn as_many_and_as_long_names_as_allowed() {
        let names: Vec<String> = (0..64).map(|n| format!("{}{n:02}", "name-".repeat(12))).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
        let found = read_back(&mut vfat(&files, 0).expect("vfat"));
        let expected: Vec<_> = names.iter().map(|name| (name.clone(), name.clone().into_bytes())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn serial_follows_the_content_alone() {
        let serial = |files: &[(&str, &[u8])], time| vfat(files, time).expect("vfat")[39..43].to_vec();
        let one = serial(&[("user-data", b"u")], 0);
        assert_eq!(one, serial(&[("user-data", b"u")], 2_000_000_000));
        assert_ne!(one, serial(&[("user-data", b"v")], 0));
        assert_ne!(serial(&[("ab", b"c")], 0), serial(&[("a", b"bc")], 0));
    }

    #[test]
    fn time_is_on_every_entry() {
        let image = vfat(&[("user-data", b"u")], 1_763_837_167).expect("vfat");
        let before_fat = vfat(&[("user-data", b"u")], 0).expect("vfat");
        // The boot sector, two tables of one sector, then the root.
        let entry = |image: &[u8], n: usize| image[3 * SECTOR + 32 * n..][..32].to_vec();
        let (label, file) = (entry(&image, 0), entry(&image, 2));
        assert_eq!(&label[..11], b"CIDATA     ");
        assert_eq!(&file[..11], b"USER-D~1   ");
        let (date, time) = ((45_u16 << 9 | 11 << 5 | 22).to_le_bytes(), (18_u16 << 11 | 46 << 5 | 3).to_le_bytes());
        for (entry, place, expected) in
            [(&label, 22, time), (&label, 24, date), (&file, 14, time), (&file, 16, date), (&file, 18, date)]
                .into_iter()
                .chain([(&file, 22, time), (&file, 24, date)])
        {
            assert_eq!(entry[place..place + 2], expected, "at {place}");
        }
        assert_eq!(entry(&before_fat, 2)[22..26], [0, 0, 0x21, 0]);
    }
}
