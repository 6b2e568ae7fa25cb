//! What `[app.alive]` asks for.

use toml::Spanned;

use super::{At, Decode};
use crate::manifest::problem::Problems;
use crate::manifest::template::ALL;

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
                let at = At { value, ..at };
                let text = at.text(problems, "an array of strings")?;
                if let Some(placeholder) = placeholder(text) {
                    at.wrong(problems, format!("{placeholder} is not replaced here"))
                        .note("this command is the same for all tenants; it runs in the tenant, where 127.0.0.1 is the tenant's own");
                    return None;
                }
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

/// The first placeholder in a text. Other braces are the command's own.
fn placeholder(text: &str) -> Option<String> {
    let words = ALL.iter().map(|slot| format!("{{{}}}", slot.word()));
    let mut found = words.filter(|word| text.contains(word.as_str()));
    let variable = || {
        let begin = text.find("{vars.")?;
        let end = text[begin..].find('}')?;
        Some(text[begin..=begin + end].to_owned())
    };
    found.next().or_else(variable)
}
