//! Faults as a person reads them: the place underlined in its own text. The one user of annotate-snippets.

use super::{Report, Severity, Source, Span, is_unseen};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Longest line of the source that is shown; a longer one is cut around the place.
const WIDEST: usize = 120;

/// What is drawn in place of a secret.
const HIDDEN: char = '…';

/// Draws every fault with its excerpt, and a last line that counts them.
#[must_use]
pub fn human(report: &Report, source: &Source, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for d in report.sorted() {
        let level = match d.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(d.message.as_str()).id(d.code);
        let excerpt = d.span.map(|span| Excerpt::of(source, span, report.secrets()));
        let mut group = Group::with_title(title);
        if let Some(e) = &excerpt {
            group = group.element(
                Snippet::source(e.text.as_str())
                    .path(source.name.as_str())
                    .line_start(e.line)
                    .annotation(AnnotationKind::Primary.span(e.start..e.end)),
            );
        } else {
            group = group.element(annotate_snippets::Origin::path(source.name.as_str()));
        }
        if let Some(help) = &d.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    let (errors, warnings) = report.counts();
    if errors + warnings > 0 {
        let many = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let more = match report.left_out() {
            0 => String::new(),
            left_out => format!(", and {left_out} more that are not shown"),
        };
        out.push_str(&format!("{}: {}, {}{more}\n", source.name, many(errors, "error"), many(warnings, "warning")));
    }
    out
}

/// The line that a place begins on, without its secrets, made safe for a terminal and cut to a width that can be read.
struct Excerpt {
    text: String,
    line: usize,
    start: usize,
    end: usize,
}

impl Excerpt {
    fn of(source: &Source, span: Span, secrets: &[Span]) -> Self {
        let text = &source.text;
        let floor = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(span.start), floor(span.end.max(span.start)));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = end.clamp(start, line_end);
        // Around the place, so that one line of ten megabytes stays one line of a screen.
        let from = if start - line_start > WIDEST { floor(start - WIDEST / 2) } else { line_start };
        let to = if line_end - from > 2 * WIDEST { floor(from + 2 * WIDEST) } else { line_end };
        let secrets: Vec<_> = secrets.iter().filter(|s| s.start < to && s.end > from).collect();
        let mut shown = String::new();
        let (mut shown_start, mut shown_end) = (None, None);
        let mut hiding = false;
        for (at, c) in text[from..to].char_indices() {
            let at = from + at;
            let hidden = secrets.iter().any(|s| (s.start..s.end).contains(&at));
            // The one mark of a secret stands for each of its characters, so a place inside it begins at the mark.
            let here = if hidden && hiding { shown.len() - HIDDEN.len_utf8() } else { shown.len() };
            if at >= start && shown_start.is_none() {
                shown_start = Some(here);
            }
            if at >= end && shown_end.is_none() {
                shown_end = Some(if hidden && hiding { shown.len() } else { here });
            }
            let again = hidden && hiding;
            hiding = hidden;
            match c {
                _ if again => {}
                _ if hidden => shown.push(HIDDEN),
                '\t' => shown.push_str("  "),
                c if is_unseen(c) => shown.push('\u{fffd}'),
                c => shown.push(c),
            }
        }
        let start_at = shown_start.unwrap_or(shown.len());
        let mut end_at = shown_end.unwrap_or(shown.len());
        if end_at <= start_at {
            // A place of no width is drawn one character wide.
            end_at = shown[start_at..].chars().next().map_or(start_at, |c| start_at + c.len_utf8());
        }
        if shown.is_empty() {
            shown.push(' ');
        }
        Excerpt { text: shown, line: source.position(start).0, start: start_at, end: end_at }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Report, Source, Span};

    #[test]
    fn a_fault_is_drawn_at_its_place() {
        let source = Source { name: "m.yaml".into(), text: "hardtack: 1\nnaem: x\n".into() };
        let mut report = Report::default();
        report.error("spec/unknown-key", Span { start: 12, end: 16 }, "there is no key `naem`", "did you mean `name`?");
        let drawn = super::human(&report, &source, false);
        let expected = "\
error[spec/unknown-key]: there is no key `naem`
 --> m.yaml:2:1
  |
2 | naem: x
  | ^^^^
  |
  = help: did you mean `name`?

m.yaml: 1 error, 0 warnings
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_secret_is_not_drawn_wherever_the_fault_is() {
        let source = Source { name: "m".into(), text: "{ naem: x, password_hash: hunter2, b: 1 }\n".into() };
        let at = |word: &str| {
            let start = source.text.find(word).unwrap();
            Span { start, end: start + word.len() }
        };
        let cases = [("naem", 2, 4), ("hunter2", 26, 1), ("ter", 26, 1), ("b", 29, 1), ("2, b", 26, 4)];
        for (word, from, wide) in cases {
            let mut report = Report::default();
            report.secret(at("hunter2"));
            report.error("x/y", at(word), "m", "");
            let drawn = super::human(&report, &source, false);
            let expected =
                format!("1 | {{ naem: x, password_hash: …, b: 1 }}\n  | {}{}\n", " ".repeat(from), "^".repeat(wide));
            assert!(drawn.contains(&expected), "{word}:\n{drawn}");
        }
    }

    #[test]
    fn more_faults_than_anyone_reads_are_counted() {
        let source = Source { name: "m".into(), text: "x".into() };
        let mut report = Report::default();
        for n in 0..3000 {
            report.error("x/y", Span { start: 0, end: 1 }, n.to_string(), "");
        }
        let drawn = super::human(&report, &source, false);
        assert!(drawn.ends_with("\nm: 1000 errors, 0 warnings, and 2000 more that are not shown\n"));
    }

    #[test]
    fn no_place_is_too_odd_to_draw() {
        for text in ["", "\n", "é", "\u{1b}[31m: \u{202e}x", &"x".repeat(1_000_000)] {
            let source = Source { name: "m".into(), text: text.into() };
            for (start, end) in [(0, 0), (0, 1), (1, 2), (7, 3), (500_000, 600_000), (usize::MAX - 1, usize::MAX)] {
                let mut report = Report::default();
                report.error("x/y", Span { start, end }, "m", "h");
                let drawn = super::human(&report, &source, false);
                assert!(drawn.len() < 2000 && !drawn.contains('\u{1b}'), "{drawn}");
            }
        }
    }
}
