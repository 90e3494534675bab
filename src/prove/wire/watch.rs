//! Watching a whole boot: the same ports again and again, from before the machine has an address.
//!
//! There is no barrier here: what matters is what answers, and when. A round goes out only when the machine has taken the one
//! before, so nothing piles up in front of a card that is not up yet.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use smoltcp::wire::TcpControl;

use super::frames::{Flags, Key, Mac, our_mac};
use super::{Answer, Guest, Network, build};

/// Between two rounds.
pub const EVERY: Duration = Duration::from_millis(100);
/// Answers that are further apart than this are not of one span.
const GAP: Duration = Duration::from_millis(400);
/// So many spans are kept: a machine without a firewall comes to that in seconds, and has failed by then.
const SPANS: usize = 16_384;
/// When all the others were asked once, they are asked at a pace so many times slower: a long boot, and one that stands still, must
/// not be kept busy by it.
const SLOWER: usize = 8;
/// Source ports that no sweep uses.
const OWN_PORTS: std::ops::Range<u16> = 10_000..19_000;

/// What a watch asks.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The hardware address that the machine will have: it need not be there yet.
    pub mac: Mac,
    /// Who knocks on what in every round.
    pub knocks: Vec<(IpAddr, u16)>,
    /// Other ports, in order. They are asked in turn, by the first that knocks by IPv4 and by the first that knocks from a
    /// link-local address: each family has a table of rules of its own.
    pub others: Vec<u16>,
    /// How many of them each asks in a round, until all were asked once.
    pub in_turn: usize,
    /// Whether others that are refused are as they should be, and not worth a span.
    pub refused: bool,
}

/// A port that answered, and from when to when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Who knocked.
    pub source: IpAddr,
    /// The port.
    pub port: u16,
    /// What came back: open, reset or unreachable.
    pub answer: Answer,
    /// The first answer.
    pub first: Instant,
    /// The last.
    pub last: Instant,
    /// When the youngest of the knocks went out that were answered. A connection that nobody goes on with is answered again and again,
    /// seconds later.
    pub asked: Instant,
}

/// What came of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// How many rounds went out; the next goes out only when QEMU has taken the last.
    pub rounds: u32,
    /// How many times all the others were asked since the machine was first heard of; none where there are no others.
    pub turns: Option<u32>,
    /// How many rounds it takes to ask all the others once, at the pace of the end.
    pub rounds_a_turn: u32,
    /// What answered, in order.
    pub spans: Vec<Span>,
    /// More came back than is kept.
    pub full: bool,
}

pub(super) struct Watch {
    asked: Asked,
    knocks: BTreeSet<(IpAddr, u16)>,
    askers: Vec<IpAddr>,
    next: Instant,
    rounds: u32,
    /// When a round went out, by its source port.
    sent: BTreeMap<u16, Instant>,
    turn: usize,
    /// How many of the others were asked since the machine was heard of, which had sent so many frames before.
    turned: usize,
    frames: u64,
    spans: Vec<Span>,
    open: BTreeMap<(IpAddr, u16, bool), usize>,
    full: bool,
}

impl Watch {
    pub(super) fn new(asked: Asked, guest: &Guest) -> Watch {
        let sources = || asked.knocks.iter().map(|(source, _)| *source);
        let local = |source: &IpAddr| matches!(source, IpAddr::V6(a) if a.is_unicast_link_local());
        Watch {
            knocks: asked.knocks.iter().copied().collect(),
            askers: sources().find(IpAddr::is_ipv4).into_iter().chain(sources().find(local)).collect(),
            next: Instant::now(),
            rounds: 0,
            sent: BTreeMap::new(),
            turn: 0,
            turned: 0,
            frames: guest.frames,
            spans: Vec::new(),
            open: BTreeMap::new(),
            full: false,
            asked,
        }
    }

    /// Whether all the others have been asked once.
    pub(super) fn has_turned(&self) -> bool {
        self.turned >= self.asked.others.len()
    }

    pub(super) fn done(self) -> Watched {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let others = self.asked.others.len();
        Watched {
            rounds: self.rounds,
            turns: self.turned.checked_div(others).map(count),
            rounds_a_turn: count(others.div_ceil(self.pace().max(1))),
            spans: self.spans,
            full: self.full,
        }
    }

