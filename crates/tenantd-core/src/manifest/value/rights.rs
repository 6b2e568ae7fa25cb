//! The rights of a group of operators.

use toml::Spanned;

use super::{At, Decode, one_of};
use crate::manifest::problem::Problems;
use crate::name::TenantName;
use crate::rights::Right;

/// Commands that need root, whatever a supervisor allows.
const NEED_ROOT: [(&str, &str); 1] = [(
    "reload",
    "the manifest decides which programs run as which user",
)];

impl Decode for Vec<Right> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value.get_ref().as_array() else {
            at.wrong_type(problems, "an array of rights");
            return None;
        };
        if array.is_empty() {
            at.wrong(problems, "`rights` is empty");
            return None;
        }
        // The others too, so that each problem is reported.
        let rights = array.iter().filter_map(|value| {
            let text = value.get_ref().as_str();
            if let Some((word, why)) = NEED_ROOT.iter().find(|it| Some(it.0) == text) {
                let message = format!("`{word}` needs root and cannot be a right");
                problems.report(&value.span(), message).help(*why);
                return None;
            }
            let word = one_of(At { value, ..at }, problems)?;
            Right::EACH.into_iter().find(|right| right.word() == word)
        });
        Some(rights.collect())
    }
}

impl Decode for Vec<Spanned<TenantName>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value.get_ref().as_array() else {
            at.wrong_type(problems, "an array of tenants");
            return None;
        };
        let names = array.iter().filter_map(|value| {
            let text = At { value, ..at }.text(problems, "the name of a tenant")?;
            match text.parse() {
                Ok(name) => Some(Spanned::new(value.span(), name)),
                Err(_) => {
                    let message = format!("{text:?} is not a valid name");
                    problems.report(&value.span(), message);
                    None
                }
            }
        });
        Some(names.collect())
    }
}
