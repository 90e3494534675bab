//! A whole boot, seen from the wire: what answered, from when on, and whether its stage had come.

use super::culprit::Evidence;
use super::sweep::Tone;
use crate::plan::STATE;
use crate::plan::net::Protocol;
use crate::plan::proof::{Boot, Moment, Reaction, Since, Window};
use crate::prove::verdict::Judgement;
use crate::prove::wire::{Answer, EVERY, Watched};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many exposed ports are named.
const NAMED: usize = 6;

/// The units that a person wants to see beside the wire, and what they are called there.
const UNITS: [(&str, &str); 7] = [
    ("hardtack-firewall.service", "firewall"),
    ("hardtack-firstboot.service", "first boot"),
    ("network-pre.target", "network-pre"),
    ("systemd-networkd.service", "networkd"),
    ("network.target", "network"),
    ("ssh.service", "sshd"),
    ("cloud-init.target", "cloud-init done"),
];

/// Asks when things happened, in seconds since the kernel started; the first line is now.
#[must_use]
pub fn script() -> String {
    let units: Vec<&str> = UNITS.iter().map(|(unit, _)| *unit).collect();
    format!(
        "read -r up _ </proc/uptime; now=$(date +%s.%N); echo \"now $up\"\n\
         open=$(stat -c %.9Y {STATE}/provisioned 2>/dev/null) && echo \"open $(echo \"$up $now $open\" | awk '{{ printf \"%.3f\", $1 - ($2 - $3) }}')\"\n\
         gate=$(stat -c %.9Y /run/hardtack/gate 2>/dev/null) && echo \"gate $(echo \"$up $now $gate\" | awk '{{ printf \"%.3f\", $1 - ($2 - $3) }}')\"\n\
         systemctl show -p Id,ActiveEnterTimestampMonotonic {} | awk -F= '$1 == \"Id\" {{ id = $2 }} $1 == \"ActiveEnterTimestampMonotonic\" {{ t = $2 }} \
         id != \"\" && t != \"\" {{ if (t > 0) printf \"unit %s %.3f\\n\", id, t / 1000000; id = \"\"; t = \"\" }}'\n",
        units.join(" ")
    )
}

/// Something that happened on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// What.
    pub what: String,
    /// When, in milliseconds since power-on.
    pub at_ms: u64,
}

/// A port that answered for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Band {
    /// Who knocked.
    pub source: IpAddr,
    /// The interface that the knocks arrive on; none is one that no rule names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The port, of TCP.
    pub port: u16,
    /// From which stage on it may answer.
    pub since: Since,
    /// What came back.
    pub tone: Tone,
    /// The first and the last answer, in milliseconds since power-on.
    pub first_ms: u64,
    /// See there.
    pub last_ms: u64,
    /// How far apart the knocks on this port are, in milliseconds: much farther for one that is asked in turn with others.
    pub every_ms: u64,
    /// For how many milliseconds of that its stage had not come, as measured: what answers once counts for the time between two
    /// rounds. It may have been for up to `every_ms` longer before the first and after the last answer.
    pub exposed_ms: u64,
}

impl Band {
    /// Whether it was asked in turn with others, so that what was measured is only the least.
    fn is_in_turn(&self) -> bool {
        self.every_ms > millis(EVERY)
    }

    /// The port and who knocks on it, in words.
    #[must_use]
    pub fn label(&self) -> String {
        let on = self.interface.as_ref().map(|i| format!(" on {i}")).unwrap_or_default();
        format!("{}/tcp from {}{on}", self.port, self.source)
    }
}

