//! The package archive that a machine finds: whatever it is called, it is this host's own mirror.
//!
//! It is on this host's loopback; the wire leads the machine to it. What comes is signed, and the machine holds it to that.
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::http;
use super::image::Mirrors;
use super::image::official::http::{Url, get};

/// Where it is, for the machine (RFC 5737).
pub const PLACE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 81)), 80);
/// A machine under emulation unpacks for minutes while it holds a connection.
const PATIENCE: Duration = Duration::from_secs(600);

/// The archive; it ends when this is dropped.
#[derive(Debug)]
pub struct Archive {
    local: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Archive {
    /// Hands on what these mirrors have.
    ///
    /// # Errors
    /// No port can be had.
    pub fn new(mirrors: &Mirrors) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not serve the package archive")?;
        let local = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let (ours, mirrors) = (ended.clone(), Arc::new(mirrors.clone()));
        std::thread::Builder::new().name("archive".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if ours.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), mirrors) = (stream, mirrors.clone()) else { continue };
                // Whoever breaks off has broken off; what came of it is seen on the machine.
                std::thread::spawn(move || _ = serve(stream, &mirrors));
            }
        })?;
        Ok(Archive { local, ended })
    }

    /// Where it is on this host.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // It waits for a visitor.
        let _ = TcpStream::connect(self.local);
    }
}

fn serve(mut stream: TcpStream, mirrors: &Mirrors) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = http::read(&mut stream)?;
    let Some(url) = mirrors.find(&request.path).filter(|_| request.method == "GET") else {
        return http::answer(&mut stream, "404 Not Found\r\nContent-Length: 0", b"");
    };
    let Ok(mut answer) = get(&Url::of_archive(url), None, PATIENCE) else {
        // Not there, or not to be had: a machine that asks for what is optional goes on, and else it says so.
        return http::answer(&mut stream, "404 Not Found\r\nContent-Length: 0", b"");
    };
    let length = answer.length.map(|n| format!("\r\nContent-Length: {n}")).unwrap_or_default();
    http::answer(&mut stream, &format!("200 OK{length}"), b"")?;
    while let Ok(Some(piece)) = answer.next() {
        stream.write_all(&piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn ask(local: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(local).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: whatever.test\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }

    #[test]
    fn a_machine_is_handed_what_the_mirror_has() {
        // A mirror, of one file.
        let mirror = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = mirror.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in mirror.incoming().flatten() {
                let Ok(request) = http::read(&mut stream) else { continue };
                let _ = match request.path.as_str() {
                    "/debian/dists/InRelease" => http::answer(&mut stream, "200 OK\r\nContent-Length: 6", b"signed"),
                    _ => http::answer(&mut stream, "404 Not Found\r\nContent-Length: 0", b""),
                };
            }
        });
        let archive = Archive::new(&Mirrors::given(&format!("http://{at}/debian")).unwrap()).unwrap();
        let told = ask(archive.local(), "/debian/dists/InRelease");
        assert!(
            told.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n") && told.ends_with("\r\n\r\nsigned"),
            "{told}"
        );
        for path in ["/debian/dists/Nothing", "/debian-security/dists/InRelease", "/etc/passwd", "/debian/../x"] {
            assert!(ask(archive.local(), path).starts_with("HTTP/1.1 404 "), "{path}");
        }
    }
}
