//! The program that a machine judges lists with says of every line what `hardtack blocklist` says, and its sets are the same.

use crate::support::root;
use hardtack::plan::blocklist::{Builder, Outcome};
use hardtack::plan::net::Cidr;
use hardtack::report::FromText;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

const ALLOW: [&str; 4] = ["198.51.100.0/24", "203.0.113.9", "2001:db8:7::/48", "45.0.0.0/9"];

fn outcome(lists: &[&[u8]]) -> Outcome {
    let allow: Vec<Cidr> = ALLOW.iter().map(|net| Cidr::from_text(net).unwrap()).collect();
    let mut builder = Builder::new(&allow);
    for list in lists {
        builder.source("list", *list).unwrap();
    }
    builder.finish()
}

/// What is left of one list, and how many lines are refused for what.
fn here(list: &[u8]) -> Value {
    let outcome = outcome(&[list]);
    let mut refused = serde_json::Map::new();
    let mut counts: Vec<_> = outcome.accounts[0].refused.iter().map(|(why, tally)| (why.code(), tally.count)).collect();
    counts.sort_unstable();
    refused.extend(counts.into_iter().map(|(code, count)| (code.to_owned(), json!(count))));
    let left = match &outcome.blocklist {
        Ok(list) => {
            let mut text = String::new();
            list.write_networks(&mut text).unwrap();
            json!(text.lines().collect::<Vec<_>>())
        }
        Err(faults) => json!(faults[0].message.trim_start_matches("list: ")),
    };
    json!({ "left": left, "refused": refused })
}

// What of the program asks the machine or loads anything is left out: `own`, `fetch` and `build`.
const DRIVER: &str = r#"
import base64, importlib.util, io, json, sys
spec = importlib.util.spec_from_file_location('blocklist', sys.argv[1])
b = importlib.util.module_from_spec(spec)
spec.loader.exec_module(b)
b.say = lambda words: None
asked = json.load(sys.stdin)
kept = {b.V4: [b.PLATFORM], b.V6: []}
for text in asked['allow']:
    net = b.ipaddress.ip_network(text)
    kept[b.V4 if net.version == 4 else b.V6].append((int(net[0]), int(net[-1])))
kept = {bits: b.merge(ranges) for bits, ranges in kept.items()}
answers = []
for text in asked['lists']:
    source, left = b.Source('list'), None
    try:
        source.read(io.BytesIO(base64.b64decode(text)), kept)
        left = [n for bits in (b.V4, b.V6) for n in b.networks(bits, b.without(source.ranges[bits], kept[bits]))]
        size = {bits: sum(l - f + 1 for f, l in source.ranges[bits]) for bits in (b.V4, b.V6)}
        if size[b.V4] >= 1 << 31:
            left = 'these lists block half of IPv4 or more'
        elif size[b.V6] >= 1 << 124:
            left = 'these lists block half of IPv6 or more'
    except b.BadList as why:
        left = str(why)
    answers.append({'left': left, 'refused': dict(sorted(source.refused.items()))})
json.dump(answers, sys.stdout)
"#;

