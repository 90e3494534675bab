//! Breaks a plan on purpose, one control at a time, to see whether a proof notices. What is broken is worked out from the plan: a
//! hurdle that asks for a file, an account or a unit is sabotaged without anyone writing a list.
//!
//! What may be broken without anybody being less safe is no sabotage: a comment, a blank line, or the text of a program, which
//! would be a bug and not a control that was loosened.

mod accounts;
mod files;
mod services;
mod watch;

use super::blocklist::{SET4, SET6};
use super::net::Cidr;
use super::proof::{Check, Proof};
use super::{File, LIB, NOTHING, Plan, Syntax};
use crate::report::FromText;
use std::net::IpAddr;

/// One control that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sabotage {
    /// `hurdle/what`, unique in a plan.
    pub id: String,
    /// The hurdle whose control it is.
    pub hurdle: String,
    /// What is done, as a sentence without full stop.
    pub what: String,
    /// How.
    pub change: Change,
    /// A word that the proof that is meant to notice has in its check: a keyword, a key, an account.
    word: String,
    /// Who must notice as well, beside whoever is nearest: a comparison of texts would notice most, and what knocks from
    /// outside would never be seen to fail.
    pub eyes: Vec<Eye>,
}

/// A kind of proof from the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eye {
    /// [`Check::Wire`]
    Knock,
    /// [`Check::Sweep`]
    Sweep,
    /// [`Check::Burst`]
    Burst,
    /// [`Check::Echo`]
    Echo,
    /// [`Check::Outbound`]
    Outbound,
}

impl Eye {
    /// Whether a check is of this kind.
    #[must_use]
    pub fn is(self, check: &Check) -> bool {
        match self {
            Eye::Knock => matches!(check, Check::Wire(_)),
            Eye::Sweep => matches!(check, Check::Sweep(_)),
            Eye::Burst => matches!(check, Check::Burst(_)),
            Eye::Echo => matches!(check, Check::Echo(_)),
            Eye::Outbound => matches!(check, Check::Outbound(_)),
        }
    }
}

/// How a control is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file of the bundle has another text.
    Text {
        /// The file.
        path: String,
        /// Its broken text.
        text: String,
    },
    /// Two scripts for root, for what is no text of the bundle: one breaks, the other mends.
    Scripts {
        /// What breaks it.
        spoil: String,
        /// What mends it again.
        mend: String,
    },
    /// A unit of the bundle is not enabled: nothing of it is on a machine that runs already.
    LeftOut {
        /// The unit.
        unit: String,
    },
}

impl Sabotage {
    /// Breaks the plan, where it is a text of the bundle that is broken. A guard that would refuse it is taken out as well: it
    /// is the proofs that are tried, not the guard.
    #[must_use]
    pub fn applied(&self, plan: &Plan) -> Option<Plan> {
        let mut broken = plan.clone();
        match &self.change {
            Change::Scripts { .. } => return None,
            Change::Text { path, text } => broken.files.get_mut(path)?.text.clone_from(text),
            Change::LeftOut { unit } => {
                broken.units.remove(unit);
                broken.scripts.remove(unit);
            }
        }
        broken.commands.retain(|c| !c.guards);
        Some(broken)
    }

    // Whether the one rule that was changed lets in who begins these.
    fn loosens(&self, plan: &Plan, check: &Check) -> bool {
        let (Change::Text { path, text }, Check::Burst(burst)) = (&self.change, check) else { return false };
        let Some(file) = plan.files.get(path) else { return false };
        let rule = file.text.lines().zip(text.lines()).find(|(old, new)| old != new).map_or("", |(old, _)| old);
        let net = source(rule).map(|(_, net, _)| net);
        let of = |address: &IpAddr| {
            path.ends_with(if address.is_ipv4() { ".v4" } else { ".v6" })
                && net.is_none_or(|net| Cidr::from_text(net).is_ok_and(|net| net.contains(*address)))
        };
        burst.sources.first().is_some_and(of)
    }

    /// Which of its eyes none of these checks, which noticed, belongs to.
    #[must_use]
    pub fn blind(&self, noticed: &[&Check]) -> Vec<Eye> {
        self.eyes.iter().filter(|eye| !noticed.iter().any(|check| eye.is(check))).copied().collect()
    }

    /// Whether a proof is meant to notice: its name or its check has the word of what was broken.
    #[must_use]
    pub fn concerns(&self, proof: &Proof) -> bool {
        let check = serde_json::to_string(&proof.check).unwrap_or_default();
        proof.id.contains(&self.word) || check.to_lowercase().contains(&self.word.to_lowercase())
    }

