//! The TCP stack of a bridge, and what its visitors and the guest have to say to each other.
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use super::BridgeEnd;
use super::device::Wire;
use super::frames::{Key, Kind, Mac, our_mac};

/// How long the guest has to answer a SYN; smoltcp repeats it meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFER: usize = 65536;

/// One visitor and its connection.
pub(super) struct Visitor {
    pub(super) local: TcpStream,
    handle: SocketHandle,
    pub(super) key: Key,
    /// Until when the guest has to answer; `None` once it has.
    pub(super) patience: Option<Instant>,
    pub(super) refused: bool,
    /// What is to happen on the local side before we can go on.
    pub(super) wants: PollFlags,
    /// The local side has said all it will.
    ended: bool,
    /// The guest has, and the local side knows.
    answered: bool,
    dead: bool,
    reset: bool,
}

/// A TCP stack for one source address.
pub(super) struct Stack {
    pub(super) source: IpAddr,
    pub(super) dest: SocketAddr,
    pub(super) wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    pub(super) visitors: Vec<Visitor>,
    started: Instant,
}

impl Stack {
    pub(super) fn new(source: IpAddr, dest: SocketAddr, guest: Mac, seed: u32) -> Stack {
        let mut wire = Wire { heard: VecDeque::new(), sent: Vec::new(), guest };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(our_mac(0))));
        config.random_seed = seed.into();
        let mut interface = Interface::new(config, &mut wire, smoltcp::time::Instant::ZERO);
        // Everything is on this link: there is only the guest on it. One address always fits.
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(source.into(), 0));
        });
        let (sockets, visitors) = (SocketSet::new(Vec::new()), Vec::new());
        Stack { source, dest, wire, interface, sockets, visitors, started: Instant::now() }
    }

    pub(super) fn connect(&mut self, local: TcpStream, port: u16) {
        let mut socket = socket();
        // Addresses and ports were looked at when the bridge was opened. If it fails all the same, the socket stays
        // closed and the visitor is told that it was refused.
        let _ = socket.connect(self.interface.context(), self.dest, (self.source, port));
        let key = Key {
            kind: Kind::Tcp,
            ours: self.source,
            theirs: self.dest.ip(),
            our_port: port,
            their_port: self.dest.port(),
        };
        self.visit(local, socket, key);
    }

    /// Takes the connection that the guest begins with the segment that comes next.
    pub(super) fn accept(&mut self, local: TcpStream, key: Key) {
        let mut socket = socket();
        // As above: the port is not 0, and the socket is new.
        let _ = socket.listen((self.source, key.our_port));
        self.visit(local, socket, key);
    }

    fn visit(&mut self, local: TcpStream, socket: Socket<'static>, key: Key) {
        self.visitors.push(Visitor {
            local,
            handle: self.sockets.add(socket),
            key,
            patience: Some(Instant::now() + PATIENCE),
            refused: false,
            wants: PollFlags::empty(),
            ended: false,
            answered: false,
            dead: false,
            reset: false,
        });
    }

    fn now(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(self.started.elapsed().as_micros() as i64)
    }

    pub(super) fn pause(&mut self) -> Option<Duration> {
        let now = self.now();
        let stack = self.interface.poll_delay(now, &self.sockets).map(Into::into);
        let patience = self.visitors.iter().filter_map(|visitor| visitor.patience).min();
        let patience = patience.map(|end| end.saturating_duration_since(Instant::now()));
        stack.into_iter().chain(patience).min()
    }

    pub(super) fn abort(&mut self) {
        for visitor in &mut self.visitors {
            self.sockets.get_mut::<Socket<'_>>(visitor.handle).abort();
            (visitor.patience, visitor.dead, visitor.reset) = (None, true, true);
        }
    }

    /// Lets the stack work and carries bytes both ways until neither has more to do.
    pub(super) fn turn(&mut self) -> Option<BridgeEnd> {
        let mut outcome = None;
        loop {
            self.poll();
            let mut moved = false;
            for visitor in &mut self.visitors {
                let socket = self.sockets.get_mut::<Socket<'_>>(visitor.handle);
                outcome = visitor.decide(socket).or(outcome);
                moved |= visitor.carry(socket);
            }
            if !moved {
                self.poll();
                return outcome;
            }
        }
    }

    fn poll(&mut self) {
        loop {
            let now = self.now();
            self.interface.poll(now, &mut self.wire, &mut self.sockets);
            // The stack asked who the guest is, and we have told it.
            if self.wire.heard.is_empty() {
                return;
            }
        }
    }

    pub(super) fn bury(&mut self) {
        let sockets = &mut self.sockets;
        self.visitors.retain(|visitor| {
            if visitor.dead {
                sockets.remove(visitor.handle);
                if visitor.reset {
                    // With no time to linger a close is a reset. If it fails, the visitor sees an end instead.
                    let _ = rustix::net::sockopt::set_socket_linger(&visitor.local, Some(Duration::ZERO));
                }
            }
            !visitor.dead
        });
    }
}

fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(None);
    socket
}

impl Visitor {
    /// Sees what has become of the connection.
    fn decide(&mut self, socket: &mut Socket<'_>) -> Option<BridgeEnd> {
        let (state, late) = (socket.state(), self.patience.is_some_and(|end| end <= Instant::now()));
        let outcome = match (self.patience, state) {
            (Some(_), State::Closed) => Some(BridgeEnd::Refused),
            (Some(_), State::SynSent) if self.refused => Some(BridgeEnd::Refused),
            (Some(_), State::Listen | State::SynReceived | State::SynSent) if late => Some(BridgeEnd::Silent),
            (Some(_), State::Listen | State::SynReceived | State::SynSent) | (None, _) => None,
            (Some(_), _) => Some(BridgeEnd::Open),
        };
        match outcome {
            Some(BridgeEnd::Open) => self.patience = None,
            Some(BridgeEnd::Refused | BridgeEnd::Silent) => {
                socket.abort();
                (self.patience, self.dead, self.reset) = (None, true, true);
            }
            None => {}
        }
        outcome
    }

    /// Carries bytes; whether there were any.
    fn carry(&mut self, socket: &mut Socket<'_>) -> bool {
        let mut moved = false;
        self.wants = PollFlags::empty();
        if self.dead || self.patience.is_some() {
            return false;
        }
        while socket.can_recv() && !self.dead {
            match socket.recv(|bytes| take(self.local.write(bytes))) {
                Ok(Ok(Some(_))) => moved = true,
                Ok(Ok(None)) => {
                    self.wants |= PollFlags::OUT;
                    break;
                }
                Ok(Err(_)) | Err(_) => self.end(socket),
            }
        }
        while !self.ended && socket.can_send() && !self.dead {
            match socket.send(|bytes| take(self.local.read(bytes))) {
                Ok(Ok(Some(0))) => {
                    self.ended = true;
                    socket.close();
                    moved = true;
                }
                Ok(Ok(Some(_))) => moved = true,
                Ok(Ok(None)) => {
                    self.wants |= PollFlags::IN;
                    break;
                }
                Ok(Err(_)) | Err(_) => self.end(socket),
            }
        }
        let finished = matches!(socket.state(), State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if finished && !self.answered && !socket.can_recv() && !self.dead {
            self.answered = true;
            // It may be gone already, and then knows.
            let _ = self.local.shutdown(Shutdown::Write);
        }
        match socket.state() {
            // What the guest sent before it reset the connection is still delivered.
            State::Closed if !socket.can_recv() => {
                self.dead = true;
                self.reset |= !(self.ended && self.answered);
            }
            State::TimeWait if self.answered => self.dead = true,
            _ => {}
        }
        moved
    }

    /// The local side is gone.
    fn end(&mut self, socket: &mut Socket<'_>) {
        socket.abort();
        (self.dead, self.reset) = (true, true);
    }
}

/// How much of a buffer was used, and the result; `None` if it would block.
fn take(result: io::Result<usize>) -> (usize, io::Result<Option<usize>>) {
    match result {
        Ok(size) => (size, Ok(Some(size))),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => (0, Ok(None)),
        Err(error) => (0, Err(error)),
    }
}
