//! Values with placeholders: paths, arrays, commands, environments.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::problem::Problems;
use super::reference::{Key, Kind};
use super::template::{ALL, OF_APP, Slot, Template, TemplateError};
use super::value::{At, Decode, type_words};

/// The placeholders that are available in the value of a key.
fn slots(key: &Key) -> &'static [Slot] {
    match key.kind {
        Kind::Texts(slots) | Kind::Environment(slots) | Kind::Path(slots) | Kind::Paths(slots) => {
            slots
        }
        _ => unreachable!("{} has no placeholders", key.name),
    }
}

fn template(at: At<'_, '_>, slots: &[Slot], problems: &mut Problems) -> Option<Template> {
    let text = at.text(problems, "a string")?;
    let error = match Template::parse(text, slots) {
        Ok(template) => return Some(template),
        Err(error) => error,
    };
    // The position within the string can be shown only if the manifest writes it without escapes.
    let span = at.span();
    let source = problems.text().get(span.clone()).unwrap_or_default();
    let verbatim = source.len() == text.len() + 2 && source.get(1..=text.len()) == Some(text);
    let span = if verbatim {
        span.start + 1 + error.at().start..span.start + 1 + error.at().end
    } else {
        span
    };
    let help = match &error {
        TemplateError::Unknown { .. } => format!(
            "available here: {}; write `{{{{` for a literal brace",
            Slot::list(slots)
        ),
        TemplateError::Alone { brace, .. } => format!("write `{brace}{brace}` for a literal brace"),
    };
    problems.report(&span, error.to_string()).help(help);
    None
}

impl Decode for Template {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        template(at, slots(at.key), problems)
    }
}

fn list(
    at: At<'_, '_>,
    problems: &mut Problems,
    allowed: impl Fn(usize) -> &'static [Slot],
) -> Option<Vec<Spanned<Template>>> {
    let Some(array) = at.value.get_ref().as_array() else {
        at.wrong_type(problems, "an array of strings");
        return None;
    };
    let mut whole = Some(Vec::new());
    for (index, value) in array.iter().enumerate() {
        let name = at.key.name;
        let at = At { key: at.key, value };
        let template = match value.get_ref().as_str() {
            Some(_) => template(at, allowed(index), problems),
            None => {
                let item = format!("item {} of `{name}`", index + 1);
                no_string(&item, "", value, problems);
                None
            }
        };
        let Some(template) = template else {
            // The remaining items are still decoded, to report their problems.
            whole = None;
            continue;
        };
        if let Some(list) = &mut whole {
            list.push(Spanned::new(value.span(), template));
        }
    }
    whole
}

/// Reports a part of a list or a table that is no string. `key` is what is written before it.
fn no_string(what: &str, key: &str, value: &Spanned<DeValue<'_>>, problems: &mut Problems) {
    let found = type_words(value.get_ref());
    let written = problems.text().get(value.span()).unwrap_or_default();
    let help = match value.get_ref() {
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            format!("quote it: `{key}\"{written}\"`")
        }
        DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => {
            "write one string in quotes".to_owned()
        }
    };
    let message = format!("{what} must be a string, not {found}");
    problems.report(&value.span(), message).help(help);
}

impl Decode for Vec<Spanned<Template>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        list(at, problems, |_| slots(at.key))
    }
}

/// The program and its arguments.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program's file.
    pub program: Spanned<Template>,
    /// Its arguments.
    pub arguments: Vec<Spanned<Template>>,
}

impl Decode for Command {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let texts = list(at, problems, |index| if index == 0 { OF_APP } else { ALL })?;
        let mut texts = texts.into_iter();
        let Some(program) = texts.next() else {
            at.wrong(problems, "the command is empty");
            return None;
        };
        Some(Command {
            program,
            arguments: texts.collect(),
        })
    }
}

/// The environment variables of a program.
pub type Environment = BTreeMap<String, Template>;

impl Decode for Environment {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(table) = at.value.get_ref().as_table() else {
            at.wrong_type(problems, "a table of strings");
            return None;
        };
        let mut whole = Some(Environment::new());
        for (name, value) in table {
            let good = environment_name(name, problems);
            let template = match value.get_ref().as_str() {
                Some(_) => template(At { key: at.key, value }, slots(at.key), problems),
                None => {
                    let name = name.get_ref();
                    no_string(
                        &format!("the variable `{name}`"),
                        &format!("{name} = "),
                        value,
                        problems,
                    );
                    None
                }
            };
            match (good, template, &mut whole) {
                (true, Some(template), Some(whole)) => {
                    whole.insert(name.get_ref().to_string(), template);
                }
                (true, Some(_), None) => {}
                _ => whole = None,
            }
        }
        whole
    }
}

fn environment_name(name: &Spanned<Cow<'_, str>>, problems: &mut Problems) -> bool {
    let text = name.get_ref();
    let (message, help) = if text.is_empty() {
        (
            "an environment variable has an empty name".to_owned(),
            "give it a name",
        )
    } else if text.contains(['=', '\0']) {
        (
            format!("{text:?} is not a valid name of an environment variable"),
            "remove `=` and NUL: they end a name, see environ(7)",
        )
    } else if text == "NOTIFY_SOCKET" {
        (
            "`NOTIFY_SOCKET` cannot be set by hand".to_owned(),
            "tenantd sets it when `[app.ready]` has `notify = true`",
        )
    } else {
        return true;
    };
    problems.report(&name.span(), message).help(help);
    false
}
