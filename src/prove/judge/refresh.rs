//! Judging a machine that fetches its lists anew, good ones and bad ones, while it is knocked on.

use crate::plan::LIB;
use crate::plan::net::Cidr;
use crate::plan::proof::Refresh;
use crate::prove::verdict::Judgement;
use crate::prove::wire::Span;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The unit that fetches.
const UNIT: &str = "hardtack-blocklist.service";
/// Where the machine keeps for us what is gone at its next boot.
pub const PLACE: &str = "/run/hardtack-prove";

/// Has the machine fetch, unless it is only to be asked, and prints what came of it. Whoever starts a unit too often is held up.
#[must_use]
pub fn script(fetch: bool) -> String {
    let start = format!(
        "if [ -d /run/systemd/system ]; then\n\
         systemctl reset-failed {UNIT} 2>/dev/null\nsystemctl start {UNIT} 2>/dev/null; code=$?\n\
         else\n\
         SSL_CERT_FILE={PLACE}/web.pem {LIB}/blocklist-refresh >{PLACE}/fetched 2>&1; code=$?\n\
         [ $code = 0 ] || echo failed >>{PLACE}/fetched\n\
         fi\necho \"code=$code\"\n"
    );
    format!(
        "{}echo \"sets=$(ipset save 2>/dev/null | grep '^add ' | LC_ALL=C sort | cksum)\"\n\
         echo \"kept=$(cksum </var/lib/hardtack/blocklist/sets)\"\n\
         if [ -d /run/systemd/system ]; then\n\
         echo \"state=$(systemctl is-failed {UNIT})\"\n\
         echo \"said=$(journalctl -q -b -o cat -u {UNIT} | grep FAILED | tail -n 1 | cut -c 1-200)\"\n\
         else\n\
         echo \"state=$(tail -n 1 {PLACE}/fetched)\"\n\
         echo \"said=$(grep FAILED {PLACE}/fetched | tail -n 1 | cut -c 1-200)\"\n\
         fi\n",
        if fetch { start } else { String::new() }
    )
}

/// What the machine said of one fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    code: String,
    sets: String,
    kept: String,
    state: String,
    said: String,
}

