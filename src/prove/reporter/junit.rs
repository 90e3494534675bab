//! `--report FILE.xml`: JUnit's XML, as cargo-nextest writes it and GitLab and Jenkins read it.
//!
//! A suite is a hurdle on a machine, a case is a proof. What fails is a `failure`; what could not be told is an `error`, since
//! a `skipped` is green to those who read this.

use super::markup::Text;
use super::{Reported, Subject, boots, hurdles, start};
use crate::prove::run::{Judged, Outcome};
use crate::prove::verdict::{Judgement, Verdict};

/// How many cases there are, and how many of them are bad.
#[derive(Default, Clone, Copy)]
struct Count {
    tests: usize,
    failures: usize,
    errors: usize,
    took_ms: u64,
}

impl Count {
    fn of<'a>(judged: impl Iterator<Item = &'a Judged>) -> Self {
        judged.map(Judged::counts).fold(Count::default(), |c, j| Count {
            tests: c.tests + 1,
            failures: c.failures + usize::from(j.verdict == Verdict::Fails),
            errors: c.errors + usize::from(j.verdict == Verdict::Unknown),
            took_ms: c.took_ms.saturating_add(j.took_ms),
        })
    }

    fn attributes(self) -> String {
        let Count { tests, failures, errors, took_ms } = self;
        format!(
            "tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{}\"",
            seconds(took_ms)
        )
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn property(indent: &str, name: &str, value: &str) -> String {
    format!("{indent}<property name=\"{name}\" value=\"{}\"/>\n", Text(value))
}

fn word(judgement: Option<&Judgement>) -> &'static str {
    judgement.map_or("not-run", |j| match j.verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "fails",
        Verdict::Unknown => "unknown",
    })
}

/// The report.
#[must_use]
pub fn junit(runs: &[Reported]) -> String {
    let mut all = Count::of(runs.iter().filter_map(|(_, came)| came.as_ref().ok()).flat_map(|o| &o.judged));
    let lost = runs.iter().filter(|(_, came)| came.is_err()).count();
    (all.tests, all.errors) = (all.tests + lost, all.errors + lost);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"hardtack prove\" {}>\n",
        all.attributes()
    );
    for (subject, came) in runs {
        match came {
            Ok(outcome) => {
                for hurdle in hurdles(outcome) {
                    let judged: Vec<&Judged> = outcome.judged.iter().filter(|j| j.proof.hurdle == hurdle).collect();
                    let class = class(subject, hurdle);
                    let cases = judged.iter().map(|j| case(&class, j)).collect::<String>();
                    let counts = Count::of(judged.into_iter());
                    out.push_str(&suite(subject, hurdle, Some(outcome), counts, &cases));
                }
            }
            Err(why) => {
                let counts = Count { tests: 1, errors: 1, ..Count::default() };
                let case = format!(
                    "    <testcase classname=\"{}\" name=\"machine/runs\" time=\"0.000\">\n      \
                     <error message=\"{why}\" type=\"could not run\">could not be run: {why}</error>\n    </testcase>\n",
                    Text(&class(subject, "machine")),
                    why = Text(why),
                );
                out.push_str(&suite(subject, "machine", None, counts, &case));
            }
        }
    }
    out.push_str("</testsuites>\n");
    out
}

// Jenkins takes what stands before the last dot for the package. It is of the spec, since two specs may make machines of one name.
fn class(subject: &Subject, hurdle: &str) -> String {
    let Subject { spec, image, delivery, .. } = subject;
    format!("{spec}.{image}.{delivery}.{hurdle}")
}

fn suite(subject: &Subject, hurdle: &str, outcome: Option<&Outcome>, counts: Count, cases: &str) -> String {
    let Subject { spec, machine, image, delivery, bundle_sha256, templates } = subject;
    let templates = templates.join(" ");
    let name = format!("{spec} on {image} by {delivery}: {hurdle}");
    let mut out = format!("  <testsuite name=\"{}\" {}>\n    <properties>\n", Text(&name), counts.attributes());
    let known = [
        ("spec", Some(spec.as_str())),
        ("machine", Some(machine)),
        ("image", Some(image)),
        ("delivery", Some(delivery)),
        ("bundle_sha256", Some(bundle_sha256)),
        ("templates", Some(templates.as_str()).filter(|names| !names.is_empty())),
        ("accelerator", outcome.map(|o| o.accelerator.as_str())),
        ("accelerator_why", outcome.and_then(|o| o.accelerator.why())),
        ("start", outcome.map(start)),
        ("hardtack", Some(env!("CARGO_PKG_VERSION"))),
    ];
    for (key, value) in known.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        out.push_str(&property("      ", key, value));
    }
    out.push_str(&format!("    </properties>\n{cases}  </testsuite>\n"));
    out
}

fn case(class: &str, judged: &Judged) -> String {
    let (proof, counts) = (&judged.proof, judged.counts());
    let [first, again] = boots(judged);
    let refs = proof.refs.join(", ");
    let mut out = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\">\n      <properties>\n",
        Text(class),
        Text(&proof.id),
        seconds(counts.took_ms)
    );
    for (key, value) in [
        ("statement", proof.statement.as_str()),
        ("refs", &refs),
        ("first_boot", word(first)),
        ("after_reboot", word(again)),
        ("control", word(judged.control.as_ref())),
    ] {
        out.push_str(&property("        ", key, value));
    }
    out.push_str("      </properties>\n");
    let tag = match counts.verdict {
        Verdict::Holds => {
            out.push_str(&format!("      <system-out>{}</system-out>\n    </testcase>\n", Text(&counts.seen)));
            return out;
        }
        Verdict::Fails => "failure",
        Verdict::Unknown => "error",
    };
    let said = if counts.verdict == Verdict::Fails { "fails" } else { "could not tell" };
    out.push_str(&format!(
        "      <{tag} message=\"{}\" type=\"{said}\">{said}: {}\n",
        Text(&counts.seen),
        Text(&proof.statement)
    ));
    for (boot, judgement) in [("at the first boot", first), ("after the reboot", again)] {
        if let Some(judgement) = judgement {
            out.push_str(&format!("{boot}: {}, seen: {}\n", word(Some(judgement)), Text(&judgement.seen)));
        }
    }
    out.push_str(&format!(
        "on the bare image: {}\nsee: {}</{tag}>\n    </testcase>\n",
        word(judged.control.as_ref()),
        Text(&refs)
    ));
    out
}
