//! A NoCloud seed volume: a small disk whose label makes cloud-init read it.
//!
//! cloud-init looks for a file system of type vfat or iso9660 labelled `CIDATA` or `cidata` and takes `user-data` and
//! `meta-data` from its root. Upper case is the custom on FAT, lower case on ISO 9660.
mod iso;
mod short;
mod vfat;

use std::io;

pub use iso::iso;
pub use vfat::{files, vfat};

/// More than any seed needs, and small enough that every size and sector number below fits its field.
const MOST_BYTES: usize = 64 << 20;
const MOST_FILES: usize = 64;
/// Joliet's limit; FAT and Rock Ridge allow more.
const LONGEST_NAME: usize = 64;

/// The files in the order in which they are written, whatever order the caller had; or why they cannot be a seed.
///
/// Lower case only: FAT and Joliet readers ignore case, so that `User-Data` beside `user-data` would be one file in one
/// volume and two in the other.
fn check<'a>(files: &[(&'a str, &'a [u8])]) -> io::Result<Vec<(&'a str, &'a [u8])>> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let mut sorted = files.to_vec();
    sorted.sort_by_key(|(name, _)| *name);
    for (name, _) in &sorted {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.len() > LONGEST_NAME {
            return refuse(format!("the seed's file name {name:?} is not 1 to {LONGEST_NAME} bytes long"));
        }
        if !bytes.iter().all(|byte| plain(*byte) || b"-_.".contains(byte)) {
            return refuse(format!(
                "the seed's file name {name:?} has a character other than a-z, 0-9, '-', '_' and '.'"
            ));
        }
        // Readers drop a last dot, and hide a file with a first one.
        if bytes.first() == Some(&b'.') || bytes.last() == Some(&b'.') {
            return refuse(format!("the seed's file name {name:?} starts or ends with a dot"));
        }
    }
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return refuse(format!("the seed has two files named {:?}", pair[0].0));
    }
    if sorted.len() > MOST_FILES {
        return refuse(format!("the seed has {} files; the most is {MOST_FILES}", sorted.len()));
    }
    let bytes: usize = sorted.iter().map(|(_, data)| data.len()).sum();
    if bytes > MOST_BYTES {
        return refuse(format!("the seed has {bytes} bytes; the most is {MOST_BYTES}"));
    }
    Ok(sorted)
}

/// A moment in UTC as a calendar shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Moment {
    /// From seconds since 1970. A `u32` ends in February 2106, inside what FAT (2107) and ISO 9660 (2155) can say.
    fn new(time: u32) -> Self {
        // Days counted from 1 March of the year 0: the leap day is then the last of its year.
        let days = time / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Moment {
            year: (era * 400 + year_of_era + u32::from(month <= 2)) as u16,
            month: month as u8,
            day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u8,
            hour: (time / 3600 % 24) as u8,
            minute: (time / 60 % 60) as u8,
            second: (time % 60) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        // From `date -u -d @N +'%Y-%m-%d %H:%M:%S'`.
        let check = |time, expected: &str| {
            let m = Moment::new(time);
            let text = format!("{}-{:02}-{:02} {:02}:{:02}:{:02}", m.year, m.month, m.day, m.hour, m.minute, m.second);
            assert_eq!(text, expected, "{time}");
        };
        check(0, "1970-01-01 00:00:00");
        check(68_169_599, "1972-02-28 23:59:59");
        check(68_169_600, "1972-02-29 00:00:00");
        check(315_532_800, "1980-01-01 00:00:00");
        check(951_782_400, "2000-02-29 00:00:00");
        check(1_763_837_167, "2025-11-22 18:46:07");
        check(4_107_542_399, "2100-02-28 23:59:59");
        check(4_107_542_400, "2100-03-01 00:00:00");
        check(u32::MAX, "2106-02-07 06:28:15");
    }

    #[test]
    fn refused() {
        let check_names = |names: &[&'static str], expected: &str| {
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b""[..])).collect();
            for found in [vfat(&files, 0), iso(&files, 0)] {
                let error = found.expect_err("must be refused");
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                assert_eq!(error.to_string(), expected);
            }
        };
        check_names(&[""], "the seed's file name \"\" is not 1 to 64 bytes long");
        check_names(
            &["User-Data"],
            "the seed's file name \"User-Data\" has a character other than a-z, 0-9, '-', '_' and '.'",
        );
        check_names(&["a/b"], "the seed's file name \"a/b\" has a character other than a-z, 0-9, '-', '_' and '.'");
        check_names(&["a\n"], "the seed's file name \"a\\n\" has a character other than a-z, 0-9, '-', '_' and '.'");
        check_names(&[".."], "the seed's file name \"..\" starts or ends with a dot");
        check_names(&["a."], "the seed's file name \"a.\" starts or ends with a dot");
        check_names(&["user-data", "meta-data", "user-data"], "the seed has two files named \"user-data\"");
        let large = vec![0; MOST_BYTES];
        let error = iso(&[("a", &large), ("b", b"1")], 0).expect_err("must be refused");
        assert_eq!(error.to_string(), "the seed has 67108865 bytes; the most is 67108864");
    }

    #[test]
    fn order_of_the_caller_does_not_show() {
        let one: [(&str, &[u8]); 2] = [("user-data", b"u"), ("meta-data", b"m")];
        let two = [one[1], one[0]];
        assert!(vfat(&one, 9).expect("vfat") == vfat(&two, 9).expect("vfat"));
        assert!(iso(&one, 9).expect("iso") == iso(&two, 9).expect("iso"));
    }
}
