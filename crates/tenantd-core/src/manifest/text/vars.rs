//! The variables of `vars`, and the files of `secrets`.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{no_string, rules, template};
use crate::manifest::problem::Problems;
use crate::manifest::reference::Kind;
use crate::manifest::template::{Template, is_var};
use crate::manifest::value::{At, Decode};

/// The variables of the application, of `[defaults]` or of a tenant, with the positions of their
/// names.
pub type Vars = BTreeMap<String, Spanned<Template>>;

const VAR_HELP: &str = "use lower-case letters, digits and `_`, beginning with a letter";
const SECRET_HELP: &str =
    "use letters, digits, `.`, `_` and `-`, beginning with a letter or a digit";

/// Whether a secret can have this name: it is that of a file.
fn is_secret(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= SECRET_BYTES
        && name.bytes().all(is_part)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// The maximum length of a file's name in bytes (`NAME_MAX`).
const SECRET_BYTES: usize = 255;

impl Decode for Vars {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(table) = at.value.get_ref().as_table() else {
            at.wrong_type(problems, "a table of strings");
            return None;
        };
        let mut whole = Some(Vars::new());
        for (name, value) in table {
            let text = name.get_ref();
            let (good, what, help) = match at.key.kind {
                Kind::Secrets => (is_secret(text), "secret", SECRET_HELP),
                _ => (is_var(text), "variable", VAR_HELP),
            };
            if !good {
                let message = format!("{text:?} is not a valid name of a {what}");
                problems.report(&name.span(), message).help(help);
            }
            let template = match value.get_ref().as_str() {
                Some(_) => template(At { key: at.key, value }, rules(at.key), problems),
                None => {
                    let (what, key) = (format!("the {what} `{text}`"), format!("{text} = "));
                    no_string(&what, &key, value, problems);
                    None
                }
            };
            match (good, template, &mut whole) {
                (true, Some(template), Some(whole)) => {
                    whole.insert(text.to_string(), Spanned::new(name.span(), template));
                }
                (true, Some(_), None) => {}
                _ => whole = None,
            }
        }
        whole
    }
}
