//! What is to be run: every spec on every image by every delivery. All that is wrong with any of it is said at once.

use super::super::bake::{self, Baked};
use super::super::disk::{By, Wanted};
use super::super::{BAD, Stop, USAGE, load, new, terminal};
use crate::delivery::Way;
use crate::facts::{Facts, ImageName};
use crate::plan::proof::Proof;
use crate::plan::wire;
use crate::prove::image::{Disk, Kind};
use crate::prove::run::{Datasource, nothing_asked, stick};
use crate::report::{FromText, Report, Source, human};
use crate::spec;
use crate::yaml::Spanned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A spec on an image by a delivery, baked.
pub(super) struct Run<'a> {
    /// The spec's name, as the person gave it.
    pub(super) spec: String,
    /// What it starts from.
    pub(super) on: Wanted<'a>,
    pub(super) way: Way,
    pub(super) baked: Baked,
    /// What is attached: the seed, or the stick with the installer.
    pub(super) seed: Vec<u8>,
    /// Those of the bundle, and those that were asked for beside them.
    pub(super) proofs: Vec<Proof>,
}

impl Run<'_> {
    /// What tells it from the others.
    pub(super) fn name(&self) -> String {
        match self.way {
            Way::CloudInit => format!("{} on {}", self.spec, self.disk_name()),
            way => format!("{} on {} by {}", self.spec, self.disk_name(), way.as_str()),
        }
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.baked.loaded.facts
    }

    pub(super) fn disk_name(&self) -> String {
        self.on.name(self.facts())
    }

    /// What the machine calls itself.
    pub(super) fn host(&self) -> String {
        self.baked.loaded.plan.name.to_string()
    }
}

/// What a person asks for.
pub(super) struct Wish<'a> {
    pub(super) specs: &'a [PathBuf],
    /// None is the one that each spec names.
    pub(super) images: &'a [String],
    /// None is those that each spec names.
    pub(super) deliveries: &'a [String],
    pub(super) timeline: bool,
    pub(super) datasource: Datasource,
}

/// Says what is wrong, each on its line, and ends with a code if anything is.
fn all_well(wrong: &[String], code: u8) -> Result<(), Stop> {
    for why in wrong {
        terminal::err(&format!("hardtack: {why}\n"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Stop::Said(code)) }
}

fn words<'a, T: FromText>(texts: impl Iterator<Item = &'a str>, wrong: &mut Vec<String>) -> Vec<T> {
    texts.filter_map(|text| load::word(text).map_err(|why| wrong.push(why)).ok()).collect()
}

/// The images and deliveries of one spec: what was asked for, else its own. Each once, whatever order they came in.
fn combinations<'a>(images: &'a [String], ways: &[Way], own_ways: &[Way]) -> Vec<(Option<&'a str>, Way)> {
    let images = if images.is_empty() { vec![None] } else { images.iter().map(|i| Some(i.as_str())).collect() };
    let ways = if ways.is_empty() { own_ways } else { ways };
    let all: BTreeSet<_> = images.iter().flat_map(|image| ways.iter().map(|way| (*image, *way))).collect();
    all.into_iter().collect()
}

/// Reads, judges and bakes all of them.
///
/// The runs are in the order of their names, not of the command line: a shell sorts `*.yaml` by its locale, and the shares
/// of two hosts must fit together.
pub(super) fn all<'a>(wish: &Wish<'a>) -> Result<Vec<Run<'a>>, Stop> {
    let mut wrong = Vec::new();
    let named = wish.images.iter().filter_map(|image| Wanted::read(Some(image)).image());
    let _: Vec<ImageName> = words(named, &mut wrong);
    let ways: Vec<Way> = words(wish.deliveries.iter().map(String::as_str), &mut wrong);
    all_well(&wrong, USAGE)?;
    let mut specs = wish.specs.to_vec();
    specs.sort();
    specs.dedup();
    let sources: Vec<Result<Source, Stop>> = if specs.is_empty() {
        vec![Ok(new::starter(Path::new("web01.bundle"))?)]
    } else {
        specs.iter().map(|path| load::source(path)).collect()
    };
    let (mut runs, mut code) = (Vec::new(), 0);
    for source in sources {
        match source.and_then(|source| of_spec(&source, &ways, wish)) {
            Ok(its) => runs.extend(its),
            // What is wrong with one does not hide what is wrong with the next one.
            Err(Stop::Because(worse @ USAGE, why)) => {
                terminal::err(&format!("hardtack: {why}\n"));
                code = code.max(worse);
            }
            Err(Stop::Said(worse @ BAD)) => code = code.max(worse),
            Err(stop) => return Err(stop),
        }
    }
    if code == 0 { Ok(runs) } else { Err(Stop::Said(code)) }
}

