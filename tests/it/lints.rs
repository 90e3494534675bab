//! Annotated specs: under each faulty line stands what must be said of it. `UPDATE=1` rewrites the annotations.

use crate::support::{hardtack, root};
use hardtack::hurdle::MANUALS;
use hardtack::plan::lints;

struct Said {
    line: usize,
    mark: String,
}

// What `hardtack check` says of a file, as the annotations write it.
fn said(path: &std::path::Path) -> Vec<Said> {
    let done = hardtack().args(["check", "--format", "json"]).arg(path).output().unwrap();
    String::from_utf8(done.stdout)
        .unwrap()
        .lines()
        .map(|l| {
            let v: serde_json::Value = serde_json::from_str(l).unwrap();
            let number = |key: &str| usize::try_from(v[key].as_u64().unwrap_or(1)).unwrap();
            let (line, from) = (number("line"), number("column"));
            let to = if number("end_line") == line { number("end_column").max(from + 1) } else { from + 1 };
            let what = format!(
                "{}[{}] {}",
                v["severity"].as_str().unwrap(),
                v["code"].as_str().unwrap(),
                v["message"].as_str().unwrap()
            );
            // A comment cannot begin left of the place that it points at.
            let mark = if from > 1 {
                format!("#{}{} {what}", " ".repeat(from - 2), "^".repeat(to - from))
            } else {
                format!("#< {what}")
            };
            Said { line, mark }
        })
        .collect()
}

fn is_mark(line: &str) -> bool {
    line.starts_with("#<") || line.strip_prefix('#').is_some_and(|l| l.trim_start_matches(' ').starts_with('^'))
}

#[test]
fn every_annotated_spec_is_judged_as_annotated() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut bad = Vec::new();
    let mut seen = String::new();
    let mut files: Vec<_> = std::fs::read_dir(root().join("tests/lints")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let said = said(&path);
        // Annotations are comments, so the tool's line numbers count them; what is expected is put under each line anew.
        let mut drawn = String::new();
        for (at, line) in text.lines().enumerate() {
            if is_mark(line) {
                continue;
            }
            drawn.push_str(line);
            drawn.push('\n');
            for s in said.iter().filter(|s| s.line == at + 1) {
                drawn.push_str(&s.mark);
                drawn.push('\n');
            }
        }
        seen.push_str(&drawn);
        if update {
            std::fs::write(&path, &drawn).unwrap();
        } else if drawn != text {
            bad.push(format!("{}:\n{drawn}", path.display()));
        }
    }
    assert!(!update, "rewritten; read the diff, and run again without UPDATE");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    for line in seen.lines().filter(|l| is_mark(l)) {
        let code = line.split(['[', ']']).nth(1).unwrap();
        let explained = hardtack().args(["explain", code]).output().unwrap();
        assert!(explained.status.success(), "nothing explains {code}");
    }
    for lint in MANUALS.iter().flat_map(|m| m.lints).chain(lints::ALL) {
        assert!(seen.contains(&format!("[{}]", lint.code)), "no sample in tests/lints shows {}", lint.code);
    }
}
