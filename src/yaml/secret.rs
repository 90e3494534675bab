//! What of a person's file is drawn for nobody, even where it stands at the wrong key or in a file that is no YAML.
//!
//! A type cannot tell: a password is most likely shown when its key is misspelt or stands twice, and then no type reads it.

use super::{Kind, Node};
use crate::report::{Report, Span};

const BEGIN: &str = "-----BEGIN ";
const PRIVATE: &str = "PRIVATE KEY-----";
// "openssh-key-v1" in base64: a private key pasted without its first line.
const BODY: &str = "b3BlbnNzaC1rZXktdjE";

fn names_a_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["pas", "pwd", "secret", "hash"].iter().any(|part| key.contains(part))
}

// As crypt(5) writes a hash, whatever key it stands at.
fn is_secret(text: &str) -> bool {
    text.contains(PRIVATE) || text.contains(BODY) || (text.starts_with('$') && text[1..].contains('$'))
}

/// Hides the secrets of a tree.
pub(super) fn hide(node: &Node, report: &mut Report) {
    match &node.kind {
        Kind::Text(text) if is_secret(text) => report.secret(node.span),
        Kind::List(items) => items.iter().for_each(|item| hide(item, report)),
        Kind::Map(pairs) => {
            for (key, value) in pairs {
                if is_secret(&key.name) {
                    report.secret(key.span);
                }
                // `password_login: yes` tells nothing.
                let told = matches!(&value.kind, Kind::Bool(_) | Kind::Null)
                    || matches!(&value.kind, Kind::Text(text) if ["yes", "no", "on", "off"].contains(&text.as_str()));
                if names_a_secret(&key.name) && !told {
                    hide_all(value, report);
                }
                hide(value, report);
            }
        }
        _ => {}
    }
}

fn hide_all(node: &Node, report: &mut Report) {
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|item| hide_all(item, report)),
        Kind::Map(pairs) => {
            for (key, value) in pairs {
                report.secret(key.span);
                hide_all(value, report);
            }
        }
        _ => report.secret(node.span),
    }
}

/// Hides what may be secret in a text that is no YAML: rather too much than too little.
pub(super) fn hide_in_text(text: &str, report: &mut Report) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.trim_end().len();
        if let Some((key, _)) = line.split_once(':').filter(|_| names_a_secret(line)) {
            report.secret(Span { start: at + key.len() + 1, end });
        } else if let Some(first) = [" $", "\"$", "'$", BODY].iter().filter_map(|mark| line.find(mark)).min() {
            report.secret(Span { start: at + first, end });
        }
        at += line.len();
    }
    let mut from = 0;
    while let Some(start) = text[from..].find(BEGIN).map(|at| from + at) {
        let end = text[start..].find("-----END ").map_or(text.len(), |at| start + at);
        report.secret(Span { start, end });
        from = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::report::{Report, Source, Span, human};

    // What is drawn when every line of a text is at fault.
    fn drawn(text: &str) -> String {
        let mut report = Report::default();
        let _ = parse(text, &mut report);
        let source = Source { name: "t".into(), text: text.into() };
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            report.error("x/y", Span { start: at, end: at + 1 }, "m", "");
            at += line.len();
        }
        human(&report, &source, false)
    }

    #[test]
    fn a_secret_is_drawn_from_no_file() {
        for text in [
            "password_hash: S3CRET\n",
            "password: 'S3CRET'\npassword: \"S3CRET\"\n",
            "a: [{name: x, passwrd: S3CRET, b: 1}]\n",
            "password_hash: [S3CRET, {S3CRET: S3CRET}]\n",
            "password_hash:\n  - S3CRET\n  - x: S3CRET\n",
            "password_hash: |\n  S3CRET\n  S3CRET\nb: 1\n",
            "password_hash: >-\n  S3CRET\n\n  S3CRET\nb: 1\n",
            "password_hash: S3CRET and\n  S3CRET\nb: 1\n",
            "password_hash: \"S3CRET and\n  S3CRET\"\nb: 1\n",
            "é: 1\nhsh: $6$salt$S3CRET\n",
            "keys:\n  - |\n    -----BEGIN OPENSSH PRIVATE KEY-----\n    S3CRET\n    -----END OPENSSH PRIVATE KEY-----\n",
            "keys: [\"-----BEGIN OPENSSH PRIVATE KEY-----\\nS3CRET\"]\n",
            "keys: [b3BlbnNzaC1rZXktdjEAAAAS3CRET]\n",
            // No YAML.
            "password_hash: S3CRET: x\n",
            "a: [1\nb: {name: x, password: S3CRET}\n",
            "a: [1\nhsh: $6$salt$S3CRET\n",
            "a: \t[1\nkeys:\n-----BEGIN OPENSSH PRIVATE KEY-----\nS3CRET\n-----END OPENSSH PRIVATE KEY-----\n",
        ] {
            let drawn = drawn(text);
            assert!(!drawn.contains("S3CRET") && drawn.contains('…'), "{text}\n{drawn}");
        }
    }

    #[test]
    fn what_is_no_secret_is_drawn() {
        let text = "ssh:\n  password_login: yes\n  port: 22\naccounts: { sudo: with-password }\n";
        let drawn = drawn(text);
        assert!(text.lines().all(|line| drawn.contains(line)), "{drawn}");
    }
}
