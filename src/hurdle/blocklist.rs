//! Addresses that are kept out: lists that the bundle brings, and lists on the web that the machine fetches every day.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::blocklist::{Account, Blocklist as List, Builder, Outcome, SET4, SET6};
use crate::plan::name::InputFile;
use crate::plan::net::{Cidr, FAR, Protocol};
use crate::plan::proof::{self, Check, Proof, When};
use crate::plan::url::Url;
use crate::plan::{File, LIB, Plan, STATE, Stage, Syntax};
use crate::report::{FromText, Lint, Report, Severity, Span, shown};
use crate::yaml::{Described, Spanned};
use crate::{choice, section, template};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

section! {
    /// Addresses that are kept out of every port, from lists: in files beside the spec, and on the web. It needs the firewall.
    pub struct Blocklist as "blocklist" {
        /// The lists.
        sources: Vec<Spanned<ListSource>> = Vec::new(), or "none";
        /// When the machine fetches lists on the web again: `daily`, or `never` after the first boot.
        refresh: Spanned<Refresh> = Spanned::default_of(Refresh::Daily), or "daily";
        /// Networks that are never blocked, whatever a list says. Those that `firewall.allow` lets in for ssh by `from` need not be named,
        /// nor the machine's routers and name servers.
        allow: Vec<Spanned<Cidr>> = Vec::new(), or "none";
    }
}

section! {
    /// A list. It needs `file`, `url` or both: with both, the bundle brings what the file has, and the machine fetches what is newer.
    pub struct ListSource as "an entry of sources" {
        /// A file, as seen from the spec's folder: one address, network or range a line (`hardtack blocklist --help`).
        file: Option<Spanned<InputFile>> = None, or "none";
        /// Where the machine fetches it: `https://`.
        url: Option<Spanned<Url>> = None, or "none";
    }
}

choice! {
    /// When lists on the web are fetched again.
    pub enum Refresh as "a time of refresh" {
        /// Every day.
        Daily => "daily",
        /// Only at the first boot.
        Never => "never",
    }
}

