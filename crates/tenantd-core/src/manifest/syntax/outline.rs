//! Where a text has its tables, its keys and its values, whether it is valid TOML or not.
//!
//! The parser's tree has only what it could make sense of; this has the places of everything.

use std::collections::BTreeMap;

use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, parse_document};

use super::super::problem::Span;

/// One `[header]`, or one `key = value` that is in no other value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// From its first byte to the end of its last line, or of the text if it does not end.
    pub(super) span: Span,
    /// Whether it is a header.
    pub(super) header: bool,
}

/// A value that is neither a table nor an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) span: Span,
    /// The last part of its key.
    pub(super) key: String,
    /// Whether it is an item of an array.
    pub(super) item: bool,
    /// Whether it is written without quotes.
    pub(super) bare: bool,
}

/// The places of a text.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// In the order of the text.
    pub(super) entries: Vec<Entry>,
    /// In the order of the text.
    pub(super) scalars: Vec<Scalar>,
    /// The positions of each key, in the order of the text, by its full path; and whether it is
    /// whole, not the first part of a longer key.
    keys: BTreeMap<Vec<String>, Vec<(Span, bool)>>,
    /// The path of the key at each position.
    paths: BTreeMap<usize, Vec<String>>,
}

impl Outline {
    pub(super) fn of(text: &str) -> Self {
        let tokens = Source::new(text).lex().into_vec();
        let mut events: Vec<Event> = Vec::with_capacity(tokens.len());
        parse_document(&tokens, &mut |event| events.push(event), &mut ());
        let mut walk = Walk {
            text,
            ..Walk::default()
        };
        for event in &events {
            walk.see(event);
        }
        if let Some(last) = walk.outline.entries.last_mut()
            && walk.open
        {
            last.span.end = text.len();
        }
        walk.outline
    }

    /// The entry around this position.
    pub(super) fn entry(&self, at: usize) -> Option<&Entry> {
        let count = self.entries.partition_point(|entry| entry.span.start <= at);
        let entry = self.entries.get(count.checked_sub(1)?)?;
        (at <= entry.span.end).then_some(entry)
    }

    /// The value at this position.
    pub(super) fn scalar(&self, at: usize) -> Option<&Scalar> {
        let count = self
            .scalars
            .partition_point(|scalar| scalar.span.start <= at);
        let scalar = self.scalars.get(count.checked_sub(1)?)?;
        (at <= scalar.span.end).then_some(scalar)
    }

    /// The path of the key that begins here.
    pub(super) fn path(&self, at: usize) -> Option<&[String]> {
        self.paths.get(&at).map(Vec::as_slice)
    }

    /// The first key before this position that has the same path as the key here. One that is not
    /// the first part of a longer key is preferred.
    pub(super) fn before(&self, at: usize) -> Option<Span> {
        let same = self.keys.get(self.path(at)?)?;
        let before = || same.iter().filter(|(span, _)| span.start < at);
        let whole = before().find(|(_, whole)| *whole);
        whole
            .or_else(|| before().next())
            .map(|(span, _)| span.clone())
    }
}

/// What is known while the events of a text are visited.
#[derive(Default)]
struct Walk<'a> {
    text: &'a str,
    outline: Outline,
    /// The path of the last header.
    header: Vec<String>,
    /// The paths of the inline tables that are open, and for arrays `None`.
    nested: Vec<Option<Vec<String>>>,
    /// The parts of the key that is being read.
    parts: Vec<String>,
    in_header: bool,
    /// Whether the last entry has not ended yet.
    open: bool,
}