    /// The proof that should have noticed, when none did: one of the same hurdle rather than another, and of the kind that was
    /// blind where only that was.
    #[must_use]
    pub fn meant_for<'p>(&self, proofs: &'p [Proof], blind: Option<Eye>) -> Option<&'p Proof> {
        if let Some(eye) = blind {
            return proofs.iter().find(|p| eye.is(&p.check));
        }
        let own = |p: &&Proof| p.hurdle == self.hurdle;
        let concerned = || proofs.iter().filter(|p| self.concerns(p));
        concerned().find(own).or_else(|| concerned().next()).or_else(|| proofs.iter().find(own))
    }
}

/// All that can be broken, in a stable order.
#[must_use]
pub fn sabotages(plan: &Plan) -> Vec<Sabotage> {
    let mut all = Vec::new();
    for (path, file) in &plan.files {
        lines(path, file, &mut all);
        all.extend(files::not_run(path, file));
        all.extend(files::altered(path, file));
        all.push(files::looser(path, file));
    }
    // A network that is too small to count its sources apart has no proof of that.
    for sabotage in all.iter_mut().filter(|s| s.eyes.contains(&Eye::Burst)) {
        if !plan.proofs.iter().any(|p| sabotage.loosens(plan, &p.check)) {
            sabotage.eyes.clear();
        }
    }
    // Of a family that is off, nothing is heard whatever its rules say.
    if plan.filter.as_ref().is_some_and(|f| !f.ipv6) {
        let of_ipv6 = |s: &Sabotage| matches!(&s.change, Change::Text { path, .. } if path.ends_with(".v6"));
        all.iter_mut().filter(|s| of_ipv6(s)).for_each(|s| s.eyes.clear());
    }
    sets(plan, &mut all);
    accounts::accounts(plan, &mut all);
    services::services(plan, &mut all);
    watch::watch(plan, &mut all);
    for unit in plan.units.iter().chain(&plan.scripts) {
        let script = plan.scripts.contains(unit);
        let file = plan.files.iter().find(|(p, _)| p.ends_with(&format!("/{unit}"))).map(|(_, f)| f);
        let hurdle = file.map_or("delivery", |f| f.hurdle);
        // What is done once and over does not run on a machine that has come through its first boot.
        let done = file.is_some_and(|f| {
            f.text.contains("ConditionPathExists=!")
                || f.text.contains("\nType=oneshot\n") && !f.text.contains("\nRemainAfterExit=yes\n")
        });
        let mut add = |what: &str, spoil: String, mend: String| {
            all.push(Sabotage {
                id: format!("{hurdle}/{what} {unit}"),
                hurdle: hurdle.to_owned(),
                what: format!("{unit} is {what}"),
                change: Change::Scripts { spoil, mend },
                word: unit.clone(),
                eyes: Vec::new(),
            });
        };
        if script {
            add("disabled", format!("update-rc.d -f {unit} remove"), format!("update-rc.d {unit} defaults"));
        } else {
            let [off, on] = ["disable", "enable"].map(|verb| format!("systemctl --no-reload {verb} {unit}"));
            add("disabled", off, on);
            if !done {
                add("stopped", format!("systemctl stop {unit}"), format!("systemctl start {unit}"));
            }
        }
        // A unit that a package brings is mostly enabled by that already, and a bundle that does not ask for it makes the same machine.
        if file.is_none() {
            continue;
        }
        all.push(Sabotage {
            id: format!("{hurdle}/leave out {unit}"),
            hurdle: hurdle.to_owned(),
            what: format!("the bundle does not enable {unit}"),
            change: Change::LeftOut { unit: unit.clone() },
            word: unit.clone(),
            eyes: Vec::new(),
        });
    }
    all
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.trim_start().starts_with('#'))
}

// The text with one line written otherwise, or left out.
fn with_line(text: &str, at: usize, line: Option<&str>) -> String {
    let lines = text.lines().enumerate().filter_map(|(n, l)| if n == at { line } else { Some(l) });
    lines.map(|l| format!("{l}\n")).collect()
}

