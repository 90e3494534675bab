//! `hardtack prove [SPEC]`

use super::{BAD, NOTHING, Stop, USAGE, WELL, bake, environment, terminal};
use crate::delivery::Way;
use crate::prove::image;
use crate::prove::process;
use crate::prove::qemu::{Accelerator, Config};
use crate::prove::reporter::human::Human;
use crate::prove::reporter::json::{Subject, json};
use crate::prove::run::{Job, prove};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The spec [default: the built-in starter, with the first key of ~/.ssh/*.pub]
    spec: Option<PathBuf>,
    /// Prove on this image instead of the one that the spec names
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Do not boot the bare image beside it; nobody sees then which proofs would have failed without the bundle
    #[arg(long)]
    no_control: bool,
    /// Write a report for machines
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    if let Some(path) = args.report.as_ref().filter(|p| p.extension().is_none_or(|e| e != "json")) {
        return Err(Stop::Because(USAGE, format!("{}: a report is FILE.json", path.display())));
    }
    let baked = bake::bake(args.spec.as_deref(), args.image.as_deref(), None)?;
    let facts = &baked.loaded.facts;
    let Some(seed) = baked.tree.get("seed.img") else {
        return Err(Stop::Because(
            USAGE,
            "this spec is not delivered by cloud-init, and only that can be booted".to_owned(),
        ));
    };
    let cache = environment::cache().map_err(Stop::world)?;
    let Some(built) = image::open(&cache, &facts.name).map_err(|e| Stop::world(format!("{e:#}")))? else {
        return Err(match facts.recipe() {
            Some(_) => {
                Stop::world(format!("there is no image {0} yet; make it with: hardtack image build {0}", facts.name))
            }
            None => Stop::world(format!("{} is rendered and linted here, but never booted", facts.name)),
        });
    };
    process::require(&["qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen"])
        .map_err(|e| Stop::world(format!("{e:#}")))?;
    process::watch_signals().map_err(|e| Stop::world(format!("{e:#}")))?;
    let start = facts.start().map_err(Stop::bug)?;
    let trial = Config::new(&built, start, Accelerator::Kvm);
    let accelerator = Accelerator::find(&trial, &cache).map_err(|e| Stop::world(format!("{e:#}")))?;
    let job =
        Job { image: &built, start, accelerator, seed: &seed.data, proofs: &baked.proofs, control: !args.no_control };
    let human = Human::new(&baked.proofs, terminal::color_err(), terminal::watched());
    let outcome =
        prove(&job, &mut |event| terminal::err(&human.event(&event))).map_err(|e| Stop::world(format!("{e:#}")))?;
    terminal::out(&human.summary(&facts.name, &outcome));
    if let Some(path) = &args.report {
        let subject = Subject {
            image: facts.name.clone(),
            delivery: Way::CloudInit.as_str().to_owned(),
            bundle_sha256: baked.digest.clone(),
        };
        write_whole(path, &format!("{:#}\n", json(&subject, &outcome)))?;
    }
    let (holds, fails, unknown) = outcome.counts();
    Ok(match (holds, fails + unknown) {
        (0, 0) => NOTHING,
        (_, 0) => WELL,
        _ => BAD,
    })
}

// Whole or not at all: a reader never sees half a report.
fn write_whole(path: &std::path::Path, text: &str) -> Result<(), Stop> {
    use std::io::Write;
    let no = |e: std::io::Error| Stop::world(format!("{}: {e}", path.display()));
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(no)?;
    file.write_all(text.as_bytes()).map_err(no)?;
    file.persist(path).map_err(|e| no(e.error))?;
    Ok(())
}
