//! `--report FILE.json`, format 1.

use super::{Reported, Subject, start};
use crate::prove::run::Outcome;
use crate::prove::verdict::Verdict;
use serde_json::{Value, json};

/// The report of one run; of several, an object that has each of them in `runs`, as it would be alone.
#[must_use]
pub fn json(runs: &[Reported]) -> Value {
    match runs {
        [run] => one(run),
        _ => json!({ "format": 1, "runs": runs.iter().map(one).collect::<Vec<_>>() }),
    }
}

// One that could not be run has its reason.
fn one((subject, came): &Reported) -> Value {
    let Subject { spec, machine, image, delivery, bundle_sha256, templates } = subject;
    match came {
        Ok(outcome) => proved(subject, outcome),
        Err(why) => json!({
            "format": 1, "spec": spec, "machine": machine, "image": image, "delivery": delivery, "bundle_sha256": bundle_sha256,
            "templates": templates, "trouble": why,
        }),
    }
}

// Verdicts of every proof, and how many of each.
fn proved(subject: &Subject, outcome: &Outcome) -> Value {
    let proofs: Vec<Value> = outcome
        .judged
        .iter()
        .map(|j| {
            let control = j.control.as_ref().map_or(json!("not-run"), |c| json!(c.verdict));
            let again = j.again.as_ref().map_or(json!("not-run"), |a| json!(a.verdict));
            let counts = j.counts();
            json!({
                "id": j.proof.id, "hurdle": j.proof.hurdle, "refs": j.proof.refs, "statement": j.proof.statement,
                "seen_from": j.proof.check.seen_from(), "verdict": counts.verdict, "first_boot": j.judgement.verdict,
                "after_reboot": again, "control": control, "seen": counts.seen, "took_ms": counts.took_ms,
            })
        })
        .collect();
    let count = |v: Verdict| outcome.judged.iter().filter(|j| j.counts().verdict == v).count();
    let pictures: Vec<Value> = outcome
        .pictures
        .iter()
        .filter_map(|p| Some(json!({ "id": outcome.judged.get(p.proof)?.proof.id, "ports": p.seen })))
        .collect();
    json!({
        "format": 1, "spec": subject.spec, "machine": subject.machine, "image": subject.image,
        "delivery": subject.delivery, "accelerator": outcome.accelerator.as_str(), "accelerator_why": outcome.accelerator.why(),
        "start": start(outcome),
        "bundle_sha256": subject.bundle_sha256, "templates": subject.templates, "proofs": proofs, "wire": pictures, "timelines": outcome.timelines,
        "console": outcome.console,
        "cpu_seconds": outcome.cpu_seconds, "phases": outcome.phases, "control_phases": outcome.control_phases,
        "summary": { "holds": count(Verdict::Holds), "fails": count(Verdict::Fails), "unknown": count(Verdict::Unknown) },
    })
}
