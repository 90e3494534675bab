//! `--report FILE`, as often as one likes: whole or not at all, and whatever the verdicts are.

use super::{Stop, USAGE};
use crate::prove::reporter::{Format, Reported};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The forms that the names ask for. A place where no file can be is told before any machine is booted, not after.
pub(super) fn formats(paths: &[PathBuf]) -> Result<Vec<(&Path, Format)>, Stop> {
    let mut formats = Vec::new();
    for path in paths {
        let no = |why: String| Stop::Because(USAGE, format!("{}: {why}", path.display()));
        let Some(format) = Format::of(path) else {
            return Err(no("a report is FILE.json, FILE.xml (JUnit) or FILE.html".to_owned()));
        };
        if path.is_dir() {
            return Err(no("this is a folder; a report is a file".to_owned()));
        }
        if !folder(path).is_dir() {
            return Err(no(format!("there is no folder {}; make it first", folder(path).display())));
        }
        formats.push((path.as_path(), format));
    }
    Ok(formats)
}

/// Writes all of them; one that cannot be written keeps no other back.
pub(super) fn write(reports: &[(&Path, Format)], runs: &[Reported]) -> Result<(), Stop> {
    let written = reports
        .iter()
        .map(|(path, format)| write_whole(path, &format.write(runs)).map_err(|e| format!("{}: {e}", path.display())));
    let trouble: Vec<String> = written.filter_map(Result::err).collect();
    if trouble.is_empty() { Ok(()) } else { Err(Stop::world(trouble.join("\n"))) }
}

// A reader never sees half a report. Others may read it, as far as the umask lets them: there is no secret in it, and CI services
// collect it as somebody else.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let readable = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(folder(path))?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let paths = [at("a.xml"), at("b.json"), at("gone/c.html"), at("d.html")];
        let reports: Vec<_> = paths.iter().map(|p| (p.as_path(), Format::of(p).unwrap())).collect();
        let Err(Stop::Because(_, why)) = write(&reports, &[]) else { panic!("one of them has no folder") };
        assert!(why.contains("gone/c.html") && !why.contains("a.xml"), "{why}");
        assert!(at("a.xml").exists() && at("b.json").exists() && at("d.html").exists());
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "nothing half is left: {names:?}");
    }
}
