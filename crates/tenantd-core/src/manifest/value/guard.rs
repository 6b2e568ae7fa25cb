//! Guards that a tenant must not run without.

use toml::Spanned;

use super::{At, Decode, one_of};
use crate::manifest::problem::Problems;

/// What a program must not be started without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A Landlock domain that confines signals too.
    Landlock,
    /// A user that is neither root nor that of another tenant.
    Uid,
}

impl Decode for Vec<Spanned<Guard>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value.get_ref().as_array() else {
            at.wrong_type(problems, "an array of strings");
            return None;
        };
        // The others too, so that each problem is reported.
        let valid = array.iter().filter_map(|value| {
            let guard = match one_of(At { value, ..at }, problems)? {
                "landlock" => Guard::Landlock,
                "uid" => Guard::Uid,
                word => unreachable!("{word} is a choice of {}", at.key.name),
            };
            Some(Spanned::new(value.span(), guard))
        });
        Some(valid.collect())
    }
}
