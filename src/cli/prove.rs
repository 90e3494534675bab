//! `hardtack prove [SPEC]...`

mod runs;
mod shell;

use super::disk::By;
use super::{BAD, NOTHING, Stop, USAGE, WELL, WORLD, environment, reports, sabotage, templates, terminal};
use crate::delivery::Way;
use crate::facts::Start;
use crate::prove::event::{Event, Which};
use crate::prove::image::{Disk, Mirrors};
use crate::prove::matrix::{Room, Share, side_by_side};
use crate::prove::process;
use crate::prove::qemu::{Accelerator, Config};
use crate::prove::reporter::Subject;
use crate::prove::reporter::human::Human;
use crate::prove::reporter::table::{Row, table};
use crate::prove::run::{Cut, Datasource, Job, Outcome, Then, prove};
use crate::prove::shell::Keep;
use runs::{Run, Wish};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The specs [default: the built-in starter, with the first key of ~/.ssh/*.pub]
    #[arg(value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Prove on this image instead of the one that a spec names: NAME, NAME-vendor, or any disk by its path; may be repeated
    #[arg(long = "image", value_name = "NAME|FILE.qcow2")]
    images: Vec<String>,
    /// What starts a disk of your own [default: UEFI where it has an EFI system partition, else a BIOS]
    #[arg(long)]
    firmware: Option<By>,
    /// Prove by this delivery instead of those that a spec names; may be repeated
    #[arg(long = "delivery", value_name = "WAY")]
    deliveries: Vec<String>,
    /// How the machine comes by its user-data: from a volume before any network, or from a cloud's metadata service when
    /// the network is up; until then it is as the image has it, and --timeline says for how long
    #[arg(long, value_enum, default_value = "nocloud", conflicts_with = "warm")]
    datasource: From,
    /// How many runs to do side by side [default: as many as the free cores and memory are enough for]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Do only the I-th of N shares of the runs; N hosts with I from 1 to N do all of them, and each once
    #[arg(long, value_name = "I/N")]
    partition: Option<Share>,
    /// A share without a run is no failure; it still says that nothing was proved
    #[arg(long, requires = "partition")]
    allow_empty: bool,
    /// Do not boot the bare image beside it; nobody sees then which proofs would have failed without the bundle
    #[arg(long)]
    no_control: bool,
    /// Do not start the machine again; nobody sees then what is left after a reboot
    #[arg(long)]
    no_reboot: bool,
    /// Knock from power-on to the end of both boots, and measure for how long any port answers before its stage
    #[arg(long, conflicts_with = "no_reboot")]
    timeline: bool,
    /// Pull the plug once in the first boot, at a stage (gate, apply, open, seal) or when the machine has used so many CPU seconds of
    /// it; the same proofs must hold in the end
    #[arg(long, value_name = "WHEN", conflicts_with_all = ["sabotage", "warm"])]
    power_cut: Option<Cut>,
    /// Break every control of the bundle once, and see whether a proof notices; with =NAME only those whose name has it
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", require_equals = true, conflicts_with_all = ["timeline", "reports", "shell"])]
    sabotage: Option<String>,
    /// Keep the machine where a proof is not proved (or always), and give a root prompt in it
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "not-proved")]
    shell: Option<When>,
    /// Go on from a snapshot of the image's memory, taken before the first program of the machine ran, instead of
    /// switching the machine on; the first run takes it
    #[arg(long, conflicts_with = "timeline")]
    warm: bool,
    /// Lead the machine to the packages of this mirror (URI, or URI,SECURITY-URI), whatever it calls the archive [default where no
    /// URI is given: the machine's own package configuration; else it finds none]
    #[arg(long, value_name = "URI", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    mirror: Option<String>,
    /// Write a report: FILE.json for programs, FILE.xml (JUnit) for CI, FILE.html for people; may be repeated
    #[arg(long = "report", value_name = "FILE")]
    reports: Vec<PathBuf>,
    #[command(flatten)]
    templates: templates::Templates,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum When {
    /// Where a proof is not proved
    NotProved,
    /// Whatever comes of it
    Always,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// The seed of the bundle
    Nocloud,
    /// As Amazon EC2 has it
    Ec2,
}

impl From {
    fn datasource(self) -> Datasource {
        match self {
            From::Nocloud => Datasource::NoCloud,
            From::Ec2 => Datasource::Ec2,
        }
    }
}

/// What happens in one of the runs.
enum News {
    Happens(Event),
    Over(Result<Outcome, String>, Duration),
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    templates::read(&args.templates)?;
    let reports = reports::formats(&args.reports)?;
    if args.shell.is_some() && !terminal::typed_at() {
        let why = "--shell gives a prompt, and nobody can type at it: standard input is not a terminal";
        return Err(Stop::Because(USAGE, why.to_owned()));
    }
    let Args { specs, images, deliveries, timeline, .. } = args;
    let mut runs =
        runs::all(&Wish { specs, images, deliveries, timeline: *timeline, datasource: args.datasource.datasource() })?;
    if let Some(share) = args.partition {
        let all = runs.len();
        runs = runs.into_iter().enumerate().filter(|(at, _)| share.has(*at)).map(|(_, run)| run).collect();
        if runs.is_empty() {
            terminal::err(&format!("share {share} of {} is empty: nothing was proved\n", count(all, "run")));
            return Ok(if args.allow_empty { WELL } else { NOTHING });
        }
    }
    if args.shell.is_some() && runs.len() > 1 {
        let why = format!("--shell keeps one machine, and these are {} runs; name one spec and one image", runs.len());
        return Err(Stop::Because(USAGE, why));
    }
    let cache = environment::cache().map_err(Stop::world)?;
    let disks = runs::disks(&runs, &cache, args.firmware)?;
    process::require(&["qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen"])
        .map_err(|e| Stop::world(format!("{e:#}")))?;
    process::watch_signals().map_err(|e| Stop::world(format!("{e:#}")))?;
    let mut ready = Vec::new();
    for run in &runs {
        let disk = disks.get(&run.disk_name()).ok_or_else(|| Stop::bug("a disk was not opened"))?;
        ready.push(Ready { run, disk, start: run.on.start(run.facts())?, name: run.name() });
    }
    let Some(first) = ready.first() else { return Err(Stop::bug("there is nothing to run")) };
    let trial = Config::new(first.disk, &first.start, Accelerator::Kvm);
    let accelerator = Accelerator::find(&trial, &cache).map_err(|e| Stop::world(format!("{e:#}")))?;
    let mirrors = mirrors(args.mirror.as_deref())?;
    let on = On { accelerator: &accelerator, cache: &cache, mirrors: mirrors.as_ref() };
    if let Some(only) = &args.sabotage {
        if let Some(other) = runs.iter().find(|run| run.way != Way::CloudInit) {
            let why = "--sabotage breaks what cloud-init brings, and the same lies on the machine by any delivery: add `--delivery cloud-init`";
            return Err(Stop::Because(USAGE, format!("{}: {why}", other.name())));
        }
        return hunts(args, &ready, &on, only);
    }
    let jobs = jobs(args, &ready, &accelerator);
    let came = run_all(args, &ready, &on, jobs);
    let subjects = ready.iter().map(Ready::subject);
    let all: Vec<_> = subjects.zip(came.iter().map(|(outcome, _)| outcome.clone())).collect();
    let written = reports::write(&reports, &all);
    if let [(Err(why), _)] = came.as_slice() {
        return Err(Stop::world(why));
    }
    written?;
    Ok(worst(came.iter().map(|(came, _)| code(came.as_ref().map(Outcome::counts)))))
}

/// Where machines find packages: this host's own configuration where no URI is given.
pub(super) fn mirrors(given: Option<&str>) -> Result<Option<Mirrors>, Stop> {
    match given {
        None => Ok(None),
        Some("") => Mirrors::of_this_host().map(Some).map_err(|e| Stop::world(format!("{e:#}"))),
        Some(text) => Mirrors::given(text).map(Some).map_err(|e| Stop::Because(USAGE, format!("{e:#}"))),
    }
}

// A hunt has several machines of its own, so one follows the other.
fn hunts(args: &Args, ready: &[Ready], on: &On, only: &str) -> Result<u8, Stop> {
    let mut codes = Vec::new();
    for r in ready {
        if ready.len() > 1 {
            terminal::err(&format!("\n== {}\n", r.name));
        }
        let job = r.job(args, on, Keep::Never);
        let room = || Room::here().jobs(1, r.start.memory_mib, on.accelerator);
        codes.push(sabotage::run(&r.run.baked, job, only, args.jobs.map_or_else(room, NonZeroUsize::get))?);
    }
    Ok(worst(codes.into_iter()))
}

/// What every run is on.
struct On<'a> {
    accelerator: &'a Accelerator,
    cache: &'a Path,
    mirrors: Option<&'a Mirrors>,
}

/// A run with all that it needs.
struct Ready<'a> {
    run: &'a Run<'a>,
    disk: &'a Disk,
    start: Start,
    name: String,
}

impl Ready<'_> {
    fn subject(&self) -> Subject {
        Subject {
            spec: self.run.spec.clone(),
            machine: self.run.host(),
            image: self.disk.name.clone(),
            delivery: self.run.way.as_str().to_owned(),
            bundle_sha256: self.run.baked.digest.clone(),
            templates: self.run.baked.own_templates.clone(),
        }
    }

    fn job<'b>(&'b self, args: &Args, on: &On<'b>, keep: Keep) -> Job<'b> {
        Job {
            disk: self.disk,
            start: &self.start,
            accelerator: on.accelerator.clone(),
            seed: &self.run.seed,
            installs: self.run.way == Way::BareMetal,
            cut: args.power_cut,
            proofs: &self.run.proofs,
            datasource: args.datasource.datasource(),
            pages: &self.run.baked.loaded.plan.pages,
            control: !args.no_control,
            reboot: !args.no_reboot,
            keep,
            mirrors: on.mirrors,
            warm: args.warm.then_some(on.cache),
            then: Then::Nothing,
        }
    }
}

fn count(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

fn jobs(args: &Args, ready: &[Ready], accelerator: &Accelerator) -> usize {
    let machines = if args.no_control { 1 } else { 2 };
    let memory = ready.iter().map(|r| r.start.memory_mib).max().unwrap_or_default();
    let room = Room::here();
    let jobs = args.jobs.map_or_else(|| room.jobs(machines, memory, accelerator), NonZeroUsize::get).min(ready.len());
    if ready.len() > 1 {
        let each = count(machines, "machine");
        let why = if args.jobs.is_some() { "as asked for".to_owned() } else { room.to_string() };
        terminal::err(&format!("{} of {each} each, {jobs} at a time: {why}\n", count(ready.len(), "run")));
    }
    jobs
}

// One run says each thing as it happens; of several each is said whole when it is over, and only how far it is before.
fn run_all(args: &Args, ready: &[Ready], on: &On, jobs: usize) -> Vec<(Result<Outcome, String>, Duration)> {
    let several = ready.len() > 1;
    if several {
        terminal::err(&format!("accelerator: {}\n", on.accelerator));
    }
    let keep = match args.shell {
        None => Keep::Never,
        Some(When::NotProved) => Keep::NotProved,
        Some(When::Always) => Keep::Always,
    };
    let humans: Vec<Human> = ready
        .iter()
        .map(|r| {
            let human = Human::new(&r.run.proofs, terminal::color_err(), terminal::watched());
            if several { human.of_run(&r.name) } else { human }
        })
        .collect();
    let mut told = vec![String::new(); ready.len()];
    let mut spent = vec![[0.0_f64; 2]; ready.len()];
    let mut came: BTreeMap<usize, (Result<Outcome, String>, Duration)> = BTreeMap::new();
    let each = |r: &Ready, say: &dyn Fn(News)| {
        let began = Instant::now();
        let job = r.job(args, on, keep);
        let outcome = if process::interrupted() {
            Err("interrupted".to_owned())
        } else {
            prove(&job, &mut |event| say(News::Happens(event))).map_err(|e| format!("{e:#}"))
        };
        say(News::Over(outcome, began.elapsed()));
    };
    side_by_side(ready, jobs, &each, &mut |at, news| match news {
        News::Happens(event) => {
            if let Event::Progress { which, cpu, .. } | Event::Ended { which, cpu, .. } = &event {
                let spent = &mut spent[at][usize::from(*which == Which::Control)];
                *spent = spent.max(*cpu);
            }
            let text = humans[at].event(&event);
            match event {
                Event::Accelerator(_) if several => {}
                Event::Judged { .. } | Event::Ended { .. } if several => told[at].push_str(&text),
                Event::Kept { ask, .. } => {
                    terminal::err(&text);
                    shell::shell(&ask, &ready[at].run.host());
                }
                _ => terminal::err(&text),
            }
        }
        News::Over(outcome, wall) => {
            if several {
                let wipe = if terminal::watched() { "\r\x1b[K" } else { "" };
                terminal::err(&format!("{wipe}\n== {}\n{}", ready[at].name, told[at]));
            }
            let subject = if several { &ready[at].name } else { &ready[at].disk.name };
            match &outcome {
                Ok(outcome) => terminal::out(&humans[at].summary(subject, outcome)),
                Err(why) if several => terminal::err(&format!("hardtack: {why}\n")),
                Err(_) => {}
            }
            came.insert(at, (outcome, wall));
        }
    });
    if several {
        let rows = came.iter().map(|(at, (outcome, wall))| Row {
            spec: ready[*at].run.spec.clone(),
            image: ready[*at].run.disk_name(),
            delivery: ready[*at].run.way.as_str().to_owned(),
            came: outcome.as_ref().map(Outcome::counts).map_err(Clone::clone),
            cpu_seconds: spent[*at].iter().sum(),
            wall: *wall,
        });
        terminal::out(&table(&rows.collect::<Vec<_>>()));
    }
    came.into_values().collect()
}

/// What a run comes to.
fn code(counts: Result<(usize, usize, usize), &String>) -> u8 {
    match counts {
        Err(_) => WORLD,
        Ok((0, 0, 0)) => NOTHING,
        Ok((_, 0, 0)) => WELL,
        Ok(_) => BAD,
    }
}

// What is certain goes before what could not be run: another try changes nothing about a proof that does not hold.
fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    let rank = |code: &u8| [WELL, NOTHING, WORLD, BAD].iter().position(|c| c == code).unwrap_or(usize::MAX);
    codes.max_by_key(rank).unwrap_or(NOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_is_what_they_come_to() {
        let why = "it did not start".to_owned();
        let worst = |all: &[Result<(usize, usize, usize), &String>]| worst(all.iter().map(|came| code(*came)));
        let (good, none, bad, unknown) = (Ok((9, 0, 0)), Ok((0, 0, 0)), Ok((9, 1, 0)), Ok((9, 0, 1)));
        assert_eq!(worst(&[good, good]), 0);
        assert_eq!(worst(&[good, none]), 3);
        assert_eq!(worst(&[none, good, bad]), 1);
        assert_eq!(worst(&[good, unknown]), 1);
        assert_eq!(worst(&[Err(&why), none, good]), 69);
        assert_eq!(worst(&[good, bad, Err(&why)]), 1);
    }
}
