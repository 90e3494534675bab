//! What a person proves themselves with: public keys and password hashes, judged when they are read.

use crate::report::{Fault, FromText, did_you_mean, is_unseen, shown};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The fewest bits of an RSA key: ANSSI BP-028 and ssh-audit's guides ask for 3072.
pub const RSA_BITS: usize = 3072;

/// One line of an `authorized_keys` file (sshd(8)) that sshd will take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(String);

impl PublicKey {
    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The line without what limits the key.
    #[must_use]
    pub fn bare(&self) -> &str {
        split_options(&self.0).map_or(self.0.as_str(), |(_, rest)| rest)
    }

    /// Whether it is of a type that only hardware has (FIDO2).
    #[must_use]
    pub fn is_of_hardware(&self) -> bool {
        self.bare().starts_with("sk-")
    }

    /// The part that tells one key from another: its base64 body.
    #[must_use]
    pub fn body(&self) -> &str {
        self.bare().split_whitespace().nth(1).unwrap_or_default()
    }

    /// An option of the line, without quotes; an empty text for one without a value.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<String> {
        let (options, _) = split_options(&self.0).ok()?;
        options.iter().find_map(|option| {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let plain = || value.trim_matches('"').replace("\\\"", "\"");
            key.eq_ignore_ascii_case(name).then(plain)
        })
    }

    /// What a person tells it by: its type, the end of its body, and its comment.
    #[must_use]
    pub fn label(&self) -> String {
        let mut words = self.bare().splitn(3, ' ');
        let (kind, body) = (words.next().unwrap_or_default(), self.body());
        let end = body.get(body.len().saturating_sub(8)..).unwrap_or_default();
        let comment = words.nth(1).map(|c| format!(" {}", shown(c))).unwrap_or_default();
        format!("{kind} …{end}{comment}")
    }

    /// Whether the line limits what the key may do (`command=`, `from=`, `cert-authority` …).
    #[must_use]
    pub fn has_options(&self) -> bool {
        split_options(&self.0).is_ok_and(|(options, _)| !options.is_empty())
    }
}

/// The keys of a file, one a line, and what is wrong with it. What begins with `#` is a comment.
#[must_use]
pub fn keys_of(bytes: &[u8]) -> (Vec<PublicKey>, Vec<String>) {
    let Ok(text) = std::str::from_utf8(bytes) else { return (Vec::new(), vec!["this is not UTF-8 text".to_owned()]) };
    let (mut keys, mut faults) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match PublicKey::from_text(line) {
            Ok(key) => keys.push(key),
            Err(fault) => faults.push(format!("line {number}: {}", fault.message)),
        }
    }
    if keys.is_empty() && faults.is_empty() {
        faults.push("there is no key in it".to_owned());
    }
    (keys, faults)
}

// authorized_keys options of sshd(8), OpenSSH 10.0; those that take a value end with `=`.
const OPTIONS: [&str; 25] = [
    "agent-forwarding",
    "cert-authority",
    "command=",
    "environment=",
    "expiry-time=",
    "from=",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-X11-forwarding",
    "permitlisten=",
    "permitopen=",
    "port-forwarding",
    "principals=",
    "pty",
    "restrict",
    "tunnel=",
    "user-rc",
    "verify-required",
    "X11-forwarding",
    "no-x11-forwarding",
    "x11-forwarding",
    "no-verify-required",
];

// The types that every sshd here takes and that cloud-init does not drop without a word (facts.md, R36).
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

