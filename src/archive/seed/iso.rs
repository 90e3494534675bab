//! An ISO 9660 volume labelled `cidata`, with Rock Ridge and Joliet names.
//!
//! Our own writer, because no released crate writes the same bytes twice. The volume is one flat directory, told twice:
//! once with 8.3 names that carry the true ones as Rock Ridge fields, once with Joliet's. Every file starts a sector:
//!
//! ```text
//! 0..16  empty            21  Joliet path table, little-endian
//!    16  primary volume   22  Joliet path table, big-endian
//!    17  Joliet volume    23  the Rock Ridge notice
//!    18  end of volumes   24  primary root, then Joliet root,
//! 19,20  path tables          then the files
//! ```
use std::io;

use super::short::{Short, short_names};
use super::{Moment, check};

const SECTOR: usize = 2048;
const LABEL: &str = "cidata";
const PATHS: u32 = 19;
const JOLIET_PATHS: u32 = 21;
const NOTICE: u32 = 23;
const ROOT: u32 = 24;

/// A NoCloud seed as an ISO 9660 volume.
///
/// `time` is in seconds since 1970 and stands on every entry. Every file is root's, with mode 0444.
pub fn iso(files: &[(&str, &[u8])], time: u32) -> io::Result<Vec<u8>> {
    let files = check(files)?;
    let now = Moment::new(time);
    let short = short_names(&files);
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    // The size of a directory depends on its names alone, so the first round may lie about places.
    let nowhere = vec![Extent::NONE; files.len()];
    let root = Extent { sector: ROOT, bytes: primary_root(Extent::NONE, &short, &names, &nowhere, now).len() as u32 };
    let joliet = Extent { sector: root.end(), bytes: joliet_root(Extent::NONE, &names, &nowhere, now).len() as u32 };
    let mut end = joliet.end();
    let mut extents = Vec::new();
    for (_, data) in &files {
        let extent = Extent { sector: end, bytes: data.len() as u32 };
        // An empty file has a sector too, so that no extent lies outside the volume or on another file.
        end = extent.end().max(end + 1);
        extents.push(extent);
    }

    let mut image = vec![0; end as usize * SECTOR];
    let mut put = |sector: u32, bytes: &[u8]| image[sector as usize * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    put(16, &volume(Names::Primary, end, root, now));
    put(17, &volume(Names::Joliet, end, joliet, now));
    put(18, b"\xffCD001\x01");
    for (table, root) in [(PATHS, root.sector), (JOLIET_PATHS, joliet.sector)] {
        put(table, &path_table(root.to_le_bytes(), [1, 0]));
        put(table + 1, &path_table(root.to_be_bytes(), [0, 1]));
    }
    put(NOTICE, &rock_ridge_notice());
    put(root.sector, &primary_root(root, &short, &names, &extents, now));
    put(joliet.sector, &joliet_root(joliet, &names, &extents, now));
    for ((_, data), extent) in files.iter().zip(&extents) {
        put(extent.sector, data);
    }
    Ok(image)
}

#[derive(Clone, Copy)]
struct Extent {
    sector: u32,
    bytes: u32,
}

impl Extent {
    const NONE: Extent = Extent { sector: 0, bytes: 0 };

    fn end(self) -> u32 {
        self.sector + self.bytes.div_ceil(SECTOR as u32)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Names {
    Primary,
    Joliet,
}

/// Numbers stand twice in most fields, little-endian first.
fn both32(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn both16(number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// The 7-byte date of directory records and of Rock Ridge; the last byte is the time zone, UTC.
fn date7(now: Moment) -> [u8; 7] {
    [(now.year - 1900) as u8, now.month, now.day, now.hour, now.minute, now.second, 0]
}

/// A volume descriptor: the primary one, or Joliet's, which differs in names and escape sequence.
fn volume(names: Names, sectors: u32, root: Extent, now: Moment) -> Vec<u8> {
    let mut block = vec![0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let text = |text: &str, width: usize| {
        let (mut bytes, blank) = match names {
            Names::Primary => (text.as_bytes().to_vec(), &b" "[..]),
            Names::Joliet => (ucs2(text), &b"\0 "[..]),
        };
        while bytes.len() + blank.len() <= width {
            bytes.extend(blank);
        }
        bytes
    };
    put(0, if names == Names::Primary { b"\x01CD001\x01" } else { b"\x02CD001\x01" });
    put(8, &text("", 32));
    put(40, &text(LABEL, 32));
    put(80, &both32(sectors));
    if names == Names::Joliet {
        put(88, b"%/E");
    }
    put(120, &both16(1));
    put(124, &both16(1));
    put(128, &both16(SECTOR as u16));
    let paths = if names == Names::Primary { PATHS } else { JOLIET_PATHS };
    put(132, &both32(path_table([0; 4], [0; 2]).len() as u32));
    put(140, &paths.to_le_bytes());
    put(148, &(paths + 1).to_be_bytes());
    put(156, &record(b"\0", root, Kind::Directory, now, &[]));
    put(190, &text("", 128));
    put(318, &text("", 128));
    put(446, &text("", 128));
    put(574, &text("HARDTACK", 128));
    for file in [702, 739, 776] {
        put(file, &text("", 37));
    }
    let Moment { year, month, day, hour, minute, second } = now;
    let made = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0");
    put(813, made.as_bytes());
    put(830, made.as_bytes());
    // It never expires, and it has been valid always.
    put(847, b"0000000000000000\0");
    put(864, b"0000000000000000\0");
    put(881, &[1]);
    block
}

/// The table of all directories: the root, which is its own parent.
fn path_table(root: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    [&[1, 0][..], &root, &parent, &[0, 0]].concat()
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    Directory,
}

/// A directory record; `extra` are the Rock Ridge fields.
fn record(name: &[u8], place: Extent, kind: Kind, now: Moment, extra: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(both32(place.sector));
    bytes.extend(both32(place.bytes));
    bytes.extend(date7(now));
    bytes.extend([if kind == Kind::Directory { 2 } else { 0 }, 0, 0]);
    bytes.extend(both16(1));
    bytes.push(name.len() as u8);
    bytes.extend(name);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes.extend(extra);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes[0] = bytes.len() as u8;
    bytes
}

/// The sectors of a directory; a record never crosses from one sector into the next.
fn directory(records: Vec<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        if bytes.len() % SECTOR + record.len() > SECTOR {
            bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        }
        bytes.extend(record);
    }
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    bytes
}

fn primary_root(own: Extent, short: &[Short], names: &[&str], extents: &[Extent], now: Moment) -> Vec<u8> {
    let of_directory = attributes(Kind::Directory, now);
    let notice = [both32(NOTICE), both32(0), both32(rock_ridge_notice().len() as u32)].concat();
    // Rock Ridge is on when the root's own record starts with SP; CE says where the notice, too long for here, stands.
    let first = [field(b"SP", &[0xbe, 0xef, 0]), of_directory.clone(), field(b"CE", &notice)].concat();
    let mut records = vec![
        record(b"\0", own, Kind::Directory, now, &first),
        record(b"\x01", own, Kind::Directory, now, &of_directory),
    ];
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|at| &short[*at]);
    records.extend(order.into_iter().map(|at| {
        let name = field(b"NM", &[&[0], names[at].as_bytes()].concat());
        let extra = [name, attributes(Kind::File, now)].concat();
        record(short[at].identifier().as_bytes(), extents[at], Kind::File, now, &extra)
    }));
    directory(records)
}

fn joliet_root(own: Extent, names: &[&str], extents: &[Extent], now: Moment) -> Vec<u8> {
    let mut records =
        vec![record(b"\0", own, Kind::Directory, now, &[]), record(b"\x01", own, Kind::Directory, now, &[])];
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|at| names[*at].rsplit_once('.').unwrap_or((names[*at], "")));
    // No ";1" behind the name: readers that do not cut it off would show it.
    records.extend(order.into_iter().map(|at| record(&ucs2(names[at]), extents[at], Kind::File, now, &[])));
    directory(records)
}

/// A System Use field: signature, length, version, body.
fn field(signature: &[u8; 2], body: &[u8]) -> Vec<u8> {
    [&signature[..], &[(4 + body.len()) as u8, 1], body].concat()
}

/// PX, the mode, links and owner; and TF, the times of modification, access and change.
fn attributes(kind: Kind, now: Moment) -> Vec<u8> {
    let (mode, links) = if kind == Kind::Directory { (0o040_555, 2) } else { (0o100_444, 1) };
    let owner = [both32(mode), both32(links), both32(0), both32(0)].concat();
    let times = [&[0x0e][..], &date7(now), &date7(now), &date7(now)].concat();
    [field(b"PX", &owner), field(b"TF", &times)].concat()
}

/// ER, the words by which a reader knows Rock Ridge; mkisofs has the same.
fn rock_ridge_notice() -> Vec<u8> {
    const NAME: &str = "RRIP_1991A";
    const WHAT: &str = "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";
    const WHERE: &str = "PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN PRIMARY \
                         VOLUME DESCRIPTOR FOR CONTACT INFORMATION.";
    let lengths = [NAME.len() as u8, WHAT.len() as u8, WHERE.len() as u8, 1];
    field(b"ER", &[&lengths, NAME.as_bytes(), WHAT.as_bytes(), WHERE.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_content_and_the_time() {
        let files: [(&str, &[u8]); 2] = [("user-data", b"#cloud-config\n"), ("meta-data", b"")];
        let image = iso(&files, 1_763_837_167).expect("iso");
        assert!(image == iso(&files, 1_763_837_167).expect("iso"));
        assert!(image != iso(&files, 1_763_837_168).expect("iso"));
        // 24 sectors before the roots, the two roots, and one for each file.
        assert_eq!(image.len(), 28 * SECTOR);
        assert_eq!(&image[16 * SECTOR + 40..][..8], b"cidata  ");
        assert_eq!(&image[16 * SECTOR + 813..][..17], b"2025112218460700\0");
    }

    #[test]
    fn path_tables_in_both_orders() {
        // isoinfo and Linux go by the root's record alone; other readers go by these.
        let image = iso(&[], 0).expect("iso");
        let table = |sector: usize| &image[sector * SECTOR..][..10];
        assert_eq!(table(19), [1, 0, 24, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(table(20), [1, 0, 0, 0, 0, 24, 0, 1, 0, 0]);
        assert_eq!(table(21), [1, 0, 25, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(table(22), [1, 0, 0, 0, 0, 25, 0, 1, 0, 0]);
        let places = |volume: usize| image[volume * SECTOR + 132..][..24].to_vec();
        let expected = |little, big| {
            let size = [10, 0, 0, 0, 0, 0, 0, 10];
            [size, [little, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, big, 0, 0, 0, 0]].concat()
        };
        assert_eq!(places(16), expected(19, 20));
        assert_eq!(places(17), expected(21, 22));
    }

    #[test]
    fn a_full_directory_keeps_records_whole() {
        let names: Vec<String> = (0..64).map(|n| format!("{}{n:02}", "name-".repeat(12))).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
        let image = iso(&files, 0).expect("iso");
        // Walk the primary root as a reader does, and find every file's bytes where its record says.
        let number = |at: usize| u32::from_le_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]]) as usize;
        let (mut at, bytes) = (ROOT as usize * SECTOR, number(16 * SECTOR + 156 + 10));
        let (end, mut seen) = (at + bytes, 0);
        while at < end {
            let length = usize::from(image[at]);
            if length == 0 {
                at = at.next_multiple_of(SECTOR);
                continue;
            }
            assert!(at % SECTOR + length <= SECTOR);
            if image[at + 25] & 2 == 0 {
                let data = &image[number(at + 2) * SECTOR..][..number(at + 10)];
                assert!(image[at..at + length].windows(data.len()).any(|part| part == data));
                seen += 1;
            }
            at += length;
        }
        assert_eq!(seen, 64);
    }
}
