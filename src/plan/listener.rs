//! Sockets that something may wait on, and how `ss` shows them.

use super::net::Protocol;
use crate::report::{Fault, FromText, shown};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A socket that something may wait on: `8080/tcp`, `127.0.0.1:514/udp`, `[::1]:8080/tcp`, `/run/shop.sock`, `@shop` (an abstract one,
/// unix(7)), `1234/vsock` (vsock(7)). A `*` in the name of a socket stands for anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listener {
    /// A port of one address, or of any.
    Port {
        /// The protocol.
        protocol: Protocol,
        /// The address; none is any.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// A socket of the machine alone.
    Unix(String),
    /// A port for whatever hosts the machine; no packet filter sees it.
    Vsock(u32),
}

/// What a listener is seen as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// TCP and UDP.
    Ports,
    /// Sockets of the machine alone.
    Unix,
    /// Sockets for its host.
    Vsock,
}

impl Listener {
    /// A port of any address.
    #[must_use]
    pub const fn port(protocol: Protocol, port: u16) -> Self {
        Listener::Port { protocol, address: None, port }
    }

    /// What it is seen as.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Listener::Port { .. } => Kind::Ports,
            Listener::Unix(_) => Kind::Unix,
            Listener::Vsock(_) => Kind::Vsock,
        }
    }

    /// The protocol and the port, of one that the network can reach.
    #[must_use]
    pub fn open(&self) -> Option<(Protocol, u16)> {
        match self {
            Listener::Port { protocol, address, port } if !address.is_some_and(|a| a.is_loopback()) => {
                Some((*protocol, *port))
            }
            _ => None,
        }
    }

    /// An extended regular expression for a whole line of what ss(8) shows: the first column and the local address.
    #[must_use]
    pub fn pattern(&self) -> String {
        // What else these may hold means nothing to a regular expression.
        let literal = |text: &str| {
            text.chars().fold(String::new(), |mut out, c| {
                match c {
                    '*' => out.push_str(".*"),
                    '.' | '[' | ']' | '+' => out.extend(['\\', c]),
                    _ => out.push(c),
                }
                out
            })
        };
        match self {
            Listener::Port { protocol, address: None, port } => format!("{} .*:{port}", protocol.as_str()),
            Listener::Port { protocol, address: Some(address), port } => {
                let address = match address {
                    IpAddr::V4(a) => a.to_string(),
                    IpAddr::V6(a) => format!("[{a}]"),
                };
                // Bound to an interface it carries the name.
                format!("{} {}(%[^:]*)?:{port}", protocol.as_str(), literal(&address))
            }
            Listener::Unix(name) => format!("u_[a-z]+ {}", literal(name)),
            Listener::Vsock(port) => format!("v_[a-z]+ .*:{port}"),
        }
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Listener::Port { protocol, address: None, port } => write!(f, "{port}/{}", protocol.as_str()),
            Listener::Port { protocol, address: Some(IpAddr::V4(a)), port } => {
                write!(f, "{a}:{port}/{}", protocol.as_str())
            }
            Listener::Port { protocol, address: Some(IpAddr::V6(a)), port } => {
                write!(f, "[{a}]:{port}/{}", protocol.as_str())
            }
            Listener::Unix(name) => f.write_str(name),
            Listener::Vsock(port) => write!(f, "{port}/vsock"),
        }
    }
}

// sun_path of unix(7) holds 108 bytes.
fn socket(text: &str) -> bool {
    let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-@:+*".contains(&b));
    good && (2..108).contains(&text.len()) && !text.contains("..")
}

fn port(text: &str, protocol: Protocol) -> Option<Listener> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| *n > 0 && !text.starts_with(['+', '0']));
    match text.rsplit_once(':') {
        None => Some(Listener::port(protocol, number(text)?)),
        Some((address, port)) => {
            let address = match address.strip_prefix('[') {
                Some(rest) => IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?),
                None => IpAddr::V4(address.parse().ok()?),
            };
            Some(Listener::Port { protocol, address: Some(address), port: number(port)? })
        }
    }
}

impl FromText for Listener {
    const WHAT: &'static str = "a socket that something waits on";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let read = match text.rsplit_once('/') {
            _ if text.starts_with(['/', '@']) => socket(text).then(|| Listener::Unix(text.to_owned())),
            Some((head, "tcp")) => port(head, Protocol::Tcp),
            Some((head, "udp")) => port(head, Protocol::Udp),
            Some((head, "vsock")) => head.parse().ok().filter(|_| !head.starts_with('+')).map(Listener::Vsock),
            _ => None,
        };
        read.ok_or_else(|| {
            Fault::new(format!("`{}` is not a socket that something waits on", shown(text)))
                .help("write 8080/tcp, 127.0.0.1:514/udp, [::1]:8080/tcp, /run/shop.sock, @shop or 1234/vsock")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_read_and_written_alike() {
        for text in ["8080/tcp", "127.0.0.1:514/udp", "[::1]:8080/tcp", "/run/shop.sock", "@/org/*", "1234/vsock"] {
            assert_eq!(Listener::from_text(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "tcp/80",
            "0/tcp",
            "+1/tcp",
            "080/tcp",
            "65536/tcp",
            "::1:80/tcp",
            "1.2.3:80/tcp",
            "/",
            "/a/../b",
            "/a b",
            "/a\n",
            "-1/vsock",
            "a/vsock",
            "80/sctp",
            "/$(x)",
            "@",
            "[::1]/tcp",
            "[::1:80/tcp",
        ] {
            assert!(Listener::from_text(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn its_pattern_is_literal() {
        let pattern = |text: &str| Listener::from_text(text).unwrap().pattern();
        assert_eq!(pattern("8080/tcp"), "tcp .*:8080");
        assert_eq!(pattern("127.0.0.53:53/udp"), r"udp 127\.0\.0\.53(%[^:]*)?:53");
        assert_eq!(pattern("[::1]:1/tcp"), r"tcp \[::1\](%[^:]*)?:1");
        assert_eq!(pattern("/run/a.b/*"), r"u_[a-z]+ /run/a\.b/.*");
        assert_eq!(pattern("9/vsock"), "v_[a-z]+ .*:9");
    }
}
