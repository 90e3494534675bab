//! The hunt for proofs that cannot fail: every control of the bundle is broken once, and a proof must notice.
//!
//! A boot for each would take hours under emulation. So the bundle is booted once, and on that machine one control after the other is
//! broken as a broken bundle would have it, judged, and mended: nothing can mask anything else. A proof that went red must be seen green
//! again before the next, or the machine is thrown away and another one booted. What a running machine cannot show (a kernel
//! parameter that can be set only once) gets a bundle of its own, with that one control broken, and a boot of its own.

use super::machine::{Machine, SMALL, with_machine};
use super::round::QUESTIONS;
use super::{Job, Seen};
use crate::plan::proof::{Check, Proof, SeenFrom, When};
use crate::plan::sabotage::{Change, Eye, Sabotage};
use crate::plan::{File, Plan};
use crate::prove::event::{Event, Which};
use crate::prove::judge::inside;
use crate::prove::verdict::{Judgement, Verdict};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

/// The seed of a bundle with one control broken, and what must be seen of it.
pub type Baked = (Vec<u8>, Vec<Proof>);

/// What to break, and on what.
pub struct Hunt<'a> {
    /// The bundle as it should be.
    pub job: Job<'a>,
    /// What it was made from.
    pub plan: &'a Plan,
    /// What is broken.
    pub sabotages: &'a [Sabotage],
    /// How many machines work side by side.
    pub machines: usize,
    /// Makes a bundle with one control broken; none where no bundle can have it so.
    pub bake: &'a (dyn Fn(&Sabotage) -> Result<Option<Baked>> + Sync),
}

/// How a sabotage was tried in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tried {
    /// On the running machine.
    Live,
    /// By a boot of its own.
    Boot,
}

/// What came of a sabotage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// How it was tried.
    pub tried: Tried,
    /// The proofs that noticed, and what they saw. The nearest are asked first; when one notices, no others are but those from
    /// outside that must notice as well. None where one of these did not.
    pub caught_by: Vec<(String, String)>,
    /// The proof that should have noticed, when none did.
    pub meant_for: Option<String>,
}

/// What came of a hunt.
#[derive(Debug, Clone)]
pub struct Score {
    /// What came of each sabotage, in their order.
    pub fates: Vec<Fate>,
    /// How many machines were booted.
    pub boots: usize,
    /// CPU seconds of all of them.
    pub cpu_seconds: f64,
}

impl Score {
    /// How many sabotages were noticed.
    #[must_use]
    pub fn caught(&self) -> usize {
        self.fates.iter().filter(|f| !f.caught_by.is_empty()).count()
    }
}

/// What the machines have in common.
struct Shared<'h> {
    hunt: &'h Hunt<'h>,
    send: Sender<Event>,
    todo: Mutex<VecDeque<usize>>,
    fates: Mutex<Vec<Option<Fate>>>,
    seen: Mutex<Vec<Seen>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Breaks everything once. What happens on the way goes to `tell`.
///
/// # Errors
/// The harness could not do its part, or the bundle is not proved even when nothing is broken.
pub fn hunt(hunt: &Hunt, tell: &mut dyn FnMut(Event)) -> Result<Score> {
    tell(Event::Accelerator(hunt.job.accelerator.to_string()));
    let (send, receive) = channel();
    // Half of the machines' way is their boot: a second one is worth it only for many.
    let machines = hunt.machines.min(hunt.sabotages.len().div_ceil(20)).max(1);
    std::thread::scope(|scope| {
        let hunter = scope.spawn(move || Shared::new(hunt, send).whole(machines));
        for event in receive {
            tell(event);
        }
        hunter.join().unwrap_or_else(|_| bail!("a thread of the hunt ended by a bug of hardtack"))
    })
}

fn side_by_side(machines: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..machines).map(|_| scope.spawn(&work)).collect();
        let ends = all
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| bail!("a thread of the hunt ended by a bug of hardtack")));
        // Every thread is waited for, and the first fault is told.
        ends.collect::<Vec<_>>().into_iter().collect()
    })
}

