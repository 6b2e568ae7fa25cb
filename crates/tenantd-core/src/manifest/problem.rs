//! Problems of a manifest, with their positions and help texts.
//!
//! This module collects, sorts and renders problems. It does not check anything itself.

mod json;
mod place;

use std::fmt;
use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Renderer, Snippet, normalize_untrusted_str,
};
use serde::Serialize;

pub use place::Place;

/// A range of bytes in the manifest's text.
pub type Span = Range<usize>;

/// Positions of one problem that are at most this many lines apart are shown in one excerpt.
const NEAR_LINES: usize = 8;

/// The width of a help text: 80 columns without what is drawn before it.
const HELP_COLUMNS: usize = 68;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to correct it, if known.
    pub help: Option<String>,
    /// Its positions. The first is that of the problem, the others are related.
    #[serde(skip)]
    places: Vec<Mark>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    span: Span,
    note: String,
}

/// An excerpt of the text, with the positions in it.
struct Picture<'a> {
    first: usize,
    last: usize,
    places: Vec<(Span, &'a Mark)>,
}

impl Picture<'_> {
    fn is_near(&self, line: usize) -> bool {
        line + NEAR_LINES >= self.first && line <= self.last + NEAR_LINES
    }
}

impl Problem {
    fn span(&self) -> Span {
        self.places[0].span.clone()
    }

    /// Sets the note beside the underlined position.
    pub fn note(&mut self, text: impl Into<String>) -> &mut Self {
        self.places[0].note = text.into();
        self
    }

    /// Adds a related position.
    pub fn also(&mut self, span: &Span, note: impl Into<String>) -> &mut Self {
        self.places.push(Mark {
            span: span.clone(),
            note: note.into(),
        });
        self
    }

    /// Sets the help text.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }
}

/// All problems of one manifest.
#[derive(Debug, Clone)]
pub struct Problems {
    name: String,
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
    list: Vec<Problem>,
    /// How many of the problems, at the front of the list, are syntax errors.
    syntax: usize,
}

impl Problems {
    /// Creates an empty list for a text. `name` is the file name to show.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            starts: std::iter::once(0)
                .chain(after.map(|(at, _)| at + 1))
                .collect(),
            list: Vec::new(),
            syntax: 0,
        }
    }

    /// Adds a problem, and returns it for adding a note or a help text.
    pub fn report(&mut self, span: &Span, message: impl Into<String>) -> &mut Problem {
        let (line, column) = self.position(span.start);
        let at = self.list.len();
        self.list.push(Problem {
            line,
            column,
            message: message.into(),
            help: None,
            places: vec![Mark {
                span: span.clone(),
                note: String::new(),
            }],
        });
        &mut self.list[at]
    }

    /// The problem that was added last.
    pub fn last(&mut self) -> Option<&mut Problem> {
        self.list.last_mut()
    }

    /// The text of the manifest.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Marks all problems so far as syntax errors.
    pub(crate) fn end_syntax(&mut self) {
        self.syntax = self.list.len();
    }

    /// Sorts the problems by position and removes duplicates. Problems of a value that could not be
    /// parsed are dropped, because the value is only a guess of the parser.
    pub fn sort(&mut self) {
        let values = self.list.split_off(self.syntax);
        let mut guessed: Vec<Span> = self.list.iter().map(Problem::span).collect();
        guessed.sort_by_key(|span| span.start);
        let is_guessed = |span: &Span| {
            let before = guessed.partition_point(|guess| guess.start <= span.end);
            before > 0 && guessed[before - 1].end >= span.start
        };
        let values = values
            .into_iter()
            .filter(|value| !is_guessed(&value.span()));
        self.list.extend(values);
        self.list
            .sort_by(|a, b| (a.span().start, &a.message).cmp(&(b.span().start, &b.message)));
        self.list.dedup();
    }

    /// The number of problems.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are no problems.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Iterates over the problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// Renders all problems for people, with excerpts of the text. With `color`, the output has
    /// terminal escape sequences (ECMA-48).
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut whole = String::new();
        for problem in &self.list {
            whole.push_str(&renderer.render(&[self.group(problem)]));
            whole.push_str("\n\n");
        }
        let count = self.list.len();
        let s = if count == 1 { "" } else { "s" };
        whole.push_str(&format!("{}: {count} problem{s}\n", self.name));
        whole
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let title = Level::ERROR.primary_title(problem.message.as_str());
        let mut group = Group::with_title(title).elements(self.pictures(problem));
        if let Some(help) = &problem.help {
            let help = Level::HELP.message(normalize_untrusted_str(&wrapped(help)));
            group = group.element(Element::from(help));
        }
        group
    }

    /// The excerpts of a problem. Only the lines that are shown are passed to the renderer, which
    /// would otherwise scan the whole text for each problem.
    fn pictures<'a>(&'a self, problem: &'a Problem) -> Vec<Snippet<'a, Annotation<'a>>> {
        let mut pictures: Vec<Picture<'_>> = Vec::new();
        for place in &problem.places {
            let span = self.within_line(&place.span);
            let line = self.line_of(span.start);
            match pictures.iter_mut().find(|picture| picture.is_near(line)) {
                Some(picture) => {
                    picture.first = line.min(picture.first);
                    picture.last = line.max(picture.last);
                    picture.places.push((span, place));
                }
                None => pictures.push(Picture {
                    first: line,
                    last: line,
                    places: vec![(span, place)],
                }),
            }
        }
        let primary = problem.places.first();
        pictures
            .into_iter()
            .map(|picture| self.snippet(picture, primary))
            .collect()
    }

    fn snippet<'a>(
        &'a self,
        picture: Picture<'a>,
        primary: Option<&Mark>,
    ) -> Snippet<'a, Annotation<'a>> {
        let base = self.starts[picture.first];
        let annotations = picture.places.into_iter().map(|(span, place)| {
            let kind = if primary.is_some_and(|primary| std::ptr::eq(primary, place)) {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let annotation = kind.span(span.start - base..span.end - base);
            let note = normalize_untrusted_str(&place.note);
            annotation.label((!note.is_empty()).then_some(note))
        });
        Snippet::source(&self.text[base..self.line_end(picture.last)])
            .line_start(picture.first + 1)
            .path(self.name.as_str())
            .annotations(annotations)
    }

    /// The line and the column of a byte, counted from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let start = self.boundary(at);
        let line = self.line_of(start);
        let column = self.text[self.starts[line]..start].chars().count();
        (line + 1, column + 1)
    }

    /// The index of the line that contains this byte.
    fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// The end of a line, without its line break.
    fn line_end(&self, line: usize) -> usize {
        let end = self.starts.get(line + 1).map_or(self.text.len(), |n| n - 1);
        let text = &self.text[self.starts[line]..end];
        self.starts[line] + text.strip_suffix('\r').unwrap_or(text).len()
    }

    /// Cuts a position off at the end of its first line, because arrays and tables can be long.
    fn within_line(&self, span: &Span) -> Span {
        let start = self.boundary(span.start);
        let line_end = self.line_end(self.line_of(start));
        let start = start.min(line_end);
        let end = self.boundary(span.end).clamp(start, line_end);
        start..end
    }

    fn boundary(&self, at: usize) -> usize {
        self.text.floor_char_boundary(at)
    }
}

