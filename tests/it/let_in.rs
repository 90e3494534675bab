//! What the engine that looks for ways in lets through, real programs let through: random specs, and for each way of each the real
//! sshd, sudo and iptables of this machine, in namespaces of their own, with the real client in another.

use crate::support::{bake, input};
use hardtack::facts::Facts;
use hardtack::plan::net::Cidr;
use hardtack::plan::proof::Sudo;
use hardtack::plan::way_in::{WayIn, With, ways};
use hardtack::report::{FromText, Report, Source};
use hardtack::spec;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

const PASSWORD: &str = "Correct-Horse-7";
const HASH: &str = "$6$abcdefgh$Hy3nhnZk2xhqm/hcKSo/x7S7qSFb2COZ9QiKN/mOKKxGc5kYUhHn0EiZ3e.n71cwBTclXfQWfUNw8H6vT8llt.";
const NAMES: [&str; 3] = ["ana", "bob", "cy"];

/// Numbers that are the same everywhere (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

/// A spec that somebody might write, good or bad. `keys` are public keys, one a person.
fn random(dice: &mut Dice, keys: &BTreeMap<&str, String>) -> String {
    let people: Vec<&str> = NAMES[..usize::try_from(dice.roll(3) + 1).unwrap()].to_vec();
    let mut text = "hardtack: 1\nname: box\nimage: debian-12\nhurdles:\n  accounts:\n    people:\n".to_owned();
    for name in &people {
        let options = dice.pick(&[
            "",
            "",
            "from=\"10.0.0.0/8,2001:db8::/32\" ",
            "from=\"192.168.7.0/24\" ",
            "restrict,pty ",
            "command=\"/bin/true\" ",
        ]);
        let key = if dice.roll(5) == 0 { String::new() } else { format!("'{options}{}'", keys[name]) };
        text.push_str(&format!("      - name: {name}\n        keys: [{key}]\n"));
        text.push_str(&format!("        sudo: {}\n", dice.pick(&["none", "with-password", "without-password"])));
        if dice.roll(2) == 0 {
            text.push_str(&format!("        password_hash: \"{HASH}\"\n"));
        }
        text.push_str(&format!("        groups: {}\n", dice.pick(&["[]", "[adm]", "[ops]", "[adm, ops]"])));
    }
    text.push_str(&format!("  ssh:\n    port: {}\n", dice.pick(&["22", "222", "2222"])));
    text.push_str(&format!("    password_login: {}\n", dice.pick(&["false", "false", "true"])));
    text.push_str(&format!("    algorithms: {}\n", dice.pick(&["modern", "compatible"])));
    text.push_str(&format!("    allow_users: {}\n", dice.pick(&["[]", "[ana]", "[ana, bob]", "[cy]"])));
    text.push_str(&format!("    allow_groups: {}\n", dice.pick(&["[]", "[]", "[adm]", "[ops, ana]"])));
    if dice.roll(4) > 0 {
        let from = dice.pick(&[
            "[]",
            "[10.0.0.0/8]",
            "[192.168.0.0/16, \"2001:db8:5::/48\"]",
            "[\"2001:db8::/32\"]",
            "[198.51.100.7]",
        ]);
        let interface = dice.pick(&["", "", ", interface: lan0"]);
        let rate = dice.pick(&["", "", ", rate: 30/minute"]);
        let family = dice.pick(&["same", "same", "off"]);
        text.push_str(&format!(
            "  firewall:\n    ipv6: {family}\n    policy: {}\n    allow:\n      - {{ service: ssh, from: {from}{interface}{rate} }}\n",
            dice.pick(&["drop", "reject"])
        ));
    }
    text
}

/// Bakes a spec into a folder.
fn written(text: &str, folder: &Path) -> PathBuf {
    for (path, entry) in bake(text, None, &|_| {}).0.iter() {
        let to = folder.join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, &entry.data).unwrap();
    }
    folder.to_owned()
}

