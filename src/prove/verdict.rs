//! What became of a proof. "Could not tell" is a verdict of its own, and never green.

use serde::Serialize;

/// Holds, fails, or could not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// What must be seen was seen.
    Holds,
    /// Something else was seen.
    Fails,
    /// Nothing was seen that says one or the other.
    Unknown,
}

impl Verdict {
    /// Holds or fails.
    #[must_use]
    pub fn of(holds: bool) -> Self {
        if holds { Verdict::Holds } else { Verdict::Fails }
    }
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What was seen, on one line. Never a secret.
    pub seen: String,
    /// How long the looking took, in milliseconds of wall clock.
    pub took_ms: u64,
}

impl Judgement {
    /// Could not tell, and why.
    pub fn unknown(why: impl Into<String>) -> Self {
        Judgement { verdict: Verdict::Unknown, seen: why.into(), took_ms: 0 }
    }

    /// Holds or fails, and what was seen.
    pub fn seen(holds: bool, seen: impl Into<String>) -> Self {
        Judgement { verdict: Verdict::of(holds), seen: seen.into(), took_ms: 0 }
    }
}