const NO_SOURCE: Lint = Lint {
    code: "blocklist/no-source",
    severity: Severity::Error,
    finds: "a blocklist without a source, or a source without `file` and `url`",
    why: "it blocks nobody, and whoever reads the spec believes otherwise",
    instead: "name a list: `sources: [{ file: drop.txt }]`",
    refs: &["R57"],
};
const NO_FIREWALL: Lint = Lint {
    code: "blocklist/no-firewall",
    severity: Severity::Error,
    finds: "`blocklist` without `firewall`",
    why: "the lists are loaded, and no rule asks them",
    instead: "add `firewall:`",
    refs: &["R59"],
};
const BAD_LIST: Lint = Lint {
    code: "blocklist/bad-list",
    severity: Severity::Error,
    finds: "a list without a single good entry, or lists that would block half of the internet",
    why: "a page that says `moved` is a list that blocks nobody; a default route is one that blocks everybody",
    instead: "look at it with `hardtack blocklist FILE`",
    refs: &["R57"],
};
const REFUSED: Lint = Lint {
    code: "blocklist/refused-lines",
    severity: Severity::Warning,
    finds: "lines of a list that are not taken",
    why: "what they meant to block is let in",
    instead: "look at them with `hardtack blocklist FILE`; private networks, for one, are never blocked",
    refs: &["R57"],
};
const TOO_LARGE: Lint = Lint {
    code: "blocklist/too-large",
    severity: Severity::Error,
    finds: "a list without `url` that does not fit into the delivery",
    why: "user-data that is too large is cut or refused by the cloud, and the machine boots without any of it",
    instead: "serve the list by https, and name its `url` beside the file: the machine fetches it at its first boot",
    refs: &["R57"],
};
const FETCHED_FIRST: Lint = Lint {
    code: "blocklist/fetched-first",
    severity: Severity::Warning,
    finds: "a list that the bundle does not bring",
    why: "until the machine has fetched it, the first boot has not succeeded: only ssh may come in",
    instead: "put the list as it is today beside the spec, and name it as `file`; a large one must be fetched",
    refs: &["R22", "R57"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[NO_SOURCE, NO_FIREWALL, BAD_LIST, REFUSED, TOO_LARGE, FETCHED_FIRST];
/// The sections inside.
pub const PARTS: &[Part] = &[Part { place: "blocklist.sources[]", doc: ListSource::DOC, fields: ListSource::FIELDS }];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[
    Instruction {
        said: "a script that collects blacklists of botnets, and the networks of whole countries",
        became: "`sources:`, files or https; each line is judged: nobody can block everybody, you, or the machine's own router",
        refs: &["R57"],
    },
    Instruction {
        said: "update once a day",
        became: "`refresh: daily`: a timer; new sets take the place of the old ones at once, and a list that cannot be had changes \
                 nothing",
        refs: &["R58"],
    },
    Instruction {
        said: "iptables bogs down beyond a few thousand rules; use ipset",
        became: "one rule a family asks a set (ipset of the kind hash:net), whatever its size",
        refs: &["R59"],
    },
    Instruction {
        said: "ipset uses a binary search, and can hold 65k entries",
        became: "it uses a hash, and looks once for each length of prefix; 65536 is only what a set holds when nobody says otherwise. \
                 Sets are made as large as their lists",
        refs: &["R60", "ipset(8)"],
    },
];

/// What a proof serves where nobody knows what a list has (RFC 2544, RFC 3849).
const SOMEBODY: &str = "198.19.255.0/24\n2001:db8:dd::/48\n";
/// What a proof adds to a list for a while.
const ADDED: [&str; 2] = ["198.19.254.0/24", "2001:db8:cc::/48"];

const FOLDER: &str = "/etc/hardtack/blocklist";
const TIMER: &str = "hardtack-blocklist.timer";
/// What fetches where there is no systemd. run-parts(8) leaves out names with a dot.
const CRON: &str = "/etc/cron.daily/hardtack-blocklist";

/// A source as it is on the machine.
struct Known<'a> {
    span: Option<Span>,
    /// What it is called on the machine: the same for as long as the source is the same.
    id: String,
    name: &'a str,
    url: Option<&'a str>,
    /// The networks of its file, one a line.
    text: String,
}

impl Blocklist {
    fn fetches(&self) -> bool {
        self.sources.iter().any(|s| s.url.is_some())
    }

    // What is let in for administration wins over every list.
    fn allowed(&self, plan: &Plan) -> Vec<Cidr> {
        let admin = plan.filter.iter().flat_map(|f| &f.opens).filter(|o| o.from_the_gate).flat_map(|o| &o.from);
        let mut all: Vec<Cidr> = self.allow.iter().map(|net| net.value).chain(admin.copied()).collect();
        all.sort();
        all.dedup();
        all
    }

    // Seen from outside, where anybody may come in by a port whom no list names.
    fn refreshed(&self, plan: &Plan) -> Option<Proof> {
        let filter = plan.filter.as_ref()?;
        let open = filter
            .opens
            .iter()
            .find(|o| o.protocol == Protocol::Tcp && o.from.is_empty() && o.interface.is_none() && o.rate.is_none())?;
        let urls: Vec<String> =
            self.sources.iter().filter_map(|s| s.url.as_ref()).map(|url| url.as_str().to_owned()).collect();
        urls.first()?;
        let families: &[bool] = if filter.ipv6 { &[true, false] } else { &[true] };
        let is_there = |address: IpAddr| filter.ipv6 || address.is_ipv4();
        let check = Check::Refresh(proof::Refresh {
            urls,
            port: open.ports.first()?.first,
            kept_out: families.iter().filter_map(|ipv4| filter.listed.as_ref()?.sample(*ipv4)).collect(),
            // Who lies behind the first card, which no rule names: the others answer elsewhere.
            let_in: [FAR[0], FAR[3]].into_iter().filter(|who| is_there(*who) && !filter.lists(*who)).collect(),
            added: ADDED
                .iter()
                .filter_map(|net| Cidr::from_text(net).ok())
                .filter(|net| is_there(net.network()) && !filter.lists(net.sample(0)))
                .collect(),
        });
        let statement = "while lists are fetched anew whom they name is never answered, and others are before, meanwhile and after; what \
                         is no good list changes nothing, and is reported";
        let mut proof = Proof::new("blocklist", "refresh", &["R57", "R58"], statement, check);
        // It takes a while, and is the same at every boot.
        proof.when = When::AfterReboot;
        Some(proof)
    }

    fn known<'a>(&'a self, allow: &[Cidr], plan: &Plan, report: &mut Report) -> Vec<Known<'a>> {
        let mut all = Vec::new();
        for source in &self.sources {
            let file = source.file.as_ref().map(|f| (f.as_str(), f.span));
            let url = source.url.as_ref().map(|u| u.as_str());
            let Some(name) = url.or(file.map(|(name, _)| name)) else { continue };
            let mut known = Known {
                span: file.and_then(|(_, span)| span).or(source.span),
                id: format!("{:08x}", cksum(name.as_bytes())),
                name,
                url,
                text: String::new(),
            };
            if let Some((path, span)) = file
                && let Some(bytes) = plan.inputs.get(path)
            {
                let outcome = judged(allow, [(path, &bytes[..])]);
                outcome.accounts.iter().for_each(|account| refused(account, span, report));
                match &outcome.blocklist {
                    Ok(list) => _ = list.write_networks(&mut known.text),
                    Err(faults) => faults.iter().for_each(|f| report.push(BAD_LIST.at(span, f.message.clone()))),
                }
            }
            // One that is named twice is one; two that only look alike are two.
            if all.iter().any(|other: &Known| other.name == name) {
                continue;
            }
            while all.iter().any(|other| other.id == known.id) {
                known.id.push('x');
            }
            all.push(known);
        }
        all
    }
}

