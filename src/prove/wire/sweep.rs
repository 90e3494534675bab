//! Probing: windows of probes, each ended by a barrier.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use smoltcp::wire::TcpControl;

use super::build;
use super::frames::{self, Flags, Key, Kind, Mac, Note, our_mac};
use super::limits::Limits;
use super::segment::framed;
use super::{Answer, Inner, Probe, Shared, TICK, What, Why};

const WINDOW: usize = 200;
/// How often a barrier is sent before it is lost; the wait doubles each time, from half a second.
const ATTEMPTS: u32 = 5;
/// So many probes of one source are asked again slowly. More, and they are unknown.
const SLOWLY: usize = 64;
/// So many datagrams are remembered, that an answer may still come to.
const DATAGRAMS: usize = 200_000;
/// Introductions come from this epoch, so that the answers to them are no barriers.
const HELLO: u16 = u16::MAX;

/// What one sweep leaves to the next: what it has cost the guest, and in which epoch late answers may still come.
#[derive(Default)]
pub(super) struct Lasting {
    limits: Limits,
    epoch: u16,
}

struct Sweep<'a> {
    shared: &'a Shared,
    give_up: &'a dyn Fn() -> bool,
    probes: &'a [Probe],
    answers: Vec<Option<Answer>>,
    /// Which probe a key is of, and the sequence number of its SYN. Kept to the end: an answer that comes after
    /// its barrier still counts.
    expected: BTreeMap<Key, (usize, u32)>,
    guest_mac: Mac,
    guest4: Ipv4Addr,
    epoch: &'a mut u16,
    /// The epochs that were answered.
    arp: BTreeSet<u16>,
    adverts: BTreeSet<u16>,
    trip: Duration,
    limits: &'a mut Limits,
}

/// Asks everything.
pub(super) fn run(shared: &Shared, probes: &[Probe], give_up: &dyn Fn() -> bool) -> Vec<Answer> {
    let mut lasting = shared.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
    let Lasting { limits, epoch } = &mut *lasting;
    // The last sweep may have been given up before its last barrier. Zero is what everyone else asks in.
    *epoch = *epoch % (HELLO / 2) + 1;
    let guest = {
        let mut inner = shared.lock();
        inner.notes = inner.guest.mac.map(|_| Vec::new());
        // Those of the last sweep may still be answered.
        if DATAGRAMS < inner.datagrams.len() {
            inner.datagrams.clear();
        }
        inner.guest
    };
    let Some(guest_mac) = guest.mac else {
        return vec![Answer::Unknown(Why::NoGuest); probes.len()];
    };
    let mut sweep = Sweep {
        shared,
        give_up,
        probes,
        answers: vec![None; probes.len()],
        expected: BTreeMap::new(),
        guest_mac,
        guest4: guest.ipv4.unwrap_or(shared.network.guest4),
        epoch,
        arp: BTreeSet::new(),
        adverts: BTreeSet::new(),
        trip: Duration::ZERO,
        limits,
    };
    let address6 = guest.ipv6_link_local.or(guest.ipv6_global);
    for v4 in [true, false] {
        let family = |&index: &usize| {
            let Probe { source, dest, .. } = sweep.probes[index];
            source.is_ipv4() == dest.is_ipv4() && dest.is_ipv4() == v4
        };
        let indices: Vec<usize> = (0..probes.len()).filter(family).collect();
        if let Err(why) = sweep.family(&indices, address6) {
            for index in indices {
                sweep.answers[index].get_or_insert(Answer::Unknown(why));
            }
        }
    }
    shared.lock().notes = None;
    sweep.answers.into_iter().map(|answer| answer.unwrap_or(Answer::Unknown(Why::MixedFamilies))).collect()
}

