//! `hardtack explain [CODE]`

use super::{Stop, USAGE, WELL, load, new, terminal};
use crate::delivery::Payload;
use crate::hurdle::{MANUALS, Manual};
use crate::plan::credential::PublicKey;
use crate::plan::proof::{Proof, SeenFrom};
use crate::report::{FromText, Lint, Report, Source, did_you_mean};
use crate::spec::{Spec, lints};
use crate::yaml::{Described, FieldDoc};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A hurdle (`ssh`), a lint (`ssh/password-login`), a proof (`ssh/root-refused`), or `spec` [default: spec]
    code: Option<String>,
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
    if !m.article.is_empty() {
        out.push_str("\nWho comes from the article \"Server Hardening\":\n");
        for i in m.article {
            out.push_str(&format!("  {}\n      {} ({})\n", i.said, i.became, i.refs.join(", ")));
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

// The proofs of the starter. Those of another spec have its own names and ports in theirs: `hardtack list proofs SPEC`.
fn proofs() -> Result<Vec<Proof>, Stop> {
    const NOBODYS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let key = PublicKey::from_text(NOBODYS).map_err(|f| Stop::bug(f.message))?;
    let source = Source { name: "starter.yaml".to_owned(), text: new::filled(&key) };
    let loaded = load::judge(&source, None, &mut Report::default())?;
    let loaded = loaded.ok_or_else(|| Stop::bug("the starter is not a good spec"))?;
    let payload = Payload::new(&loaded.plan, &loaded.facts, 0).map_err(Stop::bug)?;
    Ok(payload.proofs())
}

fn proof(p: &Proof) -> String {
    let how = match p.check.seen_from() {
        SeenFrom::Inside => "a question that root asks on the machine",
        SeenFrom::Wire => "packets on the machine's own network",
        SeenFrom::Login => "a login with the OpenSSH client, through the machine's own network",
    };
    let check = serde_json::to_string_pretty(&p.check).unwrap_or_default();
    format!(
        "{} (a proof)\n\nWhat holds:     {}\nSeen by:        {how}\nSource:         {}\nExactly:        {}\n",
        p.id,
        p.statement,
        p.refs.join(", "),
        check.replace('\n', "\n                ")
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
    } else if let Some(p) = proofs()?.iter().find(|p| p.id == code) {
        terminal::out(&proof(p));
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
