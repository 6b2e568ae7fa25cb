//! Values with placeholders: paths, arrays, commands, environments, variables.

mod vars;

pub use vars::Vars;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::problem::Problems;
use super::reference::{Key, Kind};
use super::template::{ALL, OF_APP, OF_TENANT, Rules, Style, Template};
use super::value::{At, Decode, type_words};

/// What the value of a key may contain.
fn rules(key: &Key) -> Rules<'static> {
    let (slots, style, vars) = match key.kind {
        Kind::Text(slots) => (slots, Style::File, true),
        Kind::Texts(slots) | Kind::Environment(slots) => (slots, Style::Text, true),
        Kind::Vars => (ALL, Style::Text, false),
        Kind::Secrets => (OF_TENANT, Style::Path, true),
        Kind::Path(slots) | Kind::Paths(slots) => (slots, Style::Path, true),
        _ => unreachable!("{} has no placeholders", key.name),
    };
    Rules { slots, vars, style }
}

fn template(at: At<'_, '_>, rules: Rules<'_>, problems: &mut Problems) -> Option<Template> {
    let text = at.text(problems, "a string")?;
    // The position within the string can be shown only if the manifest writes it without escapes.
    let span = at.span();
    let source = problems.text().get(span.clone()).unwrap_or_default();
    let verbatim = source.len() == text.len() + 2 && source.get(1..=text.len()) == Some(text);
    let place = |at: &Range<usize>| match verbatim {
        true => span.start + 1 + at.start..span.start + 1 + at.end,
        false => span.clone(),
    };
    match Template::parse(text, rules) {
        Ok(mut template) => {
            template.place(place);
            Some(template)
        }
        Err(errors) => {
            for error in errors {
                problems
                    .report(&place(error.at()), error.to_string())
                    .help(error.help(rules));
            }
            None
        }
    }
}

impl Decode for Template {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        template(at, rules(at.key), problems)
    }
}

fn list(
    at: At<'_, '_>,
    problems: &mut Problems,
    allowed: impl Fn(usize) -> Rules<'static>,
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
        list(at, problems, |_| rules(at.key))
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
        let texts = list(at, problems, |index| match index {
            0 => Rules {
                slots: OF_APP,
                vars: true,
                style: Style::Path,
            },
            _ => Rules {
                slots: ALL,
                vars: true,
                style: Style::Text,
            },
        })?;
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
                Some(_) => template(At { key: at.key, value }, rules(at.key), problems),
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
            "tenantd sets it when `[app.ready]` has `notify = true` or `watchdog`",
        )
    } else if ["WATCHDOG_USEC", "WATCHDOG_PID"].contains(&text.as_ref()) {
        (
            format!("`{text}` cannot be set by hand"),
            "tenantd sets it when `[app.ready]` has `watchdog`",
        )
    } else {
        return true;
    };
    problems.report(&name.span(), message).help(help);
    false
}