impl Sweep<'_> {
    fn family(&mut self, indices: &[usize], address6: Option<Ipv6Addr>) -> Result<(), Why> {
        let mut slow: BTreeMap<IpAddr, (VecDeque<usize>, usize)> = BTreeMap::new();
        for window in indices.chunks(WINDOW) {
            for index in self.window(window, address6)? {
                let (queue, _) = slow.entry(self.probes[index].source).or_insert((VecDeque::new(), WINDOW));
                queue.push_back(index);
            }
        }
        // Each source has its own purse of ICMP errors. While it does not run dry, everything in a window is
        // decided; when it does, the next window is smaller and waits until it is full again.
        loop {
            let mut window = Vec::new();
            for (queue, size) in slow.values_mut() {
                let size = (*size).min(WINDOW - window.len()).min(queue.len());
                window.extend(queue.drain(..size));
            }
            if window.is_empty() {
                return Ok(());
            }
            self.refill(&window)?;
            let undecided = self.window(&window, address6)?;
            for (source, (queue, size)) in &mut slow {
                let again = undecided.iter().filter(|&&index| self.probes[index].source == *source);
                let before = queue.len();
                queue.extend(again);
                if queue.len() == before {
                    *size = (*size * 2).min(WINDOW);
                } else if SLOWLY < queue.len() {
                    for index in queue.drain(..) {
                        self.answers[index].get_or_insert(Answer::Unknown(Why::RateLimited));
                    }
                } else {
                    *size = (*size / 2).max(5);
                }
            }
        }
    }

    /// Waits until the guest may again send as many ICMP errors to these sources as it ever may.
    fn refill(&mut self, window: &[usize]) -> Result<(), Why> {
        let sources: BTreeSet<IpAddr> = window.iter().map(|&index| self.probes[index].source).collect();
        while let Some(rest) = self.limits.rest(&sources, Instant::now()) {
            self.listen(Instant::now() + rest)?;
        }
        Ok(())
    }

    /// Sends a window; what is left silent and may only have been limited is returned.
    fn window(&mut self, indices: &[usize], address6: Option<Ipv6Addr>) -> Result<Vec<usize>, Why> {
        let Some(&first) = indices.first() else {
            return Ok(Vec::new());
        };
        if (self.give_up)() {
            return Err(Why::GivenUp);
        }
        let target = match self.probes[first].dest {
            IpAddr::V4(_) => IpAddr::V4(self.guest4),
            IpAddr::V6(dest) if !dest.is_multicast() => IpAddr::V6(dest),
            IpAddr::V6(_) => IpAddr::V6(address6.ok_or(Why::NoGuest)?),
        };
        let macs = (our_mac(HELLO), self.guest_mac);
        let mut bytes = Vec::new();
        let sources: BTreeSet<IpAddr> = indices.iter().map(|&index| self.probes[index].source).collect();
        let hellos: BTreeSet<Vec<u8>> =
            sources.iter().filter_map(|&source| self.shared.network.introduce(macs, source, target)).collect();
        hellos.iter().for_each(|hello| framed(hello, &mut bytes));
        self.limits.begin(Instant::now());
        let mut datagrams = Vec::new();
        for &index in indices {
            let key = self.send(index, &mut bytes);
            if key.kind == Kind::Udp {
                datagrams.push(key);
            }
        }
        self.shared.lock().datagrams.extend(datagrams);
        // The second barrier is for answers that the first has overtaken, in a queue of the guest or on its way out.
        self.barrier(target, bytes)?;
        self.barrier(target, Vec::new())?;
        let mut undecided = Vec::new();
        for &index in indices {
            if self.answers[index].is_none() {
                if self.limits.dry(self.probes[index].source) {
                    undecided.push(index);
                } else {
                    self.answers[index] = Some(Answer::Silent);
                }
            }
        }
        Ok(undecided)
    }

    fn send(&mut self, index: usize, bytes: &mut Vec<u8>) -> Key {
        let Probe { source, dest, what } = self.probes[index];
        let macs = (our_mac(0), build::mac(dest, self.guest_mac));
        let (port, seq) = self.shared.port();
        let key = |kind, their_port| Key { kind, ours: source, theirs: dest, our_port: port, their_port };
        let from = SocketAddr::new(source, port);
        let (key, frame) = match what {
            What::Tcp(to) => {
                let frame = build::tcp(macs, from, SocketAddr::new(dest, to), TcpControl::Syn, seq);
                (key(Kind::Tcp, to), Some(frame))
            }
            What::Udp(to) => (key(Kind::Udp, to), Some(build::udp(macs, from, SocketAddr::new(dest, to), b"hardtack"))),
            What::Echo => (Key::echo(source, port), build::echo(macs, source, dest, port)),
        };
        if let Some(frame) = frame {
            framed(&frame, bytes);
        }
        self.expected.insert(key, (index, seq));
        key
    }

    /// Sends what is to be sent and a neighbour request, and waits for the answer to that.
    fn barrier(&mut self, target: IpAddr, mut bytes: Vec<u8>) -> Result<(), Why> {
        let first = *self.epoch;
        let router4 = self.shared.network.router4;
        let mut patience = (self.trip * 8).max(Duration::from_millis(500));
        let mut alive = 0;
        for attempt in 0..ATTEMPTS {
            let macs = (our_mac(*self.epoch), self.guest_mac);
            match target {
                IpAddr::V6(target) => framed(&build::solicit(macs, frames::ROUTER6, target), &mut bytes),
                IpAddr::V4(target) => framed(&build::arp_frame(true, macs.0, macs.1, router4, target), &mut bytes),
            }
            if target.is_ipv6() && 0 < attempt {
                // Is it the guest that is silent, or its IPv6?
                framed(&build::arp_frame(true, macs.0, macs.1, router4, self.guest4), &mut bytes);
            }
            self.shared.lock().outbox.append(&mut bytes);
            self.shared.wake();
            let sent = Instant::now();
            while sent.elapsed() < patience {
                let done = if target.is_ipv4() { &self.arp } else { &self.adverts };
                if done.range(first..=*self.epoch).next().is_some() {
                    self.trip = sent.elapsed();
                    // Answers to the other attempts may still come: the next barrier is another.
                    if 0 < attempt {
                        *self.epoch += 1;
                    }
                    self.arp.clear();
                    self.adverts.clear();
                    return Ok(());
                }
                if target.is_ipv6() && self.arp.contains(self.epoch) {
                    alive += 1;
                    break;
                }
                self.listen(sent + patience)?;
            }
            *self.epoch += 1;
            if 1 < alive {
                return Err(Why::NeighbourSilent);
            }
            patience *= 2;
        }
        Err(Why::BarrierLost)
    }

    /// Hears what there is, and waits for it if there is nothing.
    fn listen(&mut self, until: Instant) -> Result<(), Why> {
        loop {
            let mut inner = self.shared.lock();
            if inner.notes.as_ref().is_none_or(Vec::is_empty) && !inner.closed {
                let rest = until.saturating_duration_since(Instant::now());
                inner = self.shared.sleep(inner, rest.min(TICK));
            }
            let Inner { notes, closed, .. } = &mut *inner;
            let (notes, closed) = (notes.replace(Vec::new()).unwrap_or_default(), *closed);
            drop(inner);
            for note in &notes {
                self.hear(note);
            }
            if !notes.is_empty() || until <= Instant::now() {
                return Ok(());
            }
            if closed {
                return Err(Why::WireClosed);
            }
            if (self.give_up)() {
                return Err(Why::GivenUp);
            }
        }
    }

    fn hear(&mut self, note: &Note) {
        let (key, answer) = match *note {
            Note::Arp { epoch, from } => {
                if from == self.guest4 {
                    self.arp.insert(epoch);
                }
                return;
            }
            Note::Advert { epoch } => {
                self.adverts.insert(epoch);
                return;
            }
            Note::Error { to, kind, code, about } => {
                self.limits.error(to, Instant::now());
                let Some(key) = about else { return };
                (key, Answer::Unreachable { kind, code })
            }
            Note::Reply { key } => (key, Answer::Reply),
            Note::Tcp { key, flags, ack } => {
                let Some(&(_, seq)) = self.expected.get(&key) else {
                    return;
                };
                let ours = flags.ack && ack == seq.wrapping_add(1);
                let answer = match flags {
                    Flags { rst: true, ack, .. } if ours || !ack => Answer::Reset,
                    Flags { syn: true, rst: false, .. } if ours => Answer::Open,
                    _ => Answer::Unknown(Why::OddAnswer),
                };
                (key, answer)
            }
        };
        let Some(&(index, _)) = self.expected.get(&key) else {
            return;
        };
        let known = &mut self.answers[index];
        if matches!(known, None | Some(Answer::Silent | Answer::Unknown(_))) {
            *known = Some(answer);
        }
    }
}
