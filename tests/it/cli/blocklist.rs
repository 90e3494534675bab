//! `blocklist`: what it says of a list, and that what it leaves is what Debian's iprange leaves.

use super::{Command, Place};
use serde_json::Value;

const LIST: &str = "; a list\n\n192.0.2.0/25 ; SBL1\n192.0.2.128/25\n203.0.113.9/24 # x\n0.0.0.0/0\n10.0.0.1\n10.0.0.2\n10.0.0.3\n\
    10.0.0.4\nevil.example\n2001:db8::1\n\u{1b}[2Jx\n";
const ACCOUNT: &str = "\
a.txt: 13 lines: 4 taken, 7 refused, 2 blank or a comment
  refused 1: no address, network or range
    line 13: \\u{1b}[2Jx
  refused 1: a host name: the set would ask DNS at boot, and fail where there is none yet
    line 11: evil.example
  refused 1: wider than a /8 (IPv4) or a /16 (IPv6)
    line 6: 0.0.0.0/0
  refused 4: meets private networks (RFC 1918, 100.64.0.0/10, fc00::/7)
    line 7: 10.0.0.1
    line 8: 10.0.0.2
    line 9: 10.0.0.3
    and 1 more
  cut 1: what is to be let in is taken out of
    line 5: 203.0.113.9/24 # x
IPv4: 2 networks of 2 lengths, 384 addresses
  hash:net family inet hashsize 64 maxelem 64: about 1 KiB of kernel memory
IPv6: 1 network of 1 length
  hash:net family inet6 hashsize 64 maxelem 64: about 1 KiB of kernel memory
";

fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.at("a.txt"), LIST).unwrap();
    place
}

#[test]
fn an_account_says_what_is_refused_and_what_is_left() {
    let place = place();
    let all = |format| ["blocklist", "a.txt", "--allow", "203.0.113.0/25", "--format", format];
    place.check(&all("human"), 0, ACCOUNT, "");
    let networks = "192.0.2.0/24\n203.0.113.128/25\n2001:db8::1\n";
    place.check(&all("cidr"), 0, networks, ACCOUNT);
    let restore = "create hardtack-block4 hash:net family inet hashsize 64 maxelem 64\n\
        add hardtack-block4 192.0.2.0/24\nadd hardtack-block4 203.0.113.128/25\n\
        create hardtack-block6 hash:net family inet6 hashsize 64 maxelem 64\nadd hardtack-block6 2001:db8::1\n";
    place.check(&all("ipset"), 0, restore, ACCOUNT);
}

