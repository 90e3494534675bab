//! The dead-man's switch: a machine that is not healthy after its first boot lets in those who mend it, and nobody else.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::name::UserName;
use crate::plan::net::Cidr;
use crate::plan::proof::{Check, Proof, Sudo};
use crate::plan::way_in::{self, Door, WayIn, With};
use crate::plan::{Account, Factor, LIB, Plan, Policy, STATE, Stage};
use crate::report::{Lint, Report, Severity, Span};
use crate::yaml::{Node, Read, Spanned, Whole, whole};
use crate::{section, template};
use serde::Serialize;
use std::net::IpAddr;

section! {
    /// A dead-man's switch: where the machine is not healthy after its first boot - somebody logs in, sshd says what the spec says, all
    /// rules and sets are loaded - rules, sets and sshd return together to this policy, until `/usr/local/lib/hardtack/rescue end`.
    pub struct Rescue as "rescue" {
        /// Networks that one may log in from then.
        from: Vec<Spanned<Cidr>>;
        /// Who may log in then, with the keys of `accounts`.
        people: Vec<Spanned<UserName>> = Vec::new(), or "whoever has a key and sudo";
        /// Within how many seconds of its first boot's end the machine must be healthy.
        healthy_within: Spanned<Seconds> = Spanned::default_of(Seconds(300)), or "300";
        /// Within how many seconds its first boot must come to an end.
        boot_within: Spanned<Seconds> = Spanned::default_of(Seconds(3600)), or "3600";
    }
}

/// A time, from 10 seconds to a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub u32);

impl TryFrom<i128> for Seconds {
    type Error = ();
    fn try_from(v: i128) -> Result<Self, ()> {
        u32::try_from(v).ok().filter(|s| (10..=86_400).contains(s)).map(Seconds).ok_or(())
    }
}

impl Whole for Seconds {
    const WHAT: &'static str = "a number of seconds (10 to 86400)";
}

impl Read for Seconds {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        whole(node, report)
    }
}

