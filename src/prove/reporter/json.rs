//! `--report FILE.json`, format 1.

use crate::prove::run::Outcome;
use crate::prove::verdict::Verdict;
use serde_json::{Value, json};

/// What a report says beside the outcome.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The image's name.
    pub image: String,
    /// The delivery.
    pub delivery: String,
    /// The bundle.
    pub bundle_sha256: String,
}

/// The report: verdicts of every proof, and how many of each.
#[must_use]
pub fn json(subject: &Subject, outcome: &Outcome) -> Value {
    let proofs: Vec<Value> = outcome
        .judged
        .iter()
        .map(|j| {
            let control = j.control.as_ref().map_or(json!("not-run"), |c| json!(c.verdict));
            json!({
                "id": j.proof.id, "hurdle": j.proof.hurdle, "refs": j.proof.refs, "statement": j.proof.statement,
                "seen_from": j.proof.seen_from(), "verdict": j.judgement.verdict, "control": control,
                "seen": j.judgement.seen, "took_ms": j.judgement.took_ms,
            })
        })
        .collect();
    let count = |v: Verdict| outcome.judged.iter().filter(|j| j.judgement.verdict == v).count();
    json!({
        "format": 1, "image": subject.image, "delivery": subject.delivery, "accelerator": outcome.accelerator,
        "bundle_sha256": subject.bundle_sha256, "proofs": proofs,
        "summary": { "holds": count(Verdict::Holds), "fails": count(Verdict::Fails), "unknown": count(Verdict::Unknown) },
    })
}
