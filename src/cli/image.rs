//! `hardtack image list|build`

use super::{Stop, USAGE, WELL, environment, terminal};
use crate::facts::{Facts, ImageName};
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
        /// Where packages come from [default: the machine's own package configuration]
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    let cache = environment::cache().map_err(Stop::world)?;
    match &args.verb {
        Verb::List => {
            for name in Facts::names() {
                let facts = Facts::load(name).map_err(Stop::bug)?;
                let here = match (image::open(&cache, name), facts.recipe()) {
                    (Ok(Some(built)), _) => format!("here: {}", built.disk.display()),
                    (Ok(None), Some(_)) => format!("not here; make it with: hardtack image build {name}"),
                    (Ok(None), None) => "not built or booted here".to_owned(),
                    (Err(e), _) => format!("damaged: {e:#}"),
                };
                terminal::out(&format!("{name}  {}\n    {here}\n", facts.title()));
                if let Some(official) = facts.official() {
                    terminal::out(&format!(
                        "    official: {}\n    checksums: {}\n",
                        official.image, official.checksums
                    ));
                }
            }
        }
        Verb::Build { name, mirror } => {
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
            let built = image::build(name.0, recipe, mirror.as_deref(), &cache, &mut |line| {
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
                built.name,
                built.disk.display(),
                built.record.packages.len()
            ));
        }
    }
    Ok(WELL)
}