fn of_spec<'a>(source: &Source, ways: &[Way], wish: &Wish<'a>) -> Result<Vec<Run<'a>>, Stop> {
    let mut report = Report::default();
    let mut planned = Vec::new();
    if let Some(spec) = spec::read(source, &mut report) {
        let own: Vec<Way> = spec.deliver.iter().map(|way| way.value).collect();
        let read = report.clone();
        for (image, way) in combinations(wish.images, ways, &own) {
            let mut spec = spec.clone();
            let on = Wanted::read(image);
            if let Some(name) = on.image() {
                spec.image.value = load::word(name).map_err(|why| Stop::Because(USAGE, why))?;
            }
            spec.deliver = vec![Spanned::default_of(way)];
            let mut its = read.clone();
            planned.extend(load::plan(spec, source, &mut its)?.map(|loaded| (loaded, on, way)));
            report.merge(its);
        }
    }
    terminal::err(&human(&report, source, terminal::color_err()));
    if report.has_errors() {
        return Err(Stop::Said(BAD));
    }
    if planned.is_empty() {
        let why = format!("{}: this spec names no delivery; add `--delivery cloud-init`", source.name);
        return Err(Stop::Because(USAGE, why));
    }
    planned.into_iter().map(|(loaded, on, way)| run(source, bake::baked(loaded, None)?, on, way, wish)).collect()
}

fn run<'a>(source: &Source, baked: Baked, on: Wanted<'a>, way: Way, wish: &Wish) -> Result<Run<'a>, Stop> {
    if wish.datasource == Datasource::Ec2 && !matches!(on, Wanted::Image(_, Kind::Flat)) {
        let why = "--datasource ec2 leaves the seed out, and the root channel comes to this disk with the seed: prove it on an image that \
                   has a channel of its own";
        let disk = on.name(&baked.loaded.facts);
        return Err(Stop::Because(USAGE, format!("{}: {why}, not on {disk}", source.name)));
    }
    let made_by = match way {
        Way::Packer => Some("`packer/build IMAGE` in the bundle, and then `--image FILE.qcow2`"),
        Way::Golden => {
            Some("`hardtack bake --golden FILE.qcow2`, which proves it; look again with `--image FILE.qcow2`")
        }
        Way::CloudInit | Way::BareMetal => None,
    };
    if let Some(by) = made_by.filter(|_| !matches!(on, Wanted::File(_))) {
        let why = format!("by {} an image is made first: {by}", way.as_str());
        return Err(Stop::Because(USAGE, format!("{}: {why}", source.name)));
    }
    if wish.datasource == Datasource::Ec2 && way != Way::CloudInit {
        let why = format!("{}: --datasource is how user-data comes, and {} brings none", source.name, way.as_str());
        return Err(Stop::Because(USAGE, why));
    }
    let mut proofs = baked.proofs.clone();
    let file = |path: &str| {
        let entry = baked.tree.get(path).ok_or_else(|| Stop::bug(format!("a bundle has no {path}")))?;
        Ok::<_, Stop>(entry.data.as_slice())
    };
    let seed = match way {
        Way::CloudInit => file("seed.img")?.to_vec(),
        Way::BareMetal => {
            let archive = format!("{}.tar.gz", baked.loaded.plan.name);
            let packed = file(&format!("bare-metal/{archive}"))?;
            stick(file("bare-metal/install")?, &archive, packed).map_err(Stop::bug)?
        }
        // The disk has it all.
        Way::Packer | Way::Golden => nothing_asked("hardtack-clone").map_err(Stop::bug)?,
    };
    if wish.timeline {
        let Some(filter) = &baked.loaded.plan.filter else {
            let why = "--timeline watches a firewall come up, and this spec has none; write a `firewall:` section";
            return Err(Stop::Because(USAGE, format!("{}: {why}", source.name)));
        };
        proofs.extend(wire::windows(filter, wish.datasource == Datasource::Ec2));
    }
    let spec = source.name.clone();
    Ok(Run { spec, on, way, baked, seed, proofs })
}

/// Opens the disks of the runs, each once, by what a person calls them. All that are not there are named.
pub(super) fn disks(runs: &[Run], cache: &Path, firmware: Option<By>) -> Result<BTreeMap<String, Disk>, Stop> {
    let by_name: BTreeMap<String, &Run> = runs.iter().map(|run| (run.disk_name(), run)).collect();
    let (mut found, mut wrong, mut code) = (BTreeMap::new(), Vec::new(), 0);
    for (name, run) in by_name {
        match run.on.disk(run.facts(), cache, firmware) {
            Ok(disk) => drop(found.insert(name, disk)),
            Err(Stop::Because(its, why)) => {
                wrong.push(why);
                code = code.max(its);
            }
            Err(said) => return Err(said),
        }
    }
    wrong.dedup();
    all_well(&wrong, code)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_goes_before_the_specs_own() {
        let (way, images) = (Way::CloudInit, ["b", "a", "b"].map(str::to_owned));
        assert_eq!(combinations(&[], &[], &[way]), [(None, way)]);
        assert_eq!(combinations(&[], &[], &[]), []);
        assert_eq!(combinations(&[], &[way], &[]), [(None, way)]);
        let both = [(Some("a"), way), (Some("b"), way)];
        assert_eq!(combinations(&images, &[way, way], &[]), both);
        assert_eq!(combinations(&images, &[], &[way]), both);
    }
}
