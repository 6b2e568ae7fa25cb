//! A place in a manifest, for what is found after the manifest was read.

use annotate_snippets::Renderer;
use serde::{Deserialize, Serialize};

use super::{Mark, Problem, Problems, Span};

/// A place in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file's name, as the operator gave it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// The place and the line, underlined, as below a problem of the manifest.
    pub excerpt: String,
}

impl Problems {
    /// A place in the text.
    #[must_use]
    pub fn place(&self, span: &Span) -> Place {
        let (line, column) = self.position(span.start);
        let problem = Problem {
            line,
            column,
            message: String::new(),
            help: None,
            places: vec![Mark {
                span: span.clone(),
                note: String::new(),
            }],
        };
        let shown = Renderer::plain().render(&[self.group(&problem)]);
        // Without the line of the message.
        let excerpt: Vec<&str> = shown.lines().skip(1).collect();
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place {
            file: self.name.clone(),
            line: number(line),
            column: number(column),
            excerpt: excerpt.join("\n"),
        }
    }
}
