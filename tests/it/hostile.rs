//! Hostile values in every place of a spec are refused where they stand, or inert in every file that they reach.
#![expect(clippy::disallowed_methods, reason = "the targets' own parsers are run here")]

mod raw;
mod secret;
mod values;

use crate::support::{bake, root};
use hardtack::archive::tree::Tree;
use hardtack::facts::Facts;
use hardtack::hurdle::MANUALS;
use hardtack::plan::net::Cidr;
use hardtack::report::{FromText, Report, Source, human, is_unseen, json};
use hardtack::spec::{self, Spec};
use hardtack::yaml::Described;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use values::VALUES;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5";
const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINVF2WZPECVcdRoevBucle7zILfCV54V2+J81fuAy4pL";
const HASH: &str =
    "$6$rounds=5000$c2FsdHNhbHQ$sZ3RpSYCn/HxLDo/2BHAHGfBsl2iN2d9TtGQc6aZdBAsPMoyj2omFU0sksdyGRuivUr4FplTIxR3AsoV4XigP1";

/// A spec that uses every key of every section. JSON is YAML, so its quoting is right whatever falls into it.
fn whole() -> Value {
    json!({
        "hardtack": 1, "name": "web01", "image": "debian-12",
        "hurdles": {
            "accounts": { "root": "locked", "emergency_console": "root-shell", "su_group": "adm", "people": [
                { "name": "ines", "keys": [format!("from=\"10.0.0.0/8\",no-pty {KEY} ines@laptop")],
                  "sudo": "with-password", "password_hash": HASH, "groups": ["adm"], "principals": ["ines", "on-call"] },
                { "name": "joris", "keys": [format!("{OTHER_KEY} joris")], "keys_from": [root().join("tests/lists/team.pub")], "groups": ["systemd-journal"] },
            ]},
            "ssh": { "port": 222, "root_login": false, "password_login": false, "allow_users": ["ines", "joris"],
                "allow_groups": ["adm"], "second_factor": "none", "algorithms": "modern",
                "kex": ["curve25519-sha256"], "ciphers": ["aes256-ctr"], "macs": ["hmac-sha2-512-etm@openssh.com"], "user_ca": [format!("{OTHER_KEY} ca")],
                "revoked": [root().join("tests/lists/team.pub")], "sftp": false, "tcp_forwarding": true, "agent_forwarding": false,
                "x11_forwarding": false },
            "passwords": { "min_length": 14, "min_classes": 3, "remember": 24, "lock_after": 5, "unlock_after": 900 },
            "sysctl": { "baseline": "sound", "purpose": "server", "set": { "net.core.somaxconn": "1024", "net.ipv4.tcp_rmem": "4096 87380 6291456" } },
            "kernel": { "arguments": ["init_on_free=1", "slab_nomerge"] },
            "services": { "refuse": ["telnet", "ftp"], "mask": ["cups.socket"], "listens": ["127.0.0.1:9000/tcp", "/run/shop/*", "1234/vsock"],
                "units": [{ "name": "shop", "run": ["/usr/bin/python3", "-c", "print(1)"], "user": "ines", "listens": ["80/tcp", "[::1]:81/udp"],
                    "connects": true, "writes": ["/srv/shop"], "loosen": ["MemoryDenyWriteExecute"], "exposure": 30 }] },
            "system": { "deny_modules": ["cramfs", "usb-storage"], "tmp": "noexec", "core_dumps": false, "umask": "027", "tls": "1.2", "cron": ["ines"] },
            "updates": { "first_boot": "all", "then": "security", "by": "image", "at": "04:30", "reboot": "03:15", "hold": ["libstdc++6"] },
            "blocklist": { "refresh": "daily", "allow": ["192.0.2.0/24"], "sources": [
                { "file": root().join("tests/lists/drop.netset"), "url": "https://lists.example.org/drop.txt" }] },
            "firewall": { "policy": "drop", "ipv6": "same", "outbound": "deny", "metadata": "root", "start": "unit", "allow_out": [
                { "service": "dns", "services": ["ntp"], "ports": ["8000-8099"], "protocol": "udp", "to": ["10.0.0.0/8"],
                  "user": "ines", "group": "adm", "rate": "10/second" }], "allow": [
                { "service": "ssh", "from": ["10.20.0.0/16", "2001:db8:20::/48"] },
                { "services": ["http", "https"], "after": "provisioning" },
                { "ports": ["8000-8010", "9000"], "protocol": "tcp", "interface": "eth0" },
            ]},
            "files": { "put": [
                    { "path": "/srv/shop/a.conf", "text": "a {{ values.b }}\n", "values": { "b": "c" }, "mode": "0644", "owner": "ines:adm" },
                    { "path": "/srv/shop/list", "from": root().join("tests/lists/shop.sh") }],
                "run": [{ "name": "stock", "text": "true", "stage": "open" }],
                "proofs": [{ "name": "stocked", "statement": "it is stocked", "script": "true" },
                    { "name": "seen", "statement": "it is seen", "port": "8000/tcp", "from": "192.0.2.9", "answer": "open" }] },
            "watch": { "audit": true, "integrity": true, "verify": true, "bans": true, "journal_days": 90, "journal_mib": 256,
                "forward": "https://logs.example.org:19532", "time_servers": ["ntp.example.org"] },
            "selinux": { "mode": "enforcing" },
            "rescue": { "people": ["ines"], "from": ["10.20.0.0/16", "2001:db8:20::/48"], "healthy_within": 60, "boot_within": 900 },
        },
        "accept": ["accounts/sudo-without-password"], "cloud_init": "once", "deliver": ["cloud-init", "bare-metal"],
    })
}