/// A boot as it was seen from the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// Which boot.
    pub boot: Boot,
    /// How long it was watched, in milliseconds.
    pub length_ms: u64,
    /// How far apart the knocks are, in milliseconds.
    pub every_ms: u64,
    /// How many rounds of knocks went out; where there are several cards, on the one with the fewest.
    pub rounds: u32,
    /// How many TCP ports were asked in each round.
    pub ports: usize,
    /// How many times all the ports that no rule names were asked, from when the machine was first heard of; where there are
    /// several cards, on the one with the fewest. None where rules name every port.
    pub turns: Option<u32>,
    /// How many milliseconds any port answered before its stage, as measured: see [`Band::exposed_ms`].
    pub exposed_ms: u64,
    /// How many milliseconds any port answered before the gate stood that may not at the gate, where user-data comes by the
    /// network: the machine is as the image has it until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ungated_ms: Option<u64>,
    /// What happened when.
    pub marks: Vec<Mark>,
    /// What answered when.
    pub bands: Vec<Band>,
}

impl Timeline {
    /// How much was asked, in words.
    #[must_use]
    pub fn asked(&self) -> String {
        let turns = match self.turns {
            None => String::new(),
            Some(1) => ", all others that no rule names once".to_owned(),
            Some(turns) => format!(", all others that no rule names {turns} times"),
        };
        format!("{} TCP ports every {} ms{turns}", self.ports, self.every_ms)
    }

    /// How much was seen, in words.
    #[must_use]
    pub fn exposure(&self) -> String {
        let least = self.bands.iter().any(|b| b.exposed_ms > 0 && b.is_in_turn());
        let before = match self.ungated_ms {
            Some(ms) => format!(", and {ms} ms before the gate stood"),
            None => String::new(),
        };
        format!("{}{} ms of exposure{before}", if least { "at least " } else { "" }, self.exposed_ms)
    }
}

/// What came back on a card.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The interface; none is one that no rule names.
    pub interface: Option<String>,
    /// What came back there.
    pub watched: Watched,
}

/// When the machine was asked, and what it said to [`script`].
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Just before it was asked.
    pub asked: Instant,
    /// When its answer was here.
    pub answered: Instant,
    /// What it printed.
    pub printed: &'a [u8],
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

// What happened when, since `start`. The machine's clock is read after it was asked, so a time is rather too early than too
// late by the time that asking takes: nothing is excused by it.
fn marks(start: Instant, told: Told<'_>) -> Vec<Mark> {
    let text = String::from_utf8_lossy(told.printed);
    let Some(now) = text.lines().find_map(|l| l.strip_prefix("now ")).and_then(|t| t.trim().parse::<f64>().ok()) else {
        return Vec::new();
    };
    let asked = told.asked.saturating_duration_since(start).as_secs_f64();
    let since_start = |at: &str| {
        let at = asked - (now - at.parse::<f64>().ok()?);
        at.is_finite().then(|| millis(Duration::from_secs_f64(at.clamp(0.0, 1e6))))
    };
    let mut marks: Vec<Mark> = text
        .lines()
        .filter_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            ["gate", at] => Some(Mark { what: "gate".to_owned(), at_ms: since_start(at)? }),
            ["open", at] => Some(Mark { what: "open".to_owned(), at_ms: since_start(at)? }),
            ["unit", id, at] => {
                let (_, what) = UNITS.iter().find(|(unit, _)| *unit == id)?;
                Some(Mark { what: (*what).to_owned(), at_ms: since_start(at)? })
            }
            _ => None,
        })
        .collect();
    marks.sort_by_key(|m| m.at_ms);
    marks
}

