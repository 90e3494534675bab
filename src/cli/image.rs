//! `hardtack image list|build|fetch`

use super::{Stop, USAGE, WELL, environment, fetch, terminal};
use crate::facts::{Facts, ImageName};
use crate::prove::image::Kind;
use crate::prove::{image, process};
use crate::report::FromText;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show the images, which of them are here, and where the official ones are
    List,
    /// Build an image from its distribution's packages, into the cache
    Build {
        /// The image: `hardtack list images`
        name: String,
        /// A disk as a vendor ships it, with a boot loader and nothing of ours: NAME-vendor
        #[arg(long)]
        vendor: bool,
        /// Where packages come from [default: the machine's own package configuration]
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
    /// Fetch the vendor's own image into the cache, and pin its digest in a lock file
    ///
    /// What comes is held to the vendor's list of checksums (SHA-256 or SHA-512), and the digest is pinned in a lock file
    /// that a person can read and commit. From then on the lock file says what the image must be, and no list is asked: an
    /// image that a vendor has replaced is an error, until --update takes the new one. A download that breaks off or is
    /// interrupted goes on where it was; the cache has the image whole or not at all.
    ///
    /// Exit codes: 1 what came is not what it must be; 69 the network or the vendor could not do their part.
    Fetch(fetch::Args),
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    let cache = environment::cache().map_err(Stop::world)?;
    match &args.verb {
        Verb::List => {
            for name in Facts::names() {
                let facts = Facts::load(name).map_err(Stop::bug)?;
                terminal::out(&format!("{name}  {}\n", facts.title()));
                for (kind, option) in [(Kind::Flat, ""), (Kind::Vendor, " --vendor")] {
                    let here = match (image::open(&cache, &kind.name(name)), facts.recipe()) {
                        (Ok(Some(built)), _) => format!("here: {}", built.disk.path.display()),
                        (Ok(None), Some(_)) => format!("not here; make it with: hardtack image build {name}{option}"),
                        (Ok(None), None) if kind == Kind::Vendor => continue,
                        (Ok(None), None) => "not built or booted here".to_owned(),
                        (Err(e), _) => format!("damaged: {e:#}"),
                    };
                    terminal::out(&format!("    {here}\n"));
                }
                match image::official::open(&cache, name) {
                    Ok(Some(fetched)) => terminal::out(&format!(
                        "    fetched: {}\n    from: {}\n    digest: {}\n",
                        fetched.disk.display(),
                        fetched.record.image,
                        fetched.record.digest
                    )),
                    Ok(None) => {}
                    Err(e) => terminal::out(&format!("    fetched, but damaged: {e:#}\n")),
                }
                if let Some(official) = facts.official() {
                    terminal::out(&format!(
                        "    official: {}\n    checksums: {}\n",
                        official.image, official.checksums
                    ));
                }
            }
        }
        Verb::Build { name, vendor, mirror } => {
            let name = ImageName::from_text(name)
                .map_err(|f| Stop::Because(USAGE, format!("{}; {}", f.message, f.help.unwrap_or_default())))?;
            let facts = Facts::load(name.0).map_err(Stop::bug)?;
            let Some(recipe) = facts.recipe() else {
                return Err(Stop::Because(
                    USAGE,
                    format!("{} has no recipe: it is rendered and linted here, but never booted", name.0),
                ));
            };
            process::watch_signals().map_err(|e| Stop::world(format!("{e:#}")))?;
            let live = terminal::watched();
            let kind = if *vendor { Kind::Vendor } else { Kind::Flat };
            let built = image::build(&kind.name(name.0), recipe, mirror.as_deref(), &cache, &mut |line| {
                terminal::err(&if live {
                    format!("\r\x1b[K{}", line.chars().take(78).collect::<String>())
                } else {
                    format!("{line}\n")
                });
            });
            if live {
                terminal::err("\r\x1b[K");
            }
            let built = built.map_err(|e| Stop::world(format!("{e:#}")))?;
            terminal::out(&format!(
                "{}: {} with {} packages\n",
                built.disk.name,
                built.disk.path.display(),
                built.record.packages.len()
            ));
        }
        Verb::Fetch(args) => fetch::run(args, &cache)?,
    }
    Ok(WELL)
}