/// The accounts as cloud-init makes them, from the very user-data.
fn accounts(bundle: &Path) -> String {
    let user_data = crate::matrix::as_json(&std::fs::read_to_string(bundle.join("cloud-init/user-data")).unwrap());
    let mut script = String::new();
    for user in user_data["users"].as_array().unwrap() {
        let text = |key: &str| user[key].as_str().unwrap_or_default().to_owned();
        let name = text("name");
        let list = |key: &str| {
            user[key].as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let groups = list("groups");
        for group in &groups {
            script.push_str(&format!("groupadd -f {group}\n"));
        }
        let hash = if user["lock_passwd"] == true { "!".to_owned() } else { text("hashed_passwd") };
        script.push_str(&format!("useradd -m -s {} -G '{}' -p '{hash}' {name}\n", text("shell"), groups.join(",")));
        script.push_str(&format!("install -d -m 700 -o {name} -g {name} /home/{name}/.ssh\n"));
        let keys = list("ssh_authorized_keys").join("\n");
        script.push_str(&format!(
            "cat >/home/{name}/.ssh/authorized_keys <<'KEYS'\n{keys}\nKEYS\nchown {name} /home/{name}/.ssh/authorized_keys\n\
             chmod 600 /home/{name}/.ssh/authorized_keys\n"
        ));
        if user["sudo"].is_string() {
            script.push_str(&format!("echo '{name} {}' >>/etc/sudoers.d/90-cloud-init-users\n", text("sudo")));
        }
    }
    script
}

// An address that the way's firewall rule and the key's own option both take.
fn source(way: &WayIn, spec: &str) -> IpAddr {
    let line = spec.lines().skip_while(|l| !l.ends_with(&format!("name: {}", way.user))).nth(1).unwrap_or_default();
    let own: Vec<Cidr> = match (&way.with, line.split_once("from=\"")) {
        (With::Key(_), Some((_, rest))) => {
            rest.split('"').next().unwrap().split(',').map(|net| Cidr::from_text(net).unwrap()).collect()
        }
        _ => Vec::new(),
    };
    let wide = vec![Cidr::from_text("203.0.113.0/24").unwrap()];
    let door = if way.door.from.is_empty() { own.clone() } else { way.door.from.clone() };
    let door = if door.is_empty() { wide } else { door };
    let samples = door.iter().chain(&own).flat_map(|net| (3..9).map(|n| net.sample(n)));
    let taken = |nets: &[Cidr], a: IpAddr| nets.is_empty() || nets.iter().any(|net| net.contains(a));
    samples.into_iter().find(|a| taken(&way.door.from, *a) && taken(&own, *a)).expect("an address that both take")
}

/// Everything of one way, run in namespaces of its own: `/etc` is this machine's with a layer above it, `/home` and `/run` are empty.
fn script(way: &WayIn, spec: &str, made: &str, bundle: &Path, keys: &Path) -> String {
    let from = source(way, spec);
    let link = way.door.interface.as_deref().unwrap_or("eth0");
    let (family, here, bits) = if from.is_ipv4() { ("-4", "192.0.2.1", 32) } else { ("-6", "fd00::1", 128) };
    let at_once = if bits == 128 { "nodad" } else { "" };
    let with = match way.with {
        With::Password => "-o PubkeyAuthentication=no -o PreferredAuthentications=password".to_owned(),
        _ => format!("-o PreferredAuthentications=publickey -i {}", keys.join(&way.user).display()),
    };
    let becomes = match way.sudo {
        Sudo::Nothing => "sudo -n true 2>/dev/null || echo NO-ROOT".to_owned(),
        Sudo::WithPassword => format!("sudo -n true 2>/dev/null || echo {PASSWORD} | sudo -S id -u 2>/dev/null"),
        Sudo::WithoutPassword => "sudo -n id -u".to_owned(),
    };
    let rules = bundle.join("rootfs/etc/hardtack/firewall");
    format!(
        "set -e\nmount -t tmpfs none /run\nmkdir -p /run/layer/up /run/layer/work /run/netns /run/sshd /run/lock /run/askpass\n\
         mount -t overlay none -o lowerdir=/etc,upperdir=/run/layer/up,workdir=/run/layer/work /etc\nmount -t tmpfs none /home\n\
         export LC_ALL=C.UTF-8\n{made}\
         mkdir -p /etc/ssh/sshd_config.d\nrm -f /etc/ssh/sshd_config.d/*\n\
         echo 'Include /etc/ssh/sshd_config.d/*.conf' >/etc/ssh/sshd_config\necho 'UsePAM yes' >>/etc/ssh/sshd_config\n\
         cp {drop_in} /etc/ssh/sshd_config.d/\nssh-keygen -A >/dev/null\nip link set lo up\n\
         if [ -e {rules}/rules.v4 ]; then iptables-restore <{rules}/rules.v4; ip6tables-restore <{rules}/rules.v6; fi\n\
         /usr/sbin/sshd -E /run/sshd.log\n\
         ip netns add client\nip link add {link} type veth peer name far netns client\n\
         ip addr add {here}/{bits} dev {link} {at_once}\nip link set {link} up\n\
         ip -n client link set lo up\nip -n client addr add {from}/{bits} dev far {at_once}\nip -n client link set far up\n\
         ip {family} route add {from} dev {link}\nip -n client {family} route add {here} dev far src {from}\n\
         printf '#!/bin/sh\\necho {PASSWORD}\\n' >/run/ask; chmod 755 /run/ask\n\
         SSH_ASKPASS=/run/ask SSH_ASKPASS_REQUIRE=force ip netns exec client timeout 30 ssh -F none -T -p {port} {with} \\\n\
         -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \\\n\
         -o NumberOfPasswordPrompts=1 -o ConnectTimeout=10 {user}@{here} '{becomes}' || {{ cat /run/sshd.log; false; }}\n",
        drop_in = bundle.join("rootfs/etc/ssh/sshd_config.d/00-hardtack.conf").display(),
        rules = rules.display(),
        port = way.port,
        user = way.user,
    )
}

/// What a script says in namespaces of its own, whose processes all end with it.
fn apart(script: &str) -> String {
    let done = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script])
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