/// Judges a watch that began at `start`. `told` says when the stages came.
#[must_use]
pub fn judge(
    window: &Window,
    cards: &[Seen],
    start: Instant,
    told: Told<'_>,
    evidence: &mut dyn FnMut() -> Evidence,
) -> (Judgement, Timeline) {
    let mut marks = marks(start, told);
    let open_ms = match window.boot {
        Boot::First => marks.iter().find(|m| m.what == "open").map(|m| m.at_ms),
        // It was provisioned before this boot.
        Boot::Second => {
            marks.retain(|m| m.what != "open");
            Some(0)
        }
    };
    // What the machine cannot say is no excuse; what it says may be too early by the time that asking took.
    let asking = millis(told.answered.saturating_duration_since(told.asked));
    let gate_ms = window.from_gate.then(|| marks.iter().find(|m| m.what == "gate").map_or(0, |m| m.at_ms + asking));
    let mut ungated = Vec::new();
    let every = millis(EVERY);
    let length_ms = millis(told.asked.saturating_duration_since(start));
    let rounds = cards.iter().map(|c| c.watched.rounds).min().unwrap_or_default();
    let mut bands = Vec::new();
    for Seen { interface, watched } in cards {
        let moments: Vec<&Moment> = window.knocks.iter().filter(|m| m.interface == *interface).collect();
        // Rounds are farther apart than they should be where the machine was slow to take them.
        let turn_ms = u64::from(watched.rounds_a_turn) * every.max(length_ms / u64::from(watched.rounds.max(1)));
        for span in &watched.spans {
            let known = moments.iter().find(|m| m.source == span.source && m.port == span.port);
            let shut = known.or(moments.iter().find(|m| m.source == span.source)).map_or(Reaction::Silent, |m| m.shut);
            let since = known.map_or(Since::Never, |m| m.since);
            let tone = if matches!(span.answer, Answer::Open | Answer::Reply) { Tone::Open } else { Tone::Refused };
            let [first_ms, last_ms, asked_ms] =
                [span.first, span.last, span.asked].map(|at| millis(at.saturating_duration_since(start)));
            let until = match since {
                Since::Gate => 0,
                Since::Open => open_ms.unwrap_or(u64::MAX),
                Since::Never => u64::MAX,
            };
            let refusal = tone == Tone::Refused && shut != Reaction::Silent;
            let gate = gate_ms.unwrap_or_default();
            let begins = first_ms.max(gate);
            // What was asked before the gate came, or was under way, is not held against it.
            let exposed_ms = if refusal || begins >= until || (gate > 0 && asked_ms <= gate + every) {
                0
            } else {
                last_ms.min(until).saturating_sub(begins) + every
            };
            if gate > first_ms && since != Since::Gate && !refusal {
                ungated.push((first_ms, last_ms.min(gate) + every));
            }
            let every_ms = if known.is_some() { every } else { turn_ms };
            let (source, port, interface) = (span.source, span.port, interface.clone());
            bands.push(Band { source, interface, port, since, tone, first_ms, last_ms, every_ms, exposed_ms });
        }
    }
    let timeline = Timeline {
        boot: window.boot,
        length_ms,
        every_ms: every,
        rounds,
        ports: window.knocks.iter().map(|m| m.port).collect::<BTreeSet<_>>().len(),
        turns: cards.iter().filter_map(|c| c.watched.turns).min(),
        exposed_ms: together(
            bands.iter().filter(|b| b.exposed_ms > 0).map(|b| (b.first_ms, b.first_ms + b.exposed_ms)),
        ),
        ungated_ms: gate_ms.map(|_| together(ungated.into_iter())),
        marks,
        bands,
    };
    let full = cards.iter().any(|c| c.watched.full);
    (verdict(window, &timeline, full, evidence), timeline)
}

// The time that any of them takes, each moment counted once.
fn together(times: impl Iterator<Item = (u64, u64)>) -> u64 {
    let mut exposed: Vec<(u64, u64)> = times.collect();
    exposed.sort_unstable();
    let (mut total, mut end) = (0, 0);
    for (first, last) in exposed {
        total += last.saturating_sub(first.max(end));
        end = end.max(last);
    }
    total
}

