//! The house rules, held by a test: who may use whom, where names may stand, what must have a sample.

use hardtack::hurdle::MANUALS;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may use whom: a floor and the floors below it that it may name.
const FLOORS: &[(&str, &[&str])] = &[
    ("report", &[]),
    ("archive", &[]),
    ("template", &[]),
    ("yaml", &["report"]),
    ("facts", &["report", "yaml"]),
    ("plan", &["report", "template"]),
    ("hurdle", &["report", "yaml", "template", "facts", "plan"]),
    ("delivery", &["report", "yaml", "template", "archive", "facts", "plan"]),
    ("prove", &["report", "archive", "facts", "plan"]),
    ("spec", &["report", "yaml", "facts", "plan", "hurdle", "delivery"]),
    ("cli", &["report", "archive", "template", "yaml", "facts", "plan", "hurdle", "delivery", "prove", "spec"]),
];

/// Third-party crates that only one place may name.
const ONE_PLACE: &[(&str, &str)] = &[
    ("serde_yaml", "yaml/text.rs"),
    ("minijinja", "template.rs"),
    ("annotate_snippets", "report/human.rs"),
    ("strsim", "report/mod.rs"),
    ("sha2", "archive/digest.rs"),
    ("flate2", "archive/tar_gz.rs"),
    ("tar", "archive/tar_gz.rs"),
    ("fatfs", "archive/seed/vfat.rs"),
    ("smoltcp", "prove/wire/"),
    ("signal_hook", "prove/process.rs"),
    ("ureq", "prove/image/official/http.rs"),
    ("rustls", "prove/web.rs"),
    ("rcgen", "prove/web.rs"),
    ("clap", "cli/"),
    ("tiny_http", "cli/serve.rs"),
    ("rpassword", "cli/passwd.rs"),
    ("yescrypt", "cli/passwd.rs"),
    ("ring", "prove/judge/agent.rs"),
    ("totp_rs", "prove/judge/keyring.rs"),
    ("anstream", "cli/terminal.rs"),
];

const DISTRIBUTIONS: &[&str] =
    &["debian", "ubuntu", "rocky", "alma", "redhat", "rhel", "fedora", "centos", "suse", "alpine", "arch"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Every source file: its path under src, its floor, and its code without comments.
fn sources() -> Vec<(String, String, String)> {
    let src = root().join("src");
    files(&src)
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
            let floor = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            (name, floor, code)
        })
        .collect()
}

fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty())
}

#[test]
fn nothing_looks_up_and_neighbours_do_not_meet() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let mut bad = Vec::new();
    for (name, floor, code) in sources() {
        if ["main", "lib"].contains(&floor.as_str()) {
            continue;
        }
        let allowed = floors.get(floor.as_str()).unwrap_or_else(|| panic!("src/{name} is on no floor"));
        for path in code.split("crate::").skip(1) {
            // `use crate::{a, b}` names several.
            let list = path
                .strip_prefix('{')
                .map_or_else(|| path.split("::").next().unwrap_or(""), |l| l.split('}').next().unwrap_or(""));
            for used in list.split(',').filter_map(|w| identifiers(w).next()) {
                let macros = ["section", "choice"];
                let used = if macros.contains(&used) { "yaml" } else { used };
                if floors.contains_key(used) && used != floor && !allowed.contains(&used) {
                    bad.push(format!("src/{name} uses {used}"));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_third_party_crate_has_one_place() {
    let mut bad = Vec::new();
    for (name, _, code) in sources() {
        for (krate, place) in ONE_PLACE {
            // Neither `String::` nor `rustls::crypto::ring::` is of `ring`.
            let start = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let named = code.match_indices(&format!("{krate}::")).any(|(at, _)| start(at));
            if !name.starts_with(place) && named {
                bad.push(format!("src/{name} names {krate}, which belongs to src/{place}"));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn no_hurdle_and_no_template_names_a_distribution() {
    let mut bad = Vec::new();
    for (name, floor, code) in sources() {
        if ["hurdle", "plan", "delivery"].contains(&floor.as_str()) {
            bad.extend(
                identifiers(&code.to_lowercase())
                    .filter(|w| DISTRIBUTIONS.contains(w))
                    .map(|w| format!("src/{name}: {w}")),
            );
        }
    }
    for path in files(&root().join("templates")) {
        // A processor's architecture, as audit's rules name it, is no distribution.
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase().replace(" arch=b", " ");
        bad.extend(
            identifiers(&text).filter(|w| DISTRIBUTIONS.contains(w)).map(|w| format!("{}: {w}", path.display())),
        );
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn every_template_is_used_and_belongs_to_someone() {
    let code: String = sources().into_iter().map(|(_, _, code)| code).collect();
    let folders: BTreeSet<&str> = MANUALS.iter().map(|m| m.name).chain(["plan", "delivery"]).collect();
    let mut bad = Vec::new();
    for path in files(&root().join("templates")) {
        let name = path.strip_prefix(root().join("templates")).unwrap().to_str().unwrap().to_owned();
        if !code.contains(&format!("template!(\"{name}\")")) {
            bad.push(format!("templates/{name} is an orphan"));
        }
        if !folders.contains(name.split('/').next().unwrap()) {
            bad.push(format!("templates/{name} belongs to no hurdle"));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.ends_with('\n') || !text.lines().take(2).any(|l| l.contains(&format!("templates/{name}"))) {
            bad.push(format!("templates/{name} does not say where it comes from, or has no last line end"));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn every_hurdle_has_a_sample_a_manual_and_a_source_for_all_it_says() {
    let mut bad = Vec::new();
    for m in MANUALS {
        if !root().join(format!("tests/specs/{}.yaml", m.name)).exists() {
            bad.push(format!("there is no tests/specs/{}.yaml", m.name));
        }
        if !root().join(format!("src/hurdle/{}.rs", m.name)).exists() {
            bad.push(format!("there is no src/hurdle/{}.rs", m.name));
        }
        bad.extend(
            m.fields
                .iter()
                .chain(m.parts.iter().flat_map(|p| p.fields))
                .filter(|f| f.doc.trim().is_empty())
                .map(|f| format!("{}: {} has no doc", m.name, f.name)),
        );
        for lint in m.lints {
            if !lint.code.starts_with(&format!("{}/", m.name)) || lint.refs.is_empty() || lint.instead.is_empty() {
                bad.push(format!("{} lacks its hurdle's name, a source or advice", lint.code));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn the_top_level_is_what_it_should_be() {
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "ci",
        "images",
        "src",
        "target",
        "templates",
        "tests",
    ];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || known.contains(&name.as_str()), "{name} does not belong at the top");
    }
}

#[test]
fn no_file_grows_past_six_hundred_lines() {
    let src = root().join("src");
    for path in files(&src) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}
