//! All that a reporter may know, as it happens.

use super::run::hunt::Fate;
use super::shell::Ask;
use super::verdict::Judgement;
use std::sync::mpsc::Sender;

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
        /// Whether this was after a reboot.
        again: bool,
        /// What came of it.
        judgement: Judgement,
    },
    /// A control was broken on purpose.
    Sabotaged {
        /// The sabotage.
        id: String,
        /// What was done.
        what: String,
        /// How many are decided.
        done: usize,
        /// How many there are.
        of: usize,
        /// What came of it.
        fate: Fate,
    },
    /// The machine of the bundle has been judged, and is kept for as long as someone holds this.
    Kept {
        /// Why it could not be judged, if so.
        trouble: Option<String>,
        /// Takes scripts for it.
        ask: Sender<Ask>,
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
