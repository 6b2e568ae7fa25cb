//! The text of a manifest that is being written: keys, comments, and what a person has to decide.

use std::fmt::Write;

const WIDTH: usize = 78;

/// The word that marks what a person has to decide.
pub(crate) const DECIDE: &str = "DECIDE:";

/// A text, line by line.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) text: String,
    /// How many decisions are marked.
    pub(crate) decisions: usize,
}

impl Page {
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// An empty line and a table's header.
    pub(crate) fn table(&mut self, header: &str) {
        if !self.text.is_empty() {
            self.line("");
        }
        self.line(&format!("[{header}]"));
    }

    /// A key with a value that is written already.
    pub(crate) fn key(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) {
        self.key(key, &quoted(value));
    }

    /// A list of strings: on one line if it is short enough.
    pub(crate) fn list(&mut self, key: &str, values: &[String]) {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        let line = format!("{key} = [{}]", values.join(", "));
        if line.chars().count() <= WIDTH {
            return self.line(&line);
        }
        self.line(&format!("{key} = ["));
        for value in values {
            self.line(&format!("  {value},"));
        }
        self.line("]");
    }

    pub(crate) fn comment(&mut self, text: &str) {
        for line in wrapped(text) {
            self.line(&format!("# {line}"));
        }
    }

    pub(crate) fn decide(&mut self, text: &str) {
        self.decisions += 1;
        self.comment(&format!("{DECIDE} {text}"));
    }
}

/// Lines of a comment. A word is never broken, nor what is between backquotes.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut code = String::new();
    for word in text.split_whitespace() {
        code.push_str(word);
        if code.matches('`').count() % 2 == 1 {
            code.push(' ');
            continue;
        }
        let word = std::mem::take(&mut code);
        push(&mut lines, &word);
    }
    if !code.is_empty() {
        push(&mut lines, code.trim_end());
    }
    lines
}

fn push(lines: &mut Vec<String>, word: &str) {
    if let Some(line) = lines.last_mut() {
        let width = line.chars().count() + 1 + word.chars().count();
        if line.is_empty() {
            line.push_str(word);
        } else if width <= WIDTH - 2 {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
}

/// A string in the notation of TOML.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A text in which braces are no placeholders.
pub(crate) fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_wrapped_and_decisions_are_counted() {
        let mut page = Page::default();
        page.table("app");
        page.decide(&format!("{}`{} b` c", "word ".repeat(12), "a ".repeat(9)));
        page.list("short", &["a\"b".to_owned()]);
        page.list("long", &vec!["x".repeat(30); 3]);
        assert_eq!(page.decisions, 1);
        for line in page.text.lines() {
            assert!(line.len() <= WIDTH, "{line}");
        }
        assert!(page.text.contains("\n# `a a"), "{}", page.text);
        let parsed: toml::Table = toml::from_str(&page.text).unwrap();
        assert_eq!(parsed["app"]["short"][0].as_str(), Some("a\"b"));
    }
}
