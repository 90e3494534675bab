//! Text to typed value, with every fault collected and at its place; and back.
//!
//! serde stops at the first fault of a file. So the text becomes a tree of [`Node`]s first, and a section of the spec
//! reads itself from the tree through [`Fields`], which goes on after a fault. `section!` writes that reading.

mod secret;
mod text;

pub use text::{emit, parse};

use crate::report::{FromText, Lint, Report, Severity, Span, did_you_mean, shown};
use std::collections::BTreeMap;
use std::ops::Deref;

/// A spec larger than this is not read at all: a machine's spec is some kilobytes.
pub const LARGEST: u64 = 32 << 20;

/// A value and where it was written. No place means that it is a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands in the spec.
    pub span: Option<Span>,
}

impl<T> Spanned<T> {
    /// A default, written nowhere.
    pub const fn default_of(value: T) -> Self {
        Spanned { value, span: None }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A YAML value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// The shapes of a YAML value.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`, and nothing else.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction.
    Float,
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written; a key may stand twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

impl Kind {
    /// The shape in a person's words, with its article.
    #[must_use]
    pub fn described(&self) -> &'static str {
        match self {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Int(_) => "a whole number",
            Kind::Float => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

/// What can be wrong with any spec, before a hurdle looks at it. For `list` and `explain`.
pub const FAULTS: &[Lint] = &[
    Lint {
        code: "spec/byte-order-mark",
        severity: Severity::Error,
        finds: "a byte order mark before the first character",
        why: "other readers of YAML ignore a file that begins with one, without a word",
        instead: "save the file as UTF-8 without it",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/empty",
        severity: Severity::Error,
        finds: "a file with nothing in it",
        why: "there is no machine in it",
        instead: "begin with what `hardtack new` prints",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/not-yaml",
        severity: Severity::Error,
        finds: "text that is no YAML, or YAML that a spec does not use: anchors, merge keys, tags, a second document",
        why: "what another reader would make of it is not what you see",
        instead: "write plain keys, lists and values",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/tab",
        severity: Severity::Error,
        finds: "a tab used for indentation",
        why: "YAML forbids it, and every editor shows it differently",
        instead: "use spaces",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/unknown-key",
        severity: Severity::Error,
        finds: "a key that nobody reads",
        why: "a misspelt key would leave the machine as it is, and nobody would notice",
        instead: "the key that the message proposes; `hardtack explain SECTION` shows all",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/duplicate-key",
        severity: Severity::Error,
        finds: "a key that stands twice in one mapping",
        why: "one of the two would be lost",
        instead: "keep one of them",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/missing-key",
        severity: Severity::Error,
        finds: "a key that must be there and is not",
        why: "there is no sound default for it",
        instead: "add the key",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/wrong-type",
        severity: Severity::Error,
        finds: "a value of another shape than the key takes: text for a number, one value for a list",
        why: "guessing is how `no` becomes false and 0644 becomes 420",
        instead: "write the shape that the message names",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/bad-value",
        severity: Severity::Error,
        finds: "a value that its target could misread, or that cannot be what it should be",
        why: "it would break the file that it lands in, or be ignored there",
        instead: "what the message proposes",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/out-of-range",
        severity: Severity::Error,
        finds: "a number beyond what it counts",
        why: "no machine could follow it",
        instead: "a number in the range that the message names",
        refs: &["hardtack explain spec"],
    },
    Lint {
        code: "spec/no-such-file",
        severity: Severity::Error,
        finds: "a file beside the spec that cannot be read",
        why: "what it should bring would be missing from the machine",
        instead: "its name, as seen from the spec's folder",
        refs: &["hardtack explain spec"],
    },
];

/// Something that a spec can hold.
pub trait Read: Sized {
    /// Reads it; none when it is faulty, and then the report says why.
    fn read(node: &Node, report: &mut Report) -> Option<Self>;
}

fn wrong(node: &Node, wanted: &str, report: &mut Report) {
    let found = node.kind.described();
    let help = match &node.kind {
        Kind::Null => "give it a value, or leave the key out".to_owned(),
        Kind::Int(_) | Kind::Float | Kind::Bool(_) => "put it in quotes if it is meant as text".to_owned(),
        _ => String::new(),
    };
    report.error("spec/wrong-type", node.span, format!("expected {wanted}, found {found}"), help);
}

impl<T: FromText> Read for T {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let text = match &node.kind {
            Kind::Text(text) => text.clone(),
            Kind::Int(number) if T::NUMBERS => number.to_string(),
            _ => {
                wrong(node, T::WHAT, report);
                return None;
            }
        };
        match T::from_text(&text) {
            Ok(value) => Some(value),
            Err(fault) => {
                report.error("spec/bad-value", node.span, fault.message, fault.help.unwrap_or_default());
                None
            }
        }
    }
}

impl Read for bool {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Bool(v) => Some(*v),
            Kind::Text(text) if matches!(text.to_lowercase().as_str(), "yes" | "no" | "on" | "off" | "y" | "n") => {
                report.error(
                    "spec/wrong-type",
                    node.span,
                    format!("expected true or false, found `{text}`"),
                    "write true or false",
                );
                None
            }
            _ => {
                wrong(node, "true or false", report);
                None
            }
        }
    }
}

/// A whole number with its range, in the words of a message.
pub trait Whole: TryFrom<i128> {
    /// "a port (1 to 65535)".
    const WHAT: &'static str;
}

/// Reads a whole number.
pub fn whole<T: Whole>(node: &Node, report: &mut Report) -> Option<T> {
    let Kind::Int(v) = node.kind else {
        wrong(node, T::WHAT, report);
        return None;
    };
    let value = T::try_from(v).ok();
    if value.is_none() {
        report.error("spec/out-of-range", node.span, format!("expected {}, found {v}", T::WHAT), "");
    }
    value
}

impl Whole for u64 {
    const WHAT: &'static str = "a whole number, not negative";
}

impl Read for u64 {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        whole(node, report)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            wrong(node, "a list", report);
            return None;
        };
        // Every item is read, so that every faulty one is shown.
        let read: Vec<_> = items.iter().map(|item| T::read(item, report)).collect();
        read.into_iter().collect()
    }
}

