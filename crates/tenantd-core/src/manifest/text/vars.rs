//! The variables of `vars`.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{no_string, rules, template};
use crate::manifest::problem::Problems;
use crate::manifest::template::{Template, is_var};
use crate::manifest::value::{At, Decode};

/// The variables of the application, of `[defaults]` or of a tenant, with the positions of their
/// names.
pub type Vars = BTreeMap<String, Spanned<Template>>;

impl Decode for Vars {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(table) = at.value.get_ref().as_table() else {
            at.wrong_type(problems, "a table of strings");
            return None;
        };
        let mut whole = Some(Vars::new());
        for (name, value) in table {
            let text = name.get_ref();
            let good = is_var(text);
            if !good {
                problems
                    .report(
                        &name.span(),
                        format!("{text:?} is not a valid name of a variable"),
                    )
                    .help("use lower-case letters, digits and `_`, beginning with a letter");
            }
            let template = match value.get_ref().as_str() {
                Some(_) => template(At { key: at.key, value }, rules(at.key), problems),
                None => {
                    let (what, key) = (format!("the variable `{text}`"), format!("{text} = "));
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