/// Breaks a help text into lines that fit on a terminal of 80 columns, but not within `code`.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut piece = String::new();
    for word in text.split(' ') {
        if !piece.is_empty() {
            piece.push(' ');
        }
        piece.push_str(word);
        if piece.matches('`').count() % 2 == 1 {
            continue;
        }
        let piece = std::mem::take(&mut piece);
        let width = |line: &str| line.chars().count() + 1 + piece.chars().count();
        match lines.last_mut() {
            Some(line) if width(line) <= HELP_COLUMNS => *line += &format!(" {piece}"),
            Some(_) | None => lines.push(piece),
        }
    }
    if !piece.is_empty() {
        lines.push(piece);
    }
    lines.join("\n")
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters() {
        let mut problems = Problems::new("m", "a = 1\nü = 2\n");
        let second = problems.report(&(9..10), "second");
        second.help("help").note("note").also(&(0..1), "there");
        problems.report(&(0..1), "first");
        problems.sort();
        let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
        assert_eq!(places, [(1, 1), (2, 3)]);
        assert_eq!(
            serde_json::to_value(&problems).unwrap(),
            serde_json::json!([
                {"line": 1, "column": 1, "message": "first", "help": null, "note": null, "related": []},
                {"line": 2, "column": 3, "message": "second", "help": "help", "note": "note",
                 "related": [{"line": 1, "column": 1, "note": "there"}]},
            ])
        );
    }

    #[test]
    fn help_is_wrapped_but_not_within_code() {
        let words = "word ".repeat(11);
        let code = "`key = { a = 1, b = 2 }`";
        let lines = wrapped(&format!("{words}{code} end"));
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(lines.ends_with(&format!("\n{code} end")), "{lines}");
        assert_eq!(wrapped("`x`"), "`x`");
    }

    #[test]
    fn problems_at_any_place_can_be_shown() {
        for text in [
            "",
            "\n",
            "\r\n",
            "ü",
            "a\r\nb",
            "\u{feff}x = 1",
            "\0\u{1b}[1m",
        ] {
            for start in 0..text.len() + 3 {
                for end in 0..text.len() + 3 {
                    let mut problems = Problems::new("m", text);
                    problems
                        .report(&(start..end), "wrong")
                        .note("here")
                        .also(&(0..1), "there");
                    assert!(problems.render(false).contains("wrong"));
                }
            }
        }
    }
}
