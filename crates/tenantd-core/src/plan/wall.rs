//! What separates a tenant from others and from the host, beyond its namespaces.

use serde_json::{Map, Value};

use super::fields::See;
use super::privileges::{self, Privileges};
use crate::manifest::raw::Wall;

/// The wall around the processes of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WallPlan {
    /// What the processes may do beyond what every user may.
    pub privileges: Privileges,
}

/// The wall of an application.
pub(super) fn of(wall: &Wall) -> WallPlan {
    WallPlan {
        privileges: privileges::of(wall),
    }
}

/// Visits its parts.
pub(super) fn fields(wall: &WallPlan, see: See<'_>) {
    let WallPlan { privileges } = wall;
    privileges::fields(privileges, see);
}

/// The wall as JSON, with the manifest's keys.
pub(super) fn data(wall: &WallPlan) -> Value {
    let WallPlan { privileges } = wall;
    let mut whole = Map::new();
    privileges::data(privileges, &mut whole);
    Value::Object(whole)
}
