//! The terminal: one line a proof as it is judged, what fails in full, and a last line that counts.

use crate::plan::proof::{Boot, Proof, SeenFrom};
use crate::plan::sabotage::Sabotage;
use crate::prove::event::{Event, Which};
use crate::prove::run::Outcome;
use crate::prove::run::hunt::{Score, Tried};
use crate::prove::verdict::{Judgement, Verdict};
use anstyle::{AnsiColor, Style};
use std::collections::BTreeMap;

/// How many ports of a boot are listed.
const PORTS: usize = 40;

/// Draws events as lines. A line that begins with `\r` is meant to be overwritten by the next.
#[derive(Debug)]
pub struct Human<'a> {
    proofs: &'a [Proof],
    color: bool,
    /// Somebody watches: progress is one line that changes.
    live: bool,
    /// Which run this is, where there are several.
    run: Option<&'a str>,
}

impl<'a> Human<'a> {
    /// For these proofs.
    #[must_use]
    pub fn new(proofs: &'a [Proof], color: bool, live: bool) -> Self {
        Human { proofs, color, live, run: None }
    }

    /// For one of several runs: how far it has come is said with its name.
    #[must_use]
    pub fn of_run(self, name: &'a str) -> Self {
        Human { run: Some(name), ..self }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn word(&self, verdict: Verdict) -> String {
        let (text, color) = match verdict {
            Verdict::Holds => ("holds  ", AnsiColor::Green),
            Verdict::Fails => ("FAILS  ", AnsiColor::Red),
            Verdict::Unknown => ("unknown", AnsiColor::Yellow),
        };
        self.paint(Style::new().fg_color(Some(color.into())).bold(), text)
    }

    /// What to print for an event; empty for nothing.
    #[must_use]
    pub fn event(&self, event: &Event) -> String {
        let wipe = if self.live { "\r\x1b[K" } else { "" };
        match event {
            Event::Accelerator(what) => format!("accelerator: {what}\n"),
            Event::Progress { which, what, cpu } => {
                let who = match which {
                    Which::Bundle => "bundle",
                    Which::Control => "control",
                };
                let run = self.run.map(|name| format!("{name}: ")).unwrap_or_default();
                let line = format!("{run}{who}: {what} ({cpu:.0} CPU s)");
                if self.live { format!("{wipe}{line}") } else { format!("{line}\n") }
            }
            // After a reboot only what is otherwise then is worth a line.
            Event::Judged { which: Which::Bundle, proof, again, judgement } => match self.proofs.get(*proof) {
                Some(p) if !again || judgement.verdict != Verdict::Holds => {
                    format!("{wipe}{}{}", if *again { "after the reboot: " } else { "" }, self.line(p, judgement))
                }
                _ => String::new(),
            },
            Event::Judged { .. } => String::new(),
            Event::Sabotaged { id, what, done, of, fate } => {
                let (word, by) = match fate.caught_by.first() {
                    Some((proof, seen)) => {
                        let more = fate.caught_by.len() - 1;
                        let others = if more > 0 { format!(" and {more} more") } else { String::new() };
                        let caught =
                            self.paint(Style::new().fg_color(Some(AnsiColor::Green.into())).bold(), "caught  ");
                        (caught, format!("by {proof}{others}: {seen}"))
                    }
                    None => {
                        let meant = fate.meant_for.as_deref().unwrap_or("no proof of this bundle");
                        let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
                        (self.paint(red, "SURVIVED"), format!("meant for {meant}"))
                    }
                };
                let seen = crate::report::shown_up_to(160, &by);
                format!("{wipe}{word} {done}/{of} {id}: {what}\n               {seen}\n")
            }
            Event::Kept { trouble, .. } => {
                format!("{wipe}{}", trouble.as_ref().map(|why| format!("bundle: {why}\n")).unwrap_or_default())
            }
            Event::Ended { which: Which::Control, trouble: Some(why), .. } => format!("{wipe}control: {why}\n"),
            Event::Ended { .. } => wipe.to_owned(),
        }
    }

    fn line(&self, proof: &Proof, judgement: &Judgement) -> String {
        let from = match proof.check.seen_from() {
            SeenFrom::Inside => "inside",
            SeenFrom::Wire => "wire",
            SeenFrom::Login => "login",
        };
        let mut line = format!("{} {:6} {}: {}\n", self.word(judgement.verdict), from, proof.id, proof.statement);
        if judgement.verdict != Verdict::Holds {
            line.push_str(&format!(
                "               seen: {}\n               see:  {}\n",
                judgement.seen,
                proof.refs.join(", ")
            ));
        }
        line
    }

    /// The end of a hunt.
    #[must_use]
    pub fn score(&self, image: &str, sabotages: &[Sabotage], score: &Score) -> String {
        let (caught, all) = (score.caught(), score.fates.len());
        let mut out = String::new();
        let survivors: Vec<_> = sabotages.iter().zip(&score.fates).filter(|(_, f)| f.caught_by.is_empty()).collect();
        if !survivors.is_empty() {
            out.push_str("\nSurvived, so their proofs cannot fail:\n");
        }
        for (sabotage, fate) in survivors {
            let meant = fate.meant_for.as_deref().unwrap_or("no proof of this bundle");
            out.push_str(&format!("    {}: {} (meant for {meant})\n", sabotage.id, sabotage.what));
        }
        let booted = score.fates.iter().filter(|f| f.tried == Tried::Boot).count();
        // Rounded down: all but one of a thousand are not all.
        let percent = (caught * 100).checked_div(all).unwrap_or_default();
        out.push_str(&format!(
            "\n{image}: {caught} of {all} sabotages were caught, {percent} %; {} on a running machine, {booted} by a boot of their own; \
             {} boots, {:.0} CPU s\n",
            all - booted,
            score.boots,
            score.cpu_seconds
        ));
        out
    }

    /// The end of a run.
    #[must_use]
    pub fn summary(&self, image: &str, outcome: &Outcome) -> String {
        let (holds, fails, unknown) = outcome.counts();
        let mut out = String::new();
        let bad: Vec<_> = outcome.judged.iter().filter(|j| j.counts().verdict != Verdict::Holds).collect();
        if !bad.is_empty() {
            out.push_str("\nNot proved:\n");
            for j in bad {
                out.push_str(&self.line(&j.proof, j.counts()));
            }
            if !outcome.console.is_empty() {
                out.push_str("\nWhat the bundle said on the console:\n");
            }
            outcome.console.iter().for_each(|line| out.push_str(&format!("    {line}\n")));
        }
        for t in &outcome.timelines {
            let (boot, seconds) = match t.boot {
                Boot::First => ("first boot", t.length_ms / 1000),
                Boot::Second => ("boot after it", t.length_ms / 1000),
            };
            out.push_str(&format!(
                "\n{boot}, watched from the wire for {seconds} s, {}: {}\n",
                t.asked(),
                t.exposure()
            ));
            for mark in &t.marks {
                out.push_str(&format!("    {:>7} ms  {}\n", mark.at_ms, mark.what));
            }
            let mut first: BTreeMap<u16, (u64, bool)> = BTreeMap::new();
            for band in &t.bands {
                let known = first.entry(band.port).or_insert((band.first_ms, false));
                *known = (known.0.min(band.first_ms), known.1 || band.exposed_ms > 0);
            }
            // Without a firewall every port answers: those that should not come first, and the sort is stable.
            let mut first: Vec<_> = first.into_iter().collect();
            first.sort_by_key(|(_, (_, exposed))| !exposed);
            for (port, (at, exposed)) in first.iter().take(PORTS) {
                let word = if *exposed { "  before its stage" } else { "" };
                out.push_str(&format!("    {at:>7} ms  {port}/tcp answers first{word}\n"));
            }
            if first.len() > PORTS {
                out.push_str(&format!("    and {} ports more\n", first.len() - PORTS));
            }
        }
        let controls: Vec<_> = outcome.judged.iter().filter_map(|j| j.control.as_ref()).collect();
        let already = controls.iter().filter(|c| c.verdict == Verdict::Holds).count();
        let would_fail = controls.iter().filter(|c| c.verdict == Verdict::Fails).count();
        out.push_str(&format!(
            "\n{image}: {holds} hold, {fails} fail, {unknown} could not be told; {:.0} CPU s\n",
            outcome.cpu_seconds
        ));
        out.push_str(&format!("accelerator: {}\n", crate::report::shown_up_to(300, &outcome.accelerator.to_string())));
        if outcome.warm {
            out.push_str("start: warm, from a snapshot of the kernel and the mounted image; a cloud starts cold\n");
        }
        let again = outcome.judged.iter().filter(|j| j.again.is_some()).count();
        if again > 0 {
            out.push_str(&format!("reboot: {again} of them were judged again after one\n"));
        } else {
            out.push_str("reboot: not run, so nobody knows what is left after one\n");
        }
        if controls.is_empty() {
            out.push_str("control: not run, so nobody has seen these proofs fail\n");
        } else {
            out.push_str(&format!("control: on the bare image {would_fail} of them fail, {already} are already so\n"));
        }
        out
    }
}
