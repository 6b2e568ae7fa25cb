//! Reports what is not valid TOML, each with its cause, and takes it out of the text, so that the
//! problems of the rest can be reported too.

mod outline;
mod words;

use toml::de::{DeTable, Error};

use super::problem::{Problems, Span};
use outline::Outline;

/// How many errors that confuse the parser are taken out one after the other. The text is parsed
/// again for each.
const ROUNDS: usize = 20;

/// A text of the same length as another one, in which the lines that could not be parsed are blank.
pub(super) struct Mended {
    /// The text.
    pub(super) text: String,
    /// The places that could not be parsed, by their start.
    holes: Vec<Span>,
    /// Where the headers of the text begin.
    headers: Vec<usize>,
}

impl Mended {
    /// Whether a part of the table may be missing whose header begins here.
    pub(super) fn has_hole_below(&self, header: usize) -> bool {
        let next = self.headers.partition_point(|start| *start <= header);
        let end = self.headers.get(next).copied().unwrap_or(usize::MAX);
        self.has_hole(&(header..end))
    }

    /// Whether a part of this place could not be parsed.
    pub(super) fn has_hole(&self, place: &Span) -> bool {
        let mut holes = self.holes.iter();
        holes.any(|hole| hole.start < place.end && place.start < hole.end.max(hole.start + 1))
    }
}

/// Reports the errors of a text. Call it only if there are some.
pub(super) fn mend(text: &str, problems: &mut Problems) -> Mended {
    let mut mended = Mended {
        text: text.to_owned(),
        holes: Vec::new(),
        headers: Vec::new(),
    };
    for _ in 0..ROUNDS {
        let errors = errors(&mended.text);
        let outline = Outline::of(&mended.text);
        let confusing = |error: &&Error| !is_bounded(error, &outline);
        let Some(error) = errors.iter().find(confusing) else {
            break;
        };
        let Some(hole) = hole(&mended.text, error, &outline, errors.len()) else {
            break;
        };
        // What the parser says after an error that confuses it may be a consequence.
        let earlier = errors.iter().filter(|earlier| {
            hole.contains(&span(earlier).start) && span(earlier).start < span(error).start
        });
        for error in earlier.chain([error]) {
            words::report(&mended.text, error, &outline, problems);
        }
        blank(&mut mended.text, &hole);
        mended.holes.push(hole);
    }
    let outline = Outline::of(&mended.text);
    for error in errors(&mended.text) {
        words::report(&mended.text, &error, &outline, problems);
        mended.holes.push(span(&error));
    }
    mended.holes.sort_by_key(|hole| hole.start);
    let headers = Outline::of(text).entries.into_iter();
    mended.headers = headers
        .filter(|entry| entry.header)
        .map(|entry| entry.span.start)
        .collect();
    mended
}

fn errors(text: &str) -> Vec<Error> {
    let (_, mut errors) = DeTable::parse_recoverable(text);
    // A string that does not end hides the end of what it is in.
    errors.sort_by_key(|error| (span(error).start, !error.message().contains(" string, ")));
    errors
}

fn span(error: &Error) -> Span {
    error.span().unwrap_or(0..0)
}

/// Whether the parser continues correctly after an error: the key or the value alone is wrong.
fn is_bounded(error: &Error, outline: &Outline) -> bool {
    words::is_duplicate(error) || words::bare_value(error, outline).is_some()
}

/// The lines to blank for an error, so that fewer errors are left. The candidates are the lines
/// before the error, if what is open there is never closed; the line of the error; and all lines
/// of the entry. `None` if nothing helps.
fn hole(text: &str, error: &Error, outline: &Outline, count: usize) -> Option<Span> {
    let at = text.floor_char_boundary(span(error).start.min(text.len()));
    let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |found| found + 1);
    let line_end = |at: usize| text[at..].find('\n').map_or(text.len(), |found| at + found);
    let entry = outline.entry(at);
    let start = line_start(entry.map_or(at, |entry| entry.span.start));
    let before = text[..at].trim_end().len();
    let mut candidates = Vec::new();
    if before > start && line_start(before) < line_start(at) {
        candidates.push(start..before);
    }
    candidates.push(start..line_end(at));
    let line = text[line_start(at)..line_end(at)].trim();
    let header = line.starts_with('[') || (line.ends_with(']') && !line.contains('='));
    if entry.is_some_and(|entry| entry.header) || (header && line_start(at) == start) {
        // The keys below a header that cannot be read belong to no other table.
        candidates.clear();
        candidates.push(start..section_end(text, line_end(at)));
    } else if let Some(entry) = entry {
        candidates.push(start..entry.span.end);
    }
    let left = |hole: &Span| {
        let mut text = text.to_owned();
        blank(&mut text, hole);
        errors(&text).len()
    };
    let counted = candidates.into_iter().map(|hole| (left(&hole), hole));
    let (left, hole) = counted.min_by_key(|(left, _)| *left)?;
    (left < count).then_some(hole)
}

/// Where the next line begins that looks like a header.
fn section_end(text: &str, from: usize) -> usize {
    let mut at = from;
    for line in text[from..].split_inclusive('\n') {
        if line.starts_with('[') && line.contains(']') {
            return at;
        }
        at += line.len();
    }
    text.len()
}

/// Replaces a place by spaces, except for line breaks.
fn blank(text: &mut String, hole: &Span) {
    let bytes = text[hole.clone()].bytes();
    let blank: String = bytes
        .map(|byte| match byte {
            b'\n' | b'\r' => char::from(byte),
            _ => ' ',
        })
        .collect();
    text.replace_range(hole.clone(), &blank);
}
