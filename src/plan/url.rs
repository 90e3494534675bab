//! Addresses on the web, as they land in files of the machine.

use crate::report::{Fault, FromText, shown};

/// An address on the web, of https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for Url {
    const WHAT: &'static str = "an address on the web";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let rest = text.strip_prefix("https://").unwrap_or_default();
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let (name, port) = host.split_once(':').unwrap_or((host, "443"));
        let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        // RFC 3986, less what a browser would mend, and less `@`, before which a password may stand.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?&=%+,;!*()".contains(&b);
        if text.len() <= 1000
            && name.split('.').all(label)
            && port.parse::<u16>().is_ok_and(|p| p > 0 && p.to_string() == port)
            && rest.bytes().all(plain)
        {
            return Ok(Url(text.to_owned()));
        }
        // Whatever stands before an `@` may be a secret.
        let what = if text.contains('@') { "this".to_owned() } else { format!("`{}`", shown(text)) };
        Err(Fault::new(format!("{what} is not an address that the machine can reach by https"))
            .help("write it as `https://lists.example.org/drop.txt`; no user and no password in it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_on_the_web_is_of_https_and_holds_no_password() {
        for good in
            ["https://a.example", "https://a.example:8443/x/y.txt?v=1&w=%20", "https://www.spamhaus.org/drop/drop.txt"]
        {
            assert!(Url::from_text(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "http://a.example/",
            "https://",
            "https:///x",
            "https://u:p@a.example/",
            "https://a.example/ x",
            "https://a.example/\n",
            "https://a.example/#x",
            "https://a.example:0/",
            "https://a.example:99999/",
            "https://a.example:/",
            "file:///etc/passwd",
            "https://a..b/",
            "https://[::1]/",
            "https://a.example/\"",
            "https://a.example/'$(id)'",
            "https://a.example\\b/",
        ] {
            assert!(Url::from_text(bad).is_err(), "{bad}");
        }
    }
}
