//! `hardtack check SPEC...`

use super::{BAD, Stop, WELL, load, templates, terminal};
use crate::plan::Plan;
use crate::plan::way_in::{steps, ways};
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
    /// Show a way into each machine as well, step by step: from where, who, with what, and how they become root
    #[arg(long)]
    way_in: bool,
    #[command(flatten)]
    templates: templates::Templates,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    templates::read(&args.templates)?;
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
        let loaded = load::judge(&source, args.image.as_deref(), &mut report)?;
        terminal::out(&match args.format {
            Format::Human => human(&report, &source, terminal::color_out()),
            Format::Json => json(&report, &source),
        });
        if report.has_errors() {
            code = code.max(BAD);
        } else if matches!(args.format, Format::Human) && report.counts() == (0, 0) {
            terminal::out(&format!("{}: nothing to object to\n", source.name));
        }
        if let Some(loaded) = loaded.filter(|_| args.way_in) {
            terminal::out(&match args.format {
                Format::Human => for_a_person(&loaded.plan),
                Format::Json => json_lines(&source.name, &loaded.plan),
            });
        }
    }
    Ok(code)
}

// The best one; the others are counted.
fn for_a_person(plan: &Plan) -> String {
    let ways = ways(plan);
    let Some(best) = ways.first() else {
        return format!("{}: the spec does not say who may log in: that is as the image has it\n", plan.name);
    };
    let steps = steps(best, plan.name.as_str());
    let lines: String = (1..).zip(&steps).map(|(n, step)| format!("  {n}. {step}\n")).collect();
    let others = match ways.len() - 1 {
        0 => "the only one".to_owned(),
        1 => "and one other".to_owned(),
        n => format!("and {n} others"),
    };
    let rescue = plan.rescue.as_ref().map(|policy| {
        let nets: Vec<String> = policy.from.iter().map(ToString::to_string).collect();
        format!(
            "  and if it is not healthy after its first boot: only {}, only from {}\n",
            policy.people.join(" or "),
            nets.join(" or ")
        )
    });
    format!("{}: a way in, {others}\n{lines}{}", plan.name, rescue.unwrap_or_default())
}

// All of them, one a line.
fn json_lines(file: &str, plan: &Plan) -> String {
    let line = |way| serde_json::json!({ "format": 1, "file": file, "way_in": way }).to_string() + "\n";
    let rescue = plan.rescue.as_ref().map(|policy| {
        let rescue = serde_json::json!({ "people": policy.people, "from": policy.from });
        serde_json::json!({ "format": 1, "file": file, "rescue": rescue }).to_string() + "\n"
    });
    ways(plan).into_iter().map(line).chain(rescue).collect()
}
