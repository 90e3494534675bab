//! A vendor's list of checksums: what `sha512sum` writes, and the BSD format of the Red Hat family.
use crate::archive::digest::Digest;
use crate::report::{did_you_mean, shown};

/// The digest that the list has for the file `name`; an error says what the list does instead.
///
/// Every other line may hold what it likes: comments, a signature, names that lead elsewhere. No name but the wanted one
/// is ever used for anything but a suggestion.
pub(super) fn find(text: &str, name: &str) -> Result<Digest, String> {
    let mut others = Vec::new();
    let mut found: Vec<Digest> = Vec::new();
    let mut weak = None;
    for (number, line) in (1..).zip(text.lines()) {
        let Some((hex, listed)) = bsd(line).or_else(|| gnu(line)) else { continue };
        match Digest::from_hex(hex) {
            Some(digest) if listed == name => found.push(digest),
            None if listed == name => weak = Some(number),
            Some(_) => others.push(listed),
            None => {}
        }
    }
    found.sort_by_key(|digest| std::cmp::Reverse(digest.algorithm()));
    // A list may give several kinds of checksums; the strongest counts.
    if let Some(best) = found.first() {
        return match found.iter().any(|d| d.algorithm() == best.algorithm() && d != best) {
            true => Err(format!("lists {name} twice, with different checksums")),
            false => Ok(best.clone()),
        };
    }
    if let Some(number) = weak {
        return Err(format!("has no SHA-256 or SHA-512 for {name} (line {number})"));
    }
    if others.is_empty() {
        return Err("is no list of SHA-256 or SHA-512 checksums".to_owned());
    }
    Err(match did_you_mean(name, others) {
        Some(near) => format!("does not list {name}, though it has `{}`", shown(near)),
        None => format!("does not list {name}"),
    })
}

/// `SHA256 (name) = hex`
fn bsd(line: &str) -> Option<(&str, &str)> {
    let (kind, rest) = line.trim_end().split_once(" (")?;
    let (name, hex) = rest.rsplit_once(") = ")?;
    kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-').then_some((hex, name))
}

/// `hex  name`, or `hex *name` where it was read as binary.
fn gnu(line: &str) -> Option<(&str, &str)> {
    let (hex, name) = line.trim_end().split_once(' ')?;
    Some((hex, name.strip_prefix([' ', '*']).unwrap_or(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "disk.qcow2";

    fn hex(digit: &str, digits: usize) -> String {
        digit.repeat(digits)
    }

    #[test]
    fn both_formats_are_read_and_the_strongest_counts() {
        let (a, b, c) = (hex("a", 64), hex("b", 128), hex("c", 64));
        let cases = [
            (format!("{a}  {NAME}\n"), format!("sha256:{a}")),
            (format!("{a} *{NAME}\r\n{c} *other\r\n"), format!("sha256:{a}")),
            (format!("{b}  {NAME}"), format!("sha512:{b}")),
            (format!("# {NAME}: 12 bytes\nSHA256 ({NAME}) = {a}\nSHA256 (x) = {c}\n"), format!("sha256:{a}")),
            (format!("SHA256 ({NAME}) = {a}\nSHA512 ({NAME}) = {b}\nMD5 ({NAME}) = 00\n"), format!("sha512:{b}")),
            (format!("{a}  {NAME}\n{}  {NAME}\n", a.to_uppercase()), format!("sha256:{a}")),
            // A clear-signed list.
            (
                format!(
                    "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{a}  {NAME}\n-----BEGIN PGP SIGNATURE-----\nx\n"
                ),
                format!("sha256:{a}"),
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(find(&text, NAME).map(String::from), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_a_sentence() {
        let (a, c) = (hex("a", 64), hex("c", 64));
        let cases = [
            (String::new(), "is no list of SHA-256 or SHA-512 checksums".to_owned()),
            ("<html><body>please log in</body></html>\n".into(), "is no list of SHA-256 or SHA-512 checksums".into()),
            (format!("{a}  other\n"), format!("does not list {NAME}")),
            (format!("{a}  disk.qcow\n"), format!("does not list {NAME}, though it has `disk.qcow`")),
            (format!("{a}  disk\u{1b}qcow2\n"), format!("does not list {NAME}, though it has `disk\\u{{1b}}qcow2`")),
            (format!("{a}  ../{NAME}\n"), format!("does not list {NAME}, though it has `../{NAME}`")),
            (format!("{a}  {NAME}\n{c}  {NAME}\n"), format!("lists {NAME} twice, with different checksums")),
            (format!("{a}  x\n{}  {NAME}\n", hex("a", 32)), format!("has no SHA-256 or SHA-512 for {NAME} (line 2)")),
            (format!("{}g  {NAME}\n", &a[1..]), format!("has no SHA-256 or SHA-512 for {NAME} (line 1)")),
            (format!("SHA256 ({NAME}) = \n"), "is no list of SHA-256 or SHA-512 checksums".into()),
            (format!("SHA256 ({NAME} = {a}\n"), "is no list of SHA-256 or SHA-512 checksums".into()),
        ];
        for (text, wanted) in cases {
            assert_eq!(find(&text, NAME), Err(wanted), "{text}");
        }
    }
}
