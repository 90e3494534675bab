//! The terminal: one line a proof as it is judged, what fails in full, and a last line that counts.

use crate::plan::proof::{Proof, SeenFrom};
use crate::prove::event::{Event, Which};
use crate::prove::run::Outcome;
use crate::prove::verdict::{Judgement, Verdict};
use anstyle::{AnsiColor, Style};

/// Draws events as lines. A line that begins with `\r` is meant to be overwritten by the next.
#[derive(Debug)]
pub struct Human<'a> {
    proofs: &'a [Proof],
    color: bool,
    /// Somebody watches: progress is one line that changes.
    live: bool,
}

impl<'a> Human<'a> {
    /// For these proofs.
    #[must_use]
    pub fn new(proofs: &'a [Proof], color: bool, live: bool) -> Self {
        Human { proofs, color, live }
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
                let line = format!("{who}: {what} ({cpu:.0} CPU s)");
                if self.live { format!("{wipe}{line}") } else { format!("{line}\n") }
            }
            Event::Judged { which: Which::Bundle, proof, judgement } => {
                self.proofs.get(*proof).map(|p| format!("{wipe}{}", self.line(p, judgement))).unwrap_or_default()
            }
            Event::Judged { .. } => String::new(),
            Event::Ended { which: Which::Control, trouble: Some(why), .. } => format!("{wipe}control: {why}\n"),
            Event::Ended { .. } => wipe.to_owned(),
        }
    }

    fn line(&self, proof: &Proof, judgement: &Judgement) -> String {
        let from = match proof.seen_from() {
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

    /// The end of a run.
    #[must_use]
    pub fn summary(&self, image: &str, outcome: &Outcome) -> String {
        let (holds, fails, unknown) = outcome.counts();
        let mut out = String::new();
        let bad: Vec<_> = outcome.judged.iter().filter(|j| j.judgement.verdict != Verdict::Holds).collect();
        if !bad.is_empty() {
            out.push_str("\nNot proved:\n");
            for j in bad {
                out.push_str(&self.line(&j.proof, &j.judgement));
            }
        }
        let controls: Vec<_> = outcome.judged.iter().filter_map(|j| j.control.as_ref()).collect();
        let already = controls.iter().filter(|c| c.verdict == Verdict::Holds).count();
        let would_fail = controls.iter().filter(|c| c.verdict == Verdict::Fails).count();
        out.push_str(&format!(
            "\n{image}: {holds} hold, {fails} fail, {unknown} could not be told; {:.0} CPU s\n",
            outcome.cpu_seconds
        ));
        if controls.is_empty() {
            out.push_str("control: not run, so nobody has seen these proofs fail\n");
        } else {
            out.push_str(&format!("control: on the bare image {would_fail} of them fail, {already} are already so\n"));
        }
        out
    }
}