fn there(lists: &[Vec<u8>]) -> Vec<Value> {
    use base64::Engine as _;
    let encoded: Vec<String> = lists.iter().map(|l| base64::engine::general_purpose::STANDARD.encode(l)).collect();
    let asked = json!({ "allow": ALLOW, "lists": encoded }).to_string();
    let mut child = Command::new("python3")
        .args(["-B", "-c", DRIVER])
        .arg(root().join("templates/blocklist/blocklist.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()).unwrap());
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(done.status.success());
    serde_json::from_slice(&done.stdout).unwrap()
}

#[track_caller]
fn same(lists: &[Vec<u8>]) {
    let theirs = there(lists);
    assert_eq!(theirs.len(), lists.len());
    let differ: Vec<String> = lists
        .iter()
        .zip(&theirs)
        .filter(|(list, there)| here(list) != **there)
        .map(|(list, there)| format!("{:?}\n  here  {}\n  there {there}", String::from_utf8_lossy(list), here(list)))
        .collect();
    assert!(
        differ.is_empty(),
        "{} of {} differ:\n{}",
        differ.len(),
        lists.len(),
        differ[..differ.len().min(12)].join("\n")
    );
}

/// Numbers that are the same at every run (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.roll(words.len())]
    }

    fn address(&mut self) -> String {
        if self.roll(3) == 0 {
            let top = self.of(&[
                "2a0e",
                "2001:db8",
                "2001:db8:7",
                "fe80",
                "fd00",
                "ff02",
                "::ffff",
                "64:ff9b",
                "1",
                "4000",
                "",
            ]);
            let tail = self.of(&["::", "::1", ":0:0:0:0:0:0:1", "::1.2.3.4", ":1:2:3:4:5:6", "::5:0:0", ":::1", "::g"]);
            return format!("{top}{tail}");
        }
        let octets: Vec<String> = (0..4)
            .map(|_| match self.roll(40) {
                0 => self.of(&["0", "00", "010", "256", "300", "", "1e1", "-1", "٣", "9999"]).to_owned(),
                _ => self.roll(256).to_string(),
            })
            .collect();
        let first =
            self.of(&["", "", "", "10.", "127.", "169.254.", "198.51.100.", "203.0.113.", "45.", "224.", "192.0.0."]);
        format!("{first}{}", octets[first.matches('.').count()..].join("."))
    }

    fn line(&mut self) -> Vec<u8> {
        let mut text = String::new();
        if self.roll(4) == 0 {
            text.push_str(self.of(&[" ", "\t", "\u{feff}", "\u{b}", "{"]));
        }
        text.push_str(&self.address());
        match self.roll(6) {
            0 => {}
            1 => {
                let between = self.of(&["-", " - ", "--", " -", "\t-\t"]);
                text.push_str(&format!("{between}{}", self.address()));
            }
            2..4 => text.push_str(&format!("/{}", 8 + self.roll(25))),
            _ => text.push_str(self.of(&[
                "/8",
                "/9",
                "/12",
                "/16",
                "/24",
                "/31",
                "/32",
                "/33",
                "/0",
                "/7",
                "/48",
                "/64",
                "/127",
                "/128",
                "/129",
                "/",
                "/ 8",
                "/08",
                "/1e1",
                "/24/25",
                "/255.255.0.0",
            ])),
        }
        text.push_str(self.of(&[
            "",
            "",
            "",
            "",
            "",
            "",
            " ; SBL1",
            "#x",
            " x",
            "\r",
            " \t ",
            "\0",
            "\u{c}",
            ";",
            " # \u{202e}",
        ]));
        let mut line = text.into_bytes();
        if self.roll(20) == 0 && !line.is_empty() {
            let at = self.roll(line.len());
            line[at] = u8::try_from(self.roll(256)).unwrap();
        }
        line
    }
}

#[test]
fn the_machine_judges_every_line_as_the_desk_does() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut lists: Vec<Vec<u8>> = (0..12_000).map(|_| dice.line()).collect();
    let taken = lists.iter().filter(|list| here(list)["left"].is_array()).count();
    assert!((1000..10_000).contains(&taken), "{taken} are good lines: these dice tell nothing");
    for line in [
        r#"{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}"#,
        r#"{"cidr":"2001:db8::\/32","sblid":"SBL1;#"}"#,
        r#"{"type":"metadata","timestamp":1,"records":2}"#,
        r#"{"cidr":null,"type":"metadata"}"#,
        r#"{"cidr":1}"#,
        r#"{"cidr":"1.2.3.4","cidr":"1.2.3.5"}"#,
        r#"{"cidr":"1.2.3.4"} x"#,
        r#"{"cidr":"1.2.3.4","x":NaN}"#,
        r#"{"cidr":["1.2.3.4"]}"#,
        r#"{"cidr":"1.2.3.4 "}"#,
        r#"{"type":"other"}"#,
        "{",
        "{}",
        "evil.example",
        "0x01020304",
        "9.0.0.0-10.0.0.0",
        "168.63.129.16",
        "168.63.129.0/24",
        "45.0.0.0/8",
        "fe80::1%eth0",
    ] {
        lists.push(line.as_bytes().to_vec());
    }
    same(&lists);
}

