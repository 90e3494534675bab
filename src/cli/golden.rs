//! `hardtack bake --golden FILE`: an image that was hardened and proved, and two clones of it that were proved side by side.

use super::bake::{self, Baked};
use super::disk::Wanted;
use super::{BAD, Stop, USAGE, WELL, environment, load, new, terminal};
use crate::delivery::Way;
use crate::facts::Start;
use crate::plan::proof::{Proof, When};
use crate::prove::event::Event;
use crate::prove::image::{Disk, Kind, Mirrors};
use crate::prove::matrix::side_by_side;
use crate::prove::process::{self, Program};
use crate::prove::qemu::{Accelerator, Config};
use crate::prove::reporter::human::Human;
use crate::prove::run::{Datasource, Job, Outcome, Then, nothing_asked, prove, shared, stick};
use crate::prove::shell::Keep;
use crate::report::{Report, human};
use crate::spec;
use crate::yaml::Spanned;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The formats, by how a file's name ends, and what qemu-img makes of an image for each.
const FORMATS: [(&str, &[&str]); 4] = [
    ("qcow2", &[]),
    ("raw", &["-O", "raw"]),
    ("vmdk", &["-O", "vmdk", "-o", "subformat=streamOptimized"]),
    ("vhdx", &["-O", "vhdx", "-o", "subformat=dynamic"]),
];

/// Reads, judges and bakes the spec, whatever it says of its deliveries.
fn baked(spec: Option<&Path>, on: Wanted<'_>) -> Result<Baked, Stop> {
    let source = match spec {
        Some(path) => load::source(path)?,
        None => new::starter(Path::new("web01.bundle"))?,
    };
    let mut report = Report::default();
    let mut loaded = None;
    if let Some(mut spec) = spec::read(&source, &mut report) {
        if let Some(name) = on.image() {
            spec.image.value = load::word(name).map_err(|why| Stop::Because(USAGE, why))?;
        }
        spec.deliver = vec![Spanned::default_of(Way::Golden)];
        loaded = load::plan(spec, &source, &mut report)?;
    }
    terminal::err(&human(&report, &source, terminal::color_err()));
    let loaded = loaded.filter(|_| !report.has_errors()).ok_or(Stop::Said(BAD))?;
    bake::baked(loaded, None)
}

/// What every machine of this making has in common.
struct Making<'a> {
    start: &'a Start,
    mirrors: Option<&'a Mirrors>,
    accelerator: Accelerator,
    proofs: Vec<Proof>,
}

impl Making<'_> {
    fn job<'b>(&'b self, disk: &'b Disk, seed: &'b [u8], installs: bool, then: Then<'b>, baked: &'b Baked) -> Job<'b> {
        Job {
            disk,
            start: self.start,
            accelerator: self.accelerator.clone(),
            seed,
            installs,
            cut: None,
            proofs: &self.proofs,
            control: false,
            // What is to be seen after a reboot is seen on the clones.
            reboot: !installs,
            keep: Keep::Never,
            datasource: Datasource::NoCloud,
            pages: &baked.loaded.plan.pages,
            mirrors: self.mirrors,
            warm: None,
            then,
        }
    }
}

// The machine that becomes the image is started once.
fn of_base(all: &[Proof]) -> Vec<Proof> {
    all.iter().filter(|p| p.when == When::EveryBoot).cloned().collect()
}

fn not_proved(outcome: &Outcome) -> bool {
    !matches!(outcome.counts(), (1.., 0, 0))
}

fn file<'b>(baked: &'b Baked, path: &str) -> Result<&'b [u8], Stop> {
    let entry = baked.tree.get(path).ok_or_else(|| Stop::bug(format!("a bundle has no {path}")))?;
    Ok(&entry.data)
}