#[test]
fn what_is_let_through_here_is_let_through_by_sshd_sudo_and_iptables() {
    let folder = tempfile::tempdir().unwrap();
    let mut keys = BTreeMap::new();
    for name in NAMES {
        let path = folder.path().join(name);
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status();
        assert!(made.unwrap().success());
        keys.insert(name, std::fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned());
    }
    let facts = Facts::load("debian-12").unwrap();
    let (mut dice, mut tried, mut refused) = (Dice(20_261_128), 0, 0);
    while tried < 24 {
        let text = random(&mut dice, &keys);
        let mut report = Report::default();
        let source = Source { name: "box.yaml".into(), text: text.clone() };
        let spec = spec::read(&source, &mut report).expect("every one of them can be read");
        let Some(plan) = spec::plan(&spec, &facts, &input, &Default::default(), &mut report).unwrap() else {
            refused += 1;
            continue;
        };
        let bundle = written(&text, &folder.path().join(format!("bundle-{tried}")));
        let made = accounts(&bundle);
        let all = ways(&plan);
        // The best, and the last: a person who may least, or a password.
        for way in all.first().into_iter().chain(all.last().filter(|_| all.len() > 1)) {
            let said = apart(&script(way, &text, &made, &bundle, folder.path()));
            let wanted = if way.sudo == Sudo::Nothing { "NO-ROOT" } else { "0" };
            assert!(said.lines().any(|l| l == wanted), "{way:?}\n{text}\n{said}");
            tried += 1;
        }
    }
    assert!(refused > 0, "nothing was refused, so the specs are too tame");
    // And what holds everybody up is seen: the same with nobody's key.
    let text = format!(
        "hardtack: 1\nname: box\nimage: debian-12\nhurdles:\n  accounts:\n    people:\n      - name: ana\n        keys: ['{}']\n        \
         sudo: without-password\n  ssh:\n    allow_users: [ana]\n",
        keys["bob"]
    );
    let plan = crate::support::good(&text, None).2;
    let bundle = written(&text, &folder.path().join("nobody"));
    let made = accounts(&bundle);
    let said = apart(&script(&ways(&plan)[0], &text, &made, &bundle, folder.path()));
    assert!(said.contains("Permission denied (publickey)") && !said.lines().any(|l| l == "0"), "{said}");
}