fn holds(judgement: &Option<Judgement>) -> bool {
    judgement.as_ref().is_some_and(|j| j.verdict == Verdict::Holds)
}

fn failing(judged: &[Option<Judgement>], proofs: &[Proof]) -> Vec<(usize, String, String)> {
    let fails = |(at, j): (usize, &Option<Judgement>)| {
        let j = j.as_ref().filter(|j| j.verdict == Verdict::Fails)?;
        Some((at, proofs[at].id.clone(), j.seen.clone()))
    };
    judged.iter().enumerate().filter_map(fails).collect()
}

impl<'h> Shared<'h> {
    fn new(hunt: &'h Hunt<'h>, send: Sender<Event>) -> Self {
        let (all, fates) = ((0..hunt.sabotages.len()).collect(), vec![None; hunt.sabotages.len()]);
        Shared { hunt, send, todo: Mutex::new(all), fates: Mutex::new(fates), seen: Mutex::default() }
    }

    fn whole(self, machines: usize) -> Result<Score> {
        side_by_side(machines, || self.live())?;
        let open = |(at, fate): (usize, &Option<Fate>)| fate.is_none().then_some(at);
        let open = lock(&self.fates).iter().enumerate().filter_map(open).collect();
        *lock(&self.todo) = open;
        side_by_side(machines, || self.booted())?;
        let fates =
            lock(&self.fates).iter().cloned().collect::<Option<Vec<Fate>>>().context("a sabotage was forgotten")?;
        let seen = lock(&self.seen);
        Ok(Score { fates, boots: seen.len(), cpu_seconds: seen.iter().map(|s| s.cpu_seconds).sum() })
    }

    fn next(&self) -> Option<usize> {
        lock(&self.todo).pop_front()
    }

    fn decide(&self, at: usize, fate: Fate) {
        let sabotage = &self.hunt.sabotages[at];
        let mut fates = lock(&self.fates);
        fates[at] = Some(fate.clone());
        let done = fates.iter().flatten().count();
        let (id, what) = (sabotage.id.clone(), sabotage.what.clone());
        let _ = self.send.send(Event::Sabotaged { id, what, done, of: fates.len(), fate });
    }

    fn proofs(&self) -> Vec<(usize, &Proof)> {
        let now = |p: &Proof| p.when == When::EveryBoot && !matches!(p.check, Check::Window(_));
        self.hunt.job.proofs.iter().enumerate().filter(|(_, p)| now(p)).collect()
    }

    // One machine after the other, until there is nothing left to break.
    fn live(&self) -> Result<()> {
        while !lock(&self.todo).is_empty() {
            let job = &self.hunt.job;
            let seen = with_machine(job, job.seed, Which::Bundle, &self.send, |machine, scratch| {
                machine.quiet = true;
                machine.first_boot()?;
                let proofs = self.proofs();
                self.must_hold(machine, scratch, &proofs, "nothing is broken yet: mend that first")?;
                while let Some(at) = self.next() {
                    if !self.one(machine, scratch, at, &proofs)? {
                        return Ok(());
                    }
                }
                // What was left broken may have been blamed on a later sabotage.
                self.must_hold(
                    machine,
                    scratch,
                    &proofs,
                    "all that was broken has been mended: nothing here can be trusted",
                )?;
                Ok(())
            })?;
            lock(&self.seen).push(seen);
        }
        Ok(())
    }

    fn must_hold(
        &self,
        machine: &mut Machine<'_>,
        scratch: &Path,
        proofs: &[(usize, &Proof)],
        when: &str,
    ) -> Result<()> {
        let mut judged = vec![None; self.hunt.job.proofs.len()];
        machine.round(proofs, scratch, &mut judged, "")?;
        let not_held = |(at, _): &&(usize, &Proof)| !holds(&judged[*at]);
        if let Some((at, proof)) = proofs.iter().find(not_held) {
            let seen = judged[*at].as_ref().map(|j| j.seen.as_str()).unwrap_or_default();
            bail!("{} is not proved ({seen}), and {when}", proof.id);
        }
        Ok(())
    }

