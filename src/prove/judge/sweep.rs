//! Every port from one address, echoes, and what the machine itself sends.

use super::culprit::Evidence;
use super::{Card, place};
use crate::plan::net::{Ports, Protocol};
use crate::plan::proof::{Burst, Echo, Outbound, Reaction, Sweep};
use crate::prove::verdict::{Judgement, Verdict};
use crate::prove::wire::{Answer, Flow, Guest, Probe, Seen, What};
use serde::Serialize;
use std::collections::BTreeSet;

/// How many wrong ports are named; the rest is counted.
const NAMED: usize = 6;

/// What came back from a run of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// Something answers.
    Open,
    /// It was let through, and nothing answers.
    Heard,
    /// A reset or an ICMP error.
    Refused,
    /// Nothing.
    Silent,
    /// It could not be told.
    Unknown,
}

/// Neighbouring ports of which the same came back, first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The ports.
    #[serde(flatten)]
    pub ports: Ports,
    /// What came back.
    pub tone: Tone,
}

/// What came of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// The judgement; culprits are still to be named.
    pub judgement: Judgement,
    /// What came back, in the order of the ports that were asked.
    pub seen: Vec<Run>,
    /// Ports that are let in and should not be, or the other way round.
    pub wrong: Vec<u16>,
}

fn tone(answer: Answer) -> Tone {
    match answer {
        Answer::Open | Answer::Reply => Tone::Open,
        Answer::Reset | Answer::Unreachable { .. } => Tone::Refused,
        Answer::Silent => Tone::Silent,
        Answer::Unknown(_) => Tone::Unknown,
    }
}

/// The packets of a sweep, and the card that they go through.
///
/// # Errors
/// Why there are none.
pub fn packets(sweep: &Sweep, cards: &[Card]) -> Result<(usize, Vec<Probe>), String> {
    let (card, dest) = place(cards, sweep.interface.as_deref(), sweep.source)?;
    let what = |port| if sweep.protocol == Protocol::Tcp { What::Tcp(port) } else { What::Udp(port) };
    Ok((card, sweep.ports().into_iter().map(|port| Probe { source: sweep.source, dest, what: what(port) }).collect()))
}

/// Whether what came back from one port is right. A port that is let in answers, if only by a reset; where the others are
/// refused by one as well, it was heard. A program that listens by UDP may keep silent, so it was heard there, too.
pub(in crate::prove) fn right(sweep: &Sweep, port: u16, tone: Tone) -> bool {
    match sweep.lets_in(port) {
        true if needs_ear(sweep) => matches!(tone, Tone::Open | Tone::Heard),
        true => matches!(tone, Tone::Open | Tone::Heard | Tone::Refused),
        false => match sweep.shut {
            Reaction::Silent => tone == Tone::Silent,
            Reaction::Refused => tone == Tone::Refused,
            Reaction::Open => tone == Tone::Open,
            Reaction::Shut => matches!(tone, Tone::Silent | Tone::Refused),
        },
    }
}

/// Whether the answers alone do not tell what was let through: silence by UDP, and a reset where the firewall sends some as well.
#[must_use]
pub fn needs_ear(sweep: &Sweep) -> bool {
    sweep.protocol == Protocol::Udp || sweep.shut != Reaction::Silent
}

