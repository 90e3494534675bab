//! The prober: the whole LAN of the guest.
//!
//! QEMU's `-netdev stream,server=on` hands us the other end of the guest's cable. We are its DHCP server, its
//! router, its neighbours and everyone beyond, and so may ask it for anything from any address, and see every
//! frame it sends. There are no timeouts to guess with: frames are handled in order, so when the answer to a
//! neighbour request that was sent *after* a probe is back and the probe's is not, the probe was dropped.
//!
//! What we cannot see is left to the caller: a guest without a default route drops the answers to all sources
//! beyond the LAN, and looks blocked. A proof that a port is silent wants a control that another is open.
//!
//! This module alone names smoltcp.
mod bridge;
mod build;
mod device;
mod frames;
mod limits;
mod question;
mod segment;
mod services;
mod stack;
mod sweep;
mod watch;

#[cfg(test)]
mod tests;

use crate::plan::net::{link4, machine4};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use bridge::{Bridge, BridgeEnd};
use frames::Key;
pub use question::{Answer, Probe, What, Why};
pub use watch::{Asked, EVERY, Span, Watched, link_local};

/// How often a caller's `give_up` is asked.
const TICK: Duration = Duration::from_millis(50);
/// A host under load may take seconds until QEMU listens.
const LATE: Duration = Duration::from_secs(60);
/// How many different flows of the guest are remembered.
const CAPTURE: usize = 4096;

/// Where every name is that a name server has no other place for.
pub const ANY_NAME: &str = "*";

/// How many IPv4 routes fit into one option of DHCP, nine octets for each host (RFC 3442).
pub const MOST_ROUTES: usize = 28;

/// The addresses of the LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The address the guest is leased.
    pub guest4: Ipv4Addr,
    /// The length of the IPv4 prefix.
    pub prefix4: u8,
    /// The router, DHCP server and name server (which never answers, unless [`Lan::names`] says what).
    pub router4: Ipv4Addr,
    /// The advertised IPv6 prefix, a /64.
    pub prefix6: Ipv6Addr,
    /// Whether the router leads everywhere, or to `routes` only (RFC 3442, RFC 4191).
    pub default_route: bool,
    /// Addresses that lie behind the router, where that does not lead everywhere; of IPv4 [`MOST_ROUTES`] at most.
    pub routes: Vec<IpAddr>,
    /// Where source ports start. A second [`Lan`] for the same running guest should have another, lest the guest
    /// still remembers the flows of the first.
    pub seed: u32,
}

impl Default for Network {
    fn default() -> Network {
        Network::of(0, Vec::new())
    }
}

impl Network {
    /// The network of a card. The router of the first leads everywhere, those of the others to `routes` only.
    #[must_use]
    pub fn of(card: u8, routes: Vec<IpAddr>) -> Network {
        Network {
            guest4: machine4(card),
            prefix4: link4(card).prefix_len(),
            router4: Ipv4Addr::new(198, 18, card, 1),
            prefix6: Ipv6Addr::new(0x2001, 0xdb8, 0x77, card.into(), 0, 0, 0, 0),
            default_route: card == 0,
            routes,
            seed: 1,
        }
    }

    fn mask4(&self) -> Ipv4Addr {
        let bits = 32_u32.saturating_sub(self.prefix4.into());
        Ipv4Addr::from(u32::MAX.checked_shl(bits).unwrap_or(0))
    }

    fn on_link4(&self, address: Ipv4Addr) -> bool {
        let mask = u32::from(self.mask4());
        !address.is_unspecified() && u32::from(address) & mask == u32::from(self.router4) & mask
    }

    fn on_link6(&self, address: Ipv6Addr) -> bool {
        address.segments()[..4] == self.prefix6.segments()[..4]
    }