impl FromText for PublicKey {
    const WHAT: &'static str = "a public key";
    fn from_text(text: &str) -> Result<Self, Fault> {
        const HELP: &str = "paste one line of a .pub file: ssh-ed25519 AAAA… name";
        if text.contains("PRIVATE KEY") {
            return Err(Fault::new("this is a private key")
                .help("it must never leave your machine: paste the .pub file beside it, and make a new key pair"));
        }
        if text.len() > 16_384 {
            return Err(Fault::new("this is too long for a public key").help(HELP));
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        if text.chars().any(is_unseen) {
            return Err(Fault::new("a public key is one line without control characters").help(HELP));
        }
        let (options, rest) = split_options(text).map_err(|m| Fault::new(m).help(HELP))?;
        for option in options {
            judge_option(&option)?;
        }
        let mut words = rest.split(' ').filter(|w| !w.is_empty());
        let (Some(kind), Some(body)) = (words.next(), words.next()) else {
            return Err(Fault::new("this is not a public key").help(HELP));
        };
        judge_kind(kind)?;
        let blob = STANDARD.decode(body).map_err(|_| {
            Fault::new(format!("the body of this {kind} key is not base64")).help("paste it whole, on one line")
        })?;
        judge_blob(kind, &blob)?;
        Ok(PublicKey(text.trim().to_owned()))
    }
}

// The options before the key type, and the rest. Quotes may hold blanks and commas; `\"` is a quote inside them.
fn split_options(text: &str) -> Result<(Vec<String>, &str), String> {
    let text = text.trim_start_matches(' ');
    let first = text.split(' ').next().unwrap_or_default();
    if TYPES.contains(&first) || REFUSED.iter().any(|(kind, _)| *kind == first) || first.contains("-cert-v01") {
        return Ok((Vec::new(), text));
    }
    let (mut options, mut current, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                options.push(std::mem::take(&mut current));
                continue;
            }
            ' ' if !quoted => {
                options.push(current);
                return Ok((options, text[at..].trim_start_matches(' ')));
            }
            _ => {}
        }
        current.push(c);
    }
    Err(if quoted {
        "a quote is not closed in the options of this key".to_owned()
    } else {
        "this is not a public key".to_owned()
    })
}

fn judge_option(option: &str) -> Result<(), Fault> {
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    let asks = OPTIONS.iter().find(|o| o.trim_end_matches('=').eq_ignore_ascii_case(name));
    match (asks, option.split_once('=')) {
        (Some(known), Some((_, value))) if known.ends_with('=') => {
            if value.len() >= 2 && value.starts_with('"') && value.ends_with('"') {
                return Ok(());
            }
            Err(Fault::new(format!("the option `{name}` needs its value in double quotes"))
                .help(format!("write {name}=\"…\"")))
        }
        (Some(known), None) if !known.ends_with('=') => Ok(()),
        (Some(known), _) if known.ends_with('=') => {
            Err(Fault::new(format!("the option `{name}` needs a value")).help(format!("write {name}=\"…\"")))
        }
        (Some(_), _) => Err(Fault::new(format!("the option `{name}` takes no value"))),
        // sshd ignores the whole line of a key with an option that it does not know: a lockout without a word.
        (None, _) => {
            let near = did_you_mean(name, OPTIONS.iter().map(|o| o.trim_end_matches('=')));
            let help = near.map_or_else(
                || "write `type body comment`, or options of authorized_keys(5) before them".to_owned(),
                |n| format!("did you mean `{n}`?"),
            );
            Err(Fault::new(format!("`{}` is neither a key type nor an option of a key", shown(name))).help(help))
        }
    }
}

