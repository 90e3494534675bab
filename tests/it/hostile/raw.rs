//! Files that are hostile as files: no YAML, too much YAML, no file at all.

use crate::support::{hardtack, root};
use hardtack::plan::credential::{PasswordHash, PublicKey};
use hardtack::plan::name::{GroupName, HostName, Interface, SysctlKey, SysctlValue, UserName};
use hardtack::plan::net::{Cidr, Ports};
use hardtack::report::{FromText, Report, Source, human, is_unseen, json};
use hardtack::spec;
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;

/// A spec of one person with something at the end of it.
fn with(end: &str) -> String {
    format!("hardtack: 1\nname: web01\nimage: debian-12\n{end}")
}

/// Runs `check` on a file: it must end soon, with code 1 or 2, and say what is wrong, and where.
#[track_caller]
fn refused(path: &Path, expected: &str) {
    let done = hardtack().args(["check", "--format", "human"]).arg(path).timeout(Duration::from_secs(30)).output();
    let done = done.unwrap();
    let said = [String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap()].concat();
    let start: String = said.chars().take(2000).collect();
    let code = done.status.code();
    assert!(matches!(code, Some(1 | 2)), "{}: {code:?} {start}", path.display());
    assert!(said.contains(expected), "{}: {start}", path.display());
    let name = path.display();
    let place = said.contains(&format!(" --> {name}:")) || said.starts_with(&format!("hardtack: {name}: "));
    assert!(place, "{name}: no place: {start}");
    assert!(said.len() < 1_000_000, "{name}: {} bytes", said.len());
}

#[track_caller]
fn refused_text(text: impl AsRef<[u8]>, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.yaml");
    std::fs::write(&path, text).unwrap();
    refused(&path, expected);
}

#[test]
fn what_is_no_yaml_is_refused_at_its_place() {
    let laughs: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
    let cases: &[(&str, &str)] = &[
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("# nothing\n", "spec/wrong-type"),
        ("~", "expected a spec, found nothing"),
        (&with(&format!("a0: &a0 x\n{laughs}")), "anchors and aliases"),
        (&with("<<: { name: x }\n"), "merge keys"),
        (&with("hurdles: !!python/object/apply:os.system [reboot]\n"), "tags"),
        (&with("hurdles:\n\taccounts: {}\n"), "tab"),
        (&with("hurdles:\n  ssh:\n  \tport: 22\n"), "tab"),
        ("\u{feff}hardtack: 1\n", "byte order mark"),
        ("hardtack: 1\rname: web01\rimage: debian-12\rdeliver: x\r", "hostile.yaml:"),
        (&with("---\nhardtack: 1\n"), "a second document"),
        (&with("...\nmore: 1\n"), "a second document"),
        (&with("%YAML 1.1\n"), "hostile.yaml:4"),
        (&with("hurdles: {ssh: {port: 22}\n"), "hostile.yaml:"),
        (&with("hurdles: \"x\n"), "hostile.yaml:"),
        (&with("? [a, b]\n: 1\n"), "a key must be plain text"),
        (&with("? {a: b}\n: 1\n"), "a key must be plain text"),
        (&with("1: 1\n"), "hostile.yaml:4"),
        (&with("~: 1\n"), "hostile.yaml:4"),
        (&with("true: 1\n"), "hostile.yaml:4"),
        (&with("deliver: [1e400, .nan, 0o9]\n"), "hostile.yaml:4"),
        (&with("\0: 1\n"), "hostile.yaml:4"),
        (&with("a: \u{1b}[31m\n"), "hostile.yaml:4"),
        (&with("a: \"\\u0000\\uD800\"\n"), "hostile.yaml:4"),
    ];
    for (text, expected) in cases {
        refused_text(text, expected);
    }
}

