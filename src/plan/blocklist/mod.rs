//! Lists of addresses that are kept out: read, judged line by line, and made as small as they can be.
//!
//! Sources are Spamhaus' DROP (text and JSON lines), FireHOL's netsets and plain text: one address, network or range
//! (`first-last`) a line. No line can break a list: what is not understood is refused, counted and shown. A list of which
//! nothing is left is an error, for a machine that blocks nothing looks like one that does.

mod guard;
mod line;
mod range;
mod set;
#[cfg(test)]
mod tests;

pub use set::{Figures, SET4, SET6};

use crate::plan::net::Cidr;
use crate::report::{Fault, shown};
use guard::{Guard, Taken};
use line::Entry;
use range::{Range, merge, without};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

/// The longest line, in bytes, that is looked at.
pub const LONGEST_LINE: usize = 4096;
/// The most that is read, in bytes, of all sources together.
pub const LARGEST: u64 = 512 << 20;
/// The most entries of a family, before they are merged. The kernel would need some 800 MB for them.
pub const MOST_ENTRIES: usize = 1 << 24;
/// How many refused lines of a kind are remembered.
const EXAMPLES: usize = 3;

/// Why an entry is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Text that names no address.
    NotAnAddress,
    /// A name for which a set would ask DNS.
    HostName,
    /// `010.0.0.1`.
    LeadingZero,
    /// `/33`, `/255.255.255.0`, `/`.
    Prefix,
    /// The last address of a range is before its first.
    Backwards,
    /// More than an entry and a comment.
    MoreText,
    /// Longer than [`LONGEST_LINE`].
    LongLine,
    /// More addresses than any one owner has.
    TooWide,
    /// The machine itself.
    Loopback,
    /// Neighbours, and the metadata service of a cloud.
    LinkLocal,
    /// Networks inside of a site or of a provider.
    Private,
    /// Addresses of IPv4 written in IPv6.
    Embedded,
    /// What is no sender's address.
    Nobodys,
    /// All of it is in a network that is let in.
    LetIn,
}

impl Refusal {
    /// A stable word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NotAnAddress => "not-an-address",
            Refusal::HostName => "host-name",
            Refusal::LeadingZero => "leading-zero",
            Refusal::Prefix => "prefix",
            Refusal::Backwards => "backwards",
            Refusal::MoreText => "more-text",
            Refusal::LongLine => "long-line",
            Refusal::TooWide => "too-wide",
            Refusal::Loopback => "loopback",
            Refusal::LinkLocal => "link-local",
            Refusal::Private => "private",
            Refusal::Embedded => "embedded",
            Refusal::Nobodys => "nobodys",
            Refusal::LetIn => "let-in",
        }
    }

    /// The same for a person.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Refusal::NotAnAddress => "no address, network or range",
            Refusal::HostName => "a host name: the set would ask DNS at boot, and fail where there is none yet",
            Refusal::LeadingZero => "a number that begins with 0: some read it as octal",
            Refusal::Prefix => "no prefix of that family: 0 to 32, or 0 to 128",
            Refusal::Backwards => "a range whose last address is before its first",
            Refusal::MoreText => "more text behind the entry; a comment begins with # or ;",
            Refusal::LongLine => "a line of more than 4096 bytes",
            Refusal::TooWide => "wider than a /8 (IPv4) or a /16 (IPv6)",
            Refusal::Loopback => "meets loopback (127.0.0.0/8, ::1): the machine itself",
            Refusal::LinkLocal => "meets link-local (169.254.0.0/16, fe80::/10): neighbours, and a cloud's metadata",
            Refusal::Private => "meets private networks (RFC 1918, 100.64.0.0/10, fc00::/7)",
            Refusal::Embedded => "meets IPv4 in IPv6 (::ffff:0:0/96, 64:ff9b::/96)",
            Refusal::Nobodys => {
                "meets what is no sender's address (0.0.0.0/8, 192.0.0.0/24, 224.0.0.0/3, outside of 2000::/3)"
            }
            Refusal::LetIn => "inside of a network that is to be let in",
        }
    }
}

/// Lines of a kind: how many, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many there are.
    pub count: u64,
    /// Line numbers, from 1, and texts fit to be shown.
    pub examples: Vec<(u64, String)>,
}

impl Tally {
    fn add(&mut self, number: u64, line: &[u8]) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            // What is shown is cut anyhow; a line need not be turned into text whole.
            let line = &line[..line.len().min(256)];
            self.examples.push((number, shown(String::from_utf8_lossy(line).trim())));
        }
    }
}

/// What became of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name that was given for it.
    pub name: String,
    /// How many lines it has.
    pub lines: u64,
    /// Those that name something which is blocked.
    pub taken: u64,
    /// Those that are blank, or only a comment.
    pub blank: u64,
    /// Those that are refused, by reason.
    pub refused: BTreeMap<Refusal, Tally>,
    /// Of those that are taken: from which a network that is to be let in is cut out.
    pub cut: Tally,
}