fn judged<'a>(allow: &[Cidr], sources: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Outcome {
    let mut builder = Builder::new(allow);
    for (name, bytes) in sources {
        // Bytes in memory can be read.
        let _ = builder.source(name, bytes);
    }
    builder.finish()
}

fn refused(account: &Account, span: Option<Span>, report: &mut Report) {
    let count: u64 = account.refused.values().map(|tally| tally.count).sum();
    if count == 0 || account.taken == 0 {
        return;
    }
    let mut words = format!("{count} of {} lines are not taken", account.lines);
    for (why, tally) in account.refused.iter().take(3) {
        if let Some((number, text)) = tally.examples.first() {
            let _ = write!(words, "; line {number} `{}`: {}", shown(text), why.words());
        }
    }
    report.push(REFUSED.at(span, words));
}

impl Hurdle for Blocklist {
    fn inputs(&self) -> Vec<&Spanned<InputFile>> {
        self.sources.iter().filter_map(|s| s.file.as_ref()).collect()
    }

    fn lint(&self, here: Span, report: &mut Report) {
        if self.sources.is_empty() {
            report.push(NO_SOURCE.at(Some(here), "no list is named"));
        }
        for source in self.sources.iter().filter(|s| s.file.is_none() && s.url.is_none()) {
            report.push(NO_SOURCE.at(source.span, "this source is neither a file nor an address on the web"));
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        for package in ["ipset", "python", "certificates"] {
            plan.packages.insert(facts.package(package)?.to_owned());
        }
        let holes = BTreeMap::from([("lib", LIB), ("state", STATE)]);
        let apply = Stage::Apply;
        let program = template!("blocklist/blocklist.py");
        plan.draw("blocklist", apply, &format!("{LIB}/blocklist"), 0o755, program, &holes)?;
        let load = template!("blocklist/load.sh");
        plan.draw("blocklist", apply, &format!("{LIB}/blocklist-load"), 0o755, load, &holes)?;
        plan.command("blocklist", apply, template!("blocklist/apply.sh"), &holes)?;
        plan.command("blocklist", Stage::Health, template!("blocklist/health.sh"), &holes)?;
        plan.guards();
        let daily = self.fetches() && *self.refresh == Refresh::Daily;
        if !facts.systemd() {
            let refresh = template!("blocklist/refresh.sh");
            plan.draw("blocklist", apply, &format!("{LIB}/blocklist-refresh"), 0o755, refresh, &holes)?;
            if daily {
                plan.packages.insert(facts.package("cron")?.to_owned());
                plan.draw("blocklist", apply, CRON, 0o755, template!("blocklist/cron.daily.sh"), &holes)?;
            }
            plan.blocks = true;
            return Ok(());
        }
        let units = facts.path("systemd-units")?;
        let service = template!("blocklist/hardtack-blocklist.service");
        plan.draw("blocklist", apply, &format!("{units}/hardtack-blocklist.service"), 0o644, service, &holes)?;
        if daily {
            let (timer, path) = (template!("blocklist/hardtack-blocklist.timer"), format!("{units}/{TIMER}"));
            plan.draw("blocklist", apply, &path, 0o644, timer, &holes)?;
            plan.controls(&path, Syntax::Unit, format!("systemctl daemon-reload; systemctl try-restart {TIMER}"));
            plan.units.insert(TIMER.to_owned());
            plan.starts.insert(TIMER.to_owned());
        }
        plan.blocks = true;
        Ok(())
    }

    fn settle(&self, _: &Facts, plan: &mut Plan, report: &mut Report) {
        if plan.filter.is_none() {
            report.push(NO_FIREWALL.at(plan.here, "nothing asks the lists: there is no `firewall`"));
        }
        let allow = self.allowed(plan);
        let sources = self.known(&allow, plan, report);
        // Files that cannot be had in another way come first.
        let mut room = plan.room;
        let mut brought: Vec<&Known> = Vec::new();
        for only_file in [true, false] {
            for known in sources.iter().filter(|k| k.url.is_none() == only_file && !k.text.is_empty()) {
                if known.text.len() <= room {
                    room -= known.text.len();
                    brought.push(known);
                } else if only_file {
                    let words = format!(
                        "its networks take {} KiB, and there is room for {}",
                        known.text.len() >> 10,
                        plan.room >> 10
                    );
                    report.push(TOO_LARGE.at(known.span, words));
                }
            }
        }
        let is_brought = |known: &Known| brought.iter().any(|b| b.id == known.id);
        for known in sources.iter().filter(|k| k.url.is_some() && !is_brought(k)) {
            let words = match known.text.len() >> 10 {
                0 => "the machine fetches this list before it opens".to_owned(),
                kib => format!("its networks take {kib} KiB: the machine fetches this list before it opens"),
            };
            report.push(FETCHED_FIRST.at(known.span, words));
        }
        // What is listed while all that is known stands; what the machine fetches may be anything.
        let all = judged(&allow, sources.iter().filter(|k| !k.text.is_empty()).map(|k| (k.name, k.text.as_bytes())));
        match all.blocklist {
            Ok(list) => {
                if sources.iter().all(|k| !k.text.is_empty()) {
                    plan.listed = Some(Arc::new(list.clone()));
                }
                if let Some(filter) = &mut plan.filter {
                    filter.listed = Some(Arc::new(list));
                }
            }
            Err(faults) if sources.iter().any(|k| !k.text.is_empty()) => {
                faults.into_iter().for_each(|f| report.push(BAD_LIST.at(plan.here, f.message)));
            }
            Err(_) => {}
        }
        for source in &self.sources {
            let Some(url) = &source.url else { continue };
            // Of a list that only the web has, nothing is known here: one of nobody's networks stands for it.
            let bytes = source.file.as_ref().and_then(|f| plan.inputs.get(f.as_str()).cloned());
            let page = bytes.unwrap_or_else(|| SOMEBODY.as_bytes().into());
            plan.pages.insert(url.as_str().to_owned(), page);
        }
        let file = |text: String| File {
            mode: 0o600,
            text,
            stage: Stage::Apply,
            hurdle: "blocklist",
            template: "",
            controls: None,
        };
        for known in &brought {
            plan.file(&format!("{FOLDER}/{}.cidr", known.id), file(known.text.clone()));
        }
        let config = serde_json::json!({
            "allow": allow,
            "sources": sources.iter().map(|k| serde_json::json!({ "id": k.id, "name": k.name, "url": k.url })).collect::<Vec<_>>(),
        });
        plan.file(&format!("{FOLDER}/config.json"), file(format!("{config:#}\n")));
    }

    fn proofs(&self, _: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
        let mut proofs = Vec::new();
        if let Some(list) = &plan.listed {
            for (family, set, figures) in [("IPv4", SET4, list.figures4()), ("IPv6", SET6, list.figures6())] {
                let script = members(set, list, family == "IPv4");
                proofs.push(Proof::new(
                    "blocklist",
                    &format!("set-{}", family.to_ascii_lowercase()),
                    &["R57", "R59", "R60", "ipset(8)"],
                    format!("exactly the {} networks of the lists are in the set of {family}", figures.networks),
                    Check::Script { script },
                ));
            }
        }
        proofs.push(Proof::new(
            "blocklist",
            "kept",
            &["R57", "R58"],
            "the sets in use are those that the next boot loads before the rules",
            Check::Script { script: KEPT.replace("STATE", STATE) },
        ));
        if plan.units.contains(TIMER) {
            let check =
                Check::Unit { unit: TIMER.to_owned(), active: "active".into(), enabled: Some("enabled".into()) };
            proofs.push(Proof::new(
                "blocklist",
                "timer",
                &["R58", "systemd.timer(5)"],
                "lists on the web are fetched by a timer, at every boot of the machine",
                check,
            ));
            proofs.push(Proof::new(
                "blocklist",
                "daily",
                &["R58", "systemd.timer(5)"],
                "the timer is of every day, makes up for what was missed, and not all machines come at once",
                Check::Script { script: DAILY.replace("TIMER", TIMER) },
            ));
        }
        if plan.files.contains_key(CRON) {
            proofs.push(Proof::new(
                "blocklist",
                "daily",
                &["R58", "cron(8)"],
                "lists on the web are fetched by cron every day, and not all machines come at once",
                Check::Script { script: BY_CRON.replace("CRON", CRON) },
            ));
        }
        proofs.extend(self.refreshed(plan));
        Ok(proofs)
    }
}

// The kernel says the members in the order of its buckets.
fn members(set: &str, list: &List, ipv4: bool) -> String {
    let mut text = String::new();
    let _ = list.write_networks(&mut text);
    let mut lines: Vec<&str> = text.lines().filter(|line| line.contains(':') != ipv4).collect();
    lines.sort_unstable();
    let sorted: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
    MEMBERS.replace("SET", set).replace("SUM", &format!("{} {}", cksum(sorted.as_bytes()), sorted.len()))
}

/// What cksum(1) says of bytes (POSIX, "cksum").
fn cksum(bytes: &[u8]) -> u32 {
    let mut sum = 0_u32;
    let mut add = |byte: u8| {
        sum ^= u32::from(byte) << 24;
        for _ in 0..8 {
            sum = if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 };
        }
    };
    bytes.iter().for_each(|byte| add(*byte));
    let mut length = bytes.len();
    while length > 0 {
        add((length & 0xff) as u8);
        length >>= 8;
    }
    !sum
}

