//! What is wrong with what a person wrote: collected, never thrown at the first fault.

mod human;
mod json;

pub use human::human;
pub use json::json;

use serde::Serialize;

/// A text that a person wrote, and the name they know it by.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path as the person gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// Line and column, both from 1, of a byte offset; columns count characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() + 1)
    }
}

/// A range of bytes in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// How bad a fault is. Only an error stops a bake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is written while one of these stands.
    Error,
    /// Unwise, but the person decides.
    Warning,
}

impl Severity {
    /// The word that a person reads.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One fault: what is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable name of the kind of fault: `spec/unknown-key`, `ssh/password-login`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop, never a secret.
    pub message: String,
    /// Where; none only where the whole file is at fault.
    pub span: Option<Span>,
    /// What to write instead.
    pub help: Option<String>,
}

/// Why a piece of text is not the thing it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong; names the thing, never a secret.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Fault {
    /// A fault without advice.
    pub fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), help: None }
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A kind of lint: what it finds, why that is bad, what to write instead. `hardtack explain` prints it.
#[derive(Debug, Clone, Copy)]
pub struct Lint {
    /// `hurdle/what-is-wrong`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it finds.
    pub finds: &'static str,
    /// Why that is bad.
    pub why: &'static str,
    /// What to write instead.
    pub instead: &'static str,
    /// Requirement numbers and the sources of the advice.
    pub refs: &'static [&'static str],
}

impl Lint {
    /// This kind of fault, found at a place.
    #[must_use]
    pub fn at(&self, span: Option<Span>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code: self.code,
            severity: self.severity,
            message: message.into(),
            span,
            help: Some(self.instead.to_owned()),
        }
    }
}

/// A piece of text that is refused unless it is the thing it should be.
pub trait FromText: Sized {
    /// What is expected, with its article: "a user name".
    const WHAT: &'static str;
    /// Whether a number may stand for it without quotes.
    const NUMBERS: bool = false;
    /// Reads it.
    ///
    /// # Errors
    /// A [`Fault`] that names what is wrong and what to write instead.
    fn from_text(text: &str) -> Result<Self, Fault>;
}

/// One line of text. Values of a spec that land in a file have narrower types.
impl FromText for String {
    const WHAT: &'static str = "text";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.chars().any(is_unseen) {
            return Err(Fault::new("this text holds a line break or an unseen character")
                .help("write it on one line, without control characters"));
        }
        Ok(text.to_owned())
    }
}

/// Nobody reads more faults than this, and a file made to have millions must not take hours.
const MOST: usize = 1000;

/// All the faults found so far.
#[derive(Debug, Clone, Default)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    left_out: usize,
    secrets: Vec<Span>,
}

impl Report {
    /// Adds a fault. Beyond a thousand errors, or as many warnings, it is only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let error = diagnostic.severity == Severity::Error;
        let kept = if error { self.errors } else { self.diagnostics.len() - self.errors };
        if kept < MOST {
            self.errors += usize::from(error);
            self.diagnostics.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds the faults of another report that are not in this one.
    pub fn merge(&mut self, other: Report) {
        for diagnostic in other.diagnostics {
            if !self.diagnostics.contains(&diagnostic) {
                self.push(diagnostic);
            }
        }
        self.secrets.extend(other.secrets);
    }

    /// Takes out the warnings of these names, and gives those of the names that there were.
    pub fn accept(&mut self, names: &[&'static str]) -> Vec<&'static str> {
        let is = |d: &Diagnostic| d.severity == Severity::Warning && names.contains(&d.code);
        let given = self.diagnostics.iter().filter(|d| is(d)).map(|d| d.code).collect();
        self.diagnostics.retain(|d| !is(d));
        given
    }

    /// Remembers a place whose text is drawn for nobody: a terminal is recorded, pasted and watched.
    pub fn secret(&mut self, place: Span) {
        self.secrets.push(place);
    }

    /// The places whose text is drawn for nobody.
    #[must_use]
    pub fn secrets(&self) -> &[Span] {
        &self.secrets
    }

    /// How many faults were only counted.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Adds an error that has a place.
    pub fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let (message, help) = (message.into(), help.into());
        self.push(Diagnostic {
            code,
            severity: Severity::Error,
            message,
            span: Some(span),
            help: (!help.is_empty()).then_some(help),
        });
    }

    /// Whether an error stands.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// The faults, by place; those without one first.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<_> = self.diagnostics.iter().collect();
        all.sort_by(|a, b| (a.span, a.severity, a.code, &a.message).cmp(&(b.span, b.severity, b.code, &b.message)));
        all.dedup();
        all
    }

    /// Number of errors and of warnings.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let all = self.sorted();
        let errors = all.iter().filter(|d| d.severity == Severity::Error).count();
        (errors, all.len() - errors)
    }
}

/// The known word that a person most likely meant, if one is near.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A very long word is no typing slip, and the distance costs its length.
    if word.len() > 64 {
        return None;
    }
    let squash = |w: &str| w.to_lowercase().replace(['-', ' '], "_");
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&squash(word), &squash(k)), k))
        .filter(|(distance, k)| *distance <= 1.max(k.len() / 3))
        .min()
        .map(|(_, k)| k)
}

/// Text fit for a message: control characters shown as escapes, cut at 60 characters.
#[must_use]
pub fn shown(text: &str) -> String {
    shown_up_to(60, text)
}

/// As [`shown`], cut at another length.
#[must_use]
pub fn shown_up_to(most: usize, text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        if is_unseen(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// Characters that a terminal or an editor hides or acts upon (controls, bidirectional overrides, zero width).
#[must_use]
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_characters_from_one() {
        let source = Source { name: "s".into(), text: "a: é\nbé: 1\n".into() };
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(source.text.find(": 1").unwrap()), (2, 3));
        assert_eq!(source.position(9999), (3, 1));
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["port", "root_login", "password_login"];
        assert_eq!(did_you_mean("prot", known), Some("port"));
        assert_eq!(did_you_mean("RootLogin", known), Some("root_login"));
        assert_eq!(did_you_mean("password-login", known), Some("password_login"));
        assert_eq!(did_you_mean("banner", known), None);
    }
}