    // Breaks one control, looks, and mends it; false when the machine could not be mended.
    fn one(&self, machine: &mut Machine<'_>, scratch: &Path, at: usize, proofs: &[(usize, &Proof)]) -> Result<bool> {
        let sabotage = &self.hunt.sabotages[at];
        // What has no way to be broken here is booted.
        let Some((spoil, mend)) = self.scripts(sabotage)? else { return Ok(true) };
        machine.say(format!("breaking {}", sabotage.id));
        let own = |p: &Proof| p.hurdle == sabotage.hurdle;
        let inside = |p: &Proof| p.check.seen_from() == SeenFrom::Inside;
        // The nearest first, and the costly ones only when nobody has noticed yet.
        let meant = |p: &Proof| sabotage.concerns(p);
        let tiers: [&dyn Fn(&Proof) -> bool; 5] = [
            &|p| inside(p) && meant(p),
            &|p| inside(p) && !meant(p) && own(p),
            &|p| inside(p) && !meant(p) && !own(p),
            &|p| p.check.seen_from() == SeenFrom::Login,
            &|p| p.check.seen_from() == SeenFrom::Wire,
        ];
        let mut red: Vec<(usize, String, String)> = Vec::new();
        for (tier, wanted) in tiers.iter().enumerate() {
            let these: Vec<(usize, &Proof)> = proofs.iter().filter(|(_, p)| wanted(p)).copied().collect();
            if tier == 0 {
                red = failing(&ask(machine, &these, &self.hunt.job, &spoil)?, self.hunt.job.proofs);
            } else if !these.is_empty() {
                let mut judged = vec![None; self.hunt.job.proofs.len()];
                machine.round(&these, scratch, &mut judged, "")?;
                red = failing(&judged, self.hunt.job.proofs);
            }
            if !red.is_empty() {
                break;
            }
        }
        // Somebody has noticed; those who must as well are asked by themselves.
        if !red.is_empty() {
            let blind = self.blind(sabotage, &red);
            let these: Vec<(usize, &Proof)> =
                proofs.iter().filter(|(_, p)| blind.iter().any(|eye| eye.is(&p.check))).copied().collect();
            if !these.is_empty() {
                let mut judged = vec![None; self.hunt.job.proofs.len()];
                machine.round(&these, scratch, &mut judged, "")?;
                red.extend(failing(&judged, self.hunt.job.proofs));
            }
        }
        let whole = self.mended(machine, scratch, &mend, &red)?;
        if !red.is_empty() && self.blind(sabotage, &red).is_empty() {
            let caught_by = red.into_iter().map(|(_, id, seen)| (id, seen)).collect();
            self.decide(at, Fate { tried: Tried::Live, caught_by, meant_for: None });
        }
        Ok(whole)
    }

    fn blind(&self, sabotage: &Sabotage, red: &[(usize, String, String)]) -> Vec<Eye> {
        let noticed: Vec<&Check> = red.iter().map(|(at, ..)| &self.hunt.job.proofs[*at].check).collect();
        sabotage.blind(&noticed)
    }

    fn mended(
        &self,
        machine: &mut Machine<'_>,
        scratch: &Path,
        mend: &str,
        red: &[(usize, String, String)],
    ) -> Result<bool> {
        let proofs = self.hunt.job.proofs;
        let these: Vec<(usize, &Proof)> = red.iter().map(|(at, ..)| (*at, &proofs[*at])).collect();
        let (inside, others): (Vec<_>, Vec<_>) =
            these.into_iter().partition(|(_, p)| p.check.seen_from() == SeenFrom::Inside);
        let mut judged = ask(machine, &inside, &self.hunt.job, mend)?;
        machine.round(&others, scratch, &mut judged, "")?;
        // Seen green: what cannot be told is not mended.
        Ok(red.iter().all(|(at, ..)| holds(&judged[*at])))
    }

