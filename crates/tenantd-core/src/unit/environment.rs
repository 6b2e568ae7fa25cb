//! The environment of a service: `Environment=` and the files that `EnvironmentFile=` names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Surroundings;
use super::specifier::Specifiers;
use super::syntax::Settings;
use super::words::{is_name, split};

/// The variables of a service, and what a person has to know about them.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) variables: BTreeMap<String, String>,
    pub(super) unread: Vec<Unread>,
    /// Files whose variables are among `variables`.
    pub(super) read: Vec<String>,
}

/// A file that does not exist, or could not be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) path: String,
    pub(super) why: String,
    /// The service starts without it.
    pub(super) optional: bool,
}

impl Environment {
    pub(super) fn of(
        settings: &Settings,
        specifiers: &Specifiers<'_>,
        unknown: &mut BTreeSet<char>,
        host: &dyn Surroundings,
    ) -> Self {
        let mut environment = Self::default();
        for value in settings.all("Environment") {
            for word in split(&specifiers.replace(value, unknown)) {
                environment.set(word.split_once('='));
            }
        }
        for value in settings.all("EnvironmentFile") {
            let path = specifiers.replace(value.trim_start_matches('-'), unknown);
            match host.read(Path::new(&path)) {
                Ok(Some(text)) => {
                    for (name, value) in assignments(&text) {
                        environment.set(Some((&name, &value)));
                    }
                    environment.read.push(path);
                }
                Ok(None) => environment.unread.push(Unread {
                    path,
                    why: "does not exist here".to_owned(),
                    optional: value.starts_with('-'),
                }),
                Err(error) => environment.unread.push(Unread {
                    path,
                    why: format!("cannot be read: {error}"),
                    optional: false,
                }),
            }
        }
        for value in settings.all("UnsetEnvironment") {
            for word in split(&specifiers.replace(value, unknown)) {
                let (name, only) = match word.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (word.as_str(), None),
                };
                let is_meant = |value: &String| only.is_none_or(|only| only == value);
                if environment.variables.get(name).is_some_and(is_meant) {
                    environment.variables.remove(name);
                }
            }
        }
        environment
    }

    fn set(&mut self, assignment: Option<(&str, &str)>) {
        if let Some((name, value)) = assignment.filter(|(name, _)| is_name(name)) {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// The assignments in an environment file. It is no shell script: nothing is expanded.
fn assignments(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        rest = rest.trim_start();
        if rest.starts_with(['#', ';']) {
            rest = after_line(rest);
            continue;
        }
        let Some(at) = rest.find(['=', '\n']) else {
            break;
        };
        if rest.as_bytes()[at] == b'\n' {
            rest = &rest[at..];
            continue;
        }
        let name = rest[..at].trim_end().to_owned();
        let (value, length) = value(&rest[at + 1..]);
        rest = &rest[at + 1 + length..];
        found.push((name, value));
    }
    found
}

fn after_line(text: &str) -> &str {
    text.find('\n').map_or("", |at| &text[at..])
}

/// A value, and the length of its text up to the end of the line.
fn value(text: &str) -> (String, usize) {
    let mut value = String::new();
    // Whitespace without quotes counts only if something follows.
    let mut space = String::new();
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, '\n') => return (value, at),
            (None, '"' | '\'') if value.is_empty() || space.is_empty() => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (Some('\''), _) => value.push(c),
            (_, '\\') => {
                let Some((_, escaped)) = chars.next() else {
                    break;
                };
                value.push_str(&std::mem::take(&mut space));
                match (quote, escaped) {
                    (_, '\n') => {}
                    (Some(_), '"' | '\\' | '`' | '$') | (None, _) => value.push(escaped),
                    (Some(_), _) => value.extend(['\\', escaped]),
                }
            }
            (None, _) if c.is_whitespace() => {
                if !value.is_empty() {
                    space.push(c);
                }
            }
            (Some(_) | None, _) => {
                value.push_str(&std::mem::take(&mut space));
                value.push(c);
            }
        }
    }
    (value, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_systemd_does_it() {
        let text = "# c\n; c\nA=1 2  \nB=\"x \\\"y\\\" \\z\"  \r\nC='a \\ b'\nD=a\\\n b\\ \nnothing\nE=\nF = \"two\nlines\"\nG=it\"s one\"\nH=last";
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let wanted = [
            ("A", "1 2"),
            ("B", "x \"y\" \\z"),
            ("C", "a \\ b"),
            ("D", "a b "),
            ("E", ""),
            ("F", "two\nlines"),
            ("G", "its one"),
            ("H", "last"),
        ];
        assert_eq!(assignments(text), wanted.map(own));
    }
}