impl<T: Read> Read for Option<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        T::read(node, report).map(Some)
    }
}

impl<T: Read> Read for Spanned<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        T::read(node, report).map(|value| Spanned { value, span: Some(node.span) })
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Map(pairs) = &node.kind else {
            wrong(node, "a mapping", report);
            return None;
        };
        let mut out = BTreeMap::new();
        let mut good = true;
        for (key, value) in pairs {
            if out.contains_key(&key.name) {
                report.error(
                    "spec/duplicate-key",
                    key.span,
                    format!("`{}` stands here twice", shown(&key.name)),
                    "remove one of them",
                );
                good = false;
            }
            match T::read(value, report) {
                Some(value) => drop(out.insert(key.name.clone(), value)),
                None => good = false,
            }
        }
        good.then_some(out)
    }
}

/// The keys of a mapping, taken one by one; what is left over is unknown.
pub struct Fields<'a> {
    span: Span,
    what: &'static str,
    pairs: Vec<(&'a Key, &'a Node)>,
    good: bool,
}

impl<'a> Fields<'a> {
    /// Opens a mapping: refuses another shape, keys that stand twice and keys that nobody knows.
    pub fn of(node: &'a Node, what: &'static str, known: &[&'static str], report: &mut Report) -> Option<Self> {
        let Kind::Map(all) = &node.kind else {
            wrong(node, what, report);
            return None;
        };
        let mut fields = Fields { span: node.span, what, pairs: Vec::new(), good: true };
        for (key, value) in all {
            if fields.pairs.iter().any(|(k, _)| k.name == key.name) {
                report.error(
                    "spec/duplicate-key",
                    key.span,
                    format!("`{}` stands here twice", shown(&key.name)),
                    "remove one of them",
                );
                fields.good = false;
            } else if known.contains(&key.name.as_str()) {
                fields.pairs.push((key, value));
            } else {
                let help = match did_you_mean(&key.name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                report.error(
                    "spec/unknown-key",
                    key.span,
                    format!("there is no key `{}` in {what}", shown(&key.name)),
                    help,
                );
                fields.good = false;
            }
        }
        Some(fields)
    }

    /// A key that must be there.
    pub fn required<T: Read>(&mut self, name: &'static str, report: &mut Report) -> Option<T> {
        match self.pairs.iter().find(|(k, _)| k.name == name) {
            Some((_, node)) => T::read(node, report),
            None => {
                report.error(
                    "spec/missing-key",
                    self.span,
                    format!("{} needs the key `{name}`", self.what),
                    format!("add `{name}:`"),
                );
                None
            }
        }
    }

    /// A key that may be left out; then the default holds.
    pub fn optional<T: Read>(
        &mut self,
        name: &'static str,
        default: impl FnOnce() -> T,
        report: &mut Report,
    ) -> Option<T> {
        match self.pairs.iter().find(|(k, _)| k.name == name) {
            Some((_, node)) => T::read(node, report),
            None => Some(default()),
        }
    }

    /// Where a key stands; none when it is left out.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<Span> {
        self.pairs.iter().find(|(k, _)| k.name == name).map(|(k, _)| k.span)
    }

    /// Whether every key was known and stood once.
    #[must_use]
    pub fn good(&self) -> bool {
        self.good
    }
}

/// A key of a section, for `hardtack explain` and for messages.
#[derive(Debug, Clone, Copy)]
pub struct FieldDoc {
    /// The key.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// What holds when it is left out; none when it must be there.
    pub default: Option<&'static str>,
}

/// A section that can tell what it means.
pub trait Described {
    /// What the section is for.
    const DOC: &'static str;
    /// Its keys, in the order of the file.
    const FIELDS: &'static [FieldDoc];
}

/// Writes the struct of a section, its strict reading and its manual from one text: the doc comments are the reference.
/// `key: Type = default` may be left out; `key: Type` must be there. The default is written as Rust; `or "…"` says it to people.
#[macro_export]
macro_rules! section {
    ($(#[doc = $doc:literal])+ pub struct $name:ident as $what:literal {
        $($(#[doc = $fdoc:literal])+ $field:ident : $type:ty $(= $default:expr, or $words:literal)?;)*
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[doc = $fdoc])+ pub $field: $type,)* }

        impl $crate::yaml::Read for $name {
            fn read(node: &$crate::yaml::Node, report: &mut $crate::report::Report) -> Option<Self> {
                let mut fields = $crate::yaml::Fields::of(node, $what, &[$(stringify!($field)),*], report)?;
                $(let $field: Option<$type> = $crate::section!(@read fields, report, $field $(, $default)?);)*
                if !fields.good() { return None; }
                Some($name { $($field: $field?,)* })
            }
        }

        impl $crate::yaml::Described for $name {
            const DOC: &'static str = concat!($($doc, "\n"),+);
            const FIELDS: &'static [$crate::yaml::FieldDoc] = &[$($crate::yaml::FieldDoc {
                name: stringify!($field), doc: concat!($($fdoc, "\n"),+), default: $crate::section!(@words $($words)?),
            }),*];
        }
    };
    (@read $fields:ident, $report:ident, $field:ident) => { $fields.required(stringify!($field), $report) };
    (@read $fields:ident, $report:ident, $field:ident, $default:expr) => { $fields.optional(stringify!($field), || $default, $report) };
    (@words) => { None };
    (@words $words:literal) => { Some($words) };
}