/// Every place of a value: its path of keys and positions.
fn places(value: &Value, path: &str, leaves: &mut Vec<String>, keys: &mut Vec<String>) {
    match value {
        Value::Object(pairs) => {
            for (key, value) in pairs {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                keys.push(path.clone());
                places(value, &path, leaves, keys);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| places(item, &format!("{path}/{at}"), leaves, keys));
        }
        _ => leaves.push(path.to_owned()),
    }
}

/// One way of spoiling the spec: where, with what, and what comes of it.
struct Case {
    place: String,
    value: String,
    spec: Value,
}

/// In how many turns the keys are spoiled.
const TURNS: usize = 8;

fn all_cases() -> Vec<Case> {
    let (mut leaves, mut keys) = (Vec::new(), Vec::new());
    places(&whole(), "", &mut leaves, &mut keys);
    let mut cases = Vec::new();
    let values = VALUES.iter().map(|v| (*v).to_owned()).chain([
        format!("{KEY} $(x) 'y' \"z\" # %u {{{{ 7*7 }}}} HARDTACK *a &b !c"),
        format!("command=\"/bin/sh -c 'touch /tmp/pwn; $(x) `y`'\" {KEY} \u{1f600}"),
    ]);
    for (turn, value) in values.enumerate() {
        for place in &leaves {
            let mut spec = whole();
            *spec.pointer_mut(place).unwrap() = Value::from(value.as_str());
            cases.push(Case { place: place.clone(), value: value.clone(), spec });
        }
        // A key that is not known is refused whatever it is, so these take turns; one that a person makes up has all of them.
        let made_up = |place: &str| ["/set/", "/values/"].iter().any(|maps| place.contains(maps));
        for (_, place) in keys.iter().enumerate().filter(|(at, place)| at % TURNS == turn % TURNS || made_up(place)) {
            let mut spec = whole();
            let (parent, key) = place.rsplit_once('/').unwrap();
            let map = spec.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
            let moved = map.remove(key).unwrap();
            map.insert(value.clone(), moved);
            cases.push(Case { place: format!("{place} (key)"), value: value.clone(), spec });
        }
        // A name that two sections share stays one name.
        for shared in ["ines", "adm"] {
            let quoted = |text: &str| Value::from(text).to_string();
            let text = whole().to_string().replace(&quoted(shared), &quoted(&value));
            cases.push(Case {
                place: format!("every {shared}"),
                value: value.clone(),
                spec: serde_json::from_str(&text).unwrap(),
            });
        }
    }
    cases
}