// Another value that is surely weaker or wrong: no is yes, a number is one less (one
// more is often refused by the kernel), a list has lost its first element. Nothing
// stands for a line that is left out.
fn flipped(value: &str) -> Option<String> {
    match value {
        "no" => Some("yes".to_owned()),
        "yes" => Some("no".to_owned()),
        "0" => Some("1".to_owned()),
        "1" => Some("0".to_owned()),
        // A second less of an hour weakens nothing that one could see.
        _ if value.bytes().all(|b| b.is_ascii_digit()) => {
            value.parse::<u64>().ok().map(|n| if n < 100 { n.max(1) - 1 } else { n / 2 }.to_string())
        }
        // A parameter of several words is loosened by its last.
        _ if value.contains(' ') => {
            value.rsplit_once(' ').and_then(|(head, last)| Some(format!("{head} {}", flipped(last)?)))
        }
        _ => value.split_once(',').map(|(_, rest)| rest.to_owned()),
    }
}

fn lines(path: &str, file: &File, all: &mut Vec<Sabotage>) {
    let Some(controls) = &file.controls else { return };
    let mut push = |what: String, sentence: String, text: String, word: &str, eyes: &[Eye]| {
        all.push(Sabotage {
            id: format!("{}/{what}", file.hurdle),
            hurdle: file.hurdle.to_owned(),
            what: sentence,
            change: Change::Text { path: path.to_owned(), text },
            word: word.to_owned(),
            eyes: eyes.to_vec(),
        });
    };
    if controls.syntax == Syntax::Rules {
        return rules(path, file, &mut push);
    }
    let mut add = |what, sentence, text, word: &str| push(what, sentence, text, word, &[]);
    let name = path.rsplit('/').next().unwrap_or(path);
    for (at, line) in words(&file.text) {
        match controls.syntax {
            Syntax::Directives => {
                let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
                let new = flipped(value).map(|v| format!("{keyword} {v}"));
                let sentence = match &new {
                    Some(new) => format!("{name} says `{}`", crate::report::shown(new)),
                    None => format!("{name} does not say {keyword}"),
                };
                add(format!("flip {keyword}"), sentence, with_line(&file.text, at, new.as_deref()), keyword);
            }
            Syntax::Assignments => {
                let (key, value) = line.split_once(" = ").unwrap_or((line, ""));
                let Some(new) = flipped(value).map(|v| format!("{key} = {v}")) else { continue };
                // A parameter of every interface has a proof of its own name.
                let last = key.rsplit('.').next().unwrap_or(key);
                add(format!("flip {key}"), format!("{name} says `{new}`"), with_line(&file.text, at, Some(&new)), last);
            }
            // A line of apt.conf(5) that is a comment begins with two slashes.
            Syntax::Apt if line.starts_with("//") => {}
            Syntax::Apt => {
                let (key, value) = line.split_once(" \"").unwrap_or((line, ""));
                let new = match value {
                    "true\";" => Some(format!("{key} \"false\";")),
                    "false\";" => Some(format!("{key} \"true\";")),
                    "0\";" => Some(format!("{key} \"1\";")),
                    "1\";" => Some(format!("{key} \"0\";")),
                    _ => None,
                };
                // How long something is kept, or waited for, makes nobody less safe.
                if key.ends_with("Interval") || key.ends_with("Timeout") {
                    continue;
                }
                let sentence = match &new {
                    Some(new) => format!("{name} says `{new}`"),
                    None => format!("{name} lacks `{line}`"),
                };
                let key = key.trim_end_matches(':');
                let what = if new.is_some() { format!("flip {key}") } else { format!("drop line {at} of {name}") };
                let word = key.rsplit("::").next().unwrap_or(key);
                add(what, sentence, with_line(&file.text, at, new.as_deref()), word);
            }
            Syntax::Arguments => {
                // An argument of the kernel holds no mark of quotation (KernelArgument).
                let (head, tail) = line.rsplit_once('"').unwrap_or(("", line));
                let words: Vec<&str> = tail.trim_matches('\'').split(' ').collect();
                for word in &words {
                    let kept: Vec<&str> = words.iter().filter(|w| *w != word).copied().collect();
                    let text = with_line(&file.text, at, Some(&format!("{head}\"'{}'", kept.join(" "))));
                    add(format!("drop {word}"), format!("{name} does not ask for {word}"), text, word);
                }
            }
            Syntax::Unit => {
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                let new = match (key, value) {
                    // Ordered by systemd as any service, and so behind whatever comes up early.
                    ("DefaultDependencies", "no") => "DefaultDependencies=yes".to_owned(),
                    ("Before" | "Wants", _) if value.split(' ').any(|w| w == BEFORE_THE_NETWORK) => {
                        let others: Vec<&str> = value.split(' ').filter(|w| *w != BEFORE_THE_NETWORK).collect();
                        format!("{key}={}", others.join(" "))
                    }
                    // The image's own times stay beside that of the spec.
                    ("OnCalendar", "") => String::new(),
                    ("OnCalendar", _) => "OnCalendar=yearly".to_owned(),
                    ("ReadOnlyPaths", _) => "ReadOnlyPaths=".to_owned(),
                    ("Persistent", "yes") => "Persistent=no".to_owned(),
                    // A sandbox, and what is said to no neighbour.
                    _ if file.hurdle == "services"
                        && IMPLIED.contains(&key)
                        && file.text.contains("DynamicUser=yes") =>
                    {
                        continue;
                    }
                    (_, "yes") if file.hurdle == "services" => format!("{key}=no"),
                    (_, "no") if file.hurdle == "services" => format!("{key}=yes"),
                    _ if file.hurdle == "services" && LEFT_OUT.contains(&key) => String::new(),
                    _ => continue,
                };
                let (what, sentence) = match new.as_str() {
                    "" => (format!("drop {line} in {name}"), format!("{name} lacks `{line}`")),
                    new => (format!("{new} in {name}"), format!("{name} says `{new}`")),
                };
                add(what, sentence, with_line(&file.text, at, Some(&new)), name);
            }
            Syntax::Rules => {}
        }
    }
}

