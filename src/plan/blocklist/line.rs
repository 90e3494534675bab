//! One line of a list, as bytes: whatever it holds, it is an entry, nothing, or refused with a reason.

use super::Refusal;
use super::range::{Address, Range};
use serde::Deserialize;
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// What a line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    V4(Range<u32>),
    V6(Range<u128>),
}

/// Reads a line, with or without its line end; none when it is blank, or only a comment.
pub(super) fn parse(line: &[u8]) -> Result<Option<Entry>, Refusal> {
    let line = line.trim_ascii();
    if line.starts_with(b"{") {
        return record(line);
    }
    // `#` is FireHOL's comment, `;` that of Spamhaus; each may stand right behind an entry.
    let end = line.iter().position(|b| matches!(b, b'#' | b';')).unwrap_or(line.len());
    let text = line[..end].trim_ascii_end();
    if text.is_empty() { Ok(None) } else { entry(text).map(Some) }
}

/// A line of Spamhaus' newer form; the last one tells of the list and has no network.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    cidr: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

fn record(line: &[u8]) -> Result<Option<Entry>, Refusal> {
    match serde_json::from_slice(line) {
        Ok(Record { cidr: Some(text), .. }) => entry(text.as_bytes()).map(Some),
        Ok(Record { kind: Some(kind), .. }) if kind == "metadata" => Ok(None),
        _ => Err(Refusal::NotAnAddress),
    }
}

fn entry(text: &[u8]) -> Result<Entry, Refusal> {
    if let Some(at) = text.iter().position(|b| *b == b'/') {
        let (address, prefix) = (&text[..at], &text[at + 1..]);
        return match address_of(address).map_err(|why| worse(text, why))? {
            Number::V4(a) => Ok(Entry::V4(Range::network(a, prefix_of(prefix, u32::BITS)?))),
            Number::V6(a) => Ok(Entry::V6(Range::network(a, prefix_of(prefix, u128::BITS)?))),
        };
    }
    let why = match address_of(text) {
        Ok(Number::V4(a)) => return Ok(Entry::V4(Range { first: a, last: a })),
        Ok(Number::V6(a)) => return Ok(Entry::V6(Range { first: a, last: a })),
        Err(why) => why,
    };
    let Some(at) = text.iter().position(|b| *b == b'-') else { return Err(worse(text, why)) };
    let (first, last) = (text[..at].trim_ascii_end(), text[at + 1..].trim_ascii_start());
    match (address_of(first), address_of(last)) {
        (Ok(Number::V4(first)), Ok(Number::V4(last))) => range(first, last).map(Entry::V4),
        (Ok(Number::V6(first)), Ok(Number::V6(last))) => range(first, last).map(Entry::V6),
        (Err(Refusal::LeadingZero), Ok(_)) | (Ok(_), Err(Refusal::LeadingZero)) => Err(Refusal::LeadingZero),
        _ => Err(worse(text, why)),
    }
}

// iprange turns such a range round; a source that writes it may mean anything.
fn range<A: Address>(first: A, last: A) -> Result<Range<A>, Refusal> {
    if first <= last { Ok(Range { first, last }) } else { Err(Refusal::Backwards) }
}

enum Number {
    V4(u32),
    V6(u128),
}

fn address_of(text: &[u8]) -> Result<Number, Refusal> {
    if let Some(address) = v4(text)? {
        return Ok(Number::V4(address));
    }
    let text = std::str::from_utf8(text).map_err(|_| Refusal::NotAnAddress)?;
    let address: Ipv6Addr = text.parse().map_err(|_| Refusal::NotAnAddress)?;
    Ok(Number::V6(address.into()))
}

/// Four numbers and three dots. iprange also takes `1.2.3`, `0x01020304` and `010.1.2.3`, each as another address than most
/// people would; they are no addresses here.
fn v4(text: &[u8]) -> Result<Option<u32>, Refusal> {
    let (mut address, mut octets, mut octet, mut digits, mut zero) = (0u32, 0, 0u32, 0, false);
    for (i, byte) in text.iter().chain(b".").enumerate() {
        match byte {
            b'0'..=b'9' if digits < 3 => {
                zero |= digits == 1 && octet == 0;
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && octet <= 255 && octets < 4 && (octets < 3 || i == text.len()) => {
                address = address << 8 | octet;
                (octets, octet, digits) = (octets + 1, 0, 0);
            }
            _ => return Ok(None),
        }
    }
    match (octets, zero) {
        (4, false) => Ok(Some(address)),
        (4, true) => Err(Refusal::LeadingZero),
        _ => Ok(None),
    }
}

fn prefix_of(text: &[u8], bits: u32) -> Result<u32, Refusal> {
    // Text behind an entry is another fault than a prefix that is none.
    let word = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let plain = matches!(word, [b'0'] | [b'1'..=b'9', ..]) && word.len() <= 3 && word.iter().all(u8::is_ascii_digit);
    let number = |word: &[u8]| word.iter().fold(0, |all, digit| all * 10 + u32::from(digit - b'0'));
    let prefix = if plain { number(word) } else { u32::MAX };
    if prefix > bits {
        Err(Refusal::Prefix)
    } else if word.len() < text.len() {
        Err(Refusal::MoreText)
    } else {
        Ok(prefix)
    }
}

/// A better word for what is no address, where there is one.
fn worse(text: &[u8], why: Refusal) -> Refusal {
    let word = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let bare = word.split(|b| *b == b'/').next().unwrap_or_default();
    let host = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if word.len() < text.len() && address_of(bare).is_ok() {
        Refusal::MoreText
    } else if why == Refusal::NotAnAddress && bare.iter().all(host) && bare.iter().any(u8::is_ascii_alphabetic) {
        Refusal::HostName
    } else {
        why
    }
}
