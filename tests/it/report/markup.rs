//! Reads XML, and HTML that is written as carefully: every tag closed or void, every value quoted, every reference known.

/// What a text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A tag that opens, with what its attributes mean; `/name` for one that closes.
    Tag(String, Vec<(String, String)>),
    /// What stands between, as a reader sees it.
    Text(String),
}

const VOID: [&str; 2] = ["meta", "col"];

fn meaning(raw: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        let (name, after) = after.split_once(';').ok_or_else(|| format!("a bare & in {raw:?}"))?;
        out.push_str(before);
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "nbsp" => '\u{a0}',
            _ => name
                .strip_prefix('#')
                .and_then(|n| n.parse().ok())
                .and_then(char::from_u32)
                .ok_or_else(|| format!("&{name}; is unknown"))?,
        });
        rest = after;
    }
    out.push_str(rest);
    match out.chars().find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        Some(c) => Err(format!("{c:?} in {raw:?}")),
        None => Ok(out),
    }
}

fn attributes(mut rest: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let inner = rest.strip_prefix(' ').ok_or_else(|| format!("no blank before {rest:?}"))?;
        let (name, after) =
            inner.split_once("=\"").ok_or_else(|| format!("an attribute without a value: {inner:?}"))?;
        let (value, after) = after.split_once('"').ok_or_else(|| format!("an open quote: {inner:?}"))?;
        if name.is_empty()
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_:".contains(c))
            || value.contains('<')
        {
            return Err(format!("a bad attribute: {inner:?}"));
        }
        if found.iter().any(|(known, _)| known == name) {
            return Err(format!("{name} stands twice"));
        }
        found.push((name.to_owned(), meaning(value)?));
        rest = after;
    }
    Ok(found)
}

/// Reads a whole file.
pub(crate) fn read(file: &str) -> Result<Vec<Piece>, String> {
    let mut rest = file;
    for head in ["<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", "<!DOCTYPE html>\n"] {
        rest = rest.strip_prefix(head).unwrap_or(rest);
    }
    let (mut pieces, mut open, mut roots): (Vec<Piece>, Vec<String>, usize) = (Vec::new(), Vec::new(), 0);
    while let Some((text, after)) = rest.split_once('<') {
        if text.contains("]]>") || (open.is_empty() && !text.trim().is_empty()) {
            return Err(format!("this may not stand here: {text:?}"));
        }
        pieces.push(Piece::Text(meaning(text)?));
        let (tag, after) = after.split_once('>').ok_or("a tag that does not end")?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            pieces.push(Piece::Tag(tag.to_owned(), Vec::new()));
            continue;
        }
        let (inner, alone) = tag.strip_suffix('/').map_or((tag, false), |inner| (inner, true));
        let end = inner.find(' ').unwrap_or(inner.len());
        let (name, of) = inner.split_at(end);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(format!("<{name}> is no tag"));
        }
        roots += usize::from(open.is_empty());
        pieces.push(Piece::Tag(name.to_owned(), attributes(of)?));
        if alone {
            pieces.push(Piece::Tag(format!("/{name}"), Vec::new()));
        } else if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    if !open.is_empty() || roots != 1 || !rest.trim().is_empty() {
        return Err(format!("{roots} roots, and open at the end: {open:?}"));
    }
    Ok(pieces)
}

#[test]
fn what_is_not_well_formed_is_refused() {
    assert!(read("<a><b c=\"&lt;&#39;\"/>x &amp; y</a>\n").is_ok());
    for bad in [
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a b=c/>",
        "<a b=\"1\" b=\"2\"/>",
        "<a>&x;</a>",
        "<a>& </a>",
        "<a>\u{1b}</a>",
        "<a>]]></a>",
        "<a b=\"<\"/>",
        "text",
        "<a>&#27;</a>",
        "<a><b</a>",
        "<a \"/>",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