fn verdict(window: &Window, timeline: &Timeline, full: bool, evidence: &mut dyn FnMut() -> Evidence) -> Judgement {
    let exposed: Vec<&Band> = timeline.bands.iter().filter(|b| b.exposed_ms > 0).collect();
    if !exposed.is_empty() {
        let evidence = evidence();
        let mut named = BTreeSet::new();
        let mut said: Vec<String> = exposed
            .iter()
            .filter(|b| named.insert((b.port, b.tone == Tone::Open, &b.interface)))
            .take(NAMED)
            .map(|b| {
                let answers = if b.tone == Tone::Open { "was open" } else { "was let through (no listener)" };
                let late = if b.since == Since::Open { " before provisioning had succeeded" } else { "" };
                let rare =
                    if b.is_in_turn() { format!(", asked every {} s", b.every_ms / 1000) } else { String::new() };
                let on = b.interface.as_ref().map(|i| format!(" on {i}")).unwrap_or_default();
                let who = evidence.who(Protocol::Tcp, b.port, b.source, b.interface.as_deref());
                format!(
                    "{}/tcp {answers} to {}{on} from {} to {} ms{rare}{late}: now {who}",
                    b.port, b.source, b.first_ms, b.last_ms
                )
            })
            .collect();
        let ports: BTreeSet<u16> = exposed.iter().map(|b| b.port).collect();
        if ports.len() > said.len() {
            said.push(format!("{} ports in all", ports.len()));
        }
        return Judgement::seen(false, format!("{}: {}", timeline.exposure(), said.join("; ")));
    }
    // What the moment's port answered, if it was seen to.
    let heard = |moment: &Moment, tone: Option<Tone>| {
        let of = |b: &&Band| b.source == moment.source && b.interface == moment.interface && b.port == moment.port;
        timeline.bands.iter().filter(of).any(|b| tone.is_none_or(|tone| b.tone == tone))
    };
    let gate = || window.knocks.iter().filter(|m| m.since == Since::Gate);
    // On each card that anything may answer on, something must have been heard.
    let on: BTreeSet<&Option<String>> =
        window.knocks.iter().filter(|m| m.since != Since::Never).map(|m| &m.interface).collect();
    let mute = on.into_iter().find(|on| !window.knocks.iter().any(|m| m.interface == **on && heard(m, None)));
    let first = timeline.bands.iter().map(|b| b.first_ms).min();
    if timeline.rounds == 0 {
        Judgement::unknown("no packet went out in the whole boot")
    } else if gate().next().is_some() && !gate().any(|m| heard(m, Some(Tone::Open))) {
        Judgement::unknown("nobody answered in the whole boot, not even ssh: so silence says nothing")
    } else if first.is_none() {
        Judgement::unknown("nothing may answer at the gate, so nobody was seen to hear the knocks")
    } else if let Some(on) = mute {
        let on = on.as_deref().unwrap_or("the card that no rule names");
        Judgement::unknown(format!("nobody answered on {on} in the whole boot: so silence there says nothing"))
    } else if timeline.turns == Some(0) {
        Judgement::unknown(format!(
            "the boot was over before every port that no rule names had been asked once, in {} rounds of knocks",
            timeline.rounds
        ))
    } else if full {
        Judgement::unknown("more came back than is kept, so not all of it was judged")
    } else {
        Judgement::seen(
            true,
            format!(
                "{}: {}, in {} rounds of knocks; the first answer came after {} ms",
                timeline.exposure(),
                timeline.asked(),
                timeline.rounds,
                first.unwrap_or_default()
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::verdict::Verdict;
    use crate::prove::wire::Span;

    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn moment(port: u16, since: Since) -> Moment {
        Moment { source: FAR, interface: None, port, since, shut: Reaction::Silent }
    }

    type Answers<'a> = &'a [(u16, Answer, u64, u64)];

    fn see(boot: Boot, answers: Answers) -> (Judgement, Timeline) {
        see_on(boot, &[(None, answers)], Some(3))
    }

    fn see_on(boot: Boot, cards: &[(Option<&str>, Answers)], turns: Option<u32>) -> (Judgement, Timeline) {
        let mut knocks = Vec::new();
        for (interface, _) in cards {
            let all = [moment(22, Since::Gate), moment(80, Since::Open), moment(4444, Since::Never)];
            knocks.extend(all.map(|m| Moment { interface: interface.map(str::to_owned), ..m }));
        }
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let span = |&(port, answer, first, last): &(u16, Answer, u64, u64)| {
            let (first, last) = (at(first), at(last));
            Span { source: FAR, port, answer, first, last, asked: last }
        };
        let seen = |(interface, answers): &(Option<&str>, Answers)| {
            let spans = answers.iter().map(span).collect();
            let watched = Watched { rounds: 400, turns, rounds_a_turn: 100, spans, full: false };
            Seen { interface: interface.map(str::to_owned), watched }
        };
        let cards: Vec<Seen> = cards.iter().map(seen).collect();
        // Asked at 60 s, when the machine has been up for 58: it opened at 50 of its own, which is 52 of ours.
        let printed = b"now 58.0\nopen 50.000\nunit ssh.service 36.5\nunit rubbish x\n";
        let told = Told { asked: at(60_000), answered: at(60_000), printed };
        let window = Window { boot, knocks, from_gate: false, declared: Vec::new() };
        judge(&window, &cards, start, told, &mut Evidence::default)
    }

    #[test]
    fn what_answers_before_a_gate_that_comes_by_the_network_is_said() {
        let see = |printed: &[u8], spans: Answers| {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let of = |&(port, answer, first, last): &(u16, Answer, u64, u64)| Span {
                source: FAR,
                port,
                answer,
                first: at(first),
                last: at(last),
                // One port says the same again three seconds later.
                asked: if port == 5355 { at(last - 3_000) } else { at(last) },
            };
            let spans = spans.iter().map(of).collect();
            let watched = Watched { rounds: 400, turns: Some(1), rounds_a_turn: 100, spans, full: false };
            let cards = [Seen { interface: None, watched }];
            let knocks = [moment(22, Since::Gate), moment(80, Since::Open), moment(4444, Since::Never)].into();
            let window = Window { boot: Boot::First, knocks, from_gate: true, declared: Vec::new() };
            let told = Told { asked: at(60_000), answered: at(60_000), printed };
            judge(&window, &cards, start, told, &mut Evidence::default)
        };
        // The gate stood at 32 s of ours.
        let printed = b"now 58.0\ngate 30.000\nopen 50.000\n";
        let before = [
            (22, Answer::Open, 20_000, 59_900),
            (80, Answer::Reset, 20_000, 32_050),
            (4444, Answer::Reset, 21_000, 31_900),
            (5355, Answer::Open, 35_000, 35_000),
        ];
        let (judgement, timeline) = see(printed, &before);
        assert_eq!((judgement.verdict, timeline.exposed_ms, timeline.ungated_ms), (Verdict::Holds, 0, Some(12_100)));
        assert!(
            judgement.seen.starts_with("0 ms of exposure, and 12100 ms before the gate stood:"),
            "{}",
            judgement.seen
        );
        // What goes on behind the gate, and what the machine cannot date.
        assert_eq!(see(printed, &[before[0], (5355, Answer::Open, 36_000, 36_000)]).1.exposed_ms, 100);
        let (judgement, timeline) = see(printed, &[before[0], (4444, Answer::Reset, 21_000, 33_000)]);
        assert_eq!((judgement.verdict, timeline.exposed_ms), (Verdict::Fails, 1_100), "{judgement:?}");
        assert_eq!(see(b"now 58.0\nopen 50.000\n", &before).0.verdict, Verdict::Fails);
    }

    #[test]
    fn what_answers_in_its_stage_is_no_exposure() {
        let (judgement, timeline) =
            see(Boot::First, &[(22, Answer::Open, 38_000, 59_900), (80, Answer::Reset, 52_050, 59_900)]);
        assert_eq!((judgement.verdict, timeline.exposed_ms), (Verdict::Holds, 0), "{judgement:?}");
        assert_eq!(
            judgement.seen,
            "0 ms of exposure: 3 TCP ports every 100 ms, all others that no rule names 3 times, in 400 rounds of knocks; \
             the first answer came after 38000 ms"
        );
        let marks: Vec<_> = timeline.marks.iter().map(|m| (m.what.as_str(), m.at_ms)).collect();
        assert_eq!(marks, [("sshd", 38_500), ("open", 52_000)]);
    }

    #[test]
    fn an_answer_before_its_stage_is_measured() {
        let ssh = (22, Answer::Open, 38_000, 59_900);
        let (judgement, timeline) = see(Boot::First, &[ssh, (80, Answer::Reset, 51_000, 59_900)]);
        assert_eq!((judgement.verdict, timeline.exposed_ms), (Verdict::Fails, 1_100));
        let (judgement, timeline) =
            see(Boot::First, &[ssh, (4444, Answer::Reset, 31_000, 31_400), (9, Answer::Open, 31_300, 31_300)]);
        assert_eq!((judgement.verdict, timeline.exposed_ms), (Verdict::Fails, 500));
        // What is asked in turn with 65,000 others answers once and is open for nobody knows how long.
        let nobody = "now nothing listens, no rule of iptables lets it in";
        assert_eq!(
            judgement.seen,
            format!(
                "at least 500 ms of exposure: 4444/tcp was let through (no listener) to 203.0.113.7 from 31000 to 31400 ms: {nobody}; \
                 9/tcp was open to 203.0.113.7 from 31300 to 31300 ms, asked every 15 s: {nobody}"
            )
        );
        let every: Vec<u64> = timeline.bands.iter().map(|b| b.every_ms).collect();
        assert_eq!(every, [100, 100, 15_000]);
        // After a reboot the machine has been provisioned.
        let (judgement, _) = see(Boot::Second, &[ssh, (80, Answer::Reset, 30_000, 59_900)]);
        assert_eq!(judgement.verdict, Verdict::Holds);
    }

    #[test]
    fn a_machine_that_nobody_hears_is_not_shut() {
        assert_eq!(see(Boot::First, &[]).0.verdict, Verdict::Unknown);
        assert_eq!(see(Boot::First, &[(22, Answer::Reset, 100, 200)]).0.verdict, Verdict::Unknown);
    }

    #[test]
    fn every_card_is_judged_by_itself() {
        let ssh = (22, Answer::Open, 38_000, 59_900);
        let stray = (4444, Answer::Open, 31_000, 31_400);
        let (good, timeline) = see_on(Boot::First, &[(None, &[ssh]), (Some("eth1"), &[ssh])], Some(1));
        assert_eq!((good.verdict, timeline.ports), (Verdict::Holds, 3), "{good:?}");
        assert!(good.seen.contains("all others that no rule names once,"), "{}", good.seen);
        let (bad, timeline) = see_on(Boot::First, &[(None, &[ssh]), (Some("eth1"), &[ssh, stray])], Some(1));
        assert_eq!((bad.verdict, timeline.exposed_ms), (Verdict::Fails, 500));
        assert!(bad.seen.contains("4444/tcp was open to 203.0.113.7 on eth1 from"), "{}", bad.seen);
        let (mute, _) = see_on(Boot::First, &[(None, &[ssh]), (Some("eth1"), &[])], Some(1));
        assert_eq!(
            mute,
            Judgement::unknown("nobody answered on eth1 in the whole boot: so silence there says nothing")
        );
    }

    #[test]
    fn ports_that_nobody_asked_are_not_shut() {
        let cards: &[(Option<&str>, Answers)] = &[(None, &[(22, Answer::Open, 38_000, 59_900)])];
        let (judgement, timeline) = see_on(Boot::First, cards, Some(0));
        assert_eq!((judgement.verdict, timeline.turns), (Verdict::Unknown, Some(0)));
        assert!(judgement.seen.contains("before every port that no rule names had been asked once"));
        // Rules name all of them.
        assert_eq!(see_on(Boot::First, cards, None).0.verdict, Verdict::Holds);
    }
}