#[test]
fn a_key_that_stands_twice_is_shown_at_every_level() {
    let cases = [
        ("name: other\n", "4:1"),
        ("hurdles:\n  ssh: {}\n  ssh: {}\n", "6:3"),
        ("hurdles:\n  ssh:\n    port: 22\n    port: 23\n", "7:5"),
        ("hurdles:\n  accounts:\n    people:\n      - name: a\n        name: b\n", "8:9"),
        ("hurdles:\n  sysctl:\n    set: { net.core.somaxconn: 1, net.core.somaxconn: 2 }\n", "6:35"),
        ("hurdles: { firewall: { allow: [{ service: ssh, service: ssh }] } }\n", "4:48"),
    ];
    for (end, place) in cases {
        refused_text(with(end), "stands here twice");
        let source = Source { name: "t".into(), text: with(end) };
        let mut report = Report::default();
        assert!(spec::read(&source, &mut report).is_none());
        let twice: Vec<_> = report.sorted().into_iter().filter(|d| d.message.contains("twice")).collect();
        let at: Vec<_> = twice.iter().map(|d| source.position(d.span.unwrap().start)).collect();
        assert_eq!(at.iter().map(|(l, c)| format!("{l}:{c}")).collect::<Vec<_>>(), [place], "{end}");
    }
}

#[test]
fn what_is_too_much_ends_soon() {
    let flow = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    let many = |line: &dyn Fn(usize) -> String, count: usize| (0..count).map(line).collect::<String>();
    let people = with("hurdles:\n  accounts:\n    people:\n");
    let cases: Vec<(String, &str)> = vec![
        (with(&format!("deliver: {}\n", "[".repeat(20_000))), "hostile.yaml:4"),
        (with(&format!("deliver: {}{}\n", "[".repeat(20_000), "]".repeat(20_000))), "nested too deeply"),
        (with(&"{a: ".repeat(20_000)), "hostile.yaml:4"),
        (with(&many(&|n| format!("{}a:\n", " ".repeat(n)), 2000)), "nested too deeply"),
        (with(&format!("{}x\n", "- ".repeat(20_000))), "hostile.yaml:4"),
        (with(&format!("deliver: {}\n", flow("1", 1_000_000))), "more values than a spec can"),
        (with(&many(&|n| format!("k{n}: 1\n"), 1_000_000)), "more values than a spec can"),
        // Just below that limit: every item is at fault, each item is looked for among all others.
        (with(&format!("deliver: {}\n", flow("1", 9900))), "more that are not shown"),
        (with(&many(&|n| format!("k{n}: 1\n"), 4900)), "more that are not shown"),
        (people.clone() + &many(&|_| "      - {name: a}\n".to_owned(), 3200), "`a` is here twice"),
        (people + &many(&|n| format!("      - {{name: a{n}, groups: [x, X]}}\n"), 1300), "`X` is not a group name"),
        (
            with("hurdles:\n  sysctl:\n    set:\n") + &many(&|n| format!("      net.core.k{n}: \"$\"\n"), 4900),
            "not a value of a kernel parameter",
        ),
        (
            with(&format!(
                "hurdles: {{ ssh: {{ port: 70000 }}, firewall: {{ allow: [{{ ports: {} }}] }} }}\n",
                flow("\"20-40000\"", 9800)
            )),
            "found 70000",
        ),
        (with(&format!("deliver: \"{}\"\n", "x".repeat(10 << 20))), "hostile.yaml:4"),
        (with(&format!("\"{}\": 1\n", "x".repeat(10 << 20))), "hostile.yaml:4"),
    ];
    for (text, expected) in cases {
        refused_text(text, expected);
    }
}