impl Walk<'_> {
    fn see(&mut self, event: &Event) {
        let span = event.span().start()..event.span().end();
        match event.kind() {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                self.begin(span.start, true);
                self.header.clear();
                self.parts.clear();
                self.in_header = true;
            }
            EventKind::StdTableClose | EventKind::ArrayTableClose => {
                self.whole();
                self.header = std::mem::take(&mut self.parts);
                self.in_header = false;
            }
            EventKind::SimpleKey => {
                if !self.open {
                    self.begin(span.start, false);
                }
                self.key(span);
            }
            EventKind::InlineTableOpen => {
                let path = self.path();
                self.parts.clear();
                self.nested.push(Some(path));
            }
            EventKind::ArrayOpen => self.nested.push(None),
            EventKind::InlineTableClose | EventKind::ArrayClose => self.close(),
            EventKind::Scalar => self.scalar(span, event.encoding().is_none()),
            EventKind::ValueSep => {
                if matches!(self.nested.last(), Some(Some(_))) {
                    self.parts.clear();
                }
            }
            EventKind::Newline => {
                if self.nested.is_empty() {
                    self.end(span.start);
                }
            }
            EventKind::KeyValSep => self.whole(),
            EventKind::KeySep | EventKind::Whitespace | EventKind::Comment | EventKind::Error => {}
        }
    }

    fn begin(&mut self, at: usize, header: bool) {
        let span = at..at;
        self.outline.entries.push(Entry { span, header });
        self.open = true;
        self.nested.clear();
    }

    fn end(&mut self, at: usize) {
        if let Some(last) = self.outline.entries.last_mut()
            && self.open
        {
            last.span.end = at;
        }
        if self.in_header {
            self.header = std::mem::take(&mut self.parts);
            self.in_header = false;
        }
        self.open = false;
        self.parts.clear();
    }

    fn key(&mut self, span: Span) {
        let raw = &self.text[span.clone()];
        let name = raw.trim_matches(['"', '\'']).to_owned();
        self.parts.push(name);
        let path = self.path();
        self.outline.paths.insert(span.start, path.clone());
        self.outline
            .keys
            .entry(path)
            .or_default()
            .push((span, false));
    }

    /// The last key is whole.
    fn whole(&mut self) {
        let places = self.outline.keys.get_mut(&self.path());
        if let Some((_, whole)) = places.and_then(|places| places.last_mut()) {
            *whole = true;
        }
    }

    /// Takes back the key of a table or an array that ends here: the next key begins after it.
    fn close(&mut self) {
        if let Some(Some(path)) = self.nested.pop() {
            self.parts = path.last().cloned().into_iter().collect();
        }
    }

    /// The path of the key that is being read.
    fn path(&self) -> Vec<String> {
        let around = self.nested.iter().rev().flatten().next();
        let mut path = match around {
            Some(path) => path.clone(),
            None if self.in_header => Vec::new(),
            None => self.header.clone(),
        };
        path.extend(self.parts.iter().cloned());
        path
    }

    fn scalar(&mut self, span: Span, bare: bool) {
        let key = self.parts.last().cloned().unwrap_or_default();
        let item = matches!(self.nested.last(), Some(None));
        self.outline.scalars.push(Scalar {
            span,
            key,
            item,
            bare,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[app]
name = \"wiki\"
command = [
  \"/bin/wiki\",
  -v,
]
stop = { grace = 5s, signal = \"SIGTERM\" }
app.name = 7

[app]
name = \"crm\"
";

    fn at(piece: &str) -> usize {
        TEXT.find(piece).unwrap()
    }

    #[test]
    fn entries_span_the_lines_of_their_values() {
        let outline = Outline::of(TEXT);
        let entry = outline.entry(at("-v")).unwrap();
        assert_eq!(entry.span, at("command")..at("\nstop"));
        assert!(!entry.header);
        assert!(outline.entry(at("app]")).unwrap().header);
        assert_eq!(outline.entries.len(), 7);
    }

    #[test]
    fn values_have_the_names_of_their_keys() {
        let outline = Outline::of(TEXT);
        let item = outline.scalar(at("-v")).unwrap();
        assert_eq!(
            (item.key.as_str(), item.item, item.bare),
            ("command", true, true)
        );
        let grace = outline.scalar(at("5s") + 1).unwrap();
        assert_eq!(
            (grace.key.as_str(), grace.item, grace.bare),
            ("grace", false, true)
        );
        assert!(!outline.scalar(at("\"SIGTERM")).unwrap().bare);
        assert_eq!(
            outline.path(at("signal")).unwrap(),
            ["app", "stop", "signal"]
        );
    }

    #[test]
    fn the_first_of_two_equal_keys_is_found() {
        let outline = Outline::of(TEXT);
        let second = TEXT.rfind("name").unwrap();
        assert_eq!(outline.before(second), Some(at("name")..at("name") + 4));
        let header = TEXT.rfind("app]").unwrap();
        assert_eq!(outline.before(header), Some(1..4));
        assert_eq!(outline.before(at("name")), None);
    }
}
