//! The words for an error of the TOML parser: its cause in the text, and what to write instead.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;
use toml::de::{DeValue, Error};

use super::super::problem::{Problems, Span};
use super::super::reference::{Key, Kind};
use super::super::suggest::array;
use super::outline::{Outline, Scalar};

/// Quotation marks of word processors, which TOML does not know.
const TYPOGRAPHIC: [char; 7] = ['“', '”', '„', '‘', '’', '«', '»'];

/// What is wrong in the text, and how to correct it.
struct Said {
    span: Span,
    message: String,
    help: Option<String>,
    /// Where it begins, if that is elsewhere.
    begins: Option<Span>,
}

impl Said {
    fn new(span: Span, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            help: Some(help.into()),
            begins: None,
        }
    }
}

/// Whether a key or a table is given a second time.
pub(super) fn is_duplicate(error: &Error) -> bool {
    error.message() == "duplicate key"
}

/// The value without quotes that an error is about, if it is about one.
pub(super) fn bare_value<'o>(error: &Error, outline: &'o Outline) -> Option<&'o Scalar> {
    let around = [
        "missing ",
        "unexpected `=`",
        "unexpected key",
        "unclosed",
        "extra",
        "key ",
    ];
    if around
        .iter()
        .any(|begin| error.message().starts_with(begin))
    {
        return None;
    }
    let scalar = outline.scalar(super::span(error).start);
    scalar.filter(|scalar| scalar.bare)
}

/// Reports one error.
pub(super) fn report(text: &str, error: &Error, outline: &Outline, problems: &mut Problems) {
    let span = super::span(error);
    if is_duplicate(error) {
        return duplicate(text, &span, outline, problems);
    }
    let said = bare_value(error, outline)
        .and_then(|scalar| bare(text, scalar))
        .or_else(|| separator(text, &span, error.message()))
        .or_else(|| string(text, &span, error.message(), outline))
        .or_else(|| open(text, &span, error.message(), outline))
        .unwrap_or_else(|| Said {
            span,
            message: error.message().to_owned(),
            help: None,
            begins: None,
        });
    let problem = problems.report(&said.span, format!("invalid TOML: {}", said.message));
    if let Some(help) = said.help {
        problem.help(help);
    }
    if let Some(begins) = said.begins {
        problem.also(&begins, "it begins here");
    }
}

fn duplicate(text: &str, span: &Span, outline: &Outline, problems: &mut Problems) {
    let name = text.get(span.clone()).unwrap_or_default();
    let header = outline.entry(span.start).is_some_and(|entry| entry.header);
    let path = outline.path(span.start).unwrap_or_default();
    let (message, help) = match path {
        [tenants, _] if tenants == "tenants" => (
            format!("two tenants are named {name}"),
            "remove one of them, or rename it",
        ),
        path if header => (
            format!("the table [{}] begins a second time", path.join(".")),
            "move all its keys below one header",
        ),
        _ => (format!("`{name}` is set twice"), "remove one of them"),
    };
    let problem = problems.report(span, format!("invalid TOML: {message}"));
    problem.help(help);
    if let Some(first) = outline.before(span.start) {
        problem.note("second").also(&first, "first");
    }
}

/// A value without quotes.
fn bare(text: &str, scalar: &Scalar) -> Option<Said> {
    let written = text.get(scalar.span.clone())?;
    let key = Key::named(&scalar.key);
    if written.trim().is_empty() {
        return Some(Said {
            span: scalar.span.clone(),
            message: format!("`{}` has no value", scalar.key),
            help: key.map(|key| format!("for example `{}`", key.usage())),
            begins: None,
        });
    }
    let word = written.trim_matches(TYPOGRAPHIC);
    let message = if word != written {
        format!("{written} has quotation marks that are not `\"`")
    } else if word.parse::<Ipv4Addr>().is_ok() {
        format!("the address {word} is not in quotes")
    } else if word.parse::<Ipv4Network>().is_ok() {
        format!("the network {word} is not in quotes")
    } else if key.is_some_and(|key| key.kind == Kind::Permissions) {
        format!("the mode {word} is not in quotes")
    } else {
        format!("the value {word} is not in quotes")
    };
    let help = match quoted(scalar, key, word) {
        Some(right) if scalar.item => format!("quote it: `{right}`"),
        Some(right) if right.contains('"') => format!("quote it: `{} = {right}`", scalar.key),
        Some(right) => format!("write `{} = {right}`", scalar.key),
        None => "quote it".to_owned(),
    };
    Some(Said::new(scalar.span.clone(), message, help))
}

