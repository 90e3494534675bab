//! What no list may block: networks that are nobody's on the internet, and those that the person lets in.

use super::Refusal;
use super::line::Entry;
use super::range::{Address, Range, merge};
use crate::plan::net::Cidr;
use std::net::IpAddr;

/// The shortest prefix of IPv4: the registries get a /8; a source that blocks more at once is broken, or hostile.
const SHORTEST4: u32 = 8;
/// The shortest prefix of IPv6: the registries get a /12, and hardly any network of one owner is shorter than this.
const SHORTEST6: u32 = 16;

const fn net4(a: u8, b: u8, c: u8, d: u8, prefix: u32) -> Range<u32> {
    let first = u32::from_be_bytes([a, b, c, d]);
    Range { first, last: first | (u32::MAX >> prefix) }
}

const fn net6(top: u128, prefix: u32) -> Range<u128> {
    Range { first: top, last: top | (u128::MAX >> prefix) }
}

// RFC 6890 and IANA's registries. Networks for documents and for measuring are not here: nobody's packets come from them,
// so that nobody is hurt, and tests are done with them.
const RESERVED4: &[(Range<u32>, Refusal)] = &[
    (net4(127, 0, 0, 0, 8), Refusal::Loopback),
    (net4(169, 254, 0, 0, 16), Refusal::LinkLocal),
    (net4(10, 0, 0, 0, 8), Refusal::Private),
    (net4(172, 16, 0, 0, 12), Refusal::Private),
    (net4(192, 168, 0, 0, 16), Refusal::Private),
    (net4(100, 64, 0, 0, 10), Refusal::Private),
    (net4(0, 0, 0, 0, 8), Refusal::Nobodys),
    (net4(192, 0, 0, 0, 24), Refusal::Nobodys),
    (net4(224, 0, 0, 0, 3), Refusal::Nobodys),
];
// The narrow ones first, so that each has its own word. The last two are all that is outside of 2000::/3.
const RESERVED6: &[(Range<u128>, Refusal)] = &[
    (Range { first: 1, last: 1 }, Refusal::Loopback),
    (net6(0xffff << 32, 96), Refusal::Embedded),
    (net6(0x0064_ff9b << 96, 96), Refusal::Embedded),
    (net6(0xfe80 << 112, 10), Refusal::LinkLocal),
    (net6(0xfc00 << 112, 7), Refusal::Private),
    (net6(0, 3), Refusal::Nobodys),
    (Range { first: 0x4000 << 112, last: u128::MAX }, Refusal::Nobodys),
];

/// 168.63.129.16. Azure's DHCP, DNS and health probes come from this one public address, in every region (Microsoft,
/// "What is IP address 168.63.129.16?"); without it a machine there is lost.
const PLATFORM: Range<u32> = Range { first: 0xa83f_8110, last: 0xa83f_8110 };

/// What is held against each entry.
pub(super) struct Guard {
    pub(super) kept4: Vec<Range<u32>>,
    pub(super) kept6: Vec<Range<u128>>,
}

/// An entry that was taken.
pub(super) enum Taken {
    /// As it is.
    Whole,
    /// A network that is let in is to be cut out of it.
    ToCut,
}

impl Guard {
    pub(super) fn new(allow: &[Cidr]) -> Self {
        let (mut kept4, mut kept6) = (vec![PLATFORM], Vec::new());
        for net in allow {
            match net.network() {
                IpAddr::V4(a) => kept4.push(Range::network(a.into(), net.prefix().into())),
                IpAddr::V6(a) => kept6.push(Range::network(a.into(), net.prefix().into())),
            }
        }
        merge(&mut kept4);
        merge(&mut kept6);
        Guard { kept4, kept6 }
    }

    pub(super) fn judge(&self, entry: Entry) -> Result<Taken, Refusal> {
        match entry {
            Entry::V4(range) => judge(range, SHORTEST4, RESERVED4, &self.kept4),
            Entry::V6(range) => judge(range, SHORTEST6, RESERVED6, &self.kept6),
        }
    }
}

// A source that lists a part of what is reserved is refused that entry whole, for it is wrong about it. What the person lets in
// is cut out exactly: the list is right about the rest.
fn judge<A: Address>(
    range: Range<A>,
    shortest: u32,
    reserved: &[(Range<A>, Refusal)],
    kept: &[Range<A>],
) -> Result<Taken, Refusal> {
    if range.is_wider_than(shortest) && !reserved.iter().any(|(net, _)| range.is_within(*net)) {
        return Err(Refusal::TooWide);
    }
    if let Some((_, why)) = reserved.iter().find(|(net, _)| range.meets(*net)) {
        return Err(*why);
    }
    // The first that does not end before it; they are merged, so that no other can hold all of it.
    match kept.get(kept.partition_point(|net| net.last < range.first)) {
        Some(net) if range.is_within(*net) => Err(Refusal::LetIn),
        Some(net) if range.meets(*net) => Ok(Taken::ToCut),
        _ => Ok(Taken::Whole),
    }
}
