//! One JSON object a line, for editors and scripts; format 1.

use super::{Report, Source};
use serde_json::json;

/// Draws every fault as one line of JSON: `{"format":1,"file","line","column","end_line","end_column","severity","code","message","help"}`.
/// Lines and columns count from 1, in characters; they are null where the whole file is at fault.
#[must_use]
pub fn json(report: &Report, source: &Source) -> String {
    let mut out = String::new();
    for d in report.sorted() {
        let start = d.span.map(|s| source.position(s.start));
        let end = d.span.map(|s| source.position(s.end));
        let line = json!({
            "format": 1, "file": source.name,
            "line": start.map(|p| p.0), "column": start.map(|p| p.1),
            "end_line": end.map(|p| p.0), "end_column": end.map(|p| p.1),
            "severity": d.severity, "code": d.code, "message": d.message, "help": d.help,
        });
        out.push_str(&line.to_string());
        out.push('\n');
    }
    out
}
