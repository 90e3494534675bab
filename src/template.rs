//! Text with holes, and the quoting of what falls into them. The one user of minijinja.
//!
//! A template is `templates/<hurdle>/<name>.<syntax>`; the last extension says whose syntax it is, and so how a value
//! is made inert. A value that the syntax cannot hold safely is refused, never passed on.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde::Serialize;
use std::collections::BTreeMap;

/// A template: part of the program, or a person's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template<'a> {
    /// Its path under `templates/`.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Names a template; it is read when the program is compiled, so one that is missing does not compile.
#[macro_export]
macro_rules! template {
    ($name:literal) => {
        $crate::template::Template {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $name)),
        }
    };
}

/// A person's own templates, by the names of the built-in ones whose place they take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own(BTreeMap<String, String>);

impl Own {
    /// One more.
    pub fn add(&mut self, name: String, text: String) {
        self.0.insert(name, text);
    }

    /// What is drawn for a built-in one: the person's, where there is one of its name.
    #[must_use]
    pub fn of<'a>(&'a self, built_in: Template<'a>) -> Template<'a> {
        match self.0.get(built_in.name) {
            Some(text) => Template { name: built_in.name, text },
            None => built_in,
        }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// A template that could not be drawn: ours to mend, or a value that its syntax cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault(String);

impl std::fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateFault {}

/// Draws a template.
///
/// # Errors
/// A name that the context does not have, or a value that the target's syntax cannot hold; the value is not shown.
pub fn render(template: Template<'_>, context: &impl Serialize) -> Result<String, TemplateFault> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    env.set_syntax(syntax.build().map_err(|e| TemplateFault(e.to_string()))?);
    env.set_auto_escape_callback(|name| match name.rsplit_once('.').map(|(_, syntax)| syntax) {
        Some("sh") => AutoEscape::Custom("sh".into()),
        Some("conf") => AutoEscape::Custom("conf".into()),
        Some("service" | "timer") => AutoEscape::Custom("service".into()),
        Some("rules") => AutoEscape::Custom("rules".into()),
        Some("nft") => AutoEscape::Custom("nft".into()),
        Some("hcl") => AutoEscape::Custom("hcl".into()),
        Some("plain") => AutoEscape::Custom("plain".into()),
        _ => AutoEscape::Custom("unknown".into()),
    });
    env.set_formatter(|out, state, value| {
        let syntax = match state.auto_escape() {
            AutoEscape::Custom(syntax) => syntax.to_string(),
            _ => "unknown".to_owned(),
        };
        let text = text(value)?;
        // `| safe`: text that a template has already drawn, on its way into another one.
        if value.is_safe() {
            return out.write_str(&text).map_err(Error::from);
        }
        out.write_str(&quoted(&syntax, &text).ok_or_else(|| {
            Error::new(ErrorKind::BadEscape, format!("a value cannot stand in the syntax `{syntax}`"))
        })?)
        .map_err(Error::from)
    });
    let fault = |e: &Error| {
        // Not the debug form: it prints the values, and one of them may be a secret.
        let line = e.line().map_or(String::new(), |l| format!(", line {l}"));
        TemplateFault(format!(
            "templates/{}{line}: {}",
            template.name,
            e.detail().map_or_else(|| e.kind().to_string(), ToOwned::to_owned)
        ))
    };
    env.add_template(template.name, template.text).map_err(|e| fault(&e))?;
    let made = env.get_template(template.name).map_err(|e| fault(&e))?;
    made.render(Value::from(Serde(context))).map_err(|e| fault(&e))
}

/// A word of systemd's `ExecStart=`, inert whatever is in it but control characters, which no word may have (systemd.service(5), COMMAND
/// LINES): `%` and `$` are read in quotes too, and so stand twice.
#[must_use]
pub fn exec_word(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            '%' | '$' => out.extend([c, c]),
            _ => out.push(c),
        }
    }
    out + "\""
}

// Numbers and text only: a bool would print as Python's `True`, and `none` is a hole that nobody filled.
fn text(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Number => Ok(value.to_string()),
        other => Err(Error::new(ErrorKind::InvalidOperation, format!("a {other} cannot be printed"))),
    }
}

// Words of these syntaxes have no quoting that every reader agrees on, so only characters that need none may pass.
fn quoted(syntax: &str, text: &str) -> Option<String> {
    let only =
        |extra: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c)).then(|| text.to_owned());
    match syntax {
        "sh" if !text.contains(['\0', '\n', '\r']) => shlex::try_quote(text).ok().map(std::borrow::Cow::into_owned),
        // sshd_config(5), sysctl.d(5): a word ends at a blank; `#`, quotes, `%` and `*` have meanings.
        "conf" => only("@._:/,+-*"),
        // systemd.service(5): `%` and `$` are expanded, quotes and backslashes are read.
        "service" => only("@._:/,+-="),
        // In quotes of HCL: `"` and `\\` end or change the text, `${` and `%{` are read.
        "hcl" => only("._-*"),
        // iptables-restore(8), nft(8).
        "rules" | "nft" => only("._:/,-"),
        // A person's own file, in a syntax that only its author knows.
        "plain" => Some(text.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(name: &'static str, text: &'static str, value: &str) -> Result<String, String> {
        render(Template { name, text }, &BTreeMap::from([("v", value)])).map_err(|e| e.to_string())
    }

    #[test]
    fn a_value_is_inert_in_the_syntax_that_it_lands_in_or_refused() {
        assert_eq!(draw("t/a.sh", "echo {{ v }}\n", "$(reboot) 'x'").unwrap(), "echo '$(reboot) '\"'x'\"\n");
        for (name, bad) in [
            ("t/a.conf", "no\nPermitRootLogin yes"),
            ("t/a.conf", "a b"),
            ("t/a.service", "%n"),
            ("t/a.rules", "-j ACCEPT"),
            ("t/a.nft", "1;flush"),
            ("t/a.txt", "zq"),
            ("t/a.sh", "a\nb"),
        ] {
            let fault = draw(name, "{{ v }}", bad).unwrap_err();
            assert!(fault.starts_with(&format!("templates/{name}, line 1: a value cannot stand")), "{fault}");
            assert!(!fault.contains(bad), "the value is shown: {fault}");
        }
        assert_eq!(draw("t/a.conf", "Port {{ v }}\n", "2222").unwrap(), "Port 2222\n");
    }

    #[test]
    fn a_word_of_a_command_line_is_inert() {
        assert_eq!(exec_word(r#"a "b" \ %n ${X} ; 'c'"#), r#""a \"b\" \\ %%n $${X} ; 'c'""#);
    }

    #[test]
    fn a_hole_that_nobody_fills_is_a_fault() {
        assert_eq!(draw("t/a.sh", "a\n{{ nope }}", "x").unwrap_err(), "templates/t/a.sh, line 2: `nope` is undefined");
        assert!(draw("t/a.sh", "{% if nope %}{% endif %}", "x").is_err());
        assert!(render(Template { name: "t/a.sh", text: "{{ v }}" }, &BTreeMap::from([("v", true)])).is_err());
    }
}
