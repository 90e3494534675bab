//! `--templates DIR`: a person's own templates in the place of built-in ones.

use super::{Stop, USAGE};
use crate::template::Own;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

static OWN: OnceLock<Arc<Own>> = OnceLock::new();

/// No template is larger.
const LARGEST: u64 = 1 << 20;

/// Those that were asked for on the command line.
pub(super) fn own() -> Arc<Own> {
    OWN.get().cloned().unwrap_or_default()
}

#[derive(clap::Args)]
pub(super) struct Templates {
    /// Take the templates of this folder (DIR/firewall/gate.sh) in the place of the built-in ones of that name; values in them are quoted
    /// as in those, and the bundle and every report say which they are
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

/// Reads all of the folder, where one is named.
pub(super) fn read(args: &Templates) -> Result<(), Stop> {
    let Some(folder) = &args.templates else { return Ok(()) };
    let no = |path: &Path, why: &str| Stop::Because(USAGE, format!("{}: {why}", path.display()));
    let entries = |path: &Path| -> Result<Vec<std::fs::DirEntry>, Stop> {
        let all = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut all = all.map_err(|e| no(path, &format!("cannot be listed: {e}")))?;
        all.sort_by_key(std::fs::DirEntry::file_name);
        Ok(all)
    };
    let mut own = Own::default();
    for hurdle in entries(folder)? {
        if !hurdle.path().is_dir() {
            return Err(no(&hurdle.path(), "templates stand in a folder named after their hurdle: firewall/gate.sh"));
        }
        for file in entries(&hurdle.path())? {
            let path = file.path();
            if !std::fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() <= LARGEST) {
                return Err(no(&path, "this is no file of at most 1 MiB"));
            }
            let text =
                std::fs::read_to_string(&path).map_err(|e| no(&path, &format!("cannot be read as text: {e}")))?;
            let name = format!("{}/{}", hurdle.file_name().to_string_lossy(), file.file_name().to_string_lossy());
            own.add(name, text);
        }
    }
    // Set once, before any verb runs.
    let _ = OWN.set(Arc::new(own));
    Ok(())
}