/// What DynamicUser= brings in any case (systemd.exec(5)).
const IMPLIED: [&str; 5] = ["NoNewPrivileges", "RestrictSUIDSGID", "PrivateTmp", "RemoveIPC", "ProtectSystem"];
/// Directives of a sandbox that are not yes or no.
const LEFT_OUT: [&str; 8] = [
    "ProtectSystem",
    "ProtectProc",
    "ProcSubset",
    "UMask",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "CapabilityBoundingSet",
    "RestrictAddressFamilies",
];

/// Where a firewall must stand (systemd.special(7)).
const BEFORE_THE_NETWORK: &str = "network-pre.target";

// Of rules. What the wire must notice as well is what it can: it sees no rule that another one makes up for, and none of a
// file that is loaded later.
fn rules(path: &str, file: &File, push: &mut impl FnMut(String, String, String, &str, &[Eye])) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let word = &name.replace('.', "-");
    let lives = file.controls.as_ref().is_some_and(|c| c.takes_effect != NOTHING);
    // What is refused in the end never comes to the policy. Its reset looks like that of a port where nothing listens: a sweep
    // hears the difference on the machine, but no hunt has shown that yet, so only a knock must notice.
    let refuses = |chain: &str| file.text.lines().any(|l| l.starts_with(&format!("-A {chain} -j REJECT")));
    let mut add = |what: String, sentence: String, text: String, eyes: &[Eye]| {
        push(what, sentence, text, word, if lives { eyes } else { &[] });
    };
    for (at, line) in words(&file.text) {
        let text = |new: Option<&str>| with_line(&file.text, at, new);
        if let Some((chain, policy)) = line.strip_prefix(':').and_then(|l| l.split_once(' ')) {
            if policy.starts_with("DROP ") {
                let eyes: &[Eye] = if chain == "INPUT" && !refuses(chain) { &[Eye::Knock, Eye::Sweep] } else { &[] };
                let new = line.replacen(" DROP ", " ACCEPT ", 1);
                let sentence = format!("{name} lets everything through {chain} that no rule names");
                add(format!("accept {chain} in {name}"), sentence, text(Some(&new)), eyes);
            } else if chain == "OUTPUT" {
                let new = line.replacen(" ACCEPT ", " DROP ", 1);
                let sentence = format!("{name} lets nothing out");
                add(format!("drop {chain} in {name}"), sentence, text(Some(&new)), &[Eye::Outbound]);
            }
        } else if line.starts_with("-A ") {
            let lets = line.ends_with(" -j ACCEPT");
            let eyes: &[Eye] = match line {
                _ if line.starts_with("-A INPUT -m set ") => KEPT_OUT,
                _ if !lets => &[],
                _ if line.contains("-type 8 ") || line.contains("-type 128 ") => &[Eye::Echo],
                _ if !line.contains(" --dports ") => &[],
                _ if line.starts_with("-A INPUT ") => &[Eye::Knock],
                _ => &[Eye::Outbound],
            };
            let sentence = format!("{name} lacks `{}`", crate::report::shown(line));
            add(format!("drop rule {at} of {name}"), sentence, text(None), eyes);
            if let Some((head, tail)) = line.split_once(" -m hashlimit ").filter(|_| lets) {
                let sentence = format!("rule {at} of {name} lets each source begin any number");
                let new = format!("{head}{}", &tail[tail.rfind(" -j ").unwrap_or(0)..]);
                add(format!("rule {at} of {name} without its rate"), sentence, text(Some(&new)), &[Eye::Burst]);
            }
            if let Some((head, net, tail)) = source(line).filter(|_| lets && line.contains(" --dports ")) {
                let sentence = format!("rule {at} of {name} asks for no source: not {net}");
                add(
                    format!("rule {at} of {name} from anywhere"),
                    sentence,
                    text(Some(&format!("{head}{tail}"))),
                    &[Eye::Knock],
                );
            }
        }
    }
    // Someone who tries something out, before all other rules.
    let extra = "-A INPUT -p tcp -m tcp --dport 4444 -j ACCEPT";
    let text = file.text.replacen("\n-A INPUT", &format!("\n{extra}\n-A INPUT"), 1);
    let eyes: &[Eye] = if refuses("INPUT") { &[Eye::Knock] } else { &[Eye::Knock, Eye::Sweep] };
    add(format!("let in 4444 by {name}"), format!("{name} has one rule more: `{extra}`"), text, eyes);
}

