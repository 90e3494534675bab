//! SHA-256, the one hash of a bundle; and SHA-512 beside it, for what vendors publish.
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// The SHA-256 of `data` in lower-case hexadecimal, as `sha256sum` prints it.
pub fn sha256_hex(data: &[u8]) -> String {
    hex(&sha256(&[data]))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The SHA-256 of the pieces laid end to end.
pub fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    hash.finalize().into()
}

/// A hash that a vendor's list may be made of. Weaker ones (MD5, SHA-1) are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    fn word(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// What a file must hash to: `sha512:` and lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// From the hexadecimal that a list has; its length tells the algorithm.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Digest> {
        let algorithm = Algorithm::ALL.into_iter().find(|a| a.digits() == hex.len())?;
        let hex = hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| hex.to_ascii_lowercase())?;
        Some(Digest { algorithm, hex })
    }

    /// How it was made.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.word(), self.hex)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.split_once(':')
            .and_then(|(word, hex)| Digest::from_hex(hex).filter(|d| d.algorithm.word() == word && d.hex == hex))
            .ok_or_else(|| "expected sha256: or sha512: and that many digits of lower-case hexadecimal".to_owned())
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// A digest in the making.
#[derive(Debug)]
pub struct Hasher(Hash);

#[derive(Debug)]
enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Of nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Hasher(match algorithm {
            Algorithm::Sha256 => Hash::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hash::Sha512(Sha512::new()),
        })
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Hash::Sha256(hash) => hash.update(piece),
            Hash::Sha512(hash) => hash.update(piece),
        }
    }

    /// Of all the pieces.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            Hash::Sha256(hash) => Digest { algorithm: Algorithm::Sha256, hex: hex(&hash.finalize()) },
            Hash::Sha512(hash) => Digest { algorithm: Algorithm::Sha512, hex: hex(&hash.finalize()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // FIPS 180-2, appendix B.1 and B.2, and the empty message.
        let check = |data: &str, expected| assert_eq!(sha256_hex(data.as_bytes()), expected);
        check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        );
    }

    #[test]
    fn pieces_are_one_message() {
        assert_eq!(sha256(&[b"a", b"", b"bc"]), sha256(&[b"abc"]));
    }

    #[test]
    fn a_digest_is_known_by_its_algorithm_and_says_it() {
        // FIPS 180-2, appendix B.1 and C.1.
        let of = |algorithm| {
            let mut hasher = Hasher::new(algorithm);
            ["a", "", "bc"].iter().for_each(|piece| hasher.update(piece.as_bytes()));
            hasher.finish()
        };
        let long = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
            2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(of(Algorithm::Sha256).to_string(), format!("sha256:{}", sha256_hex(b"abc")));
        assert_eq!(of(Algorithm::Sha512).to_string(), format!("sha512:{long}"));
        assert_eq!(Digest::from_hex(&long.to_uppercase()), Some(of(Algorithm::Sha512)));
        for bad in ["", "00", &long[..127], &format!("{}g", &long[..127]), &format!("{long}0")] {
            assert_eq!(Digest::from_hex(bad), None, "{bad}");
        }
        assert_eq!(Digest::try_from(format!("sha512:{long}")), Ok(of(Algorithm::Sha512)));
        for bad in [long.to_owned(), format!("sha256:{long}"), format!("sha512:{}", long.to_uppercase())] {
            assert!(Digest::try_from(bad).is_err());
        }
    }
}