    /// The request that tells the guest where to send what it answers to `source`: to `source` itself if that is
    /// a neighbour, otherwise to the router. Without it the answer waits until the guest has asked, and is late.
    fn introduce(&self, macs: (frames::Mac, frames::Mac), source: IpAddr, target: IpAddr) -> Option<Vec<u8>> {
        match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let sender = if self.on_link4(source) { source } else { self.router4 };
                Some(build::arp_frame(true, macs.0, macs.1, sender, target))
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let near = source.is_unicast_link_local() || self.on_link6(source);
                Some(build::solicit(macs, if near { source } else { frames::ROUTER6 }, target))
            }
            _ => None,
        }
    }
}

/// What is known of the guest by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guest {
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// The IPv4 address on our network that it was seen to use.
    pub ipv4: Option<Ipv4Addr>,
    /// Its link-local IPv6 address, the last one claimed.
    pub ipv6_link_local: Option<Ipv6Addr>,
    /// Its IPv6 address in our prefix, the last one claimed.
    pub ipv6_global: Option<Ipv6Addr>,
    /// How many frames it has sent.
    pub frames: u64,
    /// How many of them were of IPv6.
    pub ipv6_frames: u64,
}

/// A flow the guest began by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When it was first seen, since the wire was connected.
    pub first: Duration,
    /// What it was.
    pub flow: Flow,
    /// Where to.
    pub dest: SocketAddr,
}

/// The kind of a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// A TCP SYN.
    Tcp,
    /// A datagram.
    Udp,
    /// A DNS query over UDP, and the name it asks for.
    Dns(String),
}

/// The LAN; it ends when this is dropped.
pub struct Lan {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Lan {
    /// Connects to QEMU's socket. It listens there from a thread of its own (its `net/stream.c`), so that it may already be answering
    /// elsewhere when there is no socket yet: seen once under load.
    pub fn connect(socket: &Path, network: Network) -> io::Result<Lan> {
        let began = Instant::now();
        let socket = loop {
            match UnixStream::connect(socket) {
                Err(e)
                    if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
                        && began.elapsed() < LATE =>
                {
                    thread::sleep(Duration::from_millis(10));
                }
                done => break done?,
            }
        };
        let (wake, woken) = UnixStream::pair()?;
        for end in [&socket, &wake, &woken] {
            end.set_nonblocking(true)?;
        }
        let shared = Arc::new(Shared {
            inner: Mutex::default(),
            changed: Condvar::new(),
            wake,
            sweeping: Mutex::default(),
            ports: AtomicU32::new(network.seed.wrapping_mul(7919)),
            network,
        });
        let segment = segment::Segment::new(shared.clone(), socket, woken);
        let thread = thread::Builder::new().name("lan".to_owned()).spawn(move || segment.run())?;
        Ok(Lan { shared, thread: Some(thread) })
    }

    /// What is known of the guest.
    pub fn guest(&self) -> Guest {
        self.shared.lock().guest
    }

    /// Forgets the guest's addresses, to learn them anew after a reboot.
    pub fn forget(&self) {
        self.shared.lock().guest = Guest::default();
    }

    /// Waits until the guest is as it should be; `false` if `give_up` says so first, or QEMU closes the wire.
    pub fn wait(&self, give_up: &dyn Fn() -> bool, until: &dyn Fn(&Guest) -> bool) -> bool {
        let mut inner = self.shared.lock();
        loop {
            let (guest, closed) = (inner.guest, inner.closed);
            drop(inner);
            if until(&guest) {
                return true;
            }
            if closed || give_up() {
                return false;
            }
            inner = self.shared.lock();
            if inner.guest == guest {
                inner = self.shared.sleep(inner, TICK);
            }
        }
    }

    /// Asks everything, and answers in the same order. Takes seconds for all the ports there are; longer only if
    /// the guest refuses with ICMP errors, of which Linux sends about one a second to one address.
    pub fn probe(&self, probes: &[Probe], give_up: &dyn Fn() -> bool) -> Vec<Answer> {
        sweep::run(&self.shared, probes, give_up)
    }

