//! The web, as far as a machine looks for lists there: a server by TLS whose pages are ours, good ones and bad ones.
//!
//! It is on this host's loopback; the wire leads the machine to it. Its authority is made for one run, and nobody else trusts it.
//!
//! This module alone names rustls and rcgen.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::http;

/// Where every host is that has a name, for the machine (RFC 5737).
const PLACE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 80));
/// A machine under emulation shakes hands for seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// So much of what a client says after its question is heard out.
const REST: u64 = 16 << 10;

/// What is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// These bytes.
    Whole(Arc<[u8]>),
    /// These bytes, where as many again were promised.
    CutShort(Arc<[u8]>),
    /// The promise of a terabyte.
    Huge,
    /// Nothing, and the server says so.
    Missing,
    /// A lead to a place without TLS.
    Elsewhere,
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Web {
    authority: String,
    local: SocketAddr,
    shared: Arc<Shared>,
    places: BTreeSet<(String, u16)>,
}

#[derive(Debug)]
struct Shared {
    pages: Mutex<BTreeMap<String, Page>>,
    ended: AtomicBool,
}

/// An address as a browser would ask for it: its host in lower case, its port, and all of it with a path.
fn parts(url: &str) -> Option<(String, u16, String)> {
    let rest = url.strip_prefix("https://")?;
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = host.to_ascii_lowercase();
    let (name, port) = host.split_once(':').unwrap_or((&host, "443"));
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some((name.to_owned(), port.parse().ok()?, format!("https://{host}{slash}{path}")))
}

/// Where a host is: a host that is an address is there.
fn at(host: &str) -> IpAddr {
    host.parse().unwrap_or(PLACE)
}

impl Web {
    /// Serves these pages, by their addresses.
    ///
    /// # Errors
    /// No certificate can be made for a host, or no port can be had.
    pub fn new(pages: &BTreeMap<String, Arc<[u8]>>) -> Result<Self> {
        let places: BTreeSet<(String, u16)> = pages.keys().filter_map(|url| parts(url)).map(|p| (p.0, p.1)).collect();
        let hosts: BTreeSet<String> = places.iter().map(|(host, _)| host.clone()).collect();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "hardtack prove");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let hosts: Vec<String> = hosts.into_iter().collect();
        let mut params = CertificateParams::new(hosts).context("no certificate can be made for a host of the lists")?;
        // Newer clients want it (Python 3.13: VERIFY_X509_STRICT).
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &authority)?;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not serve the lists")?;
        let local = listener.local_addr()?;
        let pages = pages.iter().filter_map(|(url, page)| Some((parts(url)?.2, Page::Whole(page.clone()))));
        let shared = Arc::new(Shared { pages: Mutex::new(pages.collect()), ended: AtomicBool::new(false) });
        let (config, ours) = (Arc::new(config), shared.clone());
        std::thread::Builder::new().name("web".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if ours.ended.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), config, ours) = (stream, config.clone(), ours.clone()) else { continue };
                // Whoever breaks off has broken off; what came of it is seen on the machine.
                std::thread::spawn(move || _ = serve(stream, config, &ours));
            }
        })?;
        Ok(Web { authority: authority.pem(), local, shared, places })
    }

    /// The certificate of its authority, as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Where it is on this host.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Where the machine finds its hosts.
    #[must_use]
    pub fn names(&self) -> BTreeMap<String, IpAddr> {
        self.places.iter().filter(|(host, _)| at(host) == PLACE).map(|(host, _)| (host.clone(), PLACE)).collect()
    }

    /// Where the machine connects to.
    #[must_use]
    pub fn places(&self) -> Vec<SocketAddr> {
        let places: BTreeSet<SocketAddr> =
            self.places.iter().map(|(host, port)| SocketAddr::new(at(host), *port)).collect();
        places.into_iter().collect()
    }

    /// From now on this is at that address.
    pub fn put(&self, url: &str, page: Page) {
        if let Some((_, _, url)) = parts(url) {
            self.shared.pages.lock().unwrap_or_else(PoisonError::into_inner).insert(url, page);
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // It waits for a visitor.
        let _ = TcpStream::connect(self.local);
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let request = http::read(&mut stream)?;
    let (host, path) = (request.host, request.path);
    let page =
        shared.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&format!("https://{host}{path}")).cloned();
    let (head, body): (String, &[u8]) = match &page {
        Some(Page::Whole(bytes)) => (format!("200 OK\r\nContent-Length: {}", bytes.len()), bytes),
        Some(Page::CutShort(bytes)) => (format!("200 OK\r\nContent-Length: {}", 2 * bytes.len().max(1)), bytes),
        Some(Page::Huge) => (format!("200 OK\r\nContent-Length: {}", 1_u64 << 40), b"192.0.2.1\n"),
        Some(Page::Elsewhere) => (format!("302 Found\r\nLocation: http://{host}/list\r\nContent-Length: 0"), b""),
        Some(Page::Missing) | None => ("404 Not Found\r\nContent-Length: 0".to_owned(), b""),
    };
    http::answer(&mut stream, &head, body)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    // Until the other side has read it all: a close over unread bytes would be a reset.
    stream.sock.shutdown(std::net::Shutdown::Write)?;
    let _ = io::copy(&mut (&mut stream.sock).take(REST), &mut io::sink());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_a_client_asks_for() {
        let of = |url| parts(url).map(|(host, port, whole)| format!("{host} {port} {whole}")).unwrap_or_default();
        assert_eq!(of("https://Lists.example/Drop.txt"), "lists.example 443 https://lists.example/Drop.txt");
        assert_eq!(of("https://a.example:8443?v=1"), "a.example 8443 https://a.example:8443/?v=1");
        assert_eq!(of("https://a.example"), "a.example 443 https://a.example/");
        assert_eq!(of("http://a.example/"), "");
    }

    #[test]
    fn a_host_that_is_an_address_is_served_there() {
        let page: Arc<[u8]> = b"192.0.2.1\n".as_slice().into();
        let urls = ["https://a.example/x", "https://b.example:8443/", "https://192.0.2.80/list"];
        let web = Web::new(&urls.map(|url| (url.to_owned(), page.clone())).into()).expect("a server");
        let places: Vec<String> = web.places().iter().map(ToString::to_string).collect();
        assert_eq!(places, ["192.0.2.80:443", "198.51.100.80:443", "198.51.100.80:8443"]);
        assert_eq!(web.names().into_keys().collect::<Vec<_>>(), ["a.example", "b.example"]);
    }
}
