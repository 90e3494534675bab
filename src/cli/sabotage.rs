//! `hardtack prove --sabotage`

use super::bake::Baked;
use super::{BAD, NOTHING, Stop, WELL, environment, terminal};
use crate::delivery::{self, Payload};
use crate::plan::sabotage::{Sabotage, sabotages};
use crate::prove::reporter::human::Human;
use crate::prove::run::Job;
use crate::prove::run::hunt::{Hunt, hunt};
use anyhow::{Context, anyhow};

/// Breaks every control of a bundle once, and says which of them no proof noticed. `only` is a part of the ids to break.
pub(super) fn run(baked: &Baked, job: Job<'_>, only: &str, machines: usize) -> Result<u8, Stop> {
    let plan = &baked.loaded.plan;
    let mut chosen: Vec<Sabotage> = sabotages(plan);
    chosen.retain(|s| s.id.contains(only));
    if chosen.is_empty() {
        let why = if only.is_empty() {
            "this spec asks for nothing that could be broken".to_owned()
        } else {
            format!("no sabotage has `{only}` in its name; without a name all are tried")
        };
        terminal::err(&format!("{why}\n"));
        return Ok(NOTHING);
    }
    let epoch = environment::epoch().map_err(|e| Stop::Because(super::USAGE, e))?;
    let ways: Vec<_> = baked.loaded.spec.deliver.iter().map(|w| w.value).collect();
    let bake = |sabotage: &Sabotage| {
        let Some(broken) = sabotage.applied(plan) else { return Ok(None) };
        let broken = broken.resealed();
        let payload = Payload::new(&broken, &baked.loaded.facts, epoch).map_err(|e| anyhow!(e))?;
        let tree = delivery::bundle(&payload, &baked.loaded.sha256, &ways).map_err(|e| anyhow!(e))?;
        let seed = tree.get("seed.img").context("a broken bundle without a seed")?;
        Ok(Some((seed.data.clone(), payload.proofs())))
    };
    let human = Human::new(job.proofs, terminal::color_err(), terminal::watched());
    terminal::err(&format!("{} sabotages\n", chosen.len()));
    let this = Hunt { job, plan, sabotages: &chosen, machines, bake: &bake };
    let score =
        hunt(&this, &mut |event| terminal::err(&human.event(&event))).map_err(|e| Stop::world(format!("{e:#}")))?;
    terminal::out(&human.score(&baked.loaded.facts.name, &chosen, &score));
    Ok(if score.caught() == chosen.len() { WELL } else { BAD })
}