/// Judges what came back, and what was heard on the machine where the sweep needs that.
#[must_use]
pub fn judge(sweep: &Sweep, answers: &[Answer], heard: &BTreeSet<u16>) -> Swept {
    let ports = sweep.ports();
    let (mut seen, mut wrong): (Vec<Run>, Vec<u16>) = (Vec::new(), Vec::new());
    let mut why = None;
    for (port, answer) in ports.iter().zip(answers) {
        let tone = match tone(*answer) {
            Tone::Open => Tone::Open,
            _ if heard.contains(port) => Tone::Heard,
            tone => tone,
        };
        match (tone, *answer) {
            (Tone::Unknown, Answer::Unknown(w)) => why = why.or(Some((*port, w))),
            _ if right(sweep, *port, tone) => {}
            _ => wrong.push(*port),
        }
        match seen.last_mut() {
            Some(run) if run.tone == tone && run.ports.last.checked_add(1) == Some(*port) => run.ports.last = *port,
            _ => seen.push(Run { ports: Ports::one(*port), tone }),
        }
    }
    let judgement = match (wrong.is_empty(), why) {
        (false, _) => Judgement::seen(false, String::new()),
        (true, Some((port, why))) => Judgement::unknown(format!("{why}, at port {port}")),
        (true, None) if answers.len() < ports.len() || ports.is_empty() => Judgement::unknown("no answers were kept"),
        (true, None) => {
            let tones = if needs_ear(sweep) { [Tone::Open, Tone::Heard] } else { [Tone::Open, Tone::Refused] };
            let open: Vec<String> =
                seen.iter().filter(|r| tones.contains(&r.tone)).map(|r| r.ports.to_string()).collect();
            let verb = if needs_ear(sweep) { "let through" } else { "answer" };
            let said = match (open.is_empty(), needs_ear(sweep)) {
                (true, true) => "none is let through".to_owned(),
                (true, false) => "none answers".to_owned(),
                (false, _) => format!("{} {verb}, no other", open.join(", ")),
            };
            Judgement::seen(true, format!("{} asked: {said}", ports.len()))
        }
    };
    Swept { judgement, seen, wrong }
}

/// Says of each wrong port who is to blame. The packets came by that card.
pub fn blame(sweep: &Sweep, card: &Card, swept: &mut Swept, evidence: &Evidence) {
    let who = |port: u16| evidence.who(sweep.protocol, port, sweep.source, Some(&card.name));
    let tone_of = |port: u16| swept.seen.iter().find(|r| r.ports.contains(port)).map_or(Tone::Unknown, |r| r.tone);
    let mut said = Vec::new();
    for port in swept.wrong.iter().take(NAMED) {
        let tone = tone_of(*port);
        let what = match (sweep.lets_in(*port), tone) {
            (true, _) => "is let in by the spec and kept out".to_owned(),
            (false, Tone::Open) => format!("is open: {}", who(*port)),
            (false, Tone::Heard | Tone::Refused) => format!("is let through: {}", who(*port)),
            (false, _) => "says nothing where it should refuse".to_owned(),
        };
        said.push(format!("{port}/{} from {} {what}", sweep.protocol.as_str(), sweep.source));
    }
    if swept.wrong.len() > NAMED {
        said.push(format!("and {} more ports", swept.wrong.len() - NAMED));
    }
    swept.judgement.seen = said.join("; ");
}

/// Whether nothing at all came back. Then nobody knows yet whether the machine would find its way back to there; an echo
/// request, which is let in from anywhere, tells.
#[must_use]
pub fn all_silent(answers: &[Answer]) -> bool {
    answers.iter().all(|a| *a == Answer::Silent)
}

/// What the silence of a sweep is worth where an echo request came to this.
#[must_use]
pub fn unreached(echo: Option<Answer>) -> Option<Judgement> {
    let why = match echo {
        Some(Answer::Reply) => return None,
        Some(Answer::Unknown(why)) => why.to_string(),
        _ => "packets from there may be lost, or the answers to them".to_owned(),
    };
    Some(Judgement::unknown(format!("the machine does not answer an echo request from there either: {why}")))
}

/// Judges a machine that is to be without IPv6, by what came back to echo requests of IPv6, then to one of IPv4, and by all that
/// it has sent in this boot.
#[must_use]
pub fn without_ipv6(six: &[Answer], four: Option<Answer>, guest: &Guest) -> Judgement {
    if six.contains(&Answer::Reply) {
        return Judgement::seen(false, "an echo request of IPv6 is answered");
    }
    if guest.ipv6_frames > 0 {
        return Judgement::seen(false, format!("{} of its {} frames were of IPv6", guest.ipv6_frames, guest.frames));
    }
    match four {
        Some(Answer::Reply) => Judgement::seen(true, format!("none of its {} frames was of IPv6", guest.frames)),
        _ => Judgement::unknown("it does not answer IPv4 either"),
    }
}

