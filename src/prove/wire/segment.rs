//! The thread that holds the cable: reads frames, lets everyone have their say, sends.
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::wire::TcpControl;

use super::bridge::Work;
use super::build;
use super::frames::{self, Heard, Note, Said, our_mac};
use super::services::Services;
use super::{ANY_NAME, Answer, Flow, Guest, Inner, Shared};

/// Between two router advertisements.
const CHATTER: Duration = Duration::from_secs(3);
/// With so many bytes waiting for a guest that does not read, what it says is no longer answered: it could ask without end.
/// Sweeps and watches have never so much under way.
const FULL: usize = 1 << 20;

pub(super) struct Segment {
    shared: Arc<Shared>,
    socket: UnixStream,
    woken: UnixStream,
    services: Services,
    bridges: Vec<Work>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    started: Instant,
    chatter: Instant,
}

/// Puts the length QEMU wants before a frame.
pub(super) fn framed(frame: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    out.extend_from_slice(frame);
}

impl Segment {
    pub(super) fn new(shared: Arc<Shared>, socket: UnixStream, woken: UnixStream) -> Segment {
        let (services, now) = (Services::new(shared.network.clone()), Instant::now());
        let (bridges, incoming, outgoing) = Default::default();
        Segment { shared, socket, woken, services, bridges, incoming, outgoing, started: now, chatter: now }
    }

    /// Runs until told to stop or QEMU hangs up.
    pub(super) fn run(mut self) {
        // Whoever asks QEMU's end why it closed learns it from QEMU; here it only matters that it did.
        let _ = self.turns();
        self.bridges.clear();
        let mut inner = self.shared.lock();
        inner.closed = true;
        inner.bridges.clear();
        drop(inner);
        self.shared.changed.notify_all();
    }

    fn turns(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        loop {
            let mut inner = shared.lock();
            if inner.stop {
                return Ok(());
            }
            self.take_up(&mut inner);
            let guest = inner.guest;
            let now = Instant::now();
            let mut pause = CHATTER;
            if let Some(watch) = &mut inner.watch {
                if watch.pause(now).is_zero() && self.outgoing.is_empty() {
                    let frames = watch.round(now, &guest, &self.shared.network);
                    frames.iter().for_each(|frame| framed(frame, &mut self.outgoing));
                }
                // What the guest does not take yet is tried again soon.
                pause = watch.pause(now).max(Duration::from_millis(5));
            }
            drop(inner);
            if self.chatter <= now {
                // If the guest does not even take what is there, it will not miss this.
                if self.outgoing.is_empty() {
                    self.services.chatter(&guest).iter().for_each(|frame| framed(frame, &mut self.outgoing));
                }
                self.chatter = now + CHATTER;
            }
            pause = pause.min(self.chatter - now);
            self.pump(&guest);
            for bridge in &mut self.bridges {
                pause = bridge.pause().map_or(pause, |sooner| pause.min(sooner));
            }
            self.send()?;
            self.rest(pause)?;
            self.receive()?;
        }
    }

    /// Takes what callers have left here.
    pub(super) fn take_up(&mut self, inner: &mut Inner) {
        self.outgoing.append(&mut inner.outbox);
        self.bridges.append(&mut inner.bridges);
    }

    /// Lets every bridge do what there is to do.
    pub(super) fn pump(&mut self, guest: &Guest) {
        let (shared, out) = (&self.shared, &mut self.outgoing);
        self.bridges.retain_mut(|bridge| bridge.pump(shared, guest, out));
    }

    fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.outgoing.len() {
            match self.socket.write(&self.outgoing[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(size) => sent += size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing.drain(..sent);
        Ok(())
    }

    fn rest(&mut self, pause: Duration) -> io::Result<()> {
        let mut cable = PollFlags::IN;
        cable.set(PollFlags::OUT, !self.outgoing.is_empty());
        let mut fds = vec![PollFd::new(&self.socket, cable), PollFd::new(&self.woken, PollFlags::IN)];
        self.bridges.iter().for_each(|bridge| bridge.watch(&mut fds));
        // Rounded up, or the last part of a millisecond is spent spinning.
        let nanos = (pause.subsec_nanos() + 1_000_000).min(999_999_999);
        let pause = Timespec { tv_sec: pause.as_secs().min(3600) as i64, tv_nsec: nanos.into() };
        match poll(&mut fds, Some(&pause)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 65536];
        // What woke us is looked at anyway.
        let _ = self.woken.read(&mut buffer);
        let ended = loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => break true,
                Ok(size) => self.incoming.extend_from_slice(&buffer[..size]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // Let the others live if the guest never stops talking.
            if buffer.len() * 16 < self.incoming.len() {
                break false;
            }
        };
        let incoming = std::mem::take(&mut self.incoming);
        let mut rest = &incoming[..];
        let shared = self.shared.clone();
        let mut inner = shared.lock();
        while let Some((&length, after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(length) as usize;
            if frames::LARGEST < length {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some((frame, after)) = after.split_at_checked(length) else {
                break;
            };
            self.frame(frame, &mut inner);
            rest = after;
        }
        if rest.len() < incoming.len() {
            shared.changed.notify_all();
        }
        self.incoming = rest.to_vec();
        if ended { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    pub(super) fn frame(&mut self, frame: &[u8], inner: &mut Inner) {
        // Whatever is in it: much of IPv6 is nothing that we read.
        if frame.get(12..14) == Some(&[0x86, 0xdd]) {
            inner.guest.ipv6_frames += 1;
        }
        let Some(heard) = frames::parse(frame) else {
            return;
        };
        self.services.learn(&heard, &mut inner.guest);
        if let Some(answer) = self.services.answer(&heard, &mut inner.guest).filter(|_| self.outgoing.len() < FULL) {
            framed(&answer, &mut self.outgoing);
            if matches!(heard.said, Said::Dhcp(_)) {
                self.services.ask(&inner.guest).iter().for_each(|frame| framed(frame, &mut self.outgoing));
            }
        }
        let note = self.judge(&heard, frame, inner);
        if let (Some(note), Some(notes)) = (note, &mut inner.notes) {
            notes.push(note);
        }
    }

    /// Hands a frame to whom it concerns: a bridge, the sweep, or the list of what the guest began by itself.
    fn judge(&mut self, heard: &Heard<'_>, frame: &[u8], inner: &mut Inner) -> Option<Note> {
        let first = self.started.elapsed();
        match heard.said {
            Said::Arp { request: false, sender, target } if target == self.shared.network.router4 => {
                epoch(heard).map(|epoch| Note::Arp { epoch, from: sender })
            }
            Said::Advert { .. } => epoch(heard).map(|epoch| Note::Advert { epoch }),
            Said::Tcp { key, flags, seq: _, ack } => {
                if let Some(bridge) = self.bridges.iter_mut().find(|bridge| bridge.owns(&key)) {
                    // What its stack does not hear is sent again, as where a cable loses it.
                    if self.outgoing.len() < FULL {
                        bridge.hear(frame);
                    }
                    return None;
                }
                if let Some(watch) = inner.watch.as_mut().filter(|watch| watch.owns(&key)) {
                    watch.hear(&key, flags, Instant::now());
                }
                let (ours, theirs) =
                    (SocketAddr::new(key.ours, key.our_port), SocketAddr::new(key.theirs, key.their_port));
                if flags.syn && flags.ack {
                    let macs = (our_mac(0), heard.from_mac);
                    if self.outgoing.len() < FULL {
                        framed(&build::tcp(macs, ours, theirs, TcpControl::Rst, ack), &mut self.outgoing);
                    }
                } else if flags.syn {
                    inner.capture.note(first, Flow::Tcp, ours);
                    if let Some(server) =
                        self.bridges.iter_mut().find_map(|bridge| bridge.welcome(&key).then_some(bridge))
                    {
                        server.hear(frame);
                        return None;
                    }
                }
                Some(Note::Tcp { key, flags, ack })
            }
            Said::Udp { key, .. } if inner.datagrams.contains(&key) => Some(Note::Reply { key }),
            Said::Udp { key, payload } => {
                let query = if key.our_port == 53 { queried(payload) } else { None };
                if let Some(answer) = query.as_ref().and_then(|query| resolved(payload, query, &inner.names))
                    && self.outgoing.len() < FULL
                {
                    let (from, to) = (SocketAddr::new(key.ours, 53), SocketAddr::new(key.theirs, key.their_port));
                    framed(&build::udp((our_mac(0), heard.from_mac), from, to, &answer), &mut self.outgoing);
                }
                let flow = query.map(|query| Flow::Dns(query.name));
                let dest = SocketAddr::new(key.ours, key.our_port);
                inner.capture.note(first, flow.unwrap_or(Flow::Udp), dest);
                None
            }
            Said::Dhcp(_) => {
                inner.capture.note(first, Flow::Udp, SocketAddr::from(([255, 255, 255, 255], 67)));
                None
            }
            Said::EchoReply { key } => Some(Note::Reply { key }),
            Said::Error { to, kind, code, about } => {
                if let (Some(watch), Some(key)) = (&mut inner.watch, about)
                    && watch.owns(&key)
                {
                    watch.note(&key, Answer::Unreachable { kind, code }, Instant::now());
                }
                let bridge = about.and_then(|key| self.bridges.iter_mut().find(|bridge| bridge.owns(&key)));
                match (bridge, about) {
                    (Some(bridge), Some(key)) => bridge.refuse(&key),
                    _ => {
                        return Some(Note::Error { to, kind, code, about });
                    }
                }
                None
            }
            _ => None,
        }
    }
}

/// Which of our questions a neighbour's answer is to.
fn epoch(heard: &Heard<'_>) -> Option<u16> {
    let [.., high, low] = heard.to_mac;
    let epoch = u16::from_be_bytes([high, low]);
    (heard.to_mac == our_mac(epoch)).then_some(epoch)
}

/// What a DNS query asks for.
struct Query {
    name: String,
    /// Where the question ends.
    end: usize,
    /// The type of record: 1 is of IPv4, 28 of IPv6 (RFC 1035, RFC 3596).
    kind: u16,
}

/// The answer to a query: an address, or that there is no such name. Where no names are known at all there is no answer, as where no
/// name server is. One that answers some queries only would be taken for a sick one: systemd-resolved asks it by TCP from then on.
fn resolved(payload: &[u8], query: &Query, names: &BTreeMap<String, IpAddr>) -> Option<Vec<u8>> {
    if names.is_empty() {
        return None;
    }
    let address = names.get(&query.name.to_ascii_lowercase()).or_else(|| names.get(ANY_NAME));
    let data = match (query.kind, address) {
        (1, Some(IpAddr::V4(a))) => a.octets().to_vec(),
        (28, Some(IpAddr::V6(a))) => a.octets().to_vec(),
        _ => Vec::new(),
    };
    let count = u8::from(!data.is_empty());
    // The number of the query; whether there is such a name; with one question and as many records; and the question.
    let mut answer = payload.get(..2)?.to_vec();
    answer.extend([0x81, if address.is_some() { 0x80 } else { 0x83 }, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(payload.get(12..query.end)?);
    if count > 0 {
        // Its name is that of the question; class IN; for a minute.
        answer.extend([0xc0, 12]);
        answer.extend(query.kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).ok()?]);
        answer.extend(data);
    }
    Some(answer)
}

/// What a DNS query asks for.
fn queried(payload: &[u8]) -> Option<Query> {
    if payload.get(2)? & 0x80 != 0 {
        return None;
    }
    let mut rest = payload.get(12..)?;
    let mut name = String::new();
    loop {
        let (&size, after) = rest.split_first()?;
        if size == 0 {
            let kind = u16::from_be_bytes(*after.first_chunk()?);
            return Some(Query { name, end: payload.len() - after.len() + 4, kind });
        }
        let (label, after) = after.split_at_checked(usize::from(size)).filter(|_| size < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.escape_ascii().map(char::from));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{flood, shared};
    use super::*;

    #[test]
    fn a_guest_that_asks_and_never_reads_is_no_longer_answered() {
        let (shared, woken) = shared();
        let (socket, _qemu) = UnixStream::pair().expect("a pair");
        let mut segment = Segment::new(shared.clone(), socket, woken);
        for frame in flood().iter().cycle().take(60_000) {
            segment.frame(frame, &mut shared.lock());
        }
        assert!((FULL..FULL + 2000).contains(&segment.outgoing.len()), "{}", segment.outgoing.len());
        // What it takes makes room again.
        segment.outgoing.clear();
        segment.frame(&flood()[0], &mut shared.lock());
        assert!(!segment.outgoing.is_empty());
    }
}