/// Who is kept out by a list would come in, and be answered.
const KEPT_OUT: &[Eye] = &[Eye::Knock, Eye::Sweep, Eye::Echo];

// What a list keeps out is seen from outside only where it is known whom it names.
fn sets(plan: &Plan, all: &mut Vec<Sabotage>) {
    let names = |ipv4| plan.filter.as_ref().and_then(|f| f.listed.as_ref()).is_some_and(|l| l.sample(ipv4).is_some());
    for sabotage in all.iter_mut().filter(|s| s.eyes == KEPT_OUT) {
        let Change::Text { path, .. } = &sabotage.change else { continue };
        if !names(path.ends_with(".v4")) {
            sabotage.eyes.clear();
        }
    }
    for (ipv4, set, word) in [(true, SET4, "set-ipv4"), (false, SET6, "set-ipv6")] {
        if plan.blocks && names(ipv4) {
            all.push(Sabotage {
                id: format!("blocklist/empty {set}"),
                hurdle: "blocklist".to_owned(),
                what: format!("the set {set} is empty"),
                change: Change::Scripts {
                    spoil: format!("ipset flush {set}"),
                    mend: format!("sh {LIB}/blocklist-load"),
                },
                word: word.to_owned(),
                eyes: KEPT_OUT.to_vec(),
            });
        }
    }
}

