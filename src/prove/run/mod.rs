//! One run: boots the bundle, and beside it the same image without it; asks, logs in, knocks; judges.

mod cut;
mod golden;
pub mod hunt;
mod install;
mod machine;
mod refresh;
mod round;

use super::event::{Event, Which};
use super::image::{Disk, Mirrors};
use super::judge::sweep::Run;
use super::judge::window::Timeline;
use super::qemu::Accelerator;
use super::shell::Keep;
use super::verdict::{Judgement, Verdict};
use crate::facts::Start;
use crate::plan::proof::{Proof, When};
use anyhow::{Result, bail};
pub use cut::Cut;
pub use golden::{Identity, LEFT, Then, shared};
pub use install::{nothing_asked, stick};
use machine::machine;
pub use refresh::Pages;
use std::path::Path;
use std::sync::mpsc::channel;

/// How a machine comes by its user-data, in cloud-init's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Datasource {
    /// From a volume that it finds before any network.
    #[default]
    NoCloud,
    /// From a metadata service, as EC2 has it, when the network is up.
    Ec2,
}

/// What to prove, and on what.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// What the machine starts from.
    pub disk: &'a Disk,
    /// How it is started.
    pub start: &'a Start,
    /// What runs its code.
    pub accelerator: Accelerator,
    /// The seed volume of the bundle, as a cloud would attach it; or a [`stick`].
    pub seed: &'a [u8],
    /// Whether the seed is a stick, from which the bundle is installed on a machine that has booted, for its next start.
    pub installs: bool,
    /// When the plug is pulled in the first boot, if it is.
    pub cut: Option<Cut>,
    /// What must be seen.
    pub proofs: &'a [Proof],
    /// Whether the image is also booted without the bundle.
    pub control: bool,
    /// Whether the machine is started again, and every proof that lasts judged again.
    pub reboot: bool,
    /// Whether the machine of the bundle is kept for a person when it has been judged.
    pub keep: Keep,
    /// How the machine of the bundle comes by it.
    pub datasource: Datasource,
    /// What the web has for the machine.
    pub pages: &'a Pages,
    /// Where it finds packages, whatever it calls the place.
    pub mirrors: Option<&'a Mirrors>,
    /// The cache that snapshots stand in, to go on from one; else the machines are switched on.
    pub warm: Option<&'a Path>,
    /// What happens to the machine of the bundle when it has been judged.
    pub then: Then<'a>,
}

/// A proof and what came of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The proof.
    pub proof: Proof,
    /// What came of it on the machine, at its first boot.
    pub judgement: Judgement,
    /// What came of it after a reboot, where there was one and the proof is looked for then.
    pub again: Option<Judgement>,
    /// What came of it on the bare image, where that was booted.
    pub control: Option<Judgement>,
}

impl Judged {
    /// What counts: the first boot, unless it is only after the reboot that the proof is looked for or does not hold.
    #[must_use]
    pub fn counts(&self) -> &Judgement {
        match &self.again {
            Some(again) if self.proof.when == When::AfterReboot || self.judgement.verdict == Verdict::Holds => again,
            _ => &self.judgement,
        }
    }
}

/// What came back from all the ports that a proof asked.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The proof, by its place in the list.
    pub proof: usize,
    /// What came back, in the order of the ports.
    pub seen: Vec<Run>,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What ran the machines' code.
    pub accelerator: Accelerator,
    /// Every proof, in the order of the bundle.
    pub judged: Vec<Judged>,
    /// The wire at the first boot, port by port.
    pub pictures: Vec<Picture>,
    /// The boots that were watched from the wire.
    pub timelines: Vec<Timeline>,
    /// CPU seconds of the bundle's machine.
    pub cpu_seconds: f64,
    /// What it spent them on, in order.
    pub phases: Vec<Phase>,
    /// What the control, which is the bare image, spent its own on.
    pub control_phases: Vec<Phase>,
    /// Whether the machines went on from a snapshot.
    pub warm: bool,
    /// What the bundle has said on its machine's console, each line once.
    pub console: Vec<String>,
    /// What makes its machine one and no other, where that was asked.
    pub identity: Identity,
    /// What of that is still there after the sealing, where its machine was to become an image; then none was written.
    pub left: Vec<String>,
}