const REFUSED: [(&str, &str); 4] = [
    ("ssh-dss", "DSA keys are broken, and OpenSSH 10 no longer knows them"),
    ("ssh-rsa1", "SSH 1 is gone"),
    ("webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "cloud-init drops keys of this type without a word"),
    ("ssh-mldsa44-ed25519", "cloud-init drops keys of this type without a word"),
];

fn judge_kind(kind: &str) -> Result<(), Fault> {
    if TYPES.contains(&kind) {
        return Ok(());
    }
    let advice = "make one with: ssh-keygen -t ed25519 -a 100";
    if let Some((_, why)) = REFUSED.iter().find(|(k, _)| *k == kind) {
        return Err(Fault::new(format!("a key of type {kind} is refused: {why}")).help(advice));
    }
    if kind.contains("-cert-v01@") {
        return Err(Fault::new("this is a certificate, not a public key").help("paste the .pub file without `-cert`"));
    }
    Err(Fault::new(format!("`{}` is not a key type", shown(kind))).help(advice))
}

fn judge_blob(kind: &str, blob: &[u8]) -> Result<(), Fault> {
    let cut = || Fault::new(format!("this {kind} key is cut short or damaged")).help("paste it whole, on one line");
    let mut rest = blob;
    let mut next = || -> Option<&[u8]> {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (field, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = tail;
        Some(field)
    };
    if next() != Some(kind.as_bytes()) {
        return Err(cut());
    }
    let point = |curve: &[u8], field: &[u8]| match curve {
        b"nistp256" => field.len() == 65,
        b"nistp384" => field.len() == 97,
        b"nistp521" => field.len() == 133,
        _ => false,
    };
    match kind {
        "ssh-ed25519" => next().filter(|k| k.len() == 32).map(|_| ()).ok_or_else(cut)?,
        "sk-ssh-ed25519@openssh.com" => {
            next().filter(|k| k.len() == 32).ok_or_else(cut)?;
            next().filter(|a| !a.is_empty()).ok_or_else(cut)?;
        }
        "ssh-rsa" => {
            next().filter(|e| !e.is_empty()).ok_or_else(cut)?;
            let modulus = next().ok_or_else(cut)?;
            let modulus = &modulus[modulus.iter().take_while(|b| **b == 0).count()..];
            let bits = modulus.len() * 8 - modulus.first().map_or(0, |b| b.leading_zeros() as usize);
            if bits < RSA_BITS {
                return Err(Fault::new(format!("this RSA key has {bits} bits; fewer than {RSA_BITS} are refused"))
                    .help("make one with: ssh-keygen -t ed25519 -a 100"));
            }
        }
        _ => {
            let curve = next().ok_or_else(cut)?.to_vec();
            let wanted =
                kind.trim_start_matches("sk-").trim_start_matches("ecdsa-sha2-").trim_end_matches("@openssh.com");
            let field = next().ok_or_else(cut)?;
            if curve != wanted.as_bytes() || !point(&curve, field) {
                return Err(cut());
            }
            if kind.starts_with("sk-") {
                next().filter(|a| !a.is_empty()).ok_or_else(cut)?;
            }
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(cut()) }
}

/// The hash of a password as crypt(5) writes it. It has no `Debug`: whoever reads it can try passwords against it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash. For the files of the bundle that only root may read.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

impl FromText for PasswordHash {
    const WHAT: &'static str = "the hash of a password";
    fn from_text(text: &str) -> Result<Self, Fault> {
        // None of these messages shows the text: it may be the password itself.
        const HELP: &str = "make one with: hardtack passwd";
        let bad = |message: &str| Err(Fault::new(message).help(HELP));
        let Some(rest) = text.strip_prefix('$') else {
            return bad("this is not a password hash; a password itself must never stand in a spec");
        };
        let fields: Vec<_> = rest.split('$').collect();
        let crypt64 = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/');
        let sha = |fields: &[&str], length: usize| {
            let (salt, hash) = match fields {
                [salt, hash] => (*salt, *hash),
                [rounds, salt, hash] => {
                    let rounds = rounds.strip_prefix("rounds=").and_then(|r| r.parse::<u32>().ok());
                    if !rounds.is_some_and(|r| (1000..=999_999_999).contains(&r)) {
                        return false;
                    }
                    (*salt, *hash)
                }
                _ => return false,
            };
            // libxcrypt cuts a salt to 16 characters, and then no password fits the hash.
            (1..=16).contains(&salt.len()) && crypt64(salt) && hash.len() == length && crypt64(hash)
        };
        let good = match (fields.first().copied(), &fields[1..]) {
            (Some("y"), [params, salt, hash]) => {
                crypt64(params)
                    && (1..=8).contains(&params.len())
                    && crypt64(salt)
                    && salt.len() <= 86
                    && hash.len() == 43
                    && crypt64(hash)
            }
            (Some("6"), rest) => sha(rest, 86),
            (Some("5"), rest) => sha(rest, 43),
            (Some("2b"), [cost, hash]) => {
                cost.parse::<u8>().is_ok_and(|c| (10..=31).contains(&c))
                    && cost.len() == 2
                    && hash.len() == 53
                    && crypt64(hash)
            }
            (Some("1" | "2" | "2a" | "2x" | "md5"), _) => return bad("this kind of password hash is broken"),
            _ => return bad("this is not a password hash that the machine will know"),
        };
        if good { Ok(PasswordHash(text.to_owned())) } else { bad("this password hash is cut short or damaged") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5";

    #[test]
    fn a_key_is_taken_with_its_options_and_comment() {
        for text in [
            ED.to_owned(),
            format!("{ED} alice@laptop with words"),
            format!("{ED} alice\n"),
            format!("command=\"/bin/echo hi, there\",no-pty {ED} c"),
            format!("from=\"10.0.0.0/8,!10.1.1.1\",restrict {ED}"),
        ] {
            let key = PublicKey::from_text(&text).unwrap_or_else(|f| panic!("{text}: {}", f.message));
            assert_eq!(key.body(), ED.split(' ').nth(1).unwrap());
        }
    }

    #[test]
    fn a_key_that_sshd_would_ignore_is_refused_with_the_reason() {
        let cases = [
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "this is a private key"),
            (
                "ssh-dss AAAA",
                "a key of type ssh-dss is refused: DSA keys are broken, and OpenSSH 10 no longer knows them",
            ),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvP", "this ssh-ed25519 key is cut short or damaged"),
            ("ssh-ed25519 !!!", "the body of this ssh-ed25519 key is not base64"),
            ("ssh-ed25519", "this is not a public key"),
            ("hello", "this is not a public key"),
            ("frm=\"10.0.0.0/8\" ssh-ed25519 AAAA", "`frm` is neither a key type nor an option of a key"),
            ("from=\"10.0.0.0/8 ssh-ed25519 AAAA", "a quote is not closed in the options of this key"),
            ("from=10.0.0.0/8 ssh-ed25519 AAAA", "the option `from` needs its value in double quotes"),
            ("command ssh-ed25519 AAAA", "the option `command` needs a value"),
            ("ssh-ed25519-cert-v01@openssh.com AAAA", "this is a certificate, not a public key"),
            ("ssh-ed25519 AAAA\nssh-ed25519 AAAA", "a public key is one line without control characters"),
            (
                "ssh-mldsa44-ed25519 AAAA",
                "a key of type ssh-mldsa44-ed25519 is refused: cloud-init drops keys of this type without a word",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(PublicKey::from_text(text).unwrap_err().message, expected, "{text}");
        }
        assert!(PublicKey::from_text(&"a".repeat(10_000_000)).is_err());
    }

    #[test]
    fn an_rsa_key_is_measured() {
        let rsa = |bytes: usize, first: u8| {
            let mut blob = Vec::new();
            let mut field = |data: &[u8]| {
                blob.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
                blob.extend(data);
            };
            field(b"ssh-rsa");
            field(&[1, 0, 1]);
            let mut modulus = vec![0, first];
            modulus.resize(bytes + 1, 0xff);
            field(&modulus);
            format!("ssh-rsa {}", STANDARD.encode(blob))
        };
        assert!(PublicKey::from_text(&rsa(384, 0x80)).is_ok());
        assert_eq!(
            PublicKey::from_text(&rsa(384, 0x7f)).unwrap_err().message,
            "this RSA key has 3071 bits; fewer than 3072 are refused"
        );
        assert_eq!(
            PublicKey::from_text(&rsa(256, 0xff)).unwrap_err().message,
            "this RSA key has 2048 bits; fewer than 3072 are refused"
        );
    }

    #[test]
    fn a_password_is_refused_and_never_shown() {
        let y = format!("$y$j9T$abcdefgh${}", "A".repeat(43));
        let six = format!("$6$rounds=5000$salt${}", "b".repeat(86));
        for good in [&y, &six, &format!("$6$salt${}", "b".repeat(86)), &format!("$2b$12${}", "c".repeat(53))] {
            assert!(PasswordHash::from_text(good).is_ok(), "{good}");
            assert_eq!(format!("{:?}", PasswordHash::from_text(good).unwrap()), "PasswordHash(hidden)");
        }
        for bad in [
            "hunter2",
            "",
            "$1$abc$def",
            "$6$short$x",
            "$y$j9T$a",
            &format!("$6${}${}", "s".repeat(22), "b".repeat(86)),
            &format!("{y}\nx"),
            &format!("{y}:x"),
        ] {
            let fault = PasswordHash::from_text(bad).unwrap_err();
            assert!(bad.is_empty() || !format!("{fault:?}").contains(bad), "{fault:?}");
        }
    }
}
