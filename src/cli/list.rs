//! `hardtack list hurdles|lints|proofs|requirements|images|deliveries|clouds`

use super::{Stop, WELL, load, requirements, terminal};
use crate::delivery::WAYS;
use crate::delivery::cloud::{CLOUDS, Cloud};
use crate::facts::Facts;
use crate::hurdle::MANUALS;
use crate::plan::proof::SeenFrom;
use crate::spec::lints;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to list
    what: What,
    /// For `proofs`: the spec whose proofs to list
    #[arg(required_if_eq("what", "proofs"))]
    spec: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// What can stand in an intruder's way
    Hurdles,
    /// What `check` finds
    Lints,
    /// What `prove` shows for a spec
    Proofs,
    /// The instructions of the article that hardtack grew from, and what shows each
    Requirements,
    /// What a machine can start from
    Images,
    /// The ways to a machine
    Deliveries,
    /// What each cloud takes as user-data, and where that is written
    Clouds,
}

fn first_line(doc: &str) -> &str {
    doc.lines().next().unwrap_or_default().trim()
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    let mut rows: Vec<[String; 3]> = Vec::new();
    match args.what {
        What::Hurdles => {
            rows.extend(MANUALS.iter().map(|m| [m.name.to_owned(), first_line(m.doc).to_owned(), String::new()]))
        }
        What::Lints => {
            rows.extend(lints().map(|l| [l.code.to_owned(), l.finds.to_owned(), format!("[{}]", l.refs.join(", "))]))
        }
        What::Requirements => {
            terminal::out(&requirements::text()?);
            return Ok(WELL);
        }
        What::Images => {
            for name in Facts::names() {
                let facts = Facts::load(name).map_err(Stop::bug)?;
                rows.push([name.to_owned(), facts.title().to_owned(), String::new()]);
            }
        }
        What::Clouds => {
            let limit = |cloud: &Cloud| cloud.limit.map_or("no limit".to_owned(), |limit| format!("{limit} bytes"));
            let doubt = |cloud: &Cloud| if cloud.confirmed { "" } else { "; not confirmed" };
            let user = |cloud: &Cloud| match cloud.user {
                "" => String::new(),
                user => format!("; {user} logs in"),
            };
            rows.extend(CLOUDS.iter().map(|c| {
                let takes = format!("{}: {}{}; metadata at {}{}", c.title, limit(c), doubt(c), c.metadata, user(c));
                [c.name.to_owned(), takes, format!("[{}]", c.source)]
            }));
        }
        What::Deliveries => {
            rows.extend(WAYS.iter().map(|(name, doc)| [(*name).to_owned(), doc.trim().to_owned(), String::new()]))
        }
        What::Proofs => {
            let Some(path) = &args.spec else { return Err(Stop::bug("no spec for `list proofs`")) };
            let loaded = load::good(&load::source(path)?, None)?;
            for p in &loaded.plan.proofs {
                let from = match p.check.seen_from() {
                    SeenFrom::Inside => "inside",
                    SeenFrom::Wire => "wire",
                    SeenFrom::Login => "login",
                };
                rows.push([p.id.clone(), format!("{} ({from})", p.statement), format!("[{}]", p.refs.join(", "))]);
            }
        }
    }
    let width = rows.iter().map(|r| r[0].chars().count()).max().unwrap_or(0);
    for [name, what, refs] in rows {
        terminal::out(format!("{name:width$}  {what}  {refs}").trim_end());
        terminal::out("\n");
    }
    Ok(WELL)
}
