//! Text to a tree of nodes with their places. The one user of the YAML crate, with `emit`.

use super::secret;
use super::{Key, Kind, Node};
use crate::report::{Report, Span, shown};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

// The tree as the crate gives it; spans become ours right after.
enum Raw {
    Null,
    Bool(bool),
    Int(i128),
    Float,
    Text(String),
    List(Vec<serde_yaml::Spanned<Raw>>),
    Map(Vec<(serde_yaml::Spanned<String>, serde_yaml::Spanned<Raw>)>),
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;
    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Raw, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
        Ok(Raw::Int(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
        Ok(Raw::Int(v.into()))
    }
    fn visit_i128<E>(self, v: i128) -> Result<Raw, E> {
        Ok(Raw::Int(v))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Float)
    }
    fn visit_str<E>(self, v: &str) -> Result<Raw, E> {
        Ok(Raw::Text(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Raw, E> {
        Ok(Raw::Text(v))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = a.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut a: A) -> Result<Raw, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = a.next_key()? {
            pairs.push((key, a.next_value()?));
        }
        Ok(Raw::Map(pairs))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Raw, D::Error> {
        d.deserialize_any(RawVisitor)
    }
}

/// Reads a text into a tree. Strict: one document, no anchors, no tags, no tabs before a key, no byte order mark.
/// Every fault goes into the report.
pub fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let first = Span { start: 0, end: text.chars().next().map_or(0, char::len_utf8) };
    if text.starts_with('\u{feff}') {
        report.error(
            "spec/byte-order-mark",
            first,
            "the file begins with a byte order mark",
            "save it as UTF-8 without one",
        );
        return None;
    }
    if text.trim().is_empty() {
        report.error("spec/empty", first, "the file is empty", "`hardtack new` prints a spec to start from");
        return None;
    }
    let options = serde_yaml::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // Both stand in the tree, so that the second can be shown beside every other fault.
        duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::LastWins,
        merge_keys: serde_yaml::options::MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        with_snippet: false,
        budget: serde_yaml::budget! { max_depth: 64, max_nodes: 10_000, max_anchors: 0, max_aliases: 0 },
    };
    match serde_yaml::from_str_with_options::<serde_yaml::Spanned<Raw>>(text, options) {
        Ok(raw) => {
            let mut node = convert(text, raw);
            // What is wrong with the whole is shown at its first character; a file of comments only has no other place.
            if let Some((at, c)) = text.char_indices().find(|(_, c)| !c.is_whitespace()) {
                node.span = Span { start: at, end: at + c.len_utf8() };
            }
            secret::hide(&node, report);
            refuse_tabs(text, &node, report);
            Some(node)
        }
        Err(error) => {
            secret::hide_in_text(text, report);
            let (message, help) = words(&error.to_string());
            report.error("spec/not-yaml", place(text, &error), message, help);
            None
        }
    }
}

// Characters, as the crate counts them in a scanner's error, where it has no bytes to give.
fn place(text: &str, error: &serde_yaml::Error) -> Span {
    let Some(location) = error.location() else { return Span { start: 0, end: 0 } };
    let span = location.span();
    let start = span.byte_offset().filter(|at| *at < u64::from(u32::MAX)).map_or_else(
        || {
            text.char_indices()
                .nth(usize::try_from(span.offset()).unwrap_or(usize::MAX))
                .map_or(text.len(), |(at, _)| at)
        },
        |at| usize::try_from(at).unwrap_or(usize::MAX),
    );
    let end = start.saturating_add(usize::try_from(span.len()).unwrap_or(1).clamp(1, 200));
    within(text, Span { start, end })
}

// The crate speaks to developers; a person wants to know what to change.
fn words(error: &str) -> (String, &'static str) {
    let message = error.rsplit_once(" at line ").map_or(error, |(head, _)| head);
    let has = |part: &str| message.contains(part);
    let (message, help) = if has("Anchors") || has("Aliases") || has("alias") || has("anchor") {
        ("anchors and aliases (`&name`, `*name`) are not allowed here", "write the value out where it is used")
    } else if has("merge key") || has("Merge") {
        ("merge keys (`<<:`) are not allowed here", "write the keys out where they are used")
    } else if has("unsupported tag") {
        ("tags (`!name`) are not allowed here", "leave the tag out; put quotes around text that begins with `!`")
    } else if has("Depth") || has("recursion") {
        ("this is nested too deeply", "a spec is never nested more than a few levels")
    } else if has("budget") {
        ("this holds more values than a spec can", "a spec of one machine has some hundred values")
    } else if has("multiple YAML documents") {
        ("there is a second document here", "one file is one machine: remove the `---` and what follows it")
    } else if has("mapping values are not allowed") {
        ("a `:` is not expected here", "put quotes around text that holds `: `, and check the indentation")
    } else if has("tab") {
        ("a tab is used for indentation", "use spaces")
    } else if has("expected string scalar") {
        ("a key must be plain text", "write `key: value`")
    } else {
        return (
            format!("this is not YAML: {}", shown(message)),
            "check quotes, brackets and indentation on this line and the one before",
        );
    };
    (message.to_owned(), help)
}

// The crate also points past the end, where something is missing.
fn within(text: &str, span: Span) -> Span {
    let end = span.end.min(text.len());
    Span { start: span.start.min(end), end }
}

fn span_of(text: &str, location: serde_yaml::Location) -> Span {
    let span = location.span();
    let start = span.byte_offset().and_then(|v| usize::try_from(v).ok()).unwrap_or(0);
    let len = span.byte_len().and_then(|v| usize::try_from(v).ok()).unwrap_or(1).max(1);
    within(text, Span { start, end: start.saturating_add(len) })
}

fn convert(text: &str, raw: serde_yaml::Spanned<Raw>) -> Node {
    let mut span = span_of(text, raw.referenced);
    let kind = match raw.value {
        Raw::Null => Kind::Null,
        Raw::Bool(v) => Kind::Bool(v),
        Raw::Int(v) => Kind::Int(v),
        Raw::Float => Kind::Float,
        Raw::Text(v) => Kind::Text(v),
        Raw::List(items) => Kind::List(items.into_iter().map(|item| convert(text, item)).collect()),
        Raw::Map(pairs) => Kind::Map(
            pairs
                .into_iter()
                .map(|(key, value)| {
                    (Key { span: span_of(text, key.referenced), name: key.value }, convert(text, value))
                })
                .collect(),
        ),
    };
    // A block mapping has no width of its own: its first key stands for it.
    if let Kind::Map(pairs) = &kind
        && let Some((key, _)) = pairs.first()
        && span.end - span.start <= 1
    {
        span = key.span;
    }
    Node { span, kind }
}

// YAML forbids tabs as indentation; the parser lets some through, and editors show them as anything.
fn refuse_tabs(text: &str, node: &Node, report: &mut Report) {
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|item| refuse_tabs(text, item, report)),
        Kind::Map(pairs) => {
            for (key, value) in pairs {
                let line = text[..key.span.start].rfind('\n').map_or(0, |at| at + 1);
                let indent = &text[line..key.span.start];
                if indent.trim_start_matches([' ', '-', '\t']).is_empty()
                    && let Some(at) = indent.find('\t')
                {
                    report.error(
                        "spec/tab",
                        Span { start: line + at, end: line + at + 1 },
                        "a tab is used for indentation",
                        "use spaces",
                    );
                }
                refuse_tabs(text, value, report);
            }
        }
        _ => {}
    }
}

/// Draws a value as YAML that cloud-init's YAML 1.1 reader reads back as the same value.
///
/// # Errors
/// A value that YAML cannot hold; a bug of ours.
pub fn emit<T: serde::Serialize>(value: &T) -> Result<String, String> {
    // No folding: a key that is cut at its blanks is the same to a parser, but nobody finds it again with grep.
    let options = serde_yaml::ser_options! { folded_wrap_chars: usize::MAX };
    serde_yaml::to_string_with_options(value, options).map_err(|e| e.to_string())
}