const NO_UNIT: Lint = Lint {
    code: "rescue/needs-systemd",
    severity: Severity::Error,
    finds: "`rescue` for an image that systemd does not start",
    why: "units of systemd watch the first boot; without them nothing would ever fire",
    instead: "leave it out, or take an image with systemd",
    refs: &["systemd.timer(5)"],
};
const NO_SSH: Lint = Lint {
    code: "rescue/needs-ssh",
    severity: Severity::Error,
    finds: "`rescue` without `ssh`",
    why: "what sshd is to do is not said, so nobody can tell if it does that",
    instead: "add `ssh:`",
    refs: &["R37"],
};
const WIDE: Lint = Lint {
    code: "rescue/wide-open",
    severity: Severity::Error,
    finds: "a network of `rescue.from` that is wider than a /8 of IPv4 or a /16 of IPv6, or none at all",
    why: "a machine that is not healthy would be open to the world just when nobody knows what is wrong with it",
    instead: "name the networks of those who mend it: `from: [10.20.0.0/16]`",
    refs: &["R23", "R37"],
};
const STRANGER: Lint = Lint {
    code: "rescue/nobody",
    severity: Severity::Error,
    finds: "nobody of `rescue.people` has a key of `accounts` that is taken from there, and sudo",
    why: "the switch would fire, and nobody could come in and mend the machine",
    instead: "give someone of `accounts.people` a key and `sudo`",
    refs: &["R37", "R40"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[NO_UNIT, NO_SSH, WIDE, STRANGER];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[Instruction {
    said: "Test it by opening another terminal window and logging in",
    became: "`check --way-in` before anything is written, `ssh` on the machine before its settings take effect, and `rescue`: after the \
             first boot the machine logs in to itself, and where that fails it returns to a policy that lets you in.",
    refs: &["R37"],
}];

const HERE: &str = "/etc/hardtack/rescue";
const UNITS: [&str; 2] = ["hardtack-rescue.service", "hardtack-rescue-late.timer"];

/// Somebody who may log in then.
#[derive(Debug, Clone, Serialize)]
struct Person {
    user: String,
    /// The rule of sudo(8).
    sudo: &'static str,
    keys: Vec<String>,
}

// For a door to anywhere: of documentation, of tests and between carriers, which lists of unused addresses have, and some others.
const ANYWHERE: [[u8; 4]; 6] =
    [[203, 0, 113, 77], [198, 51, 100, 77], [100, 64, 77, 77], [45, 77, 77, 77], [91, 77, 77, 77], [185, 77, 77, 77]];

// How the machine tries each way in: an account, and addresses to come from, of which it takes the first that no list keeps out; none is
// its own.
fn tries(ways: &[WayIn]) -> Vec<String> {
    let mut tries: Vec<String> = Vec::new();
    // Whoever cannot become root mends nothing, where others can.
    let to_root = ways.iter().any(|way| way.sudo != Sudo::Nothing);
    let counts = |way: &&WayIn| way.with != With::Password && (way.sudo != Sudo::Nothing || !to_root);
    for way in ways.iter().filter(counts) {
        let sources: Vec<IpAddr> = match (&way.door.interface, way.door.from.first()) {
            // Only what arrives there is let in, and nothing can be made to.
            (Some(_), _) => Vec::new(),
            (None, None) => ANYWHERE.map(IpAddr::from).to_vec(),
            (None, Some(_)) => {
                let four = way.door.from.iter().find(|net| net.is_ipv4());
                let net = four.or(way.door.from.first());
                net.iter().flat_map(|net| (77..83).map(|n| net.sample(n))).collect()
            }
        };
        let words: Vec<String> =
            std::iter::once(way.user.clone()).chain(sources.iter().map(ToString::to_string)).collect();
        let new = words.join(" ");
        if !tries.contains(&new) {
            tries.push(new);
        }
    }
    tries
}

impl Rescue {
    // Who may log in then, each with the keys that are taken from there.
    fn who(&self, plan: &Plan) -> Vec<Person> {
        let Some(logins) = &plan.logins else { return Vec::new() };
        let door = Door { from: self.from.iter().map(|net| net.value).collect(), interface: None };
        let named = |name: &UserName| self.people.is_empty() || self.people.iter().any(|p| p.value == *name);
        let person = |(name, account): (&UserName, &Account)| {
            let sudo = match account.sudo {
                Sudo::Nothing => return None,
                Sudo::WithPassword => "ALL=(ALL:ALL) ALL",
                Sudo::WithoutPassword => "ALL=(ALL:ALL) NOPASSWD:ALL",
            };
            let keys = account.keys.iter().filter(|key| way_in::lets_in(key, &door, logins));
            let keys: Vec<String> = keys.map(|key| key.as_str().to_owned()).collect();
            (!keys.is_empty()).then(|| Person { user: name.to_string(), sudo, keys })
        };
        plan.accounts.iter().filter(|(name, _)| named(name)).filter_map(person).collect()
    }
}

impl Hurdle for Rescue {
    fn lint(&self, here: Span, report: &mut Report) {
        for net in &self.from {
            if net.prefix() < if net.is_ipv4() { 8 } else { 16 } {
                report.push(WIDE.at(net.span, format!("{} is wider than anybody's own network", **net)));
            }
        }
        if self.from.is_empty() {
            report.push(WIDE.at(Some(here), "`from` names no network"));
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        #[derive(Serialize)]
        struct Holes {
            lib: &'static str,
            state: &'static str,
            here: &'static str,
            port: u16,
            within: u32,
            limit: u32,
            sshd: String,
            privilege_separation: String,
            people: Vec<Person>,
            allowed: Vec<String>,
            ways: Vec<String>,
            names: String,
            nets: String,
            v4: Vec<String>,
            v6: Vec<String>,
            off: bool,
            /// Whether its sshd makes an address wait that has failed.
            penalties: bool,
            /// What the client says where sshd takes the key that is tried; or where it can take none that is not hardware.
            taken: &'static str,
        }
        // What is wrong with it then is said when all have planned.
        let (true, Some(logins)) = (facts.systemd(), &plan.logins) else { return Ok(()) };
        let people = self.who(plan);
        let off = plan.filter.as_ref().is_some_and(|filter| !filter.ipv6);
        let nets = |ipv4: bool| -> Vec<String> {
            self.from.iter().filter(|net| net.is_ipv4() == ipv4).map(|net| net.to_string()).collect()
        };
        let (v4, v6) = (nets(true), if off { Vec::new() } else { nets(false) });
        let all: Vec<String> = v4.iter().chain(&v6).cloned().collect();
        let names: Vec<&str> = people.iter().map(|p| p.user.as_str()).collect();
        let holes = Holes {
            lib: LIB,
            state: STATE,
            here: HERE,
            port: logins.port,
            within: self.healthy_within.0,
            limit: self.boot_within.0,
            sshd: facts.path("sshd")?.to_owned(),
            privilege_separation: facts.path("sshd-privilege-separation")?.to_owned(),
            allowed: people.iter().flat_map(|p| all.iter().map(move |net| format!("{}@{net}", p.user))).collect(),
            ways: tries(&way_in::ways(plan)),
            names: names.join(", "),
            nets: all.join(", "),
            people,
            v4,
            v6,
            off,
            penalties: facts.version("openssh")? >= vec![9, 8],
            taken: match logins.second_factor {
                None => "hardtack-lets-in",
                Some(Factor::Code) => "with partial success",
                Some(Factor::SecurityKey) => "Permission denied (publickey).",
            },
        };
        let units = facts.path("systemd-units")?;
        for package in ["nftables", "ssh-client"] {
            plan.packages.insert(facts.package(package)?.to_owned());
        }
        // All of it is there with the gate: what comes later may never come.
        let gate = Stage::Gate;
        let mut draw = |path: String, mode, template| plan.draw("rescue", gate, &path, mode, template, &holes);
        draw(format!("{LIB}/rescue"), 0o755, template!("rescue/rescue.sh"))?;
        draw(format!("{HERE}/rescue.nft"), 0o600, template!("rescue/rescue.nft"))?;
        draw(format!("{HERE}/sshd_config"), 0o600, template!("rescue/sshd.conf"))?;
        draw(format!("{units}/hardtack-rescue-sshd.service"), 0o644, template!("rescue/hardtack-rescue-sshd.service"))?;
        draw(format!("{units}/{}", UNITS[0]), 0o644, template!("rescue/hardtack-rescue.service"))?;
        draw(format!("{units}/hardtack-rescue-late.service"), 0o644, template!("rescue/hardtack-rescue-late.service"))?;
        draw(format!("{units}/{}", UNITS[1]), 0o644, template!("rescue/hardtack-rescue-late.timer"))?;
        for person in &holes.people {
            // sshd reads it as the person.
            let path = format!("{HERE}/keys/{}", person.user);
            plan.draw("rescue", gate, &path, 0o644, template!("rescue/keys.conf"), person)?;
        }
        plan.command("rescue", gate, template!("rescue/arm.sh"), &holes)?;
        plan.units.extend(UNITS.map(str::to_owned));
        plan.rescue = Some(Policy {
            people: holes.people.into_iter().map(|p| p.user).collect(),
            from: self.from.iter().map(|net| net.value).filter(|net| !off || net.is_ipv4()).collect(),
        });
        Ok(())
    }

    fn settle(&self, facts: &Facts, plan: &mut Plan, report: &mut Report) {
        if !facts.systemd() {
            report.push(NO_UNIT.at(plan.here, format!("systemd does not start {}", facts.name)));
        }
        if plan.logins.is_none() {
            report.push(NO_SSH.at(plan.here, "nothing says what sshd is to do"));
            return;
        }
        if self.who(plan).is_empty() {
            let place = self.people.first().and_then(|p| p.span).or(plan.here);
            report.push(STRANGER.at(place, "nobody could log in and become root when the switch has fired"));
        }
        for person in self.people.iter().filter(|p| !plan.accounts.contains_key(&p.value)) {
            report.push(STRANGER.at(person.span, format!("`{}` has no account", **person)));
        }
    }

    fn proofs(&self, facts: &Facts, _: &Plan) -> Result<Vec<Proof>, Unknown> {
        let proof = |what: &str, refs: &[&str], statement: &str, script: String| {
            Proof::new("rescue", what, refs, statement, Check::Script { script })
        };
        let sshd = facts.path("sshd")?;
        let mut proofs = vec![
            proof(
                "never-needed",
                &["R37"],
                "the machine has found itself healthy after its first boot, and the dead-man's switch has not fired",
                NEVER_NEEDED.replace("STATE", STATE),
            ),
            proof(
                "policy-loads",
                &["R37", "sshd_config(5)", "nft(8)"],
                "the kernel takes the rescue rules, and sshd the rescue settings",
                format!(
                    "unshare -n nft -f {HERE}/rescue.nft 2>&1 || exit 1\n{sshd} -t -f {HERE}/sshd_config 2>&1 && echo both\n"
                ),
            ),
        ];
        for (what, unit) in [("watches", UNITS[0]), ("watches-the-end", UNITS[1])] {
            let statement = "a first boot that was cut short is watched again at the next";
            let script = format!("systemctl is-enabled {unit} 2>&1\n");
            proofs.push(proof(what, &["systemd.unit(5)"], statement, script));
        }
        Ok(proofs)
    }
}

const NEVER_NEEDED: &str = "[ -e STATE/rescued ] && echo \"it has fired: $(cat STATE/rescued)\" && exit 1\n\
    [ -e STATE/healthy ] && echo \"healthy since $(date -u -r STATE/healthy +%FT%TZ)\" && exit\n\
    echo 'it was never found healthy'\nexit 1\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::FromText;

    #[test]
    fn each_way_in_is_tried_once_from_where_it_is_let_in() {
        let way = |from: &[&str], interface: Option<&str>, with| WayIn {
            user: "ines".into(),
            door: Door {
                from: from.iter().map(|n| Cidr::from_text(n).unwrap()).collect(),
                interface: interface.map(str::to_owned),
            },
            port: 22,
            with,
            second_factor: None,
            sudo: Sudo::WithPassword,
        };
        let key = || With::Key("a key".into());
        let ways = [
            way(&["2001:db8::/32", "192.0.2.9"], None, key()),
            way(&["2001:db8::/32", "192.0.2.9"], None, With::Key("another".into())),
            way(&[], Some("eth1"), key()),
            way(&[], None, key()),
            way(&[], None, With::Password),
        ];
        let tries = tries(&ways);
        assert_eq!(tries.len(), 3);
        assert!(tries[0].starts_with("ines 192.0.2.9 ") && tries[1] == "ines");
        assert!(tries[2].starts_with("ines 203.0.113.77 "));
    }
}