/// Makes it. The image is there when two machines of it were proved, and not before.
pub(super) fn run(spec: Option<&Path>, image: Option<&str>, mirrors: Option<&Mirrors>, to: &Path) -> Result<u8, Stop> {
    let ending = to.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let Some((_, format)) = FORMATS.iter().find(|(known, _)| *known == ending) else {
        let known: Vec<_> = FORMATS.iter().map(|(known, _)| format!("FILE.{known}")).collect();
        let why = format!("{}: how it ends says the format: {}", to.display(), known.join(", "));
        return Err(Stop::Because(USAGE, why));
    };
    if to.symlink_metadata().is_ok() {
        let why =
            format!("{} is there already, and may be somebody's disk; take it away, or name another", to.display());
        return Err(Stop::Because(USAGE, why));
    }
    // Beside where it goes, so that it can be renamed.
    let beside = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = tempfile::Builder::new()
        .prefix(".hardtack-golden-")
        .tempdir_in(beside)
        .map_err(|e| Stop::Because(USAGE, format!("{}: no image can be made there: {e}", beside.display())))?;
    let on = match image {
        None => Wanted::Image(None, Kind::Vendor),
        some => Wanted::read(some),
    };
    if let Wanted::Image(Some(name), Kind::Flat) = on {
        let why = format!(
            "the image {name} has no boot loader of its own, and nothing but `prove` could start it; write --image {name}-vendor, or your own disk"
        );
        return Err(Stop::Because(USAGE, why));
    }
    let baked = baked(spec, on)?;
    let facts = &baked.loaded.facts;
    if !baked.loaded.plan.systemd {
        return Err(Stop::Because(BAD, format!("{}: golden images are made of what systemd starts", facts.name)));
    }
    let world = |e: anyhow::Error| Stop::world(format!("{e:#}"));
    let cache = environment::cache().map_err(Stop::world)?;
    let base = on.disk(facts, &cache, None)?;
    process::require(&["qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen"]).map_err(world)?;
    process::watch_signals().map_err(world)?;
    let start = on.start(facts)?;
    let accelerator = Accelerator::find(&Config::new(&base, &start, Accelerator::Kvm), &cache).map_err(world)?;
    terminal::err(&format!("accelerator: {accelerator}\n"));
    let whole = scratch.path().join("golden.qcow2");

    let archive = format!("{}.tar.gz", baked.loaded.plan.name);
    let packed = file(&baked, &format!("golden/{archive}"))?;
    let seed = stick(file(&baked, "golden/install")?, &archive, packed).map_err(Stop::bug)?;
    let seal = String::from_utf8_lossy(file(&baked, "golden/seal")?);
    let mut making = Making { start: &start, mirrors, accelerator, proofs: of_base(&baked.proofs) };
    let job = making.job(&base, &seed, true, Then::Golden { seal: &seal, to: &whole }, &baked);
    let drawn = Human::new(&making.proofs, terminal::color_err(), terminal::watched());
    let outcome = prove(&job, &mut |event| match event {
        Event::Accelerator(_) => {}
        event => terminal::err(&drawn.event(&event)),
    })
    .map_err(world)?;
    terminal::out(&drawn.summary(&base.name, &outcome));
    if not_proved(&outcome) {
        terminal::err("no image is made of a machine on which a proof does not hold\n");
        return Ok(BAD);
    }
    if !outcome.left.is_empty() {
        let left = outcome.left.join("\n  ");
        terminal::err(&format!(
            "no image is made of a machine from which what makes it one and no other has not gone; every clone would have it:\n  {left}\n"
        ));
        return Ok(BAD);
    }

    making.proofs = baked.proofs.clone();
    let disk = Disk { name: to.display().to_string(), ..Disk::open(&whole, None).map_err(world)? };
    if !clones(&making, &disk, &baked)? {
        return Ok(BAD);
    }
    let made = converted(&whole, ending, format, scratch.path())?;
    let bytes = std::fs::metadata(&made).map_err(Stop::world)?.len();
    std::fs::rename(&made, to).map_err(|e| Stop::world(format!("{}: {e}", to.display())))?;
    terminal::out(&format!(
        "{}: {} MiB, bundle {}, proved on two machines of it\n",
        to.display(),
        bytes >> 20,
        &baked.digest[..12]
    ));
    Ok(WELL)
}

/// What happens to a clone.
enum News {
    Happens(Event),
    Over(Box<Result<Outcome, String>>),
}