    /// Begins to knock without rest, until [`Lan::watched`].
    pub fn watch(&self, asked: Asked) {
        let mut inner = self.shared.lock();
        inner.watch = Some(watch::Watch::new(asked, &inner.guest));
        drop(inner);
        self.shared.wake();
    }

    /// Whether a watch, if there is one, has knocked at every port once.
    pub fn has_asked_all(&self) -> bool {
        self.shared.lock().watch.as_ref().is_none_or(watch::Watch::has_turned)
    }

    /// Ends a watch, and says what answered and when; none if there was no watch.
    pub fn watched(&self) -> Option<Watched> {
        self.shared.lock().watch.take().map(watch::Watch::done)
    }

    /// Listens on a local port; whoever connects to it is, for the guest at `dest`, at `source`.
    pub fn bridge(&self, source: IpAddr, dest: SocketAddr) -> io::Result<Bridge> {
        bridge::open(&self.shared, source, dest)
    }

    /// Plays a server: who of the guest connects to `at`, wherever that lies, is led to the local port. It ends when the bridge is dropped.
    pub fn serve(&self, at: SocketAddr, local: SocketAddr) -> io::Result<Bridge> {
        bridge::serve(&self.shared, at, local)
    }

    /// From now on the name server answers, and knows these names, in lower case, and no others, unless [`ANY_NAME`] is among them.
    pub fn names(&self, names: BTreeMap<String, IpAddr>) {
        self.shared.lock().names = names;
    }

    /// Every flow the guest began by itself, in order, the first of each kind and destination.
    pub fn capture(&self) -> Vec<Seen> {
        self.shared.lock().capture.list.clone()
    }
}

impl Lan {
    /// Forgets the flows that the guest has begun, to see them anew.
    pub fn forget_flows(&self) {
        self.shared.lock().capture = Capture::default();
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // It ends with the socket closed, whether it ran to its end or not.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Lan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lan").field("network", &self.shared.network).field("guest", &self.guest()).finish()
    }
}

/// What the callers and the thread of the LAN have in common.
struct Shared {
    network: Network,
    inner: Mutex<Inner>,
    changed: Condvar,
    wake: UnixStream,
    /// One sweep at a time, and what is left of those before.
    sweeping: Mutex<sweep::Lasting>,
    ports: AtomicU32,
}

#[derive(Default)]
struct Inner {
    guest: Guest,
    capture: Capture,
    /// Frames to send, with their lengths.
    outbox: Vec<u8>,
    /// What a sweep has to hear of, while there is one.
    notes: Option<Vec<frames::Note>>,
    /// The datagrams we sent: what answers them is no flow of the guest's own.
    datagrams: BTreeSet<Key>,
    bridges: Vec<bridge::Work>,
    /// Whom the name server knows.
    names: BTreeMap<String, IpAddr>,
    watch: Option<watch::Watch>,
    stop: bool,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep<'a>(&self, inner: MutexGuard<'a, Inner>, time: Duration) -> MutexGuard<'a, Inner> {
        self.changed.wait_timeout(inner, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn wake(&self) {
        // A full pipe wakes as well as one byte more.
        let _ = (&self.wake).write(&[0]);
    }

    /// A source port not used for long, and a sequence number.
    fn port(&self) -> (u16, u32) {
        let count = self.ports.fetch_add(1, Ordering::Relaxed);
        ((20_000 + count % 40_000) as u16, count.wrapping_mul(2_654_435_761))
    }
}

#[derive(Default)]
struct Capture {
    list: Vec<Seen>,
    known: BTreeSet<(Flow, SocketAddr)>,
}

impl Capture {
    fn note(&mut self, first: Duration, flow: Flow, dest: SocketAddr) {
        if self.list.len() < CAPTURE && self.known.insert((flow.clone(), dest)) {
            self.list.push(Seen { first, flow, dest });
        }
    }
}
