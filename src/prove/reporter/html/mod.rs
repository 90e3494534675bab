//! `--report FILE.html`: one page for people, to attach to a change request. It needs no script, no network and no font of its own,
//! and what stands in it says so to the browser.

mod boot;
mod wire;

use super::markup::Text;
use super::{Reported, Subject, boots, hurdles};
use crate::prove::qemu::Accelerator;
use crate::prove::run::{Judged, Outcome};
use crate::prove::verdict::{Judgement, Verdict};

const CSS: &str = include_str!("page.css");

/// Nothing may be loaded or run, whatever stands in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Drawn once, used everywhere: a sign for each verdict, so that none rests on its colour, and what fills a picture's cells.
const SIGNS: &str = "<svg class=\"defs\" aria-hidden=\"true\" focusable=\"false\"><defs>\n\
<symbol id=\"sign-holds\" viewBox=\"0 0 16 16\"><path d=\"M2.5 8.5l3.7 3.8L13.5 4\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.6\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/></symbol>\n\
<symbol id=\"sign-fails\" viewBox=\"0 0 16 16\"><path d=\"M3.2 3.2l9.6 9.6M12.8 3.2l-9.6 9.6\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.8\" stroke-linecap=\"round\"/></symbol>\n\
<symbol id=\"sign-unknown\" viewBox=\"0 0 16 16\"><path d=\"M4.6 5.2a3.4 3.1 0 1 1 4.9 2.9c-1.1.6-1.5 1-1.5 2.1\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.4\" stroke-linecap=\"round\"/><circle cx=\"8\" cy=\"13.6\" r=\"1.6\" fill=\"currentColor\"/></symbol>\n\
<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect class=\"hatch-back\" width=\"6\" height=\"6\"/><path class=\"hatch-line\" d=\"M1.5 0v6\"/></pattern>\n\
<pattern id=\"dots\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\"><rect class=\"hatch-back\" width=\"5\" height=\"5\"/><circle class=\"dots-dot\" cx=\"2.5\" cy=\"2.5\" r=\"1\"/></pattern>\n\
</defs></svg>\n";

const HOW_TO_READ: &str = "A proof says what must be seen on the booted machine; it holds, it fails, or it could not be told, and only \
the first is green. The control is the same image booted without the bundle: a proof that fails there is one that the bundle makes \
true, a proof that holds there was so already.";

/// A machine of the report: what its headings begin with, and what keeps its anchors apart from those of others.
struct Place {
    level: usize,
    prefix: String,
}

impl Place {
    fn heading(&self, below: usize, attributes: &str, text: &str) -> String {
        let level = self.level + below;
        format!("<h{level}{attributes}>{text}</h{level}>\n")
    }

    fn section(&self, id: &str, title: &str, body: &str) -> String {
        format!("<section id=\"{}{id}\">\n{}{body}</section>\n", self.prefix, self.heading(1, "", title))
    }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "good",
        Verdict::Fails => "bad",
        Verdict::Unknown => "unsure",
    }
}

fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "<svg aria-hidden=\"true\"><use href=\"#sign-holds\"/></svg>",
        Verdict::Fails => "<svg aria-hidden=\"true\"><use href=\"#sign-fails\"/></svg>",
        Verdict::Unknown => "<svg aria-hidden=\"true\"><use href=\"#sign-unknown\"/></svg>",
    }
}

fn word(judgement: Option<&Judgement>, none: &str) -> String {
    let Some(judgement) = judgement else { return format!("<span class=\"none\">{none}</span>") };
    let text = match judgement.verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "fails",
        Verdict::Unknown => "unknown",
    };
    format!("<span class=\"word {}\">{}{text}</span>", class(judgement.verdict), sign(judgement.verdict))
}

/// On the bare image to fail is what is hoped for: neither word is good or bad.
fn bare(control: Option<&Judgement>) -> &'static str {
    match control.map(|c| c.verdict) {
        None => "not run",
        Some(Verdict::Holds) => "already so",
        Some(Verdict::Fails) => "fails there",
        Some(Verdict::Unknown) => "unknown",
    }
}

