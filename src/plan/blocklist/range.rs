//! Addresses as whole numbers: ranges of them, merged, cut, and split into the fewest networks.

use std::net::Ipv6Addr;

/// An address as a number. What is not hot is reckoned in `u128` for both families; IPv4 is kept in four bytes, since
/// a list of a million lines is.
pub(super) trait Address: Copy + Ord + Into<u128> {
    /// How many bits it has.
    const BITS: u32;
    /// The number as an address; more bits than it has are cut off.
    fn from_bits(bits: u128) -> Self;
    /// Puts it behind a text, as a person writes it.
    fn push_to(self, text: &mut String);
}

impl Address for u32 {
    const BITS: u32 = 32;
    #[expect(clippy::cast_possible_truncation, reason = "it is what the contract says")]
    fn from_bits(bits: u128) -> Self {
        bits as u32
    }
    // By hand: with the formatter of the standard library, writing took longer than reading and merging.
    fn push_to(self, text: &mut String) {
        for (i, octet) in self.to_be_bytes().into_iter().enumerate() {
            if i > 0 {
                text.push('.');
            }
            push_octet(octet, text);
        }
    }
}

impl Address for u128 {
    const BITS: u32 = 128;
    fn from_bits(bits: u128) -> Self {
        bits
    }
    fn push_to(self, text: &mut String) {
        text.push_str(&Ipv6Addr::from(self).to_string());
    }
}

fn push_octet(octet: u8, text: &mut String) {
    for (digit, from) in [(octet / 100, 100), (octet / 10 % 10, 10), (octet % 10, 0)] {
        if octet >= from {
            text.push(char::from(b'0' + digit));
        }
    }
}

/// All ones in the lowest bits.
fn ones(bits: u32) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

/// Addresses from first to last, both in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range<A> {
    pub(super) first: A,
    pub(super) last: A,
}

impl<A: Address> Range<A> {
    /// The network of an address: what stands beyond the prefix is left out, as iprange does it.
    pub(super) fn network(address: A, prefix: u32) -> Self {
        let hosts = ones(A::BITS.saturating_sub(prefix));
        let first = address.into() & !hosts;
        Range { first: A::from_bits(first), last: A::from_bits(first | hosts) }
    }

    /// Whether they have an address in common.
    pub(super) fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether all of it is in the other.
    pub(super) fn is_within(self, other: Self) -> bool {
        other.first <= self.first && self.last <= other.last
    }

    /// Whether it has more addresses than a network of that length.
    pub(super) fn is_wider_than(self, prefix: u32) -> bool {
        self.last.into() - self.first.into() > ones(A::BITS.saturating_sub(prefix))
    }
}

/// Sorts, and makes one of those that meet or touch.
pub(super) fn merge<A: Address>(ranges: &mut Vec<Range<A>>) {
    ranges.sort_unstable_by_key(|r| r.first);
    ranges.dedup_by(|next, kept| {
        let touches = next.first.into() <= kept.last.into().saturating_add(1);
        if touches {
            kept.last = kept.last.max(next.last);
        }
        touches
    });
}

/// What is left of merged ranges without merged holes.
pub(super) fn without<A: Address>(ranges: &[Range<A>], holes: &[Range<A>]) -> Vec<Range<A>> {
    let mut left = Vec::with_capacity(ranges.len());
    let mut holes = holes.iter().copied().peekable();
    for &range in ranges {
        let mut rest = Some(range);
        while let (Some(part), Some(&hole)) = (rest, holes.peek()) {
            if hole.first > part.last {
                break;
            }
            if hole.last >= part.first {
                if hole.first > part.first {
                    left.push(Range { first: part.first, last: A::from_bits(hole.first.into() - 1) });
                }
                let next = Range { first: A::from_bits(hole.last.into().saturating_add(1)), last: part.last };
                rest = (hole.last < part.last).then_some(next);
            }
            // A hole that goes on behind this part may have a share in the next one.
            if rest.is_some() {
                holes.next();
            }
        }
        left.extend(rest);
    }
    left
}

/// A network: its first address, and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network<A> {
    pub(super) first: A,
    pub(super) prefix: u32,
}

impl<A: Address> Network<A> {
    /// Puts it behind a text as iprange and ipset write it: one address has no prefix.
    pub(super) fn push_to(self, text: &mut String) {
        self.first.push_to(text);
        if self.prefix < A::BITS {
            text.push('/');
            // A prefix is at most 127 here.
            push_octet(u8::try_from(self.prefix).unwrap_or(u8::MAX), text);
        }
    }
}

/// The fewest networks that are exactly the merged ranges, in their order.
pub(super) fn networks<A: Address>(ranges: &[Range<A>]) -> impl Iterator<Item = Network<A>> {
    ranges.iter().flat_map(|range| {
        let (mut next, last) = (Some(range.first.into()), range.last.into());
        std::iter::from_fn(move || {
            let first = next.filter(|first| *first <= last)?;
            // The largest that begins here, and does not end behind the range.
            let room = (last - first).checked_add(1).map_or(128, u128::ilog2);
            let hosts = room.min(first.trailing_zeros());
            next = (first | ones(hosts)).checked_add(1);
            Some(Network { first: A::from_bits(first), prefix: A::BITS - hosts })
        })
    })
}
