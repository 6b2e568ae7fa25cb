//! Problems as JSON, for `tenantd check --json`.

use serde::{Serialize, Serializer};

use super::{Problem, Problems};

/// A problem as JSON, with its notes.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    /// More about the position of the problem, if there is more.
    note: Option<&'a str>,
    /// Related positions.
    related: Vec<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    line: usize,
    column: usize,
    note: &'a str,
}

impl Problems {
    fn written<'a>(&self, problem: &'a Problem) -> Written<'a> {
        let related = problem.places.iter().skip(1).map(|place| {
            let (line, column) = self.position(place.span.start);
            let note = place.note.as_str();
            Related { line, column, note }
        });
        let note = problem.places[0].note.as_str();
        Written {
            problem,
            note: (!note.is_empty()).then_some(note),
            related: related.collect(),
        }
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|problem| self.written(problem)))
    }
}