#[test]
fn the_machine_makes_of_a_whole_list_what_the_desk_does() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut lists: Vec<Vec<u8>> = (0..300)
        .map(|_| (0..1 + dice.roll(60)).flat_map(|_| [dice.line(), b"\n".to_vec()].concat()).collect())
        .collect();
    // Near to each other, so that they meet and touch.
    lists.extend((0..300).map(|_| {
        let lines = (0..80).map(|_| match dice.roll(3) {
            0 => format!("9.9.{}.{}\n", dice.roll(4), dice.roll(256)),
            1 => format!("9.9.{}.0/{}\r\n", dice.roll(8), 20 + dice.roll(13)),
            _ => format!("2a00::{:x}/{}\n", dice.roll(1 << 12), 110 + dice.roll(19)),
        });
        lines.collect::<String>().into_bytes()
    }));
    let long = |length: usize| format!("1.2.3.4#{}\n5.6.7.8", "x".repeat(length - 8)).into_bytes();
    lists.extend([
        long(4095),
        long(4096),
        long(4097),
        long(20_000),
        b"".to_vec(),
        b"<html>\n".to_vec(),
        b"\xef\xbb\xbf1.2.3.4".to_vec(),
    ]);
    lists.push((1..224).map(|n| format!("{n}.0.0.0/9\n{n}.128.0.0/9\n")).collect::<String>().into_bytes());
    lists.push((0x2000..0x3000).map(|n| format!("{n:x}::/16\n")).collect::<String>().into_bytes());
    lists.push(b"45.0.0.0/10\n198.51.100.7\n203.0.113.9\n".to_vec());
    same(&lists);
}

/// What the machine itself cannot be without, as the program finds it out.
const OWN: &str = r#"
import importlib.util, io, json, os, sys
spec = importlib.util.spec_from_file_location('blocklist', sys.argv[1])
b = importlib.util.module_from_spec(spec)
spec.loader.exec_module(b)
files = {'/etc/resolv.conf': 'search x\nnameserver 9.9.9.9\nnameserver\nnameserver fe80::1%eth0\n# nameserver 1.1.1.1\nnameserver rubbish\n'}
def fake(path, **_):
    if path in files:
        return io.StringIO(files[path])
    raise FileNotFoundError(path)
b.open = fake
kept = b.own({'allow': ['192.0.2.0/24', '2001:db8:9::/48']})
json.dump([[n for n in b.networks(bits, kept[bits])] for bits in (b.V4, b.V6)], sys.stdout)
"#;

#[test]
fn routers_and_name_servers_are_never_blocked() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let ip = folder.path().join("ip");
    // As iproute2 says it: one way, several ways, and a network of our own.
    let said = r#"case $1 in -4) echo '[{"dst":"default","gateway":"203.0.113.1","dev":"eth0"},{"dst":"10.0.0.0/8","dev":"eth0"}]';;
        *) echo '[{"dst":"default","nexthops":[{"gateway":"2001:db8::1"},{"gateway":"fe80::2"}]}]';; esac"#;
    std::fs::write(&ip, format!("#!/bin/sh\n{said}\n")).unwrap();
    std::fs::set_permissions(&ip, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = |path: String| {
        let done = Command::new("python3")
            .args(["-B", "-c", OWN])
            .arg(root().join("templates/blocklist/blocklist.py"))
            .env("PATH", path)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice::<Value>(&done.stdout).unwrap()
    };
    let path = std::env::var("PATH").unwrap();
    let always = ["9.9.9.9", "168.63.129.16", "192.0.2.0/24"];
    let own = [&always[..], &["203.0.113.1"]].concat();
    let six = ["2001:db8::1", "2001:db8:9::/48", "fe80::1", "fe80::2"];
    assert_eq!(run(format!("{}:{path}", folder.path().display())), json!([own, six]));
    // Where nothing tells of routers, the rest is kept all the same.
    std::fs::write(&ip, "#!/bin/sh\necho rubbish\nexit 1\n").unwrap();
    assert_eq!(run(format!("{}:{path}", folder.path().display())), json!([always, ["2001:db8:9::/48", "fe80::1"]]));
}

/// Runs the loader on a file in a network of its own, and prints what it said and what the sets hold, for each file in turn.
fn loaded(files: &[&str]) -> Vec<(bool, String)> {
    let text = std::fs::read_to_string(root().join("tests/specs/blocklist.yaml")).unwrap();
    let (tree, _) = crate::support::bake(&text, None, &|_| {});
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("load"), &tree.get("rootfs/usr/local/lib/hardtack/blocklist-load").unwrap().data).unwrap();
    let mut script = String::from("mount -t tmpfs none /run\n");
    for (number, file) in files.iter().enumerate() {
        std::fs::write(at(&number.to_string()), file).unwrap();
        let file = at(&number.to_string());
        script.push_str(&format!(
            "sh {} {} 2>/dev/null; echo $?; ipset save 2>/dev/null | grep '^add ' | sort | tr '\\n' ','; echo\n",
            at("load").display(),
            file.display()
        ));
    }
    let done =
        Command::new("unshare").args(["-n", "-m", "sh", "-c", &script]).output().expect("unshare, of util-linux");
    let said = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    lines.chunks(2).map(|two| (two[0] == "0", two[1].trim_end_matches(',').to_owned())).collect()
}

