//! The rules for braces.

use std::ops::Range;

use super::{ALL, Part, Rules, Slot, Style, VARS};

/// A word of a file with at least this many letters is taken for a misspelled placeholder if it
/// differs from one in one letter.
const LONG: usize = 5;

/// Why a string is not a valid template, and which of its bytes are the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A word in braces that is not an available placeholder.
    #[error("the placeholder `{{{word}}}` is not available here")]
    Unknown {
        /// The word.
        word: String,
        /// Its position, with the braces.
        at: Range<usize>,
    },
    /// An unmatched brace.
    #[error("unmatched `{brace}`")]
    Alone {
        /// The brace.
        brace: char,
        /// Its position.
        at: Range<usize>,
    },
}

impl TemplateError {
    /// The range of bytes that is wrong.
    #[must_use]
    pub fn at(&self) -> &Range<usize> {
        match self {
            TemplateError::Unknown { at, .. } | TemplateError::Alone { at, .. } => at,
        }
    }

    /// How to correct it.
    #[must_use]
    pub fn help(&self, rules: Rules<'_>) -> String {
        match self {
            TemplateError::Unknown { word, .. } => {
                let meant = rules.slots.iter().find(|slot| is_near(word, slot.word()));
                let meant = meant.map_or_else(String::new, |slot| {
                    format!("did you mean `{{{}}}`? ", slot.word())
                });
                let literal = match rules.style {
                    Style::Path => "write `{{` for a literal brace".to_owned(),
                    Style::Text | Style::File => {
                        format!("write `{{{{{word}}}}}` for the text `{{{word}}}`")
                    }
                };
                format!("{meant}available here: {}; {literal}", rules.list())
            }
            TemplateError::Alone { brace, .. } => {
                format!("write `{brace}{brace}` for a literal brace")
            }
        }
    }
}

/// Divides a string into text and placeholders.
pub(super) fn parts(text: &str, rules: Rules<'_>) -> Result<Vec<Part>, Vec<TemplateError>> {
    match rules.style {
        Style::Path => doubled(text, rules).map_err(|error| vec![error]),
        Style::Text => doubled(text, rules).or_else(|_| words(text, rules)),
        Style::File => words(text, rules),
    }
}

/// Collects text and placeholders.
#[derive(Default)]
struct Parts {
    parts: Vec<Part>,
    plain: String,
}

impl Parts {
    fn placeholder(&mut self, part: Part) {
        if !self.plain.is_empty() {
            let plain = std::mem::take(&mut self.plain);
            self.parts.push(Part::Text(plain));
        }
        self.parts.push(part);
    }

    fn end(mut self) -> Vec<Part> {
        if !self.plain.is_empty() {
            self.parts.push(Part::Text(self.plain));
        }
        self.parts
    }
}

/// Every brace is doubled or part of a placeholder.
fn doubled(text: &str, rules: Rules<'_>) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Parts::default();
    let mut at = 0;
    while let Some(brace) = text[at..].chars().next() {
        let rest = &text[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            parts.plain.push(brace);
            at += 2;
            continue;
        }
        if brace == '{'
            && let Some(end) = rest.find('}')
        {
            let word = &rest[1..end];
            parts.placeholder(placeholder(word, at..at + end + 1, rules)?);
            at += end + 1;
            continue;
        }
        if brace == '{' || brace == '}' {
            let at = at..at + 1;
            return Err(TemplateError::Alone { brace, at });
        }
        parts.plain.push(brace);
        at += brace.len_utf8();
    }
    Ok(parts.end())
}

/// A word in braces is a placeholder, and the text of it if they are doubled. All other braces are
/// text.
fn words(text: &str, rules: Rules<'_>) -> Result<Vec<Part>, Vec<TemplateError>> {
    let mut parts = Parts::default();
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, found) = rest.split_at(start);
        parts.plain += before;
        let opening = run(found, b'{');
        let inner = &found[opening..];
        let word = &inner[..word_len(inner)];
        let closing = run(&inner[word.len()..], b'}');
        let pairs = opening.min(closing);
        if pairs == 0 || !is_claimed(word, rules.style) {
            parts.plain += &found[..opening];
            rest = inner;
            continue;
        }
        // Braces without a counterpart are text.
        parts.plain += &found[..opening - pairs + pairs / 2];
        let at = text.len() - inner.len();
        match pairs % 2 {
            0 => parts.plain += word,
            _ => match placeholder(word, at - 1..at + word.len() + 1, rules) {
                Ok(part) => parts.placeholder(part),
                Err(error) => errors.push(error),
            },
        }
        parts.plain += &"}".repeat(pairs / 2);
        rest = &inner[word.len() + pairs..];
    }
    parts.plain += rest;
    match errors.is_empty() {
        true => Ok(parts.end()),
        false => Err(errors),
    }
}

/// How often a byte is repeated at the beginning.
fn run(text: &str, byte: u8) -> usize {
    text.bytes().take_while(|other| *other == byte).count()
}

/// The length of the word at the beginning, which is 0 if there is none.
fn word_len(text: &str) -> usize {
    let is_first = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_';
    if !text.as_bytes().first().is_some_and(is_first) {
        return 0;
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.bytes().take_while(is_part).count()
}

/// Whether a word in braces is a placeholder, or is refused because it may be meant as one.
fn is_claimed(word: &str, style: Style) -> bool {
    match style {
        Style::Path | Style::Text => !word.is_empty(),
        Style::File => {
            let meant = |slot: &Slot| slot.word() == word || is_near(word, slot.word());
            word.starts_with(VARS) || ALL.iter().any(meant)
        }
    }
}

fn is_near(word: &str, placeholder: &str) -> bool {
    placeholder.len() >= LONG && strsim::damerau_levenshtein(word, placeholder) == 1
}

fn placeholder(word: &str, at: Range<usize>, rules: Rules<'_>) -> Result<Part, TemplateError> {
    if let Some(name) = word.strip_prefix(VARS)
        && rules.vars
        && is_var(name)
    {
        return Ok(Part::Var(name.to_owned(), at));
    }
    let found = rules.slots.iter().find(|slot| slot.word() == word);
    found
        .map(|slot| Part::Slot(*slot))
        .ok_or_else(|| TemplateError::Unknown {
            word: word.to_owned(),
            at,
        })
}

/// Whether a variable may have this name.
pub(in crate::manifest) fn is_var(name: &str) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_';
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.as_bytes().first().is_some_and(is_first) && name.bytes().all(is_part)
}