/// The value as it should be written.
fn quoted(scalar: &Scalar, key: Option<&Key>, word: &str) -> Option<String> {
    if word.contains(['"', '\\']) {
        return None;
    }
    let lower = word.to_lowercase();
    Some(match key.map(|key| key.kind) {
        Some(Kind::Flag) if ["true", "yes", "on"].contains(&lower.as_str()) => "true".to_owned(),
        Some(Kind::Flag) if ["false", "no", "off"].contains(&lower.as_str()) => "false".to_owned(),
        Some(Kind::Private) if ["true", "yes", "on"].contains(&lower.as_str()) => "true".to_owned(),
        Some(Kind::Command | Kind::Texts(_) | Kind::Paths(_) | Kind::Folders | Kind::Private)
            if !scalar.item =>
        {
            array(word)
        }
        _ => format!("\"{word}\""),
    })
}

/// The line around a position, without its indentation and the space at its end.
fn line(text: &str, at: usize) -> Span {
    let start = text[..at].rfind('\n').map_or(0, |found| found + 1);
    let end = text[at..].find('\n').map_or(text.len(), |found| at + found);
    let line = &text[start..end];
    let start = end - line.trim_start().len();
    start..start + line.trim().len()
}

/// The line around a position; within braces, only the key and the value there.
fn part(text: &str, at: usize) -> Span {
    let at = text.floor_char_boundary(at.min(text.len()));
    let mut whole = line(text, at);
    let inner = text[whole.start.min(at)..at].rfind(['{', ',']);
    if let Some(found) = inner {
        let after = whole.start + found + 1;
        let end = text[at..whole.end.max(at)].find([',', '}']);
        whole.end = end.map_or(whole.end, |found| at + found);
        let part = &text[after..whole.end];
        whole.start = whole.end - part.trim_start().len();
        whole.end = whole.start + part.trim().len();
    }
    whole
}