#[test]
fn the_account_for_programs_has_the_same() {
    let place = place();
    std::fs::write(place.at("b.txt"), "1.2.3.4\n").unwrap();
    let (code, out, err) = place.run(&["blocklist", "--format", "json", "a.txt", "b.txt"]);
    assert_eq!((code, err.as_str(), out.lines().count()), (0, "", 1));
    let said: Value = serde_json::from_str(&out).unwrap();
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&said), "format sources ipv4 ipv6 faults");
    assert_eq!((&said["format"], said["faults"].as_array().unwrap().len()), (&1.into(), 0));
    let source = &said["sources"][0];
    assert_eq!(keys(source), "file lines taken blank refused cut");
    let refused: Value = serde_json::from_str(
        r#"{"reason": "host-name", "words": "a host name: the set would ask DNS at boot, and fail where there is none yet",
            "count": 1, "examples": [{"line": 11, "text": "evil.example"}]}"#,
    )
    .unwrap();
    assert_eq!(source["refused"][1], refused);
    let small: Value = serde_json::from_str(
        r#"{"file":"b.txt","lines":1,"taken":1,"blank":0,"refused":[],"cut":{"count":0,"examples":[]}}"#,
    )
    .unwrap();
    assert_eq!(said["sources"][1], small);
    assert_eq!(keys(&said["ipv4"]), "networks lengths addresses hashsize maxelem memory_bytes");
    assert_eq!((&said["ipv4"]["networks"], &said["ipv4"]["addresses"]), (&3.into(), &"513".into()));
    std::fs::write(place.at("none.txt"), "<html>\n").unwrap();
    let (code, out, err) = place.run(&["blocklist", "--format", "json", "none.txt"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    let why = "none.txt: all of its entries are refused";
    assert_eq!((code, err), (1, format!("hardtack: {why}\n")));
    assert_eq!((&said["faults"][0], &said["ipv4"], &said["ipv6"]), (&why.into(), &Value::Null, &Value::Null));
}

#[test]
fn a_list_of_nothing_is_an_error() {
    let place = Place::new();
    let write = |name: &str, text: &str| std::fs::write(place.at(name), text).unwrap();
    write("empty.txt", "");
    write("page.txt", "<html>\n");
    write("good.txt", "192.0.2.0/24\n");
    write("wide.txt", &(11..160).map(|n| format!("{n}.0.0.0/8\n")).collect::<String>());
    let accounts = "empty.txt: 0 lines: 0 taken, 0 refused, 0 blank or a comment\n\
        page.txt: 1 line: 0 taken, 1 refused, 0 blank or a comment\n  refused 1: no address, network or range\n    line 1: <html>\n\
        good.txt: 1 line: 1 taken, 0 refused, 0 blank or a comment\n";
    let faults = "hardtack: empty.txt: there is no entry in it\nhardtack: page.txt: all of its entries are refused\n";
    place.check(&["blocklist", "empty.txt", "page.txt", "good.txt"], 1, accounts, faults);
    let both = format!("{accounts}{faults}");
    place.check(&["blocklist", "empty.txt", "page.txt", "good.txt", "--format", "ipset"], 1, "", &both);
    let (code, out, err) = place.run(&["blocklist", "wide.txt"]);
    assert_eq!((code, err.as_str()), (1, "hardtack: these lists block half of IPv4 or more\n"));
    assert!(!out.contains("IPv4: "), "{out}");
    // What is to be let in is all that is named.
    let halves = ["blocklist", "good.txt", "--allow", "192.0.2.0/25", "--allow", "192.0.2.128/25", "--format", "cidr"];
    let all = "good.txt: 1 line: 0 taken, 1 refused, 0 blank or a comment\n  refused 1: inside of a network that is to be let in\n    \
        line 1: 192.0.2.0/24\nhardtack: good.txt: all of its entries are refused\n";
    place.check(&halves, 1, "", all);
}

#[test]
fn what_cannot_be_read_is_named() {
    let place = place();
    let missing = "hardtack: nope.txt: cannot be read: No such file or directory (os error 2)\n";
    place.check(&["blocklist", "a.txt", "nope.txt"], 2, "", missing);
    place.check(&["blocklist", "."], 2, "", "hardtack: .: this is a directory; name the lists in it\n");
    let url = "hardtack: https://example.org/drop.txt: this verb reads files and asks no network; fetch the list into a file first\n";
    place.check(&["blocklist", "https://example.org/drop.txt"], 2, "", url);
    let bits = "hardtack: `10.0.0.1/8` has bits set beyond its prefix; write `10.0.0.0/8`\n";
    place.check(&["blocklist", "a.txt", "--allow", "10.0.0.1/8"], 2, "", bits);
    assert_eq!(place.run(&["blocklist"]).0, 2);
}

#[test]
fn what_is_left_is_what_iprange_leaves() {
    let place = Place::new();
    // The same list each time; half of it in a few networks, so that there is much to merge.
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut list = String::from("# a list\n\n");
    for n in 0..30_000 {
        let (a, b) = if n % 2 == 0 { (random(89) + 11, random(256)) } else { (45, 3) };
        let (c, d) = (random(256), random(256));
        let address = format!("{a}.{b}.{c}.{d}");
        list.push_str(&match random(8) {
            0 => format!("{address}/{}\n", 20 + random(13)),
            1 => format!("  {address}/32 ; SBL{n}\r\n"),
            2 => format!("{address}-{a}.{b}.{}.255\n", c + random(256 - c)),
            3 => format!("{address} - {a}.{b}.{c}.{} # x\n", d + random(256 - d)),
            4 => format!("{address};x\n"),
            5 => format!("\t{address}/31\t\n"),
            _ => format!("{address}\n"),
        });
    }
    std::fs::write(place.at("list"), &list).unwrap();
    let theirs =
        Command::new("iprange").arg(place.at("list")).output().expect("iprange, of Debian's package of that name");
    let (code, ours, err) = place.run(&["blocklist", "list", "--format", "cidr"]);
    assert_eq!(
        (code, err.lines().next()),
        (0, Some("list: 30002 lines: 30000 taken, 0 refused, 2 blank or a comment"))
    );
    assert!(theirs.stderr.is_empty() && ours.lines().count() > 5000, "{}", ours.lines().count());
    assert!(
        ours.as_bytes() == theirs.stdout,
        "{:?}",
        ours.lines().zip(String::from_utf8_lossy(&theirs.stdout).lines()).find(|(a, b)| a != b)
    );
}