impl Fetched {
    /// Reads what [`script`] has printed.
    #[must_use]
    pub fn read(printed: &[u8]) -> Self {
        let text = String::from_utf8_lossy(printed);
        let of = |key: &str| {
            text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        Fetched { code: of("code"), sets: of("sets"), kept: of("kept"), state: of("state"), said: of("said") }
    }
}

/// The list of before with more in it.
#[must_use]
pub fn longer(list: &[u8], added: &[Cidr]) -> Vec<u8> {
    let lines: String = added.iter().map(|net| format!("\n{net}")).collect();
    [list, lines.as_bytes(), b"\n"].concat()
}

/// A list of nothing that may be blocked, and of what a careless program would run.
pub const HOSTILE: &[u8] =
    b"0.0.0.0/0\n::/0\n0.0.0.0/1\n128.0.0.0/1\n10.0.0.0/8\n169.254.169.254\nlocalhost\n$(reboot)\n`reboot`\n\
    ' ; reboot ; '\n-exist\ndestroy\nflush\nquit\nadd hardtack-block4 0.0.0.0/1\n\0\xff\xfe\n";

/// All that was seen of a refresh.
pub struct Seen<'s> {
    /// The machine before.
    pub before: Fetched,
    /// It has fetched a longer list.
    pub longer: Fetched,
    /// It has fetched these, none of which it may take: what each is, and what came of it.
    pub bad: Vec<(&'static str, Fetched)>,
    /// It has fetched the first list again.
    pub again: Fetched,
    /// When the longer one was asked for, when the machine had it, when the first was asked for again, and when it had that.
    pub moments: [Instant; 4],
    /// What answered all the while; the watch began before the first moment and ended after the last.
    pub spans: &'s [Span],
    /// How often each was knocked for.
    pub rounds: u32,
}

/// What is late by less than this may have been on its way.
const LATE: Duration = Duration::from_secs(1);

/// Judges a refresh.
#[must_use]
pub fn judge(refresh: &Refresh, seen: &Seen<'_>) -> Judgement {
    if seen.rounds < 10 {
        return Judgement::unknown("the machine was hardly knocked on");
    }
    let mut wrong = Vec::new();
    let [asked, had, asked_again, had_again] = seen.moments;
    let of = |source: IpAddr| seen.spans.iter().filter(move |s| s.source == source);
    let answered = |source, from: Option<Instant>, to: Option<Instant>| {
        of(source).any(|s| from.is_none_or(|from| s.last > from) && to.is_none_or(|to| s.first < to))
    };
    for source in &refresh.kept_out {
        if let Some(span) = of(*source).next() {
            let when = span.first.saturating_duration_since(asked).as_millis();
            wrong.push(format!("{source}, which is listed, was answered {when} ms after the first fetch had begun"));
        }
    }
    let phases = [
        ("before", None, Some(asked)),
        ("while it fetched", Some(asked), Some(had)),
        ("after", Some(had + LATE), Some(asked_again)),
        ("in the end", Some(had_again + LATE), None),
    ];
    for source in &refresh.let_in {
        for (when, from, to) in phases {
            if !answered(*source, from, to) {
                wrong.push(format!("{source}, which no list names, was not answered {when}"));
            }
        }
    }
    for source in refresh.added.iter().map(|net| net.sample(0)) {
        if !answered(source, None, Some(asked)) {
            wrong.push(format!("{source} was not answered before it was listed"));
        }
        if answered(source, Some(had + LATE), Some(asked_again)) {
            wrong.push(format!("{source} was answered when the new list had it"));
        }
        if !answered(source, Some(had_again), None) {
            wrong.push(format!("{source} was not answered when no list had it any more"));
        }
    }
    if seen.longer.code != "0" || seen.longer.sets == seen.before.sets {
        wrong.push(format!("a good list was not taken: {}", or_code(&seen.longer)));
    }
    for (what, fetched) in &seen.bad {
        if (&fetched.sets, &fetched.kept) != (&seen.longer.sets, &seen.longer.kept) {
            wrong.push(format!("a list that is {what} has changed something"));
        }
        if fetched.code == "0" || fetched.state != "failed" || fetched.said.is_empty() {
            wrong.push(format!("a list that is {what} was not reported"));
        }
    }
    if (seen.again.code.as_str(), &seen.again.sets) != ("0", &seen.before.sets) {
        wrong.push(format!("the list of before was not taken again: {}", or_code(&seen.again)));
    }
    if wrong.is_empty() {
        let bad: Vec<&str> = seen.bad.iter().map(|(what, _)| *what).collect();
        let words =
            format!("two fetches without a gap in {} rounds; nothing taken that was {}", seen.rounds, bad.join(", "));
        return Judgement::seen(true, words);
    }
    let more = wrong.len().saturating_sub(3);
    let mut words = wrong[..wrong.len().min(3)].join("; ");
    if more > 0 {
        words.push_str(&format!("; and {more} more"));
    }
    Judgement::seen(false, words)
}

fn or_code(fetched: &Fetched) -> String {
    let words = if fetched.said.is_empty() { format!("exit code {}", fetched.code) } else { fetched.said.clone() };
    crate::report::shown_up_to(160, &words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::verdict::Verdict;
    use crate::prove::wire::Answer;
    use crate::report::FromText;

    const LISTED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(9, 9, 9, 9));
    const ANYBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn fetched(code: &str, sets: &str, state: &str, said: &str) -> Fetched {
        let text = format!("code={code}\nsets={sets}\nkept={sets}\nstate={state}\nsaid={said}\n");
        Fetched::read(text.as_bytes())
    }

    // Seconds after the watch began; fetches are at 2 to 4 and at 10 to 12.
    fn verdict(spans: &[(IpAddr, u64, u64)], change: impl Fn(&mut Seen<'_>)) -> (Verdict, String) {
        let refresh = Refresh {
            urls: vec!["https://a.example/".into()],
            port: 22,
            kept_out: vec![LISTED],
            let_in: vec![ANYBODY],
            added: vec![Cidr::from_text("198.19.254.0/24").unwrap()],
        };
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let spans: Vec<Span> = spans
            .iter()
            .map(|(source, first, last)| Span {
                source: *source,
                port: 22,
                answer: Answer::Open,
                first: at(*first),
                last: at(*last),
                asked: at(*last),
            })
            .collect();
        let mut seen = Seen {
            before: fetched("", "1 9", "inactive", ""),
            longer: fetched("0", "2 9", "inactive", ""),
            bad: vec![("empty", fetched("1", "2 9", "failed", "FAILED"))],
            again: fetched("0", "1 9", "inactive", ""),
            moments: [2, 4, 10, 12].map(at),
            spans: &spans,
            rounds: 99,
        };
        change(&mut seen);
        let judgement = judge(&refresh, &seen);
        (judgement.verdict, judgement.seen)
    }

    #[test]
    fn a_gap_and_a_list_that_should_not_be_taken_are_seen() {
        let added = Cidr::from_text("198.19.254.0/24").unwrap().sample(0);
        let good = [(ANYBODY, 0, 14), (added, 0, 3), (added, 12, 14)];
        assert_eq!(verdict(&good, |_| {}).0, Verdict::Holds);
        let and = |more| [&good[..], &[more]].concat();
        assert!(verdict(&and((LISTED, 3, 3)), |_| {}).1.contains("9.9.9.9, which is listed, was answered 1000 ms"));
        assert!(verdict(&and((added, 6, 9)), |_| {}).1.contains("was answered when the new list had it"));
        assert!(verdict(&good[..2], |_| {}).1.contains("no list had it any more"));
        assert!(
            verdict(&[(ANYBODY, 0, 1), (added, 0, 3), (added, 12, 14)], |_| {})
                .1
                .contains("not answered while it fetched")
        );
        for (bad, words) in [
            (fetched("1", "3 9", "failed", "FAILED"), "has changed something"),
            (fetched("0", "2 9", "inactive", ""), "was not reported"),
            (fetched("1", "2 9", "failed", ""), "was not reported"),
        ] {
            let (verdict, seen) = verdict(&good, |seen| seen.bad[0].1 = bad.clone());
            assert!(verdict == Verdict::Fails && seen.contains(words), "{seen}");
        }
        assert!(verdict(&good, |seen| seen.longer.sets = "1 9".into()).1.contains("a good list was not taken"));
        assert!(verdict(&good, |seen| seen.again.sets = "2 9".into()).1.contains("was not taken again"));
        assert_eq!(verdict(&good, |seen| seen.rounds = 9).0, Verdict::Unknown);
    }

    #[test]
    fn a_longer_list_has_the_lines_of_both() {
        let added = [Cidr::from_text("198.19.254.0/24").unwrap()];
        assert_eq!(longer(b"1.2.3.4", &added), b"1.2.3.4\n198.19.254.0/24\n");
    }
}
