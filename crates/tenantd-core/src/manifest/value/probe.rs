//! What `[app.alive]` asks for.

use toml::Spanned;

use super::{At, Decode};
use crate::manifest::problem::Problems;

/// The path of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPath(pub String);

impl Decode for HttpPath {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a path such as `\"/health\"`")?;
        let is_path = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
        if !is_path {
            let message = format!("{text:?} is not a path of a request");
            at.wrong(problems, message)
                .note("it begins with `/` and has no spaces; others are written as `%20`");
        }
        is_path.then(|| Self(text.to_owned()))
    }
}

/// A command without placeholders, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(pub Vec<String>);

impl Decode for Argv {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value.get_ref().as_array() else {
            at.wrong_type(problems, "an array of strings");
            return None;
        };
        // The others too, so that each problem is reported.
        let texts: Vec<Option<String>> = array
            .iter()
            .map(|value: &Spanned<_>| {
                let text = At { value, ..at }.text(problems, "an array of strings")?;
                Some(text.to_owned())
            })
            .collect();
        let argv: Option<Vec<String>> = texts.into_iter().collect();
        let argv = argv?;
        if argv.first().is_none_or(String::is_empty) {
            at.wrong(problems, "the command is empty");
            return None;
        }
        Some(Self(argv))
    }
}
