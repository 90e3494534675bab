//! `hardtack check SPEC...`

use super::{BAD, Stop, WELL, load, terminal};
use crate::report::{Report, human, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The specs
    #[arg(required = true)]
    specs: Vec<PathBuf>,
    /// `human` draws each fault at its place; `json` prints one object a line, for editors and scripts
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// Judge for this image instead of the one that the spec names
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    let mut code = WELL;
    for path in &args.specs {
        // A file that cannot be read does not hide what is wrong with the next one.
        let source = match load::source(path) {
            Ok(source) => source,
            Err(Stop::Because(worse, why)) => {
                terminal::err(&format!("hardtack: {why}\n"));
                code = code.max(worse);
                continue;
            }
            Err(said) => return Err(said),
        };
        let mut report = Report::default();
        load::judge(&source, args.image.as_deref(), &mut report)?;
        terminal::out(&match args.format {
            Format::Human => human(&report, &source, terminal::color_out()),
            Format::Json => json(&report, &source),
        });
        if report.has_errors() {
            code = code.max(BAD);
        } else if matches!(args.format, Format::Human) && report.counts() == (0, 0) {
            terminal::out(&format!("{}: nothing to object to\n", source.name));
        }
    }
    Ok(code)
}
