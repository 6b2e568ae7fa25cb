//! What the processes of a tenant may do beyond what every user may.

use serde_json::{Map, Value, json};

use super::fields::field::Key::Later;
use super::fields::field::{See, relaunches};
use crate::manifest::raw::Wall;

/// The privileges of the processes of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Whether set-user-ID and set-group-ID programs get their rights.
    pub set_id_programs: bool,
}

/// The privileges that the manifest gives.
pub(super) fn of(wall: &Wall) -> Privileges {
    Privileges {
        set_id_programs: wall
            .set_id_programs
            .as_ref()
            .is_some_and(|it| *it.get_ref()),
    }
}

/// Visits them.
pub(super) fn fields(privileges: &Privileges, see: See<'_>) {
    let Privileges { set_id_programs } = privileges;
    let word = match set_id_programs {
        true => "with their rights",
        false => "without their rights",
    };
    let field = relaunches(Later("set-id programs"), "set-id programs", &word);
    see(field.default_is(!set_id_programs));
}

/// Adds them as JSON, with the manifest's keys.
pub(super) fn data(privileges: &Privileges, whole: &mut Map<String, Value>) {
    let Privileges { set_id_programs } = privileges;
    whole.insert("set_id_programs".to_owned(), json!(set_id_programs));
}