/// Two machines of the image, side by side: all is proved on both, and they have nothing in common that is one machine's.
fn clones(making: &Making, disk: &Disk, baked: &Baked) -> Result<bool, Stop> {
    let names = ["clone-1", "clone-2"];
    let seeds = names.map(|name| nothing_asked(&format!("hardtack-{name}")));
    let [Ok(one), Ok(two)] = seeds else { return Err(Stop::bug("no seed for a clone")) };
    let these = [(names[0], one), (names[1], two)];
    let humans = names.map(|name| Human::new(&making.proofs, terminal::color_err(), terminal::watched()).of_run(name));
    let mut came: [Option<Result<Outcome, String>>; 2] = [None, None];
    let each = |(_, seed): &(&str, Vec<u8>), say: &dyn Fn(News)| {
        let job = making.job(disk, seed, false, Then::Identity, baked);
        let outcome = prove(&job, &mut |event| say(News::Happens(event))).map_err(|e| format!("{e:#}"));
        say(News::Over(Box::new(outcome)));
    };
    side_by_side(&these, these.len(), &each, &mut |at, news| match news {
        News::Happens(event @ Event::Progress { .. }) => terminal::err(&humans[at].event(&event)),
        News::Happens(_) => {}
        News::Over(outcome) => {
            if let Ok(outcome) = &*outcome {
                let wipe = if terminal::watched() { "\r\x1b[K" } else { "" };
                terminal::err(wipe);
                terminal::out(&humans[at].summary(names[at], outcome));
            }
            came[at] = Some(*outcome);
        }
    });
    let mut outcomes = Vec::new();
    for (name, came) in names.iter().zip(came) {
        let came = came.unwrap_or_else(|| Err("it was not run".to_owned()));
        outcomes.push(came.map_err(|why| Stop::world(format!("{name}: {why}")))?);
    }
    let [one, two] = outcomes.as_slice() else { return Err(Stop::bug("there are two clones")) };
    let same = shared(&one.identity, &two.identity);
    for what in &same {
        terminal::out(&format!("the clones are one machine: {what}\n"));
    }
    if same.is_empty() {
        let all: Vec<&str> = one.identity.iter().map(|(what, _)| what.as_str()).collect();
        terminal::out(&format!("each clone has its own: {}\n", all.join(", ")));
    }
    Ok(same.is_empty() && !outcomes.iter().any(not_proved))
}

/// The image in the format that was asked for, and whether it is the same disk.
fn converted(whole: &Path, ending: &str, format: &[&str], scratch: &Path) -> Result<PathBuf, Stop> {
    if format.is_empty() {
        return Ok(whole.to_owned());
    }
    let made = scratch.join(format!("golden.{ending}"));
    let world = |e: anyhow::Error| Stop::world(format!("{e:#}"));
    let limit = Duration::from_secs(1800);
    let files = [whole.as_os_str(), made.as_os_str()];
    Program::new("qemu-img")
        .args(["convert", "-q"])
        .args(format)
        .args(files)
        .deadline(limit)
        .output()
        .map_err(world)?;
    Program::new("qemu-img").args(["compare", "-q"]).args(files).deadline(limit).output().map_err(world)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_holds_the_same_disk() {
        let scratch = tempfile::tempdir().unwrap();
        let (raw, whole) = (scratch.path().join("raw"), scratch.path().join("golden.qcow2"));
        std::fs::write(&raw, (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        let files = [raw.as_os_str(), whole.as_os_str()];
        Program::new("qemu-img").args(["convert", "-q", "-O", "qcow2"]).args(files).output().unwrap();
        for (ending, format) in FORMATS {
            let made = converted(&whole, ending, format, scratch.path()).map_err(|_| ending).unwrap();
            let about = Program::new("qemu-img").args(["info", "--output=json"]).arg(&made).output().unwrap();
            let about: serde_json::Value = serde_json::from_slice(&about).unwrap();
            assert_eq!((about["format"].as_str(), about["virtual-size"].as_u64()), (Some(ending), Some(1 << 20)));
        }
    }
    #[test]
    fn the_base_is_not_asked_for_what_is_seen_after_a_reboot() {
        let proof = |what, when| Proof {
            when,
            ..Proof::new("delivery", what, &[], "", crate::plan::proof::Check::Script { script: String::new() })
        };
        let all = [proof("sealed", When::EveryBoot), proof("later", When::AfterReboot)];
        assert_eq!(of_base(&all).into_iter().map(|p| p.id).collect::<Vec<_>>(), ["delivery/sealed"]);
    }
}