/// The packets of a burst and one from another source, and the card that they go through. `turn` counts the bursts that there were.
///
/// # Errors
/// Why there are none.
pub fn crowd(burst: &Burst, turn: usize, cards: &[Card]) -> Result<(usize, Vec<Probe>, Probe), String> {
    let source = |n: usize| burst.sources.get((2 * turn + n) % burst.sources.len().max(1)).copied();
    let (Some(one), Some(other)) = (source(0), source(1)) else { return Err("there is nobody to begin".to_owned()) };
    let (card, dest) = place(cards, burst.interface.as_deref(), one)?;
    let probe = |source| Probe { source, dest, what: What::Tcp(burst.port) };
    Ok((card, vec![probe(one); usize::from(burst.begun)], probe(other)))
}

/// Judges what came back to a burst, that took so long, and to the other source after it.
#[must_use]
pub fn crowded(burst: &Burst, answers: &[Answer], took: std::time::Duration, other: Option<Answer>) -> Judgement {
    let known = answers.iter().chain(&other);
    if let Some(why) = known.filter_map(|a| if let Answer::Unknown(why) = a { Some(why) } else { None }).next() {
        return Judgement::unknown(why.to_string());
    }
    if answers.len() < usize::from(burst.begun) {
        return Judgement::unknown("no answers were kept");
    }
    let let_in = answers.iter().filter(|a| **a == Answer::Open).count();
    // The kernel's clock is not ours, and one that had nearly been earned may be let in at the start.
    let more = took.as_millis() / u128::from(burst.every_ms.max(1)) + 2;
    let least = usize::from(burst.at_once);
    let most = usize::try_from(more).unwrap_or(usize::MAX).saturating_add(least);
    let said = format!("{let_in} of {} in {} ms were let in", burst.begun, took.as_millis());
    if most >= usize::from(burst.begun) && let_in > least {
        return Judgement::unknown(format!("{said}, and in that time so many might be"));
    }
    match other {
        Some(Answer::Open) => Judgement::seen((least..=most).contains(&let_in), said),
        _ => Judgement::seen(false, format!("{said}, and then another source was kept out as well")),
    }
}

/// The packet of an echo, and the card that it goes through.
///
/// # Errors
/// Why there is none.
pub fn ping(echo: &Echo, cards: &[Card]) -> Result<(usize, Probe), String> {
    let (card, dest) = place(cards, echo.interface.as_deref(), echo.source)?;
    Ok((card, Probe { source: echo.source, dest, what: What::Echo }))
}

/// Judges what came back to an echo.
#[must_use]
pub fn pinged(echo: &Echo, answer: Answer) -> Judgement {
    match answer {
        Answer::Reply => Judgement::seen(echo.answered, "a reply"),
        Answer::Silent => Judgement::seen(!echo.answered, "silent"),
        Answer::Unknown(why) => Judgement::unknown(why.to_string()),
        other => Judgement::seen(!echo.answered, format!("{other:?}").to_lowercase()),
    }
}

// One process for all: each that is started costs a tenth of a second under emulation, and one that was given two seconds had
// not always come to its connect() on a busy host. What the owner match of iptables looks at is who has made the socket
// (xt_owner: f_cred), so root takes on each account for as long as that.
const BEGIN: &str = r#"
import grp, os, pwd, _socket as socket, sys, time
def number(name, known):
    return int(name) if name.isdigit() else known(name)[2]
kept = []
os.setgroups([])
for at, line in enumerate(sys.argv[1:]):
    protocol, dest, port, user, group = line.split()
    try:
        os.setegid(number(group, grp.getgrnam))
        os.seteuid(number(user, pwd.getpwnam))
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        kept.append(socket.socket(socket.AF_INET6 if ":" in dest else socket.AF_INET, kind))
    except (KeyError, OSError) as e:
        print("no", at, e)
        continue
    finally:
        os.seteuid(0)
        os.setegid(0)
    kept[-1].setblocking(False)
    try:
        kept[-1].connect((dest, int(port)))
        if protocol == "udp":
            kept[-1].send(b"x")
    except OSError:
        pass
    print("tried", at)
time.sleep(1)
"#;

