//! The algorithms that a list may name, for each version of OpenSSH; and those that none may, each with the reason.

use crate::report::{Fault, FromText, did_you_mean, shown};

/// What one list of algorithms is called, and what it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    /// The key of the spec.
    pub(super) key: &'static str,
    all: &'static [Algorithm],
}

/// One algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm {
    name: &'static str,
    /// The first OpenSSH that knows it.
    since: (u32, u32),
    set: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Set {
    /// Neither ssh-audit 2.5 nor 3.9 finds a fault with it.
    Modern,
    /// ssh-audit 3.9 warns of it (of a key exchange: whoever records it now can read it once there are quantum computers), and old
    /// programs need it.
    Compatible,
}

use Set::{Compatible, Modern};

const fn new(name: &'static str, since: (u32, u32), set: Set) -> Algorithm {
    Algorithm { name, since, set }
}

/// Key exchange, best first (facts.md A.4 and E.1).
pub(super) const KEX: Family = Family {
    key: "kex",
    all: &[
        new("mlkem768x25519-sha256", (9, 9), Modern),
        new("sntrup761x25519-sha512", (9, 9), Modern),
        new("sntrup761x25519-sha512@openssh.com", (8, 5), Modern),
        new("curve25519-sha256", (7, 4), Compatible),
        new("curve25519-sha256@libssh.org", (6, 5), Compatible),
        new("diffie-hellman-group16-sha512", (7, 3), Compatible),
        new("diffie-hellman-group18-sha512", (7, 3), Compatible),
    ],
};
/// Ciphers.
pub(super) const CIPHERS: Family = Family {
    key: "ciphers",
    all: &[
        new("chacha20-poly1305@openssh.com", (6, 5), Modern),
        new("aes256-gcm@openssh.com", (6, 2), Modern),
        new("aes128-gcm@openssh.com", (6, 2), Modern),
        new("aes256-ctr", (3, 7), Modern),
        new("aes192-ctr", (3, 7), Modern),
        new("aes128-ctr", (3, 7), Modern),
    ],
};
/// MACs.
pub(super) const MACS: Family = Family {
    key: "macs",
    all: &[
        new("hmac-sha2-512-etm@openssh.com", (6, 2), Modern),
        new("hmac-sha2-256-etm@openssh.com", (6, 2), Modern),
        new("umac-128-etm@openssh.com", (6, 2), Modern),
        new("hmac-sha2-512", (5, 9), Compatible),
        new("hmac-sha2-256", (5, 9), Compatible),
    ],
};

impl Algorithm {
    /// Its name, as sshd_config(5) has it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.name
    }

    /// Whether an OpenSSH knows it. A name that it does not know keeps sshd from starting.
    pub(super) fn is_known_to(&self, version: &[u32]) -> bool {
        version >= [self.since.0, self.since.1].as_slice()
    }

    /// Whether ssh-audit finds no fault with it.
    pub(super) fn is_modern(&self) -> bool {
        self.set == Modern
    }
}

impl Family {
    /// The algorithms of a set that an OpenSSH knows: `modern`, or those of old programs as well.
    pub(super) fn of(self, compatible: bool, version: &[u32]) -> Vec<&'static str> {
        let wanted = |a: &&Algorithm| (compatible || a.is_modern()) && a.is_known_to(version);
        self.all.iter().filter(wanted).map(|a| a.name).collect()
    }

    fn read(self, text: &str) -> Result<Algorithm, Fault> {
        if let Some(known) = self.all.iter().find(|a| a.name == text) {
            return Ok(*known);
        }
        let modern: Vec<&str> = self.all.iter().filter(|a| a.is_modern()).map(|a| a.name).collect();
        let instead = format!("leave `{}` out, or choose from: {}", self.key, modern.join(", "));
        if let Some((_, why)) = REFUSED.iter().find(|(names, _)| names.iter().any(|name| text.starts_with(name))) {
            return Err(Fault::new(format!("`{}` is refused: {why}", shown(text))).help(instead));
        }
        let why = match text {
            "" => "an empty element: sshd stops reading the list there without a word, and what follows is lost"
                .to_owned(),
            _ if text.starts_with(['+', '-', '^']) => {
                format!("`{}` means something else in each version of OpenSSH: write the whole list", shown(text))
            }
            _ if text.contains(',') => "one algorithm an entry: [aes256-ctr, aes128-ctr]".to_owned(),
            _ => format!("`{}` is no algorithm that is known here", shown(text)),
        };
        let near = did_you_mean(text, self.all.iter().map(|a| a.name));
        Err(Fault::new(why).help(near.map_or(instead, |near| format!("did you mean `{near}`?"))))
    }
}

