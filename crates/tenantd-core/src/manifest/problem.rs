//! What is wrong with a manifest, where, and what would be right.
//!
//! Owns the collecting, ordering and showing of problems. It never decides that something is one.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Renderer, Snippet, normalize_untrusted_str,
};
use serde::{Serialize, Serializer};

/// A place in the manifest's text, in bytes.
pub type Span = Range<usize>;

/// Two places that are no further apart than this many lines are shown in one picture.
const NEAR_LINES: usize = 8;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right, where that is known.
    pub help: Option<String>,
    /// The places: the first is where the problem is, the others belong to it.
    #[serde(skip)]
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    span: Span,
    note: String,
}

/// Lines that are shown together, with the places in them.
struct Picture<'a> {
    first: usize,
    last: usize,
    places: Vec<(Span, &'a Place)>,
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

    /// Says something beside the underlined place.
    pub fn note(&mut self, text: impl Into<String>) -> &mut Self {
        self.places[0].note = text.into();
        self
    }

    /// Shows another place that belongs to the problem.
    pub fn also(&mut self, span: &Span, note: impl Into<String>) -> &mut Self {
        self.places.push(Place {
            span: span.clone(),
            note: note.into(),
        });
        self
    }

    /// Says what would be right.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }
}

/// All that is wrong with one manifest, in the order of its text.
#[derive(Debug, Clone)]
pub struct Problems {
    name: String,
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
    list: Vec<Problem>,
    /// The first so many of the list are of the syntax.
    syntax: usize,
}

impl Problems {
    /// No problems, so far, in the text that is shown under this name.
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

    /// Adds a problem at a place; the answer is there to say more about it.
    pub fn report(&mut self, span: &Span, message: impl Into<String>) -> &mut Problem {
        let start = self.boundary(span.start);
        let line = self.line_of(start);
        let column = self.text[self.starts[line]..start].chars().count();
        let at = self.list.len();
        self.list.push(Problem {
            line: line + 1,
            column: column + 1,
            message: message.into(),
            help: None,
            places: vec![Place {
                span: span.clone(),
                note: String::new(),
            }],
        });
        &mut self.list[at]
    }

    /// The text that the problems are in.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Says that the problems so far are of the syntax.
    pub(crate) fn end_syntax(&mut self) {
        self.syntax = self.list.len();
    }

    /// Puts the problems into the order of the text, each told once. What stands in a place that
    /// could not be parsed was guessed by the parser, so nothing else is said about it.
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

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One after another.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// All of them as a person reads them, with the lines concerned underlined. With `color`, the
    /// text holds the escape sequences of a terminal (ECMA-48).
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
            let help = Level::HELP.message(normalize_untrusted_str(help));
            group = group.element(Element::from(help));
        }
        group
    }

    /// The parts of the text that a problem shows. Only the lines concerned are handed over: with
    /// the whole text, showing n problems would cost n times its size.
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
        primary: Option<&Place>,
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

    /// The index of the line that holds this byte.
    fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// The end of a line, without its line break.
    fn line_end(&self, line: usize) -> usize {
        let end = self.starts.get(line + 1).map_or(self.text.len(), |n| n - 1);
        let text = &self.text[self.starts[line]..end];
        self.starts[line] + text.strip_suffix('\r').unwrap_or(text).len()
    }

    /// The part of a place that lies on its first line: a list or table of many lines is not
    /// worth its room.
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

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
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
        problems.report(&(9..10), "second").help("help");
        problems.report(&(0..1), "first");
        problems.sort();
        let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
        assert_eq!(places, [(1, 1), (2, 3)]);
        assert_eq!(
            serde_json::to_string(&problems.list[1]).unwrap(),
            r#"{"line":2,"column":3,"message":"second","help":"help"}"#
        );
    }

    #[test]
    fn any_place_can_be_shown() {
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