/// Reads and plans; what is refused must be refused at a place, in words that a terminal can take.
#[track_caller]
fn taken(text: &str, about: &str) -> bool {
    let source = Source { name: "hostile.yaml".to_owned(), text: text.to_owned() };
    let mut report = Report::default();
    let spec = spec::read(&source, &mut report);
    let planned = spec.is_some_and(|spec| {
        let facts = Facts::load(spec.image.0).unwrap();
        spec::plan(&spec, &facts, &crate::support::input, &Default::default(), &mut report)
            .unwrap_or_else(|e| panic!("{about}: {e}"))
            .is_some()
    });
    assert_eq!(planned, !report.has_errors(), "{about}: refused without a word");
    for d in report.sorted() {
        let span = d.span.unwrap_or_else(|| panic!("{about}: {} has no place", d.code));
        assert!(span.start <= span.end && span.end <= text.len(), "{about}: {} is at {span:?}", d.code);
        assert!(!d.message.is_empty(), "{about}: {}", d.code);
    }
    let drawn = human(&report, &source, false);
    let odd = drawn.chars().find(|c| *c != '\n' && is_unseen(*c));
    assert_eq!(odd, None, "{about}: {drawn}");
    let faults = report.sorted().len();
    assert!(drawn.len() <= 2048 * (faults + 1), "{about}: {} bytes for {faults} faults", drawn.len());
    assert_eq!(json(&report, &source).lines().count(), faults, "{about}");
    planned
}

#[test]
fn the_spoiled_spec_uses_every_key_that_there_is() {
    let mut keys = Vec::new();
    places(&whole(), "", &mut Vec::new(), &mut keys);
    let written: BTreeSet<_> = keys.iter().filter_map(|k| k.rsplit('/').next()).collect();
    let fields = MANUALS.iter().flat_map(|m| m.fields.iter().chain(m.parts.iter().flat_map(|p| p.fields)));
    for field in fields.chain(Spec::FIELDS) {
        assert!(written.contains(field.name), "{} is not in the spec that is spoiled here", field.name);
    }
    assert!(taken(&whole().to_string(), "unspoiled"));
}