/// By how their names begin.
const REFUSED: &[(&[&str], &str)] = &[
    (&["arcfour"], "RC4 is broken, and OpenSSH 7.6 took it out: sshd would not start"),
    (&["blowfish-", "cast128-"], "64-bit blocks are too short, and OpenSSH 7.6 took it out: sshd would not start"),
    (&["3des-"], "64-bit blocks are too short (CVE-2016-2183)"),
    (
        &["aes128-cbc", "aes192-cbc", "aes256-cbc", "rijndael-cbc"],
        "CBC as SSH has it gives away plain text (CVE-2008-5161)",
    ),
    (&["hmac-ripemd160"], "OpenSSH 7.6 took it out: sshd would not start"),
    (&["hmac-md5"], "MD5 is broken"),
    (&["hmac-sha1"], "SHA-1 is broken"),
    (&["umac-64"], "a tag of 64 bits is too short"),
    (&["umac-128@"], "it authenticates what is not yet encrypted; umac-128-etm@openssh.com does not"),
    (
        &["diffie-hellman-group1-", "diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1"],
        "SHA-1 is broken",
    ),
    (&["diffie-hellman-group14-", "diffie-hellman-group-exchange-"], "its group may have no more than 2048 bits"),
    (&["ecdh-sha2-nistp"], "nobody can say how the constants of these curves were chosen; curve25519 is as fast"),
];

macro_rules! families {
    ($($(#[doc = $doc:literal])+ $name:ident($what:literal) = $family:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub Algorithm);

        impl FromText for $name {
            const WHAT: &'static str = $what;
            fn from_text(text: &str) -> Result<Self, Fault> {
                $family.read(text).map($name)
            }
        }
    )+};
}

families! {
    /// A key exchange.
    Kex("a key exchange") = KEX;
    /// A cipher.
    Cipher("a cipher") = CIPHERS;
    /// A MAC.
    Mac("a MAC") = MACS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_is_offered_an_algorithm_that_it_does_not_know() {
        assert_eq!(KEX.of(false, &[9, 2]).first(), Some(&"sntrup761x25519-sha512@openssh.com"));
        assert_eq!(KEX.of(false, &[10, 0]).first(), Some(&"mlkem768x25519-sha256"));
        assert!(!KEX.of(true, &[8, 4]).iter().any(|k| k.contains("sntrup")));
        assert_eq!(CIPHERS.of(false, &[8, 7]), CIPHERS.of(true, &[8, 7]), "there is nothing between good and broken");
        assert_eq!((MACS.of(false, &[9, 2]).len(), MACS.of(true, &[9, 2]).len()), (3, 5));
    }

    #[test]
    fn the_lines_of_the_article_are_refused_with_the_reason() {
        let why = |text: &str| Cipher::from_text(text).map(|_| ()).map_err(|f| f.message);
        for good in ["aes128-ctr", "aes192-ctr", "aes256-ctr"] {
            assert_eq!(why(good), Ok(()));
        }
        for broken in ["arcfour256", "arcfour128"] {
            assert!(why(broken).unwrap_err().ends_with("OpenSSH 7.6 took it out: sshd would not start"));
        }
        let why = |text: &str| Mac::from_text(text).map(|_| ()).map_err(|f| f.message).unwrap_err();
        assert_eq!(why("hmac-sha1"), "`hmac-sha1` is refused: SHA-1 is broken");
        assert!(why("").contains("sshd stops reading the list there"));
        assert!(why("hmac-ripemd160").contains("sshd would not start"));
        let fault = Mac::from_text("hmac-sha2-512-etm@openssh.org").unwrap_err();
        assert_eq!(fault.help.as_deref(), Some("did you mean `hmac-sha2-512-etm@openssh.com`?"));
        assert!(Kex::from_text("+curve25519-sha256").unwrap_err().message.contains("means something else"));
        assert!(Cipher::from_text("aes128-ctr,aes256-ctr").unwrap_err().message.starts_with("one algorithm an entry"));
    }
}