/// 1 proof, 2 proofs.
fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

fn verb(number: usize, one: &'static str, several: &'static str) -> &'static str {
    if number == 1 { one } else { several }
}

/// What a run as a whole has come to. Where nothing was proved, nothing holds.
fn whole(outcome: &Outcome) -> Verdict {
    match outcome.counts() {
        (_, fails, _) if fails > 0 => Verdict::Fails,
        (holds, _, unknown) if unknown > 0 || holds == 0 => Verdict::Unknown,
        _ => Verdict::Holds,
    }
}

fn title(subject: &Subject) -> String {
    format!("{} on {}", Text(&subject.machine), Text(&subject.image))
}

/// The page.
#[must_use]
pub fn html(runs: &[Reported]) -> String {
    let (title, body) = match runs {
        [run] => (title(&run.0), machine(run, &Place { level: 1, prefix: String::new() })),
        _ => (count(runs.len(), "machine"), several(runs)),
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>Proof: {title}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n\
         {SIGNS}<main>\n{body}<footer>Written by hardtack {}. This page loads nothing and runs nothing.</footer>\n</main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn several(runs: &[Reported]) -> String {
    let place = |at: usize| Place { level: 2, prefix: format!("machine-{}-", at + 1) };
    let mut out = format!(
        "<header>\n<p class=\"kicker\">hardtack prove</p>\n<h1>{}</h1>\n<p>{HOW_TO_READ}</p>\n</header>\n<table>\n<thead><tr>\
         <th scope=\"col\">Machine</th><th scope=\"col\">Result</th><th scope=\"col\" class=\"number\">Hold</th>\
         <th scope=\"col\" class=\"number\">Fail</th><th scope=\"col\" class=\"number\">Unknown</th></tr></thead>\n<tbody>\n",
        count(runs.len(), "machine")
    );
    for (at, (subject, came)) in runs.iter().enumerate() {
        let (result, verdict, numbers) = match came {
            Err(_) => ("could not be run", Verdict::Unknown, [const { String::new() }; 3]),
            Ok(outcome) => {
                let (holds, fails, unknown) = outcome.counts();
                let verdict = whole(outcome);
                let result = match verdict {
                    Verdict::Holds => "proved",
                    Verdict::Fails => "not proved",
                    Verdict::Unknown => "could not be told",
                };
                (result, verdict, [holds, fails, unknown].map(|n| n.to_string()))
            }
        };
        let numbers = numbers.map(|n| format!("<td class=\"number\">{n}</td>")).concat();
        out.push_str(&format!(
            "<tr class=\"{class}\"><th scope=\"row\"><a href=\"#{}top\">{}</a><span class=\"refs\">{}, {}</span></th>\
             <td><span class=\"word {class}\">{}{result}</span></td>{numbers}</tr>\n",
            place(at).prefix,
            title(subject),
            Text(&subject.spec),
            Text(&subject.delivery),
            sign(verdict),
            class = class(verdict),
        ));
    }
    out.push_str("</tbody>\n</table>\n");
    for (at, run) in runs.iter().enumerate() {
        out.push_str(&format!(
            "<div class=\"several\" id=\"{}top\">\n{}</div>\n",
            place(at).prefix,
            machine(run, &place(at))
        ));
    }
    out
}

fn machine((subject, came): &Reported, place: &Place) -> String {
    let mut out = header(subject, came.as_ref(), place);
    let Ok(outcome) = came else { return out };
    out.push_str(&by_hurdle(outcome, place));
    for (verdict, id, title) in
        [(Verdict::Fails, "fails", "What fails"), (Verdict::Unknown, "unknown", "What could not be told, and why")]
    {
        let these: Vec<&Judged> = outcome.judged.iter().filter(|j| j.counts().verdict == verdict).collect();
        if !these.is_empty() {
            out.push_str(&place.section(id, title, &cases(&these, verdict)));
        }
    }
    if whole(outcome) != Verdict::Holds && !outcome.console.is_empty() {
        let lines: Vec<String> =
            outcome.console.iter().map(|l| format!("<li><code>{}</code></li>\n", Text(l))).collect();
        out.push_str(&place.section(
            "console",
            "What the bundle said on the console",
            &format!("<ul class=\"ids\">\n{}</ul>\n", lines.concat()),
        ));
    }
    out.push_str(&wire::section(outcome, place));
    out.push_str(&boot::section(outcome, place));
    out.push_str(&control(outcome, place));
    out.push_str(&proofs(outcome, place));
    out.push_str(&cost(outcome, place));
    out
}

fn header(subject: &Subject, came: Result<&Outcome, &String>, place: &Place) -> String {
    let (verdict, strong, rest) = match came {
        Err(why) => (Verdict::Unknown, "Could not be run", Text(why).to_string()),
        Ok(outcome) => {
            let (holds, fails, unknown) = outcome.counts();
            let all = count(outcome.judged.len(), "proof");
            let hold = format!("{holds} {}", verb(holds, "holds", "hold"));
            let fail = format!("{fails} {}", verb(fails, "fails", "fail"));
            let verdict = whole(outcome);
            match verdict {
                Verdict::Holds => (verdict, "Proved", format!("All {all} {}.", verb(holds, "holds", "hold"))),
                Verdict::Fails => {
                    (verdict, "Not proved", format!("Of {all}, {hold}, {fail}, {unknown} could not be told."))
                }
                Verdict::Unknown => (
                    verdict,
                    "Could not be told",
                    format!("Of {all}, {hold}, none fails, {unknown} could not be told."),
                ),
            }
        }
    };
    // What stands at the top of the page is said once.
    let (kicker, read) = match place.level {
        1 => ("<p class=\"kicker\">hardtack prove</p>\n", format!("<p>{HOW_TO_READ}</p>\n")),
        _ => ("", String::new()),
    };
    let mut out = format!(
        "<header>\n{kicker}{}<div class=\"result {}\">{}<div><strong>{strong}</strong><span>{rest}</span></div></div>\n\
         <dl class=\"facts\">\n<dt>Machine</dt><dd>{}</dd>\n<dt>Spec</dt><dd>{}</dd>\n<dt>Image</dt><dd>{}</dd>\n\
         <dt>Delivery</dt><dd>{}</dd>\n<dt>Bundle, SHA-256</dt><dd><code>{}</code></dd>\n",
        place.heading(0, " class=\"name\"", &title(subject)),
        class(verdict),
        sign(verdict),
        Text(&subject.machine),
        Text(&subject.spec),
        Text(&subject.image),
        Text(&subject.delivery),
        Text(&subject.bundle_sha256),
    );
    if !subject.templates.is_empty() {
        let names = subject.templates.join(", ");
        out.push_str(&format!("<dt>Templates of your own</dt><dd>{}</dd>\n", Text(&names)));
    }
    if let Ok(outcome) = came {
        let accelerator = match &outcome.accelerator {
            Accelerator::Tcg { why } => format!(
                "TCG: QEMU translated the machine's code, which is about ten times slower than KVM; times are those of such a \
                 machine. Not KVM: {why}"
            ),
            Accelerator::Kvm => "KVM".to_owned(),
        };
        out.push_str(&format!(
            "<dt>Accelerator</dt><dd>{}</dd>\n<dt>Start</dt><dd>{}</dd>\n<dt>Cost</dt><dd>{:.0} CPU seconds</dd>\n",
            Text(&accelerator),
            if outcome.warm {
                "warm: from a snapshot taken before the first program ran"
            } else {
                "cold: from power-on"
            },
            outcome.cpu_seconds
        ));
    }
    out.push_str(&format!("<dt>hardtack</dt><dd>{}</dd>\n</dl>\n{read}", env!("CARGO_PKG_VERSION")));
    if let Ok(outcome) = came {
        let mut note = |text: &str| out.push_str(&format!("<p class=\"note\">{text}</p>\n"));
        if matches!(outcome.accelerator, Accelerator::Tcg { .. }) {
            note(
                "Run under TCG, about ten times slower than KVM: a time in this report is not that of a machine in a cloud.",
            );
        }
        if outcome.warm {
            note("Started warm, from a snapshot of the kernel and the mounted image; a cloud starts cold.");
        }
        if outcome.judged.iter().all(|j| j.again.is_none()) {
            note("The machine was not started again, so nobody knows what is left after a reboot.");
        }
        if outcome.judged.iter().all(|j| j.control.is_none()) {
            note("The bare image was not booted beside it (no control), so nobody has seen these proofs fail.");
        }
    }
    out.push_str("</header>\n");
    out
}

// How many proofs of a hurdle hold, fail, could not be told, and fail on the bare image.
fn by_hurdle(outcome: &Outcome, place: &Place) -> String {
    let mut body = String::from(
        "<table class=\"narrow\">\n<thead><tr><th scope=\"col\">Hurdle</th><th scope=\"col\" class=\"number\">Proofs</th>\
         <th scope=\"col\" class=\"number\">Hold</th><th scope=\"col\" class=\"number\">Fail</th><th scope=\"col\" class=\"number\">Unknown</th>\
         <th scope=\"col\" class=\"number\">Fail on the bare image</th></tr></thead>\n<tbody>\n",
    );
    let number = |n: usize, class: &str| match n {
        0 => "<td class=\"number none\">0</td>".to_owned(),
        n => format!("<td class=\"number {class}\"><b>{n}</b></td>"),
    };
    for hurdle in hurdles(outcome) {
        let these = || outcome.judged.iter().filter(|j| j.proof.hurdle == hurdle);
        let of = |v: Verdict| these().filter(|j| j.counts().verdict == v).count();
        let controls: Vec<&Judgement> = these().filter_map(|j| j.control.as_ref()).collect();
        let bare = match controls.len() {
            0 => "not run".to_owned(),
            _ => controls.iter().filter(|c| c.verdict == Verdict::Fails).count().to_string(),
        };
        body.push_str(&format!(
            "<tr><th scope=\"row\"><a href=\"#{}of-{name}\">{name}</a></th><td class=\"number\">{}</td><td class=\"number\">{}</td>{}{}<td class=\"number\">{bare}</td></tr>\n",
            place.prefix,
            these().count(),
            of(Verdict::Holds),
            number(of(Verdict::Fails), "bad"),
            number(of(Verdict::Unknown), "unsure"),
            name = Text(hurdle),
        ));
    }
    body.push_str("</tbody>\n</table>\n");
    place.section("hurdles", "Verdicts by hurdle", &body)
}

fn cases(these: &[&Judged], verdict: Verdict) -> String {
    let mut out = format!("<ul class=\"cases {}\">\n", class(verdict));
    for judged in these {
        let Judged { proof, control, .. } = judged;
        out.push_str(&format!("<li><b>{}</b><code>{}</code>\n<dl>", Text(&proof.statement), Text(&proof.id)));
        let [first, again] = boots(judged);
        for (boot, judgement) in [("First boot", first), ("After the reboot", again)] {
            if let Some(judgement) = judgement {
                let (word, seen) = (word(Some(judgement), ""), Text(&judgement.seen));
                out.push_str(&format!("<dt>{boot}</dt><dd>{word}: {seen}</dd>"));
            }
        }
        if let Some(judgement) = control {
            let (word, seen) = (bare(Some(judgement)), Text(&judgement.seen));
            out.push_str(&format!("<dt>Bare image</dt><dd>{word}: {seen}</dd>"));
        }
        out.push_str(&format!("<dt>See</dt><dd>{}</dd></dl></li>\n", Text(&proof.refs.join(", "))));
    }
    out.push_str("</ul>\n");
    out
}

fn control(outcome: &Outcome, place: &Place) -> String {
    let of = |v: Verdict| -> Vec<&Judged> {
        outcome.judged.iter().filter(|j| j.control.as_ref().is_some_and(|c| c.verdict == v)).collect()
    };
    let (already, fails, unknown) = (of(Verdict::Holds), of(Verdict::Fails), of(Verdict::Unknown));
    if already.len() + fails.len() + unknown.len() == 0 {
        return String::new();
    }
    let mut body = format!(
        "<p>The same image, booted beside it without the bundle: <b>{}</b> of these proofs {} there, <b>{}</b> {} already so, <b>{}</b> could not be told.</p>\n",
        fails.len(),
        verb(fails.len(), "fails", "fail"),
        already.len(),
        verb(already.len(), "is", "are"),
        unknown.len()
    );
    let mut list = |title: &str, these: &[&Judged]| {
        if !these.is_empty() {
            body.push_str(&format!("<p>{title}</p>\n<ul class=\"ids\">\n"));
            these.iter().for_each(|j| body.push_str(&format!("<li><code>{}</code></li>\n", Text(&j.proof.id))));
            body.push_str("</ul>\n");
        }
    };
    list("Already so on the bare image, so that it is not the bundle that makes them true:", &already);
    list("Could not be told on the bare image, so nobody has seen these fail:", &unknown);
    place.section("control", "The control", &body)
}

fn proofs(outcome: &Outcome, place: &Place) -> String {
    let mut body = String::new();
    for hurdle in hurdles(outcome) {
        let id = format!(" class=\"hurdle\" id=\"{}of-{}\"", place.prefix, Text(hurdle));
        body.push_str(&place.heading(2, &id, &Text(hurdle).to_string()));
        body.push_str(
            "<table class=\"proofs\">\n<colgroup><col class=\"what\"><col class=\"boot\"><col class=\"boot\"><col class=\"bare\"><col></colgroup>\n\
             <thead><tr><th scope=\"col\">What must be seen</th><th scope=\"col\">First boot</th>\
             <th scope=\"col\">After reboot</th><th scope=\"col\">Bare image</th><th scope=\"col\">What was seen</th></tr></thead>\n<tbody>\n",
        );
        for judged in outcome.judged.iter().filter(|j| j.proof.hurdle == hurdle) {
            body.push_str(&row(judged));
        }
        body.push_str("</tbody>\n</table>\n");
    }
    place.section("proofs", "Every proof", &body)
}

fn row(judged: &Judged) -> String {
    let Judged { proof, control, .. } = judged;
    let counts = judged.counts();
    let [first, again] = boots(judged);
    let class = match counts.verdict {
        Verdict::Holds => String::new(),
        bad => format!(" class=\"{}\"", class(bad)),
    };
    format!(
        "<tr{class}><th scope=\"row\">{}<code>{}</code><span class=\"refs\">{}</span></th><td data-of=\"First boot\">{}</td>\
         <td data-of=\"After reboot\">{}</td><td data-of=\"Bare image\">{}</td><td class=\"seen\" data-of=\"Seen\">{}</td></tr>\n",
        Text(&proof.statement),
        Text(&proof.id),
        Text(&proof.refs.join(", ")),
        word(first, "&#8211;"),
        word(again, "&#8211;"),
        bare(control.as_ref()),
        Text(&counts.seen),
    )
}

fn cost(outcome: &Outcome, place: &Place) -> String {
    if outcome.phases.is_empty() {
        return String::new();
    }
    let all: f64 = outcome.phases.iter().map(|p| p.cpu_seconds).sum();
    let mut body = String::from(
        "<table class=\"narrow\">\n<thead><tr><th scope=\"col\">Phase</th><th scope=\"col\" class=\"number\">CPU s</th>\
         <th scope=\"col\" class=\"number\">Share</th><th scope=\"col\"><span aria-hidden=\"true\"></span></th></tr></thead>\n<tbody>\n",
    );
    for phase in &outcome.phases {
        let share = if all > 0.0 { phase.cpu_seconds / all } else { 0.0 };
        body.push_str(&format!(
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{:.1}</td><td class=\"number\">{:.0}&nbsp;%</td>\
             <td><svg width=\"200\" height=\"10\" aria-hidden=\"true\"><rect class=\"bar\" width=\"{:.1}\" height=\"10\"/></svg></td></tr>\n",
            Text(&phase.name),
            phase.cpu_seconds,
            share * 100.0,
            share * 200.0,
        ));
    }
    body.push_str("</tbody>\n</table>\n");
    place.section("cost", "What it cost, in CPU seconds of the machine", &body)
}