#[test]
fn a_hostile_value_is_refused_at_its_place_or_inert() {
    let plain = bake(&whole().to_string(), None, &|_| {}).0;
    let tree = |case: &Case| {
        let mut spec = case.spec.clone();
        // What is packed has names and people in it beside the same files, and packing takes time.
        if !["/name", "/deliver", "/hurdles/accounts", "every "].iter().any(|start| case.place.starts_with(start)) {
            spec["deliver"] = json!(["cloud-init"]);
        }
        let text = spec.to_string();
        taken(&text, &format!("{:?} at {}", case.value, case.place)).then(|| bake(&text, None, &|_| {}).0)
    };
    // Thousands of them: each processor takes its share.
    let cases = all_cases();
    let share = cases.len().div_ceil(std::thread::available_parallelism().map_or(1, usize::from));
    let baked: Vec<Option<Tree>> = std::thread::scope(|scope| {
        let shares: Vec<_> =
            cases.chunks(share).map(|share| scope.spawn(|| share.iter().map(tree).collect::<Vec<_>>())).collect();
        shares.into_iter().flat_map(|share| share.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    let (accepted, trees): (Vec<Case>, Vec<Tree>) =
        cases.into_iter().zip(baked).filter_map(|(case, tree)| Some((case, tree?))).unzip();
    // A list of nothing but refusals would say nothing of the files.
    for place in ["/name", "/hurdles/accounts/people/0/keys/0", "/hurdles/sysctl/set/net.core.somaxconn", "every ines"]
    {
        assert!(accepted.iter().any(|c| c.place == place), "nothing was taken at {place}");
    }
    let data = |tree: &Tree| String::from_utf8(tree.get("cloud-init/user-data").unwrap().data.clone()).unwrap();
    let documents: Vec<_> = std::iter::once(&plain).chain(&trees).map(data).collect();
    let read = as_cloud_init_reads(&documents);
    let mut scripts = BTreeSet::new();
    let mut drop_ins = BTreeSet::new();
    for ((case, tree), user_data) in accepted.iter().zip(&trees).zip(&read[1..]) {
        let about = format!("{:?} at {}", case.value, case.place);
        judge_user_data(case, user_data, &read[0], &about);
        judge_rootfs(case, tree, &plain, &about, &mut scripts, &mut drop_ins);
        scripts.insert(user_data["bootcmd"][0].as_str().unwrap().to_owned());
        judge_installer(case, tree, &about, &mut scripts);
    }
    for script in scripts {
        crate::matrix::content("sh", &["-n"], &script);
    }
    drop_ins.iter().for_each(|drop_in| sshd_takes(drop_in));
}

// One process for all of them: starting Python takes longer than reading.
fn as_cloud_init_reads(documents: &[String]) -> Vec<Value> {
    let program = "import json, sys, yaml\n\
        print(json.dumps([yaml.load(d, Loader=getattr(yaml, 'CSafeLoader', yaml.SafeLoader)) for d in json.load(sys.stdin)]))";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3, with python3-yaml");
    let mut stdin = python.stdin.take().unwrap();
    let text = serde_json::to_vec(documents).unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&text).unwrap());
    let done = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(done.status.success(), "a document is not YAML for Python");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// What the spec means, found in the user-data; the rest is as it was.
#[track_caller]
fn judge_user_data(case: &Case, read: &Value, plain: &Value, about: &str) {
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(read), keys(plain), "{about}");
    let text = |place: &str| case.spec.pointer(place).cloned().unwrap_or_default();
    assert_eq!(read["hostname"], text("/name"), "{about}");
    for list in ["bootcmd", "runcmd", "users", "write_files"] {
        let count = |v: &Value| v[list].as_array().unwrap().len();
        assert_eq!(count(read), count(plain), "{about}: {list}");
    }
    for name in ["ssh_pwauth", "disable_root", "manage_etc_hosts", "runcmd"] {
        assert_eq!(read[name], plain[name], "{about}");
    }
    let mut people = case.spec.pointer("/hurdles/accounts/people").unwrap().as_array().unwrap().clone();
    people.sort_by_key(|p| p["name"].as_str().unwrap().to_owned());
    for (user, person) in read["users"].as_array().unwrap().iter().zip(&people) {
        let sudo = person["sudo"] == "with-password";
        let mut keys = person["keys"].as_array().unwrap().clone();
        for file in person["keys_from"].as_array().into_iter().flatten() {
            let text = std::fs::read_to_string(file.as_str().unwrap()).unwrap();
            keys.extend(text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(Value::from));
        }
        let mut wanted = json!({
            "name": person["name"], "shell": "/bin/bash", "groups": person["groups"], "lock_passwd": !sudo,
            "ssh_authorized_keys": keys,
        });
        if sudo {
            wanted["hashed_passwd"] = person["password_hash"].clone();
            wanted["sudo"] = "ALL=(ALL:ALL) ALL".into();
        }
        assert_eq!(*user, wanted, "{about}");
    }
    let fixed = |v: &Value| {
        let files = v["write_files"].as_array().unwrap();
        let path = |f: &Value| own(case, f["path"].as_str().unwrap());
        files.iter().map(|f| json!([path(f), f["owner"], f["permissions"]]).to_string()).collect::<BTreeSet<_>>()
    };
    assert_eq!(fixed(read), fixed(plain), "{about}");
    let script = |v: &Value| v["bootcmd"][0].as_str().unwrap().lines().count();
    assert_eq!(script(read), script(plain), "{about}: bootcmd");
}

/// What is installed without cloud-init: its people, each word as the spec has it, and nothing that a shell does beside.
#[track_caller]
fn judge_installer(case: &Case, tree: &Tree, about: &str, scripts: &mut BTreeSet<String>) {
    let Some((_, archive)) = tree.iter().find(|(path, _)| path.ends_with(".tar.gz")) else { return };
    let text = |path: &str| String::from_utf8(tree.get(path).unwrap().data.clone()).unwrap();
    // Their digests are their own, and all else mostly the same.
    let same = |script: &str| {
        let lines = script.lines().filter(|line| !line.starts_with("digest=") && !line.starts_with("wanted="));
        lines.collect::<Vec<_>>().join("\n")
    };
    scripts.insert(same(&text("bare-metal/install")));
    let mut files = tar::Archive::new(flate2::read::GzDecoder::new(archive.data.as_slice()));
    let mut place = String::new();
    for file in files.entries().unwrap() {
        let mut file = file.unwrap();
        if file.path().unwrap().to_str() == Some("place") {
            std::io::Read::read_to_string(&mut file, &mut place).unwrap();
        }
    }
    let mut people = case.spec.pointer("/hurdles/accounts/people").unwrap().as_array().unwrap().clone();
    people.sort_by_key(|p| p["name"].as_str().unwrap().to_owned());
    let lines: Vec<&str> = place.lines().filter(|line| line.starts_with("    person ")).collect();
    assert_eq!(lines.len(), people.len(), "{about}");
    for (line, person) in lines.iter().zip(&people) {
        let words = shlex::split(line).unwrap_or_else(|| panic!("{about}: {line}"));
        let groups: Vec<&str> = person["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let hash = person["password_hash"].as_str().unwrap_or_default();
        assert_eq!(
            (words[1].as_str(), words[3].as_str(), words[4].as_str()),
            (person["name"].as_str().unwrap(), groups.join(",").as_str(), hash),
            "{about}"
        );
        let keys = person["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap());
        assert!(
            keys.eq(words[5..].iter().map(String::as_str).take(person["keys"].as_array().unwrap().len())),
            "{about}: {line}"
        );
    }
    scripts.insert(same(&place));
}

/// As the types write it: blanks of a kernel parameter are one.
fn as_written(case: &Case) -> String {
    case.value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Some files are called after whom they are of.
fn own(case: &Case, name: &str) -> String {
    match case.place.as_str() {
        "every ines" => name.replace(&format!("/{}", as_written(case)), "/ines"),
        "/name" => name.replace(&format!("bare-metal/{}.", as_written(case)), "bare-metal/web01."),
        "/hurdles/files/run/0/name" => name.replace(&format!("/own/01-{}", as_written(case)), "/own/01-stock"),
        "/hurdles/files/put/0/path" => name.replace(&case.value, "/srv/shop/a.conf"),
        "/hurdles/files/put/1/path" => name.replace(&case.value, "/srv/shop/list"),
        "/hurdles/services/units/0/name" => name.replace(&format!("/{}.service", as_written(case)), "/shop.service"),
        _ => name.to_owned(),
    }
}

/// A command line as systemd reads it (systemd.service(5), COMMAND LINES): words, quotes, and what stands twice to stand once.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => all.push(std::mem::take(&mut word)),
            '\\' => word.push(chars.next().expect("something is quoted")),
            '%' | '$' => {
                assert_eq!(chars.next(), Some(c), "{c} is expanded: {line}");
                word.push(c);
            }
            _ => word.push(c),
        }
    }
    assert!(!quoted, "{line}");
    all.push(word);
    all
}

/// A line of hardtack-verify: a function of its own with words that no shell reads anything into.
fn asks(line: &str) -> bool {
    let (line, first) = match line.strip_prefix("if ask ").and_then(|rest| rest.strip_suffix("; then")) {
        Some(rest) => (rest, "if"),
        None => (line, line.split(' ').next().unwrap_or_default()),
    };
    let functions = ["if", "says", "parameter", "unit", "file", "account", "may_sudo", "script"];
    let (mut chars, mut quote) = (line.chars(), None);
    let mut plain = functions.contains(&first);
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (None, _) => plain &= c.is_ascii_alphanumeric() || " +-./:@]_,%=^*".contains(c),
            (Some(q), _) if q == c => quote = None,
            (Some('"'), '\\') => drop(chars.next()),
            (Some('"'), '$' | '`') => plain = false,
            (Some(_), _) => {}
        }
    }
    plain && quote.is_none()
}