    /// How many of the others are asked in a round.
    fn pace(&self) -> usize {
        let Asked { others, in_turn, .. } = &self.asked;
        let soon = self.turned < others.len();
        if soon { *in_turn } else { in_turn.div_ceil(SLOWER) }.min(others.len())
    }

    /// How long until the next round.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// The frames of a round. The machine is asked at the address that it is about to be given, and at the one that the kernel
    /// makes of its hardware address (RFC 4291, appendix A), until it has shown others.
    pub(super) fn round(&mut self, now: Instant, guest: &Guest, network: &Network) -> Vec<Vec<u8>> {
        self.next = now + EVERY;
        self.rounds += 1;
        let mac = guest.mac.unwrap_or(self.asked.mac);
        let local = guest.ipv6_link_local.unwrap_or_else(|| link_local(mac));
        let own = OWN_PORTS.start + (self.rounds % u32::from(OWN_PORTS.end - OWN_PORTS.start)) as u16;
        self.sent.insert(own, now);
        let mut frames = Vec::new();
        let mut knock = |source: IpAddr, port: u16| {
            let dest = match source {
                IpAddr::V4(_) => IpAddr::V4(guest.ipv4.unwrap_or(network.guest4)),
                IpAddr::V6(a) if a.is_unicast_link_local() => IpAddr::V6(local),
                IpAddr::V6(_) => match guest.ipv6_global {
                    Some(global) => IpAddr::V6(global),
                    None => return,
                },
            };
            let (from, to) = (SocketAddr::new(source, own), SocketAddr::new(dest, port));
            frames.push(build::tcp((our_mac(0), mac), from, to, TcpControl::Syn, self.rounds));
        };
        self.knocks.iter().for_each(|(source, port)| knock(*source, *port));
        let others = &self.asked.others;
        let some = self.pace();
        for source in &self.askers {
            (0..some).for_each(|at| knock(*source, others[(self.turn + at) % others.len()]));
        }
        if some > 0 && !self.askers.is_empty() {
            self.turn = (self.turn + some) % others.len();
            // A machine whose cards are not up yet was not asked anything.
            self.turned += if guest.frames > self.frames { some } else { 0 };
        }
        frames
    }

    /// Whether a flow is one of ours.
    pub(super) fn owns(&self, key: &Key) -> bool {
        OWN_PORTS.contains(&key.our_port)
    }

    /// Something came back by TCP.
    pub(super) fn hear(&mut self, key: &Key, flags: Flags, now: Instant) {
        match flags {
            Flags { rst: true, .. } => self.note(key, Answer::Reset, now),
            Flags { syn: true, ack: true, .. } => self.note(key, Answer::Open, now),
            _ => {}
        }
    }

    /// Something came back. What nobody asked is no answer, whatever the machine sends.
    pub(super) fn note(&mut self, key: &Key, answer: Answer, now: Instant) {
        let (source, port, open) = (key.ours, key.their_port, answer == Answer::Open);
        let in_turn = || self.askers.contains(&source) && self.asked.others.binary_search(&port).is_ok();
        if !self.knocks.contains(&(source, port)) && (!in_turn() || (self.asked.refused && !open)) {
            return;
        }
        let asked = self.sent.get(&key.our_port).copied().unwrap_or(now);
        let at = self.open.get(&(source, port, open));
        let room = self.spans.len() < SPANS;
        match at.and_then(|at| self.spans.get_mut(*at)) {
            Some(span) if now.saturating_duration_since(span.last) <= GAP => {
                span.last = now;
                span.asked = span.asked.max(asked);
            }
            _ if room => {
                self.open.insert((source, port, open), self.spans.len());
                self.spans.push(Span { source, port, answer, first: now, last: now, asked });
            }
            _ => self.full = true,
        }
    }
}