/// So that no two that are tried together go to the same place, or one that leaves would be taken for one that must not.
#[must_use]
pub fn waves<'o>(outbound: Vec<(usize, &'o Outbound)>) -> Vec<Vec<(usize, &'o Outbound)>> {
    let mut waves: Vec<Vec<(usize, &'o Outbound)>> = Vec::new();
    let place = |o: &Outbound| (o.dest, o.protocol, o.port);
    for one in outbound {
        match waves.iter_mut().find(|wave| wave.iter().all(|(_, o)| place(o) != place(one.1))) {
            Some(wave) => wave.push(one),
            None => waves.push(vec![one]),
        }
    }
    waves
}

/// A script that has each of these begun by whom it is to be begun by, and ends when the last packet has left or was held
/// back. Names are those of accounts and groups (types of the plan), so they need no quoting.
#[must_use]
pub fn begin(wanted: &[&Outbound]) -> String {
    let mut script = String::from("python3 -IS -");
    for o in wanted {
        let (user, group) = (o.user.as_deref().unwrap_or("65534"), o.group.as_deref().unwrap_or("65534"));
        script.push_str(&format!(" '{} {} {} {user} {group}'", o.protocol.as_str(), o.dest, o.port));
    }
    script.push_str(&format!(" 2>&1 <<'EOF'\n{BEGIN}EOF\n"));
    script
}

/// What [`begin`] printed of one of them: whether it was begun, or why not.
///
/// # Errors
/// It was not begun.
pub fn begun(printed: &[u8], at: usize) -> Result<(), String> {
    let printed = String::from_utf8_lossy(printed);
    if printed.lines().any(|l| l == format!("tried {at}")) {
        return Ok(());
    }
    let why = printed.lines().find_map(|l| l.strip_prefix(&format!("no {at} ")));
    let why = why.or_else(|| printed.lines().last()).unwrap_or("nothing was said");
    Err(format!("the machine did not try: {}", crate::report::shown(why)))
}

/// Judges what was seen to leave.
#[must_use]
pub fn left(outbound: &Outbound, seen: &[Seen]) -> Judgement {
    let flow = if outbound.protocol == Protocol::Tcp { Flow::Tcp } else { Flow::Udp };
    let leaves = seen.iter().any(|s| {
        let same = s.flow == flow || matches!((&s.flow, &flow), (Flow::Dns(_), Flow::Udp));
        same && s.dest.ip() == outbound.dest && s.dest.port() == outbound.port
    });
    Judgement {
        verdict: Verdict::of(leaves == outbound.leaves),
        seen: if leaves { "it was seen on the wire" } else { "nothing of it was seen on the wire" }.to_owned(),
        took_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::wire::Why;
    use std::net::IpAddr;

    fn sweep(open: &[u16], shut: Reaction) -> Sweep {
        let open = open.iter().map(|p| Ports::one(*p)).collect();
        Sweep {
            source: IpAddr::from([203, 0, 113, 7]),
            interface: None,
            protocol: Protocol::Tcp,
            open,
            declared: Vec::new(),
            shut,
            witness: None,
        }
    }

    fn answers(others: Answer, some: &[(u16, Answer)]) -> Vec<Answer> {
        let mut all = vec![others; 65_535];
        some.iter().for_each(|(port, answer)| all[usize::from(*port) - 1] = *answer);
        all
    }

    #[test]
    fn one_port_too_many_and_one_too_few_are_both_wrong() {
        let declared = sweep(&[22, 80], Reaction::Silent);
        let of = |some: &[(u16, Answer)]| judge(&declared, &answers(Answer::Silent, some), &BTreeSet::new());
        let good = of(&[(22, Answer::Open), (80, Answer::Reset)]);
        assert_eq!((good.judgement.verdict, good.wrong.len()), (Verdict::Holds, 0));
        assert_eq!(good.judgement.seen, "65535 asked: 22, 80 answer, no other");
        assert_eq!(good.seen.len(), 5);
        let more = of(&[(22, Answer::Open), (80, Answer::Open), (8080, Answer::Reset)]);
        assert_eq!((more.judgement.verdict, &more.wrong[..]), (Verdict::Fails, &[8080][..]));
        let fewer = of(&[(22, Answer::Open)]);
        assert_eq!((fewer.judgement.verdict, &fewer.wrong[..]), (Verdict::Fails, &[80][..]));
        let lost = of(&[(22, Answer::Open), (80, Answer::Open), (9, Answer::Unknown(Why::BarrierLost))]);
        assert_eq!(lost.judgement.verdict, Verdict::Unknown);
        assert_eq!(judge(&declared, &[], &BTreeSet::new()).judgement.verdict, Verdict::Unknown);
    }

    #[test]
    fn where_others_are_refused_silence_is_wrong() {
        let declared = sweep(&[22], Reaction::Refused);
        let of = |others, some: &[(u16, Answer)], heard: &[u16]| {
            judge(&declared, &answers(others, some), &heard.iter().copied().collect()).judgement
        };
        let verdict = |others, some, heard| of(others, some, heard).verdict;
        let good = of(Answer::Reset, &[(22, Answer::Open)], &[22]);
        assert_eq!((good.verdict, good.seen.as_str()), (Verdict::Holds, "65535 asked: 22 let through, no other"));
        assert_eq!(verdict(Answer::Reset, &[(22, Answer::Open), (81, Answer::Silent)], &[]), Verdict::Fails);
        assert_eq!(verdict(Answer::Reset, &[(22, Answer::Open), (81, Answer::Open)], &[]), Verdict::Fails);
        assert_eq!(verdict(Answer::Silent, &[], &[]), Verdict::Fails);
        // A reset is the firewall's, or that of a port which is let in and nobody serves.
        assert_eq!(verdict(Answer::Reset, &[], &[22]), Verdict::Holds);
        assert_eq!(verdict(Answer::Reset, &[], &[]), Verdict::Fails);
        assert_eq!(verdict(Answer::Reset, &[(22, Answer::Open)], &[22, 81]), Verdict::Fails);
    }

    #[test]
    fn what_keeps_silent_by_udp_was_heard() {
        let declared = Sweep {
            protocol: Protocol::Udp,
            declared: vec![Ports::one(1194), Ports::one(514)],
            ..sweep(&[1194], Reaction::Silent)
        };
        assert_eq!(declared.ports().len(), 16);
        let of = |answer: Answer, heard: &[u16]| {
            let swept = judge(&declared, &[answer; 16], &heard.iter().copied().collect());
            (swept.judgement.verdict, swept.wrong)
        };
        assert_eq!(of(Answer::Silent, &[1194]), (Verdict::Holds, vec![]));
        assert_eq!(of(Answer::Silent, &[]), (Verdict::Fails, vec![1194]));
        assert_eq!(of(Answer::Silent, &[514, 1194, 5353]), (Verdict::Fails, vec![514, 5353]));
        assert_eq!(of(Answer::Unknown(Why::RateLimited), &[1194]).0, Verdict::Unknown);
    }

    #[test]
    fn silence_from_where_no_echo_comes_back_proves_nothing() {
        assert!(all_silent(&[Answer::Silent; 3]) && !all_silent(&[Answer::Silent, Answer::Reset]));
        assert_eq!(unreached(Some(Answer::Reply)), None);
        let silent = unreached(Some(Answer::Silent)).unwrap();
        assert_eq!(silent.verdict, Verdict::Unknown);
        assert!(silent.seen.starts_with("the machine does not answer an echo request from there either: "));
        assert!(unreached(None).is_some() && unreached(Some(Answer::Unknown(Why::BarrierLost))).is_some());
    }

    #[test]
    fn a_burst_is_cut_off_where_it_should_be_and_hinders_nobody_else() {
        let burst = Burst {
            sources: [1_u8, 2, 3].map(|n| IpAddr::from([198, 19, 1, n])).into(),
            interface: None,
            port: 22,
            begun: 40,
            at_once: 20,
            every_ms: 2000,
        };
        let of = |open: usize, ms: u64, other| {
            let answers: Vec<Answer> = (0..40).map(|n| if n < open { Answer::Open } else { Answer::Silent }).collect();
            crowded(&burst, &answers, std::time::Duration::from_millis(ms), other)
        };
        let good = of(21, 900, Some(Answer::Open));
        assert_eq!((good.verdict, good.seen.as_str()), (Verdict::Holds, "21 of 40 in 900 ms were let in"));
        assert_eq!(of(22, 900, Some(Answer::Open)).verdict, Verdict::Holds);
        assert_eq!(of(23, 900, Some(Answer::Open)).verdict, Verdict::Fails);
        assert_eq!(of(23, 2100, Some(Answer::Open)).verdict, Verdict::Holds);
        assert_eq!(of(40, 900, Some(Answer::Open)).verdict, Verdict::Fails);
        assert_eq!(of(19, 900, Some(Answer::Open)).verdict, Verdict::Fails);
        assert_eq!(of(20, 900, Some(Answer::Silent)).verdict, Verdict::Fails);
        assert_eq!(of(20, 900, None).verdict, Verdict::Fails);
        // In a minute all of them may come in by and by.
        assert_eq!(of(40, 60_000, Some(Answer::Open)).verdict, Verdict::Unknown);
        assert_eq!(of(20, 60_000, Some(Answer::Open)).verdict, Verdict::Holds);
        assert_eq!(of(20, 900, Some(Answer::Unknown(Why::BarrierLost))).verdict, Verdict::Unknown);
        assert_eq!(crowded(&burst, &[], std::time::Duration::ZERO, Some(Answer::Open)).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_was_not_tried_is_not_kept_in() {
        let printed = b"tried 0\nno 1 'getpwnam(): name not found: oskar'\ntried 10\n";
        assert_eq!(begun(printed, 0), Ok(()));
        assert!(begun(printed, 1).unwrap_err().ends_with("name not found: oskar'"));
        assert!(begun(printed, 2).is_err());
        assert!(begun(b"sh: python3: not found\n", 0).unwrap_err().ends_with("python3: not found"));
        assert!(begun(b"", 0).is_err());
    }

    #[test]
    fn two_that_go_to_one_place_are_not_tried_together() {
        let out = |port, user: Option<&str>| Outbound {
            dest: IpAddr::from([203, 0, 113, 7]),
            protocol: Protocol::Tcp,
            port,
            user: user.map(str::to_owned),
            group: None,
            leaves: user.is_some(),
        };
        let all = [out(443, None), out(80, None), out(443, Some("root")), out(80, Some("root")), out(53, None)];
        let made = waves(all.iter().enumerate().collect());
        let numbers: Vec<Vec<usize>> = made.iter().map(|w| w.iter().map(|(at, _)| *at).collect()).collect();
        assert_eq!(numbers, [vec![0, 1, 4], vec![2, 3]]);
    }

    #[test]
    fn what_leaves_is_what_was_seen() {
        let dest = IpAddr::from([203, 0, 113, 7]);
        let out = |leaves| Outbound { dest, protocol: Protocol::Tcp, port: 443, user: None, group: None, leaves };
        let seen = [Seen { first: std::time::Duration::ZERO, flow: Flow::Tcp, dest: (dest, 443).into() }];
        assert_eq!(left(&out(true), &seen).verdict, Verdict::Holds);
        assert_eq!(left(&out(false), &seen).verdict, Verdict::Fails);
        assert_eq!(left(&out(true), &[]).verdict, Verdict::Fails);
        assert_eq!(left(&out(false), &[]).verdict, Verdict::Holds);
    }

    #[test]
    fn a_machine_is_without_ipv6_only_where_it_answers_ipv4() {
        let guest = |ipv6_frames| Guest { frames: 9, ipv6_frames, ..Guest::default() };
        let quiet = [Answer::Unknown(Why::NeighbourSilent); 2];
        let reply = Some(Answer::Reply);
        let verdict = |six: &[Answer], four, frames| without_ipv6(six, four, &guest(frames)).verdict;
        assert_eq!(verdict(&quiet, reply, 0), Verdict::Holds);
        assert_eq!(verdict(&quiet, reply, 1), Verdict::Fails);
        assert_eq!(verdict(&[Answer::Reply, quiet[0]], reply, 0), Verdict::Fails);
        // Silent in both families is no answer; one frame is, whatever becomes of IPv4.
        assert_eq!(verdict(&quiet, Some(Answer::Silent), 0), Verdict::Unknown);
        assert_eq!(verdict(&quiet, None, 0), Verdict::Unknown);
        assert_eq!(verdict(&quiet, None, 1), Verdict::Fails);
    }
}