// A rule before, in and after its ` -s NET`.
fn source(line: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = line.split_once(" -s ")?;
    let (net, _) = rest.split_once(' ')?;
    Some((head, net, &rest[net.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::proof::Echo;
    use crate::plan::{Controls, Stage};

    fn file(syntax: Syntax, text: &str) -> File {
        File {
            mode: 0o600,
            text: text.to_owned(),
            stage: Stage::Apply,
            hurdle: "ssh",
            template: "",
            controls: Some(Controls { syntax, takes_effect: "true".into() }),
        }
    }

    fn broken(file: &File) -> Vec<(String, String)> {
        let mut all = Vec::new();
        lines("/etc/x/a.conf", file, &mut all);
        all.into_iter()
            .map(|s| match s.change {
                Change::Text { text, .. } => (s.id, text),
                _ => unreachable!("a text"),
            })
            .collect()
    }

    #[test]
    fn every_line_is_broken_once_and_alone() {
        let text = "# why\nPermitRootLogin no\nMaxAuthTries 4\nCiphers a,b,c\nAllowUsers x\n";
        let all = broken(&file(Syntax::Directives, text));
        let changed: Vec<String> = all.iter().map(|(_, t)| t.lines().filter(|l| !text.contains(l)).collect()).collect();
        assert_eq!(changed, ["PermitRootLogin yes", "MaxAuthTries 3", "Ciphers b,c", ""]);
        assert!(!all[3].1.contains("AllowUsers") && all[3].1.lines().count() == 4);
        assert_eq!(all[0].0, "ssh/flip PermitRootLogin");
    }

    fn eyes(text: &str, effect: &str) -> Vec<(String, Vec<Eye>)> {
        let mut file = file(Syntax::Rules, text);
        file.controls.as_mut().unwrap().takes_effect = effect.to_owned();
        let mut all = Vec::new();
        lines("/etc/x/rules.v4", &file, &mut all);
        all.into_iter().map(|s| (s.id.trim_start_matches("ssh/").to_owned(), s.eyes)).collect()
    }

    const RULES: &str = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\n\
        -A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT\n-A INPUT -s 10.0.0.0/8 -p tcp -m multiport --dports 80 -j ACCEPT\nCOMMIT\n";

    #[test]
    fn policies_rules_sources_and_one_rule_more() {
        let all = broken(&file(Syntax::Rules, RULES));
        assert_eq!(all.len(), 7);
        assert!(all[0].1.contains(":INPUT ACCEPT"));
        assert!(all[1].1.contains(":OUTPUT DROP"));
        assert!(!all[2].1.contains("-i lo") && all[2].1.contains("80"));
        assert!(all[5].1.contains("-A INPUT -p tcp -m multiport --dports 80 -j ACCEPT\nCOMMIT"));
        assert!(
            all[6].1.contains(":OUTPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 4444 -j ACCEPT\n-A INPUT -i lo")
        );
    }

    #[test]
    fn the_wire_must_notice_what_it_can() {
        use Eye::{Echo, Knock, Outbound, Sweep};
        let loaded = eyes(RULES, "iptables-restore");
        let of: Vec<&[Eye]> = loaded.iter().map(|(_, e)| e.as_slice()).collect();
        assert_eq!(of, [&[Knock, Sweep] as &[Eye], &[Outbound], &[], &[Echo], &[Knock], &[Knock], &[Knock, Sweep]]);
        // A refusal looks like a port where nothing listens, and no policy is come to.
        let rejects = RULES.replace("COMMIT", "-A INPUT -j REJECT --reject-with icmp-admin-prohibited\nCOMMIT");
        let all = eyes(&rejects, "iptables-restore");
        let of = |id: &str| all.iter().find(|(i, _)| i == id).map(|(_, e)| e.as_slice());
        assert_eq!(of("accept INPUT in rules.v4"), Some(&[] as &[Eye]));
        assert_eq!(of("let in 4444 by rules.v4"), Some(&[Knock] as &[Eye]));
        // What is not loaded yet is seen by nobody outside.
        assert!(eyes(RULES, NOTHING).iter().all(|(_, e)| e.is_empty()));
    }

    #[test]
    fn whoever_was_blind_is_named() {
        let script = Check::Script { script: "true".into() };
        let echo = Check::Echo(Echo { source: [203, 0, 113, 7].into(), interface: None, answered: true });
        let mut all = Vec::new();
        lines("/etc/x/rules.v4", &file(Syntax::Rules, RULES), &mut all);
        all[0].eyes = vec![Eye::Knock, Eye::Echo];
        assert_eq!(all[0].blind(&[&script]), [Eye::Knock, Eye::Echo]);
        assert_eq!(all[0].blind(&[&script, &echo]), [Eye::Knock]);
        all[0].eyes = vec![];
        assert!(all[0].blind(&[]).is_empty());
    }

    #[test]
    fn a_unit_that_comes_late_is_one_that_is_not_before_the_network() {
        let text = "[Unit]\nDefaultDependencies=no\nWants=network-pre.target\nBefore=network-pre.target shutdown.target\nAfter=a.service\n";
        let all = broken(&file(Syntax::Unit, text));
        let changed: Vec<String> =
            all.iter().map(|(_, t)| t.lines().filter(|l| !text.lines().any(|o| o == *l)).collect()).collect();
        assert_eq!(changed, ["DefaultDependencies=yes", "Wants=", "Before=shutdown.target"]);
    }

    #[test]
    fn each_argument_of_the_kernel_is_left_out_once() {
        let of = |text: &str| {
            let all = broken(&file(Syntax::Arguments, text));
            all.into_iter().map(|(_, t)| t.lines().last().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("X=\"$X \"'a=1 b c'\n"), ["X=\"$X \"'b c'", "X=\"$X \"'a=1 c'", "X=\"$X \"'a=1 b'"]);
        assert_eq!(of("# why\nX=\"$X \"a=1\n"), ["X=\"$X \"''"]);
    }

    #[test]
    fn a_value_is_never_flipped_to_itself() {
        for value in ["no", "yes", "0", "1", "2", "65536", "a,b", "4096 87380 6291456"] {
            assert!(flipped(value).is_some_and(|new| new != value), "{value}");
        }
        assert_eq!(flipped("VERBOSE"), None);
    }
}