    fn scripts(&self, sabotage: &Sabotage) -> Result<Option<(String, String)>> {
        match &sabotage.change {
            Change::LeftOut { .. } => Ok(None),
            Change::Scripts { spoil, mend } => Ok(Some((spoil.clone(), mend.clone()))),
            Change::Text { path, text } => {
                let file: &File =
                    self.hunt.plan.files.get(path).context("a sabotage of a file that is not in the plan")?;
                let effect = file.controls.as_ref().map(|c| c.takes_effect.as_str()).unwrap_or("true");
                let write = |text: &str| -> Result<String> {
                    let (text, path) = (shlex::try_quote(text)?, shlex::try_quote(path)?);
                    Ok(format!("printf %s {text} >{path}\n{effect}"))
                };
                Ok(Some((write(text)?, write(&file.text)?)))
            }
        }
    }

    // What no running machine has shown, each by a boot of its own.
    fn booted(&self) -> Result<()> {
        while let Some(at) = self.next() {
            let sabotage = &self.hunt.sabotages[at];
            let mut red = Vec::new();
            let mut tried = Tried::Live;
            if let Some((seed, proofs)) = (self.hunt.bake)(sabotage)? {
                tried = Tried::Boot;
                let job = Job { proofs: &proofs, seed: &seed, ..self.hunt.job.clone() };
                let seen = with_machine(&job, &seed, Which::Bundle, &self.send, |machine, scratch| {
                    machine.quiet = true;
                    machine.say(format!("booting {}", sabotage.id));
                    machine.first_boot()?;
                    let seen: Vec<(usize, &Proof)> =
                        proofs.iter().enumerate().filter(|(_, p)| !matches!(p.check, Check::Window(_))).collect();
                    let first: Vec<_> = seen.iter().filter(|(_, p)| p.when == When::EveryBoot).copied().collect();
                    let mut judged = vec![None; proofs.len()];
                    machine.round(&first, scratch, &mut judged, "")?;
                    red = failing(&judged, &proofs);
                    // Some things are seen only by the boot after.
                    if red.is_empty() && first.len() < seen.len() {
                        machine.second_boot()?;
                        machine.round(&seen, scratch, &mut judged, "again ")?;
                        red = failing(&judged, &proofs);
                    }
                    Ok(())
                })?;
                lock(&self.seen).push(seen);
            }
            // One whom nobody has noticed from outside is a survivor too, where somebody there should have.
            let blind = self.blind(sabotage, &red).first().copied().filter(|_| !red.is_empty());
            let survived = red.is_empty() || blind.is_some();
            let meant_for =
                survived.then(|| sabotage.meant_for(self.hunt.job.proofs, blind)).flatten().map(|p| p.id.clone());
            let caught_by =
                if survived { Vec::new() } else { red.into_iter().map(|(_, id, seen)| (id, seen)).collect() };
            self.decide(at, Fate { tried, caught_by, meant_for });
        }
        Ok(())
    }
}

// Does something, and asks from inside, in one go: under emulation every question costs.
fn ask(machine: &mut Machine<'_>, these: &[(usize, &Proof)], job: &Job, first: &str) -> Result<Vec<Option<Judgement>>> {
    let checks: Vec<&Check> = these.iter().map(|(_, p)| &p.check).collect();
    let script = format!("(\n{first}\n) >/dev/null 2>&1\n{}", inside::script(&checks));
    let printed = machine.run(&script, if these.is_empty() { SMALL } else { QUESTIONS })?;
    let mut judged = vec![None; job.proofs.len()];
    for ((at, _), judgement) in these.iter().zip(inside::judge(&checks, &printed)) {
        judged[*at] = Some(judgement);
    }
    Ok(judged)
}