#[test]
fn a_spec_as_large_as_one_may_be_is_planned_soon() {
    let ports: Vec<_> = (0..4000).map(|n| (n * 7 + 1000).to_string()).collect();
    let sources: Vec<_> = (0..4000).map(|n| format!("10.{}.{}.0/24", n / 250, n % 250)).collect();
    for end in [
        format!("hurdles: {{ firewall: {{ allow: [{{ ports: [{}] }}] }} }}\n", ports.join(",")),
        format!("hurdles: {{ firewall: {{ allow: [{{ service: http, from: [{}] }}] }} }}\n", sources.join(",")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.yaml");
        std::fs::write(&path, with(&end)).unwrap();
        hardtack().arg("check").arg(&path).timeout(Duration::from_secs(30)).assert().success();
    }
}

#[test]
fn what_is_no_text_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let utf16: Vec<u8> = with("").encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused_text([b"\xff\xfe".to_vec(), utf16].concat(), "line 1: this is not UTF-8 text");
    refused_text(b"hardtack: 1\nname: caf\xe9\n", "line 2: this is not UTF-8 text");
    refused(folder.path(), "this is a directory");
    refused(&at("missing"), "cannot be read: No such file");
    refused(Path::new("/dev/zero"), "larger than 32 MiB");
    refused(Path::new("/dev/null"), "the file is empty");
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.set_len(100 << 20).unwrap();
    refused(&at("sparse"), "larger than 32 MiB");
    std::fs::write(at("comments"), "# nothing here\n".repeat(2_000_000)).unwrap();
    refused(&at("comments"), "comments");
    // A pipe is read like a file: `hardtack check <(sed … template.yaml)`.
    let fifo = at("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let sample = std::fs::read_to_string(root().join("tests/specs/sysctl.yaml")).unwrap();
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, sample).unwrap()
    });
    hardtack().arg("check").arg(&fifo).timeout(Duration::from_secs(30)).assert().success();
    writer.join().unwrap();
}

fn judged(text: &str) {
    let source = Source { name: "soup.yaml".to_owned(), text: text.to_owned() };
    let mut report = Report::default();
    let spec = spec::read(&source, &mut report);
    assert_eq!(spec.is_none(), report.has_errors(), "{text:?}");
    assert!(report.sorted().iter().all(|d| d.span.is_some_and(|s| s.end <= text.len())), "{text:?}");
    let drawn = human(&report, &source, false);
    assert!(!drawn.chars().any(|c| c != '\n' && is_unseen(c)), "{text:?}");
    for line in json(&report, &source).lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

fn plain<T: FromText>(text: &str, value: impl Fn(&T) -> String) {
    if let Ok(taken) = T::from_text(text) {
        assert!(!value(&taken).chars().any(is_unseen), "{} takes {text:?}", T::WHAT);
    }
}

const TOKENS: &str = "(hardtack|name|image|hurdles|deliver|accounts|people|keys|password_hash|sudo|ssh|port|sysctl|set|\
    firewall|allow|ports|from|service|debian-12|cloud-init|root|yes|1|22|-1|0x1|:|: |:\\n|\\n|\\n  |\\n    |\\n- |- |\\[|\\]|\
    \\{|\\}|, |,|'|\"|&a|\\*a|<<|!x|!!map|\\? |#| #|\\||>|%|@|`|~|---|\\.\\.\\.|\\t|\\r|\0|é|\u{202e}|\u{2028}|\u{feff}|\\\\|\\\\u)";

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_soup_of_tokens_is_judged(parts in prop::collection::vec(TOKENS, 0..60), whole in any::<bool>()) {
        let soup = parts.concat();
        judged(&if whole { with(&soup) } else { soup });
    }

    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        judged(&text);
    }

    #[test]
    fn a_type_takes_nothing_unseen(text in prop_oneof![
        any::<String>(),
        "[0-9a-z./:,*$-]{0,40}[\\PC\\n\\t\0 ]{0,3}",
        "(ssh-ed25519|ssh-rsa|from=\"x\"|command=|\\$6\\$a\\$|\\$y\\$j9T\\$) ?[A-Za-z0-9+/=.]{0,90}[\\PC\\n ]{0,4}",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5[\\PC\\n\\r\\t \u{200b}\u{202e}]{0,6}",
    ]) {
        plain::<PublicKey>(&text, |v| v.as_str().to_owned());
        plain::<PasswordHash>(&text, |v| v.reveal().to_owned());
        plain::<Cidr>(&text, ToString::to_string);
        plain::<Ports>(&text, |v| v.rule());
        plain::<HostName>(&text, ToString::to_string);
        plain::<UserName>(&text, ToString::to_string);
        plain::<GroupName>(&text, ToString::to_string);
        plain::<Interface>(&text, ToString::to_string);
        plain::<SysctlKey>(&text, ToString::to_string);
        plain::<SysctlValue>(&text, ToString::to_string);
    }
}