#[test]
fn a_line_that_the_shell_reads_otherwise_is_seen() {
    assert!(asks(r#"if ask a/b 'it is $(x)'"'"'s'; then"#));
    assert!(asks(r#"script "echo \$(id)\\n"'; $(id)'"#) && asks("parameter 1 /proc/sys/net/*/x"));
    for bad in [
        "if ask a b; id; then",
        "script $(id)",
        "script \"$(id)\"",
        "script 'a",
        "reboot",
        "unit a;b",
        "file `id` 1",
        "if ask a > b; then",
    ] {
        assert!(!asks(bad), "{bad}");
    }
}

/// The same files, with as many lines; a line that is another one has the value in it, or a digest.
#[track_caller]
fn judge_rootfs(
    case: &Case,
    tree: &Tree,
    plain: &Tree,
    about: &str,
    scripts: &mut BTreeSet<String>,
    drop_ins: &mut BTreeSet<String>,
) {
    let value = as_written(case);
    let installed = tree.get("bare-metal/install").is_some();
    let kept = |name: &&str| installed || !name.starts_with("bare-metal/");
    let names = |tree: &Tree| {
        tree.iter().map(|(name, _)| name).filter(kept).map(|name| own(case, name)).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(tree), names(plain), "{about}");
    for (name, entry) in tree.iter().filter(|(name, _)| name.starts_with("rootfs/")) {
        let before = plain.get(&own(case, name)).unwrap();
        if entry.data == before.data {
            continue;
        }
        let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
        let (now, then) = (text(&entry.data), text(&before.data));
        // What a person writes into a file of their own is theirs; in any other it is judged.
        let own_text =
            case.place.starts_with("/hurdles/files/") && ["/text", "/from"].iter().any(|key| case.place.ends_with(key));
        if own_text && (name.contains("/srv/shop/") || name.ends_with("/own/01-stock")) {
            continue;
        }
        // What is allowed is cut out of a list, which may make many networks of one.
        if name.ends_with(".cidr") {
            assert!(now.lines().all(|l| Cidr::from_text(l).is_ok()), "{about}: {name}\n{now}");
            continue;
        }
        // Another network makes another rule.
        if !["/from/", "/to/", "/allow/"].iter().any(|nets| case.place.contains(nets)) {
            assert_eq!(now.lines().count(), then.lines().count(), "{about}: {name}\n{now}");
        }
        // The last of a list has no comma behind it.
        let bare = |line: &'_ str| line.trim_end_matches(',').to_owned();
        let was: BTreeSet<_> = then.lines().map(bare).collect();
        for line in now.lines().filter(|l| !was.contains(&bare(l))) {
            let digest = line.starts_with("digest=") || name.ends_with("/files.sha256");
            // A key reaches these files beside the user-data, and no other.
            let key = case.place.contains("/keys/");
            let known = name.contains("/rescue/keys/") || name.ends_with("/ssh-check") && line.starts_with("way ines ");
            let lower = !key && line.to_lowercase().contains(&value.to_lowercase());
            // iptables says root back as 0.
            let root = value == "root" && line.contains("id-owner 0");
            // Addresses of a network, which the machine comes from to itself.
            let tried = line.trim().strip_prefix("for who in 'ines ").and_then(|l| l.strip_suffix("'; do"));
            let tried = tried.is_some_and(|all| all.split(' ').all(|a| a.parse::<std::net::IpAddr>().is_ok()));
            let word = line.strip_prefix("ExecStart=").is_some_and(|l| words(l).contains(&case.value));
            // As a regular expression that means nothing else.
            let literal =
                name.ends_with("/99hardtack-updates") && line.contains(&value.replace('+', "[+]").replace('.', "[.]"));
            // What the machine asks itself: one line each, by a function of the script, whose words are quoted.
            let asked = name.ends_with("/hardtack-verify") && asks(line.trim());
            assert!(
                asked || literal || word || digest || lower || root || tried || key && known,
                "{about}: {name} now says {line:?}"
            );
        }
        if now.starts_with("#!/bin/sh") || name.contains("/hardtack/") && name.contains(".d/") {
            scripts.insert(now);
        } else if name.ends_with("00-hardtack.conf") {
            drop_ins.insert(now);
        }
    }
}

#[track_caller]
fn sshd_takes(drop_in: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (key, config) = (folder.path().join("key"), folder.path().join("config"));
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    std::fs::write(&config, format!("HostKey {}\n{drop_in}", key.display())).unwrap();
    std::fs::create_dir_all("/run/sshd").unwrap();
    let done = Command::new("/usr/sbin/sshd").args(["-T", "-f"]).arg(&config).output().expect("openssh-server");
    assert!(done.status.success(), "{}\n{drop_in}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap().to_lowercase();
    for keyword in ["allowusers", "allowgroups"] {
        let asked = drop_in.to_lowercase().lines().find_map(|l| l.strip_prefix(keyword).map(str::to_owned)).unwrap();
        let effective: Vec<_> = said.lines().filter_map(|l| l.strip_prefix(keyword)?.strip_prefix(' ')).collect();
        assert_eq!(effective, asked.split_whitespace().collect::<Vec<_>>(), "{drop_in}");
    }
}
