//! What a run has come to, for people and for machines. Reporters see events and the outcome, and nothing else.

pub mod html;
pub mod human;
pub mod json;
pub mod junit;
mod markup;
pub mod table;

use super::judge::window::Timeline;
use super::run::{Judged, Outcome};
use super::verdict::Judgement;
use crate::plan::proof::{Boot, Check, When};
use std::path::Path;

/// What a report says beside the outcome.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The spec's name.
    pub spec: String,
    /// The machine, as its spec calls it.
    pub machine: String,
    /// The image's name.
    pub image: String,
    /// The delivery.
    pub delivery: String,
    /// The bundle.
    pub bundle_sha256: String,
    /// The person's own templates that it was drawn from.
    pub templates: Vec<String>,
}

/// A run of the report, and what came of it; or why it could not be run, which no reader may take for green.
pub type Reported = (Subject, Result<Outcome, String>);

/// The forms that a report has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For programs.
    Json,
    /// For CI services, which read JUnit's XML.
    Junit,
    /// For people: one page.
    Html,
}

impl Format {
    /// The form that a file's name asks for.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Format::Json),
            "xml" => Some(Format::Junit),
            "html" => Some(Format::Html),
            _ => None,
        }
    }

    /// The whole file. No clock and no host gets into it, so the same outcome is the same bytes.
    #[must_use]
    pub fn write(self, runs: &[Reported]) -> String {
        match self {
            Format::Json => format!("{:#}\n", json::json(runs)),
            Format::Junit => junit::junit(runs),
            Format::Html => html::html(runs),
        }
    }
}

/// What came of a proof at the first boot and after the reboot; none is where it is not looked for, or was not.
fn boots(judged: &Judged) -> [Option<&Judgement>; 2] {
    match (&judged.proof.check, &judged.again) {
        (Check::Window(window), _) if window.boot == Boot::Second => [None, Some(&judged.judgement)],
        // It holds only the reason where there was no reboot.
        (_, again) if judged.proof.when == When::AfterReboot => {
            [None, Some(again.as_ref().unwrap_or(&judged.judgement))]
        }
        (_, again) => [Some(&judged.judgement), again.as_ref()],
    }
}

/// The hurdles, in the order of the bundle.
fn hurdles(outcome: &Outcome) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for judged in &outcome.judged {
        if !names.contains(&judged.proof.hurdle.as_str()) {
            names.push(&judged.proof.hurdle);
        }
    }
    names
}

/// A boot in words.
fn boot_name(timeline: &Timeline) -> &'static str {
    match timeline.boot {
        Boot::First => "First boot",
        Boot::Second => "Boot after it",
    }
}

/// How the machines were started, in a word.
fn start(outcome: &Outcome) -> &'static str {
    if outcome.warm { "warm" } else { "cold" }
}