/// A part of a run, and the CPU seconds that the machine spent in it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Phase {
    /// What it was: `boot`, `inside`, `logins`, `wire`, `reboot`, and these again with `again` before them.
    pub name: String,
    /// CPU seconds.
    pub cpu_seconds: f64,
}

/// What came of one machine.
#[derive(Debug, Default)]
struct Seen {
    first: Vec<Judgement>,
    again: Option<Vec<Option<Judgement>>>,
    pictures: Vec<Picture>,
    timelines: Vec<Timeline>,
    phases: Vec<Phase>,
    cpu_seconds: f64,
    console: Vec<String>,
    identity: Identity,
    left: Vec<String>,
}

impl Seen {
    /// Every proof and what came of it here.
    fn judged(&self, proofs: &[Proof]) -> Vec<Judged> {
        let again = |at: usize| self.again.as_ref().and_then(|a| a.get(at).cloned()).flatten();
        let judged = proofs.iter().zip(&self.first).enumerate();
        judged
            .map(|(at, (proof, judgement))| Judged {
                proof: proof.clone(),
                judgement: judgement.clone(),
                again: again(at),
                control: None,
            })
            .collect()
    }
}

impl Outcome {
    /// How many proofs hold, fail, and could not be told.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let of = |v| self.judged.iter().filter(|j| j.counts().verdict == v).count();
        (of(Verdict::Holds), of(Verdict::Fails), of(Verdict::Unknown))
    }
}

/// Runs a job. What happens on the way goes to `tell`, on the caller's own thread.
///
/// # Errors
/// The harness could not do its part: no QEMU, a machine that never came up.
pub fn prove(job: &Job, tell: &mut dyn FnMut(Event)) -> Result<Outcome> {
    tell(Event::Accelerator(job.accelerator.to_string()));
    let (send, receive) = channel();
    let (bundle, control) = std::thread::scope(|scope| {
        let bundle = scope.spawn({
            let send = send.clone();
            move || machine(job, Which::Bundle, &send)
        });
        let control = job.control.then(|| {
            scope.spawn({
                let send = send.clone();
                move || machine(job, Which::Control, &send)
            })
        });
        drop(send);
        for event in receive {
            tell(event);
        }
        (bundle.join(), control.map(std::thread::ScopedJoinHandle::join))
    });
    let Ok(bundle) = bundle else { bail!("the thread of the machine ended by a bug of hardtack") };
    let bundle = bundle?;
    // A control that could not be booted takes nothing away from what was seen on the machine itself: it is said, as unknown.
    let mut control_phases = Vec::new();
    let control = match control {
        None => None,
        Some(Ok(Ok(seen))) => {
            control_phases = seen.phases;
            Some(seen.first)
        }
        Some(Ok(Err(error))) => Some(job.proofs.iter().map(|_| Judgement::unknown(format!("{error:#}"))).collect()),
        Some(Err(_)) => bail!("the thread of the control ended by a bug of hardtack"),
    };
    let mut judged = bundle.judged(job.proofs);
    for (at, judged) in judged.iter_mut().enumerate() {
        judged.control = control.as_ref().and_then(|c| c.get(at).cloned());
    }
    let Seen { pictures, timelines, phases, cpu_seconds, console, identity, left, .. } = bundle;
    Ok(Outcome {
        accelerator: job.accelerator.clone(),
        judged,
        pictures,
        timelines,
        cpu_seconds,
        phases,
        control_phases,
        warm: job.warm.is_some(),
        console,
        identity,
        left,
    })
}
