//! A cloud's metadata service, as EC2 has it: where a machine without a seed finds its user-data, once its network is up.
//!
//! It is on this host's loopback; the wire leads the machine to it at 169.254.169.254 (AWS, "Instance metadata categories").
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::http;
use crate::plan::filter::METADATA;
use crate::plan::net::{link4, machine4};

const PATIENCE: Duration = Duration::from_secs(60);

/// The service; it ends when this is dropped.
#[derive(Debug)]
pub struct Metadata {
    local: SocketAddr,
    ended: Arc<AtomicBool>,
}

/// Where the machine finds it.
#[must_use]
pub fn place() -> SocketAddr {
    SocketAddr::new(METADATA[0], 80)
}

/// What QEMU tells the machine of itself, so that cloud-init believes to be in EC2: both begin with ec2 (AWS, "Identify EC2
/// instances").
pub const SMBIOS: &str = "type=1,manufacturer=hardtack,product=prove,uuid=ec2ad7ac-0000-4000-8000-686172647461,\
    serial=ec2ad7ac-0000-4000-8000-686172647461";

/// All that can be asked for, by its path behind the version.
fn leaves(user_data: &[u8], instance: &str, hostname: &str, cards: &[[u8; 6]]) -> BTreeMap<String, Vec<u8>> {
    let mut leaves = BTreeMap::from([
        ("user-data".to_owned(), user_data.to_vec()),
        (
            "dynamic/instance-identity/document".to_owned(),
            br#"{"region": "nowhere-1", "availabilityZone": "nowhere-1a"}"#.to_vec(),
        ),
    ]);
    let mut say = |path: String, text: String| drop(leaves.insert(format!("meta-data/{path}"), text.into_bytes()));
    for (name, text) in [
        ("ami-id", "ami-00000000"),
        ("instance-id", instance),
        ("instance-type", "prove.small"),
        ("hostname", hostname),
        ("local-hostname", hostname),
        ("placement/availability-zone", "nowhere-1a"),
    ] {
        say(name.to_owned(), text.to_owned());
    }
    for (number, mac) in (0..).zip(cards) {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let at = format!("network/interfaces/macs/{mac}");
        say(format!("{at}/device-number"), number.to_string());
        say(format!("{at}/interface-id"), format!("eni-{number}"));
        say(format!("{at}/mac"), mac);
        say(format!("{at}/local-ipv4s"), machine4(number).to_string());
        say(format!("{at}/subnet-ipv4-cidr-block"), link4(number).to_string());
    }
    leaves
}

/// What is at a path: a leaf, or the names of what is below it.
fn at(leaves: &BTreeMap<String, Vec<u8>>, path: &str) -> Option<Vec<u8>> {
    let path = path.trim_matches('/');
    if let Some(leaf) = leaves.get(path) {
        return Some(leaf.clone());
    }
    let mut names: Vec<String> = Vec::new();
    for rest in leaves.keys().filter_map(|key| key.strip_prefix(path)?.strip_prefix('/')) {
        let name = rest.split_once('/').map_or(rest.to_owned(), |(folder, _)| format!("{folder}/"));
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then(|| names.join("\n").into_bytes())
}

impl Metadata {
    /// Serves a machine with these cards its user-data.
    ///
    /// # Errors
    /// No port can be had.
    pub fn new(user_data: &[u8], instance: &str, hostname: &str, cards: &[[u8; 6]]) -> Result<Self> {
        let leaves = Arc::new(leaves(user_data, instance, hostname, cards));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not serve the metadata")?;
        let local = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let over = ended.clone();
        std::thread::Builder::new().name("metadata".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), leaves) = (stream, leaves.clone()) else { continue };
                std::thread::spawn(move || _ = serve(stream, &leaves));
            }
        })?;
        Ok(Metadata { local, ended })
    }

    /// Where it is on this host.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // It waits for a visitor.
        let _ = TcpStream::connect(self.local);
    }
}

fn serve(mut stream: TcpStream, leaves: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = http::read(&mut stream)?;
    // Whatever version is asked for: /latest, /2021-03-23.
    let path = request.path.trim_start_matches('/').split_once('/').map_or("", |(_, path)| path);
    let body = match (request.method.as_str(), path) {
        ("PUT", "api/token") => Some(b"a-token-of-hardtack-prove".to_vec()),
        ("GET", path) => at(leaves, path),
        _ => None,
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    http::answer(&mut stream, &format!("{status}\r\nContent-Length: {}", body.len()), &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_listed_and_leaves_are_read() {
        let leaves = leaves(b"#cloud-config\n", "i-1", "web01", &[[0x52, 0x54, 0, 0x12, 0x34, 0x56]]);
        let of = |path: &str| at(&leaves, path).map(|body| String::from_utf8(body).unwrap_or_default());
        let mac = "network/interfaces/macs/52:54:00:12:34:56";
        assert_eq!(of("user-data").as_deref(), Some("#cloud-config\n"));
        assert_eq!(of("meta-data/instance-id").as_deref(), Some("i-1"));
        assert_eq!(
            of("meta-data/").as_deref(),
            Some("ami-id\nhostname\ninstance-id\ninstance-type\nlocal-hostname\nnetwork/\nplacement/")
        );
        assert_eq!(of("meta-data/network/interfaces/macs/").as_deref(), Some("52:54:00:12:34:56/"));
        assert_eq!(of(&format!("meta-data/{mac}/subnet-ipv4-cidr-block")).as_deref(), Some("198.18.0.0/24"));
        assert_eq!(of("meta-data/nothing"), None);
    }
}
