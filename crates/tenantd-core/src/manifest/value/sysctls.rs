//! The kernel's settings of `sysctls`.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::{At, Decode};
use crate::manifest::problem::Problems;
use crate::sysctl::Sysctl;

/// An unknown name within this edit distance of a setting is taken for a misspelling of it.
const SLIP: usize = 3;

/// Settings and their values, as the kernel reads them.
pub type Sysctls = BTreeMap<Sysctl, String>;

impl Decode for Sysctls {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(table) = at.value.get_ref().as_table() else {
            at.wrong_type(problems, "a table of settings");
            return None;
        };
        let mut valid = Sysctls::new();
        let before = problems.len();
        for (name, value) in table {
            let text = name.get_ref();
            let one = At { value, ..at };
            let Some(sysctl) = Sysctl::named(text) else {
                let message = format!("a tenant cannot have a sysctl {text:?} of its own");
                problems.report(&name.span(), message).help(nearest(text));
                continue;
            };
            let written = match value.get_ref() {
                DeValue::Integer(number) => number.to_string(),
                DeValue::String(text) => text.to_string(),
                _ => {
                    one.wrong_type(problems, "a table of numbers and strings");
                    continue;
                }
            };
            match sysctl.value(&written) {
                Ok(value) => {
                    valid.insert(sysctl, value);
                }
                Err(mistake) => {
                    let message = format!("{} must be {mistake}, not {written:?}", sysctl.name());
                    problems.report(&value.span(), message);
                }
            }
        }
        (problems.len() == before).then_some(valid)
    }
}

fn nearest(name: &str) -> String {
    let distance = |one: &Sysctl| strsim::damerau_levenshtein(one.name(), name);
    let near = Sysctl::all().min_by_key(distance);
    if let Some(near) = near.filter(|one| distance(one) <= SLIP) {
        return format!("did you mean `\"{}\"`?", near.name());
    }
    let inner = name.rsplit(['.', '/']).next().unwrap_or(name);
    match Sysctl::all().find(|one| one.name().ends_with(&format!(".{inner}"))) {
        Some(whole) => format!("write the whole name: `\"{}\"`", whole.name()),
        None => "tenantd.toml(5) lists the settings of a tenant; others are the host's, set by sysctl(8)".to_owned(),
    }
}