/// The link-local address that the kernel makes of a hardware address (RFC 4291, appendix A).
#[must_use]
pub fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    let pair = |x: u8, y: u8| u16::from_be_bytes([x, y]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::wire::frames::Kind;

    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
    const NEAR: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77));

    fn watch(others: Vec<u16>, in_turn: usize) -> Watch {
        let knocks = vec![(FAR, 80), (NEAR, 80)];
        let asked = Asked { mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56], knocks, others, in_turn, refused: false };
        Watch::new(asked, &Guest::default())
    }

    fn key(ours: IpAddr, their_port: u16) -> Key {
        Key { kind: Kind::Tcp, ours, theirs: IpAddr::from([198, 18, 0, 10]), our_port: 10_001, their_port }
    }

    #[test]
    fn answers_that_follow_each_other_are_one_span() {
        let mut watch = watch(vec![1, 2, 3], 3);
        let start = Instant::now();
        let frames = watch.round(start, &Guest::default(), &Network::default());
        assert_eq!((frames.len(), watch.pause(start)), (2 + 3 + 3, EVERY));
        assert!(watch.owns(&key(FAR, 80)));
        for (ms, port, answer) in
            [(0, 80, Answer::Reset), (100, 80, Answer::Reset), (150, 80, Answer::Open), (900, 80, Answer::Reset)]
        {
            watch.note(&key(FAR, port), answer, start + Duration::from_millis(ms));
        }
        let spans: Vec<_> = watch.done().spans.iter().map(|s| (s.answer, (s.last - s.first).as_millis())).collect();
        assert_eq!(spans, [(Answer::Reset, 100), (Answer::Open, 0), (Answer::Reset, 0)]);
        let late = watch_of_one(start, Duration::from_secs(3));
        assert_eq!((late.first - start, late.asked), (Duration::from_secs(3), start), "answered late, asked early");
        let local: Ipv6Addr = "fe80::5054:ff:fe12:3456".parse().unwrap();
        assert_eq!(link_local([0x52, 0x54, 0, 0x12, 0x34, 0x56]), local);
    }

    // What a first knock that is answered so much later leaves.
    fn watch_of_one(start: Instant, later: Duration) -> Span {
        let mut watch = watch(vec![1], 1);
        watch.round(start, &Guest::default(), &Network::default());
        watch.round(start + EVERY, &Guest::default(), &Network::default());
        watch.note(&key(FAR, 80), Answer::Open, start + later);
        watch.done().spans.remove(0)
    }

    #[test]
    fn turns_count_from_when_the_machine_is_heard_of() {
        let mut watch = watch((1..=10).collect(), 4);
        let (silent, up) = (Guest::default(), Guest { frames: 1, ..Guest::default() });
        let mut asked = BTreeSet::new();
        for guest in [silent, silent, silent, silent, up, up, up, up, up] {
            for frame in watch.round(Instant::now(), &guest, &Network::default()) {
                let Some(said) = crate::prove::wire::frames::parse(&frame) else { panic!("a frame") };
                // Seen from the other side, it is the machine that knocks.
                let crate::prove::wire::frames::Said::Tcp { key, .. } = said.said else { panic!("a knock") };
                asked.insert((key.theirs, key.our_port));
            }
        }
        assert_eq!(asked.len(), 2 * 11, "all of them, from both");
        let done = watch.done();
        assert_eq!((done.rounds, done.turns, done.rounds_a_turn), (9, Some(1), 10), "and is slow by then");
    }

    #[test]
    fn what_nobody_asked_is_no_answer_and_what_comes_without_end_is_not_kept() {
        let mut watch = watch((1000..60_000).collect(), 100);
        let start = Instant::now();
        let hear = |watch: &mut Watch, source, port| watch.note(&key(source, port), Answer::Reset, start);
        hear(&mut watch, IpAddr::from([10, 1, 2, 3]), 80);
        hear(&mut watch, FAR, 999);
        assert_eq!(watch.spans.len(), 0);
        for (source, port) in (1..=u16::MAX).flat_map(|port| [(FAR, port), (NEAR, port)]) {
            hear(&mut watch, source, port);
        }
        assert!((watch.spans.len(), watch.open.len()) == (SPANS, SPANS) && watch.done().full);
    }

    #[test]
    fn others_that_are_to_be_refused_are_not_kept() {
        let mut watch = watch(vec![1, 2, 3], 3);
        watch.asked.refused = true;
        let now = Instant::now();
        for (port, answer) in [(1, Answer::Reset), (2, Answer::Unreachable { kind: 3, code: 3 }), (80, Answer::Reset)] {
            watch.note(&key(FAR, port), answer, now);
        }
        watch.note(&key(NEAR, 3), Answer::Open, now);
        assert_eq!(watch.done().spans.iter().map(|s| s.port).collect::<Vec<_>>(), [80, 3]);
    }
}