/// A key and a value without `=` between them, or a line that is neither.
fn separator(text: &str, span: &Span, message: &str) -> Option<Said> {
    let lines = [
        "key with no value",
        "missing assignment",
        "invalid unquoted key",
        "invalid key-value pair",
    ];
    if !lines.iter().any(|begin| message.starts_with(begin)) {
        return None;
    }
    let whole = part(text, span.start);
    let line = &text[whole.clone()];
    let word_end = line.find(|c: char| c.is_whitespace() || ":={".contains(c));
    let (word, rest) = line.split_at(word_end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    if ["//", ";", "--"]
        .iter()
        .any(|begin| line.starts_with(begin))
    {
        let message = "this line is neither a key nor a comment";
        return Some(Said::new(whole, message, "begin a comment with `#`"));
    }
    if line.ends_with(']') && !line.contains(['=', '[']) {
        let help = format!("write `[{line}`");
        return Some(Said::new(whole, "the header has no `[`", help));
    }
    if let Some(value) = rest.strip_prefix(':') {
        let message = format!("`{word}` is followed by `:` and not by `=`");
        return Some(Said::new(whole, message, without_colon(word, value.trim())));
    }
    if !word.starts_with(|c: char| c.is_alphanumeric() || "\"'-_".contains(c)) {
        let message = "this line is neither a header, a key nor a comment";
        let help = "write `[TABLE]` or `KEY = VALUE`: a manifest is TOML, not JSON or YAML";
        return Some(Said::new(whole, message, help));
    }
    if rest.is_empty() {
        let usage = Key::named(word).map(Key::usage);
        let usage = usage.unwrap_or_else(|| format!("{word} = VALUE"));
        let message = format!("`{word}` has no value");
        return Some(Said::new(whole, message, format!("write `{usage}`")));
    }
    if let Some((name, _)) = line.split_once('=') {
        let message = format!("`{}` cannot be a key", name.trim());
        let near = name
            .trim()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let help = format!("a key has letters, digits, `-` and `_`, for example `{near}`");
        return Some(Said::new(whole, message, help));
    }
    let message = format!("`=` is missing after `{word}`");
    Some(Said::new(
        whole,
        message,
        format!("write `{word} = {rest}`"),
    ))
}

/// How a key and a value with `:` between them are written correctly.
fn without_colon(word: &str, value: &str) -> String {
    match value {
        "" => format!("write a table as `[{word}]`, and a key as `KEY = VALUE`"),
        value if DeValue::parse(value).is_ok() => format!("write `{word} = {value}`"),
        value if value.contains(['"', '{', '[']) => "write `=` instead of `:`".to_owned(),
        value => format!("write `{word} = \"{value}\"`"),
    }
}

/// A string that does not end, or that has an escape which does not exist.
fn string(text: &str, span: &Span, message: &str, outline: &Outline) -> Option<Said> {
    let at = text.floor_char_boundary(span.start.min(text.len()));
    if message.starts_with("invalid multi-line") {
        let start = outline.scalar(at)?.span.start;
        let quotes = text.get(start..start + 3)?;
        let message = "the string that begins here does not end";
        let help = format!("close it with `{quotes}`");
        return Some(Said::new(start..start + 3, message, help));
    }
    let line = line(text, at);
    if message.starts_with("missing escaped value") {
        let name = text[at..].chars().next().unwrap_or(' ');
        let message = format!("a backslash begins an escape, and `\\{name}` is none");
        let help = "write `\\\\` for a backslash, or put the string in single quotes";
        return Some(Said::new(at..at + name.len_utf8(), message, help));
    }
    let quote = match message {
        _ if message.starts_with("invalid basic string") => '"',
        _ if message.starts_with("invalid literal string") => '\'',
        _ => return None,
    };
    let opened = text[line.start.min(at)..at].rfind(quote)? + line.start;
    let message = "the string does not end on its line";
    Some(Said::new(
        opened..at,
        message,
        format!("close it with `{quote}`"),
    ))
}

/// Something that is not closed, or a comma that is missing.
fn open(text: &str, span: &Span, message: &str, outline: &Outline) -> Option<Said> {
    let at = text.floor_char_boundary(span.start.min(text.len()));
    let entry = outline.entry(at)?;
    let first = line(text, entry.span.start);
    if entry.header && message.starts_with("unclosed") {
        let header = text[first.clone()].trim_end_matches(']');
        let header = if header.starts_with("[[") {
            &header[1..]
        } else {
            header
        };
        let help = format!("write `{header}]`");
        return Some(Said::new(first, "the header is not closed", help));
    }
    if message.starts_with("unexpected key or value") {
        let rest = at..line(text, at).end.max(at);
        let (message, help) = match &text[rest.clone()] {
            "," | ";" => ("there is more than a value on this line", "remove this"),
            _ => (
                "there is more on this line than one key and its value",
                "write each key on a line of its own",
            ),
        };
        return Some(Said::new(rest, message, help));
    }
    if message.starts_with("extra comma") {
        let help = "remove it, or the other one";
        return Some(Said::new(at..at + 1, "there is a comma too many", help));
    }
    let (closing, what) = match message {
        _ if message.contains("array") => (']', "array"),
        _ if message.contains("inline table") || message.contains("key-value pairs") => {
            ('}', "table")
        }
        _ => return None,
    };
    let before = text[..at].trim_end().len();
    let next = text[at..].lines().next().unwrap_or_default();
    let is_next_entry = next.starts_with('[') || next.contains('=');
    if message.starts_with("unclosed") || (text[before..at].contains('\n') && is_next_entry) {
        let last = text.floor_char_boundary(before.saturating_sub(1))..before;
        let message = format!("the {what} is not closed");
        let help = format!("add `{closing}` after this");
        let begins = (!first.contains(&last.start)).then_some(first);
        return Some(Said {
            begins,
            ..Said::new(last, message, help)
        });
    }
    let help = format!("separate the parts of the {what} with `,`");
    let missing = message.starts_with("missing comma");
    missing.then(|| Said::new(at..at + 1, "a comma is missing before this", help))
}