const MEMBERS: &str = "n=$(ipset save SET | grep -c '^add SET ')\n\
    seen=$(ipset save SET | sed -n 's/^add SET //p' | LC_ALL=C sort | cksum)\n\
    [ \"$seen\" = 'SUM' ] && echo \"$n networks\" && exit 0\n\
    echo \"$n networks, and not those of the lists\"\nexit 1\n";

const KEPT: &str = "f=STATE/blocklist/sets\n\
    [ \"$(tail -n 1 $f 2>&1)\" = '# whole' ] || { echo \"$f is missing, or not whole\"; exit 1; }\n\
    for s in hardtack-block4 hardtack-block6; do\n\
    kept=$(sed -n \"s/^add $s-new //p\" $f | LC_ALL=C sort | cksum)\n\
    used=$(ipset save $s | sed -n \"s/^add $s //p\" | LC_ALL=C sort | cksum)\n\
    [ \"$kept\" = \"$used\" ] || { echo \"$s is not what $f has\"; exit 1; }\n\
    done\necho 'the same networks'\n";

const DAILY: &str = "nl='\n'\nu=\"$nl$(systemctl show -p TimersCalendar -p Persistent -p RandomizedDelayUSec TIMER)$nl\"\nbad=0\n\
    for want in 'TimersCalendar={ OnCalendar=[*]-[*]-[*] 00:00:00 ;' \"Persistent=yes$nl\" \"RandomizedDelayUSec=6h$nl\"; do\n\
    case $u in *\"$nl\"$want*) ;; *) echo \"not $want\"; bad=1 ;; esac\n\
    done\n[ $bad = 0 ] && echo 'every day, within six hours'\nexit $bad\n";

const BY_CRON: &str = "run-parts --test /etc/cron.daily | grep -qx CRON || { echo 'run-parts leaves CRON out'; exit 1; }\n\
    grep -q '^[^#].*run-parts.*/etc/cron.daily' /etc/crontab || { echo 'nothing runs /etc/cron.daily'; exit 1; }\n\
    grep -q 'sleep .*shuf .*-21600' CRON || { echo 'all machines come at once'; exit 1; }\n\
    pgrep -x cron >/dev/null || { echo 'cron does not run'; exit 1; }\n\
    echo 'every day, within six hours'\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_what_cksum_says() {
        // `printf '' | cksum`, `printf 'abc' | cksum`, `printf '1.10.16.0/20\n' | cksum`
        assert_eq!((cksum(b""), cksum(b"abc")), (4_294_967_295, 1_219_131_554));
    }

    #[test]
    fn the_program_knows_where_the_machine_keeps_what_is_ours() {
        let program = template!("blocklist/blocklist.py").text;
        for place in [FOLDER, &format!("{STATE}/blocklist"), &format!("{LIB}/blocklist-load")] {
            assert!(program.contains(&format!("= '{place}'\n")), "{place}");
        }
    }
}
