//! From a file's name to a sealed plan, with everything that is wrong said on the way.

use super::{BAD, Stop, USAGE, environment, published, templates, terminal};
use crate::archive::digest::sha256_hex;
use crate::facts::{Facts, ImageName};
use crate::plan::{Sealed, blocklist};
use crate::report::{FromText, Report, Source, human, shown};
use crate::spec::{self, Spec};
use crate::yaml::LARGEST;
use std::io::Read;
use std::path::Path;

/// A spec that was taken.
pub(super) struct Loaded {
    /// The spec.
    pub(super) spec: Spec,
    /// What is true of its image.
    pub(super) facts: Facts,
    /// What is asked of the machine.
    pub(super) plan: Sealed,
    /// SHA-256 of the file.
    pub(super) sha256: String,
}

/// Reads a file as text.
pub(super) fn source(path: &Path) -> Result<Source, Stop> {
    let name = path.display().to_string();
    let no = |why: &str| Stop::Because(USAGE, format!("{name}: {why}"));
    let mut file = std::fs::File::open(path).map_err(|e| no(&format!("cannot be read: {e}")))?;
    let about = file.metadata().map_err(|e| no(&e.to_string()))?;
    if about.is_dir() {
        return Err(no("this is a directory; name the spec in it"));
    }
    let too_large = || no(&format!("this is larger than {} MiB, which no spec of one machine is", LARGEST >> 20));
    if about.len() > LARGEST {
        return Err(too_large());
    }
    // A pipe has no length, and need never end.
    let mut bytes = Vec::new();
    (&mut file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| no(&format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
        no(&format!("line {line}: this is not UTF-8 text"))
    })?;
    Ok(Source { name, text })
}

/// Reads, judges and plans a text. The report has all that is wrong.
pub(super) fn judge(source: &Source, image: Option<&str>, report: &mut Report) -> Result<Option<Loaded>, Stop> {
    let Some(mut spec) = spec::read(source, report) else { return Ok(None) };
    if let Some(other) = image {
        spec.image.value = word::<ImageName>(other).map_err(|why| Stop::Because(USAGE, why))?;
    }
    plan(spec, source, report)
}

// What a spec names: keys at an address, a file as seen from its folder, one of the person's own home (`~/`), or all that a pattern
// with `*` in the last part finds, in the order of their names.
fn input(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    if published::is_address(name) {
        return published::keys(name);
    }
    let path = match name.strip_prefix("~/") {
        Some(rest) => environment::home().ok_or("HOME is not set, so nobody knows where `~` is")?.join(rest),
        None => folder.join(name),
    };
    let last = path.file_name().and_then(|last| last.to_str()).unwrap_or_default();
    let Some((before, after)) = last.split_once('*') else { return file(&path) };
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(parent).map_err(|e| format!("{}: {e}", shown(&parent.to_string_lossy())))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| e.to_string())?.file_name();
        // As a shell does: what begins with a dot is meant only where that is written.
        let meant = |name: &str| !name.starts_with('.') || before.starts_with('.');
        let fits =
            |name: &str| name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after);
        names.extend(name.to_str().filter(|n| meant(n) && fits(n)).map(str::to_owned));
    }
    names.sort();
    if names.is_empty() {
        return Err("no file is called like that".to_owned());
    }
    let mut all = Vec::new();
    for name in names {
        all.extend(file(&parent.join(&name)).map_err(|e| format!("{}: {e}", shown(&name)))?);
        // One whose last line has no end would run into the next.
        all.push(b'\n');
    }
    if all.len() as u64 > blocklist::LARGEST {
        return Err(format!("together they are larger than {} MiB", blocklist::LARGEST >> 20));
    }
    Ok(all)
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    if file.metadata().is_ok_and(|about| about.is_dir()) {
        return Err("this is a directory".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(blocklist::LARGEST + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > blocklist::LARGEST {
        return Err(format!("this is larger than {} MiB", blocklist::LARGEST >> 20));
    }
    Ok(bytes)
}

/// A word of the command line.
pub(super) fn word<T: FromText>(text: &str) -> Result<T, String> {
    T::from_text(text).map_err(|f| format!("{}; {}", f.message, f.help.unwrap_or_default()))
}

/// Plans a spec that was read from a text.
pub(super) fn plan(spec: Spec, source: &Source, report: &mut Report) -> Result<Option<Loaded>, Stop> {
    let facts = Facts::load(spec.image.0).map_err(Stop::bug)?;
    let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
    let own = templates::own();
    let plan = spec::plan(&spec, &facts, &|name| input(folder, name), &own, report).map_err(|why| {
        // What cannot be drawn from a person's own template is theirs to mend.
        let theirs = own.names().any(|name| why.contains(&format!("templates/{name}")));
        if theirs { Stop::Because(BAD, why) } else { Stop::bug(why) }
    })?;
    Ok(plan.map(|plan| Loaded { spec, facts, plan, sha256: sha256_hex(source.text.as_bytes()) }))
}

/// The same, for a verb that needs a good spec: what is wrong is drawn for a person, and an error ends it.
pub(super) fn good(source: &Source, image: Option<&str>) -> Result<Loaded, Stop> {
    let mut report = Report::default();
    let loaded = judge(source, image, &mut report)?;
    terminal::err(&human(&report, source, terminal::color_err()));
    loaded.ok_or(Stop::Said(BAD))
}
