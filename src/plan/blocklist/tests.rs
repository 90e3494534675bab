use super::*;
use crate::report::FromText;
use proptest::collection::vec;
use proptest::prelude::*;

fn cidrs(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| Cidr::from_text(text).unwrap()).collect()
}

fn outcome(allow: &[&str], sources: &[&[u8]]) -> Outcome {
    let mut builder = Builder::new(&cidrs(allow));
    for source in sources {
        builder.source("list", *source).unwrap();
    }
    builder.finish()
}

/// What is left of a list, or the faults; and the codes of what was refused.
fn made(allow: &[&str], list: &[u8]) -> (Vec<String>, Vec<&'static str>) {
    let outcome = outcome(allow, &[list]);
    let left = match &outcome.blocklist {
        Ok(list) => {
            let mut text = String::new();
            list.write_networks(&mut text).unwrap();
            text.lines().map(str::to_owned).collect()
        }
        Err(faults) => faults.iter().map(|fault| fault.message.clone()).collect(),
    };
    (left, outcome.accounts[0].refused.keys().map(|why| why.code()).collect())
}

#[test]
fn a_line_is_an_entry_or_nothing() {
    let cases: &[(&str, &[&str])] = &[
        ("192.0.2.1", &["192.0.2.1"]),
        ("192.0.2.1/32", &["192.0.2.1"]),
        ("192.0.2.1/24", &["192.0.2.0/24"]),
        ("1.2.3.4-1.2.3.9", &["1.2.3.4/30", "1.2.3.8/31"]),
        ("1.2.3.4 - 1.2.3.4", &["1.2.3.4"]),
        ("1.10.16.0/20 ; SBL256894", &["1.10.16.0/20"]),
        ("1.10.16.0/20;SBL256894", &["1.10.16.0/20"]),
        ("1.2.3.4# seen today", &["1.2.3.4"]),
        ("\t 1.2.3.4 \t\r", &["1.2.3.4"]),
        ("223.255.255.255", &["223.255.255.255"]),
        ("9.0.0.0/8", &["9.0.0.0/8"]),
        ("2001:db8::1", &["2001:db8::1"]),
        ("2001:DB8:0:0::/32", &["2001:db8::/32"]),
        ("2001:db8::1/48 ; SBL1", &["2001:db8::/48"]),
        ("2001:db8::-2001:db8::2", &["2001:db8::/127", "2001:db8::2"]),
        ("2a00::/16", &["2a00::/16"]),
        (r#"{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}"#, &["1.10.16.0/20"]),
        (r#"{"cidr":"2001:db8::\/32","sblid":"SBL1;#"}"#, &["2001:db8::/32"]),
    ];
    for (line, left) in cases {
        assert_eq!(made(&[], line.as_bytes()), (left.iter().map(ToString::to_string).collect(), vec![]), "{line:?}");
    }
    for line in ["", " ", "\r", "# x", " ; Spamhaus DROP List 2026/01/01", r#"{"type":"metadata","records":1}"#] {
        assert_eq!(made(&[], line.as_bytes()), (vec!["list: there is no entry in it".to_owned()], vec![]), "{line:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let long = format!("1.2.3.4 #{}", "x".repeat(LONGEST_LINE));
    let cases: &[(&str, &[&[u8]])] = &[
        (
            "not-an-address",
            &[
                b"1.2.3",
                b"1.2.3.4.5",
                b"1.2.3.256",
                b"16909060",
                b"1.2.3.4,5.6.7.8",
                b"<!DOCTYPE html>",
                b"http://x/",
                b"-",
                b"1.2.3.4-",
                b"1.2.3.4--1.2.3.5",
                b"1.2.3.4-2001:db8::1",
                b".1.2.3.4",
                b"1..2.3",
                b"1.2.3.4.",
                b"+1.2.3.4",
                b"\xff\xfe1\x00.\x002\x00",
                b"\x1f\x8b\x08",
                b"1.2.3.4\x00",
                b"fe80::1%eth0",
                b"2001:db8:::1",
                b"{",
                b"{}",
                b"[1]",
                br#"{"cidr":1}"#,
                br#"{"cidr":"1.2.3.4","cidr":"1.2.3.5"}"#,
                b"\xd9\xa1.2.3.4",
                b"/24",
                b"1 .2.3.4",
                b"// x",
            ],
        ),
        (
            "host-name",
            &[b"localhost", b"evil.example", b"evil-site.example", b"x.example/24", b"0x01020304", b"add x 1.2.3.4"],
        ),
        ("leading-zero", &[b"010.2.3.4", b"1.2.3.04", b"1.2.3.000/24", b"1.2.3.01-1.2.3.4", b"00.1.2.3"]),
        (
            "prefix",
            &[
                b"1.2.3.4/33",
                b"1.2.3.4/",
                b"1.2.3.4/ 24",
                b"1.2.3.0/255.255.255.0",
                b"1.2.3.4/024",
                b"1.2.3.4/-1",
                b"1.2.3.4/99999999999",
                b"1.2.3.4/24/25",
                b"2001:db8::/129",
                b"1.2.3.0/24-1.2.4.0/24",
            ],
        ),
        ("backwards", &[b"1.2.3.9-1.2.3.4", b"2001:db8::2-2001:db8::1"]),
        (
            "more-text",
            &[b"1.2.3.4 foo", b"1.2.3.0\t1.2.3.255\t24", b"1.2.3.0/24 x", b"2001:db8::1 x", b"1.2.3.4\r5.6.7.8"],
        ),
        ("long-line", &[long.as_bytes()]),
        (
            "too-wide",
            &[
                b"0.0.0.0/0",
                b"8.8.8.8/1",
                b"128.0.0.0/1",
                b"8.0.0.0/7",
                b"1.2.3.4/0",
                b"9.0.0.0-10.0.0.0",
                b"::/0",
                b"2000::/3",
                b"2a00::/15",
            ],
        ),
        ("loopback", &[b"127.0.0.1", b"127.0.0.0/8", b"::1"]),
        (
            "link-local",
            &[
                b"169.254.169.254",
                b"169.254.0.0/16",
                b"169.0.0.0/8",
                b"169.253.0.0-169.254.0.0",
                b"fe80::1",
                b"fe80::/10",
            ],
        ),
        (
            "private",
            &[
                b"10.0.0.0/8",
                b"10.1.2.3",
                b"172.0.0.0/8",
                b"192.168.0.0/16",
                b"192.160.0.0/12",
                b"100.64.0.1",
                b"fd00::/8",
                b"fc00::/7",
            ],
        ),
        ("embedded", &[b"::ffff:1.2.3.4", b"::ffff:0:0/96", b"64:ff9b::102:304"]),
        (
            "nobodys",
            &[
                b"0.0.0.0",
                b"0.1.2.3/8",
                b"192.0.0.192",
                b"224.0.0.0/3",
                b"255.255.255.255",
                b"::",
                b"ff02::1",
                b"4000::/16",
                b"fec0::1",
            ],
        ),
        ("let-in", &[b"198.51.100.7", b"198.51.100.0/25", b"2001:db8:7::/48", b"168.63.129.16"]),
    ];
    for (code, lines) in cases {
        for line in *lines {
            let wanted = (vec!["list: all of its entries are refused".to_owned()], vec![*code]);
            assert_eq!(
                made(&["198.51.100.0/24", "2001:db8:7::/48"], line),
                wanted,
                "{}",
                String::from_utf8_lossy(line)
            );
            // It keeps no other line from being taken.
            let (left, refused) = made(&["198.51.100.0/24", "2001:db8:7::/48"], &[*line, b"\n9.9.9.9"].concat());
            assert_eq!((left, refused), (vec!["9.9.9.9".to_owned()], vec![*code]));
        }
    }
}

#[test]
fn a_line_may_be_as_long_as_it_may_be() {
    let line = |length: usize| format!("1.2.3.4#{}", "x".repeat(length - 8));
    for end in ["", "\n", "\n\n"] {
        assert_eq!(made(&[], format!("{}{end}", line(LONGEST_LINE)).as_bytes()).1, [""; 0]);
        assert_eq!(made(&[], format!("{}{end}", line(LONGEST_LINE + 1)).as_bytes()).1, ["long-line"]);
    }
    let outcome = outcome(&[], &[format!("{}\n5.6.7.8\nx y", line(3 * LONGEST_LINE)).as_bytes()]);
    let account = &outcome.accounts[0];
    assert_eq!((account.lines, account.taken, account.blank), (3, 1, 0));
    assert_eq!(account.refused[&Refusal::HostName].examples, [(3, "x y".to_owned())]);
}

#[test]
fn a_source_without_an_end_comes_to_one() {
    let mut builder = Builder::new(&[]);
    builder.source("good", b"1.2.3.4\n".as_slice()).unwrap();
    builder.source("endless", std::io::repeat(b'1')).unwrap();
    builder.source("late", b"1.2.3.4\n".as_slice()).unwrap();
    let outcome = builder.finish();
    assert_eq!(outcome.blocklist.unwrap_err(), [Fault::new("endless: more than 512 MiB of lists")]);
    assert_eq!(outcome.accounts.iter().map(|account| account.lines).collect::<Vec<_>>(), [1, 1, 0]);
}

#[test]
fn a_byte_order_mark_is_one_at_the_beginning_only() {
    assert_eq!(
        made(&[], b"\xef\xbb\xbf1.2.3.4\r\n5.6.7.8\r\n"),
        (vec!["1.2.3.4".to_owned(), "5.6.7.8".to_owned()], vec![])
    );
    assert_eq!(made(&[], b"1.2.3.4\n\xef\xbb\xbf5.6.7.8\n"), (vec!["1.2.3.4".to_owned()], vec!["not-an-address"]));
}

#[test]
fn what_is_let_in_is_cut_out_exactly() {
    let (left, refused) =
        made(&["203.0.113.7", "203.0.113.128/25", "2001:db8::/34"], b"203.0.113.0/24\n2001:db8::/32\n");
    let wanted = [
        "203.0.113.0/30",
        "203.0.113.4/31",
        "203.0.113.6",
        "203.0.113.8/29",
        "203.0.113.16/28",
        "203.0.113.32/27",
        "203.0.113.64/26",
        "2001:db8:4000::/34",
        "2001:db8:8000::/33",
    ];
    assert_eq!((left, refused), (wanted.map(str::to_owned).to_vec(), vec![]));
    // Nor can two entries say together what one may not.
    let both = made(&["203.0.113.0/24"], b"203.0.113.0-203.0.114.0\n203.0.112.255-203.0.113.255\n");
    assert_eq!(both.0, ["203.0.112.255", "203.0.114.0"]);
    let azure = outcome(&[], &[b"168.63.129.0/24"]);
    assert_eq!(azure.accounts[0].cut, Tally { count: 1, examples: vec![(1, "168.63.129.0/24".to_owned())] });
    assert_eq!(azure.blocklist.unwrap().figures4().addresses, 255);
    let nothing = made(&["203.0.113.0/25", "203.0.113.128/25"], b"203.0.113.0/24");
    assert_eq!((nothing.0, nothing.1), (vec!["list: all of its entries are refused".to_owned()], vec!["let-in"]));
}

#[test]
fn every_source_must_have_an_entry() {
    let outcome = outcome(&[], &[b"1.2.3.4\n", b"<html>\n", b"# nothing today\n"]);
    let faults: Vec<_> = outcome.blocklist.unwrap_err().into_iter().map(|fault| fault.message).collect();
    assert_eq!(faults, ["list: all of its entries are refused", "list: there is no entry in it"]);
    let none = Builder::new(&[]).finish().blocklist.unwrap_err();
    assert_eq!(none[0].message, "all that the entries name is to be let in: nothing is left to block");
}

#[test]
fn all_entries_together_must_not_be_the_internet() {
    let eights = |last: u32| (1..=last).map(|n| format!("{n}.0.0.0/9\n{n}.128.0.0/9\n")).collect::<String>();
    let half = made(&[], eights(223).as_bytes());
    assert_eq!(half.0, ["these lists block half of IPv4 or more"]);
    let (left, refused) = made(&[], eights(120).as_bytes());
    assert!(left.contains(&"32.0.0.0/3".to_owned()), "{left:?}");
    assert_eq!(refused, ["private"]);
    let wide: String = (0x2000..0x3000).map(|n| format!("{n:x}::/16\n")).collect();
    assert_eq!(made(&[], wide.as_bytes()).0, ["these lists block half of IPv6 or more"]);
}

#[test]
fn examples_are_few_and_inert() {
    let outcome = outcome(&[], &["\u{1b}[2J\u{202e}x\n".repeat(5).as_bytes()]);
    let tally = &outcome.accounts[0].refused[&Refusal::NotAnAddress];
    assert_eq!((tally.count, tally.examples.len()), (5, EXAMPLES));
    assert_eq!(tally.examples[0], (1, "\\u{1b}[2J\\u{202e}x".to_owned()));
}

#[test]
fn sets_have_room_and_a_size_that_was_measured() {
    let list = |count: u32| {
        let text: String = (0..count).map(|n| format!("{}\n", std::net::Ipv4Addr::from(0x0b00_0000 + 2 * n))).collect();
        outcome(&[], &[text.as_bytes()]).blocklist.unwrap()
    };
    let sizes = |f: Figures| (f.networks, f.lengths, f.addresses, f.hashsize, f.maxelem);
    assert_eq!(sizes(list(1).figures4()), (1, 1, 1, 64, 64));
    assert_eq!(sizes(list(64).figures4()), (64, 1, 64, 64, 128));
    assert_eq!(sizes(list(65).figures4()), (65, 1, 65, 128, 128));
    assert_eq!(sizes(list(52_428).figures4()), (52_428, 1, 52_428, 65_536, 65_536));
    assert_eq!(sizes(list(52_429).figures4()), (52_429, 1, 52_429, 65_536, 131_072));
    assert_eq!(sizes(list(1).figures6()), (0, 0, 0, 64, 64));
    // The slabs of Linux 6.18 grew by this much, in KiB; ipset 7.17, random networks.
    for (count, v4, v6) in [(10_000, 604, 836), (100_000, 5952, 8080), (1_000_000, 50_252, 73_776)] {
        let hashsize = usize::next_power_of_two(count);
        for (element, measured) in [(8, v4), (20, v6)] {
            let estimate = set::memory(count, hashsize, element) / 1024;
            assert!(estimate.abs_diff(measured) * 10 < measured, "{count}: {estimate} for {measured}");
        }
    }
}

#[test]
fn both_sets_are_made_whatever_is_in_them() {
    let mut text = String::new();
    outcome(&[], &[b"192.0.2.0/24\n1.2.3.4\n"]).blocklist.unwrap().write_restore(SET4, "other", &mut text).unwrap();
    let wanted = "create hardtack-block4 hash:net family inet hashsize 64 maxelem 64\n\
        add hardtack-block4 1.2.3.4\nadd hardtack-block4 192.0.2.0/24\n\
        create other hash:net family inet6 hashsize 64 maxelem 64\n";
    assert_eq!(text, wanted);
}

/// Networks as a tree has them, from bits that are set or not: the reference, which knows nothing of ranges.
fn tree(bits: &[bool], first: u128, all: u32, name: &dyn Fn(u128, u32) -> String, out: &mut Vec<String>) {
    let depth = bits.len().ilog2();
    if bits.iter().all(|bit| *bit) {
        out.push(name(first, all - depth));
    } else if bits.iter().any(|bit| *bit) {
        let (low, high) = bits.split_at(bits.len() / 2);
        tree(low, first, all, name, out);
        tree(high, first + low.len() as u128, all, name, out);
    }
}

const SIZE: u128 = 1 << 10;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merged_and_cut_is_what_a_tree_of_bits_says(
        entries in vec((0..SIZE, 0..=10u32, 0..SIZE, any::<bool>()), 1..60),
        allow in vec((0..SIZE, 0..=6u32), 0..6),
        six in any::<bool>(),
    ) {
        let (base, all) = if six { (0x2a00 << 112, 128) } else { (0x0909_0800, 32) };
        let address = |a: u128| if six { std::net::Ipv6Addr::from(a).to_string() }
            else { std::net::Ipv4Addr::from(u32::try_from(a).unwrap()).to_string() };
        let name = |first: u128, prefix: u32| if prefix == all { address(first) } else { format!("{}/{prefix}", address(first)) };
        let mut bits = vec![false; SIZE as usize];
        let mut list = String::new();
        for (at, hosts, other, range) in entries {
            let (first, last) = if range { (at.min(other), at.max(other)) } else { (at >> hosts << hosts, (at >> hosts << hosts) + (1 << hosts) - 1) };
            bits[first as usize..=last as usize].fill(true);
            list.push_str(&if range { format!("{}-{}\n", address(base + first), address(base + last)) }
                else { format!("{}/{}\n", address(base + at), all - hosts) });
        }
        let mut allowed = Vec::new();
        for (at, hosts) in allow {
            let first = at >> hosts << hosts;
            bits[first as usize..(first + (1 << hosts)) as usize].fill(false);
            allowed.push(Cidr::from_text(&format!("{}/{}", address(base + first), all - hosts)).unwrap());
        }
        let mut wanted = Vec::new();
        tree(&bits, base, all, &name, &mut wanted);
        let mut builder = Builder::new(&allowed);
        builder.source("list", list.as_bytes()).unwrap();
        match builder.finish().blocklist {
            Ok(made) => {
                let mut text = String::new();
                made.write_networks(&mut text).unwrap();
                prop_assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
            }
            Err(_) => prop_assert!(wanted.is_empty()),
        }
    }

    #[test]
    fn no_bytes_break_it_and_every_line_is_accounted_for(bytes in vec(prop_oneof![any::<u8>(), proptest::sample::select(b"0123456789abf.:/-#; \n\r{}\"".as_slice())], 0..400)) {
        let outcome = outcome(&["9.0.0.0/9"], &[&bytes]);
        let account = &outcome.accounts[0];
        let refused: u64 = account.refused.values().map(|tally| tally.count).sum();
        prop_assert_eq!(account.lines, account.taken + account.blank + refused);
        let lines = bytes.split_inclusive(|b| *b == b'\n').count() as u64;
        prop_assert_eq!(account.lines, lines);
        prop_assert!(account.taken > 0 || outcome.blocklist.is_err());
    }
}