/// A list that may be loaded: ranges that do not meet, in order, without anything that is to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocklist {
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
}

/// What became of all sources. There is a list only where each of them is a good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One for each source, in their order.
    pub accounts: Vec<Account>,
    /// The list, or why there is none.
    pub blocklist: Result<Blocklist, Vec<Fault>>,
}

/// Takes sources, one after the other.
pub struct Builder {
    guard: Guard,
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
    read: u64,
    accounts: Vec<Account>,
    faults: Vec<Fault>,
}

impl Builder {
    /// A list that never blocks these networks: what of them is in an entry is cut out of it.
    #[must_use]
    pub fn new(allow: &[Cidr]) -> Self {
        let guard = Guard::new(allow);
        Builder { guard, v4: Vec::new(), v6: Vec::new(), read: 0, accounts: Vec::new(), faults: Vec::new() }
    }

    /// Reads a source to its end. What is wrong with its lines is in its account, what is wrong with it as a whole in the outcome.
    ///
    /// # Errors
    /// What the reader says.
    pub fn source(&mut self, name: &str, source: impl Read) -> std::io::Result<()> {
        let mut source = BufReader::with_capacity(1 << 16, source.take(LARGEST + 1 - self.read));
        let mut account = Account {
            name: name.to_owned(),
            lines: 0,
            taken: 0,
            blank: 0,
            refused: BTreeMap::new(),
            cut: Tally::default(),
        };
        let mut line = Vec::with_capacity(LONGEST_LINE + 1);
        loop {
            line.clear();
            // With its line end, one byte more than a line may have.
            let mut size = (&mut source).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)? as u64;
            if size == 0 {
                break;
            }
            account.lines += 1;
            let whole = line.last() == Some(&b'\n') || line.len() <= LONGEST_LINE;
            if !whole {
                size += source.skip_until(b'\n')? as u64;
            }
            self.read += size;
            if self.read > LARGEST {
                self.faults.push(Fault::new(format!("{name}: more than {} MiB of lists", LARGEST >> 20)));
                break;
            }
            // What editors of Windows put before the first line.
            let text = if account.lines == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
            let entry = if whole { line::parse(text) } else { Err(Refusal::LongLine) };
            self.line(text, entry, &mut account);
            if self.v4.len().max(self.v6.len()) > MOST_ENTRIES {
                self.faults.push(Fault::new(format!("{name}: more than {MOST_ENTRIES} entries of a family")));
                break;
            }
        }
        if account.taken == 0 && self.read <= LARGEST {
            self.faults.push(Fault::new(if account.refused.is_empty() {
                format!("{name}: there is no entry in it")
            } else {
                format!("{name}: all of its entries are refused")
            }));
        }
        self.accounts.push(account);
        Ok(())
    }

    fn line(&mut self, text: &[u8], entry: Result<Option<Entry>, Refusal>, account: &mut Account) {
        let judged = match entry {
            Ok(None) => {
                account.blank += 1;
                return;
            }
            Ok(Some(entry)) => self.guard.judge(entry).map(|taken| (entry, taken)),
            Err(why) => Err(why),
        };
        match judged {
            Ok((entry, taken)) => {
                account.taken += 1;
                match entry {
                    Entry::V4(range) => self.v4.push(range),
                    Entry::V6(range) => self.v6.push(range),
                }
                if let Taken::ToCut = taken {
                    account.cut.add(account.lines, text);
                }
            }
            Err(why) => account.refused.entry(why).or_default().add(account.lines, text),
        }
    }

    /// Merges what was taken, cuts out what is let in, and judges the whole.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        merge(&mut self.v4);
        merge(&mut self.v6);
        // Without holes in it, nothing is copied.
        if self.accounts.iter().any(|account| account.cut.count > 0) {
            self.v4 = without(&self.v4, &self.guard.kept4);
            self.v6 = without(&self.v6, &self.guard.kept6);
        }
        let list = Blocklist { v4: self.v4, v6: self.v6 };
        let mut faults = self.faults;
        if faults.is_empty() {
            faults.extend(list.fault());
        }
        Outcome { accounts: self.accounts, blocklist: if faults.is_empty() { Ok(list) } else { Err(faults) } }
    }
}

impl Blocklist {
    // Each entry may be narrow enough, and all of them together the whole internet: 256 of /8 are.
    fn fault(&self) -> Option<Fault> {
        let size4: u128 = self.v4.iter().map(|r| u128::from(r.last - r.first) + 1).sum();
        let size6: u128 = self.v6.iter().map(|r| r.last - r.first + 1).sum();
        if size4 == 0 && size6 == 0 {
            return Some(Fault::new("all that the entries name is to be let in: nothing is left to block"));
        }
        // Of IPv6, what can be anybody's: 2000::/3.
        let family = if size4 >= 1 << 31 {
            "IPv4"
        } else if size6 >= 1 << 124 {
            "IPv6"
        } else {
            return None;
        };
        Some(Fault::new(format!("these lists block half of {family} or more")))
    }
}
