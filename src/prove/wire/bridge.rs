//! Bridges: a local TCP port whose visitors are, for the guest, at an address of our choosing; and the other way round, a server at
//! an address of our choosing, whose visitors from the guest are led to a local port.
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::frames::{Key, our_mac};
use super::segment::framed;
use super::stack::Stack;
use super::{Guest, Shared};

/// More visitors at once than this have to wait.
const VISITORS: usize = 64;

/// A local port that leads to the guest, or to which the guest is led. Dropped, it closes, and resets what goes through it.
pub struct Bridge {
    /// Where to connect to; or where the guest's connections go.
    pub local: SocketAddr,
    shared: Arc<Shared>,
    fate: Arc<Fate>,
}

/// What the guest did with the last connection that came to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeEnd {
    /// It accepted it.
    Open,
    /// It refused it, by a reset or an ICMP error.
    Refused,
    /// It did not answer within ten seconds.
    Silent,
}

#[derive(Default)]
struct Fate {
    outcome: Mutex<Option<BridgeEnd>>,
    dropped: AtomicBool,
}

impl Bridge {
    /// What came of the last connection, as soon as it is known, and before the local one is closed over it.
    pub fn outcome(&self) -> Option<BridgeEnd> {
        *self.fate.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.fate.dropped.store(true, Ordering::Relaxed);
        self.shared.wake();
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("local", &self.local).field("outcome", &self.outcome()).finish()
    }
}

fn sayable(address: IpAddr) -> bool {
    let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
    !address.is_unspecified() && !address.is_multicast() && address != broadcast
}

/// Leads what the guest begins to an address to a local port.
pub(super) fn serve(shared: &Arc<Shared>, at: SocketAddr, local: SocketAddr) -> io::Result<Bridge> {
    if !sayable(at.ip()) || at.port() == 0 || !local.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no server can be at {at}")));
    }
    let fate = Arc::new(Fate::default());
    // The guest is learned when it is heard of.
    let stack = Stack::new(at.ip(), SocketAddr::new(at.ip(), 0), [0; 6], shared.port().1);
    let work = Work { door: Door::Guests { port: at.port(), local }, stack, fate: fate.clone() };
    let mut inner = shared.lock();
    if inner.closed {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "the wire is closed"));
    }
    inner.bridges.push(work);
    drop(inner);
    shared.wake();
    Ok(Bridge { local, shared: shared.clone(), fate })
}

/// Opens a bridge.
pub(super) fn open(shared: &Arc<Shared>, source: IpAddr, dest: SocketAddr) -> io::Result<Bridge> {
    if !sayable(source) || !sayable(dest.ip()) || source.is_ipv4() != dest.is_ipv4() || dest.port() == 0 {
        let words = format!("no connection can go from {source} to {dest}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr()?;
    let fate = Arc::new(Fate::default());
    let mut inner = shared.lock();
    if inner.closed {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "the wire is closed"));
    }
    let guest = inner.guest.mac.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "no guest was heard"))?;
    let stack = Stack::new(source, dest, guest, shared.port().1);
    inner.bridges.push(Work { door: Door::Ours(listener), stack, fate: fate.clone() });
    drop(inner);
    shared.wake();
    Ok(Bridge { local, shared: shared.clone(), fate })
}

/// Where visitors come in.
enum Door {
    /// From this machine.
    Ours(TcpListener),
    /// From the guest, to this port; and where they are led to.
    Guests { port: u16, local: SocketAddr },
}

/// The side of a bridge that the thread of the LAN works on.
pub(super) struct Work {
    door: Door,
    stack: Stack,
    fate: Arc<Fate>,
}

impl Work {
    /// Whether a segment belongs to one of its connections.
    pub(super) fn owns(&self, key: &Key) -> bool {
        self.stack.visitors.iter().any(|visitor| visitor.key == *key)
    }

    /// Takes a connection that the guest begins, if it is to this server: `false` if it is not.
    pub(super) fn welcome(&mut self, key: &Key) -> bool {
        let Door::Guests { port, local } = self.door else { return false };
        if (key.ours, key.our_port) != (self.stack.source, port) || self.fate.dropped.load(Ordering::Relaxed) {
            return false;
        }
        // Who is not let in now asks again.
        if self.stack.visitors.len() < VISITORS
            && let Ok(stream) = TcpStream::connect(local)
            && stream.set_nonblocking(true).is_ok()
            && stream.set_nodelay(true).is_ok()
        {
            self.stack.accept(stream, *key);
        }
        true
    }

    /// Takes a segment it owns.
    pub(super) fn hear(&mut self, frame: &[u8]) {
        self.stack.wire.hear(frame);
    }

    /// Takes an ICMP error about a connection it owns. Once that is established the error is no matter: so do all
    /// systems, or any stranger could end it.
    pub(super) fn refuse(&mut self, key: &Key) {
        let visitors = self.stack.visitors.iter_mut().filter(|visitor| visitor.key == *key);
        visitors.for_each(|visitor| visitor.refused |= visitor.patience.is_some());
    }

    #[cfg(test)]
    pub(super) fn has_visitor(&self) -> bool {
        !self.stack.visitors.is_empty()
    }

    /// The descriptors that wake it.
    pub(super) fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if let Door::Ours(listener) = &self.door
            && self.stack.visitors.len() < VISITORS
        {
            fds.push(PollFd::new(listener, PollFlags::IN));
        }
        for visitor in &self.stack.visitors {
            if !visitor.wants.is_empty() {
                fds.push(PollFd::new(&visitor.local, visitor.wants));
            }
        }
    }

    /// How long until it has something to do by itself.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        self.stack.pause()
    }

    /// Does all there is to do; `false` once the bridge was dropped.
    pub(super) fn pump(&mut self, shared: &Shared, guest: &Guest, out: &mut Vec<u8>) -> bool {
        let dropped = self.fate.dropped.load(Ordering::Relaxed);
        self.stack.wire.guest = guest.mac.unwrap_or(self.stack.wire.guest);
        while !dropped && self.stack.visitors.len() < VISITORS {
            let Door::Ours(listener) = &self.door else { break };
            let Ok((local, _)) = listener.accept() else { break };
            if local.set_nonblocking(true).is_err() || local.set_nodelay(true).is_err() {
                continue;
            }
            let macs = (our_mac(0), self.stack.wire.guest);
            if let Some(hello) = shared.network.introduce(macs, self.stack.source, self.stack.dest.ip()) {
                framed(&hello, out);
            }
            self.stack.connect(local, shared.port().0);
        }
        if dropped {
            self.stack.abort();
        }
        if let Some(outcome) = self.stack.turn() {
            *self.fate.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        }
        self.stack.bury();
        self.stack.wire.sent.drain(..).for_each(|frame| framed(&frame, out));
        !dropped
    }
}
