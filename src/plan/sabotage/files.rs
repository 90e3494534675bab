//! Files as such, broken on purpose: whatever is in them.

use super::{Change, Sabotage};
use crate::plan::{File, LIB};

// What init or cron runs, and skips without a word when it cannot.
pub(super) fn not_run(path: &str, file: &File) -> Option<Sabotage> {
    let name = path.rsplit('/').next().unwrap_or(path);
    (file.mode & 0o111 != 0 && !path.starts_with(LIB)).then(|| Sabotage {
        id: format!("{}/not run {name}", file.hurdle),
        hurdle: file.hurdle.to_owned(),
        what: format!("{path} cannot be run"),
        change: Change::Scripts { spoil: format!("chmod a-x {path}"), mend: format!("chmod {:o} {path}", file.mode) },
        word: path.to_owned(),
        eyes: Vec::new(),
    })
}

// A person's own file, of which nobody knows what reads it.
pub(super) fn altered(path: &str, file: &File) -> Option<Sabotage> {
    (file.hurdle == "files" && !path.starts_with(LIB)).then(|| Sabotage {
        id: format!("files/alter {path}"),
        hurdle: file.hurdle.to_owned(),
        what: format!("{path} has one line more"),
        change: Change::Scripts {
            spoil: format!("cp -a {path} {path}.sabotage && echo '# sabotage' >>{path}"),
            mend: format!("mv -f {path}.sabotage {path}"),
        },
        word: "own-files".to_owned(),
        eyes: Vec::new(),
    })
}

pub(super) fn looser(path: &str, file: &File) -> Sabotage {
    Sabotage {
        id: format!("{}/loosen {path}", file.hurdle),
        hurdle: file.hurdle.to_owned(),
        what: format!("anybody may read and write {path}"),
        change: Change::Scripts {
            spoil: format!("chmod {:o} '{path}'", file.mode | 0o666),
            mend: format!("chmod {:o} '{path}'", file.mode),
        },
        word: path.to_owned(),
        eyes: Vec::new(),
    }
}
