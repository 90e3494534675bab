//! The 8.3 names that ISO 9660 level 1 allows; readers of Rock Ridge and Joliet never see them.

/// A name of ISO 9660 level 1, in the order of its directory: by name, then by extension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Short {
    stem: String,
    extension: String,
}

impl Short {
    /// As it stands in a directory record.
    pub(super) fn identifier(&self) -> String {
        format!("{}.{};1", self.stem, self.extension)
    }
}

/// 8.3 names in capitals; where two files come out the same, the later one gets a number.
pub(super) fn short_names(files: &[(&str, &[u8])]) -> Vec<Short> {
    let fold = |text: &str, most: usize| -> String {
        text.bytes()
            .take(most)
            .map(|byte| if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase().into() } else { '_' })
            .collect()
    };
    let mut taken: Vec<Short> = Vec::new();
    for (name, _) in files {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let mut short = Short { stem: fold(stem, 8), extension: fold(extension, 3) };
        let mut number = 0;
        while taken.contains(&short) {
            short.stem = format!("{}{number:03}", fold(stem, 5));
            number += 1;
        }
        taken.push(short);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_level_1_and_differ() {
        let check = |names: &[&'static str], expected: &[&str]| {
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b""[..])).collect();
            let found: Vec<String> = short_names(&files).iter().map(Short::identifier).collect();
            assert_eq!(found, expected);
        };
        check(&["meta-data", "user-data"], &["META_DAT.;1", "USER_DAT.;1"]);
        check(&["network-config", "vendor-data"], &["NETWORK_.;1", "VENDOR_D.;1"]);
        check(&["a.b.yaml", "a.b.yml"], &["A_B.YAM;1", "A_B.YML;1"]);
        check(
            &["user-data-1", "user-data-2", "user-data-3", "user_000"],
            &["USER_DAT.;1", "USER_000.;1", "USER_001.;1", "USER_002.;1"],
        );
    }
}
