//! What a list becomes in the kernel: two sets of `hash:net`, their sizes, and what `ipset restore` is fed.

use super::Blocklist;
use super::range::{Address, Range, networks};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A set of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// How many networks are in it.
    pub networks: usize,
    /// How many lengths their prefixes have: a packet costs one look for each (ipset(8)).
    pub lengths: usize,
    /// How many addresses it blocks.
    pub addresses: u128,
    /// How many buckets it begins with.
    pub hashsize: usize,
    /// How many networks it can hold.
    pub maxelem: usize,
    /// About how many bytes the kernel needs for it. `ipset list` says less: it counts neither the table of
    /// buckets nor what the allocator rounds up.
    pub memory: u64,
}

/// The name of the set of IPv4.
pub const SET4: &str = "hardtack-block4";
/// The name of the set of IPv6.
pub const SET6: &str = "hardtack-block6";

/// Bytes of a network in a bucket: the kernel's `hash_net4_elem` and `hash_net6_elem`.
const ELEMENT4: usize = 8;
const ELEMENT6: usize = 20;
/// The kernel makes no smaller table.
const SMALLEST: usize = 64;

fn figures<A: Address>(ranges: &[Range<A>], element: usize) -> Figures {
    let (mut count, mut seen) = (0usize, [false; 129]);
    for network in networks(ranges) {
        count += 1;
        seen[network.prefix as usize] = true;
    }
    // As many buckets as networks: with a quarter of it, buckets of a large list run over, and the kernel makes a new table
    // while it loads. Room for a quarter more, since a set takes what it can hold and then fails in the middle.
    let hashsize = count.next_power_of_two().max(SMALLEST);
    let maxelem = count.saturating_add(count.div_ceil(4)).next_power_of_two().max(SMALLEST);
    Figures {
        networks: count,
        lengths: seen.iter().filter(|seen| **seen).count(),
        addresses: ranges
            .iter()
            .fold(0u128, |all, r| all.saturating_add((r.last.into() - r.first.into()).saturating_add(1))),
        hashsize,
        maxelem,
        memory: memory(count, hashsize, element),
    }
}

// Networks fall into buckets by chance (Poisson). A bucket is 32 bytes and room for two networks at a time, rounded up to the
// allocator's next size; the table has a pointer for each. Measured on Linux 6.18 with 10,000 to 1,000,000 networks: within
// a tenth of what the slabs grew by.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
pub(super) fn memory(count: usize, hashsize: usize, element: usize) -> u64 {
    const SIZES: [usize; 8] = [64, 96, 128, 192, 256, 512, 1024, 2048];
    let load = count as f64 / hashsize as f64;
    let (mut chance, mut bytes) = ((-load).exp(), 8.0);
    for held in 1..=12usize {
        chance *= load / held as f64;
        let bucket = 32 + element * held.next_multiple_of(2);
        bytes += chance * SIZES.into_iter().find(|size| *size >= bucket).unwrap_or(bucket) as f64;
    }
    (bytes * hashsize as f64) as u64
}

impl Blocklist {
    /// The set of IPv4.
    #[must_use]
    pub fn figures4(&self) -> Figures {
        figures(&self.v4, ELEMENT4)
    }

    /// The set of IPv6.
    #[must_use]
    pub fn figures6(&self) -> Figures {
        figures(&self.v6, ELEMENT6)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        fn within<A: Address>(ranges: &[Range<A>], address: A) -> bool {
            let at = ranges.partition_point(|range| range.last < address);
            ranges.get(at).is_some_and(|range| range.first <= address)
        }
        match address {
            IpAddr::V4(a) => within(&self.v4, a.into()),
            IpAddr::V6(a) => within(&self.v6, a.into()),
        }
    }

    /// An address of it that a machine could have, of either family.
    #[must_use]
    pub fn sample(&self, ipv4: bool) -> Option<IpAddr> {
        // The first of the widest, and neither its own address nor its router's likely one where there is another.
        fn of<A: Address>(ranges: &[Range<A>]) -> Option<u128> {
            let size = |range: &Range<A>| range.last.into() - range.first.into();
            let widest = ranges.iter().rev().max_by_key(|range| size(range))?;
            Some(widest.first.into() + 5.min(size(widest)))
        }
        if ipv4 {
            of(&self.v4).map(|a| IpAddr::V4(Ipv4Addr::from(u32::from_bits(a))))
        } else {
            of(&self.v6).map(|a| IpAddr::V6(a.into()))
        }
    }

    /// Writes the networks, one a line: IPv4 and then IPv6, each in the order of its addresses.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_networks(&self, out: &mut impl fmt::Write) -> fmt::Result {
        write_lines(&self.v4, "", out)?;
        write_lines(&self.v6, "", out)
    }

    /// Writes what `ipset restore` makes both sets of. Both are made in any case: a rule that names a set which is not there
    /// keeps all of its table from being loaded.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_restore(&self, set4: &str, set6: &str, out: &mut impl fmt::Write) -> fmt::Result {
        write_set(set4, "inet", &self.figures4(), &self.v4, out)?;
        write_set(set6, "inet6", &self.figures6(), &self.v6, out)
    }
}

fn write_set<A: Address>(
    name: &str,
    family: &str,
    figures: &Figures,
    ranges: &[Range<A>],
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let Figures { hashsize, maxelem, .. } = figures;
    writeln!(out, "create {name} hash:net family {family} hashsize {hashsize} maxelem {maxelem}")?;
    write_lines(ranges, &format!("add {name} "), out)
}

fn write_lines<A: Address>(ranges: &[Range<A>], before: &str, out: &mut impl fmt::Write) -> fmt::Result {
    let mut line = String::new();
    for network in networks(ranges) {
        line.clear();
        line.push_str(before);
        network.push_to(&mut line);
        line.push('\n');
        out.write_str(&line)?;
    }
    Ok(())
}
