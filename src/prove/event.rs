//! All that a reporter may know, as it happens.

use super::verdict::Judgement;

/// Which of the two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one with the bundle.
    Bundle,
    /// The same image without it.
    Control,
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// What runs the machines' code, in words.
    Accelerator(String),
    /// How far a machine has come.
    Progress {
        /// The machine.
        which: Which,
        /// What it does now.
        what: String,
        /// CPU seconds that it has cost.
        cpu: f64,
    },
    /// A proof was judged.
    Judged {
        /// The machine.
        which: Which,
        /// The proof, by its place in the list.
        proof: usize,
        /// What came of it.
        judgement: Judgement,
    },
    /// A machine is done, or could not be.
    Ended {
        /// The machine.
        which: Which,
        /// CPU seconds that it has cost.
        cpu: f64,
        /// Why it could not be judged, if so.
        trouble: Option<String>,
    },
}