#[test]
fn a_file_that_the_kernel_does_not_take_whole_changes_nothing() {
    let sets = |four: &str, six: &str| {
        let set = |number: u8, family: &str, adds: &str| {
            let adds: String = adds.split(' ').map(|net| format!("add hardtack-block{number}-new {net}\n")).collect();
            format!("create hardtack-block{number}-new hash:net family {family} hashsize 64 maxelem 64\n{adds}")
        };
        let ends = |word: &str| {
            [4, 6]
                .map(|n| match word {
                    "swap" => format!("swap hardtack-block{n}-new hardtack-block{n}\n"),
                    _ => format!("destroy hardtack-block{n}-new\n"),
                })
                .concat()
        };
        format!("{}{}{}{}# whole\n", set(4, "inet", four), set(6, "inet6", six), ends("swap"), ends("destroy"))
    };
    let (first, second) = (sets("9.9.9.0/24 1.2.3.4", "2a00::/32"), sets("8.8.8.0/24", "2a01::/32"));
    let in_use = "add hardtack-block4 1.2.3.4,add hardtack-block4 9.9.9.0/24,add hardtack-block6 2a00::/32";
    let bad = second.replace("add hardtack-block6-new 2a01::/32", "add hardtack-block6-new rubbish");
    let crowded = second.replacen("maxelem 64", "maxelem 1", 1).replacen(
        "8.8.8.0/24\n",
        "8.8.8.0/24\nadd hardtack-block4-new 8.8.7.0/24\n",
        1,
    );
    let cut = &second[..second.len() / 2];
    let unmarked = second.trim_end_matches("# whole\n");
    // At boot, before there are any sets: what is not whole is refused, and so the rules are.
    assert!(loaded(&[cut, unmarked, "", &bad]).iter().all(|(taken, members)| !taken && members.is_empty()));
    let seen = loaded(&[&first, cut, unmarked, "", &bad, &crowded, &first, &second]);
    for (number, (taken, members)) in seen[..7].iter().enumerate() {
        assert_eq!((*taken, members.as_str()), (number % 6 == 0, in_use), "file {number}");
    }
    assert_eq!(seen[7], (true, "add hardtack-block4 8.8.8.0/24,add hardtack-block6 2a01::/32".to_owned()));
}

#[test]
fn who_knocks_while_lists_are_fetched_is_who_can_be_answered() {
    let spec = |ipv6: &str| {
        json!({
            "hardtack": 1, "name": "a", "image": "debian-12", "deliver": ["cloud-init"],
            "hurdles": {
                "blocklist": { "sources": [{ "file": "../lists/drop.netset", "url": "https://lists.example.org/" }] },
                "firewall": { "ipv6": ipv6, "allow": [{ "service": "ssh" }, { "ports": [8080], "interface": "eth1" }] },
            },
        })
        .to_string()
    };
    let asked = |ipv6: &str| {
        let (_, _, plan) = crate::support::good(&spec(ipv6), None);
        let found = plan.proofs.iter().find_map(|p| match &p.check {
            hardtack::plan::proof::Check::Refresh(refresh) => Some(refresh.clone()),
            _ => None,
        });
        let refresh = found.expect("a proof of the refresh");
        let all = |list: &[std::net::IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let added = refresh.added.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        format!("{} / {} / {} / {added}", refresh.port, all(&refresh.kept_out), all(&refresh.let_in))
    };
    // None of those who lie behind eth1.
    let six = "22 / 1.19.0.5 2a0e:b107::5 / 203.0.113.7 2001:db8:feed::7 / 198.19.254.0/24 2001:db8:cc::/48";
    assert_eq!(asked("same"), six);
    assert_eq!(asked("off"), "22 / 1.19.0.5 / 203.0.113.7 / 198.19.254.0/24");
}
