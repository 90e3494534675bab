//! `hardtack explain [CODE]`

use super::{Stop, USAGE, WELL, terminal};
use crate::hurdle::{MANUALS, Manual};
use crate::plan::lints;
use crate::report::{Lint, did_you_mean};
use crate::spec::Spec;
use crate::yaml::{Described, FieldDoc};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A hurdle (`ssh`), a lint (`ssh/password-login`), or `spec` [default: spec]
    code: Option<String>,
}

/// Every lint there is.
pub(super) fn lints() -> impl Iterator<Item = &'static Lint> {
    lints::ALL.iter().chain(MANUALS.iter().flat_map(|m| m.lints))
}

fn fields(out: &mut String, fields: &[FieldDoc]) {
    for f in fields {
        out.push_str(&format!(
            "  {}:  {}\n",
            f.name,
            f.default.map_or("must be there".to_owned(), |d| format!("left out: {d}"))
        ));
        for line in f.doc.lines() {
            out.push_str(&format!("      {}\n", line.trim()));
        }
    }
}

fn manual(m: &Manual) -> String {
    let mut out = format!("{}\n\n{}:\n", m.doc.trim(), m.name);
    fields(&mut out, m.fields);
    for part in m.parts {
        out.push_str(&format!("\n{}: {}\n", part.place, part.doc.trim()));
        fields(&mut out, part.fields);
    }
    if !m.lints.is_empty() {
        out.push_str("\nWhat `hardtack check` finds:\n");
        for l in m.lints {
            out.push_str(&format!("  {}: {}\n", l.code, l.finds));
        }
    }
    out
}

fn lint(l: &Lint) -> String {
    format!(
        "{} ({})\n\nWhat it finds:  {}\nWhy it is bad:  {}\nInstead:        {}\nSource:         {}\n",
        l.code,
        l.severity.word(),
        l.finds,
        l.why,
        l.instead,
        l.refs.join(", ")
    )
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    let code = args.code.as_deref().unwrap_or("spec");
    if code == "spec" {
        let mut out = format!("{}\n\nspec:\n", Spec::DOC.trim());
        fields(&mut out, Spec::FIELDS);
        out.push_str("\nhurdles:\n");
        for m in MANUALS {
            out.push_str(&format!("  {}:  {}\n", m.name, m.doc.trim().replace('\n', " ")));
        }
        terminal::out(&out);
    } else if let Some(m) = MANUALS.iter().find(|m| m.name == code) {
        terminal::out(&manual(m));
    } else if let Some(l) = lints().find(|l| l.code == code) {
        terminal::out(&lint(l));
    } else {
        let known = MANUALS.iter().map(|m| m.name).chain(lints().map(|l| l.code));
        let hint = did_you_mean(code, known).map_or_else(
            || "see `hardtack list hurdles` and `hardtack list lints`".to_owned(),
            |n| format!("did you mean `{n}`?"),
        );
        return Err(Stop::Because(USAGE, format!("nothing is called `{}`; {hint}", crate::report::shown(code))));
    }
    Ok(WELL)
}