/// Writes an enum whose variants are words of the spec, and its strict reading.
#[macro_export]
macro_rules! choice {
    ($(#[doc = $doc:literal])+ pub enum $name:ident as $what:literal { $($(#[doc = $vdoc:literal])+ $variant:ident => $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant,)+ }

        impl $crate::report::FromText for $name {
            const WHAT: &'static str = $what;
            fn from_text(text: &str) -> Result<Self, $crate::report::Fault> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => {
                        let known = [$($word),+];
                        let help = match $crate::report::did_you_mean(text, known) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => format!("write one of: {}", known.join(", ")),
                        };
                        Err($crate::report::Fault::new(format!("`{}` is not {}", $crate::report::shown(text), $what)).help(help))
                    }
                }
            }
        }
    };
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "what `section!` writes is public")]
mod tests {
    use super::*;
    use crate::report::{Source, json};

    section! {
        /// A sample.
        pub struct Sample as "a sample" {
            /// Must be there.
            port: u64;
            /// May be left out.
            on: bool = false, or "false";
        }
    }

    fn faults(text: &str) -> Vec<String> {
        let mut report = Report::default();
        if let Some(node) = parse(text, &mut report) {
            let _ = Sample::read(&node, &mut report);
        }
        let source = Source { name: "t".into(), text: text.into() };
        json(&report, &source)
            .lines()
            .map(|l| {
                let v: serde_json::Value = serde_json::from_str(l).unwrap();
                format!(
                    "{}:{} {} {}",
                    v["line"],
                    v["column"],
                    v["code"].as_str().unwrap(),
                    v["message"].as_str().unwrap()
                )
            })
            .collect()
    }

    #[test]
    fn every_fault_of_a_file_is_shown_in_one_run() {
        assert_eq!(
            faults("prot: 1\non: yes\non: true\nx: 2\n"),
            [
                "1:1 spec/missing-key a sample needs the key `port`",
                "1:1 spec/unknown-key there is no key `prot` in a sample",
                "2:5 spec/wrong-type expected true or false, found `yes`",
                "3:1 spec/duplicate-key `on` stands here twice",
                "4:1 spec/unknown-key there is no key `x` in a sample",
            ]
        );
    }

    #[test]
    fn what_is_not_a_spec_has_a_place_and_a_word() {
        let cases = [
            ("", "1:1 spec/empty the file is empty"),
            ("  \n", "1:1 spec/empty the file is empty"),
            ("\u{feff}port: 1\n", "1:1 spec/byte-order-mark the file begins with a byte order mark"),
            ("port: &x 1\non: *x\n", "1:10 spec/not-yaml anchors and aliases (`&name`, `*name`) are not allowed here"),
            ("port: !!python/object 1\n", "1:23 spec/not-yaml tags (`!name`) are not allowed here"),
            ("port: 1\n---\nport: 2\n", "3:1 spec/not-yaml there is a second document here"),
            ("port: a: b\n", "1:8 spec/not-yaml a `:` is not expected here"),
            ("- 1\n", "1:1 spec/wrong-type expected a sample, found a list"),
            ("port:\n", "1:5 spec/wrong-type expected a whole number, not negative, found nothing"),
            ("port: -1\n", "1:7 spec/out-of-range expected a whole number, not negative, found -1"),
            ("port: 0x10\non: 1\n", "2:5 spec/wrong-type expected true or false, found a whole number"),
            ("\tport: 1\n", "1:1 spec/tab a tab is used for indentation"),
        ];
        for (text, expected) in cases {
            assert_eq!(faults(text), [expected], "{text:?}");
        }
        let bomb = format!("port: {}1{}\n", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(faults(&bomb).len(), 1, "{:?}", faults(&bomb));
        assert_eq!(faults("port: [1\n").len(), 1);
    }
}
