//! The one way by which a word gets into XML or HTML.

use crate::report::is_unseen;
use std::fmt::{Display, Formatter, Result, Write};

/// A word of a spec, a guest or ours, between tags or in a quoted attribute. What would be markup there is written as a
/// reference; what XML forbids, or what a reader would not see or be misled by, is shown as `\u{1b}`.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // XML 1.0 has no way to write these two, not even as a reference.
                c if is_unseen(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => write!(f, "{}", c.escape_unicode())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_a_word() {
        let check = |raw, written| assert_eq!(Text(raw).to_string(), written);
        check("ünïcode 日本", "ünïcode 日本");
        check("</td><script>", "&lt;/td&gt;&lt;script&gt;");
        check("\" onload='x' &lt;", "&quot; onload=&#39;x&#39; &amp;lt;");
        check("]]>", "]]&gt;");
        check("\u{1b}[31m\0\n\r\u{85}", "\\u{1b}[31m\\u{0}\\u{a}\\u{d}\\u{85}");
        check("\u{202e}txt\u{2066}\u{feff}\u{ffff}", "\\u{202e}txt\\u{2066}\\u{feff}\\u{ffff}");
    }
}
